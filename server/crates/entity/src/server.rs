//! MCP servers that projects registered.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::ids::ProjectId;

/// One server.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "servers")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub project_id: ProjectId,
    /// What people call it. Not unique.
    pub name: String,
    /// Where it is: an http(s) or ws(s) URL, a command line for `stdio`, `plugin:<name>`.
    pub url: String,
    /// How it is reached: `stdio`, `http`, `sse`, `websocket`, `plugin`, or what a loaded plugin provides.
    pub transport_type: String,
    /// Which plugin carries it, or `native`; the server decides when absent.
    pub adapter: Option<String>,
    /// A JSON object: the authentication as answers show it, secrets masked.
    pub auth_config: Option<String>,
    /// The same in full, encrypted; NULL when nothing in it is secret.
    pub auth_envelope: Option<String>,
    /// A JSON object, as the caller sent it or as the server declared it.
    pub capabilities: String,
    /// The caller's own `project_id`; no meaning here.
    pub caller_project_id: Option<String>,
    /// Whether it is in use.
    pub is_active: bool,
    /// The protocol version agreed on at the last discovery.
    pub protocol_version: Option<String>,
    /// A JSON object: the server's own name and version.
    pub server_info: Option<String>,
    /// What the server says of its use.
    pub instructions: Option<String>,
    /// Grows with each change of what a session depends on: url, transport, adapter, authentication.
    pub revision: i64,
    /// When its lists were stored last.
    pub refreshed_at: Option<DateTime<Utc>>,
    /// When it was registered.
    pub created_at: DateTime<Utc>,
    /// When its registration changed last.
    pub updated_at: DateTime<Utc>,
}

/// Links to other tables: none.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The servers of one project.
    pub fn of(project: ProjectId) -> Select<Self> {
        Self::find().filter(Column::ProjectId.eq(project))
    }
}
