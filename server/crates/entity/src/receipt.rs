//! Signed receipts, as their texts came or were issued.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::ids::ProjectId;

/// One receipt of one project. Receipts are never changed.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "receipts")]
pub struct Model {
    /// The tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_id: ProjectId,
    /// The receipt's member `id`.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: String,
    /// The receipt's member `key_id`.
    pub key_id: String,
    /// When it was stored, to the microsecond.
    pub stored_at: DateTime<Utc>,
    /// How many usage logs it certifies, each with a [`receipt_log`](crate::receipt_log). NULL when this server vouches for no log.
    pub logs_count: Option<i64>,
    /// The receipt itself: JSON, byte for byte.
    pub text: String,
    /// SHA-256 over all of the row but `key_id`, which the text has too.
    pub sha256: Vec<u8>,
}

/// Links to other tables: none.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The receipts of one project.
    pub fn of(project: ProjectId) -> Select<Self> {
        Self::find().filter(Column::ProjectId.eq(project))
    }
}
