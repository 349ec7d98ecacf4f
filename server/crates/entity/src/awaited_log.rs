//! Usage rows that a logged conversation made, and whose own log may still follow.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

/// One usage row that the next log of the same call completes.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "awaited_logs")]
pub struct Model {
    /// Where it was said; nothing is awaited for a conversation that is gone.
    #[sea_orm(primary_key, auto_increment = false)]
    pub conversation_id: Uuid,
    /// SHA-256 of what tells the call: project, conversation, provider, model and counts.
    #[sea_orm(primary_key, auto_increment = false)]
    pub call_sha256: Vec<u8>,
    /// The row.
    #[sea_orm(primary_key, auto_increment = false)]
    pub usage_log_id: Uuid,
    /// When the row was logged; it is awaited for some minutes.
    pub logged_at: DateTime<Utc>,
}

/// Links to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The row.
    #[sea_orm(
        belongs_to = "super::usage_log::Entity",
        from = "Column::UsageLogId",
        to = "super::usage_log::Column::Id"
    )]
    UsageLog,
}

impl Related<super::usage_log::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::UsageLog.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}
