//! The shapes of usage on the wire, and their conversion field by field.

use entity::usage_log::{self, CostSource};
use entity::usd::Usd;
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::scalar::{Count, Dollars, JsonObject, Milliseconds, Timestamp};
use crate::error::{Error, Violation};
use crate::prices::{TokenCounts, input_includes_cached_default};
use crate::usage::{Acknowledgement, CallReport, DEFAULT_PROFILE};

/// Most logs in one batch.
const MAX_BATCH: usize = 1000;

/// One LLM call.
#[derive(Debug, Clone, Serialize, Deserialize, Object)]
pub(super) struct LogRequest {
    /// Such as `openai`.
    provider: String,
    /// Such as `gpt-4o-mini`.
    model: String,
    /// Input tokens.
    #[serde(default)]
    #[oai(default)]
    input_tokens: Count,
    /// Output tokens, reasoning included.
    #[serde(default)]
    #[oai(default)]
    output_tokens: Count,
    /// Input tokens read from the provider's cache.
    #[serde(default)]
    #[oai(default)]
    cached_input_tokens: Count,
    /// Tokens written to the provider's cache for five minutes; never part of `input_tokens`.
    #[serde(default)]
    #[oai(default)]
    cache_write_5m_tokens: Count,
    /// Tokens written to the provider's cache for one hour; never part of `input_tokens`.
    #[serde(default)]
    #[oai(default)]
    cache_write_1h_tokens: Count,
    /// Output tokens spent on reasoning.
    #[serde(default)]
    #[oai(default)]
    reasoning_tokens: Count,
    /// Whether `input_tokens` includes `cached_input_tokens`. When absent: false for `anthropic`, true for others.
    #[oai(nullable)]
    input_includes_cached: Option<bool>,
    /// The alias under which the model was called.
    #[oai(nullable)]
    alias: Option<String>,
    /// The profile; `default` when absent.
    #[oai(nullable)]
    profile: Option<String>,
    /// What the call cost. When absent, the registry's prices decide.
    #[oai(nullable)]
    cost: Option<Dollars>,
    /// Milliseconds the call took.
    #[oai(nullable)]
    latency_ms: Option<Milliseconds>,
    /// Which application made the call.
    #[oai(nullable)]
    origin: Option<String>,
    /// The caller's own id of the call. Not unique.
    #[oai(nullable)]
    id_at_origin: Option<String>,
    /// The conversation the call belongs to.
    #[oai(nullable)]
    conversation_id: Option<String>,
    /// Anything else, as an object.
    #[oai(nullable)]
    metadata: Option<JsonObject>,
}

impl From<LogRequest> for CallReport {
    fn from(request: LogRequest) -> Self {
        let LogRequest {
            provider,
            model,
            input_tokens,
            output_tokens,
            cached_input_tokens,
            cache_write_5m_tokens,
            cache_write_1h_tokens,
            reasoning_tokens,
            input_includes_cached,
            alias,
            profile,
            cost,
            latency_ms,
            origin,
            id_at_origin,
            conversation_id,
            metadata,
        } = request;
        let present = |text: Option<String>| text.filter(|text| !text.is_empty());
        Self {
            tokens: TokenCounts {
                input: input_tokens.0,
                output: output_tokens.0,
                cached_input: cached_input_tokens.0,
                cache_write_5m: cache_write_5m_tokens.0,
                cache_write_1h: cache_write_1h_tokens.0,
                reasoning: reasoning_tokens.0,
                input_includes_cached: input_includes_cached
                    .unwrap_or_else(|| input_includes_cached_default(&provider)),
            },
            provider,
            model,
            alias: present(alias),
            profile: present(profile).unwrap_or_else(|| DEFAULT_PROFILE.to_owned()),
            cost: cost.map(|cost| cost.0),
            latency_ms: latency_ms.map(|latency| latency.0),
            origin: present(origin),
            id_at_origin: present(id_at_origin),
            // Anything but a UUID names no conversation.
            conversation_id: conversation_id.and_then(|id| id.parse().ok()),
            metadata: metadata.map_or_else(|| "{}".to_owned(), JsonObject::into_text),
        }
    }
}

/// Many LLM calls.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct LogsRequest {
    /// 1 to 1000 calls.
    #[oai(validator(min_items = 1, max_items = 1000))]
    logs: Vec<LogRequest>,
}

impl LogsRequest {
    pub(super) fn into_reports(self) -> Result<Vec<CallReport>, Violation> {
        if self.logs.is_empty() || self.logs.len() > MAX_BATCH {
            return Err(Violation::body(
                &["logs"],
                format!("must have 1 to {MAX_BATCH} entries, has {}", self.logs.len()),
            ));
        }
        Ok(self.logs.into_iter().map(CallReport::from).collect())
    }
}

/// The acknowledgement of one log: it is committed.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct LogResponse {
    /// The row's id (UUIDv7).
    log_id: Uuid,
    /// The cost; 0 when unpriced.
    cost: Dollars,
    /// Where the cost comes from.
    cost_source: WireCostSource,
    /// When the log was accepted.
    timestamp: Timestamp,
}

impl From<Acknowledgement> for LogResponse {
    fn from(acknowledgement: Acknowledgement) -> Self {
        let Acknowledgement {
            log_id,
            cost,
            cost_source,
            logged_at,
        } = acknowledgement;
        Self {
            log_id,
            cost: Dollars(cost.unwrap_or(Usd::ZERO)),
            cost_source: cost_source.into(),
            timestamp: Timestamp(logged_at),
        }
    }
}

/// Where a cost comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
#[oai(rename = "CostSource", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
pub(super) enum WireCostSource {
    /// The caller sent it.
    Client,
    /// Computed from the price registry.
    Registry,
    /// The model or a price that it needs is unknown.
    Unpriced,
}

impl From<CostSource> for WireCostSource {
    fn from(source: CostSource) -> Self {
        match source {
            CostSource::Client => Self::Client,
            CostSource::Registry => Self::Registry,
            CostSource::Unpriced => Self::Unpriced,
        }
    }
}

/// One logged call.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(in crate::api) struct UsageLog {
    /// UUIDv7.
    id: Uuid,
    /// When it was accepted.
    logged_at: Timestamp,
    /// As logged.
    provider: String,
    /// As logged.
    model: String,
    /// As logged.
    #[oai(nullable)]
    alias: Option<String>,
    /// As logged.
    profile: String,
    /// As logged.
    #[oai(nullable)]
    origin: Option<String>,
    /// As logged.
    input_tokens: i64,
    /// As logged; reasoning included.
    output_tokens: i64,
    /// As logged.
    cached_input_tokens: i64,
    /// As logged.
    cache_write_5m_tokens: i64,
    /// As logged.
    cache_write_1h_tokens: i64,
    /// As logged.
    reasoning_tokens: i64,
    /// Whether `input_tokens` includes `cached_input_tokens`.
    input_includes_cached: bool,
    /// The cost; 0 when unpriced.
    cost: Dollars,
    /// Where the cost comes from.
    cost_source: WireCostSource,
    /// As logged.
    #[oai(nullable)]
    latency_ms: Option<i64>,
    /// As logged.
    metadata: JsonObject,
    /// As logged.
    #[oai(nullable)]
    conversation_id: Option<Uuid>,
    /// As logged.
    #[oai(nullable)]
    id_at_origin: Option<String>,
}

impl TryFrom<usage_log::Model> for UsageLog {
    type Error = Error;

    fn try_from(row: usage_log::Model) -> Result<Self, Error> {
        let cost = row.cost().unwrap_or(Usd::ZERO);
        let usage_log::Model {
            id,
            project_id: _,
            logged_at,
            provider,
            model,
            alias,
            profile,
            origin,
            id_at_origin,
            conversation_id,
            input_tokens,
            output_tokens,
            cached_input_tokens,
            cache_write_5m_tokens,
            cache_write_1h_tokens,
            reasoning_tokens,
            input_includes_cached,
            cost_micros: _,
            cost_picos: _,
            cost_source,
            pricing: _,
            latency_ms,
            metadata,
        } = row;
        Ok(Self {
            id,
            logged_at: Timestamp(logged_at),
            provider,
            model,
            alias,
            profile,
            origin,
            input_tokens,
            output_tokens,
            cached_input_tokens,
            cache_write_5m_tokens,
            cache_write_1h_tokens,
            reasoning_tokens,
            input_includes_cached,
            cost: Dollars(cost),
            cost_source: cost_source.into(),
            latency_ms,
            metadata: JsonObject::from_stored(metadata).map_err(|source| Error::Corrupt {
                what: "metadata",
                source,
            })?,
            conversation_id,
            id_at_origin,
        })
    }
}

/// How logs are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum LogFormat {
    /// A JSON array.
    Json,
    /// RFC 4180, with a header line.
    Csv,
}
