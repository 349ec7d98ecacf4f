//! Which receipt certifies which usage logs.

use sea_orm::entity::prelude::*;

use crate::ids::ProjectId;

/// One usage log that one receipt certifies.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "receipt_logs")]
pub struct Model {
    /// The tenant.
    #[sea_orm(primary_key, auto_increment = false)]
    pub project_id: ProjectId,
    /// The usage log.
    #[sea_orm(primary_key, auto_increment = false)]
    pub log_id: Uuid,
    /// The receipt.
    #[sea_orm(primary_key, auto_increment = false)]
    pub receipt_id: String,
}

/// Links to other tables: none.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The links of one project.
    pub fn of(project: ProjectId) -> Select<Self> {
        Self::find().filter(Column::ProjectId.eq(project))
    }
}
