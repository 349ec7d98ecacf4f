//! The database schema, one timestamped step per file, forward and back.
//!
//! Every step runs on SQLite and on PostgreSQL, names no schema and imports no entity: what a step did must not change when the
//! entities do. On PostgreSQL the connection's `search_path` decides where unqualified names land: the server's own tables in its
//! first schema, those of MCP in its second.

pub use sea_orm_migration::prelude::MigratorTrait;
use sea_orm_migration::prelude::*;

mod m20261123_000001_usage;
mod m20261123_000002_registry_files;
mod m20261123_000003_receipts;
mod m20261123_000004_conversations;
mod m20261123_000005_mcp;

/// All steps, oldest first.
pub struct Migrator;

#[async_trait::async_trait]
impl MigratorTrait for Migrator {
    fn migrations() -> Vec<Box<dyn MigrationTrait>> {
        vec![
            Box::new(m20261123_000001_usage::Migration),
            Box::new(m20261123_000002_registry_files::Migration),
            Box::new(m20261123_000003_receipts::Migration),
            Box::new(m20261123_000004_conversations::Migration),
            Box::new(m20261123_000005_mcp::Migration),
        ]
    }
}
