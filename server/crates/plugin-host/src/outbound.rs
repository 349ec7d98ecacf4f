//! The way out. The server implements it: egress rules, TLS, and the secrets of a server row live on its side.

use std::{fmt, pin::Pin};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::Stream;
use tokio::io::{AsyncRead, AsyncWrite};
use url::Url;

/// The bytes of a request or a response, as they come.
pub type Body = Pin<Box<dyn Stream<Item = Result<Bytes, BodyError>> + Send>>;

/// Why a body ended early.
pub type BodyError = Box<dyn std::error::Error + Send + Sync>;

/// A connection that a WebSocket handshake can begin on.
pub trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Sends what plugins want sent, on behalf of one server row.
///
/// Whether the operator granted the plugin that host was checked before. What the implementation checks and adds is its
/// own: addresses it refuses, time-outs, proxies, and the row's secret on requests for the row's own origin. It
/// follows no redirect: a plugin that wants to sends another request, which is checked anew.
#[async_trait]
pub trait Outbound: Send + Sync {
    /// Sends one request, whose URI is absolute, and answers as soon as the response's head is there.
    async fn send(&self, request: http::Request<Option<Body>>)
    -> Result<http::Response<Body>, OutboundError>;

    /// Opens a connection for a WebSocket at `url` (`ws` or `wss`), TLS included.
    async fn dial(&self, url: &Url) -> Result<Dialled, OutboundError>;
}

/// A connection for a WebSocket.
pub struct Dialled {
    /// The connection, with TLS when the URL says `wss`.
    pub stream: Box<dyn Duplex>,
    /// Headers to add to the handshake: the row's secret.
    pub headers: http::HeaderMap,
}

impl fmt::Debug for Dialled {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Dialled").finish_non_exhaustive()
    }
}

/// Why something was not sent, or not answered. The texts are for the log; a guest sees which of these it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OutboundError {
    /// Not sent: a rule forbids it.
    #[error("{0}")]
    Denied(String),
    /// Not sent: the name could not be resolved, or the peer not be connected to.
    #[error("{0}")]
    Unreachable(String),
    /// It may have been sent, and no answer came in time.
    #[error("{0}")]
    TimedOut(String),
    /// It may have been sent, and the connection broke.
    #[error("{0}")]
    Interrupted(String),
}

/// An [`Outbound`] that refuses everything: what a plugin has while it is being loaded.
#[derive(Clone, Copy, Debug)]
pub struct Closed;

#[async_trait]
impl Outbound for Closed {
    async fn send(&self, _: http::Request<Option<Body>>) -> Result<http::Response<Body>, OutboundError> {
        Err(OutboundError::Denied("there is no way out".to_owned()))
    }

    async fn dial(&self, _: &Url) -> Result<Dialled, OutboundError> {
        Err(OutboundError::Denied("there is no way out".to_owned()))
    }
}
