//! Model Context Protocol: servers that projects register, what they offer, and calls of it.

/// Whom a session is opened to, what comes back, and what can go wrong on the way.
pub mod peer;

/// Encryption at rest.
pub mod secrets;

/// How this server shows an MCP server who is asking, in clear and masked.
pub mod auth_config;

/// Registered servers.
pub mod servers;

/// Definitions: read, compared, stored.
pub mod definitions;

/// Definitions, as callers ask for them.
pub mod offers;

/// Connections to servers, and requests over them.
pub mod sessions;

/// Servers asked themselves: what they offer, contents of resources, prompts.
mod live;

/// Arguments and results checked against JSON Schemas.
mod schema;

/// Tools executed, and the records of it.
pub mod executions;

/// Executions that happened.
pub mod history;

/// Tool calls of conversations, executed and answered.
pub mod tool_calls;

use std::time::Duration;

use sea_orm::{EntityTrait, QuerySelect, Select};
use uuid::Uuid;

use crate::clock::Clock;
use crate::config::{Config, DefinitionsConfig};
use crate::error::Error;
use crate::storage::Storage;
use secrets::SecretKeys;
use sessions::Sessions;

/// The MCP servers of all projects.
#[derive(Clone, Debug)]
pub struct Mcp {
    storage: Storage,
    clock: Clock,
    secrets: SecretKeys,
    limits: DefinitionsConfig,
    sessions: Sessions,
    call_timeout: Duration,
}

impl Mcp {
    /// MCP servers of this database, asked over `sessions`.
    pub fn new(
        storage: Storage,
        clock: Clock,
        secrets: SecretKeys,
        sessions: Sessions,
        config: &Config,
    ) -> Self {
        Self {
            storage,
            clock,
            secrets,
            limits: config.definitions.clone(),
            sessions,
            call_timeout: config.execution.timeout,
        }
    }

    /// How many connections to servers are open or being opened.
    pub fn open_sessions(&self) -> usize {
        self.sessions.open_sessions()
    }
}

/// Which part of a list: all of it unless something else is said.
#[derive(Clone, Copy, Debug, Default)]
pub struct Slice {
    /// At most this many.
    pub limit: Option<u64>,
    /// After this many.
    pub offset: Option<u64>,
}

impl Slice {
    fn of<E: EntityTrait>(self, select: Select<E>) -> Select<E> {
        match self.offset {
            None => select.limit(self.limit),
            // SQLite has no offset without a limit.
            Some(offset) => select
                .limit(self.limit.unwrap_or(i64::MAX.unsigned_abs()))
                .offset(offset),
        }
    }
}

fn no_server(id: Uuid) -> Error {
    Error::NotFound {
        what: "MCP server",
        id: id.to_string(),
    }
}

#[cfg(test)]
mod tests;
