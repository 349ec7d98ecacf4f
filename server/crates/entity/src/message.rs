//! What was said in conversations.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::ids::ProjectId;

/// One message, as it was sent.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "messages")]
pub struct Model {
    /// UUIDv7, or the id it was imported with.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant, the same as the conversation's.
    pub project_id: ProjectId,
    /// Where it was said.
    pub conversation_id: Uuid,
    /// Its place in the conversation, from 1; gapless until messages are deleted.
    pub position: i64,
    /// Who said it.
    pub role: Role,
    /// JSON: a string or an array of parts. NULL when there is none or it is not kept.
    pub content: Option<String>,
    /// SHA-256 of the content, hexadecimal, also when the content is not kept.
    pub content_hash: Option<String>,
    /// JSON: an array of objects.
    pub tool_calls: Option<String>,
    /// Which tool call it answers.
    pub tool_call_id: Option<String>,
    /// JSON, as the caller sent it.
    pub tool_results: Option<String>,
    /// Input tokens of the call that it came from.
    pub input_tokens: Option<i64>,
    /// Output tokens of the call that it came from.
    pub output_tokens: Option<i64>,
    /// The receipt of the call that it came from.
    pub receipt_id: Option<String>,
    /// A JSON object, as the caller sent it.
    pub metadata: String,
    /// When it was stored.
    pub created_at: DateTime<Utc>,
}

/// Who says something.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum Role {
    /// Instructions.
    System,
    /// The person or program that asks.
    User,
    /// The model.
    Assistant,
    /// The result of a tool call.
    Tool,
}

/// Links to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// Where it was said.
    #[sea_orm(
        belongs_to = "super::conversation::Entity",
        from = "Column::ConversationId",
        to = "super::conversation::Column::Id"
    )]
    Conversation,
}

impl Related<super::conversation::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Conversation.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The messages of one project.
    pub fn of(project: ProjectId) -> Select<Self> {
        Self::find().filter(Column::ProjectId.eq(project))
    }
}
