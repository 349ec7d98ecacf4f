//! Calls of tools: the record is written before a call starts and completed after. It outlives the tool.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::ids::ProjectId;

/// One call.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tool_executions")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub project_id: ProjectId,
    /// The tool, which may be gone.
    pub tool_id: Uuid,
    /// Its name when it was called.
    pub tool_name: String,
    /// Its server, which may be gone.
    pub server_id: Uuid,
    /// The conversation that it belongs to.
    pub conversation_id: Option<Uuid>,
    /// The call in that conversation's message.
    pub tool_call_id: Option<String>,
    /// JSON: the arguments.
    pub input: String,
    /// JSON: the result.
    pub output: Option<String>,
    /// JSON: the newest progress notifications, oldest of them first.
    pub progress: Option<String>,
    /// Why there is none, for people.
    pub error: Option<String>,
    /// How it ended.
    pub status: Status,
    /// Milliseconds.
    pub duration_ms: Option<i64>,
    /// When it began.
    pub executed_at: DateTime<Utc>,
    /// When it ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// The caller's `Idempotency-Key`, once per tool.
    pub idempotency_key: Option<String>,
    /// SHA-256 of the request, to tell a repetition from another request.
    pub request_hash: Option<Vec<u8>>,
    /// The server process that runs it.
    pub owner: Option<Uuid>,
    /// When that process last said that it runs.
    pub heartbeat_at: Option<DateTime<Utc>>,
}

/// How an execution ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Status {
    /// It has not ended.
    Running,
    /// The tool answered.
    Succeeded,
    /// The tool answered that it failed, or the server answered with an error.
    ToolError,
    /// No connection; nothing was sent.
    Unreachable,
    /// No answer in time.
    TimedOut,
    /// A limit of this server was reached.
    LimitExceeded,
    /// A plugin stopped itself.
    Trapped,
    /// This server's configuration does not permit it; nothing was sent.
    Denied,
    /// The caller went away.
    Cancelled,
    /// Its end was never seen: it may or may not have happened.
    OutcomeUnknown,
    /// A client's report of an execution of its own.
    Recorded,
}

/// Links to other tables: none.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The executions of one project.
    pub fn of(project: ProjectId) -> Select<Self> {
        Self::find().filter(Column::ProjectId.eq(project))
    }
}
