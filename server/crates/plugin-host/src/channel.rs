//! The messages of a transport, between the server and the guest that carries them.

use std::sync::Arc;

use tokio::sync::{Mutex, mpsc, oneshot};
use wasmtime::component::Resource;
use wasmtime_wasi::p2::{DynPollable, Pollable, subscribe};

use crate::{
    TransportError,
    abi::since_0_1_0::llmring::plugin::{
        channel,
        types::{HostError, Rejection, TransportError as GuestError},
    },
    state::State,
};

/// A message for the peer, and where it is told what became of it.
pub(crate) struct Outgoing {
    pub(crate) message: String,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) answer: oneshot::Sender<Result<(), TransportError>>,
}

/// The guest's end of a channel.
pub(crate) struct Channel {
    outgoing: Arc<Mutex<Outbox>>,
    incoming: mpsc::Sender<String>,
}

/// Messages for the peer. The lock is never waited for: an instance does one thing at a time.
struct Outbox {
    messages: mpsc::Receiver<Outgoing>,
    /// What was found while waiting: the outer option is none when nothing was, the inner one when there is no more.
    found: Option<Option<Outgoing>>,
}

impl Channel {
    pub(crate) fn new(messages: mpsc::Receiver<Outgoing>, incoming: mpsc::Sender<String>) -> Self {
        Self {
            outgoing: Arc::new(Mutex::new(Outbox {
                messages,
                found: None,
            })),
            incoming,
        }
    }

    fn take(&self) -> Result<Option<Outgoing>, HostError> {
        let mut outbox = self
            .outgoing
            .try_lock()
            .map_err(|_| HostError::Failed("the channel is being waited for".to_owned()))?;
        match outbox.found.take() {
            Some(Some(message)) => Ok(Some(message)),
            Some(None) => {
                outbox.found = Some(None);
                Err(HostError::Closed)
            }
            None => match outbox.messages.try_recv() {
                Ok(message) => Ok(Some(message)),
                Err(mpsc::error::TryRecvError::Empty) => Ok(None),
                Err(mpsc::error::TryRecvError::Disconnected) => Err(HostError::Closed),
            },
        }
    }
}

/// What a guest waits on for the next message.
struct Ready(Arc<Mutex<Outbox>>);

#[async_trait::async_trait]
impl Pollable for Ready {
    async fn ready(&mut self) {
        let mut outbox = self.0.lock().await;
        if outbox.found.is_none() {
            let message = outbox.messages.recv().await;
            outbox.found = Some(message);
        }
    }
}

/// One message in the guest's hands.
#[expect(unreachable_pub, reason = "the bindings re-export it")]
pub struct OutgoingHandle(Outgoing);

impl channel::Host for State {
    fn take(&mut self) -> wasmtime::Result<Result<Option<Resource<OutgoingHandle>>, HostError>> {
        let Some(channel) = &self.channel else {
            return Ok(Err(no_channel()));
        };
        match channel.take() {
            Ok(Some(message)) => Ok(Ok(Some(self.table.push(OutgoingHandle(message))?))),
            Ok(None) => Ok(Ok(None)),
            Err(error) => Ok(Err(error)),
        }
    }

    fn subscribe(&mut self) -> wasmtime::Result<Result<Resource<DynPollable>, HostError>> {
        let Some(channel) = &self.channel else {
            return Ok(Err(no_channel()));
        };
        let ready = self.table.push(Ready(channel.outgoing.clone()))?;
        Ok(Ok(subscribe(&mut self.table, ready)?))
    }

    async fn deliver(&mut self, message: String) -> wasmtime::Result<Result<(), HostError>> {
        let Some(channel) = &self.channel else {
            return Ok(Err(no_channel()));
        };
        Ok(channel
            .incoming
            .send(message)
            .await
            .map_err(|_| HostError::Closed))
    }
}

impl channel::HostOutgoing for State {
    fn message(&mut self, handle: Resource<OutgoingHandle>) -> wasmtime::Result<String> {
        Ok(self.table.get(&handle)?.0.message.clone())
    }

    fn headers(&mut self, handle: Resource<OutgoingHandle>) -> wasmtime::Result<Vec<(String, String)>> {
        Ok(self.table.get(&handle)?.0.headers.clone())
    }

    fn accepted(&mut self, handle: Resource<OutgoingHandle>) -> wasmtime::Result<Result<(), HostError>> {
        self.answer(&handle, Ok(()))
    }

    fn failed(
        &mut self,
        handle: Resource<OutgoingHandle>,
        error: GuestError,
    ) -> wasmtime::Result<Result<(), HostError>> {
        self.answer(&handle, Err(error.into()))
    }

    fn drop(&mut self, handle: Resource<OutgoingHandle>) -> wasmtime::Result<()> {
        self.table.delete(handle)?;
        Ok(())
    }
}

impl State {
    /// Tells the sender what became of its message; only the first answer counts, and a second one is an error.
    fn answer(
        &mut self,
        handle: &Resource<OutgoingHandle>,
        answer: Result<(), TransportError>,
    ) -> wasmtime::Result<Result<(), HostError>> {
        let sender = &mut self.table.get_mut(handle)?.0.answer;
        let (used, _) = oneshot::channel();
        Ok(std::mem::replace(sender, used)
            .send(answer)
            .map_err(|_| HostError::Closed))
    }
}

fn no_channel() -> HostError {
    HostError::Denied("only a transport has a channel".to_owned())
}

impl From<GuestError> for TransportError {
    fn from(error: GuestError) -> Self {
        match error {
            GuestError::Unreachable(message) => Self::Unreachable(message),
            GuestError::Denied(message) => Self::Denied(message),
            GuestError::Unsupported(message) => Self::Unsupported(message),
            GuestError::Rejected(Rejection { status, message }) => Self::Rejected { status, message },
            GuestError::Interrupted(message) => Self::Interrupted(message),
            GuestError::Unauthorized(message) => Self::Unauthorized(message),
            GuestError::SessionLost => Self::SessionLost,
            GuestError::Protocol(message) => Self::Protocol(message),
            GuestError::Failed(message) => Self::Failed(message),
        }
    }
}
