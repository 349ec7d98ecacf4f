//! Templates that conversations start from.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::ids::ProjectId;

/// One template.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "conversation_templates")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub project_id: ProjectId,
    /// What people call it. Not unique.
    pub name: String,
    /// What it is for.
    pub description: Option<String>,
    /// What the model is told first, with `{{variable}}` placeholders.
    pub system_prompt: Option<String>,
    /// Which model answers.
    pub model: String,
    /// 0 to 2.
    pub temperature: f64,
    /// Most tokens in one answer.
    pub max_tokens: Option<i64>,
    /// A JSON object, as the caller sent it.
    pub tool_config: String,
    /// Who made it, as the caller says.
    pub created_by: Option<String>,
    /// Whether it is offered and can be used.
    pub is_active: bool,
    /// How often it was used.
    pub usage_count: i64,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its fields changed last; use does not change them.
    pub updated_at: DateTime<Utc>,
    /// When it was used last.
    pub last_used_at: Option<DateTime<Utc>>,
}

/// Links to other tables: none.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The templates of one project.
    pub fn of(project: ProjectId) -> Select<Self> {
        Self::find().filter(Column::ProjectId.eq(project))
    }
}
