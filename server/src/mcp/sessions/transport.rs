//! The transport that rmcp's client runs over.
//!
//! The future that [`Transport::send`] gives back for a request lasts until the request is answered. A request that fails on the
//! way therefore ends with its reason, and none is left waiting for an answer that cannot come.

use futures_util::future::BoxFuture;
use rmcp::RoleClient;
use rmcp::model::{ClientNotification, ClientRequest, GetExtensions, GetMeta, JsonRpcMessage, RequestId};
use rmcp::service::{RxJsonRpcMessage, TxJsonRpcMessage};
use rmcp::transport::Transport;
use serde::Serialize;
use tokio::sync::mpsc;

use super::http::HttpLink;
use super::line::{Expected, Ticket};
use super::stdio::StdioLink;
use crate::mcp::peer::Failure;

/// A message to the peer.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// A request: its answer is awaited.
    Request {
        /// Unique in the session.
        id: i64,
        /// Such as `tools/call`.
        method: String,
        /// The JSON text.
        text: String,
        /// From the session.
        ticket: Ticket,
        /// How its answer is read.
        expected: Expected,
        /// Under which its progress is reported.
        progress_token: Option<i64>,
        /// From 2026-07-28 on: the protocol version that the request itself names.
        version: Option<String>,
    },
    /// Nobody waits for the answer to a request any more.
    Cancellation {
        /// Of the request.
        id: i64,
        /// The JSON text.
        text: String,
    },
    /// `notifications/initialized`: the handshake is complete.
    Initialized {
        /// The JSON text.
        text: String,
    },
    /// Any other notification, or an answer to a request of the peer.
    Other {
        /// The JSON text.
        text: String,
    },
}

impl Outgoing {
    fn new(message: TxJsonRpcMessage<RoleClient>) -> Result<Self, Failure> {
        let text = text(&message)?;
        match message {
            JsonRpcMessage::Request(request) => {
                let RequestId::Number(id) = request.id else {
                    return Err(Failure::Unreachable("its id is not a number".into()));
                };
                let request = request.request;
                let meta = request.get_meta();
                Ok(Self::Request {
                    id,
                    method: request.method().to_owned(),
                    ticket: request.extensions().get::<Ticket>().cloned().unwrap_or_default(),
                    expected: match request {
                        ClientRequest::InitializeRequest(_) => Expected::Initialize,
                        ClientRequest::DiscoverRequest(_) => Expected::Discover,
                        _ => Expected::Object,
                    },
                    progress_token: meta.get_progress_token().and_then(|token| match token.0 {
                        RequestId::Number(token) => Some(token),
                        RequestId::String(_) => None,
                    }),
                    version: meta.protocol_version().map(|version| version.as_str().to_owned()),
                    text,
                })
            }
            JsonRpcMessage::Notification(notification) => Ok(match notification.notification {
                ClientNotification::CancelledNotification(cancelled) => match cancelled.params.request_id {
                    Some(RequestId::Number(id)) => Self::Cancellation { id, text },
                    _ => Self::Other { text },
                },
                ClientNotification::InitializedNotification(_) => Self::Initialized { text },
                _ => Self::Other { text },
            }),
            JsonRpcMessage::Response(_) | JsonRpcMessage::Error(_) => Ok(Self::Other { text }),
        }
    }
}

fn text(message: &impl Serialize) -> Result<String, Failure> {
    serde_json::to_string(message)
        .map_err(|error| Failure::Unreachable(format!("the request cannot be written: {error}")))
}

/// How messages reach the peer.
#[derive(Debug)]
pub(super) enum Link {
    /// A child process.
    Stdio(Box<StdioLink>),
    /// Streamable HTTP.
    Http(HttpLink),
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Wire {
    pub(super) link: Link,
    pub(super) incoming: mpsc::Receiver<RxJsonRpcMessage<RoleClient>>,
    pub(super) ended: tokio_util::sync::CancellationToken,
}

impl Transport<RoleClient> for Wire {
    type Error = Failure;

    fn send(
        &mut self,
        message: TxJsonRpcMessage<RoleClient>,
    ) -> impl Future<Output = Result<(), Failure>> + Send + 'static {
        let sent: BoxFuture<'static, Result<(), Failure>> = match Outgoing::new(message) {
            Ok(outgoing) => match &self.link {
                Link::Stdio(link) => link.send(outgoing),
                Link::Http(link) => link.send(outgoing),
            },
            Err(failure) => Box::pin(std::future::ready(Err(failure))),
        };
        sent
    }

    async fn receive(&mut self) -> Option<RxJsonRpcMessage<RoleClient>> {
        tokio::select! {
            biased;
            message = self.incoming.recv() => message,
            () = self.ended.cancelled() => None,
        }
    }

    async fn close(&mut self) -> Result<(), Failure> {
        match &mut self.link {
            Link::Stdio(link) => link.close().await,
            Link::Http(link) => link.close().await,
        }
        Ok(())
    }
}
