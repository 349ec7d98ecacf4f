//! Conversations with their messages and the search over both, templates, and the calls whose `/log` may still follow.

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
            conversations(backend),
            messages(backend),
            conversation_templates(),
            awaited_logs(),
        ] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        let search = match backend {
            DbBackend::Postgres => POSTGRES_SEARCH,
            _ => SQLITE_SEARCH,
        };
        manager
            .get_connection()
            .execute_unprepared(search)
            .await
            .map(drop)
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        manager
            .drop_index(
                Index::drop()
                    .name("usage_logs_by_conversation")
                    .table("usage_logs")
                    .to_owned(),
            )
            .await?;
        for table in [
            "message_search",
            "conversation_search",
            "awaited_logs",
            "conversation_templates",
            "messages",
            "conversations",
        ] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        Ok(())
    }
}

/// `number` exists on SQLite alone: the full-text index needs an integer that `VACUUM` does not change.
fn primary_key(backend: DbBackend, table: &mut TableCreateStatement) {
    match backend {
        DbBackend::Postgres => table.col(pk_uuid("id")),
        _ => table
            .col(ColumnDef::new("number").integer().primary_key())
            .col(uuid_uniq("id")),
    };
}

fn conversations(backend: DbBackend) -> TableCreateStatement {
    let mut table = Table::create();
    table.table("conversations");
    primary_key(backend, &mut table);
    table
        .col(uuid("project_id"))
        .col(text_null("title"))
        .col(text_null("system_prompt"))
        .col(text("model_alias"))
        .col(double("temperature"))
        .col(big_integer_null("max_tokens"))
        .col(text_null("caller_project_id"))
        .col(big_integer("last_position"))
        .col(big_integer("message_count"))
        .col(big_integer("message_input_tokens"))
        .col(big_integer("message_output_tokens"))
        .col(big_integer("usage_input_tokens"))
        .col(big_integer("usage_output_tokens"))
        .col(big_integer("total_cost_micros"))
        .col(big_integer("total_cost_picos"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone("updated_at"))
        .col(timestamp_with_time_zone_null("last_message_at"));
    // An integer that overflows becomes a binary float on SQLite; PostgreSQL refuses by itself.
    if backend != DbBackend::Postgres {
        table.check((
            "conversations_exact",
            Expr::cust(
                "typeof(message_input_tokens) = 'integer' AND typeof(message_output_tokens) = 'integer' \
                 AND typeof(usage_input_tokens) = 'integer' AND typeof(usage_output_tokens) = 'integer' \
                 AND typeof(total_cost_micros) = 'integer' AND typeof(total_cost_picos) = 'integer'",
            ),
        ));
    }
    table
}

fn messages(backend: DbBackend) -> TableCreateStatement {
    let mut table = Table::create();
    table.table("messages");
    primary_key(backend, &mut table);
    table
        .col(uuid("project_id"))
        .col(uuid("conversation_id"))
        .col(big_integer("position"))
        .col(text("role"))
        .col(text_null("content"))
        .col(text_null("content_hash"))
        .col(text_null("tool_calls"))
        .col(text_null("tool_call_id"))
        .col(text_null("tool_results"))
        .col(big_integer_null("input_tokens"))
        .col(big_integer_null("output_tokens"))
        .col(text_null("receipt_id"))
        .col(text("metadata"))
        .col(timestamp_with_time_zone("created_at"))
        .foreign_key(
            ForeignKey::create()
                .name("messages_conversation")
                .from("messages", "conversation_id")
                .to("conversations", "id")
                .on_delete(ForeignKeyAction::Cascade),
        );
    table
}

fn conversation_templates() -> TableCreateStatement {
    Table::create()
        .table("conversation_templates")
        .col(pk_uuid("id"))
        .col(uuid("project_id"))
        .col(text("name"))
        .col(text_null("description"))
        .col(text_null("system_prompt"))
        .col(text("model"))
        .col(double("temperature"))
        .col(big_integer_null("max_tokens"))
        .col(text("tool_config"))
        .col(text_null("created_by"))
        .col(boolean("is_active"))
        .col(big_integer("usage_count"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone("updated_at"))
        .col(timestamp_with_time_zone_null("last_used_at"))
        .to_owned()
}

/// A table of its own rather than a column of `usage_logs`: most rows never enter it, and it stays as small as a day's calls. Nothing is
/// awaited for a conversation that is gone: its id is free then, for other projects too.
fn awaited_logs() -> TableCreateStatement {
    Table::create()
        .table("awaited_logs")
        .col(uuid("conversation_id"))
        .col(binary("call_sha256"))
        .col(uuid("usage_log_id"))
        .col(timestamp_with_time_zone("logged_at"))
        .primary_key(
            Index::create()
                .col("conversation_id")
                .col("call_sha256")
                .col("usage_log_id"),
        )
        .foreign_key(
            ForeignKey::create()
                .name("awaited_logs_conversation")
                .from("awaited_logs", "conversation_id")
                .to("conversations", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    vec![
        Index::create()
            .name("conversations_recent")
            .table("conversations")
            .col("project_id")
            .col("updated_at")
            .col("id")
            .to_owned(),
        Index::create()
            .name("messages_in_order")
            .table("messages")
            .col("conversation_id")
            .col("position")
            .unique()
            .to_owned(),
        Index::create()
            .name("messages_age")
            .table("messages")
            .col("project_id")
            .col("created_at")
            .to_owned(),
        Index::create()
            .name("conversation_templates_newest")
            .table("conversation_templates")
            .col("project_id")
            .col("created_at")
            .col("id")
            .to_owned(),
        Index::create()
            .name("awaited_logs_age")
            .table("awaited_logs")
            .col("logged_at")
            .to_owned(),
        Index::create()
            .name("usage_logs_by_conversation")
            .table("usage_logs")
            .col("project_id")
            .col("conversation_id")
            .and_where(Expr::col("conversation_id").is_not_null())
            .to_owned(),
    ]
}

/// The words come from the server, which cuts them alike for both databases. The project is a word of each text, so that a search reads one
/// project's entries only.
const POSTGRES_SEARCH: &str = "
CREATE TABLE conversation_search (
    conversation_id uuid PRIMARY KEY REFERENCES conversations ON DELETE CASCADE,
    words tsvector NOT NULL);
CREATE TABLE message_search (
    message_id uuid PRIMARY KEY REFERENCES messages ON DELETE CASCADE,
    conversation_id uuid NOT NULL,
    words tsvector NOT NULL);
CREATE INDEX conversation_search_words ON conversation_search USING gin (words);
CREATE INDEX message_search_words ON message_search USING gin (words);
";

/// The same; the index holds no copy of the words, and entries go by triggers. Its tokeniser cuts at ASCII punctuation alone, of which the
/// words have none.
const SQLITE_SEARCH: &str = "
CREATE VIRTUAL TABLE conversation_search USING fts5(project, words, content='', contentless_delete=1, tokenize='ascii');
CREATE VIRTUAL TABLE message_search USING fts5(project, words, content='', contentless_delete=1, tokenize='ascii');
CREATE TRIGGER conversations_deleted AFTER DELETE ON conversations WHEN old.title IS NOT NULL BEGIN
    DELETE FROM conversation_search WHERE rowid = old.number;
END;
CREATE TRIGGER messages_deleted AFTER DELETE ON messages WHEN old.content IS NOT NULL BEGIN
    DELETE FROM message_search WHERE rowid = old.number;
END;
";
