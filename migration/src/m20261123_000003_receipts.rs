//! Receipts, and which usage logs they certify.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in [receipts(), receipt_logs()] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in ["receipt_logs", "receipts"] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

fn receipts() -> TableCreateStatement {
    Table::create()
        .table("receipts")
        .col(uuid("project_id"))
        .col(text("id"))
        .col(text("key_id"))
        .col(timestamp_with_time_zone("stored_at"))
        .col(big_integer_null("logs_count"))
        .col(text("text"))
        .col(binary("sha256"))
        .primary_key(Index::create().col("project_id").col("id"))
        .to_owned()
}

/// References neither table: links are made before the receipt that is computed from them, and they say what was certified even
/// when an old usage log is gone.
fn receipt_logs() -> TableCreateStatement {
    Table::create()
        .table("receipt_logs")
        .col(uuid("project_id"))
        .col(uuid("log_id"))
        .col(text("receipt_id"))
        .primary_key(Index::create().col("project_id").col("log_id").col("receipt_id"))
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        Index::create()
            .name("receipts_newest")
            .table("receipts")
            .col("project_id")
            .col("stored_at")
            .col("id")
            .to_owned(),
        Index::create()
            .name("receipt_logs_by_receipt")
            .table("receipt_logs")
            .col("project_id")
            .col("receipt_id")
            .col("log_id")
            .to_owned(),
    ]
}
