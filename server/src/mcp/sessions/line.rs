//! What a session's transport and its requests share: which requests await an answer, and how a peer's message reaches them.
//!
//! rmcp numbers requests, keeps their order and negotiates versions. A result goes through it as the JSON that the peer sent:
//! only the answers to `initialize` and `server/discover` are read into rmcp's types.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use rmcp::RoleClient;
use rmcp::model::{
    CustomResult, ErrorCode, ErrorData, JsonRpcMessage, RequestId, ServerJsonRpcMessage, ServerResult,
};
use rmcp::service::RxJsonRpcMessage;
use serde_json::{Map, Value, json};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use super::envelope::{self, Envelope};
use crate::config::{MAX_MESSAGE_BYTES, MAX_NOTIFICATIONS};
use crate::mcp::peer::{Failure, Progress};

/// Messages that wait for rmcp.
const INCOMING: usize = 64;
/// Longest error message of a peer that is passed on, in bytes.
const MAX_ERROR_MESSAGE: usize = 8 << 10;

/// Travels with a request from the session to the transport, in the request's extensions, and carries back what happened.
#[derive(Clone, Debug, Default)]
pub(super) struct Ticket(Arc<TicketState>);

#[derive(Debug, Default)]
struct TicketState {
    sent: AtomicBool,
    abandoned: AtomicBool,
    result_bytes: AtomicUsize,
    progress: Option<mpsc::Sender<Progress>>,
    input_schema: Option<Value>,
}

impl Ticket {
    /// For a request whose progress goes to `progress`, and whose arguments follow `input_schema`.
    pub(super) fn new(progress: Option<mpsc::Sender<Progress>>, input_schema: Option<Value>) -> Self {
        Self(Arc::new(TicketState {
            progress,
            input_schema,
            ..TicketState::default()
        }))
    }

    /// From now on the peer may have seen the request.
    pub(super) fn mark_sent(&self) {
        self.0.sent.store(true, Ordering::SeqCst);
    }

    /// After all the peer cannot have seen the request.
    pub(super) fn mark_unsent(&self) {
        self.0.sent.store(false, Ordering::SeqCst);
    }

    pub(super) fn was_sent(&self) -> bool {
        self.0.sent.load(Ordering::SeqCst)
    }

    /// Whether nobody waits for the answer any more, so that an unsent request need not be sent.
    pub(super) fn is_abandoned(&self) -> bool {
        self.0.abandoned.load(Ordering::SeqCst)
    }

    /// The length of the message that brought the result.
    pub(super) fn result_bytes(&self) -> usize {
        self.0.result_bytes.load(Ordering::SeqCst)
    }

    pub(super) fn input_schema(&self) -> Option<&Value> {
        self.0.input_schema.as_ref()
    }
}

/// How an answer is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Expected {
    /// `initialize`
    Initialize,
    /// `server/discover`
    Discover,
    /// Everything else: any object.
    Object,
}

struct Pending {
    expected: Expected,
    ticket: Ticket,
    progress_token: Option<i64>,
    done: oneshot::Sender<Result<(), Failure>>,
}

/// What every message of a peer is checked against.
#[derive(Clone, Copy, Debug)]
pub(super) struct MessageLimits {
    /// Largest message.
    pub(super) bytes: usize,
    /// Most messages that nobody asked for, per second.
    pub(super) unasked_per_second: u32,
}

impl MessageLimits {
    /// The error for a message that is too large.
    pub(super) fn too_large(self) -> Failure {
        Failure::LimitExceeded(format!(
            "a message of the MCP server is larger than {} bytes ({MAX_MESSAGE_BYTES})",
            self.bytes
        ))
    }
}

/// A token bucket of ten seconds' worth of unasked messages.
#[derive(Debug)]
pub(super) struct Allowance {
    per_second: u32,
    left: f64,
    at: Instant,
}

impl Allowance {
    const BURST_SECONDS: f64 = 10.0;

    pub(super) fn new(limits: MessageLimits) -> Self {
        Self {
            per_second: limits.unasked_per_second,
            left: f64::from(limits.unasked_per_second) * Self::BURST_SECONDS,
            at: Instant::now(),
        }
    }

    pub(super) fn take(&mut self) -> Result<(), Failure> {
        let now = Instant::now();
        let rate = f64::from(self.per_second);
        let gained = now.duration_since(self.at).as_secs_f64() * rate;
        self.left = (self.left + gained).min(rate * Self::BURST_SECONDS);
        self.at = now;
        if self.left < 1.0 {
            return Err(Failure::LimitExceeded(format!(
                "the MCP server sent more than {} notifications per second ({MAX_NOTIFICATIONS})",
                self.per_second
            )));
        }
        self.left -= 1.0;
        Ok(())
    }
}

/// Why a message was not accepted.
#[derive(Debug)]
pub(super) enum Unacceptable {
    /// No JSON at all, or not JSON-RPC. When it looks like a broken answer, the id it names.
    Unreadable {
        /// Whether it claims to be JSON-RPC.
        is_json_rpc: bool,
        /// The request that it seems to answer.
        id: Option<i64>,
        /// What is wrong with it.
        problem: String,
    },
    /// The peer goes on talking beyond a limit, or nobody listens any more.
    Ends(Failure),
}

/// See the module's description.
#[derive(Debug)]
pub(super) struct Line {
    pub(super) limits: MessageLimits,
    incoming: mpsc::Sender<RxJsonRpcMessage<RoleClient>>,
    pending: Mutex<HashMap<i64, Pending>>,
    greeting: OnceLock<(Expected, Map<String, Value>)>,
    ending: OnceLock<(Failure, Instant)>,
    ended: CancellationToken,
    stale: AtomicBool,
    lists_changed: AtomicBool,
}

impl std::fmt::Debug for Pending {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_tuple("Pending").field(&self.expected).finish()
    }
}

impl Line {
    /// A line, and the end at which rmcp listens.
    pub(super) fn new(limits: MessageLimits) -> (Arc<Self>, mpsc::Receiver<RxJsonRpcMessage<RoleClient>>) {
        let (incoming, receiver) = mpsc::channel(INCOMING);
        let line = Self {
            limits,
            incoming,
            pending: Mutex::default(),
            greeting: OnceLock::new(),
            ending: OnceLock::new(),
            ended: CancellationToken::new(),
            stale: AtomicBool::new(false),
            lists_changed: AtomicBool::new(false),
        };
        (Arc::new(line), receiver)
    }

    fn pending(&self) -> MutexGuard<'_, HashMap<i64, Pending>> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Awaits the answer to request `id`. The receiver hears when it was handed to rmcp, or why there is none.
    pub(super) fn expect(
        &self,
        id: i64,
        expected: Expected,
        ticket: Ticket,
        progress_token: Option<i64>,
    ) -> oneshot::Receiver<Result<(), Failure>> {
        let (done, receiver) = oneshot::channel();
        let pending = Pending {
            expected,
            ticket,
            progress_token,
            done,
        };
        self.pending().insert(id, pending);
        // After the insertion, so that an ending in between is not missed.
        if self.ended.is_cancelled() {
            self.fail_all();
        }
        receiver
    }

    /// Nobody waits for the answer to `id` any more. `true` when the peer should be told so.
    pub(super) fn abandon(&self, id: i64) -> bool {
        match self.pending().remove(&id) {
            Some(pending) => {
                pending.ticket.0.abandoned.store(true, Ordering::SeqCst);
                pending.ticket.was_sent()
            }
            None => false,
        }
    }

    /// Ends the wait for the answer to `id`.
    pub(super) fn fail(&self, id: i64, failure: Failure) {
        if let Some(pending) = self.pending().remove(&id) {
            let _ = pending.done.send(Err(failure));
        }
    }

    pub(super) fn is_pending(&self, id: i64) -> bool {
        self.pending().contains_key(&id)
    }

    /// The one request that is under way, if it is only one.
    pub(super) fn only_pending(&self) -> Option<i64> {
        let pending = self.pending();
        match pending.len() {
            1 => pending.keys().next().copied(),
            _ => None,
        }
    }

    /// The session is over, because of `failure`; the first reason counts.
    pub(super) fn end(&self, failure: Failure) {
        let _ = self.ending.set((failure, Instant::now()));
        self.ended.cancel();
        self.fail_all();
    }

    fn fail_all(&self) {
        let all: Vec<Pending> = self.pending().drain().map(|(_, pending)| pending).collect();
        for pending in all {
            let failure = self.failure_of(&pending.ticket);
            let _ = pending.done.send(Err(failure));
        }
    }

    /// Why a request of an ended session has no answer.
    pub(super) fn failure_of(&self, ticket: &Ticket) -> Failure {
        let reason = match self.ending.get() {
            Some((failure, _)) => failure.clone(),
            None => Failure::Lost("the session was closed".into()),
        };
        match (ticket.was_sent(), reason) {
            (true, Failure::Unreachable(reason)) => Failure::Lost(reason),
            (true, reason) => reason,
            (false, Failure::Lost(reason) | Failure::Unreachable(reason)) => Failure::Unreachable(reason),
            (false, reason) => Failure::Unreachable(reason.to_string()),
        }
    }

    /// When and why the session ended by itself.
    pub(super) fn ending(&self) -> Option<&(Failure, Instant)> {
        self.ending.get()
    }

    /// Cancelled when the session is over.
    pub(super) fn ended(&self) -> &CancellationToken {
        &self.ended
    }

    /// No new request may use this session, though those under way may end.
    pub(super) fn retire(&self) {
        self.stale.store(true, Ordering::SeqCst);
    }

    /// Whether new requests may use this session.
    pub(super) fn is_usable(&self) -> bool {
        !self.stale.load(Ordering::SeqCst) && !self.ended.is_cancelled()
    }

    /// The raw answer to `initialize` or `server/discover`, once it is there.
    pub(super) fn greeting(&self) -> Option<&(Expected, Map<String, Value>)> {
        self.greeting.get()
    }

    /// Whether the peer said that one of its lists changed; asking resets it.
    pub(super) fn take_lists_changed(&self) -> bool {
        self.lists_changed.swap(false, Ordering::SeqCst)
    }

    pub(super) fn have_lists_changed(&self) -> bool {
        self.lists_changed.load(Ordering::SeqCst)
    }

    /// Takes one message of the peer, or a batch of them (2025-03-26).
    pub(super) async fn accept(&self, text: &[u8], allowance: &mut Allowance) -> Result<(), Unacceptable> {
        match envelope::read(text) {
            Ok(envelopes) => {
                for envelope in envelopes {
                    self.accept_one(envelope, text.len(), allowance).await?;
                }
                Ok(())
            }
            Err(problem) => {
                // What is no message costs the peer as much as one that nobody asked for.
                allowance.take().map_err(Unacceptable::Ends)?;
                Err(Unacceptable::Unreadable {
                    is_json_rpc: envelope::claims_to_be_json_rpc(text),
                    id: envelope::id_of_broken(text),
                    problem,
                })
            }
        }
    }

    async fn accept_one(
        &self,
        envelope: Envelope,
        bytes: usize,
        allowance: &mut Allowance,
    ) -> Result<(), Unacceptable> {
        match envelope {
            Envelope::Result { id, result } => self.answer(id, bytes, Ok(result)).await,
            Envelope::Error { id, error } => {
                // A peer that could not read a request cannot name it.
                match id.or_else(|| self.only_pending()) {
                    Some(id) => self.answer(id, bytes, Err(error)).await,
                    None => Ok(()),
                }
            }
            Envelope::Notification { method, params } => {
                allowance.take().map_err(Unacceptable::Ends)?;
                self.notice(&method, params);
                Ok(())
            }
            Envelope::Request(message) => {
                allowance.take().map_err(Unacceptable::Ends)?;
                match serde_json::from_value::<ServerJsonRpcMessage>(message) {
                    Ok(message) => self.hand_over(message).await,
                    Err(error) => {
                        tracing::debug!(%error, "an MCP server sent a request that cannot be read");
                        Ok(())
                    }
                }
            }
        }
    }

    async fn answer(&self, id: i64, bytes: usize, outcome: Result<Value, Value>) -> Result<(), Unacceptable> {
        let Some(pending) = self.pending().remove(&id) else {
            tracing::debug!(id, "an MCP server answered what nobody asked");
            return Ok(());
        };
        // rmcp takes an unexpected answer during the handshake for an error.
        if pending.done.is_closed() {
            return Ok(());
        }
        pending.ticket.0.result_bytes.store(bytes, Ordering::SeqCst);
        let id = RequestId::Number(id);
        let message = match outcome {
            Ok(result) => match self.read_result(pending.expected, result) {
                Ok(result) => JsonRpcMessage::response(result, id),
                Err(problem) => {
                    let _ = pending.done.send(Err(Failure::Malformed(problem)));
                    return Ok(());
                }
            },
            Err(error) => JsonRpcMessage::error(error_data(error), Some(id)),
        };
        self.hand_over(message).await?;
        let _ = pending.done.send(Ok(()));
        Ok(())
    }

    fn read_result(&self, expected: Expected, result: Value) -> Result<ServerResult, String> {
        let Value::Object(object) = result else {
            return Err("its result is not an object".into());
        };
        match expected {
            Expected::Object => Ok(ServerResult::CustomResult(CustomResult(Value::Object(object)))),
            Expected::Initialize => {
                let result = serde_json::from_value(Value::Object(object.clone()))
                    .map(ServerResult::InitializeResult)
                    .map_err(|error| format!("its answer to initialize: {error}"))?;
                let _ = self.greeting.set((expected, object));
                Ok(result)
            }
            Expected::Discover => {
                let mut complete = object.clone();
                // Nothing here depends on these; a server that leaves them out is understood all the same.
                for (member, value) in [
                    ("resultType", json!("complete")),
                    ("ttlMs", json!(0)),
                    ("cacheScope", json!("private")),
                ] {
                    complete.entry(member).or_insert(value);
                }
                let result = serde_json::from_value(Value::Object(complete))
                    .map(ServerResult::DiscoverResult)
                    .map_err(|error| format!("its answer to server/discover: {error}"))?;
                let _ = self.greeting.set((expected, object));
                Ok(result)
            }
        }
    }

    async fn hand_over(&self, message: RxJsonRpcMessage<RoleClient>) -> Result<(), Unacceptable> {
        tokio::select! {
            sent = self.incoming.send(message) => {
                sent.map_err(|_| Unacceptable::Ends(Failure::Lost("the session was closed".into())))
            }
            () = self.ended.cancelled() => Err(Unacceptable::Ends(Failure::Lost("the session was closed".into()))),
        }
    }

    fn notice(&self, method: &str, params: Value) {
        match method {
            "notifications/progress" => self.progress(&params),
            "notifications/tools/list_changed"
            | "notifications/resources/list_changed"
            | "notifications/prompts/list_changed" => {
                tracing::debug!(method, "an MCP server's list changed");
                self.lists_changed.store(true, Ordering::SeqCst);
            }
            _ => tracing::trace!(method, "a notification of an MCP server"),
        }
    }

    fn progress(&self, params: &Value) {
        let Some(token) = params.get("progressToken").and_then(envelope::number) else {
            return;
        };
        let Some(progress) = params.get("progress").and_then(Value::as_f64) else {
            return;
        };
        let progress = Progress {
            progress,
            total: params.get("total").and_then(Value::as_f64),
            message: params
                .get("message")
                .and_then(Value::as_str)
                .map(ToOwned::to_owned),
        };
        let pending = self.pending();
        let listener = pending
            .values()
            .find(|pending| pending.progress_token == Some(token))
            .and_then(|pending| pending.ticket.0.progress.as_ref());
        if let Some(listener) = listener {
            // A listener that falls behind misses some.
            let _ = listener.try_send(progress);
        }
    }
}

/// A JSON-RPC error as the peer sent it; what is missing or out of range is filled in.
fn error_data(error: Value) -> ErrorData {
    let code = error.get("code").and_then(Value::as_i64).unwrap_or_default();
    let code = i32::try_from(code).unwrap_or(ErrorCode::INTERNAL_ERROR.0);
    let mut message = error
        .get("message")
        .and_then(Value::as_str)
        .unwrap_or("(no message)")
        .to_owned();
    message.truncate(message.floor_char_boundary(MAX_ERROR_MESSAGE));
    ErrorData::new(ErrorCode(code), message, error.get("data").cloned())
}

/// How long a peer may take to let go.
pub(super) const FAREWELL: Duration = Duration::from_secs(2);
