//! The writer. Entries wait in a bounded queue; one task takes whatever is waiting, commits it in one transaction and answers.
//!
//! An answer means that the rows are on disk. The batch grows with the load by itself: while one commit waits for the disk, the
//! next batch gathers. There is no timer.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use entity::ids::ProjectId;
use entity::{awaited_log, idempotency_key, usage_log};
use futures_util::FutureExt;
use prometheus::IntGauge;
use sea_orm::sea_query::Expr;
use sea_orm::{ColumnTrait, Condition, DatabaseTransaction, DbErr, EntityTrait, QueryFilter};
use tokio::sync::{Mutex, mpsc, oneshot};
use tokio::task::JoinHandle;

use super::belonging::{self, Reported};
use super::idempotency::another_request;
use super::{Acknowledgement, sql};
use crate::clock::Clock;
use crate::config::LedgerConfig;
use crate::error::{Error, Result, is_outage};
use crate::storage::Storage;
use crate::telemetry::Metrics;

/// How often forgotten idempotency keys are looked for.
const FORGET_INTERVAL: Duration = Duration::from_secs(600);
/// When a caller should come back to a full queue.
const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What makes two requests the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    /// As the caller sent it, 1 to 255 characters.
    pub key: String,
    /// SHA-256 of the operation and the request.
    pub request_sha256: [u8; 32],
}

/// Rows that are recorded together or not at all.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) project: ProjectId,
    pub(super) reports: Vec<Reported>,
    pub(super) key: Option<IdempotencyKey>,
}

impl Entry {
    /// Whether there is no key to claim and no conversation to look up.
    fn adds_rows_only(&self) -> bool {
        self.key.is_none() && self.reports.iter().all(|reported| reported.names.is_empty())
    }
}

type Outcome = Result<Vec<Acknowledgement>>;

#[derive(Debug)]
struct Waiting {
    entry: Entry,
    answer: oneshot::Sender<Outcome>,
}

/// The queue's end that requests hold.
#[derive(Clone, Debug)]
pub(super) struct Ledger {
    queue: mpsc::Sender<Waiting>,
    metrics: Metrics,
    tasks: Arc<Mutex<Option<Tasks>>>,
}

#[derive(Debug)]
struct Tasks {
    stop: oneshot::Sender<()>,
    writer: JoinHandle<()>,
    forgetter: JoinHandle<()>,
}

impl Ledger {
    pub(super) fn start(storage: Storage, clock: Clock, config: &LedgerConfig, metrics: Metrics) -> Self {
        let (queue, waiting) = mpsc::channel(config.queue);
        let (stop, stopped) = oneshot::channel();
        let writer = Writer {
            recorder: storage.postgres_pool().map(sql::Recorder::new),
            storage: storage.clone(),
            most_rows: config.batch,
            patience: config.patience,
            metrics: metrics.clone(),
        };
        let keep = TimeDelta::from_std(config.idempotency_ttl).unwrap_or(TimeDelta::MAX);
        Self {
            queue,
            metrics,
            tasks: Arc::new(Mutex::new(Some(Tasks {
                stop,
                writer: tokio::spawn(writer.run(waiting, stopped)),
                forgetter: tokio::spawn(forget_old_keys(storage, clock, keep)),
            }))),
        }
    }

    /// Waits until the entry is committed.
    pub(super) async fn record(&self, entry: Entry) -> Outcome {
        let (answer, outcome) = oneshot::channel();
        self.queue
            .try_send(Waiting { entry, answer })
            .map_err(|error| match error {
                mpsc::error::TrySendError::Full(_) => Error::Busy {
                    what: "the usage ledger",
                    retry_after: RETRY_AFTER,
                },
                mpsc::error::TrySendError::Closed(_) => stopping(),
            })?;
        let _waiting = Counted::new(&self.metrics.ledger_waiting);
        outcome.await.unwrap_or_else(|_| Err(stopping()))
    }

    /// Counts rows that were committed past the queue.
    pub(super) fn committed(&self, rows: u64) {
        self.metrics.ledger_rows.inc_by(rows);
    }

    /// Refuses new entries, writes those accepted, and returns when that is done.
    pub(super) async fn shutdown(&self) {
        let Some(tasks) = self.tasks.lock().await.take() else {
            return;
        };
        tasks.forgetter.abort();
        // The writer holds the other end; it is gone only when the writer is.
        let _ = tasks.stop.send(());
        if let Err(error) = tasks.writer.await {
            tracing::error!(%error, "the usage ledger's writer ended badly");
        }
    }
}

/// One more in a gauge for as long as it lives, also when the caller goes away.
struct Counted<'a>(&'a IntGauge);

impl<'a> Counted<'a> {
    fn new(gauge: &'a IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.0.dec();
    }
}

fn stopping() -> Error {
    Error::Unavailable {
        what: "the usage ledger",
        source: None,
    }
}

struct Writer {
    storage: Storage,
    /// On PostgreSQL, the short way for batches that only add rows.
    recorder: Option<sql::Recorder>,
    most_rows: usize,
    /// How long a transaction may take. Who waits for it has given up by then.
    patience: Duration,
    metrics: Metrics,
}

impl Writer {
    async fn run(mut self, mut queue: mpsc::Receiver<Waiting>, mut stopped: oneshot::Receiver<()>) {
        loop {
            let first = tokio::select! {
                waiting = queue.recv() => waiting,
                _ = &mut stopped => {
                    queue.close();
                    break;
                }
            };
            let Some(first) = first else { return };
            // Requests that are ready to run reach the queue first.
            tokio::task::yield_now().await;
            self.commit_or_survive(first, &mut queue).await;
        }
        while let Some(first) = queue.recv().await {
            self.commit_or_survive(first, &mut queue).await;
        }
    }

    /// A panic, which would be a mistake in this crate, costs the batch it happened in (its callers are told that its fate is not known)
    /// and not the ledger.
    async fn commit_or_survive(&mut self, first: Waiting, queue: &mut mpsc::Receiver<Waiting>) {
        let batch = self.gather(first, queue);
        if AssertUnwindSafe(self.commit(batch)).catch_unwind().await.is_err() {
            tracing::error!("the usage ledger panicked and goes on");
        }
    }

    /// `first` and what else is waiting, up to the limit of rows.
    fn gather(&self, first: Waiting, queue: &mut mpsc::Receiver<Waiting>) -> Vec<Waiting> {
        let mut rows = first.entry.reports.len();
        let mut batch = vec![first];
        while rows < self.most_rows
            && let Ok(waiting) = queue.try_recv()
        {
            rows += waiting.entry.reports.len();
            batch.push(waiting);
        }
        batch
    }

    /// Writes a batch and answers it. One that the database refuses is halved until the bad entry stands alone.
    async fn commit(&mut self, batch: Vec<Waiting>) {
        let mut batches = vec![batch];
        while let Some(mut batch) = batches.pop() {
            let entries: Vec<&Entry> = batch.iter().map(|waiting| &waiting.entry).collect();
            let timer = self.metrics.ledger_commit_seconds.start_timer();
            let written = tokio::time::timeout(self.patience, self.write(&entries)).await;
            let written = written
                .unwrap_or_else(|_| Err(Failure::Unconfirmed(DbErr::Custom("no answer in time".into()))));
            timer.observe_duration();
            match written {
                Ok(outcomes) => {
                    for (waiting, outcome) in batch.into_iter().zip(outcomes) {
                        // A caller who went away has no use for the answer; the row stays.
                        let _ = waiting.answer.send(outcome);
                    }
                }
                Err(Failure::Refused(_)) if batch.len() > 1 => {
                    let second_half = batch.split_off(batch.len() / 2);
                    batches.push(second_half);
                    batches.push(batch);
                }
                Err(failure) => {
                    tracing::warn!(error = %failure, entries = batch.len(), "a batch of usage logs was not confirmed");
                    for waiting in batch {
                        let _ = waiting.answer.send(Err(failure.answer()));
                    }
                }
            }
        }
    }

    /// One transaction: idempotency keys, conversations, rows, rollups, in this order and each sorted, so that replicas cannot
    /// deadlock.
    async fn write(&mut self, entries: &[&Entry]) -> Result<Vec<Outcome>, Failure> {
        if let Some(recorder) = &mut self.recorder
            && entries.iter().all(|entry| entry.adds_rows_only())
        {
            return Self::write_at_once(recorder, entries, &self.metrics).await;
        }
        let transaction = self.storage.begin().await?;
        let claims = Claims::of(entries);
        let settled = claims.settle(&transaction, entries).await?;
        let fresh: Vec<&Entry> = entries
            .iter()
            .zip(&settled)
            .filter(|(_, settled)| matches!(settled, Settled::Fresh))
            .map(|(entry, _)| *entry)
            .collect();
        let reported: Vec<&Reported> = fresh.iter().flat_map(|entry| &entry.reports).collect();
        let mut recorded = if reported.is_empty() {
            Vec::new()
        } else {
            belonging::record(&transaction, &reported).await?
        }
        .into_iter();
        let answers: Vec<Vec<Acknowledgement>> = fresh
            .iter()
            .map(|entry| recorded.by_ref().take(entry.reports.len()).collect())
            .collect();
        for (entry, answer) in fresh.iter().zip(&answers) {
            // Only now is it known which rows were completed instead of added.
            if let Some(key) = &entry.key
                && *answer != acknowledge(entry)
            {
                remember(&transaction, entry.project, key, answer).await?;
            }
        }
        transaction.commit().await.map_err(Failure::Unconfirmed)?;
        self.metrics.ledger_rows.inc_by(reported.len() as u64);

        let mut answers = answers.into_iter();
        let mut outcomes: Vec<Outcome> = Vec::with_capacity(entries.len());
        for settled in settled {
            let outcome = match settled {
                Settled::Fresh => Ok(answers.next().unwrap_or_default()),
                Settled::Answered(outcome) => outcome,
                Settled::SameAs(first) => match &outcomes[first] {
                    Ok(answer) => Ok(answer.clone()),
                    Err(_) => Err(another_request()),
                },
            };
            outcomes.push(outcome);
        }
        Ok(outcomes)
    }

    /// Where rows are only to be added, one statement does it all. An error that is not the database's answer leaves open whether it
    /// was committed.
    async fn write_at_once(
        recorder: &mut sql::Recorder,
        entries: &[&Entry],
        metrics: &Metrics,
    ) -> Result<Vec<Outcome>, Failure> {
        let rows: Vec<&usage_log::Model> = entries
            .iter()
            .flat_map(|entry| &entry.reports)
            .map(|reported| &reported.row)
            .collect();
        recorder.record(&rows).await.map_err(|error| {
            if is_outage(&error) {
                Failure::Unconfirmed(error)
            } else {
                Failure::Refused(error)
            }
        })?;
        metrics.ledger_rows.inc_by(rows.len() as u64);
        Ok(entries.iter().map(|entry| Ok(acknowledge(entry))).collect())
    }
}

/// What an entry is answered when each of its rows is added.
fn acknowledge(entry: &Entry) -> Vec<Acknowledgement> {
    entry
        .reports
        .iter()
        .map(|reported| Acknowledgement::of(&reported.row))
        .collect()
}

/// Stores another answer under a key that this transaction claimed.
async fn remember(
    transaction: &DatabaseTransaction,
    project: ProjectId,
    key: &IdempotencyKey,
    answer: &[Acknowledgement],
) -> Result<(), Failure> {
    use idempotency_key::Column;
    let response = serde_json::to_string(answer).map_err(Failure::Corrupt)?;
    idempotency_key::Entity::update_many()
        .col_expr(Column::Response, Expr::value(response))
        .filter(Column::ProjectId.eq(project))
        .filter(Column::Key.eq(&key.key))
        .exec(transaction)
        .await?;
    Ok(())
}

/// Why a batch was not written.
#[derive(Debug, thiserror::Error)]
enum Failure {
    /// The database is away, before anything was committed.
    #[error("the database is away: {0}")]
    Outage(DbErr),
    /// The database refused a statement; nothing was committed.
    #[error("the database refused the batch: {0}")]
    Refused(DbErr),
    /// The database did not confirm the commit: it may or may not have happened, so it is never tried again.
    #[error("the database did not confirm the commit: {0}")]
    Unconfirmed(DbErr),
    /// An answer stored earlier does not read back.
    #[error("a stored answer does not read back: {0}")]
    Corrupt(serde_json::Error),
}

impl From<DbErr> for Failure {
    fn from(error: DbErr) -> Self {
        if is_outage(&error) {
            Self::Outage(error)
        } else {
            Self::Refused(error)
        }
    }
}

impl Failure {
    /// What each of those waiting is told. The cause is logged where it happened.
    fn answer(&self) -> Error {
        match self {
            Self::Outage(_) | Self::Unconfirmed(_) => Error::Unavailable {
                what: "the database",
                source: None,
            },
            Self::Refused(error) if sql::is_overflow(error) => super::beyond_counting(),
            Self::Refused(error) => Error::Database(DbErr::Custom(error.to_string())),
            Self::Corrupt(error) => Error::Database(DbErr::Custom(error.to_string())),
        }
    }
}

/// What is known of an entry once the keys are claimed.
enum Settled {
    /// It is to be recorded.
    Fresh,
    /// It has its outcome already.
    Answered(Outcome),
    /// It gets the answer of an earlier entry of this batch, which is fresh.
    SameAs(usize),
}

/// The idempotency keys of a batch.
struct Claims<'a> {
    /// For each key, the entry that came with it first, in the order in which keys are locked.
    first: BTreeMap<(ProjectId, &'a str), usize>,
}

impl<'a> Claims<'a> {
    fn of(entries: &[&'a Entry]) -> Self {
        let mut first = BTreeMap::new();
        for (index, entry) in entries.iter().enumerate() {
            if let Some(key) = &entry.key {
                first.entry((entry.project, key.key.as_str())).or_insert(index);
            }
        }
        Self { first }
    }

    /// Claims the keys, and says what becomes of each entry.
    async fn settle(
        &self,
        transaction: &DatabaseTransaction,
        entries: &[&'a Entry],
    ) -> Result<Vec<Settled>, Failure> {
        if self.first.is_empty() {
            return Ok(entries.iter().map(|_| Settled::Fresh).collect());
        }
        let claims = self.rows(entries)?;
        let claimed: HashSet<(ProjectId, String)> = sql::claim_keys(transaction, &claims).await?;
        let known = self.stored(transaction, &claimed).await?;
        entries
            .iter()
            .map(|entry| {
                let Some(key) = &entry.key else {
                    return Ok(Settled::Fresh);
                };
                let name = (entry.project, key.key.as_str());
                let first = self.first[&name];
                Ok(match known.get(&name) {
                    Some(stored) if stored.request_sha256 != key.request_sha256 => {
                        Settled::Answered(Err(another_request()))
                    }
                    Some(stored) => Settled::Answered(Ok(
                        serde_json::from_str(&stored.response).map_err(Failure::Corrupt)?
                    )),
                    // The key's first use is in this batch: by this very entry, or by one before it.
                    None if std::ptr::eq(entries[first], *entry) => Settled::Fresh,
                    None if entries[first].key.as_ref() != Some(key) => {
                        Settled::Answered(Err(another_request()))
                    }
                    None => Settled::SameAs(first),
                })
            })
            .collect()
    }

    fn rows(&self, entries: &[&Entry]) -> Result<Vec<idempotency_key::Model>, Failure> {
        self.first
            .iter()
            .filter_map(|(&(project_id, key), &index)| {
                let entry = entries[index];
                let request_sha256 = entry.key.as_ref()?.request_sha256.to_vec();
                let created_at = entry.reports.first()?.row.logged_at;
                Some(
                    serde_json::to_string(&acknowledge(entry)).map(|response| idempotency_key::Model {
                        project_id,
                        key: key.to_owned(),
                        request_sha256,
                        response,
                        created_at,
                    }),
                )
            })
            .collect::<Result<_, _>>()
            .map_err(Failure::Corrupt)
    }

    /// What is stored under the keys that were taken before.
    async fn stored(
        &self,
        transaction: &DatabaseTransaction,
        claimed: &HashSet<(ProjectId, String)>,
    ) -> Result<HashMap<(ProjectId, &'a str), idempotency_key::Model>, DbErr> {
        let mut known = HashMap::new();
        for &(project, key) in self.first.keys() {
            if claimed.contains(&(project, key.to_owned())) {
                continue;
            }
            let stored = idempotency_key::Entity::of(project)
                .filter(idempotency_key::Column::Key.eq(key))
                .one(transaction)
                .await?;
            if let Some(stored) = stored {
                known.insert((project, key), stored);
            }
        }
        Ok(known)
    }
}

/// Deletes keys past their time, a few at a time, for as long as the server runs.
async fn forget_old_keys(storage: Storage, clock: Clock, keep: TimeDelta) {
    let mut interval = tokio::time::interval(FORGET_INTERVAL);
    loop {
        interval.tick().await;
        let Some(before) = clock.now().checked_sub_signed(keep) else {
            return;
        };
        if let Err(error) = forget_before(&storage, before).await {
            tracing::warn!(%error, "old idempotency keys were not deleted");
        }
        if let Err(error) = stop_awaiting(&storage, clock.now() - belonging::LOG_FOLLOWS_WITHIN).await {
            tracing::warn!(%error, "logs that never came are still awaited");
        }
    }
}

/// Forgets that logs of calls before `before` may follow. What is deleted is a few bytes a row.
async fn stop_awaiting(storage: &Storage, before: DateTime<Utc>) -> Result<(), DbErr> {
    awaited_log::Entity::delete_many()
        .filter(awaited_log::Column::LoggedAt.lt(before))
        .exec(storage.writer())
        .await
        .map(drop)
}

/// Deletes what is older than `before`. Each delete is small, so that it holds no lock for long.
async fn forget_before(storage: &Storage, before: DateTime<Utc>) -> Result<(), DbErr> {
    const AT_ONCE: u64 = 500;
    loop {
        use sea_orm::QuerySelect;
        let old = idempotency_key::Entity::find()
            .filter(idempotency_key::Column::CreatedAt.lt(before))
            .limit(AT_ONCE)
            .all(storage.reader())
            .await?;
        if old.is_empty() {
            return Ok(());
        }
        let keys = old.into_iter().fold(Condition::any(), |keys, row| {
            keys.add(
                Condition::all()
                    .add(idempotency_key::Column::ProjectId.eq(row.project_id))
                    .add(idempotency_key::Column::Key.eq(row.key)),
            )
        });
        idempotency_key::Entity::delete_many()
            .filter(keys)
            .exec(storage.writer())
            .await?;
    }
}
