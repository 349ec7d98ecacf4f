//! A connection over which MCP travels, carried by a guest: one instance, in one task, behind bounded channels.

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::{mpsc, oneshot};
use tokio_util::task::AbortOnDropHandle;

use crate::{
    Call, CallError, Plugin,
    channel::{Channel, Outgoing},
    meter::Meter,
};

/// Why a message did not reach the peer, or a transport ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TransportError {
    /// It was not sent: the peer could not be reached.
    #[error("the peer cannot be reached: {0}")]
    Unreachable(String),
    /// It was not sent: the host or the operator refused.
    #[error("{0}")]
    Denied(String),
    /// It was not sent: the endpoint is none that this transport can speak to.
    #[error("{0}")]
    Unsupported(String),
    /// It was sent and the peer refused it.
    #[error("the peer refused the message{}: {message}", status.map(|status| format!(" with status {status}")).unwrap_or_default())]
    Rejected {
        /// The HTTP status, where there is one.
        status: Option<u16>,
        /// The peer's reason.
        message: String,
    },
    /// It may have been sent, and what became of it is unknown.
    #[error("the connection was interrupted: {0}")]
    Interrupted(String),
    /// The peer wants other credentials.
    #[error("the peer wants other credentials: {0}")]
    Unauthorized(String),
    /// The peer has forgotten the session.
    #[error("the peer has forgotten the session")]
    SessionLost,
    /// The peer broke the protocol.
    #[error("the peer broke the protocol: {0}")]
    Protocol(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
    /// The plugin that carries the messages crashed or met a limit; whether the message was sent is unknown.
    #[error(transparent)]
    Plugin(#[from] CallError),
    /// The transport was closed before the message was taken.
    #[error("the transport is closed")]
    Closed,
}

/// An open transport. Dropping it ends the guest at once; [`Transport::close`] lets it say goodbye.
pub struct Transport {
    sender: TransportSender,
    incoming: mpsc::Receiver<String>,
    guest: AbortOnDropHandle<Result<(), TransportError>>,
    goodbye: Duration,
}

/// The sending half of a [`Transport`].
#[derive(Clone)]
pub struct TransportSender {
    outgoing: mpsc::Sender<Outgoing>,
}

impl fmt::Debug for Transport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transport").finish_non_exhaustive()
    }
}

impl fmt::Debug for TransportSender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TransportSender").finish_non_exhaustive()
    }
}

impl Transport {
    /// Opens a transport to `endpoint`, in an instance of its own. The guest dials in its own time: the first message
    /// tells whether that worked.
    ///
    /// # Errors
    /// The plugin is no transport, or as many as permitted are open.
    pub fn open(plugin: &Plugin, endpoint: &str, call: Call) -> Result<Self, CallError> {
        let guest = &plugin.inner.guest;
        if !guest.has_transport() {
            return Err(CallError::NotFound("the plugin is no transport".to_owned()));
        }
        plugin.admit_transport()?;
        let busy = || CallError::Busy("as many transports as permitted are open".to_owned());
        let places = vec![
            plugin.inner.transports.try_enter().ok_or_else(busy)?,
            guest.host.transports().try_enter().ok_or_else(busy)?,
        ];
        let (outgoing, messages) = mpsc::channel(guest.limits.channel_messages);
        let (deliveries, incoming) = mpsc::channel(guest.limits.channel_messages);
        let meter = Arc::new(Meter::transport(guest.limits.clone()));
        let channel = Channel::new(messages, deliveries);
        let keep = (places, guest.host.running());
        let mut run = guest.run_transport(endpoint.to_owned(), call, channel, &meter, keep);
        let (plugin, started) = (plugin.clone(), Instant::now());
        let run = async move {
            let ended = std::future::poll_fn(|context| meter.poll(run.as_mut(), context)).await;
            plugin.note_transport(ended, meter.usage(started.elapsed()))?
        };
        let guest_task = guest.host.guests().spawn(run);
        Ok(Self {
            sender: TransportSender { outgoing },
            incoming,
            guest: AbortOnDropHandle::new(guest_task),
            goodbye: guest.limits.cancel_grace,
        })
    }

    /// What messages are sent with, while this one receives.
    #[must_use]
    pub fn sender(&self) -> TransportSender {
        self.sender.clone()
    }

    /// The peer's next message; none when the transport has ended. Cancel-safe.
    pub async fn receive(&mut self) -> Option<String> {
        self.incoming.recv().await
    }

    /// Closes the transport: the guest is told that there is nothing more to send, and has a moment to say goodbye.
    /// Messages that wait to be received are lost.
    ///
    /// # Errors
    /// How it ended, when not well.
    pub async fn close(self) -> Result<(), TransportError> {
        let Self {
            sender,
            incoming,
            guest,
            goodbye,
        } = self;
        drop((sender, incoming));
        match tokio::time::timeout(goodbye, guest).await {
            Ok(Ok(ended)) => ended,
            Ok(Err(error)) => Err(CallError::Host(error.to_string()).into()),
            Err(_) => Err(TransportError::Failed(format!(
                "the transport did not close within {goodbye:?}"
            ))),
        }
    }

    /// Waits until the transport ends by itself.
    ///
    /// # Errors
    /// Why it ended.
    pub async fn ended(&mut self) -> Result<(), TransportError> {
        match (&mut self.guest).await {
            Ok(ended) => ended,
            Err(error) => Err(CallError::Host(error.to_string()).into()),
        }
    }
}

impl TransportSender {
    /// Sends one JSON-RPC message and waits until the peer has it, or it is known that it has not.
    ///
    /// # Errors
    /// What became of it instead.
    pub async fn send(&self, message: String, headers: Vec<(String, String)>) -> Result<(), TransportError> {
        let (answer, answered) = oneshot::channel();
        let outgoing = Outgoing {
            message,
            headers,
            answer,
        };
        self.outgoing
            .send(outgoing)
            .await
            .map_err(|_| TransportError::Closed)?;
        match answered.await {
            Ok(answer) => answer,
            Err(_) => Err(TransportError::Interrupted(
                "the transport dropped the message".to_owned(),
            )),
        }
    }
}
