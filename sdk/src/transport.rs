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

use serde::Deserialize;
use serde_json::{Value, json};

use crate::{
    HostError, TransportError,
    bindings::llmring::plugin::{
        channel::{self, Outgoing as Raw},
        types::Rejection,
    },
    runtime,
};

/// MCP's messages between the server and the transport.
#[derive(Clone, Debug)]
pub struct Channel(());

/// One message for the peer. Dropping it unanswered means that it failed.
#[derive(Debug)]
pub struct Outgoing {
    raw: Raw,
    message: String,
    outline: Outline,
}

/// What a transport reads of a JSON-RPC message.
#[derive(Debug, Default, Deserialize)]
struct Outline {
    #[serde(default)]
    id: Option<Value>,
    #[serde(default)]
    method: Option<String>,
}

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
                Ok(Some(raw)) => {
                    let message = raw.message();
                    let outline = serde_json::from_str(&message).unwrap_or_default();
                    return Some(Outgoing {
                        raw,
                        message,
                        outline,
                    });
                }
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

    /// Answers the request of that id in the peer's place: what became of a request that was accepted and whose answer will
    /// not come. `code` is a JSON-RPC error code, `error` what happened.
    ///
    /// # Errors
    /// As [`Self::deliver`].
    pub fn answer_with_error(
        &self,
        id: &Value,
        code: i32,
        error: &TransportError,
    ) -> Result<(), TransportError> {
        let answer = json!({"jsonrpc": "2.0", "id": id, "error": {"code": code, "message": in_words(error)}});
        self.deliver(&answer.to_string())
    }

    /// Tells whoever sends first why there is no connection, and ends with the same error.
    ///
    /// # Errors
    /// That one, always.
    pub async fn refuse(&self, error: TransportError) -> Result<(), TransportError> {
        if let Some(outgoing) = self.next().await {
            outgoing.failed(&error);
        }
        Err(error)
    }
}

/// What went wrong, for people.
fn in_words(error: &TransportError) -> &str {
    match error {
        TransportError::Unreachable(message)
        | TransportError::Denied(message)
        | TransportError::Unsupported(message)
        | TransportError::Interrupted(message)
        | TransportError::Protocol(message)
        | TransportError::Failed(message)
        | TransportError::Rejected(Rejection { message, .. }) => message,
        TransportError::Unauthorized(_) => "the peer wants other credentials",
        TransportError::SessionLost => "the peer has forgotten the session",
    }
}

impl Outgoing {
    /// The JSON-RPC message.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The method of a request or a notification.
    #[must_use]
    pub fn method(&self) -> Option<&str> {
        self.outline.method.as_deref()
    }

    /// The id under which the peer is to answer; none for what needs no answer.
    #[must_use]
    pub fn request_id(&self) -> Option<&Value> {
        self.outline.method.as_ref().and(self.outline.id.as_ref())
    }

    /// Names and values of the headers that it travels with where the transport has headers.
    #[must_use]
    pub fn headers(&self) -> Vec<(String, String)> {
        self.raw.headers()
    }

    /// Says that the peer has it.
    pub fn accepted(self) {
        // Who sent it may have gone.
        _ = self.raw.accepted();
    }

    /// Says that the peer does not have it, or may not have it.
    pub fn failed(self, error: &TransportError) {
        _ = self.raw.failed(error);
    }
}
