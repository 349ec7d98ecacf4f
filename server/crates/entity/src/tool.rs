//! Tools that MCP servers offer.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::ids::ProjectId;

/// One tool, as its server defines it now.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tools")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant, the same as the server's.
    pub project_id: ProjectId,
    /// Who offers it.
    pub server_id: Uuid,
    /// Its name at the server; unique there.
    pub name: String,
    /// Its name for people.
    pub title: Option<String>,
    /// What it does.
    pub description: Option<String>,
    /// JSON Schema of the arguments.
    pub input_schema: String,
    /// JSON Schema of `structuredContent`.
    pub output_schema: Option<String>,
    /// A JSON object (MCP `ToolAnnotations`).
    pub annotations: Option<String>,
    /// SHA-256, hexadecimal, of description, both schemas and annotations.
    pub digest: String,
    /// The digest that may be executed when tools are pinned; that of first sight until another is approved.
    pub approved_digest: String,
    /// The number of the current definition in its [versions](super::tool_version), from 1.
    pub version: i64,
    /// Whether the server still offers it: what disappears keeps its row, and its id when it comes back.
    pub is_active: bool,
    /// When it was first seen.
    pub created_at: DateTime<Utc>,
    /// When anything about it changed last.
    pub updated_at: DateTime<Utc>,
}

/// Links to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Who offers it.
    #[sea_orm(
        belongs_to = "super::server::Entity",
        from = "Column::ServerId",
        to = "super::server::Column::Id"
    )]
    Server,
}

impl Related<super::server::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Server.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The tools of one project.
    pub fn of(project: ProjectId) -> Select<Self> {
        Self::find().filter(Column::ProjectId.eq(project))
    }
}
