//! The explanation of a log's cost on the wire, and its conversion field by field.

use entity::usd::Usd;
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::wire::WireCostSource;
use crate::api::scalar::Dollars;
use crate::error::Error;
use crate::prices::{CostLine, MatchedBy, PriceBasis, Tier};
use crate::usage::Explanation;

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
