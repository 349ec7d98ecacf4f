//! Conversations, each with its running totals.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;
use sea_orm::sea_query::SimpleExpr;

use crate::ids::ProjectId;
use crate::usd::Usd;

/// One conversation.
///
/// Tokens are counted twice, as messages report them and as logged calls do: a client may do either or both for the same call.
/// [`Model::total_input_tokens`] says which count is shown.
#[derive(Clone, Debug, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "conversations")]
pub struct Model {
    /// UUIDv7, or the id it was imported with.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub project_id: ProjectId,
    /// What people call it.
    pub title: Option<String>,
    /// What the model is told first.
    pub system_prompt: Option<String>,
    /// Which model answers, as an alias of the caller's.
    pub model_alias: String,
    /// 0 to 2.
    pub temperature: f64,
    /// Most tokens in one answer.
    pub max_tokens: Option<i64>,
    /// The caller's own `project_id`; no meaning here.
    pub caller_project_id: Option<String>,
    /// The position of the message added last; never given twice.
    pub last_position: i64,
    /// Messages stored.
    pub message_count: i64,
    /// Input tokens as its messages report them, deleted ones included.
    pub message_input_tokens: i64,
    /// Output tokens as its messages report them, deleted ones included.
    pub message_output_tokens: i64,
    /// Input tokens of the usage rows that belong to it.
    pub usage_input_tokens: i64,
    /// Output tokens of the usage rows that belong to it.
    pub usage_output_tokens: i64,
    /// Sum of the whole micro-dollars of those rows.
    pub total_cost_micros: i64,
    /// Sum of their pico-dollars; may exceed a micro-dollar.
    pub total_cost_picos: i64,
    /// When it was begun.
    pub created_at: DateTime<Utc>,
    /// When anything about it changed last.
    pub updated_at: DateTime<Utc>,
    /// When its newest message was stored.
    pub last_message_at: Option<DateTime<Utc>>,
}

/// Links to other tables.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {
    /// What was said.
    #[sea_orm(has_many = "super::message::Entity")]
    Message,
}

impl Related<super::message::Entity> for Entity {
    fn to() -> RelationDef {
        Relation::Message.def()
    }
}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The conversations of one project.
    pub fn of(project: ProjectId) -> Select<Self> {
        Self::find().filter(Column::ProjectId.eq(project))
    }
}

/// `updated_at` after a change at this time. Changes are committed in another order than they begin, and clocks of replicas differ: the
/// latest counts.
pub fn updated(at: DateTime<Utc>) -> SimpleExpr {
    Expr::case(Column::UpdatedAt.lt(at), Expr::value(at))
        .finally(Column::UpdatedAt.into_expr())
        .into()
}

impl Model {
    /// Input tokens. Messages and logged calls tell of the same calls, so they are not added up: the fuller account counts.
    pub fn total_input_tokens(&self) -> i64 {
        self.usage_input_tokens.max(self.message_input_tokens)
    }

    /// Output tokens, as for [`Model::total_input_tokens`].
    pub fn total_output_tokens(&self) -> i64 {
        self.usage_output_tokens.max(self.message_output_tokens)
    }

    /// The exact cost of the usage rows that belong to it.
    pub fn total_cost(&self) -> Usd {
        Usd::from_sums(self.total_cost_micros, self.total_cost_picos)
    }
}
