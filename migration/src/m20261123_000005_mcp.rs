//! MCP servers, what they offer, and calls of their tools. On PostgreSQL these tables live in the second schema of the `search_path`.

use sea_orm_migration::prelude::*;
use sea_orm_migration::schema::*;
use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const TABLES: [&str; 7] = [
    "servers",
    "tools",
    "tool_versions",
    "resources",
    "resource_templates",
    "prompts",
    "tool_executions",
];

#[async_trait::async_trait]
impl MigrationTrait for Migration {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        reverse_search_path(manager).await?;
        for table in [
            servers(),
            tools(),
            tool_versions(),
            resources(),
            resource_templates(),
            prompts(),
            tool_executions(),
        ] {
            manager.create_table(table).await?;
        }
        for index in indexes() {
            manager.create_index(index).await?;
        }
        reverse_search_path(manager).await
    }

    async fn down(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for table in TABLES.iter().rev() {
            manager.drop_table(Table::drop().table(*table).to_owned()).await?;
        }
        Ok(())
    }
}

/// Unqualified names are created in the first schema of the path. Ends with the transaction in any case.
async fn reverse_search_path(manager: &SchemaManager<'_>) -> Result<(), DbErr> {
    const REVERSE: &str = "
        SELECT set_config('search_path', string_agg(quote_ident(name), ',' ORDER BY place DESC), true)
        FROM unnest(current_schemas(false)) WITH ORDINALITY AS path (name, place)";
    if manager.get_database_backend() == DbBackend::Postgres {
        manager.get_connection().execute_unprepared(REVERSE).await?;
    }
    Ok(())
}

fn servers() -> TableCreateStatement {
    Table::create()
        .table("servers")
        .col(pk_uuid("id"))
        .col(uuid("project_id"))
        .col(text("name"))
        .col(text("url"))
        .col(text("transport_type"))
        .col(text_null("adapter"))
        .col(text_null("auth_config"))
        .col(text_null("auth_envelope"))
        .col(text("capabilities"))
        .col(text_null("caller_project_id"))
        .col(boolean("is_active"))
        .col(text_null("protocol_version"))
        .col(text_null("server_info"))
        .col(text_null("instructions"))
        .col(big_integer("revision"))
        .col(timestamp_with_time_zone_null("refreshed_at"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone("updated_at"))
        .to_owned()
}

fn tools() -> TableCreateStatement {
    let mut table = offered("tools");
    table
        .col(text("name"))
        .col(text_null("title"))
        .col(text_null("description"))
        .col(text("input_schema"))
        .col(text_null("output_schema"))
        .col(text_null("annotations"))
        .col(text("digest"))
        .col(text("approved_digest"))
        .col(big_integer("version"))
        .to_owned()
}

fn tool_versions() -> TableCreateStatement {
    Table::create()
        .table("tool_versions")
        .col(uuid("tool_id"))
        .col(big_integer("version"))
        .col(uuid("project_id"))
        .col(text_null("description"))
        .col(text("input_schema"))
        .col(text_null("output_schema"))
        .col(text_null("annotations"))
        .col(text("digest"))
        .col(timestamp_with_time_zone("created_at"))
        .primary_key(Index::create().col("tool_id").col("version"))
        .foreign_key(
            ForeignKey::create()
                .name("tool_versions_tool")
                .from("tool_versions", "tool_id")
                .to("tools", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

fn resources() -> TableCreateStatement {
    let mut table = offered("resources");
    table
        .col(text("uri"))
        .col(text_null("name"))
        .col(text_null("title"))
        .col(text_null("description"))
        .col(text_null("mime_type"))
        .col(text_null("annotations"))
        .col(big_integer_null("size"))
        .to_owned()
}

fn resource_templates() -> TableCreateStatement {
    let mut table = offered("resource_templates");
    table
        .col(text("uri_template"))
        .col(text_null("name"))
        .col(text_null("title"))
        .col(text_null("description"))
        .col(text_null("mime_type"))
        .col(text_null("annotations"))
        .to_owned()
}

fn prompts() -> TableCreateStatement {
    let mut table = offered("prompts");
    table
        .col(text("name"))
        .col(text_null("title"))
        .col(text_null("description"))
        .col(text("arguments"))
        .to_owned()
}

/// What every table of definitions begins with: they go with their server.
fn offered(name: &'static str) -> TableCreateStatement {
    Table::create()
        .table(name)
        .col(pk_uuid("id"))
        .col(uuid("project_id"))
        .col(uuid("server_id"))
        .col(boolean("is_active"))
        .col(timestamp_with_time_zone("created_at"))
        .col(timestamp_with_time_zone("updated_at"))
        .foreign_key(
            ForeignKey::create()
                .name(format!("{name}_server"))
                .from(name, "server_id")
                .to("servers", "id")
                .on_delete(ForeignKeyAction::Cascade),
        )
        .to_owned()
}

/// References no other table: the history outlives tools, servers and conversations.
fn tool_executions() -> TableCreateStatement {
    Table::create()
        .table("tool_executions")
        .col(pk_uuid("id"))
        .col(uuid("project_id"))
        .col(uuid("tool_id"))
        .col(text("tool_name"))
        .col(uuid("server_id"))
        .col(uuid_null("conversation_id"))
        .col(text_null("tool_call_id"))
        .col(text("input"))
        .col(text_null("output"))
        .col(text_null("progress"))
        .col(text_null("error"))
        .col(text("status"))
        .col(big_integer_null("duration_ms"))
        .col(timestamp_with_time_zone("executed_at"))
        .col(timestamp_with_time_zone_null("ended_at"))
        .col(text_null("idempotency_key"))
        .col(binary_null("request_hash"))
        .col(uuid_null("owner"))
        .col(timestamp_with_time_zone_null("heartbeat_at"))
        .to_owned()
}

fn indexes() -> Vec<IndexCreateStatement> {
    fn index(name: &'static str, table: &'static str, columns: &[&'static str]) -> IndexCreateStatement {
        let mut index = Index::create().name(name).table(table).to_owned();
        for column in columns {
            index.col(*column);
        }
        index
    }
    vec![
        index("servers_newest", "servers", &["project_id", "created_at", "id"]),
        index("tools_named", "tools", &["server_id", "name"])
            .unique()
            .to_owned(),
        index("tools_newest", "tools", &["project_id", "created_at", "id"]),
        index("resources_at", "resources", &["server_id", "uri"])
            .unique()
            .to_owned(),
        index(
            "resources_newest",
            "resources",
            &["project_id", "created_at", "id"],
        ),
        index(
            "resource_templates_at",
            "resource_templates",
            &["server_id", "uri_template"],
        )
        .unique()
        .to_owned(),
        index(
            "resource_templates_newest",
            "resource_templates",
            &["project_id", "created_at", "id"],
        ),
        index("prompts_named", "prompts", &["server_id", "name"])
            .unique()
            .to_owned(),
        index("prompts_newest", "prompts", &["project_id", "created_at", "id"]),
        index(
            "tool_executions_newest",
            "tool_executions",
            &["project_id", "tool_id", "executed_at", "id"],
        ),
        index(
            "tool_executions_idempotent",
            "tool_executions",
            &["project_id", "tool_id", "idempotency_key"],
        )
        .unique()
        .to_owned(),
        index("tool_executions_running", "tool_executions", &["heartbeat_at"])
            .and_where(Expr::col("status").eq("running"))
            .to_owned(),
    ]
}
