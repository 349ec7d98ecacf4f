//! Statistics: full buckets come from the rollups, ragged edges from rows, both read at the same moment.
//!
//! Every answer is folded from the same list of parts, so that what is given by day, by model and in the summary sums alike.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write;

use chrono::{DateTime, NaiveDate, Utc};
use entity::ids::ProjectId;
use entity::usd::Usd;
use sea_orm::{ConnectionTrait, DatabaseTransaction, QueryResult, Statement, Value};

use super::period::{DateRange, Grouping, Period, Zone};
use super::sql::{BUCKET_SECONDS, is_overflow};
use crate::error::{Error, Result};
use crate::storage::Storage;

/// Periods asked for in one statement.
const PERIODS_AT_ONCE: usize = 2000;

/// The usage of a project over a range of time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// All of it.
    pub total: Sums,
    /// By period, newest first; periods without a request are left out.
    pub by_period: Vec<PeriodSums>,
    /// By model as logged.
    pub by_model: BTreeMap<String, Sums>,
    /// By origin; rows without one are in no entry.
    pub by_origin: BTreeMap<String, Sums>,
    /// By alias; rows without one are in no entry.
    pub by_alias: BTreeMap<String, Sums>,
}

/// Sums over some rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// Rows.
    pub requests: u64,
    /// Rows without a price; they add nothing to the cost.
    pub unpriced_requests: u64,
    /// Input tokens as logged.
    pub input_tokens: u64,
    /// Output tokens as logged.
    pub output_tokens: u64,
    /// The exact cost.
    pub cost: Usd,
}

/// Sums of one period.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeriodSums {
    /// The period's first day.
    pub first_day: NaiveDate,
    /// Its sums.
    pub sums: Sums,
    /// The model with most requests; of several, the dearest, then the first by name.
    pub top_model: String,
}

impl Sums {
    fn add(&mut self, other: &Self) -> Result<()> {
        self.requests += other.requests;
        self.unpriced_requests += other.unpriced_requests;
        self.input_tokens = add_tokens(self.input_tokens, other.input_tokens)?;
        self.output_tokens = add_tokens(self.output_tokens, other.output_tokens)?;
        self.cost = self.cost.checked_add(other.cost).ok_or_else(uncountable)?;
        Ok(())
    }
}

/// Up to 2⁶³, so that input and output add up as well.
fn add_tokens(sum: u64, tokens: u64) -> Result<u64> {
    sum.checked_add(tokens)
        .filter(|sum| i64::try_from(*sum).is_ok())
        .ok_or_else(uncountable)
}

/// Each bucket can be counted, or its last row would have been refused.
fn uncountable() -> Error {
    Error::Refused("the sums of this range are beyond what can be counted: ask for a shorter one".to_owned())
}

pub(super) async fn statistics(
    storage: &Storage,
    project: ProjectId,
    range: DateRange,
    grouping: Grouping,
    zone: Zone,
) -> Result<Statistics> {
    let snapshot = storage.snapshot().await?;
    let Some(range) = clamp(&snapshot, project, range).await? else {
        return Ok(Statistics::default());
    };
    let periods = grouping.periods(range, zone);
    let mut parts = Vec::new();
    let mut buckets = Vec::new();
    for (index, period) in periods.iter().enumerate() {
        let split = Split::of(period);
        if let Some((low, high)) = split.buckets {
            buckets.push((index, low, high));
        }
        for (start, end) in split.edges.into_iter().flatten() {
            parts.extend(edge(&snapshot, project, index, start, end).await?);
        }
    }
    for buckets in buckets.chunks(PERIODS_AT_ONCE) {
        parts.extend(rollups(&snapshot, project, buckets).await?);
    }
    snapshot.rollback().await?;
    fold(&periods, parts)
}

/// The range cut to the buckets in which the project has rows; `None` when it has none there.
async fn clamp(
    snapshot: &DatabaseTransaction,
    project: ProjectId,
    range: DateRange,
) -> Result<Option<DateRange>> {
    let sql = "SELECT (SELECT MIN(bucket) FROM usage_rollups WHERE project_id = $1), \
                      (SELECT MAX(bucket) FROM usage_rollups WHERE project_id = $1)";
    let Some(row) = query(snapshot, sql, vec![project.into()]).await?.pop() else {
        return Ok(None);
    };
    let (Some(first), Some(last)) = (
        row.try_get_by_index::<Option<i64>>(0)?,
        row.try_get_by_index::<Option<i64>>(1)?,
    ) else {
        return Ok(None);
    };
    let start = range.start.max(at(first));
    let end = range.end.min(at(last + BUCKET_SECONDS));
    Ok((start < end).then_some(DateRange { start, end }))
}

/// A period as full buckets and what is left at either side.
struct Split {
    buckets: Option<(i64, i64)>,
    edges: [Option<(DateTime<Utc>, DateTime<Utc>)>; 2],
}

impl Split {
    fn of(period: &Period) -> Self {
        let &Period {
            start,
            end,
            first_day: _,
        } = period;
        let floor = |instant: DateTime<Utc>| {
            let seconds = instant.timestamp();
            seconds - seconds.rem_euclid(BUCKET_SECONDS)
        };
        let high = floor(end);
        let low = match floor(start) {
            bucket if at(bucket) == start => bucket,
            bucket => bucket + BUCKET_SECONDS,
        };
        if low >= high {
            return Self {
                buckets: None,
                edges: [Some((start, end)), None],
            };
        }
        Self {
            buckets: Some((low, high)),
            edges: [
                (start < at(low)).then_some((start, at(low))),
                (at(high) < end).then_some((at(high), end)),
            ],
        }
    }
}

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(seconds, 0).unwrap_or(DateTime::<Utc>::MAX_UTC)
}

/// Sums of the rows of one period that share all names.
struct Part {
    period: usize,
    model: String,
    alias: String,
    origin: String,
    sums: Sums,
}

async fn rollups(
    snapshot: &DatabaseTransaction,
    project: ProjectId,
    buckets: &[(usize, i64, i64)],
) -> Result<Vec<Part>> {
    let mut values = String::new();
    for (index, low, high) in buckets {
        let comma = if values.is_empty() { "" } else { ", " };
        let _ = write!(values, "{comma}({index}, {low}, {high})");
    }
    // CROSS JOIN makes SQLite take the periods first and look each up in the primary key.
    let sql = format!(
        "WITH period(place, low, high) AS (VALUES {values}) \
         SELECT CAST(place AS bigint), model, alias, origin, {} \
         FROM period CROSS JOIN usage_rollups \
         WHERE project_id = $1 AND bucket >= low AND bucket < high \
         GROUP BY place, model, alias, origin",
        sums([
            "requests",
            "unpriced_requests",
            "input_tokens",
            "output_tokens",
            "cost_micros",
            "cost_picos",
        ])
    );
    query(snapshot, &sql, vec![project.into()])
        .await?
        .iter()
        .map(|row| {
            part(
                row,
                usize::try_from(row.try_get_by_index::<i64>(0)?).unwrap_or_default(),
            )
        })
        .collect()
}

async fn edge(
    snapshot: &DatabaseTransaction,
    project: ProjectId,
    period: usize,
    start: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Result<Vec<Part>> {
    let sql = format!(
        "SELECT 0, model, COALESCE(alias, ''), COALESCE(origin, ''), {} \
         FROM usage_logs WHERE project_id = $1 AND logged_at >= $2 AND logged_at < $3 \
         GROUP BY 2, 3, 4",
        sums([
            "1",
            "CASE WHEN cost_source = 'unpriced' THEN 1 ELSE 0 END",
            "input_tokens",
            "output_tokens",
            "COALESCE(cost_micros, 0)",
            "COALESCE(cost_picos, 0)",
        ])
    );
    query(snapshot, &sql, vec![project.into(), start.into(), end.into()])
        .await?
        .iter()
        .map(|row| part(row, period))
        .collect()
}

/// Each sum as a 64-bit integer: PostgreSQL's own sum of them is NUMERIC. Money has two: the sum of whole dollars does not overflow.
fn sums(columns: [&str; 6]) -> String {
    let [requests, unpriced, input, output, micros, picos] = columns;
    let dollars = format!("({micros}) / 1000000");
    let micros = format!("({micros}) % 1000000");
    [requests, unpriced, input, output, &dollars, &micros, picos]
        .map(|column| format!("CAST(SUM({column}) AS bigint)"))
        .join(", ")
}

fn part(row: &QueryResult, period: usize) -> Result<Part> {
    let count = |index| {
        row.try_get_by_index::<i64>(index)
            .map(|count| u64::try_from(count).unwrap_or_default())
    };
    Ok(Part {
        period,
        model: row.try_get_by_index(1)?,
        alias: row.try_get_by_index(2)?,
        origin: row.try_get_by_index(3)?,
        sums: Sums {
            requests: count(4)?,
            unpriced_requests: count(5)?,
            input_tokens: count(6)?,
            output_tokens: count(7)?,
            cost: Usd::from_split_sums(
                row.try_get_by_index(8)?,
                row.try_get_by_index(9)?,
                row.try_get_by_index(10)?,
            ),
        },
    })
}

async fn query(snapshot: &DatabaseTransaction, sql: &str, values: Vec<Value>) -> Result<Vec<QueryResult>> {
    let statement = Statement::from_sql_and_values(snapshot.get_database_backend(), sql, values);
    let rows = snapshot.query_all_raw(statement).await;
    rows.map_err(|error| {
        if is_overflow(&error) {
            uncountable()
        } else {
            error.into()
        }
    })
}

fn fold(periods: &[Period], parts: Vec<Part>) -> Result<Statistics> {
    let mut statistics = Statistics::default();
    let mut by_period: BTreeMap<usize, (Sums, HashMap<String, Sums>)> = BTreeMap::new();
    for part in parts {
        let Part {
            period,
            model,
            alias,
            origin,
            sums,
        } = part;
        statistics.total.add(&sums)?;
        let (period_sums, period_models) = by_period.entry(period).or_default();
        period_sums.add(&sums)?;
        period_models.entry(model.clone()).or_default().add(&sums)?;
        statistics.by_model.entry(model).or_default().add(&sums)?;
        for (name, by_name) in [
            (alias, &mut statistics.by_alias),
            (origin, &mut statistics.by_origin),
        ] {
            if !name.is_empty() {
                by_name.entry(name).or_default().add(&sums)?;
            }
        }
    }
    statistics.by_period = by_period
        .into_iter()
        .rev()
        .map(|(index, (sums, models))| PeriodSums {
            first_day: periods[index].first_day,
            sums,
            top_model: top(models),
        })
        .collect();
    Ok(statistics)
}

fn top(models: HashMap<String, Sums>) -> String {
    models
        .into_iter()
        .max_by(|(one, ours), (other, theirs)| {
            (ours.requests, ours.cost)
                .cmp(&(theirs.requests, theirs.cost))
                .then_with(|| other.cmp(one))
        })
        .map(|(model, _)| model)
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn period(start: i64, end: i64) -> Period {
        Period {
            first_day: NaiveDate::MIN,
            start: at(start),
            end: at(end),
        }
    }

    #[test]
    fn a_period_splits_into_buckets_and_edges_without_gap_or_overlap() {
        for (start, end) in [
            (0, 900),
            (1, 900),
            (0, 899),
            (1, 899),
            (899, 901),
            (10, 5000),
            (900, 2700),
            (901, 2699),
        ] {
            let split = Split::of(&period(start, end));
            let mut pieces: Vec<(i64, i64)> = split
                .edges
                .into_iter()
                .flatten()
                .map(|(start, end)| (start.timestamp(), end.timestamp()))
                .collect();
            pieces.extend(split.buckets);
            pieces.sort_unstable();
            assert_eq!(pieces.first().map(|piece| piece.0), Some(start));
            assert_eq!(pieces.last().map(|piece| piece.1), Some(end));
            for pair in pieces.windows(2) {
                assert_eq!(pair[0].1, pair[1].0);
            }
            if let Some((low, high)) = split.buckets {
                assert_eq!((low % BUCKET_SECONDS, high % BUCKET_SECONDS), (0, 0));
            }
        }
    }

    #[test]
    fn the_top_model_has_most_requests_then_cost_then_the_first_name() {
        let sums = |requests, picos| Sums {
            requests,
            cost: Usd::from_picos(picos),
            ..Sums::default()
        };
        let top_of = |models: &[(&str, Sums)]| {
            top(models
                .iter()
                .map(|(name, sums)| ((*name).to_owned(), *sums))
                .collect())
        };
        assert_eq!(top_of(&[("a", sums(1, 9)), ("b", sums(2, 1))]), "b");
        assert_eq!(top_of(&[("a", sums(2, 1)), ("b", sums(2, 9))]), "b");
        assert_eq!(top_of(&[("b", sums(2, 1)), ("a", sums(2, 1))]), "a");
    }
}
