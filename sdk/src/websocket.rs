//! WebSocket connections (RFC 6455), which the host holds: TLS, the server row's secret and the rules for outbound
//! connections are its business.

use crate::{
    HostError, TransportError,
    bindings::llmring::plugin::{types::Rejection, websocket::Connection as Raw},
    runtime,
};

pub use crate::bindings::llmring::plugin::websocket::{CloseFrame, Message, WebsocketError as Error};

/// An open connection.
#[derive(Debug)]
pub struct Connection(Raw);

impl Connection {
    /// Opens a connection to a `ws:` or `wss:` URL, offering these subprotocols.
    ///
    /// # Errors
    /// [`Error::Unreachable`], [`Error::Rejected`] with the handshake's status, or the host's refusal.
    pub fn connect(url: &str, headers: &[(String, String)], subprotocols: &[&str]) -> Result<Self, Error> {
        let subprotocols: Vec<String> = subprotocols.iter().copied().map(str::to_owned).collect();
        Raw::connect(url, headers, &subprotocols).map(Self)
    }

    /// The subprotocol that the peer chose.
    #[must_use]
    pub fn subprotocol(&self) -> Option<String> {
        self.0.subprotocol()
    }

    /// Sends one message; everything waits until the connection takes it.
    ///
    /// # Errors
    /// [`Error::Ended`] when the connection is over.
    pub fn send(&self, message: &Message) -> Result<(), Error> {
        self.0.send(message)
    }

    /// The next message.
    ///
    /// # Errors
    /// [`Error::Ended`] when there will be no more.
    pub async fn receive(&self) -> Result<Message, Error> {
        loop {
            match self.0.receive()? {
                Some(message) => return Ok(message),
                None => runtime::ready(self.0.subscribe()).await,
            }
        }
    }

    /// Says goodbye with a code and a reason (RFC 6455, section 7.4).
    ///
    /// # Errors
    /// [`Error::Ended`] when the connection is over already.
    pub fn close(&self, code: u16, reason: &str) -> Result<(), Error> {
        self.0.close(&CloseFrame {
            code,
            reason: reason.to_owned(),
        })
    }
}

impl From<Error> for TransportError {
    fn from(error: Error) -> Self {
        match error {
            Error::Host(HostError::Denied(message)) => Self::Denied(message),
            Error::Host(error) => Self::Failed(error.to_string()),
            Error::Unreachable(message) => Self::Unreachable(message),
            Error::Rejected(status @ (401 | 403)) => {
                Self::Unauthorized(format!("the handshake was answered {status}"))
            }
            Error::Rejected(status) => Self::Rejected(Rejection {
                status: Some(status),
                message: "the peer refused the handshake".to_owned(),
            }),
            Error::Ended(frame) => Self::Interrupted(match frame {
                Some(CloseFrame { code, reason }) => {
                    format!("the peer closed the connection: {code} {reason}")
                }
                None => "the connection broke".to_owned(),
            }),
        }
    }
}
