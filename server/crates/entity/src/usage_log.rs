//! The usage ledger: one row per LLM call.

use chrono::{DateTime, Utc};
use sea_orm::entity::prelude::*;

use crate::ids::ProjectId;
use crate::usd::Usd;

/// One call. Token counts are as the caller reported them; `input_includes_cached` says how to read them.
#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "usage_logs")]
pub struct Model {
    /// UUIDv7.
    #[sea_orm(primary_key, auto_increment = false)]
    pub id: Uuid,
    /// The tenant.
    pub project_id: ProjectId,
    /// When the server accepted it, to the microsecond.
    pub logged_at: DateTime<Utc>,
    /// Such as `openai`.
    pub provider: String,
    /// As the caller named it.
    pub model: String,
    /// The caller's alias for the model.
    pub alias: Option<String>,
    /// The caller's profile, `default` when not given.
    pub profile: String,
    /// Which application or component made the call.
    pub origin: Option<String>,
    /// The caller's own id of the call. Not unique.
    pub id_at_origin: Option<String>,
    /// The conversation it belongs to.
    pub conversation_id: Option<Uuid>,
    /// Input tokens.
    pub input_tokens: i64,
    /// Output tokens, reasoning included.
    pub output_tokens: i64,
    /// Input tokens read from the provider's cache.
    pub cached_input_tokens: i64,
    /// Tokens written to the provider's cache for five minutes.
    pub cache_write_5m_tokens: i64,
    /// Tokens written to the provider's cache for one hour.
    pub cache_write_1h_tokens: i64,
    /// Output tokens spent on reasoning.
    pub reasoning_tokens: i64,
    /// Whether `input_tokens` includes `cached_input_tokens`.
    pub input_includes_cached: bool,
    /// Whole micro-dollars of the cost; NULL when unpriced.
    pub cost_micros: Option<i64>,
    /// The rest of the cost in pico-dollars, 0 to 999,999; NULL when unpriced.
    pub cost_picos: Option<i32>,
    /// `client`, `registry` or `unpriced`.
    pub cost_source: CostSource,
    /// JSON: how the registry price came about, or why there is none. NULL when the client gave the cost.
    pub pricing: Option<String>,
    /// Milliseconds the call took.
    pub latency_ms: Option<i64>,
    /// A JSON object, as the caller sent it.
    pub metadata: String,
}

/// Where a row's cost comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "snake_case")]
pub enum CostSource {
    /// The caller sent it.
    Client,
    /// Computed from the price registry.
    Registry,
    /// Unknown: the model or a price that it needs is not in the registry.
    Unpriced,
}

impl CostSource {
    /// As it is stored and shown.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Registry => "registry",
            Self::Unpriced => "unpriced",
        }
    }
}

/// Links to other tables: none.
#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Entity {
    /// The rows of one project.
    pub fn of(project: ProjectId) -> Select<Self> {
        Self::find().filter(Column::ProjectId.eq(project))
    }
}

impl Model {
    /// The exact cost; `None` when the row is unpriced.
    pub fn cost(&self) -> Option<Usd> {
        Some(Usd::from_columns(self.cost_micros?, self.cost_picos?))
    }
}
