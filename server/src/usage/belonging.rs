//! Which conversation a report belongs to, and which row it completes.
//!
//! A client that records conversations reports one call twice: first as a conversation, which writes the call's row, then as a log.
//! That log completes the row instead of adding another. What the two have in common is the conversation, provider, model and counts.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};

use chrono::{DateTime, TimeDelta, Utc};
use entity::ids::ProjectId;
use entity::usage_log::{self, CostSource};
use entity::{awaited_log, conversation, receipt_log};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, DatabaseTransaction, DbErr, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect, Set,
};
use serde::Deserialize;
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{Acknowledgement, CallReport, sql};

/// A row to be recorded.
#[derive(Debug)]
pub(super) struct Reported {
    pub(super) row: usage_log::Model,
    /// What may be the id of the conversation that it belongs to, the most explicit first.
    pub(super) names: Vec<Uuid>,
}

/// The ids by which a report may name a conversation: clients put them in three places.
pub(super) fn names(report: &CallReport) -> Vec<Uuid> {
    #[derive(Deserialize)]
    struct Metadata {
        conversation_id: Option<serde_json::Value>,
    }
    let in_metadata = || {
        // Most metadata names none, and need not be read.
        let metadata = report
            .metadata
            .contains("conversation_id")
            .then(|| serde_json::from_str::<Metadata>(&report.metadata).ok())??;
        metadata.conversation_id?.as_str()?.parse().ok()
    };
    let at_origin = report.id_at_origin.as_deref().and_then(|id| id.parse().ok());
    let mut names: Vec<Uuid> = Vec::new();
    for name in [report.conversation_id, at_origin, in_metadata()]
        .into_iter()
        .flatten()
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Records rows, completes those that a log was awaited for, and keeps rollups and conversations' totals in step. The
/// acknowledgements are in the order of the reports. Locks conversations in the order of their ids, then rollups in theirs.
pub(super) async fn record(
    transaction: &DatabaseTransaction,
    reported: &[&Reported],
) -> Result<Vec<Acknowledgement>, DbErr> {
    let conversations = Conversations::lock(transaction, reported).await?;
    if conversations.0.is_empty() {
        let rows: Vec<&usage_log::Model> = reported.iter().map(|reported| &reported.row).collect();
        sql::insert_rows(transaction, &rows).await?;
        sql::change_rollups(transaction, &rows, &[]).await?;
        return Ok(rows.into_iter().map(Acknowledgement::of).collect());
    }
    let rows: Vec<usage_log::Model> = reported
        .iter()
        .map(|reported| conversations.placed(reported))
        .collect();
    let mut awaited = Awaited::of(transaction, &rows, &conversations).await?;
    let mut acknowledged = Vec::with_capacity(rows.len());
    let mut fresh = Vec::new();
    let mut completed = Vec::new();
    let mut shares = Shares::default();
    for row in rows {
        let conversation = conversations.of_row(&row);
        match conversation.and_then(|conversation| awaited.take(&call_of(conversation, &row))) {
            Some(before) => {
                let after = complete(&before, &row, awaited.certified.contains(&before.id));
                acknowledged.push(Acknowledgement::of(&after));
                shares.replace(&before, &after, row.logged_at);
                completed.push((before, after));
            }
            None => {
                acknowledged.push(Acknowledgement::of(&row));
                if conversation.is_some() {
                    shares.add(&row);
                }
                fresh.push(row);
            }
        }
    }
    let fresh: Vec<&usage_log::Model> = fresh.iter().collect();
    if !fresh.is_empty() {
        sql::insert_rows(transaction, &fresh).await?;
    }
    store_completed(transaction, &completed).await?;
    shares.store(transaction).await?;
    let (before, after): (Vec<_>, Vec<_>) = completed.iter().map(|(before, after)| (before, after)).unzip();
    let added: Vec<&usage_log::Model> = fresh.into_iter().chain(after).collect();
    sql::change_rollups(transaction, &added, &before).await?;
    Ok(acknowledged)
}

/// Says that a log of the row's call may follow.
pub(super) async fn await_log(
    transaction: &DatabaseTransaction,
    row: &usage_log::Model,
) -> Result<(), DbErr> {
    let Some(conversation) = row.conversation_id else {
        return Ok(());
    };
    let mark = awaited_log::ActiveModel {
        conversation_id: Set(conversation),
        call_sha256: Set(call_of(conversation, row)),
        usage_log_id: Set(row.id),
        logged_at: Set(row.logged_at),
    };
    awaited_log::Entity::insert(mark)
        .exec_without_returning(transaction)
        .await
        .map(drop)
}

/// What tells one call of a conversation from another, as far as both reports of it know.
fn call_of(conversation: Uuid, row: &usage_log::Model) -> Vec<u8> {
    let mut hash = Sha256::new();
    // An id that was freed by a deletion may be taken by another project.
    hash.update(row.project_id.0.as_bytes());
    hash.update(conversation.as_bytes());
    for name in [&row.provider, &row.model] {
        hash.update(name);
        hash.update([0]);
    }
    for count in [row.input_tokens, row.output_tokens, row.cached_input_tokens] {
        hash.update(count.to_be_bytes());
    }
    hash.finalize().to_vec()
}

/// The row with what the log knows better. Its counts, its time and its place in a conversation stay; so does all that a receipt of
/// the row has signed.
fn complete(row: &usage_log::Model, log: &usage_log::Model, certified: bool) -> usage_log::Model {
    let mut whole = row.clone();
    let or = |log: &Option<String>, row: &Option<String>| log.clone().or_else(|| row.clone());
    whole.origin = or(&log.origin, &row.origin);
    whole.id_at_origin = or(&log.id_at_origin, &row.id_at_origin);
    whole.latency_ms = log.latency_ms.or(row.latency_ms);
    if log.metadata != "{}" {
        whole.metadata.clone_from(&log.metadata);
    }
    if certified {
        return whole;
    }
    whole.alias = or(&log.alias, &row.alias);
    if log.profile != super::DEFAULT_PROFILE {
        whole.profile.clone_from(&log.profile);
    }
    if log.cost_source == CostSource::Client {
        whole.cost_source = CostSource::Client;
        whole.cost_micros = log.cost_micros;
        whole.cost_picos = log.cost_picos;
        whole.pricing = None;
    }
    whole
}

async fn store_completed(
    transaction: &DatabaseTransaction,
    completed: &[(usage_log::Model, usage_log::Model)],
) -> Result<(), DbErr> {
    for (_, after) in completed {
        let row = after.clone().into_active_model().reset_all();
        row.update(transaction).await?;
        let conversation = after.conversation_id.unwrap_or_default();
        awaited_log::Entity::delete_many()
            .filter(awaited_log::Column::ConversationId.eq(conversation))
            .filter(awaited_log::Column::CallSha256.eq(call_of(conversation, after)))
            .filter(awaited_log::Column::UsageLogId.eq(after.id))
            .exec(transaction)
            .await?;
    }
    Ok(())
}

/// The conversations that reports name, locked.
struct Conversations(HashSet<(ProjectId, Uuid)>);

impl Conversations {
    /// Nothing is asked when no report names any.
    async fn lock(transaction: &DatabaseTransaction, reported: &[&Reported]) -> Result<Self, DbErr> {
        let names: BTreeSet<Uuid> = reported
            .iter()
            .flat_map(|reported| &reported.names)
            .copied()
            .collect();
        if names.is_empty() {
            return Ok(Self(HashSet::new()));
        }
        // Of whichever project, because a batch has reports of many: each report is matched with its own project's only.
        let found: Vec<(ProjectId, Uuid)> = conversation::Entity::find()
            .select_only()
            .columns([conversation::Column::ProjectId, conversation::Column::Id])
            .filter(conversation::Column::Id.is_in(names))
            .order_by_asc(conversation::Column::Id)
            .lock_exclusive()
            .into_tuple()
            .all(transaction)
            .await?;
        Ok(Self(found.into_iter().collect()))
    }

    /// The row, in the conversation that it belongs to.
    fn placed(&self, reported: &Reported) -> usage_log::Model {
        let mut row = reported.row.clone();
        let own = reported
            .names
            .iter()
            .find(|name| self.0.contains(&(row.project_id, **name)));
        if let Some(own) = own {
            row.conversation_id = Some(*own);
        }
        row
    }

    fn of_row(&self, row: &usage_log::Model) -> Option<Uuid> {
        row.conversation_id
            .filter(|id| self.0.contains(&(row.project_id, *id)))
    }
}

/// How long after a conversation's call its own log may come. The client sends one after the other; what comes later is another call.
pub(super) const LOG_FOLLOWS_WITHIN: TimeDelta = TimeDelta::minutes(10);

/// Rows that a log was awaited for, by call, oldest first.
#[derive(Default)]
struct Awaited {
    rows: HashMap<Vec<u8>, VecDeque<usage_log::Model>>,
    /// Those that a receipt covers.
    certified: HashSet<Uuid>,
}

impl Awaited {
    async fn of(
        transaction: &DatabaseTransaction,
        rows: &[usage_log::Model],
        conversations: &Conversations,
    ) -> Result<Self, DbErr> {
        let mut wanted: HashMap<Vec<u8>, usize> = HashMap::new();
        let mut named = BTreeSet::new();
        for row in rows {
            if let Some(conversation) = conversations.of_row(row) {
                *wanted.entry(call_of(conversation, row)).or_default() += 1;
                named.insert(conversation);
            }
        }
        let Some(earliest) = rows.iter().map(|row| row.logged_at).min() else {
            return Ok(Self::default());
        };
        let mut marks = awaited_log::Entity::find()
            .filter(awaited_log::Column::ConversationId.is_in(named))
            .filter(awaited_log::Column::LoggedAt.gte(earliest - LOG_FOLLOWS_WITHIN))
            .filter(awaited_log::Column::CallSha256.is_in(wanted.keys().cloned()))
            .order_by_asc(awaited_log::Column::UsageLogId)
            .all(transaction)
            .await?;
        // A call that happens over and over and is reported once each time leaves many marks: only as many rows are read as reports.
        marks.retain(|mark| match wanted.get_mut(&mark.call_sha256) {
            Some(0) | None => false,
            Some(more) => {
                *more -= 1;
                true
            }
        });
        if marks.is_empty() {
            return Ok(Self::default());
        }
        let ids = marks.iter().map(|mark| mark.usage_log_id);
        let projects: BTreeSet<ProjectId> = rows.iter().map(|row| row.project_id).collect();
        let mut found: HashMap<Uuid, usage_log::Model> = usage_log::Entity::find()
            .filter(usage_log::Column::ProjectId.is_in(projects.iter().copied()))
            .filter(usage_log::Column::Id.is_in(ids))
            .all(transaction)
            .await?
            .into_iter()
            .map(|row| (row.id, row))
            .collect();
        let certified = receipt_log::Entity::find()
            .filter(receipt_log::Column::ProjectId.is_in(projects))
            .filter(receipt_log::Column::LogId.is_in(found.keys().copied()))
            .all(transaction)
            .await?
            .into_iter()
            .map(|link| link.log_id)
            .collect();
        let mut awaited: HashMap<Vec<u8>, VecDeque<usage_log::Model>> = HashMap::new();
        for mark in marks {
            // The call is told by its project too; this says so once more, whatever the mark refers to.
            let own = |row: &usage_log::Model| mark.call_sha256 == call_of(mark.conversation_id, row);
            if let Some(row) = found.remove(&mark.usage_log_id).filter(own) {
                awaited.entry(mark.call_sha256).or_default().push_back(row);
            }
        }
        Ok(Self {
            rows: awaited,
            certified,
        })
    }

    fn take(&mut self, call: &[u8]) -> Option<usage_log::Model> {
        self.rows.get_mut(call)?.pop_front()
    }
}

/// What is added to the totals of conversations, in the order in which they are locked.
#[derive(Default)]
struct Shares(BTreeMap<(Uuid, ProjectId), Share>);

#[derive(Default)]
struct Share {
    input_tokens: i64,
    output_tokens: i64,
    cost_micros: i64,
    cost_picos: i64,
    at: DateTime<Utc>,
}

impl Share {
    fn add_cost(&mut self, row: &usage_log::Model, sign: i64) {
        self.cost_micros += sign * row.cost_micros.unwrap_or(0);
        self.cost_picos += sign * i64::from(row.cost_picos.unwrap_or(0));
    }
}

impl Shares {
    fn of(&mut self, row: &usage_log::Model, at: DateTime<Utc>) -> &mut Share {
        let conversation = row.conversation_id.unwrap_or_default();
        let share = self.0.entry((conversation, row.project_id)).or_default();
        share.at = Ord::max(share.at, at);
        share
    }

    fn add(&mut self, row: &usage_log::Model) {
        let share = self.of(row, row.logged_at);
        share.input_tokens += row.input_tokens;
        share.output_tokens += row.output_tokens;
        share.add_cost(row, 1);
    }

    /// The counts of both are the same.
    fn replace(&mut self, before: &usage_log::Model, after: &usage_log::Model, at: DateTime<Utc>) {
        let share = self.of(after, at);
        share.add_cost(before, -1);
        share.add_cost(after, 1);
    }

    async fn store(self, transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        use conversation::Column;
        for ((id, project), share) in self.0 {
            let mut update = conversation::Entity::update_many()
                .filter(Column::ProjectId.eq(project))
                .filter(Column::Id.eq(id));
            for (column, added) in [
                (Column::UsageInputTokens, share.input_tokens),
                (Column::UsageOutputTokens, share.output_tokens),
                (Column::TotalCostMicros, share.cost_micros),
                (Column::TotalCostPicos, share.cost_picos),
            ] {
                update = update.col_expr(column, Expr::col(column).add(added));
            }
            update
                .col_expr(Column::UpdatedAt, conversation::updated(share.at))
                .exec(transaction)
                .await?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use entity::usd::Usd;

    use super::*;
    use crate::prices::TokenCounts;

    fn report(id_at_origin: Option<&str>, conversation_id: Option<Uuid>, metadata: &str) -> CallReport {
        CallReport {
            provider: "openai".into(),
            model: "gpt-4o-mini".into(),
            tokens: TokenCounts {
                input: 10,
                output: 5,
                cached_input: 0,
                cache_write_5m: 0,
                cache_write_1h: 0,
                reasoning: 0,
                input_includes_cached: true,
            },
            alias: None,
            profile: "default".into(),
            cost: None,
            latency_ms: None,
            origin: None,
            id_at_origin: id_at_origin.map(str::to_owned),
            conversation_id,
            metadata: metadata.into(),
        }
    }

    fn row(report: CallReport, cost: Option<(i64, i32)>, source: CostSource) -> usage_log::Model {
        report.into_row(
            ProjectId(Uuid::nil()),
            Uuid::from_u128(1),
            DateTime::UNIX_EPOCH,
            cost,
            source,
            None,
        )
    }

    #[test]
    fn a_conversation_is_named_in_three_places() {
        let [a, b, c] = [1, 2, 3].map(Uuid::from_u128);
        let metadata = format!(r#"{{"conversation_id":"{c}"}}"#);
        assert_eq!(
            names(&report(Some(&b.to_string()), Some(a), &metadata)),
            [a, b, c]
        );
        assert_eq!(
            names(&report(Some(&c.to_string()), None, &metadata)),
            [c],
            "once is enough"
        );
        assert!(names(&report(Some("order 7"), None, r#"{"conversation_id":7}"#)).is_empty());
    }

    #[test]
    fn a_log_adds_what_it_knows_and_keeps_the_rest() {
        let logged = CallReport {
            origin: Some("app".into()),
            ..report(None, None, r#"{"kept":1}"#)
        };
        let before = row(logged, Some((7, 5)), CostSource::Registry);
        let silent = row(report(None, None, "{}"), None, CostSource::Unpriced);
        assert_eq!(complete(&before, &silent, false), before);

        let telling = CallReport {
            alias: Some("fast".into()),
            latency_ms: Some(12),
            cost: Some(Usd::ZERO),
            ..report(Some("x"), None, r#"{"new":1}"#)
        };
        let after = complete(&before, &row(telling, Some((0, 0)), CostSource::Client), false);
        assert_eq!(after.alias.as_deref(), Some("fast"));
        assert_eq!(after.origin.as_deref(), Some("app"));
        assert_eq!(after.id_at_origin.as_deref(), Some("x"));
        assert_eq!(after.metadata, r#"{"new":1}"#);
        assert_eq!(
            (after.cost_micros, after.cost_source),
            (Some(0), CostSource::Client)
        );
        assert_eq!((after.id, after.input_tokens), (before.id, 10));
    }

    #[test]
    fn what_a_receipt_has_signed_stays() {
        let before = row(report(None, None, "{}"), Some((7, 5)), CostSource::Registry);
        let telling = CallReport {
            alias: Some("fast".into()),
            origin: Some("app".into()),
            profile: "prod".into(),
            ..report(None, None, "{}")
        };
        let after = complete(&before, &row(telling, Some((9, 0)), CostSource::Client), true);
        assert_eq!(after.origin.as_deref(), Some("app"));
        let signed = |row: &usage_log::Model| {
            (
                row.alias.clone(),
                row.profile.clone(),
                row.cost_micros,
                row.cost_picos,
                row.cost_source,
            )
        };
        assert_eq!(signed(&after), signed(&before));
    }

    #[test]
    fn another_model_or_count_is_another_call() {
        let conversation = Uuid::from_u128(1);
        let one = row(report(None, None, "{}"), None, CostSource::Unpriced);
        let mut dearer = one.clone();
        dearer.output_tokens += 1;
        let mut renamed = one.clone();
        renamed.provider = "openaigpt".into();
        renamed.model = "-4o-mini".into();
        let call = call_of(conversation, &one);
        assert_ne!(call, call_of(conversation, &dearer));
        assert_ne!(call, call_of(conversation, &renamed));
        assert_ne!(call, call_of(Uuid::from_u128(2), &one));
    }
}
