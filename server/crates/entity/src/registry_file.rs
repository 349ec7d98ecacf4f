//! The price registry's files, every distinct one that was ever used.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

/// One provider's `models.json` as it was fetched. A provider's current file is the one checked last; earlier ones stay, so that
/// the digest in a usage row's pricing can be looked up.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "registry_files")]
pub struct Model {
    /// As the manifest names it.
    #[sea_orm(primary_key, auto_increment = false)]
    pub provider: String,
    /// SHA-256 of `body`, in hex.
    #[sea_orm(primary_key, auto_increment = false)]
    pub sha256: String,
    /// The version that the file gives itself.
    pub version: Option<String>,
    /// The registry's base URL, without user and password.
    pub source: String,
    /// When these bytes were fetched for the first time.
    pub fetched_at: DateTime<Utc>,
    /// When the registry was last seen to have them.
    pub checked_at: DateTime<Utc>,
    /// The file, byte for byte.
    pub body: String,
}

/// Links to other tables: none.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
