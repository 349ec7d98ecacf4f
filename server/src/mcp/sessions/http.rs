//! Streamable HTTP (MCP specification, transports), from 2025-03-26 to 2026-07-28.
//!
//! Every request is one exchange: a POST, answered by a JSON body or a stream of events. It is sent once; only a refusal with
//! 401 of a token that can be renewed is followed by a second POST. A stream that breaks off before the answer is taken up again
//! by a GET, when the server numbers its events; that repeats no call.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;
use url::Url;

use super::credentials::Credentials;
use super::line::{Allowance, Expected, FAREWELL, Line, Ticket, Unacceptable};
use super::routing_headers;
use super::sse::{Event, Events};
use super::transport::Outgoing;
use crate::config::EGRESS;
use crate::mcp::peer::{Auth, Failure};
use crate::outbound::{Answer, Exchanges, OutboundError};

const SESSION_ID: HeaderName = HeaderName::from_static("mcp-session-id");
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("mcp-protocol-version");
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
const JSON: &str = "application/json";
const EVENT_STREAM: &str = "text/event-stream";
/// Largest body of a refusal that is read.
const MAX_REFUSAL: usize = 64 << 10;
/// Longest time for a message that nobody waits for an answer to.
const CONTROL_TIMEOUT: Duration = Duration::from_secs(10);
/// How often a broken stream is taken up again without anything new arriving.
const RESUMPTIONS: u32 = 5;
/// The pause before that, unless the server says otherwise.
const RETRY: Duration = Duration::from_secs(1);
/// The shortest pause that a server may ask for.
const MIN_RETRY: Duration = Duration::from_millis(250);
/// The longest pause that a server may ask for.
const MAX_RETRY: Duration = Duration::from_secs(30);

/// A connection over Streamable HTTP.
#[derive(Debug)]
pub(super) struct HttpLink(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    line: Arc<Line>,
    exchanges: Exchanges,
    url: Url,
    credentials: Credentials,
    /// Given by a server of a version that has `initialize`.
    session_id: Mutex<Option<HeaderValue>>,
    /// Agreed on in `initialize`.
    version: OnceLock<HeaderValue>,
    closed: CancellationToken,
}

impl Drop for HttpLink {
    fn drop(&mut self) {
        self.0.closed.cancel();
    }
}

/// What a failed request means to who asked for it.
pub(super) fn failure(error: &OutboundError) -> Failure {
    match error {
        OutboundError::Refused(refusal) => Failure::Denied {
            reason: format!("it is at {}", refusal.kind()),
            setting: EGRESS,
        },
        error => {
            let cause = error.root_cause();
            let reason = match error.to_string() {
                shown if shown == cause => shown,
                shown => format!("{shown}: {cause}"),
            };
            if error.was_sent() {
                Failure::Lost(reason)
            } else {
                Failure::Unreachable(reason)
            }
        }
    }
}

/// Where a stream of events can be taken up again.
#[derive(Default)]
struct Cursor {
    last_event_id: Option<HeaderValue>,
    retry: Option<Duration>,
    progressed: bool,
}

impl HttpLink {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] when the credentials cannot be sent.
    pub(super) fn new(
        url: Url,
        auth: Option<&Auth>,
        exchanges: Exchanges,
        line: Arc<Line>,
    ) -> Result<Self, Failure> {
        Ok(Self(Arc::new(Shared {
            credentials: Credentials::new(auth, &exchanges)?,
            line,
            exchanges,
            url,
            session_id: Mutex::default(),
            version: OnceLock::new(),
            closed: CancellationToken::new(),
        })))
    }

    /// Sends a message; a request's future lasts until its answer.
    pub(super) fn send(&self, outgoing: Outgoing) -> BoxFuture<'static, Result<(), Failure>> {
        let shared = self.0.clone();
        match outgoing {
            Outgoing::Request {
                id,
                method,
                text,
                ticket,
                expected,
                progress_token,
                version,
            } => {
                let mut done = shared.line.expect(id, expected, ticket.clone(), progress_token);
                let request = Request {
                    id,
                    method,
                    text,
                    ticket,
                    expected,
                    version,
                };
                Box::pin(async move {
                    let exchange = shared.exchange(&request);
                    let mut exchange = std::pin::pin!(exchange);
                    tokio::select! {
                        biased;
                        outcome = &mut exchange => {
                            if let Err(failure) = outcome {
                                shared.line.fail(id, failure);
                            }
                            done.await
                        }
                        outcome = &mut done => outcome,
                    }
                    .unwrap_or_else(|_| Err(Failure::Lost("the request was cancelled".into())))
                })
            }
            Outgoing::Cancellation { id, text } => {
                // Ends the exchange and closes its stream; from 2026-07-28 on that says it all.
                let tell = shared.line.abandon(id) && !shared.is_modern();
                Box::pin(async move { if tell { shared.notify(text).await } else { Ok(()) } })
            }
            Outgoing::Initialized { text } => Box::pin(async move {
                shared.notify(text).await?;
                tokio::spawn(async move { shared.listen().await });
                Ok(())
            }),
            Outgoing::Other { text } => Box::pin(async move { shared.notify(text).await }),
        }
    }

    /// Takes leave of a server that keeps a session.
    pub(super) async fn close(&mut self) {
        let shared = &self.0;
        shared.line.end(Failure::Lost("the session was closed".into()));
        shared.closed.cancel();
        let session_id = shared.session_id().take();
        if let Some(session_id) = session_id {
            let farewell = async {
                let mut headers = shared.legacy_headers();
                headers.insert(SESSION_ID, session_id);
                shared.credentials.sign(&mut headers, None).await?;
                shared
                    .exchanges
                    .send(Method::DELETE, &shared.url, headers, Bytes::new())
                    .await
                    .map_err(|error| failure(&error))
            };
            if let Ok(Err(failure)) = tokio::time::timeout(FAREWELL, farewell).await {
                tracing::debug!(%failure, "an MCP server did not hear that its session is over");
            }
        }
    }
}

struct Request {
    id: i64,
    method: String,
    text: String,
    ticket: Ticket,
    expected: Expected,
    version: Option<String>,
}

impl Shared {
    fn session_id(&self) -> std::sync::MutexGuard<'_, Option<HeaderValue>> {
        self.session_id.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether the session has no `initialize`, no session id and no stream of its own.
    fn is_modern(&self) -> bool {
        matches!(self.line.greeting(), Some((Expected::Discover, _)))
    }

    fn legacy_headers(&self) -> HeaderMap {
        let mut headers = HeaderMap::new();
        if let Some(version) = self.version.get() {
            headers.insert(PROTOCOL_VERSION, version.clone());
        }
        if let Some(session_id) = self.session_id().as_ref() {
            headers.insert(SESSION_ID, session_id.clone());
        }
        headers
    }

    fn request_headers(&self, request: &Request) -> HeaderMap {
        match &request.version {
            Some(version) => {
                let mut headers = routing_headers::of(&request.method, &request.text, &request.ticket);
                if let Ok(version) = HeaderValue::from_str(version) {
                    headers.insert(PROTOCOL_VERSION, version);
                }
                headers
            }
            None if request.expected == Expected::Initialize => HeaderMap::new(),
            None => self.legacy_headers(),
        }
    }

    async fn post(&self, mut headers: HeaderMap, text: String) -> Result<Answer, Failure> {
        headers.insert(
            ACCEPT,
            HeaderValue::from_static("application/json, text/event-stream"),
        );
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        let body = Bytes::from(text);
        let generation = self.credentials.sign(&mut headers, None).await?;
        let answer = self.post_once(headers.clone(), body.clone()).await?;
        if answer.status() != StatusCode::UNAUTHORIZED || generation.is_none() {
            return Ok(answer);
        }
        // It was refused, so it has not happened: the one case in which a request is sent again.
        self.credentials.sign(&mut headers, generation).await?;
        self.post_once(headers, body).await
    }

    async fn post_once(&self, headers: HeaderMap, body: Bytes) -> Result<Answer, Failure> {
        self.exchanges
            .send(Method::POST, &self.url, headers, body)
            .await
            .map_err(|error| failure(&error))
    }

    /// Sends a message that has no answer.
    async fn notify(&self, text: String) -> Result<(), Failure> {
        let mut headers = self.legacy_headers();
        if self.is_modern() {
            headers = routing_headers::of("", &text, &Ticket::default());
        }
        let answer = tokio::time::timeout(CONTROL_TIMEOUT, self.post(headers, text))
            .await
            .map_err(|_| Failure::Unreachable("it does not answer a notification".into()))??;
        if answer.status().is_success() {
            return Ok(());
        }
        Err(refused(answer.status()))
    }

    /// One request, until its answer was handed over.
    async fn exchange(&self, request: &Request) -> Result<(), Failure> {
        let ticket = &request.ticket;
        ticket.mark_sent();
        let answer = self
            .post(self.request_headers(request), request.text.clone())
            .await;
        let mut answer = match answer {
            Ok(answer) => answer,
            Err(failure @ Failure::Lost(_)) => return Err(failure),
            Err(failure) => {
                ticket.mark_unsent();
                return Err(failure);
            }
        };
        let status = answer.status();
        if !status.is_success() {
            return self.refusal(request, answer).await;
        }
        if request.expected == Expected::Initialize
            && let Some(session_id) = answer.headers().get(SESSION_ID)
        {
            *self.session_id() = Some(session_id.clone());
        }
        let mut allowance = Allowance::new(self.line.limits);
        if is_of_type(&answer, JSON) {
            let body = self.read_body(&mut answer, self.line.limits.bytes).await?;
            self.accept(&body, Some(request.id), &mut allowance).await?;
            if self.line.is_pending(request.id) {
                return Err(Failure::Malformed("it answers another request".into()));
            }
        } else if is_of_type(&answer, EVENT_STREAM) {
            self.follow(answer, request, &mut allowance).await?;
        } else if matches!(status, StatusCode::ACCEPTED | StatusCode::NO_CONTENT) {
            return Err(Failure::Malformed(format!("{status} in answer to a request")));
        } else {
            return Err(Failure::Malformed(
                "it is neither JSON nor a stream of events".into(),
            ));
        }
        if request.expected == Expected::Initialize {
            self.remember_version();
        }
        Ok(())
    }

    fn remember_version(&self) {
        if let Some((_, greeting)) = self.line.greeting()
            && let Some(version) = greeting.get("protocolVersion").and_then(Value::as_str)
            && let Ok(version) = HeaderValue::from_str(version)
        {
            let _ = self.version.set(version);
        }
    }

    /// A status other than success, with a JSON-RPC error in the body or not.
    async fn refusal(&self, request: &Request, mut answer: Answer) -> Result<(), Failure> {
        let status = answer.status();
        if matches!(status, StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND) && self.session_id().is_some() {
            // Likely the session is not known any more: the next request opens another one.
            self.line.retire();
        }
        if status.is_redirection() || matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            request.ticket.mark_unsent();
            return Err(refused(status));
        }
        let error = if is_of_type(&answer, JSON) {
            let body = self.read_body(&mut answer, MAX_REFUSAL).await.unwrap_or_default();
            serde_json::from_slice::<Value>(&body)
                .ok()
                .and_then(|body| body.get("error").filter(|error| error.is_object()).cloned())
        } else {
            None
        };
        let error = match error {
            Some(error) => error,
            // A server that knows no `server/discover` may refuse it like this; it is asked to `initialize` then.
            None if request.expected == Expected::Discover && status.is_client_error() => {
                json!({"code": -32600, "message": format!("HTTP {status}")})
            }
            None => {
                let failure = refused(status);
                if matches!(failure, Failure::Unreachable(_)) {
                    request.ticket.mark_unsent();
                }
                return Err(failure);
            }
        };
        let message = json!({"jsonrpc": "2.0", "id": request.id, "error": error}).to_string();
        let mut allowance = Allowance::new(self.line.limits);
        self.accept(message.as_bytes(), Some(request.id), &mut allowance)
            .await
    }

    async fn read_body(&self, answer: &mut Answer, limit: usize) -> Result<Bytes, Failure> {
        let mut body = BytesMut::new();
        while let Some(chunk) = answer.chunk().await.map_err(|error| failure(&error))? {
            if body.len() + chunk.len() > limit {
                return Err(self.line.limits.too_large());
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    async fn accept(
        &self,
        text: &[u8],
        request: Option<i64>,
        allowance: &mut Allowance,
    ) -> Result<(), Failure> {
        match self.line.accept(text, allowance).await {
            Ok(()) => Ok(()),
            Err(Unacceptable::Ends(failure)) => Err(failure),
            Err(Unacceptable::Unreadable { problem, .. }) if request.is_some() => {
                Err(Failure::Malformed(problem))
            }
            Err(Unacceptable::Unreadable { problem, .. }) => {
                tracing::debug!(problem, "an MCP server sent an event that is no message");
                Ok(())
            }
        }
    }

    /// Reads a stream of events until the answer to `request`, taking it up again where it breaks off.
    async fn follow(
        &self,
        mut answer: Answer,
        request: &Request,
        allowance: &mut Allowance,
    ) -> Result<(), Failure> {
        let mut cursor = Cursor::default();
        let mut attempts = 0;
        loop {
            let broken = self
                .pump(&mut answer, Some(request.id), &mut cursor, allowance)
                .await;
            if !self.line.is_pending(request.id) {
                // What little follows is read, so that the connection can serve the next request.
                tokio::spawn(async move {
                    let rest = async { while let Ok(Some(_)) = answer.chunk().await {} };
                    let _ = tokio::time::timeout(FAREWELL, rest).await;
                });
                return Ok(());
            }
            let reason = match broken {
                Ok(()) => "its answer ended early".to_owned(),
                Err(Failure::Lost(reason)) => reason,
                Err(failure) => return Err(failure),
            };
            if std::mem::take(&mut cursor.progressed) {
                attempts = 0;
            }
            attempts += 1;
            if cursor.last_event_id.is_none() || request.version.is_some() || attempts > RESUMPTIONS {
                return Err(Failure::Lost(reason));
            }
            tokio::time::sleep(cursor.retry.unwrap_or(RETRY).clamp(MIN_RETRY, MAX_RETRY)).await;
            match self.get_stream(&cursor).await {
                Ok(Some(resumed)) => answer = resumed,
                Ok(None) | Err(_) => return Err(Failure::Lost(reason)),
            }
        }
    }

    /// Hands over what a stream of events brings, until it ends or `request` is answered.
    async fn pump(
        &self,
        answer: &mut Answer,
        request: Option<i64>,
        cursor: &mut Cursor,
        allowance: &mut Allowance,
    ) -> Result<(), Failure> {
        let mut events = Events::new(self.line.limits.bytes);
        while let Some(chunk) = answer.chunk().await.map_err(|error| failure(&error))? {
            let complete = events.read(&chunk).map_err(|_| self.line.limits.too_large())?;
            for event in complete {
                let Event {
                    name,
                    data,
                    id,
                    retry,
                } = event;
                if let Some(id) = id.and_then(|id| HeaderValue::from_str(&id).ok()) {
                    cursor.last_event_id = Some(id).filter(|id| !id.is_empty());
                    cursor.progressed = true;
                }
                cursor.retry = retry.or(cursor.retry);
                if data.trim().is_empty() || !matches!(name.as_str(), "" | "message") {
                    continue;
                }
                self.accept(data.as_bytes(), request, allowance).await?;
                if request.is_some_and(|id| !self.line.is_pending(id)) {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// A stream that the server fills; `None` when it offers none.
    async fn get_stream(&self, cursor: &Cursor) -> Result<Option<Answer>, Failure> {
        let mut headers = self.legacy_headers();
        headers.insert(ACCEPT, HeaderValue::from_static(EVENT_STREAM));
        if let Some(id) = &cursor.last_event_id {
            headers.insert(LAST_EVENT_ID, id.clone());
        }
        self.credentials.sign(&mut headers, None).await?;
        let answer = self
            .exchanges
            .send(Method::GET, &self.url, headers, Bytes::new())
            .await
            .map_err(|error| failure(&error))?;
        Ok((answer.status() == StatusCode::OK && is_of_type(&answer, EVENT_STREAM)).then_some(answer))
    }

    /// Listens to what the server says by itself, until the session is closed or the server offers nothing.
    async fn listen(self: Arc<Self>) {
        let closed = self.closed.clone();
        tokio::select! {
            () = closed.cancelled() => {}
            () = self.listen_on() => {}
        }
    }

    async fn listen_on(&self) {
        let mut cursor = Cursor::default();
        let mut allowance = Allowance::new(self.line.limits);
        let mut failed = 0;
        while failed < RESUMPTIONS {
            failed += 1;
            match self.get_stream(&cursor).await {
                Ok(Some(mut answer)) => match self.pump(&mut answer, None, &mut cursor, &mut allowance).await
                {
                    Ok(()) | Err(Failure::Lost(_)) => {}
                    Err(failure) => {
                        self.line.end(failure);
                        return;
                    }
                },
                Ok(None) => return,
                Err(failure) => {
                    tracing::debug!(%failure, "the stream of an MCP server's own messages broke off");
                }
            }
            if std::mem::take(&mut cursor.progressed) {
                failed = 0;
            }
            tokio::time::sleep(
                cursor
                    .retry
                    .unwrap_or(RETRY * 2_u32.pow(failed))
                    .clamp(MIN_RETRY, MAX_RETRY),
            )
            .await;
        }
    }
}

fn is_of_type(answer: &Answer, media_type: &str) -> bool {
    answer
        .headers()
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .is_some_and(|value| value.trim().eq_ignore_ascii_case(media_type))
}

/// What a status without a JSON-RPC error means. A server that fails in the middle may have acted.
fn refused(status: StatusCode) -> Failure {
    if status.is_redirection() {
        return Failure::Unreachable(format!("it answered {status}, and redirects are not followed"));
    }
    let reason = format!("it answered {status}");
    match status {
        StatusCode::SERVICE_UNAVAILABLE => Failure::Unreachable(reason),
        status if status.is_server_error() => Failure::Lost(reason),
        _ => Failure::Unreachable(reason),
    }
}
