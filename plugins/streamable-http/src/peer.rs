//! What is known of the peer.

use std::{
    cell::RefCell,
    collections::BTreeMap,
    rc::Rc,
    task::{Poll, Waker},
    time::Duration,
};

use llmring_plugin_sdk::{
    TransportError,
    http::{Request, Response},
    runtime,
    serde_json::{self, Value},
    transport::{Channel, Outgoing},
    types::Rejection,
};
use serde::Deserialize;

/// How long to wait before connecting again where the peer says nothing.
pub(crate) const RETRY: Duration = Duration::from_secs(1);

/// How many failures in a row end the stream of what the peer sends unasked.
pub(crate) const MAX_FAILURES: u32 = 5;

/// The first version without sessions.
const STATELESS: &str = "2026-07-28";

/// How long a goodbye may take.
const GOODBYE: Duration = Duration::from_secs(2);

/// A peer, shared by everything that is under way with it.
#[derive(Clone)]
pub(crate) struct Peer(Rc<Shared>);

struct Shared {
    endpoint: String,
    state: RefCell<State>,
}

#[derive(Default)]
struct State {
    session: Option<String>,
    version: Option<String>,
    /// The requests under way, by id, and whether each is cancelled.
    open: BTreeMap<String, Exchange>,
}

#[derive(Default)]
struct Exchange {
    cancelled: bool,
    waker: Option<Waker>,
}

/// As much of a JSON-RPC message as has to be read.
#[derive(Deserialize)]
struct Message {
    id: Option<Value>,
    method: Option<String>,
    result: Option<Outcome>,
    error: Option<Value>,
    params: Option<Cancelled>,
}

#[derive(Deserialize)]
struct Outcome {
    #[serde(rename = "protocolVersion")]
    protocol_version: Option<Value>,
}

#[derive(Deserialize)]
struct Cancelled {
    #[serde(rename = "requestId")]
    request_id: Option<Value>,
}

impl Peer {
    pub(crate) fn at(endpoint: String) -> Self {
        Self(Rc::new(Shared {
            endpoint,
            state: RefCell::default(),
        }))
    }

    /// The request that carries a message.
    pub(crate) fn post(&self, outgoing: &Outgoing) -> Request {
        let headers = outgoing.headers();
        let mut request = Request::post(&self.0.endpoint)
            .header("content-type", "application/json")
            .header("accept", "application/json, text/event-stream");
        request = self.in_session(
            request,
            headers
                .iter()
                .any(|(name, _)| name.eq_ignore_ascii_case("mcp-protocol-version")),
        );
        for (name, value) in headers {
            request = request.header(name, value);
        }
        request.body(outgoing.message())
    }

    /// The request for a stream of what the peer sends unasked, or for the rest of one.
    pub(crate) fn get(&self, last_id: &str) -> Request {
        let request = self
            .in_session(Request::get(&self.0.endpoint), false)
            .header("accept", "text/event-stream");
        if last_id.is_empty() {
            request
        } else {
            request.header("last-event-id", last_id)
        }
    }

    /// Ends the session.
    pub(crate) async fn leave(&self) {
        if self.0.state.borrow().session.is_some() {
            let request = self.in_session(Request::delete(&self.0.endpoint), false);
            // A peer need not permit it, and is left either way.
            _ = runtime::timeout(GOODBYE, request.send()).await;
        }
    }

    fn in_session(&self, mut request: Request, has_version: bool) -> Request {
        let state = self.0.state.borrow();
        if let Some(session) = &state.session {
            request = request.header("mcp-session-id", session);
        }
        match &state.version {
            Some(version) if !has_version => request.header("mcp-protocol-version", version),
            _ => request,
        }
    }

    /// Remembers the session that an answer to `initialize` begins.
    pub(crate) fn learn(&self, outgoing: &Outgoing, response: &Response) {
        if outgoing.method() == Some("initialize") {
            self.0.state.borrow_mut().session = response.header("mcp-session-id").map(str::to_owned);
        }
    }

    /// Whether the peer knows no sessions.
    pub(crate) fn is_stateless(&self) -> bool {
        self.0
            .state
            .borrow()
            .version
            .as_deref()
            .is_some_and(|version| version >= STATELESS)
    }

    /// Hands over a message, or each of a batch, and remembers the version that it settles.
    pub(crate) fn deliver(&self, channel: &Channel, text: &str) -> Result<(), TransportError> {
        if text.trim_start().starts_with('[') {
            let batch: Vec<Value> =
                serde_json::from_str(text).map_err(|error| TransportError::Protocol(error.to_string()))?;
            return batch
                .iter()
                .try_for_each(|message| channel.deliver(&message.to_string()));
        }
        let version = serde_json::from_str(text)
            .ok()
            .and_then(|message: Message| message.result?.protocol_version);
        if let Some(Value::String(version)) = version {
            self.0.state.borrow_mut().version = Some(version);
        }
        channel.deliver(text)
    }

    /// Waits until the request of that id is cancelled.
    pub(crate) fn open(&self, id: &Value) -> impl Future<Output = ()> {
        let open = Open {
            peer: self.clone(),
            id: id.to_string(),
        };
        self.0
            .state
            .borrow_mut()
            .open
            .insert(open.id.clone(), Exchange::default());
        std::future::poll_fn(move |context| {
            let mut state = open.peer.0.state.borrow_mut();
            let exchange = state.open.entry(open.id.clone()).or_default();
            exchange.waker = Some(context.waker().clone());
            if exchange.cancelled {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
    }

    /// Whether the message only says that a request is cancelled, to a peer that is told by closing the request's stream;
    /// then that is done.
    pub(crate) fn cancels(&self, outgoing: &Outgoing) -> bool {
        if outgoing.method() != Some("notifications/cancelled") || !is_stateless(&outgoing.headers()) {
            return false;
        }
        let message: Option<Message> = serde_json::from_str(outgoing.message()).ok();
        if let Some(id) = message.and_then(|message| message.params?.request_id)
            && let Some(exchange) = self.0.state.borrow_mut().open.get_mut(&id.to_string())
        {
            exchange.cancelled = true;
            exchange.waker.take().into_iter().for_each(Waker::wake);
        }
        true
    }

    /// What a status other than one of success means.
    pub(crate) fn rejected(&self, response: &Response) -> TransportError {
        match response.status() {
            401 | 403 => TransportError::Unauthorized(
                response.header("www-authenticate").unwrap_or_default().to_owned(),
            ),
            404 if self.0.state.borrow().session.is_some() => TransportError::SessionLost,
            status => TransportError::Rejected(Rejection {
                status: Some(status),
                message: format!("the peer answered {status}"),
            }),
        }
    }
}

/// A request under way; it is so until this is dropped.
struct Open {
    peer: Peer,
    id: String,
}

impl Drop for Open {
    fn drop(&mut self) {
        self.peer.0.state.borrow_mut().open.remove(&self.id);
    }
}

/// Whether a message with these headers is of a version without sessions.
fn is_stateless(headers: &[(String, String)]) -> bool {
    headers
        .iter()
        .any(|(name, value)| name.eq_ignore_ascii_case("mcp-protocol-version") && value.as_str() >= STATELESS)
}

/// Whether a text is the response to the request of that id.
pub(crate) fn is_response(text: &str, id: &Value) -> bool {
    serde_json::from_str(text).is_ok_and(|message: Message| {
        message.method.is_none()
            && message.id.as_ref() == Some(id)
            && (message.result.is_some() || message.error.is_some())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn responses_are_told_from_other_messages() {
        let id = Value::from(7);
        assert!(is_response(r#"{"jsonrpc":"2.0","id":7,"result":{}}"#, &id));
        assert!(is_response(
            r#"{"jsonrpc":"2.0","id":7,"error":{"code":-1,"message":""}}"#,
            &id
        ));
        for other in [
            r#"{"jsonrpc":"2.0","id":"7","result":{}}"#,
            r#"{"jsonrpc":"2.0","id":7,"method":"sampling/createMessage"}"#,
            r#"{"jsonrpc":"2.0","method":"notifications/progress"}"#,
            r#"{"jsonrpc":"2.0","id":7}"#,
            "<html>",
        ] {
            assert!(!is_response(other, &id), "{other}");
        }
    }

    #[test]
    fn versions_without_sessions_are_known_by_their_date() {
        let headers = |version: &str| vec![("Mcp-Protocol-Version".to_owned(), version.to_owned())];
        assert!(is_stateless(&headers("2026-07-28")));
        assert!(!is_stateless(&headers("2025-11-25")));
        assert!(!is_stateless(&[]));
    }
}
