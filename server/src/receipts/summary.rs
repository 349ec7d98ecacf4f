//! What several usage logs add up to.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use entity::ids::ProjectId;
use entity::usage_log::{self, Column};
use entity::usd::Usd;
use receipt::{BatchShare, BatchSummary, Cost, ReceiptType, Tokens, UnsignedReceipt};
use sea_orm::sea_query::{Condition, Expr, ExprTrait, Func};
use sea_orm::{ColumnTrait, ConnectionTrait, FromQueryResult, QueryFilter, QuerySelect, QueryTrait};

use super::Note;
use super::links::LogsDigest;
use crate::error::{Error, Result, Violation};
use crate::usage::is_overflow;

/// Most different combinations of provider, model, alias and profile.
const MAX_GROUPS: u64 = 4096;

/// Stands for a name where logs have different ones.
const MIXED: &str = "mixed";

/// The sums of a selection of at least one usage log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// Logs.
    pub calls: u64,
    /// Logs of which no cost is known; they add nothing to the cost.
    pub unpriced: u64,
    /// Different conversations.
    pub conversations: u64,
    /// Sums of the counts as logged.
    pub tokens: Tokens,
    /// The exact sum of the costs.
    pub cost: Usd,
    /// The first log's time.
    pub start: DateTime<Utc>,
    /// The last log's time.
    pub end: DateTime<Utc>,
    /// Parts by model, which sum to the whole.
    pub by_model: BTreeMap<String, Share>,
    /// Parts by alias; logs without one are in none.
    pub by_alias: BTreeMap<String, Share>,
    names: Names,
}

/// A part of a selection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Share {
    /// Logs.
    pub calls: u64,
    /// Tokens in and out.
    pub tokens: u64,
    /// The exact sum of the costs.
    pub cost: Usd,
}

/// What all logs have in common, or [`MIXED`].
#[derive(Clone, Debug, PartialEq, Eq)]
struct Names {
    provider: Option<String>,
    model: Option<String>,
    alias: Option<String>,
    profile: Option<String>,
}

/// The sums of the logs that share all names.
#[derive(FromQueryResult)]
struct Group {
    provider: String,
    model: String,
    alias: Option<String>,
    profile: String,
    calls: i64,
    priced: i64,
    input_tokens: i64,
    output_tokens: i64,
    cached_input_tokens: i64,
    cost_dollars: i64,
    cost_micros: i64,
    cost_picos: i64,
    first_logged: DateTime<Utc>,
    last_logged: DateTime<Utc>,
    /// Of the whole selection, the same in every group.
    conversations: i64,
}

impl Summary {
    /// The sums of the project's logs for which `condition` holds, read by one statement and so at one moment; `None` when there
    /// is none.
    pub(super) async fn of(
        connection: &impl ConnectionTrait,
        project: ProjectId,
        condition: Condition,
    ) -> Result<Option<Self>> {
        let selected = || {
            usage_log::Entity::of(project)
                .filter(condition.clone())
                .select_only()
        };
        let conversations = selected().expr(Column::ConversationId.into_expr().count_distinct());
        let groups: Vec<Group> = selected()
            .columns([Column::Provider, Column::Model, Column::Alias, Column::Profile])
            .column_as(Column::Id.count(), "calls")
            .column_as(Column::CostMicros.count(), "priced")
            .expr_as(sum("input_tokens"), "input_tokens")
            .expr_as(sum("output_tokens"), "output_tokens")
            .expr_as(sum("cached_input_tokens"), "cached_input_tokens")
            .expr_as(sum("cost_micros / 1000000"), "cost_dollars")
            .expr_as(sum("cost_micros % 1000000"), "cost_micros")
            .expr_as(sum("cost_picos"), "cost_picos")
            .column_as(Column::LoggedAt.min(), "first_logged")
            .column_as(Column::LoggedAt.max(), "last_logged")
            .expr_as(
                Expr::SubQuery(None, Box::new(conversations.into_query().into())),
                "conversations",
            )
            .group_by(Column::Provider)
            .group_by(Column::Model)
            .group_by(Column::Alias)
            .group_by(Column::Profile)
            .limit(MAX_GROUPS + 1)
            .into_model()
            .all(connection)
            .await
            .map_err(|error| {
                if is_overflow(&error) {
                    uncountable()
                } else {
                    error.into()
                }
            })?;
        if groups.len() as u64 > MAX_GROUPS {
            let message = format!(
                "selects logs with more than {MAX_GROUPS} different providers, models, aliases and profiles: select fewer"
            );
            return Err(Violation::body(&[], message).into());
        }
        fold(&groups)
    }

    /// The receipt of a batch.
    pub(super) fn into_receipt(
        self,
        id: String,
        timestamp: DateTime<Utc>,
        digest: LogsDigest,
        note: Note,
    ) -> UnsignedReceipt {
        let Names {
            provider,
            model,
            alias,
            profile,
        } = self.names;
        let Note { description, tags } = note;
        let shares = |shares: BTreeMap<String, Share>| {
            shares
                .into_iter()
                .map(|(name, share)| (name, share.into()))
                .collect()
        };
        UnsignedReceipt {
            id,
            timestamp,
            // Each log has its own, in the explanation of its cost.
            registry_version: None,
            provider,
            model: model.unwrap_or_else(|| MIXED.to_owned()),
            alias,
            profile,
            lock_digest: None,
            tokens: self.tokens,
            cost: Cost {
                amount: self.cost.to_string(),
                calculation: calculation(self.calls, self.unpriced),
            },
            receipt_type: Some(ReceiptType::Batch),
            description,
            tags,
            batch_summary: Some(BatchSummary {
                total_conversations: self.conversations,
                total_calls: self.calls,
                total_tokens: self.tokens.input + self.tokens.output,
                total_cost: self.cost.to_string(),
                start_date: self.start,
                end_date: self.end,
                by_model: shares(self.by_model),
                by_alias: shares(self.by_alias),
                logs_sha256: digest.sha256,
                logs_count: digest.count,
            }),
        }
    }
}

impl From<Share> for BatchShare {
    fn from(share: Share) -> Self {
        let Share { calls, tokens, cost } = share;
        Self {
            calls,
            tokens,
            cost: cost.to_string(),
        }
    }
}

fn calculation(calls: u64, unpriced: u64) -> String {
    let exception = match unpriced {
        0 => String::new(),
        unpriced => format!(" Logs without a known cost ({unpriced}) add nothing."),
    };
    format!(
        "The exact sum of the costs of {calls} usage logs, in US dollars.{exception} \
         GET /api/v1/logs/{{id}}/cost explains each log's cost."
    )
}

/// An exact integer on both databases, 0 where there is nothing to add up.
fn sum(summand: &'static str) -> Expr {
    Expr::expr(Func::coalesce([Expr::cust(summand).sum(), 0.into()])).cast_as("bigint")
}

fn uncountable() -> Error {
    Violation::body(&[], "selects more than can be added up: select fewer logs").into()
}

fn fold(groups: &[Group]) -> Result<Option<Summary>> {
    let Some(any) = groups.first() else {
        return Ok(None);
    };
    let mut summary = Summary {
        calls: 0,
        unpriced: 0,
        conversations: count(any.conversations),
        tokens: Tokens::default(),
        cost: Usd::ZERO,
        start: any.first_logged,
        end: any.last_logged,
        by_model: BTreeMap::new(),
        by_alias: BTreeMap::new(),
        names: Names {
            provider: common(groups.iter().map(|group| Some(&group.provider))),
            model: common(groups.iter().map(|group| Some(&group.model))),
            alias: common(groups.iter().map(|group| group.alias.as_ref())),
            profile: common(groups.iter().map(|group| Some(&group.profile))),
        },
    };
    for group in groups {
        let share = Share {
            calls: count(group.calls),
            tokens: count(group.input_tokens) + count(group.output_tokens),
            cost: Usd::from_split_sums(group.cost_dollars, group.cost_micros, group.cost_picos),
        };
        summary.calls += share.calls;
        summary.unpriced += count(group.calls - group.priced);
        summary.tokens.input += count(group.input_tokens);
        summary.tokens.output += count(group.output_tokens);
        summary.tokens.cached_input += count(group.cached_input_tokens);
        summary.cost = add(summary.cost, share.cost)?;
        summary.start = Ord::min(summary.start, group.first_logged);
        summary.end = Ord::max(summary.end, group.last_logged);
        summary
            .by_model
            .entry(group.model.clone())
            .or_default()
            .add(share)?;
        if let Some(alias) = &group.alias {
            summary.by_alias.entry(alias.clone()).or_default().add(share)?;
        }
    }
    Ok(Some(summary))
}

impl Share {
    fn add(&mut self, other: Self) -> Result<()> {
        self.calls += other.calls;
        self.tokens += other.tokens;
        self.cost = add(self.cost, other.cost)?;
        Ok(())
    }
}

fn add(sum: Usd, cost: Usd) -> Result<Usd> {
    sum.checked_add(cost).ok_or_else(uncountable)
}

/// Counts and sums of counts are never negative.
fn count(number: i64) -> u64 {
    number.unsigned_abs()
}

/// The name that all have, `None` when none has one, [`MIXED`] when they differ.
fn common<'a>(mut names: impl Iterator<Item = Option<&'a String>>) -> Option<String> {
    let first = names.next().flatten();
    if names.all(|name| name == first) {
        first.cloned()
    } else {
        Some(MIXED.to_owned())
    }
}
