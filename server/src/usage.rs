//! What calls used and cost: the ledger that records it, and the questions it answers.
//!
//! A report is priced against the registry's copy in memory, then handed to the ledger, and acknowledged when it is committed.

mod belonging;
pub(crate) mod idempotency;
mod ledger;
mod period;
mod query;
mod report;
mod sql;
mod stats;

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::ids::ProjectId;
use entity::usage_log::{self, CostSource};
use entity::usd::Usd;
use sea_orm::{DatabaseTransaction, DbErr};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::clock::{Clock, new_id};
use crate::config::LedgerConfig;
use crate::error::{Error, Result, Violation};
use crate::prices::{self, PriceBasis, Priced};
use crate::registry::Registry;
use crate::storage::Storage;
use crate::telemetry::Metrics;
use belonging::Reported;
use ledger::{Entry, Ledger};

pub use ledger::IdempotencyKey;
pub use period::{DateBound, DateRange, Grouping, Zone};
pub use query::{LogFilter, Page};
pub use report::{CallReport, MAX_TEXT_CHARS};
pub(crate) use sql::is_overflow;
pub use stats::{Statistics, Sums};

/// How long a report waits for the registry's very first copy.
const FIRST_PRICES: Duration = Duration::from_secs(3);

/// The profile of a report that names none.
pub(crate) const DEFAULT_PROFILE: &str = "default";

/// The usage of all projects.
#[derive(Clone, Debug)]
pub struct Usage {
    storage: Storage,
    clock: Clock,
    registry: Registry,
    ledger: Ledger,
    max_metadata_bytes: usize,
}

/// The acknowledgement of one report.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Acknowledgement {
    /// The row's id.
    pub log_id: Uuid,
    /// `None` when unpriced.
    pub cost: Option<Usd>,
    /// Where the cost comes from.
    #[serde(with = "cost_source")]
    pub cost_source: CostSource,
    /// When the report was accepted.
    pub logged_at: DateTime<Utc>,
}

/// Why a row costs what it costs.
#[derive(Clone, Debug)]
pub struct Explanation {
    /// The row.
    pub row: usage_log::Model,
    /// How the registry's price came about; `None` when the caller gave the cost.
    pub basis: Option<PriceBasis>,
}

impl Usage {
    /// Starts the ledger's writer on the current tokio runtime.
    pub fn start(
        storage: Storage,
        clock: Clock,
        registry: Registry,
        config: &LedgerConfig,
        metrics: &Metrics,
    ) -> Self {
        Self {
            ledger: Ledger::start(storage.clone(), clock.clone(), config, metrics.clone()),
            storage,
            clock,
            registry,
            max_metadata_bytes: config.max_metadata_bytes,
        }
    }

    /// Records `report` and returns when it is committed. With a key, a repetition of the same request gets the first answer and
    /// records nothing; another request under the same key is [`Error::Conflict`].
    pub async fn log_one(
        &self,
        project: ProjectId,
        report: CallReport,
        key: Option<IdempotencyKey>,
    ) -> Result<Acknowledgement> {
        report::check_one(&report, self.max_metadata_bytes)?;
        let mut acknowledged = self.record(project, vec![report], key).await?;
        // The same key for another operation is a conflict: what was stored under this one is one acknowledgement.
        acknowledged
            .pop()
            .ok_or_else(|| Error::Conflict("this Idempotency-Key was used for another request".to_owned()))
    }

    /// As [`Usage::log_one`], for several reports: all are recorded or none.
    pub async fn log_all(
        &self,
        project: ProjectId,
        reports: Vec<CallReport>,
        key: Option<IdempotencyKey>,
    ) -> Result<Vec<Acknowledgement>> {
        report::check_all(&reports, self.max_metadata_bytes)?;
        self.record(project, reports, key).await
    }

    async fn record(
        &self,
        project: ProjectId,
        reports: Vec<CallReport>,
        key: Option<IdempotencyKey>,
    ) -> Result<Vec<Acknowledgement>> {
        if reports.iter().any(|report| report.cost.is_none()) {
            self.registry.wait_for_first_attempt(FIRST_PRICES).await;
        }
        let logged_at = self.clock.now();
        let reports = reports
            .into_iter()
            .map(|report| {
                let names = belonging::names(&report);
                let row = self.row(project, logged_at, report)?;
                Ok(Reported { row, names })
            })
            .collect::<Result<Vec<_>>>()?;
        self.ledger
            .record(Entry {
                project,
                reports,
                key,
            })
            .await
    }

    /// The priced row of `report`, which is not recorded yet: see [`Usage::record_in`].
    pub(crate) async fn prepare(
        &self,
        project: ProjectId,
        logged_at: DateTime<Utc>,
        report: CallReport,
    ) -> Result<usage_log::Model> {
        report::check_one(&report, self.max_metadata_bytes)?;
        if report.cost.is_none() {
            self.registry.wait_for_first_attempt(FIRST_PRICES).await;
        }
        self.row(project, logged_at, report)
    }

    /// Records a row in a transaction that records other things too; a log of the same call that follows completes it. The totals
    /// of the conversation that the row names are the caller's to keep.
    pub(crate) async fn record_in(
        &self,
        transaction: &DatabaseTransaction,
        row: &usage_log::Model,
    ) -> Result<()> {
        let record = async {
            sql::insert_rows(transaction, &[row]).await?;
            sql::change_rollups(transaction, &[row], &[]).await?;
            belonging::await_log(transaction, row).await
        };
        record.await.map_err(refusal)
    }

    /// Counts rows that [`Usage::record_in`] recorded, once they are committed.
    pub(crate) fn committed(&self, rows: u64) {
        self.ledger.committed(rows);
    }

    /// The row that a report becomes.
    fn row(
        &self,
        project: ProjectId,
        logged_at: DateTime<Utc>,
        report: CallReport,
    ) -> Result<usage_log::Model> {
        let (cost, cost_source, basis) = match report.cost {
            Some(cost) => (Some(cost), CostSource::Client, None),
            None => {
                let catalog = self.registry.catalog();
                match prices::price(&catalog, &report.provider, &report.model, &report.tokens) {
                    Priced::Priced { cost, basis } if cost > report::MAX_COST => {
                        let reason = format!("{cost} dollars for one call cannot be right");
                        let basis = PriceBasis {
                            reason: Some(reason),
                            ..basis
                        };
                        (None, CostSource::Unpriced, Some(basis))
                    }
                    Priced::Priced { cost, basis } => (Some(cost), CostSource::Registry, Some(basis)),
                    Priced::Unpriced { basis } => (None, CostSource::Unpriced, Some(basis)),
                }
            }
        };
        let columns = cost
            .map(Usd::to_columns)
            .transpose()
            .map_err(|error| Violation::body(&["cost"], error.to_string()))?;
        let pricing = basis
            .map(|basis| serde_json::to_string(&basis))
            .transpose()
            .map_err(|source| Error::Corrupt {
                what: "pricing",
                source,
            })?;
        Ok(report.into_row(
            project,
            new_id(logged_at),
            logged_at,
            columns,
            cost_source,
            pricing,
        ))
    }

    /// Why the row costs what it costs.
    pub async fn explain(&self, project: ProjectId, id: Uuid) -> Result<Explanation> {
        let row = query::one(&self.storage, project, id).await?;
        let basis = row
            .pricing
            .as_deref()
            .map(serde_json::from_str)
            .transpose()
            .map_err(|source| Error::Corrupt {
                what: "pricing",
                source,
            })?;
        Ok(Explanation { row, basis })
    }

    /// Rows, newest first.
    pub async fn list(
        &self,
        project: ProjectId,
        filter: &LogFilter,
        page: Page,
    ) -> Result<Vec<usage_log::Model>> {
        query::list(&self.storage, project, filter, page).await
    }

    /// All rows, newest first, in chunks as they are read.
    pub fn stream(
        &self,
        project: ProjectId,
        filter: LogFilter,
    ) -> impl futures_util::Stream<Item = Result<Vec<usage_log::Model>>> + Send + 'static {
        query::stream(self.storage.clone(), project, filter)
    }

    /// Sums over a range of time.
    pub async fn statistics(
        &self,
        project: ProjectId,
        range: DateRange,
        grouping: Grouping,
        zone: Zone,
    ) -> Result<Statistics> {
        stats::statistics(&self.storage, project, range, grouping, zone).await
    }

    /// The instant at which a question is asked, for its defaults.
    pub fn now(&self) -> DateTime<Utc> {
        self.clock.now()
    }

    /// Writes what was accepted and stops the writer. Later reports are [`Error::Unavailable`].
    pub async fn shutdown(&self) {
        self.ledger.shutdown().await;
    }
}

/// What a caller is told when the database refuses to add something up.
pub(crate) fn refusal(error: DbErr) -> Error {
    if sql::is_overflow(&error) {
        beyond_counting()
    } else {
        error.into()
    }
}

/// A sum that would leave the range of its column.
fn beyond_counting() -> Error {
    Violation::body(&["cost"], "would take totals beyond what can be counted").into()
}

impl Acknowledgement {
    fn of(row: &usage_log::Model) -> Self {
        Self {
            log_id: row.id,
            cost: row.cost(),
            cost_source: row.cost_source,
            logged_at: row.logged_at,
        }
    }
}

/// [`CostSource`] as the text that the database stores.
mod cost_source {
    use entity::usage_log::CostSource;
    use sea_orm::ActiveEnum;
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(super) fn serialize<S: Serializer>(source: &CostSource, serializer: S) -> Result<S::Ok, S::Error> {
        source.as_str().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<CostSource, D::Error> {
        let text = String::deserialize(deserializer)?;
        CostSource::try_from_value(&text).map_err(D::Error::custom)
    }
}
