//! Storing definitions: one transaction per refresh, and whoever refreshes a server first locks its row.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use entity::ids::ProjectId;
use entity::{prompt, resource, resource_template, server, tool, tool_version};
use sea_orm::sea_query::Expr;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, ModelTrait,
    QueryFilter, QueryOrder,
};
use serde_json::Value;
use uuid::Uuid;

use super::read::{
    Definition, Lists, PromptDefinition, ReportedLists, ResourceDefinition, ResourceTemplateDefinition,
    ToolDefinition, ToolReport,
};
use super::{Change, Changes, Skipped, Source, digest, stored};
use crate::clock::new_id;
use crate::error::{Error, Result};
use crate::mcp::peer::Discovery;
use crate::mcp::{Mcp, no_server};

/// Rows in one INSERT: SQLite binds at most 32,766 values.
const ROWS_AT_ONCE: usize = 1000;

/// A server after a refresh.
#[derive(Clone, Debug)]
pub struct Refreshed {
    /// The server.
    pub server: server::Model,
    /// What it offers now.
    pub tools: Vec<tool::Model>,
    /// What it offers now.
    pub resources: Vec<resource::Model>,
    /// What it offers now.
    pub resource_templates: Vec<resource_template::Model>,
    /// What it offers now.
    pub prompts: Vec<prompt::Model>,
    /// What the refresh did.
    pub changes: Changes,
    /// What the server sent and cannot be kept.
    pub skipped: Vec<Skipped>,
}

impl Mcp {
    /// Stores what a client says that a server offers.
    pub async fn store_report(
        &self,
        project: ProjectId,
        server: Uuid,
        lists: ReportedLists,
    ) -> Result<Refreshed> {
        let lists = Lists::reported(lists, &self.limits)?;
        let refresh = Refresh::begin(self, project, server).await?;
        refresh.store(lists, Vec::new()).await
    }

    /// Stores what a server itself says that it offers.
    pub async fn store_discovery(
        &self,
        project: ProjectId,
        server: Uuid,
        discovery: Discovery,
    ) -> Result<Refreshed> {
        let Discovery {
            protocol_version,
            capabilities,
            server_info,
            instructions,
            tools,
            resources,
            resource_templates,
            prompts,
        } = discovery;
        let (lists, skipped) = Lists::discovered(tools, resources, resource_templates, prompts, &self.limits);
        for Skipped {
            kind,
            position,
            reason,
        } in &skipped
        {
            let kind = kind.as_str();
            tracing::warn!(%server, kind, position, reason, "a definition that an MCP server sent is not kept");
        }
        let mut refresh = Refresh::begin(self, project, server).await?;
        // PostgreSQL keeps no U+0000.
        let plain = |text: String| text.replace('\0', "\u{fffd}");
        let before = refresh.server;
        let mut row = before.into_active_model();
        row.protocol_version = sea_orm::Set(Some(plain(protocol_version)));
        if capabilities.is_object() {
            row.capabilities = sea_orm::Set(capabilities.to_string());
        }
        row.server_info = sea_orm::Set(server_info.is_object().then(|| server_info.to_string()));
        row.instructions = sea_orm::Set(instructions.map(plain));
        refresh.server = row.update(&refresh.transaction).await?;
        refresh.store(lists, skipped).await
    }

    /// Adds one tool to what a server offers.
    pub async fn add_tool(
        &self,
        project: ProjectId,
        report: ToolReport,
    ) -> Result<(tool::Model, server::Model)> {
        let definition = ToolDefinition::reported(report.tool, &self.limits)?;
        let refresh = Refresh::begin(self, project, report.server).await?;
        let known = refresh.rows::<ToolDefinition>().await?;
        if known
            .iter()
            .any(|tool| tool.is_active && tool.name == definition.name)
        {
            return Err(Error::Conflict(format!(
                "the server has a tool {:?} already: refresh the server to change it",
                definition.name
            )));
        }
        if known.iter().filter(|tool| tool.is_active).count() >= self.limits.max_count {
            return Err(Error::Conflict(
                "the server has as many tools as it may have (LLMRING_MCP_MAX_DEFINITIONS)".to_owned(),
            ));
        }
        let name = definition.name.clone();
        let mut changes = Changes::default();
        let definitions = vec![definition];
        refresh
            .merge(definitions, Source::Client, Absent::Stays, &mut changes)
            .await?;
        let tools = refresh.rows::<ToolDefinition>().await?;
        let added = tools.into_iter().find(|tool| tool.name == name);
        let Refresh {
            transaction, server, ..
        } = refresh;
        transaction.commit().await?;
        let added = added.ok_or_else(|| no_server(report.server))?;
        Ok((added, server))
    }
}

/// What becomes of rows that a list does not name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    /// The list is whole: they are no longer offered.
    Goes,
    /// The list adds to them.
    Stays,
}

/// A refresh under way. Two of one server wait for each other at its row.
struct Refresh {
    transaction: DatabaseTransaction,
    server: server::Model,
    now: DateTime<Utc>,
}

impl Refresh {
    async fn begin(mcp: &Mcp, project: ProjectId, server: Uuid) -> Result<Self> {
        let now = mcp.clock.now();
        let transaction = mcp.storage.begin().await?;
        let locked = server::Entity::update_many()
            .filter(server::Column::ProjectId.eq(project))
            .filter(server::Column::Id.eq(server))
            .col_expr(server::Column::RefreshedAt, Expr::value(now))
            .exec_with_returning(&transaction)
            .await?;
        let server = locked.into_iter().next().ok_or_else(|| no_server(server))?;
        Ok(Self {
            transaction,
            server,
            now,
        })
    }

    async fn store(self, lists: Lists, skipped: Vec<Skipped>) -> Result<Refreshed> {
        let Lists {
            source,
            tools,
            resources,
            resource_templates,
            prompts,
        } = lists;
        let mut changes = Changes::default();
        self.replace(tools, source, &mut changes).await?;
        self.replace(resources, source, &mut changes).await?;
        self.replace(resource_templates, source, &mut changes).await?;
        self.replace(prompts, source, &mut changes).await?;
        let refreshed = Refreshed {
            tools: self.active::<ToolDefinition>().await?,
            resources: self.active::<ResourceDefinition>().await?,
            resource_templates: self.active::<ResourceTemplateDefinition>().await?,
            prompts: self.active::<PromptDefinition>().await?,
            server: self.server,
            changes,
            skipped,
        };
        self.transaction.commit().await?;
        Ok(refreshed)
    }

    async fn replace<D: Stored>(
        &self,
        list: Option<Vec<D>>,
        source: Source,
        changes: &mut Changes,
    ) -> Result<()> {
        match list {
            Some(list) => self.merge(list, source, Absent::Goes, changes).await,
            None => Ok(()),
        }
    }

    async fn merge<D: Stored>(
        &self,
        list: Vec<D>,
        source: Source,
        absent: Absent,
        changes: &mut Changes,
    ) -> Result<()> {
        let rows = self.rows::<D>().await?;
        let mut known: HashMap<String, RowOf<D>> = rows
            .into_iter()
            .map(|row| (D::key_of(&row).to_owned(), row))
            .collect();
        let mut new = Vec::new();
        let mut versions = Vec::new();
        for definition in list {
            let Some(before) = known.remove(definition.key()) else {
                let row = definition.first(self, source);
                versions.extend(D::version(None, &row));
                changes.added.push(change::<D>(&row, None));
                new.push(row);
                continue;
            };
            let mut after = before.clone();
            definition.apply(&mut after, source);
            let was_active = std::mem::replace(D::standing(&mut after).is_active, true);
            if after == before {
                continue;
            }
            let updated_at = D::standing(&mut after).updated_at;
            *updated_at = self.now.max(*updated_at);
            let previous = D::digest_of(&before);
            if !was_active {
                changes.added.push(change::<D>(&after, None));
            } else if D::digest_of(&after) != previous {
                changes.changed.push(change::<D>(&after, Some(previous)));
            }
            versions.extend(D::version(Some(&before), &after));
            after
                .into_active_model()
                .reset_all()
                .update(&self.transaction)
                .await?;
        }
        for rows in new.chunks(ROWS_AT_ONCE) {
            let rows = rows.iter().cloned().map(IntoActiveModel::into_active_model);
            D::Entity::insert_many(rows)
                .exec_without_returning(&self.transaction)
                .await?;
        }
        for rows in versions.chunks(ROWS_AT_ONCE) {
            let rows = rows.iter().cloned().map(IntoActiveModel::into_active_model);
            tool_version::Entity::insert_many(rows)
                .exec_without_returning(&self.transaction)
                .await?;
        }
        if absent == Absent::Goes {
            let mut gone: Vec<RowOf<D>> = known.into_values().collect();
            gone.retain_mut(|row| *D::standing(row).is_active);
            self.deactivate::<D>(gone, changes).await?;
        }
        Ok(())
    }

    async fn deactivate<D: Stored>(&self, mut rows: Vec<RowOf<D>>, changes: &mut Changes) -> Result<()> {
        rows.sort_by_key(D::id_of);
        for row in &rows {
            changes.removed.push(change::<D>(row, None));
        }
        for rows in rows.chunks(ROWS_AT_ONCE) {
            D::Entity::update_many()
                .filter(D::of(&self.server))
                .filter(D::ID.is_in(rows.iter().map(D::id_of)))
                .col_expr(D::IS_ACTIVE, Expr::value(false))
                .col_expr(D::UPDATED_AT, Expr::value(self.now))
                .exec(&self.transaction)
                .await?;
        }
        Ok(())
    }

    async fn rows<D: Stored>(&self) -> Result<Vec<RowOf<D>>> {
        let rows = D::Entity::find().filter(D::of(&self.server));
        Ok(rows.all(&self.transaction).await?)
    }

    async fn active<D: Stored>(&self) -> Result<Vec<RowOf<D>>> {
        let rows = D::Entity::find()
            .filter(D::of(&self.server))
            .filter(D::IS_ACTIVE.eq(true));
        Ok(rows.order_by_asc(D::ID).all(&self.transaction).await?)
    }
}

fn change<D: Stored>(row: &RowOf<D>, previous_digest: Option<String>) -> Change {
    Change {
        kind: D::KIND,
        id: D::id_of(row),
        name: D::key_of(row).to_owned(),
        digest: D::digest_of(row),
        previous_digest,
    }
}

type RowOf<D> = <<D as Stored>::Entity as EntityTrait>::Model;
type ColumnOf<D> = <<D as Stored>::Entity as EntityTrait>::Column;

/// The part of a row that every kind has.
struct Standing<'r> {
    is_active: &'r mut bool,
    updated_at: &'r mut DateTime<Utc>,
}

/// A definition that has rows.
trait Stored: Definition {
    type Entity: EntityTrait<
            Model: ModelTrait<Entity = Self::Entity>
                       + Clone
                       + PartialEq
                       + Send
                       + IntoActiveModel<<Self::Entity as EntityTrait>::ActiveModel>,
            ActiveModel: sea_orm::ActiveModelBehavior + Send,
        >;
    const ID: ColumnOf<Self>;
    const PROJECT_ID: ColumnOf<Self>;
    const SERVER_ID: ColumnOf<Self>;
    const IS_ACTIVE: ColumnOf<Self>;
    const UPDATED_AT: ColumnOf<Self>;

    /// The rows of one server.
    fn of(server: &server::Model) -> sea_orm::Condition {
        sea_orm::Condition::all()
            .add(Self::PROJECT_ID.eq(server.project_id))
            .add(Self::SERVER_ID.eq(server.id))
    }

    /// A row at first sight.
    fn first(self, refresh: &Refresh, source: Source) -> RowOf<Self>;

    /// Makes an existing row say what this says.
    fn apply(self, row: &mut RowOf<Self>, source: Source);

    fn id_of(row: &RowOf<Self>) -> Uuid;
    fn key_of(row: &RowOf<Self>) -> &str;
    fn digest_of(row: &RowOf<Self>) -> String;
    fn standing(row: &mut RowOf<Self>) -> Standing<'_>;

    /// The version to be kept, if this kind keeps them and it is a new one.
    fn version(_before: Option<&RowOf<Self>>, _after: &RowOf<Self>) -> Option<tool_version::Model> {
        None
    }
}

/// The columns and accessors that differ in nothing but the entity.
macro_rules! stored_columns {
    ($entity:ident, $key:ident) => {
        type Entity = $entity::Entity;
        const ID: $entity::Column = $entity::Column::Id;
        const PROJECT_ID: $entity::Column = $entity::Column::ProjectId;
        const SERVER_ID: $entity::Column = $entity::Column::ServerId;
        const IS_ACTIVE: $entity::Column = $entity::Column::IsActive;
        const UPDATED_AT: $entity::Column = $entity::Column::UpdatedAt;

        fn id_of(row: &$entity::Model) -> Uuid {
            row.id
        }

        fn key_of(row: &$entity::Model) -> &str {
            &row.$key
        }

        fn standing(row: &mut $entity::Model) -> Standing<'_> {
            Standing {
                is_active: &mut row.is_active,
                updated_at: &mut row.updated_at,
            }
        }
    };
}

fn text(value: Value) -> String {
    value.to_string()
}

fn json(text: &Option<String>) -> Option<Value> {
    text.as_deref().map(stored)
}

fn says_something(value: &Value) -> bool {
    value.as_object().is_none_or(|members| !members.is_empty())
}

impl Stored for ToolDefinition {
    stored_columns!(tool, name);

    fn first(self, refresh: &Refresh, source: Source) -> tool::Model {
        let mut row = tool::Model {
            id: new_id(refresh.now),
            project_id: refresh.server.project_id,
            server_id: refresh.server.id,
            is_active: true,
            created_at: refresh.now,
            updated_at: refresh.now,
            name: self.name.clone(),
            title: None,
            description: None,
            input_schema: "{}".to_owned(),
            output_schema: None,
            annotations: None,
            digest: String::new(),
            approved_digest: String::new(),
            version: 0,
        };
        self.apply(&mut row, source);
        row.approved_digest.clone_from(&row.digest);
        row
    }

    /// A client that knows no input schema sends an empty one.
    fn apply(self, row: &mut tool::Model, source: Source) {
        let Self {
            name: _,
            title,
            description,
            input_schema,
            output_schema,
            annotations,
        } = self;
        let input_schema = match source {
            Source::Server => Some(input_schema.map_or_else(|| "{}".to_owned(), text)),
            Source::Client => input_schema.filter(says_something).map(text),
        };
        row.title = source.member(row.title.take(), title);
        row.description = source.member(row.description.take(), description);
        row.output_schema = source.member(row.output_schema.take(), output_schema.map(text));
        row.annotations = source.member(row.annotations.take(), annotations.map(text));
        if let Some(input_schema) = input_schema {
            row.input_schema = input_schema;
        }
        let digest = tool_digest(row);
        if digest != row.digest {
            row.digest = digest;
            row.version += 1;
        }
    }

    fn digest_of(row: &tool::Model) -> String {
        row.digest.clone()
    }

    fn version(before: Option<&tool::Model>, after: &tool::Model) -> Option<tool_version::Model> {
        if before.is_some_and(|before| before.version == after.version) {
            return None;
        }
        Some(tool_version::Model {
            tool_id: after.id,
            version: after.version,
            project_id: after.project_id,
            description: after.description.clone(),
            input_schema: after.input_schema.clone(),
            output_schema: after.output_schema.clone(),
            annotations: after.annotations.clone(),
            digest: after.digest.clone(),
            created_at: after.updated_at,
        })
    }
}

fn tool_digest(row: &tool::Model) -> String {
    digest([
        ("description", row.description.clone().map(Value::from)),
        ("inputSchema", Some(stored(&row.input_schema))),
        ("outputSchema", json(&row.output_schema)),
        ("annotations", json(&row.annotations)),
    ])
}

impl Stored for ResourceDefinition {
    stored_columns!(resource, uri);

    fn first(self, refresh: &Refresh, source: Source) -> resource::Model {
        let mut row = resource::Model {
            id: new_id(refresh.now),
            project_id: refresh.server.project_id,
            server_id: refresh.server.id,
            is_active: true,
            created_at: refresh.now,
            updated_at: refresh.now,
            uri: self.uri.clone(),
            name: None,
            title: None,
            description: None,
            mime_type: None,
            annotations: None,
            size: None,
        };
        self.apply(&mut row, source);
        row
    }

    fn apply(self, row: &mut resource::Model, source: Source) {
        let Self {
            uri: _,
            name,
            title,
            description,
            mime_type,
            annotations,
            size,
        } = self;
        row.name = source.member(row.name.take(), name);
        row.title = source.member(row.title.take(), title);
        row.description = source.member(row.description.take(), description);
        row.mime_type = source.member(row.mime_type.take(), mime_type);
        row.annotations = source.member(row.annotations.take(), annotations.map(text));
        row.size = source.member(row.size, size);
    }

    fn digest_of(row: &resource::Model) -> String {
        digest([
            ("name", row.name.clone().map(Value::from)),
            ("title", row.title.clone().map(Value::from)),
            ("description", row.description.clone().map(Value::from)),
            ("mimeType", row.mime_type.clone().map(Value::from)),
            ("annotations", json(&row.annotations)),
            ("size", row.size.map(Value::from)),
        ])
    }
}

impl Stored for ResourceTemplateDefinition {
    stored_columns!(resource_template, uri_template);

    fn first(self, refresh: &Refresh, source: Source) -> resource_template::Model {
        let mut row = resource_template::Model {
            id: new_id(refresh.now),
            project_id: refresh.server.project_id,
            server_id: refresh.server.id,
            is_active: true,
            created_at: refresh.now,
            updated_at: refresh.now,
            uri_template: self.uri_template.clone(),
            name: None,
            title: None,
            description: None,
            mime_type: None,
            annotations: None,
        };
        self.apply(&mut row, source);
        row
    }

    fn apply(self, row: &mut resource_template::Model, source: Source) {
        let Self {
            uri_template: _,
            name,
            title,
            description,
            mime_type,
            annotations,
        } = self;
        row.name = source.member(row.name.take(), name);
        row.title = source.member(row.title.take(), title);
        row.description = source.member(row.description.take(), description);
        row.mime_type = source.member(row.mime_type.take(), mime_type);
        row.annotations = source.member(row.annotations.take(), annotations.map(text));
    }

    fn digest_of(row: &resource_template::Model) -> String {
        digest([
            ("name", row.name.clone().map(Value::from)),
            ("title", row.title.clone().map(Value::from)),
            ("description", row.description.clone().map(Value::from)),
            ("mimeType", row.mime_type.clone().map(Value::from)),
            ("annotations", json(&row.annotations)),
        ])
    }
}

impl Stored for PromptDefinition {
    stored_columns!(prompt, name);

    fn first(self, refresh: &Refresh, source: Source) -> prompt::Model {
        let mut row = prompt::Model {
            id: new_id(refresh.now),
            project_id: refresh.server.project_id,
            server_id: refresh.server.id,
            is_active: true,
            created_at: refresh.now,
            updated_at: refresh.now,
            name: self.name.clone(),
            title: None,
            description: None,
            arguments: "[]".to_owned(),
        };
        self.apply(&mut row, source);
        row
    }

    /// A client that knows no arguments sends an empty object; an empty array says that there are none.
    fn apply(self, row: &mut prompt::Model, source: Source) {
        let Self {
            name: _,
            title,
            description,
            arguments,
        } = self;
        row.title = source.member(row.title.take(), title);
        row.description = source.member(row.description.take(), description);
        let arguments = match source {
            Source::Server => Some(arguments.map_or_else(|| "[]".to_owned(), text)),
            Source::Client => arguments.filter(says_something).map(text),
        };
        if let Some(arguments) = arguments {
            row.arguments = arguments;
        }
    }

    fn digest_of(row: &prompt::Model) -> String {
        digest([
            ("title", row.title.clone().map(Value::from)),
            ("description", row.description.clone().map(Value::from)),
            ("arguments", Some(stored(&row.arguments))),
        ])
    }
}
