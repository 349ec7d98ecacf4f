//! Answers already given, so that a request sent twice counts once.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::ids::ProjectId;

/// One `Idempotency-Key` of one project.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "idempotency_keys")]
pub struct Model {
    /// The tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_id: ProjectId,
    /// As the caller sent it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub key: String,
    /// SHA-256 of the operation and the request, to tell a repetition from another request.
    pub request_sha256: Vec<u8>,
    /// JSON: the answer that was given.
    pub response: String,
    /// When it was first used; it is forgotten some days later.
    pub created_at: DateTime<Utc>,
}

/// Links to other tables: none.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The keys of one project.
    pub fn of(project: ProjectId) -> Select<Self> {
        Self::find().filter(Column::ProjectId.eq(project))
    }
}
