//! Carrying MCP's messages. A transport is an asynchronous function that a plugin names in `plugin! { transport: run }`:
//!
//! ```
//! use llmring_plugin_sdk::{TransportError, http::Request, plugin, transport::Channel};
//!
//! async fn run(endpoint: String, channel: Channel) -> Result<(), TransportError> {
//!     while let Some(outgoing) = channel.next().await {
//!         let request = Request::post(&endpoint).body(outgoing.message());
//!         match request.send().await {
//!             Ok(response) => {
//!                 outgoing.accepted();
//!                 channel.deliver(&response.text(1 << 20).await?)?;
//!             }
//!             Err(error) => outgoing.failed(&error.into()),
//!         }
//!     }
//!     Ok(())
//! }
//!
//! plugin! { transport: run }
//! ```

use crate::{
    HostError, TransportError,
    bindings::llmring::plugin::channel::{self, Outgoing as Raw},
    runtime,
};

/// MCP's messages between the server and the transport.
#[derive(Clone, Debug)]
pub struct Channel(());

/// One message for the peer. Dropping it unanswered means that it failed.
#[derive(Debug)]
pub struct Outgoing(Raw);

impl Channel {
    #[doc(hidden)]
    #[must_use]
    pub fn of_the_host() -> Self {
        Self(())
    }

    /// The next message for the peer; none when there will be no more, which is when a transport says goodbye and returns.
    pub async fn next(&self) -> Option<Outgoing> {
        loop {
            match channel::take() {
                Ok(Some(outgoing)) => return Some(Outgoing(outgoing)),
                Ok(None) => runtime::ready(channel::subscribe().ok()?).await,
                // A channel that is refused has no messages either.
                Err(_) => return None,
            }
        }
    }

    /// Hands over one JSON-RPC message from the peer. Everything waits while the server has as many as it holds.
    ///
    /// # Errors
    /// The server no longer listens: there is nothing left to do.
    pub fn deliver(&self, message: &str) -> Result<(), TransportError> {
        channel::deliver(message).map_err(|error| match error {
            HostError::Denied(message) => TransportError::Denied(message),
            error => TransportError::Failed(error.to_string()),
        })
    }
}

impl Outgoing {
    /// The JSON-RPC message.
    #[must_use]
    pub fn message(&self) -> String {
        self.0.message()
    }

    /// Names and values of the headers that it travels with where the transport has headers.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        self.0.headers()
    }

    /// Says that the peer has it.
    pub fn accepted(self) {
        // Who sent it may have gone.
        _ = self.0.accepted();
    }

    /// Says that the peer does not have it, or may not have it.
    pub fn failed(self, error: &TransportError) {
        _ = self.0.failed(error);
    }
}
