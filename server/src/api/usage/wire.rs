//! The shapes of usage on the wire, and their conversion field by field.

use std::collections::BTreeMap;

use entity::usage_log::{self, CostSource};
use entity::usd::Usd;
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::api::scalar::{Count, Dollars, JsonObject, Milliseconds, Timestamp};
use crate::error::{Error, Violation};
use crate::prices::{CostLine, MatchedBy, PriceBasis, Tier, TokenCounts, input_includes_cached_default};
use crate::usage::{Acknowledgement, CallReport, DEFAULT_PROFILE, Explanation, Grouping, Statistics, Sums};

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
enum WireCostSource {
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

/// What `by_day` is grouped by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(super) enum GroupBy {
    /// Days.
    Day,
    /// Weeks, from Monday.
    Week,
    /// Calendar months.
    Month,
}

impl From<GroupBy> for Grouping {
    fn from(group_by: GroupBy) -> Self {
        match group_by {
            GroupBy::Day => Self::Day,
            GroupBy::Week => Self::Week,
            GroupBy::Month => Self::Month,
        }
    }
}

/// Sums over a range of time.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct Stats {
    /// All of it.
    summary: StatsSummary,
    /// By period, newest first. A period is named by its first day.
    by_day: Vec<DayStats>,
    /// By model as logged.
    by_model: BTreeMap<String, NamedStats>,
    /// By origin; logs without one are not listed.
    by_origin: BTreeMap<String, OriginStats>,
    /// By alias; logs without one are not listed.
    by_alias: BTreeMap<String, NamedStats>,
}

/// All usage in the range.
#[derive(Debug, Serialize, Deserialize, Object)]
struct StatsSummary {
    /// Logs.
    total_requests: u64,
    /// Their exact cost.
    total_cost: Dollars,
    /// Input and output tokens as logged.
    total_tokens: u64,
    /// Different models.
    unique_models: u64,
    /// Different origins.
    unique_origins: u64,
    /// Logs without a known price; they add nothing to the cost.
    unpriced_requests: u64,
}

/// The usage of one period.
#[derive(Debug, Serialize, Deserialize, Object)]
struct DayStats {
    /// The period's first day, `YYYY-MM-DD`.
    date: String,
    /// Logs.
    requests: u64,
    /// Their exact cost.
    cost: Dollars,
    /// The model with most requests; of several, the dearest.
    top_model: String,
}

/// The usage of one model or alias.
#[derive(Debug, Serialize, Deserialize, Object)]
struct NamedStats {
    /// Logs.
    requests: u64,
    /// Their exact cost.
    cost: Dollars,
    /// As logged.
    input_tokens: u64,
    /// As logged.
    output_tokens: u64,
}

/// The usage of one origin.
#[derive(Debug, Serialize, Deserialize, Object)]
struct OriginStats {
    /// Logs.
    requests: u64,
    /// Their exact cost.
    cost: Dollars,
}

impl From<Statistics> for Stats {
    fn from(statistics: Statistics) -> Self {
        let Statistics {
            total,
            by_period,
            by_model,
            by_origin,
            by_alias,
        } = statistics;
        let named = |sums: BTreeMap<String, Sums>| {
            sums.into_iter()
                .map(|(name, sums)| (name, NamedStats::from(sums)))
                .collect()
        };
        Self {
            summary: StatsSummary {
                total_requests: total.requests,
                total_cost: Dollars(total.cost),
                total_tokens: total.input_tokens + total.output_tokens,
                unique_models: by_model.len() as u64,
                unique_origins: by_origin.len() as u64,
                unpriced_requests: total.unpriced_requests,
            },
            by_day: by_period
                .into_iter()
                .map(|period| DayStats {
                    date: period.first_day.to_string(),
                    requests: period.sums.requests,
                    cost: Dollars(period.sums.cost),
                    top_model: period.top_model,
                })
                .collect(),
            by_model: named(by_model),
            by_origin: by_origin
                .into_iter()
                .map(|(name, sums)| {
                    let stats = OriginStats {
                        requests: sums.requests,
                        cost: Dollars(sums.cost),
                    };
                    (name, stats)
                })
                .collect(),
            by_alias: named(by_alias),
        }
    }
}

impl From<Sums> for NamedStats {
    fn from(sums: Sums) -> Self {
        let Sums {
            requests,
            unpriced_requests: _,
            input_tokens,
            output_tokens,
            cost,
        } = sums;
        Self {
            requests,
            cost: Dollars(cost),
            input_tokens,
            output_tokens,
        }
    }
}

/// Why a log costs what it costs.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct CostExplanation {
    /// The log.
    log_id: Uuid,
    /// As logged.
    provider: String,
    /// As logged.
    model: String,
    /// Where the cost comes from.
    cost_source: WireCostSource,
    /// The stored cost; 0 when unpriced.
    cost: Dollars,
    /// The sum of the lines, rounded half to even to 10⁻¹² dollars; null unless `cost_source` is `registry`.
    #[oai(nullable)]
    recomputed_cost: Option<Dollars>,
    /// The version of the provider's file in the registry.
    #[oai(nullable)]
    registry_version: Option<String>,
    /// SHA-256 of the provider's file, hexadecimal.
    #[oai(nullable)]
    registry_sha256: Option<String>,
    /// The model's key in the registry.
    #[oai(nullable)]
    registry_model: Option<String>,
    /// How the model was found there.
    #[oai(nullable)]
    matched_by: Option<WireMatch>,
    /// Which of its prices hold.
    #[oai(nullable)]
    tier: Option<WireTier>,
    /// One line for each class of tokens that the call used.
    lines: Vec<WireCostLine>,
    /// Why there is no price, or that the caller gave the cost.
    #[oai(nullable)]
    reason: Option<String>,
}

/// How a model was found in the registry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
#[oai(rename = "ModelMatch", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
enum WireMatch {
    /// `provider:model` is its key.
    Key,
    /// What was logged as the model is its key.
    ModelAsKey,
    /// The provider's name for it.
    ModelName,
    /// An alias that no other model of the provider has.
    Alias,
}

/// Which of a model's prices hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
#[oai(rename = "PriceTier", rename_all = "snake_case")]
#[serde(rename_all = "snake_case")]
enum WireTier {
    /// The ordinary ones.
    Standard,
    /// Those of requests whose whole input is above the model's threshold.
    LongContext,
}

/// What the tokens of one class cost.
#[derive(Debug, Serialize, Deserialize, Object)]
#[oai(rename = "CostLine")]
struct WireCostLine {
    /// Such as `input` or `cached_input`. Classes do not overlap.
    token_class: String,
    /// Tokens of this class.
    tokens: u64,
    /// The rate that was used, in US dollars for a million tokens.
    usd_per_million_tokens: String,
    /// `tokens` × rate ÷ 1,000,000, not rounded.
    amount: String,
}

impl TryFrom<Explanation> for CostExplanation {
    type Error = Error;

    fn try_from(explanation: Explanation) -> Result<Self, Error> {
        let Explanation { row, basis } = explanation;
        let basis = basis.unwrap_or_else(|| PriceBasis {
            reason: Some("the caller gave the cost".to_owned()),
            ..PriceBasis::default()
        });
        let recomputed = basis.recompute();
        let lines = basis.lines_with_amounts().unwrap_or_default();
        let PriceBasis {
            registry_version,
            file_sha256,
            model_key,
            matched_by,
            tier,
            lines: _,
            reason,
        } = basis;
        Ok(Self {
            log_id: row.id,
            cost: Dollars(row.cost().unwrap_or(Usd::ZERO)),
            provider: row.provider,
            model: row.model,
            cost_source: row.cost_source.into(),
            recomputed_cost: recomputed.map(Dollars),
            registry_version,
            registry_sha256: file_sha256,
            registry_model: model_key,
            matched_by: matched_by.map(WireMatch::from),
            tier: tier.map(WireTier::from),
            lines: lines.into_iter().map(WireCostLine::from).collect(),
            reason,
        })
    }
}

impl From<MatchedBy> for WireMatch {
    fn from(matched_by: MatchedBy) -> Self {
        match matched_by {
            MatchedBy::Key => Self::Key,
            MatchedBy::ModelAsKey => Self::ModelAsKey,
            MatchedBy::ModelName => Self::ModelName,
            MatchedBy::Alias => Self::Alias,
        }
    }
}

impl From<Tier> for WireTier {
    fn from(tier: Tier) -> Self {
        match tier {
            Tier::Standard => Self::Standard,
            Tier::LongContext => Self::LongContext,
        }
    }
}

impl From<CostLine> for WireCostLine {
    fn from(line: CostLine) -> Self {
        let CostLine { line, amount } = line;
        Self {
            token_class: line.token_class.as_str().to_owned(),
            tokens: line.tokens,
            usd_per_million_tokens: line.usd_per_million.to_string(),
            amount: amount.to_string(),
        }
    }
}
