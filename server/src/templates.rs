//! Templates: a named system prompt with placeholders and settings, from which conversations start.

mod placeholders;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use entity::conversation;
use entity::conversation_template::{self, Column, Entity};
use entity::ids::ProjectId;
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder, QuerySelect,
    UpdateMany, Value,
};
use uuid::Uuid;

use crate::clock::{Clock, new_id};
use crate::conversations::{
    ConversationFields, Conversations, DEFAULT_TEMPERATURE, MAX_TITLE_CHARS, check_length, check_sampling,
    set_present,
};
use crate::error::{Error, Result, Violation, refuse};
use crate::storage::Storage;
use crate::usage::{MAX_TEXT_CHARS, Page};

pub use placeholders::placeholders;

/// The model of a template that names none.
const DEFAULT_MODEL: &str = "claude-3-sonnet-20240229";

/// The templates of all projects.
#[derive(Clone, Debug)]
pub struct Templates {
    storage: Storage,
    clock: Clock,
    conversations: Conversations,
}

/// What a caller says of a template. What is absent has its default when one is made, and stays when one is changed.
#[derive(Clone, Debug, Default)]
pub struct TemplateFields {
    /// At most [`MAX_TEXT_CHARS`] characters; a new template needs one.
    pub name: Option<String>,
    /// What it is for.
    pub description: Option<String>,
    /// With `{{variable}}` placeholders.
    pub system_prompt: Option<String>,
    /// Which model answers.
    pub model: Option<String>,
    /// 0 to 2.
    pub temperature: Option<f64>,
    /// Above 0.
    pub max_tokens: Option<i64>,
    /// JSON text of an object.
    pub tool_config: Option<String>,
    /// Who made it.
    pub created_by: Option<String>,
    /// Whether it is offered and can be used.
    pub is_active: Option<bool>,
}

impl TemplateFields {
    fn violations(&self) -> Vec<Violation> {
        let mut found = Vec::new();
        if self.name.as_ref().is_some_and(|name| name.trim().is_empty()) {
            found.push(Violation::body(&["name"], "must not be empty"));
        }
        for (member, text) in [
            ("name", &self.name),
            ("model", &self.model),
            ("created_by", &self.created_by),
        ] {
            check_length(&mut found, member, text.as_deref(), MAX_TEXT_CHARS);
        }
        check_sampling(&mut found, self.temperature, self.max_tokens);
        found
    }
}

/// What a conversation takes from its caller rather than from the template.
#[derive(Clone, Debug, Default)]
pub struct Start {
    /// What each placeholder stands for.
    pub variables: BTreeMap<String, String>,
    /// The template's name when absent.
    pub title: Option<String>,
    /// The caller's own `project_id`.
    pub project_id: Option<String>,
}

fn no_template(id: Uuid) -> Error {
    Error::NotFound {
        what: "template",
        id: id.to_string(),
    }
}

impl Templates {
    /// Templates of this database.
    pub fn new(storage: Storage, clock: Clock, conversations: Conversations) -> Self {
        Self {
            storage,
            clock,
            conversations,
        }
    }

    /// Makes a template.
    pub async fn create(
        &self,
        project_id: ProjectId,
        fields: TemplateFields,
    ) -> Result<conversation_template::Model> {
        let mut violations = fields.violations();
        let TemplateFields {
            name,
            description,
            system_prompt,
            model,
            temperature,
            max_tokens,
            tool_config,
            created_by,
            is_active,
        } = fields;
        let Some(name) = name else {
            violations.push(Violation::body(&["name"], "is required"));
            return Err(Error::Invalid(violations));
        };
        refuse(violations)?;
        let now = self.clock.now();
        let template = conversation_template::Model {
            id: new_id(now),
            project_id,
            name,
            description,
            system_prompt,
            model: model.unwrap_or_else(|| DEFAULT_MODEL.to_owned()),
            temperature: temperature.unwrap_or(DEFAULT_TEMPERATURE),
            max_tokens,
            tool_config: tool_config.unwrap_or_else(|| "{}".to_owned()),
            created_by,
            is_active: is_active.unwrap_or(true),
            usage_count: 0,
            created_at: now,
            updated_at: now,
            last_used_at: None,
        };
        Entity::insert(template.clone().into_active_model())
            .exec_without_returning(self.storage.writer())
            .await?;
        Ok(template)
    }

    /// Changes the fields that are present.
    pub async fn change(
        &self,
        project: ProjectId,
        id: Uuid,
        fields: TemplateFields,
    ) -> Result<conversation_template::Model> {
        refuse(fields.violations())?;
        let TemplateFields {
            name,
            description,
            system_prompt,
            model,
            temperature,
            max_tokens,
            tool_config,
            created_by,
            is_active,
        } = fields;
        let update = of(project, id).col_expr(Column::UpdatedAt, Expr::value(self.clock.now()));
        let update = set_present(
            update,
            [
                (Column::Name, name.map(Value::from)),
                (Column::Description, description.map(Value::from)),
                (Column::SystemPrompt, system_prompt.map(Value::from)),
                (Column::Model, model.map(Value::from)),
                (Column::Temperature, temperature.map(Value::from)),
                (Column::MaxTokens, max_tokens.map(Value::from)),
                (Column::ToolConfig, tool_config.map(Value::from)),
                (Column::CreatedBy, created_by.map(Value::from)),
                (Column::IsActive, is_active.map(Value::from)),
            ],
        );
        let changed = update.exec_with_returning(self.storage.writer()).await?;
        changed.into_iter().next().ok_or_else(|| no_template(id))
    }

    /// Removes a template. Conversations that started from it stay.
    pub async fn delete(&self, project: ProjectId, id: Uuid) -> Result<()> {
        let deleted = Entity::delete_many()
            .filter(Column::ProjectId.eq(project))
            .filter(Column::Id.eq(id))
            .exec(self.storage.writer())
            .await?;
        if deleted.rows_affected == 0 {
            return Err(no_template(id));
        }
        Ok(())
    }

    /// One template.
    pub async fn one(&self, project: ProjectId, id: Uuid) -> Result<conversation_template::Model> {
        Entity::of(project)
            .filter(Column::Id.eq(id))
            .one(self.storage.reader())
            .await?
            .ok_or_else(|| no_template(id))
    }

    /// Active templates, newest first; with `created_by`, those that it made.
    pub async fn list(
        &self,
        project: ProjectId,
        created_by: Option<&str>,
        page: Page,
    ) -> Result<Vec<conversation_template::Model>> {
        let mut select = Entity::of(project).filter(Column::IsActive.eq(true));
        if let Some(created_by) = created_by {
            select = select.filter(Column::CreatedBy.eq(created_by));
        }
        Ok(select
            .order_by_desc(Column::CreatedAt)
            .order_by_desc(Column::Id)
            .limit(page.limit)
            .offset(page.offset)
            .all(self.storage.reader())
            .await?)
    }

    /// Templates, most used first, inactive ones too: their past counts.
    pub async fn most_used(
        &self,
        project: ProjectId,
        most: u64,
    ) -> Result<Vec<conversation_template::Model>> {
        Ok(Entity::of(project)
            .order_by_desc(Column::UsageCount)
            .order_by_desc(Column::Id)
            .limit(most)
            .all(self.storage.reader())
            .await?)
    }

    /// Counts one use.
    pub async fn record_use(&self, project: ProjectId, id: Uuid) -> Result<conversation_template::Model> {
        let transaction = self.storage.begin().await?;
        let used = count_use(&transaction, project, id, self.clock.now()).await?;
        transaction.commit().await?;
        Ok(used)
    }

    /// Starts a conversation, and counts the use. Every placeholder needs a value.
    pub async fn start(&self, project: ProjectId, id: Uuid, start: Start) -> Result<conversation::Model> {
        let Start {
            variables,
            title,
            project_id,
        } = start;
        let transaction = self.storage.begin().await?;
        let template = count_use(&transaction, project, id, self.clock.now()).await?;
        let system_prompt = template
            .system_prompt
            .map(|prompt| placeholders::fill(&prompt, &variables))
            .transpose()?;
        let fields = ConversationFields {
            title: title.or(Some(template.name)),
            system_prompt,
            model_alias: Some(template.model),
            temperature: Some(template.temperature),
            max_tokens: template.max_tokens,
            project_id,
        };
        let mut violations = Vec::new();
        check_length(&mut violations, "title", fields.title.as_deref(), MAX_TITLE_CHARS);
        check_length(
            &mut violations,
            "project_id",
            fields.project_id.as_deref(),
            MAX_TEXT_CHARS,
        );
        refuse(violations)?;
        let begun = self
            .conversations
            .create_in(&transaction, project, fields)
            .await?;
        transaction.commit().await?;
        Ok(begun)
    }
}

/// An update of one template of the project.
fn of(project: ProjectId, id: Uuid) -> UpdateMany<Entity> {
    Entity::update_many()
        .filter(Column::ProjectId.eq(project))
        .filter(Column::Id.eq(id))
}

/// Adds one to what is stored, whatever that is by then, and returns the template.
async fn count_use(
    connection: &impl ConnectionTrait,
    project: ProjectId,
    id: Uuid,
    now: DateTime<Utc>,
) -> Result<conversation_template::Model> {
    let used = of(project, id)
        .col_expr(Column::UsageCount, Expr::col(Column::UsageCount).add(1_i64))
        .col_expr(Column::LastUsedAt, Expr::value(now))
        .exec_with_returning(connection)
        .await?
        .into_iter()
        .next()
        .ok_or_else(|| no_template(id))?;
    if used.is_active {
        Ok(used)
    } else {
        Err(Error::Conflict(
            "this template is not active: set is_active to use it".to_owned(),
        ))
    }
}
