//! Reading what servers offer: tools with their versions and approval, resources, resource templates, prompts.

use entity::ids::ProjectId;
use entity::{prompt, resource, resource_template, server, tool, tool_version};
use sea_orm::sea_query::{Expr, Query};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter, QueryOrder};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Mcp;
use super::definitions::{Difference, difference, stored};
use super::servers::Selection;
use crate::error::{Error, Result};

/// A definition that a tool has or had.
#[derive(Clone, Debug)]
pub struct ToolVersion {
    /// The definition.
    pub version: tool_version::Model,
    /// Whether it is the one that the tool has now.
    pub is_current: bool,
    /// Whether it may be executed while tools are pinned.
    pub is_approved: bool,
    /// What differs from the version before it; nothing for the first.
    pub differences: Vec<Difference>,
}

fn not_found(what: &'static str, id: Uuid) -> Error {
    Error::NotFound {
        what,
        id: id.to_string(),
    }
}

/// The finders of one kind: a list, and one row.
macro_rules! reads {
    ($entity:ident, $what:literal, $list:ident, $one:ident, $list_doc:literal, $one_doc:literal) => {
        impl Mcp {
            #[doc = $list_doc]
            pub async fn $list(
                &self,
                project: ProjectId,
                selection: Selection,
            ) -> Result<Vec<($entity::Model, server::Model)>> {
                use $entity::{Column, Entity};
                let Selection {
                    is_active,
                    server,
                    caller_project,
                    slice,
                } = selection;
                let mut select = Entity::of(project).filter(Column::IsActive.eq(is_active.unwrap_or(true)));
                if let Some(server) = server {
                    select = select.filter(Column::ServerId.eq(server));
                }
                if let Some(caller_project) = caller_project {
                    let servers = Query::select()
                        .column(server::Column::Id)
                        .from(server::Entity)
                        .and_where(server::Column::ProjectId.eq(project))
                        .and_where(server::Column::CallerProjectId.eq(caller_project))
                        .to_owned();
                    select = select.filter(Column::ServerId.in_subquery(servers));
                }
                let select = select
                    .order_by_asc(Column::CreatedAt)
                    .order_by_asc(Column::Id);
                let rows = slice
                    .of(select)
                    .find_also_related(server::Entity)
                    .all(self.storage.reader())
                    .await?;
                // A row cannot be without its server: the database sees to it.
                Ok(rows
                    .into_iter()
                    .filter_map(|(row, server)| Some((row, server?)))
                    .collect())
            }

            #[doc = $one_doc]
            pub async fn $one(
                &self,
                project: ProjectId,
                id: Uuid,
            ) -> Result<($entity::Model, server::Model)> {
                use $entity::{Column, Entity};
                Entity::of(project)
                    .filter(Column::Id.eq(id))
                    .find_also_related(server::Entity)
                    .one(self.storage.reader())
                    .await?
                    .and_then(|(row, server)| Some((row, server?)))
                    .ok_or_else(|| not_found($what, id))
            }
        }
    };
}

reads!(
    tool,
    "tool",
    tools,
    tool,
    "Tools with their servers, in the order in which they were first seen.",
    "One tool with its server, also when it is no longer offered."
);
reads!(
    resource,
    "resource",
    resources,
    resource,
    "Resources with their servers, in the order in which they were first seen.",
    "One resource with its server, also when it is no longer offered."
);
reads!(
    resource_template,
    "resource template",
    resource_templates,
    resource_template,
    "Resource templates with their servers, in the order in which they were first seen.",
    "One resource template with its server, also when it is no longer offered."
);
reads!(
    prompt,
    "prompt",
    prompts,
    prompt,
    "Prompts with their servers, in the order in which they were first seen.",
    "One prompt with its server, also when it is no longer offered."
);

impl Mcp {
    /// Whether the tool may be executed as it is now defined: always, unless tools are pinned. What a tool was at first sight is approved.
    pub fn is_approved(&self, tool: &tool::Model) -> bool {
        !self.limits.pin_tools || tool.digest == tool.approved_digest
    }

    /// Approves a tool as it is defined now. With `digest`, only while that is its definition.
    pub async fn approve(
        &self,
        project: ProjectId,
        id: Uuid,
        digest: Option<&str>,
    ) -> Result<(tool::Model, server::Model)> {
        let mut update = tool::Entity::update_many()
            .filter(tool::Column::ProjectId.eq(project))
            .filter(tool::Column::Id.eq(id))
            .col_expr(tool::Column::ApprovedDigest, Expr::col(tool::Column::Digest));
        if let Some(digest) = digest {
            update = update.filter(tool::Column::Digest.eq(digest));
        }
        let approved = update.exec(self.storage.writer()).await?;
        let tool = self.tool(project, id).await?;
        if approved.rows_affected == 0 {
            return Err(Error::Conflict(format!(
                "the tool is not defined as the digest says: it is {} now; look at its versions and approve that",
                tool.0.digest
            )));
        }
        Ok(tool)
    }

    /// All definitions of a tool, newest first, each with what differs from the one before.
    pub async fn tool_versions(&self, project: ProjectId, id: Uuid) -> Result<Vec<ToolVersion>> {
        let snapshot = self.storage.snapshot().await?;
        let tool = tool::Entity::of(project)
            .filter(tool::Column::Id.eq(id))
            .one(&snapshot)
            .await?
            .ok_or_else(|| not_found("tool", id))?;
        let versions = tool_version::Entity::of(project)
            .filter(tool_version::Column::ToolId.eq(id))
            .order_by_asc(tool_version::Column::Version)
            .all(&snapshot)
            .await?;
        snapshot.commit().await?;
        let mut before: Option<Value> = None;
        let mut told = Vec::with_capacity(versions.len());
        for version in versions {
            let definition = definition(&version);
            let differences = before.as_ref().map(|before| difference(before, &definition));
            before = Some(definition);
            told.push(ToolVersion {
                is_current: version.version == tool.version,
                is_approved: !self.limits.pin_tools || version.digest == tool.approved_digest,
                differences: differences.unwrap_or_default(),
                version,
            });
        }
        told.reverse();
        Ok(told)
    }
}

/// What the digest is of, under the names of the wire.
fn definition(version: &tool_version::Model) -> Value {
    let members = [
        ("description", version.description.clone().map(Value::from)),
        ("input_schema", Some(stored(&version.input_schema))),
        ("output_schema", version.output_schema.as_deref().map(stored)),
        ("annotations", version.annotations.as_deref().map(stored)),
    ];
    let members: Map<String, Value> = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    Value::Object(members)
}
