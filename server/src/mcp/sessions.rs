//! Sessions with MCP servers: one for each server row and project, opened when needed, closed when idle, rebuilt after a failure.
//!
//! No request is ever sent twice. Whatever a server does wrong ends its own session at most.

mod credentials;
mod declining;
mod envelope;
mod http;
mod line;
mod listing;
mod pool;
mod routing_headers;
mod scrub;
mod session;
mod sse;
mod stdio;
#[cfg(test)]
mod tests;
mod transport;

use std::ffi::OsString;
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Map, Value};
use tokio::sync::mpsc;
use tokio::time::Instant;
use uuid::Uuid;

use self::line::Ticket;
use self::pool::{Lease, Pool};
use self::stdio::Environment;
use super::peer::{Discovery, Failure, Peer, Progress, ToolCall};
use crate::config::McpConfig;
use crate::outbound::OutboundError;

/// Progress notifications of one call that wait for its listener; beyond that some are missed.
const PROGRESS: usize = 64;

/// All sessions of this process. Clones share them.
#[derive(Clone, Debug)]
pub struct Sessions(Arc<Pool>);

impl Sessions {
    /// No session yet, and what closes idle ones. `variable` looks into the environment; child processes get `PATH`, `HOME`,
    /// `LANG`, `LC_ALL`, `TMPDIR` and `TZ` of it. Needs a tokio runtime.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn start(
        config: &McpConfig,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, OutboundError> {
        Ok(Self(Pool::start(config.clone(), Environment::kept(variable))?))
    }

    /// What a server offers: all pages of every list, read anew.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub async fn discover(&self, peer: &Peer) -> Result<Discovery, Failure> {
        let config = self.0.config();
        self.within(peer, config.discovery_timeout, async |lease: Lease| {
            lease.line().take_lists_changed();
            listing::discover(&lease, config).await
        })
        .await
    }

    /// Calls a tool and gives its `CallToolResult` as the server sent it. `on_progress` hears of progress in order. Dropping the
    /// future cancels the call at the server.
    ///
    /// # Errors
    /// Any [`Failure`]. After [`Failure::Lost`] and [`Failure::TimedOut`] the call may or may not have happened.
    pub async fn call_tool(
        &self,
        peer: &Peer,
        call: ToolCall,
        on_progress: impl Fn(Progress) + Send + Sync,
    ) -> Result<Value, Failure> {
        let ToolCall {
            name,
            arguments,
            input_schema,
            timeout,
        } = call;
        let params = Map::from_iter([
            ("name".to_owned(), Value::String(name)),
            ("arguments".to_owned(), Value::Object(arguments)),
        ]);
        self.within(peer, timeout, async |lease: Lease| {
            let (progress, mut reported) = mpsc::channel(PROGRESS);
            let ticket = Ticket::new(Some(progress), input_schema);
            let mut answer = std::pin::pin!(lease.request("tools/call", params, &ticket));
            let outcome = loop {
                tokio::select! {
                    outcome = &mut answer => break outcome,
                    Some(progress) = reported.recv() => on_progress(progress),
                }
            };
            while let Ok(progress) = reported.try_recv() {
                on_progress(progress);
            }
            outcome.map(Value::Object)
        })
        .await
        .map(|result| scrub::value(result, peer.auth.as_ref()))
    }

    /// Reads a resource and gives its `ReadResourceResult` as the server sent it.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub async fn read_resource(&self, peer: &Peer, uri: &str, timeout: Duration) -> Result<Value, Failure> {
        let params = Map::from_iter([("uri".to_owned(), Value::from(uri))]);
        self.ask(peer, "resources/read", params, timeout).await
    }

    /// Renders a prompt and gives its `GetPromptResult` as the server sent it.
    ///
    /// # Errors
    /// Any [`Failure`].
    pub async fn get_prompt(
        &self,
        peer: &Peer,
        name: &str,
        arguments: Map<String, Value>,
        timeout: Duration,
    ) -> Result<Value, Failure> {
        let params = Map::from_iter([
            ("name".to_owned(), Value::from(name)),
            ("arguments".to_owned(), Value::Object(arguments)),
        ]);
        self.ask(peer, "prompts/get", params, timeout).await
    }

    async fn ask(
        &self,
        peer: &Peer,
        method: &str,
        params: Map<String, Value>,
        timeout: Duration,
    ) -> Result<Value, Failure> {
        self.within(peer, timeout, async |lease: Lease| {
            lease
                .request(method, params, &Ticket::default())
                .await
                .map(Value::Object)
        })
        .await
        .map(|result| scrub::value(result, peer.auth.as_ref()))
    }

    /// Has a session do something, all within `timeout`.
    async fn within<T>(
        &self,
        peer: &Peer,
        timeout: Duration,
        work: impl AsyncFnOnce(Lease) -> Result<T, Failure>,
    ) -> Result<T, Failure> {
        let deadline = Instant::now() + timeout;
        let all = async {
            let lease = self.0.lease(peer, deadline).await?;
            work(lease).await
        };
        let outcome = tokio::time::timeout_at(deadline, all)
            .await
            .unwrap_or(Err(Failure::TimedOut(timeout)));
        match &outcome {
            Ok(_) => self.0.trust(peer),
            Err(Failure::TimedOut(_)) => self.0.doubt(peer),
            Err(_) => {}
        }
        outcome.map_err(|failure| scrub::failure(failure, peer.auth.as_ref()))
    }

    /// A server's row was changed or deleted: requests under way may end, others open a new session.
    pub fn forget(&self, server: Uuid) {
        self.0.forget(server);
    }

    /// Whether the server said, since it was last discovered and in the session that is open, that one of its lists changed.
    pub fn lists_changed(&self, peer: &Peer) -> bool {
        self.0.lists_changed(peer)
    }

    /// How many sessions are open or being opened.
    pub fn open_sessions(&self) -> usize {
        self.0.open_sessions()
    }

    /// Closes every session, and opens none any more. Afterwards no child process is left.
    pub async fn shutdown(&self) {
        self.0.shutdown().await;
    }
}
