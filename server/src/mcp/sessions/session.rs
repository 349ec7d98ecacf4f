//! One connection to one server for one project: opened, asked, closed.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rmcp::model::{
    CancelledNotification, CancelledNotificationParam, ClientCapabilities, ClientNotification, ClientRequest,
    CustomRequest, ErrorData, Implementation, InitializeRequestParams, ProtocolVersion, RequestId,
    ServerResult,
};
use rmcp::service::{ClientInitializeError, PeerRequestOptions, RunningService, ServiceError};
use rmcp::transport::DynamicTransportError;
use rmcp::{ClientLifecycleMode, ClientServiceExt, RoleClient};
use serde_json::{Map, Value};
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore};

use super::declining::Declining;
use super::http::HttpLink;
use super::line::{Expected, Line, MessageLimits, Ticket};
use super::stdio::{Environment, StdioLink};
use super::transport::{Link, Wire};
use crate::config::{McpConfig, STDIO_ALLOW};
use crate::mcp::peer::{Endpoint, Failure, Peer};
use crate::outbound::Exchanges;

/// Newest first.
const VERSIONS: [ProtocolVersion; 5] = [
    ProtocolVersion::V_2026_07_28,
    ProtocolVersion::V_2025_11_25,
    ProtocolVersion::V_2025_06_18,
    ProtocolVersion::V_2025_03_26,
    ProtocolVersion::V_2024_11_05,
];

/// How long a request waits for its turn.
const QUEUE_TIME: Duration = Duration::from_secs(5);

/// An open session.
#[derive(Debug)]
pub(super) struct Session {
    line: Arc<Line>,
    peer: rmcp::Peer<RoleClient>,
    service: Mutex<Option<RunningService<RoleClient, Declining>>>,
    version: String,
    greeting: Map<String, Value>,
    opened: Instant,
    calls: Semaphore,
    max_calls: u32,
    call_queue: usize,
    waiting: AtomicUsize,
    /// Its place among the open sessions; given back when it is gone.
    _place: OwnedSemaphorePermit,
}

/// What connections are made with.
#[derive(Debug)]
pub(super) struct Means {
    pub(super) exchanges: Exchanges,
    pub(super) environment: Environment,
}

/// How a session begins.
#[derive(Clone, Copy, Debug)]
enum Handshake {
    /// Ask `server/discover`; a server that does not know it is asked to `initialize`.
    Probe,
    /// Ask to `initialize`.
    Initialize,
}

impl Session {
    /// Connects and agrees on a protocol version.
    ///
    /// # Errors
    /// Any [`Failure`] but [`Failure::Lost`]: nothing that has an effect was sent yet.
    pub(super) async fn open(
        peer: &Peer,
        config: &McpConfig,
        means: &Means,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, Failure> {
        let remembered_initialize = peer
            .protocol_version
            .as_deref()
            .is_some_and(|version| version < ProtocolVersion::NO_INITIALIZE.as_str());
        // A server may have changed since; and some break when asked what they do not know.
        let handshakes = if remembered_initialize {
            [Handshake::Initialize, Handshake::Probe]
        } else {
            [Handshake::Probe, Handshake::Initialize]
        };
        let mut first = None;
        for handshake in handshakes {
            match Self::begin(peer, config, means, handshake).await {
                Ok((line, service)) => return Self::new(config, line, service, place).await,
                Err(Refused { failure, is_final }) => {
                    let failure = first.get_or_insert(failure);
                    if is_final {
                        return Err(failure.clone());
                    }
                }
            }
        }
        Err(first.unwrap_or_else(|| Failure::Unreachable("no handshake was tried".into())))
    }

    async fn begin(
        peer: &Peer,
        config: &McpConfig,
        means: &Means,
        handshake: Handshake,
    ) -> Result<(Arc<Line>, RunningService<RoleClient, Declining>), Refused> {
        let (line, incoming) = Line::new(MessageLimits {
            bytes: config.max_message_bytes,
            unasked_per_second: config.max_notifications,
        });
        let link = match &peer.endpoint {
            Endpoint::Stdio(words) => StdioLink::start(words, &means.environment, line.clone())
                .map(|link| Link::Stdio(Box::new(link))),
            Endpoint::StreamableHttp(url) => HttpLink::new(
                url.clone(),
                peer.auth.as_ref(),
                means.exchanges.clone(),
                line.clone(),
            )
            .map(Link::Http),
        };
        let wire = Wire {
            link: link.map_err(|failure| Refused {
                failure,
                is_final: true,
            })?,
            incoming,
            ended: line.ended().clone(),
        };
        let client = Implementation::new("llmring-server", env!("CARGO_PKG_VERSION"));
        let mut parameters = InitializeRequestParams::new(ClientCapabilities::default(), client);
        parameters.protocol_version = ProtocolVersion::LATEST_WITH_INITIALIZE;
        let lifecycle = match handshake {
            Handshake::Initialize => ClientLifecycleMode::Initialize,
            Handshake::Probe => ClientLifecycleMode::Auto {
                preferred_versions: VERSIONS
                    .into_iter()
                    .filter(|version| !version.has_initialize())
                    .collect(),
                legacy_version: None,
            },
        };
        match Declining::new(parameters)
            .serve_with_lifecycle(wire, lifecycle)
            .await
        {
            Ok(service) => Ok((line, service)),
            Err(error) => Err(Refused::new(error, &line)),
        }
    }

    async fn new(
        config: &McpConfig,
        line: Arc<Line>,
        mut service: RunningService<RoleClient, Declining>,
        place: OwnedSemaphorePermit,
    ) -> Result<Self, Failure> {
        let peer = service.peer().clone();
        let version = peer.peer_info().map(|info| info.protocol_version.clone());
        let version = match version {
            Some(version) if VERSIONS.contains(&version) => version.as_str().to_owned(),
            other => {
                let _ = service.close().await;
                let shown: String = other.iter().flat_map(|v| v.as_str().chars()).take(32).collect();
                return Err(Failure::Unreachable(format!(
                    "it speaks protocol version {shown:?}, which is not known here"
                )));
            }
        };
        let greeting = line
            .greeting()
            .map(|(_, greeting)| greeting.clone())
            .unwrap_or_default();
        Ok(Self {
            line,
            peer,
            service: Mutex::new(Some(service)),
            version,
            greeting,
            opened: Instant::now(),
            calls: Semaphore::new(config.max_calls),
            max_calls: u32::try_from(config.max_calls).unwrap_or(u32::MAX),
            call_queue: config.call_queue,
            waiting: AtomicUsize::new(0),
            _place: place,
        })
    }

    /// The protocol version agreed on.
    pub(super) fn version(&self) -> &str {
        &self.version
    }

    /// The server's answer to `initialize` or `server/discover`, as sent.
    pub(super) fn greeting(&self) -> &Map<String, Value> {
        &self.greeting
    }

    pub(super) fn line(&self) -> &Line {
        &self.line
    }

    /// How long the session lived, if it ended by itself, with the reason and the moment.
    pub(super) fn died(&self) -> Option<(Duration, Failure, Instant)> {
        let (failure, at) = self.line.ending()?;
        Some((at.duration_since(self.opened), failure.clone(), *at))
    }

    /// Sends one request and waits for its answer, as the peer sent it. Dropping the future cancels the request at the peer.
    ///
    /// # Errors
    /// [`Failure`]; [`Failure::Busy`] when too many requests are under way and waiting.
    pub(super) async fn request(
        &self,
        method: &str,
        params: Map<String, Value>,
        ticket: &Ticket,
    ) -> Result<Map<String, Value>, Failure> {
        let _turn = self.turn().await?;
        let mut request = CustomRequest::new(method, Some(Value::Object(params)));
        request.extensions.insert(ticket.clone());
        let mut handle = self
            .peer
            .send_cancellable_request(
                ClientRequest::CustomRequest(request),
                PeerRequestOptions::no_options(),
            )
            .await
            .map_err(|error| self.failure(error, ticket))?;
        let mut cancellation = CancelOnDrop {
            peer: &self.peer,
            id: Some(handle.id.clone()),
        };
        let outcome = (&mut handle.rx).await;
        cancellation.id = None;
        match outcome {
            Ok(Ok(ServerResult::CustomResult(result))) => match result.0 {
                Value::Object(result) => complete(result),
                _ => Err(Failure::Malformed("its result is not an object".into())),
            },
            Ok(Ok(_)) => Err(Failure::Malformed("its result is of another request".into())),
            Ok(Err(error)) => Err(self.failure(error, ticket)),
            Err(_) => Err(self.line.failure_of(ticket)),
        }
    }

    /// Waits for one of the places of requests under way.
    async fn turn(&self) -> Result<tokio::sync::SemaphorePermit<'_>, Failure> {
        if let Ok(permit) = self.calls.try_acquire() {
            return Ok(permit);
        }
        let busy = || Failure::Busy {
            what: "the MCP server's session",
            retry_after: Duration::from_secs(1),
        };
        let place = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Ordering::SeqCst) >= self.call_queue {
            return Err(busy());
        }
        let permit = tokio::time::timeout(QUEUE_TIME, self.calls.acquire()).await;
        drop(place);
        match permit {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(busy()),
        }
    }

    /// Waits until no request is under way.
    pub(super) async fn quiet(&self) {
        // The semaphore is fair: whoever waited before is served before. An error means that it is closed.
        let _ = self.calls.acquire_many(self.max_calls).await;
    }

    fn failure(&self, error: ServiceError, ticket: &Ticket) -> Failure {
        match error {
            ServiceError::McpError(error) => rpc(error),
            ServiceError::TransportSend(error) => {
                cause_of(&error).unwrap_or_else(|| self.line.failure_of(ticket))
            }
            _ => self.line.failure_of(ticket),
        }
    }

    /// Closes the connection, whatever is under way: a child process is gone afterwards, with its group.
    pub(super) async fn close(&self) {
        self.line.retire();
        let service = self.service.lock().await.take();
        if let Some(service) = service {
            let _ = service.cancel().await;
        }
    }
}

/// Counts one who waits, until dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Tells the peer that nobody waits for the answer any more.
struct CancelOnDrop<'a> {
    peer: &'a rmcp::Peer<RoleClient>,
    id: Option<RequestId>,
}

impl Drop for CancelOnDrop<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.take() else { return };
        let reason = Some("nobody waits for the answer any more".to_owned());
        let cancelled = CancelledNotification::new(CancelledNotificationParam::new(Some(id), reason));
        let notification = ClientNotification::CancelledNotification(cancelled);
        // Polled once it is in rmcp's queue, ahead of every later request; how it fares there concerns nobody.
        let _ = tokio::task::unconstrained(self.peer.send_notification(notification)).now_or_never();
    }
}

/// A handshake that failed.
struct Refused {
    failure: Failure,
    /// Another kind of handshake would fail as well.
    is_final: bool,
}

impl Refused {
    fn new(error: ClientInitializeError, line: &Line) -> Self {
        let failure = match error {
            ClientInitializeError::TransportError { error, .. } => {
                cause_of(&error).unwrap_or_else(|| Failure::Unreachable("the connection failed".into()))
            }
            ClientInitializeError::JsonRpcError(error) => rpc(error),
            ClientInitializeError::LegacyFallbackFailed { fallback, .. } => {
                return Self::new(*fallback, line);
            }
            ClientInitializeError::NoCompatibleProtocolVersion { .. } => {
                Failure::Unreachable("no protocol version is known on both sides".into())
            }
            ClientInitializeError::ConnectionClosed(_) => line.failure_of(&Ticket::default()),
            _ => Failure::Malformed("its answer to the handshake".into()),
        };
        // The handshake has no effect, so it does not matter whether it arrived.
        let failure = match failure {
            Failure::Lost(reason) => Failure::Unreachable(reason),
            other => other,
        };
        let is_final = matches!(failure, Failure::Denied { .. } | Failure::LimitExceeded(_));
        Self { failure, is_final }
    }
}

/// What the transport gave as the reason.
fn cause_of(error: &DynamicTransportError) -> Option<Failure> {
    error.error.downcast_ref::<Failure>().cloned()
}

fn rpc(error: ErrorData) -> Failure {
    Failure::Rpc {
        code: i64::from(error.code.0),
        message: error.message.into_owned(),
        data: error.data,
    }
}

/// From 2026-07-28 on a result says whether it is one. Whoever has to be asked first cannot be asked here.
fn complete(result: Map<String, Value>) -> Result<Map<String, Value>, Failure> {
    match result.get("resultType").and_then(Value::as_str) {
        None | Some("complete") => Ok(result),
        Some("input_required") => Err(Failure::Malformed(
            "it asks for a user's input, which this client does not offer".into(),
        )),
        Some(_) => Err(Failure::Malformed(
            "it is of a kind that this client does not offer to take".into(),
        )),
    }
}

/// Whether the operator permits the endpoint, as far as it shows before anything is dialled.
pub(super) fn permitted(endpoint: &Endpoint, config: &McpConfig) -> Result<(), Failure> {
    match endpoint {
        Endpoint::Stdio(words) if config.stdio_allow.contains(words) => Ok(()),
        Endpoint::Stdio(_) => Err(Failure::Denied {
            reason: "this command line may not be started".into(),
            setting: STDIO_ALLOW,
        }),
        Endpoint::StreamableHttp(_) => Ok(()),
    }
}

impl Expected {
    /// Where the server names itself in its greeting.
    pub(super) fn server_info(greeting: &Map<String, Value>) -> Value {
        greeting
            .get("serverInfo")
            .or_else(|| greeting.get("_meta")?.get("io.modelcontextprotocol/serverInfo"))
            .cloned()
            .unwrap_or_default()
    }
}
