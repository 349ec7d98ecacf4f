//! Projects, their keys, and the usage ledger: rows, rollups, idempotency keys.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let backend = manager.get_database_backend();
        for table in [
            projects(),
            api_keys(),
            usage_logs(),
            usage_rollups(backend),
            idempotency_keys(),
        ] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        if backend == DbBackend::Postgres {
            manager
                .get_connection()
                .execute_unprepared(USAGE_COSTS_VIEW)
                .await?;
        }
        Ok(())
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        if manager.get_database_backend() == DbBackend::Postgres {
            manager
                .get_connection()
                .execute_unprepared("DROP VIEW usage_costs")
                .await?;
        }
        for table in [
            "idempotency_keys",
            "usage_rollups",
            "usage_logs",
            "api_keys",
            "projects",
        ] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

/// Money is two integer columns so that sums stay exact; people who query PostgreSQL by hand get one NUMERIC here.
const USAGE_COSTS_VIEW: &str = "CREATE VIEW usage_costs AS \
    SELECT id, project_id, logged_at, provider, model, alias, origin, cost_source, \
           cost_micros::numeric / 1000000 + cost_picos::numeric / 1000000000000 AS cost_usd \
    FROM usage_logs";

fn projects() -> TableCreateStatement {
    Table::create()
        .table("projects")
        .col(pk_uuid("id"))
        .col(text_uniq("name"))
        .col(timestamp_with_time_zone("created_at"))
        .to_owned()
}

fn api_keys() -> TableCreateStatement {
    Table::create()
        .table("api_keys")
        .col(pk_uuid("id"))
        .col(uuid("project_id"))
        .col(text("prefix"))
        .col(binary_uniq("key_sha256"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone_null("expires_at"))
        .col(timestamp_with_time_zone_null("revoked_at"))
        .foreign_key(
            ForeignKey::create()
                .name("api_keys_project")
                .from("api_keys", "project_id")
                .to("projects", "id"),
        )
        .to_owned()
}

/// `project_id` references no `projects` row: in open mode a project exists as soon as a key is used.
fn usage_logs() -> TableCreateStatement {
    Table::create()
        .table("usage_logs")
        .col(pk_uuid("id"))
        .col(uuid("project_id"))
        .col(timestamp_with_time_zone("logged_at"))
        .col(text("provider"))
        .col(text("model"))
        .col(text_null("alias"))
        .col(text("profile"))
        .col(text_null("origin"))
        .col(text_null("id_at_origin"))
        .col(uuid_null("conversation_id"))
        .col(big_integer("input_tokens"))
        .col(big_integer("output_tokens"))
        .col(big_integer("cached_input_tokens"))
        .col(big_integer("cache_write_5m_tokens"))
        .col(big_integer("cache_write_1h_tokens"))
        .col(big_integer("reasoning_tokens"))
        .col(boolean("input_includes_cached"))
        .col(big_integer_null("cost_micros"))
        .col(integer_null("cost_picos"))
        .col(text("cost_source"))
        .col(text_null("pricing"))
        .col(big_integer_null("latency_ms"))
        .col(text("metadata"))
        .to_owned()
}

/// The key columns are never NULL: an absent alias or origin is the empty string, so that the upsert finds its row.
fn usage_rollups(backend: DbBackend) -> TableCreateStatement {
    let mut table = Table::create();
    table
        .table("usage_rollups")
        .col(uuid("project_id"))
        .col(big_integer("bucket"))
        .col(text("provider"))
        .col(text("model"))
        .col(text("alias"))
        .col(text("origin"))
        .col(big_integer("requests"))
        .col(big_integer("unpriced_requests"))
        .col(big_integer("input_tokens"))
        .col(big_integer("output_tokens"))
        .col(big_integer("cost_micros"))
        .col(big_integer("cost_picos"))
        .primary_key(
            Index::create()
                .col("project_id")
                .col("bucket")
                .col("provider")
                .col("model")
                .col("alias")
                .col("origin"),
        );
    // An integer that overflows becomes a binary float on SQLite; PostgreSQL refuses by itself.
    if backend == DbBackend::Sqlite {
        table.check((
            "usage_rollups_exact",
            Expr::cust(
                "typeof(cost_micros) = 'integer' AND typeof(cost_picos) = 'integer' \
                        AND typeof(input_tokens) = 'integer' AND typeof(output_tokens) = 'integer'",
            ),
        ));
    }
    table
}

fn idempotency_keys() -> TableCreateStatement {
    Table::create()
        .table("idempotency_keys")
        .col(uuid("project_id"))
        .col(text("key"))
        .col(binary("request_sha256"))
        .col(text("response"))
        .col(timestamp_with_time_zone("created_at"))
        .primary_key(Index::create().col("project_id").col("key"))
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        Index::create()
            .name("usage_logs_newest")
            .table("usage_logs")
            .col("project_id")
            .col("logged_at")
            .col("id")
            .to_owned(),
        Index::create()
            .name("idempotency_keys_age")
            .table("idempotency_keys")
            .col("created_at")
            .to_owned(),
        Index::create()
            .name("api_keys_by_project")
            .table("api_keys")
            .col("project_id")
            .to_owned(),
    ]
}
