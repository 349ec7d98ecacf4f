//! The ledger's statements. Each takes one JSON text, however many rows there are: the statement never changes, so that it is
//! prepared once, and no limit on bound parameters applies.

use std::collections::{BTreeMap, HashSet};
use std::fmt::Write;
use std::sync::LazyLock;
use std::time::Instant;

use chrono::{DateTime, SecondsFormat, Utc};
use entity::idempotency_key;
use entity::ids::ProjectId;
use entity::usage_log::{self, CostSource};
use sea_orm::sqlx::pool::PoolConnection;
use sea_orm::sqlx::{self, Connection, PgPool, Postgres};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, RuntimeErr, Statement};
use serde::{Serialize, Serializer};
use uuid::Uuid;

use crate::error::{database_answer, is_outage};
use crate::storage::TRUSTED_IDLE;

/// Seconds in a rollup's bucket. Every present-day time zone's midnight falls on a bucket's edge.
pub(super) const BUCKET_SECONDS: i64 = 900;

/// How a column's value travels in JSON.
#[derive(Clone, Copy)]
enum Kind {
    Plain(&'static str),
    /// Hexadecimal digits.
    Uuid,
    /// Hexadecimal digits.
    Bytes,
}

use Kind::{Bytes, Plain, Uuid as Id};

const TEXT: Kind = Plain("text");
const BIGINT: Kind = Plain("bigint");

/// A table to insert into, and its columns.
struct Target {
    table: &'static str,
    columns: &'static [(&'static str, Kind)],
    /// What follows the rows.
    tail: String,
}

impl Target {
    /// `INSERT INTO table (columns) SELECT … FROM the rows in the JSON text that parameter `parameter` is`.
    fn statement(&self, backend: DbBackend, parameter: u8) -> String {
        let mut names = String::new();
        let mut values = String::new();
        let mut types = String::new();
        for (index, (name, kind)) in self.columns.iter().enumerate() {
            let comma = if index == 0 { "" } else { ", " };
            let _ = write!(names, "{comma}{name}");
            let _ = match (backend, kind) {
                (DbBackend::Postgres, Bytes) => write!(values, "{comma}decode({name}, 'hex')"),
                (DbBackend::Postgres, _) => write!(values, "{comma}{name}"),
                (_, Plain(_)) => write!(values, "{comma}json_extract(value, '$.{name}')"),
                (_, Id | Bytes) => write!(values, "{comma}unhex(json_extract(value, '$.{name}'))"),
            };
            let declared = match kind {
                Plain(declared) => declared,
                Id => "uuid",
                Bytes => "text",
            };
            let _ = write!(types, "{comma}{name} {declared}");
        }
        let rows = match backend {
            DbBackend::Postgres => format!("json_to_recordset(${parameter}::json) AS sent({types})"),
            _ => format!("json_each(${parameter})"),
        };
        // Without a condition SQLite takes the ON of an upsert for a join's.
        format!(
            "INSERT INTO {} ({names}) SELECT {values} FROM {rows} WHERE true{}",
            self.table, self.tail
        )
    }
}

/// A statement for either database.
struct PerBackend {
    sqlite: String,
    postgres: String,
}

impl PerBackend {
    fn of(target: &Target) -> Self {
        Self {
            sqlite: target.statement(DbBackend::Sqlite, 1),
            postgres: target.statement(DbBackend::Postgres, 1),
        }
    }

    fn with(&self, backend: DbBackend, json: String) -> Statement {
        let sql = match backend {
            DbBackend::Postgres => &self.postgres,
            _ => &self.sqlite,
        };
        Statement::from_sql_and_values(backend, sql, [json.into()])
    }
}

static ROWS: LazyLock<Target> = LazyLock::new(|| Target {
    table: "usage_logs",
    columns: &[
        ("id", Id),
        ("project_id", Id),
        ("logged_at", Plain("timestamptz")),
        ("provider", TEXT),
        ("model", TEXT),
        ("alias", TEXT),
        ("profile", TEXT),
        ("origin", TEXT),
        ("id_at_origin", TEXT),
        ("conversation_id", Id),
        ("input_tokens", BIGINT),
        ("output_tokens", BIGINT),
        ("cached_input_tokens", BIGINT),
        ("cache_write_5m_tokens", BIGINT),
        ("cache_write_1h_tokens", BIGINT),
        ("reasoning_tokens", BIGINT),
        ("input_includes_cached", Plain("boolean")),
        ("cost_micros", BIGINT),
        ("cost_picos", Plain("integer")),
        ("cost_source", TEXT),
        ("pricing", TEXT),
        ("latency_ms", BIGINT),
        ("metadata", TEXT),
    ],
    tail: String::new(),
});

static INSERT_ROWS: LazyLock<PerBackend> = LazyLock::new(|| PerBackend::of(&ROWS));

static ROLLUPS: LazyLock<Target> = LazyLock::new(|| {
    let added = [
        "requests",
        "unpriced_requests",
        "input_tokens",
        "output_tokens",
        "cost_micros",
        "cost_picos",
    ]
    .map(|sum| format!("{sum} = usage_rollups.{sum} + excluded.{sum}"))
    .join(", ");
    Target {
        table: "usage_rollups",
        columns: &[
            ("project_id", Id),
            ("bucket", BIGINT),
            ("provider", TEXT),
            ("model", TEXT),
            ("alias", TEXT),
            ("origin", TEXT),
            ("requests", BIGINT),
            ("unpriced_requests", BIGINT),
            ("input_tokens", BIGINT),
            ("output_tokens", BIGINT),
            ("cost_micros", BIGINT),
            ("cost_picos", BIGINT),
        ],
        tail: format!(
            " ON CONFLICT (project_id, bucket, provider, model, alias, origin) DO UPDATE SET {added}"
        ),
    }
});

static ADD_TO_ROLLUPS: LazyLock<PerBackend> = LazyLock::new(|| PerBackend::of(&ROLLUPS));

/// Rows and rollups in one statement, which PostgreSQL commits by itself: one exchange with the server instead of four.
static RECORD: LazyLock<String> = LazyLock::new(|| {
    format!(
        "WITH recorded AS ({}) {}",
        ROWS.statement(DbBackend::Postgres, 1),
        ROLLUPS.statement(DbBackend::Postgres, 2)
    )
});

static CLAIM_KEYS: LazyLock<PerBackend> = LazyLock::new(|| {
    PerBackend::of(&Target {
        table: "idempotency_keys",
        columns: &[
            ("project_id", Id),
            ("key", TEXT),
            ("request_sha256", Bytes),
            ("response", TEXT),
            ("created_at", Plain("timestamptz")),
        ],
        tail: " ON CONFLICT (project_id, key) DO NOTHING RETURNING project_id, key".to_owned(),
    })
});

/// Inserts the rows.
pub(super) async fn insert_rows(
    transaction: &DatabaseTransaction,
    rows: &[&usage_log::Model],
) -> Result<(), DbErr> {
    let statement = INSERT_ROWS.with(transaction.get_database_backend(), rows_json(rows)?);
    transaction.execute_raw(statement).await.map(drop)
}

/// Writes rows and rollups in one statement over a connection of its own: no pool is asked, and one PostgreSQL process stays warm.
///
/// PostgreSQL alone: SQLite has no writing CTE, and gains nothing where a statement is a call within the process.
pub(super) struct Recorder {
    pool: PgPool,
    connection: Option<(PoolConnection<Postgres>, Instant)>,
}

impl Recorder {
    pub(super) fn new(pool: &PgPool) -> Self {
        Self {
            pool: pool.clone(),
            connection: None,
        }
    }

    /// Inserts the rows, adds them to their buckets' sums and commits.
    pub(super) async fn record(&mut self, rows: &[&usage_log::Model]) -> Result<(), DbErr> {
        let (rows, rollups) = (rows_json(rows)?, json(&rollups(rows, &[]))?);
        let mut connection = self.connection().await.map_err(failed)?;
        let outcome = sqlx::query(RECORD.as_str())
            .bind(rows)
            .bind(rollups)
            .execute(&mut *connection)
            .await;
        let outcome = outcome.map(drop).map_err(failed);
        if !outcome.as_ref().is_err_and(is_outage) {
            self.connection = Some((connection, Instant::now()));
        }
        outcome
    }

    /// The connection kept, if it still answers, or another one. It never goes back to the pool: dropped in the middle of a statement
    /// that gets no answer, it is closed.
    async fn connection(&mut self) -> Result<PoolConnection<Postgres>, sqlx::Error> {
        if let Some((mut connection, used)) = self.connection.take()
            && (used.elapsed() < TRUSTED_IDLE || connection.ping().await.is_ok())
        {
            return Ok(connection);
        }
        let mut connection = self.pool.acquire().await?;
        connection.close_on_drop();
        Ok(connection)
    }
}

fn failed(error: sqlx::Error) -> DbErr {
    DbErr::Exec(RuntimeErr::SqlxError(error.into()))
}

/// Adds rows to their buckets' sums, and takes out those that are `removed`, which were added before.
pub(super) async fn change_rollups(
    transaction: &DatabaseTransaction,
    added: &[&usage_log::Model],
    removed: &[&usage_log::Model],
) -> Result<(), DbErr> {
    let sums = rollups(added, removed);
    if sums.is_empty() {
        return Ok(());
    }
    let statement = ADD_TO_ROLLUPS.with(transaction.get_database_backend(), json(&sums)?);
    transaction.execute_raw(statement).await?;
    for SentRollup { key, sums } in &sums {
        if sums.requests < 0 {
            delete_if_empty(transaction, key).await?;
        }
    }
    Ok(())
}

/// A sum of no rows would show names in statistics that no row has.
async fn delete_if_empty(transaction: &DatabaseTransaction, key: &RollupKey<'_>) -> Result<(), DbErr> {
    const DELETE: &str = "DELETE FROM usage_rollups WHERE project_id = $1 AND bucket = $2 AND provider = $3 \
                          AND model = $4 AND alias = $5 AND origin = $6 AND requests = 0";
    let statement = Statement::from_sql_and_values(
        transaction.get_database_backend(),
        DELETE,
        [
            key.project_id.into(),
            key.bucket.into(),
            key.provider.into(),
            key.model.into(),
            key.alias.into(),
            key.origin.into(),
        ],
    );
    transaction.execute_raw(statement).await.map(drop)
}

fn rows_json(rows: &[&usage_log::Model]) -> Result<String, DbErr> {
    let sent: Vec<SentRow<'_>> = rows.iter().map(|row| SentRow::of(row)).collect();
    json(&sent)
}

/// Sorted by key: replicas lock rollup rows in the same order.
fn rollups<'a>(added: &[&'a usage_log::Model], removed: &[&'a usage_log::Model]) -> Vec<SentRollup<'a>> {
    let mut sums: BTreeMap<RollupKey<'_>, RollupSums> = BTreeMap::new();
    for row in added {
        sums.entry(RollupKey::of(row)).or_default().add(row, 1);
    }
    for row in removed {
        sums.entry(RollupKey::of(row)).or_default().add(row, -1);
    }
    sums.into_iter()
        .filter(|(_, sums)| *sums != RollupSums::default())
        .map(|(key, sums)| SentRollup { key, sums })
        .collect()
}

/// Stores the keys that are not there yet and returns which those were. A key that another transaction is about to store is waited
/// for.
pub(super) async fn claim_keys(
    transaction: &DatabaseTransaction,
    claims: &[idempotency_key::Model],
) -> Result<HashSet<(ProjectId, String)>, DbErr> {
    let sent: Vec<SentClaim<'_>> = claims
        .iter()
        .map(|claim| SentClaim {
            project_id: claim.project_id.0,
            key: &claim.key,
            request_sha256: hex::encode(&claim.request_sha256),
            response: &claim.response,
            created_at: claim.created_at,
        })
        .collect();
    let statement = CLAIM_KEYS.with(transaction.get_database_backend(), json(&sent)?);
    transaction
        .query_all_raw(statement)
        .await?
        .iter()
        .map(|row| Ok((row.try_get_by_index(0)?, row.try_get_by_index(1)?)))
        .collect()
}

/// Whether a sum left the range of its column: SQLSTATE 22003 on PostgreSQL, the CHECK that sums stay integers on SQLite.
pub(crate) fn is_overflow(error: &DbErr) -> bool {
    database_answer(error).is_some_and(|answer| {
        let says = |text| answer.message().contains(text);
        answer.code().is_some_and(|code| code == "22003")
            || says("usage_rollups_exact")
            || says("conversations_exact")
            // SQLite's SUM.
            || says("integer overflow")
    })
}

fn json<T: Serialize>(rows: &[T]) -> Result<String, DbErr> {
    serde_json::to_string(rows).map_err(|error| DbErr::Json(error.to_string()))
}

#[derive(Serialize)]
struct SentRow<'a> {
    #[serde(with = "uuid::serde::simple")]
    id: Uuid,
    #[serde(with = "uuid::serde::simple")]
    project_id: Uuid,
    #[serde(serialize_with = "instant")]
    logged_at: DateTime<Utc>,
    provider: &'a str,
    model: &'a str,
    alias: Option<&'a str>,
    profile: &'a str,
    origin: Option<&'a str>,
    id_at_origin: Option<&'a str>,
    #[serde(serialize_with = "optional_id")]
    conversation_id: Option<Uuid>,
    input_tokens: i64,
    output_tokens: i64,
    cached_input_tokens: i64,
    cache_write_5m_tokens: i64,
    cache_write_1h_tokens: i64,
    reasoning_tokens: i64,
    input_includes_cached: bool,
    cost_micros: Option<i64>,
    cost_picos: Option<i32>,
    cost_source: &'static str,
    pricing: Option<&'a str>,
    latency_ms: Option<i64>,
    metadata: &'a str,
}

impl<'a> SentRow<'a> {
    fn of(row: &'a usage_log::Model) -> Self {
        let usage_log::Model {
            id,
            project_id,
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
            cost_micros,
            cost_picos,
            cost_source,
            pricing,
            latency_ms,
            metadata,
        } = row;
        Self {
            id: *id,
            project_id: project_id.0,
            logged_at: *logged_at,
            provider,
            model,
            alias: alias.as_deref(),
            profile,
            origin: origin.as_deref(),
            id_at_origin: id_at_origin.as_deref(),
            conversation_id: *conversation_id,
            input_tokens: *input_tokens,
            output_tokens: *output_tokens,
            cached_input_tokens: *cached_input_tokens,
            cache_write_5m_tokens: *cache_write_5m_tokens,
            cache_write_1h_tokens: *cache_write_1h_tokens,
            reasoning_tokens: *reasoning_tokens,
            input_includes_cached: *input_includes_cached,
            cost_micros: *cost_micros,
            cost_picos: *cost_picos,
            cost_source: cost_source.as_str(),
            pricing: pricing.as_deref(),
            latency_ms: *latency_ms,
            metadata,
        }
    }
}

/// In the order of the primary key.
#[derive(Serialize, PartialEq, Eq, PartialOrd, Ord)]
struct RollupKey<'a> {
    #[serde(with = "uuid::serde::simple")]
    project_id: Uuid,
    bucket: i64,
    provider: &'a str,
    model: &'a str,
    alias: &'a str,
    origin: &'a str,
}

impl<'a> RollupKey<'a> {
    fn of(row: &'a usage_log::Model) -> Self {
        let seconds = row.logged_at.timestamp();
        Self {
            project_id: row.project_id.0,
            bucket: seconds - seconds.rem_euclid(BUCKET_SECONDS),
            provider: &row.provider,
            model: &row.model,
            alias: row.alias.as_deref().unwrap_or_default(),
            origin: row.origin.as_deref().unwrap_or_default(),
        }
    }
}

#[derive(Serialize, Default, PartialEq, Eq)]
struct RollupSums {
    requests: i64,
    unpriced_requests: i64,
    input_tokens: i64,
    output_tokens: i64,
    cost_micros: i64,
    cost_picos: i64,
}

impl RollupSums {
    /// A batch is small enough and a row's values are bounded, so that none of these sums overflows before the database's do.
    fn add(&mut self, row: &usage_log::Model, sign: i64) {
        self.requests += sign;
        self.unpriced_requests += sign * i64::from(row.cost_source == CostSource::Unpriced);
        self.input_tokens += sign * row.input_tokens;
        self.output_tokens += sign * row.output_tokens;
        self.cost_micros += sign * row.cost_micros.unwrap_or(0);
        self.cost_picos += sign * i64::from(row.cost_picos.unwrap_or(0));
    }
}

#[derive(Serialize)]
struct SentRollup<'a> {
    #[serde(flatten)]
    key: RollupKey<'a>,
    #[serde(flatten)]
    sums: RollupSums,
}

#[derive(Serialize)]
struct SentClaim<'a> {
    #[serde(with = "uuid::serde::simple")]
    project_id: Uuid,
    key: &'a str,
    request_sha256: String,
    response: &'a str,
    #[serde(serialize_with = "instant")]
    created_at: DateTime<Utc>,
}

/// As the SQLite driver writes a time: texts compare equal when the times are.
fn instant<S: Serializer>(instant: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&instant.to_rfc3339_opts(SecondsFormat::AutoSi, false))
}

fn optional_id<S: Serializer>(id: &Option<Uuid>, serializer: S) -> Result<S::Ok, S::Error> {
    match id {
        Some(id) => uuid::serde::simple::serialize(id, serializer),
        None => serializer.serialize_none(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statements_are_constant() {
        assert_eq!(
            CLAIM_KEYS.sqlite,
            "INSERT INTO idempotency_keys (project_id, key, request_sha256, response, created_at) \
             SELECT unhex(json_extract(value, '$.project_id')), json_extract(value, '$.key'), \
             unhex(json_extract(value, '$.request_sha256')), json_extract(value, '$.response'), \
             json_extract(value, '$.created_at') FROM json_each($1) WHERE true \
             ON CONFLICT (project_id, key) DO NOTHING RETURNING project_id, key"
        );
        assert_eq!(
            CLAIM_KEYS.postgres,
            "INSERT INTO idempotency_keys (project_id, key, request_sha256, response, created_at) \
             SELECT project_id, key, decode(request_sha256, 'hex'), response, created_at \
             FROM json_to_recordset($1::json) AS sent(project_id uuid, key text, request_sha256 text, \
             response text, created_at timestamptz) WHERE true \
             ON CONFLICT (project_id, key) DO NOTHING RETURNING project_id, key"
        );
    }
}
