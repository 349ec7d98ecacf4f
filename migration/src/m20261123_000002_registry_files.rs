//! The price registry's files: the last good copy of each provider, and every earlier one that a price may refer to.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager.create_table(registry_files()).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_table(Table::drop().table("registry_files").to_owned())
            .await
    }
}

/// The large column comes last, so that SQLite need not walk over it to reach the others.
fn registry_files() -> TableCreateStatement {
    Table::create()
        .table("registry_files")
        .col(text("provider"))
        .col(text("sha256"))
        .col(text_null("version"))
        .col(text("source"))
        .col(timestamp_with_time_zone("fetched_at"))
        .col(timestamp_with_time_zone("checked_at"))
        .col(text("body"))
        .primary_key(Index::create().col("provider").col("sha256"))
        .to_owned()
}
