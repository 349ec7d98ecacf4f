//! What a price was computed from, in the form that a usage row keeps.

use entity::usd::Usd;
use serde::{Deserialize, Serialize};

use super::decimal::Decimal;

/// Everything an amount was computed from, or the reason for which there is none. As JSON it is what a usage row stores.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PriceBasis {
    /// The version that the provider's file gives itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub registry_version: Option<String>,
    /// SHA-256 of the provider's file, in hex.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file_sha256: Option<String>,
    /// The model's key in the registry.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub model_key: Option<String>,
    /// How the model was found.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub matched_by: Option<MatchedBy>,
    /// Which prices hold.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tier: Option<Tier>,
    /// One line for each class of tokens that the call has; none when unpriced.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub lines: Vec<RateLine>,
    /// Why the call is unpriced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How a model was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MatchedBy {
    /// `provider:model` is its key.
    Key,
    /// What the caller gave as the model is its key.
    ModelAsKey,
    /// The provider's own name for it.
    ModelName,
    /// An alias that no other model of the provider has.
    Alias,
}

impl MatchedBy {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Key => "key",
            Self::ModelAsKey => "model_as_key",
            Self::ModelName => "model_name",
            Self::Alias => "alias",
        }
    }
}

/// Which of a model's prices hold for a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tier {
    /// The ordinary ones.
    Standard,
    /// Those of requests whose input is above the model's threshold.
    LongContext,
}

impl Tier {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::LongContext => "long_context",
        }
    }
}

/// A kind of tokens with a price of its own. No token is in two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TokenClass {
    /// Input neither read from nor written to the provider's cache.
    Input,
    /// Input read from the cache.
    CachedInput,
    /// Input written to the cache for five minutes.
    #[serde(rename = "cache_write_5m")]
    CacheWrite5m,
    /// Input written to the cache for an hour.
    #[serde(rename = "cache_write_1h")]
    CacheWrite1h,
    /// Output other than reasoning.
    Output,
    /// Output spent on reasoning.
    Reasoning,
}

impl TokenClass {
    /// The name in JSON.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CachedInput => "cached_input",
            Self::CacheWrite5m => "cache_write_5m",
            Self::CacheWrite1h => "cache_write_1h",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
        }
    }

    /// The name in sentences.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::CachedInput => "cached input",
            Self::CacheWrite5m => "5-minute cache write",
            Self::CacheWrite1h => "1-hour cache write",
            Self::Output => "output",
            Self::Reasoning => "reasoning",
        }
    }
}

/// The tokens of one class and the rate they were priced at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RateLine {
    /// Which tokens.
    pub token_class: TokenClass,
    /// How many.
    pub tokens: u64,
    /// Dollars per million of them, exactly as used. Published as it stands, but for the long-context tier, where it may be
    /// derived from two published prices and is then rounded half to even to twelve decimals if it has no last digit.
    pub usd_per_million: Decimal,
}

/// A line with its amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CostLine {
    /// The tokens and their rate.
    pub line: RateLine,
    /// Dollars: `tokens` × `usd_per_million` ÷ 10⁶, exact, not rounded.
    pub amount: Decimal,
}

impl PriceBasis {
    /// The lines with their exact amounts, or `None` when one does not fit (no priced call has such a line).
    #[must_use]
    pub fn lines_with_amounts(&self) -> Option<Vec<CostLine>> {
        self.lines
            .iter()
            .map(|line| {
                Some(CostLine {
                    line: *line,
                    amount: line.usd_per_million.per_million(line.tokens)?,
                })
            })
            .collect()
    }

    /// The amount: the exact sum of the lines, rounded once, half to even, to a pico-dollar. `None` when the call is unpriced
    /// or the amount does not fit.
    #[must_use]
    pub fn recompute(&self) -> Option<Usd> {
        if self.reason.is_some() {
            return None;
        }
        self.lines_with_amounts()?
            .iter()
            .try_fold(Decimal::ZERO, |sum, line| sum.checked_add(line.amount))?
            .to_usd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_those_of_the_stored_json() {
        for class in [
            TokenClass::Input,
            TokenClass::CachedInput,
            TokenClass::CacheWrite5m,
            TokenClass::CacheWrite1h,
            TokenClass::Output,
            TokenClass::Reasoning,
        ] {
            assert_eq!(serde_json::json!(class), class.as_str());
        }
        for by in [
            MatchedBy::Key,
            MatchedBy::ModelAsKey,
            MatchedBy::ModelName,
            MatchedBy::Alias,
        ] {
            assert_eq!(serde_json::json!(by), by.as_str());
        }
        for tier in [Tier::Standard, Tier::LongContext] {
            assert_eq!(serde_json::json!(tier), tier.as_str());
        }
    }
}
