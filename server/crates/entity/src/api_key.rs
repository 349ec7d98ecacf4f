//! Managed API keys. The key itself is never stored, only its SHA-256 and the few characters people recognise it by.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::ids::ProjectId;

/// One key of one project.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "api_keys")]
pub struct Model {
    /// What `keys revoke` takes.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The project that the key opens.
    pub project_id: ProjectId,
    /// The first characters of the key, for people.
    pub prefix: String,
    /// SHA-256 of the whole key.
    #[sea_orm(unique)]
    pub key_sha256: Vec<u8>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// From when on it is refused.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when it is refused.
    pub revoked_at: Option<DateTime<Utc>>,
}

/// Links to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// The project that the key opens.
    #[sea_orm(
        belongs_to = "super::project::Entity",
        from = "Column::ProjectId",
        to = "super::project::Column::Id"
    )]
    Project,
}

impl Related<super::project::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Project.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The key with this SHA-256, of whichever project: this is the look-up that finds the project.
    pub fn by_sha256(sha256: &[u8]) -> Select<Self> {
        Self::find().filter(Column::KeySha256.eq(sha256))
    }
}
