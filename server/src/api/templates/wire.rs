//! The shapes of templates on the wire, and their conversion field by field.

use std::collections::BTreeMap;

use entity::conversation_template;
use poem_openapi::Object;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::scalar::{AnyJson, JsonObject, Timestamp};
use crate::error::Error;
use crate::templates::{Start, TemplateFields, placeholders};

/// A template to be made.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct TemplateRequest {
    /// 1 to 255 characters.
    #[oai(validator(min_length = 1, max_length = 255))]
    name: String,
    /// What it is for.
    #[oai(nullable)]
    description: Option<String>,
    /// What the model is told first; `{{variable}}` is a placeholder.
    #[oai(nullable)]
    system_prompt: Option<String>,
    /// Which model answers, at most 255 characters; `claude-3-sonnet-20240229` when absent.
    #[oai(nullable, validator(max_length = 255))]
    model: Option<String>,
    /// 0 to 2; 0.7 when absent.
    #[oai(nullable, validator(minimum(value = "0"), maximum(value = "2")))]
    temperature: Option<f64>,
    /// Most tokens in one answer, above 0.
    #[oai(nullable, validator(minimum(value = "1")))]
    max_tokens: Option<i64>,
    /// Anything, as an object.
    #[oai(nullable)]
    tool_config: Option<JsonObject>,
    /// Who made it, at most 255 characters.
    #[oai(nullable, validator(max_length = 255))]
    created_by: Option<String>,
}

impl From<TemplateRequest> for TemplateFields {
    fn from(request: TemplateRequest) -> Self {
        let TemplateRequest {
            name,
            description,
            system_prompt,
            model,
            temperature,
            max_tokens,
            tool_config,
            created_by,
        } = request;
        Self {
            name: Some(name),
            description,
            system_prompt,
            model,
            temperature,
            max_tokens,
            tool_config: tool_config.map(JsonObject::into_text),
            created_by,
            is_active: None,
        }
    }
}

/// Changes to a template: what is present changes, the rest stays.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct TemplateUpdate {
    /// 1 to 255 characters.
    #[oai(nullable, validator(min_length = 1, max_length = 255))]
    name: Option<String>,
    /// What it is for.
    #[oai(nullable)]
    description: Option<String>,
    /// What the model is told first; `{{variable}}` is a placeholder.
    #[oai(nullable)]
    system_prompt: Option<String>,
    /// Which model answers, at most 255 characters.
    #[oai(nullable, validator(max_length = 255))]
    model: Option<String>,
    /// 0 to 2.
    #[oai(nullable, validator(minimum(value = "0"), maximum(value = "2")))]
    temperature: Option<f64>,
    /// Most tokens in one answer, above 0.
    #[oai(nullable, validator(minimum(value = "1")))]
    max_tokens: Option<i64>,
    /// Anything, as an object.
    #[oai(nullable)]
    tool_config: Option<JsonObject>,
    /// Who made it, at most 255 characters.
    #[oai(nullable, validator(max_length = 255))]
    created_by: Option<String>,
    /// Whether it is listed and can be used.
    #[oai(nullable)]
    is_active: Option<bool>,
}

impl From<TemplateUpdate> for TemplateFields {
    fn from(update: TemplateUpdate) -> Self {
        let TemplateUpdate {
            name,
            description,
            system_prompt,
            model,
            temperature,
            max_tokens,
            tool_config,
            created_by,
            is_active,
        } = update;
        Self {
            name,
            description,
            system_prompt,
            model,
            temperature,
            max_tokens,
            tool_config: tool_config.map(JsonObject::into_text),
            created_by,
            is_active,
        }
    }
}

/// One template.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct Template {
    /// UUIDv7.
    id: Uuid,
    /// The project.
    api_key_id: Uuid,
    /// What people call it.
    name: String,
    /// What it is for.
    #[oai(nullable)]
    description: Option<String>,
    /// What the model is told first.
    #[oai(nullable)]
    system_prompt: Option<String>,
    /// The names of the placeholders in `system_prompt`.
    variables: Vec<String>,
    /// Which model answers.
    model: String,
    /// 0 to 2.
    temperature: f64,
    /// Most tokens in one answer.
    #[oai(nullable)]
    max_tokens: Option<i64>,
    /// As it was sent.
    tool_config: JsonObject,
    /// Who made it.
    #[oai(nullable)]
    created_by: Option<String>,
    /// Whether it is listed and can be used.
    is_active: bool,
    /// How often it was used.
    usage_count: i64,
    /// When it was made.
    created_at: Timestamp,
    /// When its fields changed last.
    updated_at: Timestamp,
    /// When it was used last.
    #[oai(nullable)]
    last_used_at: Option<Timestamp>,
}

impl TryFrom<conversation_template::Model> for Template {
    type Error = Error;

    fn try_from(row: conversation_template::Model) -> Result<Self, Error> {
        let conversation_template::Model {
            id,
            project_id,
            name,
            description,
            system_prompt,
            model,
            temperature,
            max_tokens,
            tool_config,
            created_by,
            is_active,
            usage_count,
            created_at,
            updated_at,
            last_used_at,
        } = row;
        let variables = system_prompt.as_deref().map(placeholders).unwrap_or_default();
        let variables = variables.into_iter().map(str::to_owned).collect();
        Ok(Self {
            id,
            api_key_id: project_id.0,
            name,
            description,
            system_prompt,
            variables,
            model,
            temperature,
            max_tokens,
            tool_config: JsonObject::from_stored(tool_config).map_err(|source| Error::Corrupt {
                what: "tool_config",
                source,
            })?,
            created_by,
            is_active,
            usage_count,
            created_at: Timestamp(created_at),
            updated_at: Timestamp(updated_at),
            last_used_at: last_used_at.map(Timestamp),
        })
    }
}

/// How often a template was used.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct TemplateStats {
    /// The template's id.
    template_id: Uuid,
    /// What people call it.
    template_name: String,
    /// How often it was used.
    usage_count: i64,
    /// When it was used last.
    #[oai(nullable)]
    last_used_at: Option<Timestamp>,
    /// When it was made.
    created_at: Timestamp,
}

impl From<conversation_template::Model> for TemplateStats {
    fn from(row: conversation_template::Model) -> Self {
        Self {
            template_id: row.id,
            template_name: row.name,
            usage_count: row.usage_count,
            last_used_at: row.last_used_at.map(Timestamp),
            created_at: Timestamp(row.created_at),
        }
    }
}

/// How a conversation starts from a template.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct StartRequest {
    /// What each placeholder stands for. Text is taken as it is, other values as their JSON.
    #[oai(nullable)]
    variables: Option<BTreeMap<String, AnyJson>>,
    /// At most 500 characters; the template's name when absent.
    #[oai(nullable, validator(max_length = 500))]
    title: Option<String>,
    /// Whatever the caller likes, at most 255 characters; it has no meaning here.
    #[oai(nullable, validator(max_length = 255))]
    project_id: Option<String>,
}

impl From<StartRequest> for Start {
    fn from(request: StartRequest) -> Self {
        let StartRequest {
            variables,
            title,
            project_id,
        } = request;
        let variables = variables.unwrap_or_default().into_iter();
        Self {
            variables: variables
                .map(|(name, value)| {
                    let text = value.as_text().unwrap_or_else(|| value.get().to_owned());
                    (name, text)
                })
                .collect(),
            title,
            project_id,
        }
    }
}
