//! Projects that the operator named. (In open mode a project also exists unnamed, as soon as a key is used.)

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::ids::ProjectId;

/// One named project.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "projects")]
pub struct Model {
    /// The tenant's id.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: ProjectId,
    /// Unique among projects.
    #[sea_orm(unique)]
    pub name: String,
    /// When the operator named it.
    pub created_at: DateTime<Utc>,
}

/// Links to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Its keys.
    #[sea_orm(has_many = "super::api_key::Entity")]
    ApiKey,
}

impl Related<super::api_key::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::ApiKey.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The project of this name.
    pub fn named(name: &str) -> Select<Self> {
        Self::find().filter(Column::Name.eq(name))
    }
}
