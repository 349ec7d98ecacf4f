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
        let connection = manager.get_connection();
        if manager.get_database_backend() != DbBackend::Postgres {
            connection
                .execute_unprepared("DROP TABLE message_search; DROP TABLE conversation_search")
                .await?;
        }
        manager
            .drop_index(
                Index::drop()
                    .name("usage_logs_by_conversation")
                    .table("usage_logs")
                    .to_owned(),
            )
            .await?;
        for table in [
            "awaited_logs",
            "conversation_templates",
            "messages",
            "conversations",
        ] {
            manager.drop_table(Table::drop().table(table).to_owned()).await?;
        }
        if manager.get_database_backend() == DbBackend::Postgres {
            connection
                .execute_unprepared(
                    "DROP FUNCTION search_words(uuid, text); DROP FUNCTION content_text(text)",
                )
                .await?;
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

/// The first 100,000 characters of a text are searched (a `tsvector` holds at most 1 MB). The project is a word of each text, so
/// that a search reads one project's entries only. Punctuation separates words, as it does on SQLite.
const POSTGRES_SEARCH: &str = r##"
CREATE FUNCTION content_text(content text) RETURNS text LANGUAGE plpgsql IMMUTABLE AS $$
    BEGIN
        RETURN CASE jsonb_typeof(content::jsonb)
            WHEN 'string' THEN content::jsonb #>> '{}'
            ELSE (SELECT string_agg(piece #>> '{}', ' ') FROM (
                SELECT jsonb_path_query(content::jsonb, 'strict $.**.text ? (@.type() == "string")') AS piece
                UNION ALL
                SELECT jsonb_path_query(content::jsonb, '$[*] ? (@.type() == "string")')) AS texts)
        END;
    EXCEPTION WHEN numeric_value_out_of_range THEN
        -- JSON has smaller numbers than jsonb. Such a message is kept and not searched.
        RETURN NULL;
    END $$;
CREATE FUNCTION search_words(project uuid, words text) RETURNS tsvector LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN
    to_tsvector('pg_catalog.simple'::regconfig,
        'p' || replace(project::text, '-', '') || ' ' ||
        translate(left(words, 100000), '!"#$%&''()*+,-./:;<=>?@[\]^_`{|}~', repeat(' ', 32)));
ALTER TABLE conversations ADD COLUMN search tsvector
    GENERATED ALWAYS AS (CASE WHEN title IS NOT NULL THEN search_words(project_id, title) END) STORED;
ALTER TABLE messages ADD COLUMN search tsvector
    GENERATED ALWAYS AS (CASE WHEN content IS NOT NULL THEN search_words(project_id, content_text(content)) END) STORED;
CREATE INDEX conversations_search ON conversations USING gin (search);
CREATE INDEX messages_search ON messages USING gin (search);
"##;

/// The same, kept in step by triggers; the index holds no copy of the texts.
const SQLITE_SEARCH: &str = r##"
CREATE VIRTUAL TABLE conversation_search USING fts5(
    project, words, content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 0');
CREATE VIRTUAL TABLE message_search USING fts5(
    project, words, content='', contentless_delete=1, tokenize='unicode61 remove_diacritics 0');
CREATE TRIGGER conversations_inserted AFTER INSERT ON conversations WHEN new.title IS NOT NULL BEGIN
    INSERT INTO conversation_search (rowid, project, words)
        VALUES (new.number, 'p' || lower(hex(new.project_id)), new.title);
END;
CREATE TRIGGER conversations_retitled AFTER UPDATE OF title ON conversations BEGIN
    DELETE FROM conversation_search WHERE rowid = old.number;
    INSERT INTO conversation_search (rowid, project, words)
        SELECT new.number, 'p' || lower(hex(new.project_id)), new.title WHERE new.title IS NOT NULL;
END;
CREATE TRIGGER conversations_deleted AFTER DELETE ON conversations BEGIN
    DELETE FROM conversation_search WHERE rowid = old.number;
END;
CREATE TRIGGER messages_inserted AFTER INSERT ON messages WHEN new.content IS NOT NULL BEGIN
    INSERT INTO message_search (rowid, project, words)
        SELECT new.number, 'p' || lower(hex(new.project_id)), substr(group_concat(atom, ' '), 1, 100000)
        FROM json_tree(new.content)
        WHERE type = 'text' AND (key IS NULL OR key = 'text' OR (path = '$' AND typeof(key) = 'integer'));
END;
CREATE TRIGGER messages_deleted AFTER DELETE ON messages WHEN old.content IS NOT NULL BEGIN
    DELETE FROM message_search WHERE rowid = old.number;
END;
"##;
