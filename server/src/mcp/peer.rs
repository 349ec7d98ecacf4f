//! The boundary between rows and sessions: whom a session is opened to, what comes back, and what can go wrong on the way.
//!
//! What a peer says travels as the JSON it sent, unknown members included.

use std::fmt;
use std::time::Duration;

use entity::ids::ProjectId;
use serde_json::{Map, Value};
use url::Url;
use uuid::Uuid;
use zeroize::Zeroizing;

/// A server to connect to, as its row says, with its secrets in clear.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The tenant. Sessions are never shared between tenants.
    pub project: ProjectId,
    /// The server row's id.
    pub server: Uuid,
    /// Changes with every change of the row that matters to a session (url, transport, auth); a session of another revision is
    /// closed and opened anew.
    pub revision: i64,
    /// How to reach it.
    pub endpoint: Endpoint,
    /// How to show who is asking.
    pub auth: Option<Auth>,
    /// The protocol version agreed on last time.
    pub protocol_version: Option<String>,
}

/// How a server is reached.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Endpoint {
    /// A child process that speaks over its standard input and output: program and arguments, started without a shell.
    Stdio(Vec<String>),
    /// Streamable HTTP (MCP specification, transports).
    StreamableHttp(Url),
}

/// A text that no log line shows and that is wiped when dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Zeroizing<String>);

impl Secret {
    /// Takes a text into custody.
    pub fn new(text: impl Into<String>) -> Self {
        Self(Zeroizing::new(text.into()))
    }

    /// The text, to be put into a request and nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

/// How to show who is asking.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer <token>` (RFC 6750 section 2.1).
    Bearer(Secret),
    /// A header of the operator's choice.
    Header {
        /// Its name.
        name: String,
        /// Its value.
        value: Secret,
    },
    /// `Authorization: Basic …` (RFC 7617).
    Basic {
        /// Without a colon.
        username: String,
        /// Any text.
        password: Secret,
    },
    /// A token fetched with client credentials (RFC 6749 section 4.4), renewed before it expires and after a 401.
    OauthClientCredentials {
        /// The authorization server's token endpoint.
        token_url: Url,
        /// RFC 6749 section 2.2.
        client_id: String,
        /// RFC 6749 section 2.3.1.
        client_secret: Secret,
        /// Space-separated (RFC 6749 section 3.3).
        scope: Option<String>,
        /// The resource that the token is for (RFC 8707).
        resource: Option<String>,
    },
}

/// Everything that a server offers: all pages of every list, each definition as the server sent it.
#[derive(Clone, Debug, Default)]
pub struct Discovery {
    /// Agreed on, such as `2025-11-25`.
    pub protocol_version: String,
    /// The server's `capabilities`.
    pub capabilities: Value,
    /// The server's own name and version.
    pub server_info: Value,
    /// What the server says of its use.
    pub instructions: Option<String>,
    /// MCP `Tool` objects.
    pub tools: Vec<Value>,
    /// MCP `Resource` objects.
    pub resources: Vec<Value>,
    /// MCP `ResourceTemplate` objects.
    pub resource_templates: Vec<Value>,
    /// MCP `Prompt` objects.
    pub prompts: Vec<Value>,
}

/// A call of a tool.
#[derive(Clone, Debug)]
pub struct ToolCall {
    /// The tool's name at the server.
    pub name: String,
    /// Already checked against the tool's input schema.
    pub arguments: Map<String, Value>,
    /// The tool's input schema, for what a transport derives from it (`x-mcp-header`).
    pub input_schema: Option<Value>,
    /// The answer must be there by then, connecting included.
    pub timeout: Duration,
}

/// One progress notification (MCP specification, utilities).
#[derive(Clone, Debug, PartialEq)]
pub struct Progress {
    /// Grows with each notification.
    pub progress: f64,
    /// Where it ends, when that is known.
    pub total: Option<f64>,
    /// For people.
    pub message: Option<String>,
}

/// Why a request to a server has no result. `Display` is what a caller may read: it holds no secret, and of the peer's own words only
/// what the protocol hands over as an error message.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum Failure {
    /// This server's configuration does not permit it. Nothing was sent.
    #[error("{reason} (the operator decides with {setting})")]
    Denied {
        /// What is refused.
        reason: String,
        /// The setting that decides it.
        setting: &'static str,
    },
    /// No session can be had for now: too many, or too many calls at once. Nothing was sent.
    #[error("{what} is busy: try again in a moment")]
    Busy {
        /// Such as `the pool of MCP sessions`.
        what: &'static str,
        /// When to try again.
        retry_after: Duration,
    },
    /// No connection, no agreement on a protocol version, or a connection that broke before the request was sent.
    #[error("the MCP server cannot be reached: {0}")]
    Unreachable(String),
    /// The request was sent and the connection ended before its answer: it may or may not have happened.
    #[error("the connection to the MCP server ended before it answered: {0}")]
    Lost(String),
    /// No answer in time. The request was cancelled at the peer.
    #[error("the MCP server did not answer within {} ms", .0.as_millis())]
    TimedOut(Duration),
    /// A limit of this server, with the figure.
    #[error("{0}")]
    LimitExceeded(String),
    /// The peer answered with a JSON-RPC error.
    #[error("the MCP server answered with error {code}: {message}")]
    Rpc {
        /// JSON-RPC 2.0 section 5.1.
        code: i64,
        /// The peer's words.
        message: String,
        /// Whatever else the peer said.
        data: Option<Value>,
    },
    /// The peer's answer is no MCP.
    #[error("the MCP server's answer cannot be understood: {0}")]
    Malformed(String),
}
