//! The shapes of statistics on the wire, and their conversion field by field.

use std::collections::BTreeMap;

use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};

use crate::api::scalar::Dollars;
use crate::usage::{Grouping, Statistics, Sums};

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
