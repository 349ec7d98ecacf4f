//! The connection to the database: SQLite in a file or PostgreSQL, set up so that a commit is on disk when it returns.
//!
//! On SQLite one connection writes and others read; on PostgreSQL both are the same pool.

mod schema;

use std::path::Path;
use std::time::Duration;

use sea_orm::sqlx::postgres::PgConnectOptions;
use sea_orm::sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{Connection, PgPool};
use sea_orm::{
    AccessMode, ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DatabaseTransaction,
    DbBackend, DbErr, IsolationLevel, SqliteTransactionMode, Statement, TransactionOptions, TransactionTrait,
};

use crate::config::{DatabaseConfig, DatabaseLocation};

pub use schema::{MigrationStep, SchemaError};

/// How long a request waits for a free connection.
const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(10);
/// A connection idle for longer is tested before it is used: the database may have been restarted meanwhile.
pub(crate) const TRUSTED_IDLE: Duration = Duration::from_secs(1);
/// How long SQLite waits for another process's lock.
const SQLITE_BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest statement of a transaction that joins many rows.
const LONGEST_JOIN: Duration = Duration::from_secs(120);
/// SQLite readers; more than a few only compete for the same pages.
const SQLITE_READERS: u32 = 8;

/// An open database.
#[derive(Clone, Debug)]
pub struct Storage {
    config: DatabaseConfig,
    writer: DatabaseConnection,
    reader: DatabaseConnection,
}

impl Storage {
    /// Connects, and creates the SQLite file when there is none. Changes no schema: see [`Storage::migrate_up`].
    pub async fn connect(config: &DatabaseConfig) -> Result<Self, DbErr> {
        let (writer, reader) = match &config.location {
            DatabaseLocation::Sqlite(path) => {
                let writer = Database::connect(sqlite_options(path, 1)).await?;
                let reader = Database::connect(sqlite_options(path, SQLITE_READERS)).await?;
                (writer, reader)
            }
            DatabaseLocation::Postgres(url) => {
                let pool = Database::connect(postgres_options(url, config)).await?;
                (pool.clone(), pool)
            }
        };
        Ok(Self {
            config: config.clone(),
            writer,
            reader,
        })
    }

    /// Which database this is.
    pub fn backend(&self) -> DbBackend {
        self.writer.get_database_backend()
    }

    /// For queries.
    pub fn reader(&self) -> &DatabaseConnection {
        &self.reader
    }

    /// For single statements that write.
    pub fn writer(&self) -> &DatabaseConnection {
        &self.writer
    }

    /// The driver's own pool, on PostgreSQL.
    pub(crate) fn postgres_pool(&self) -> Option<&PgPool> {
        (self.backend() == DbBackend::Postgres).then(|| self.writer.get_postgres_connection_pool())
    }

    /// Begins a transaction that writes. On SQLite it takes the write lock at once, so that it cannot fail half-way.
    pub async fn begin(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = match self.backend() {
            DbBackend::Sqlite => TransactionOptions {
                sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
                ..Default::default()
            },
            _ => TransactionOptions::default(),
        };
        self.writer.begin_with_options(options).await
    }

    /// Begins a transaction in which all queries see the same moment.
    pub async fn snapshot(&self) -> Result<DatabaseTransaction, DbErr> {
        let options = match self.backend() {
            DbBackend::Postgres => TransactionOptions {
                isolation_level: Some(IsolationLevel::RepeatableRead),
                access_mode: Some(AccessMode::ReadOnly),
                ..Default::default()
            },
            _ => TransactionOptions::default(),
        };
        self.reader.begin_with_options(options).await
    }

    /// Prepares a transaction for questions that join many rows of one project. On PostgreSQL their plans must not depend on statistics,
    /// which know nothing of a project that is new: a loop over what is guessed to be one row takes minutes for ten thousand. A
    /// statement that nobody waits for any more ends after [`LONGEST_JOIN`].
    pub(crate) async fn joins_many(transaction: &DatabaseTransaction) -> Result<(), DbErr> {
        if transaction.get_database_backend() == DbBackend::Postgres {
            let settings = format!(
                "SET LOCAL enable_nestloop = off; SET LOCAL statement_timeout = {}",
                LONGEST_JOIN.as_millis()
            );
            transaction.execute_unprepared(&settings).await?;
        }
        Ok(())
    }

    /// Asks the database for a sign of life.
    pub async fn ping(&self) -> Result<(), DbErr> {
        let statement = Statement::from_string(self.backend(), "SELECT 1");
        self.reader.query_one_raw(statement).await.map(drop)
    }

    /// The settings that make a commit durable, as the database itself reports them on the connection that writes:
    /// `journal_mode=wal synchronous=full`, or `fsync=on synchronous_commit=on full_page_writes=on`.
    pub async fn durability(&self) -> Result<String, DbErr> {
        match self.backend() {
            DbBackend::Sqlite => {
                let journal = self.text_of("PRAGMA journal_mode").await?;
                let synchronous = match self.number_of("PRAGMA synchronous").await? {
                    0 => "off",
                    1 => "normal",
                    2 => "full",
                    _ => "extra",
                };
                Ok(format!("journal_mode={journal} synchronous={synchronous}"))
            }
            _ => {
                let mut settings = Vec::new();
                for name in ["fsync", "synchronous_commit", "full_page_writes"] {
                    let value = self.text_of(&format!("SHOW {name}")).await?;
                    settings.push(format!("{name}={value}"));
                }
                Ok(settings.join(" "))
            }
        }
    }

    /// Closes all connections; a SQLite file is left without its write-ahead log.
    pub async fn close(self) -> Result<(), DbErr> {
        self.reader.close().await?;
        self.writer.close().await
    }

    async fn text_of(&self, sql: &str) -> Result<String, DbErr> {
        self.only_row(sql).await?.try_get_by_index(0)
    }

    async fn number_of(&self, sql: &str) -> Result<i32, DbErr> {
        self.only_row(sql).await?.try_get_by_index(0)
    }

    async fn only_row(&self, sql: &str) -> Result<sea_orm::QueryResult, DbErr> {
        self.writer
            .query_one_raw(Statement::from_string(self.backend(), sql))
            .await?
            .ok_or_else(|| DbErr::RecordNotFound(sql.to_owned()))
    }
}

/// A connection whose COMMIT or ROLLBACK failed, as on a full disk, is still inside a transaction for the driver, and what it would
/// "commit" next would only be a savepoint: it is closed instead of used again.
fn sqlite_options(path: &Path, connections: u32) -> ConnectOptions {
    let path = path.to_owned();
    let mut options = ConnectOptions::new("sqlite:");
    options
        .max_connections(connections)
        .map_sqlx_sqlite_pool_opts(|pool| {
            pool.after_release(|connection, _| {
                let reusable = !connection.is_in_transaction();
                Box::pin(async move { Ok(reusable) })
            })
        })
        .map_sqlx_sqlite_opts(move |options| {
            options
                .filename(&path)
                .create_if_missing(true)
                .journal_mode(SqliteJournalMode::Wal)
                .synchronous(SqliteSynchronous::Full)
                .busy_timeout(SQLITE_BUSY_TIMEOUT)
                .foreign_keys(true)
        });
    common(options)
}

fn postgres_options(url: &str, config: &DatabaseConfig) -> ConnectOptions {
    let search_path = format!("{},{}", config.schema, config.mcp_schema);
    let mut options = ConnectOptions::new(url);
    options
        // One more than was asked for: the ledger keeps one to itself.
        .max_connections(config.max_connections.saturating_add(1))
        .map_sqlx_postgres_opts(move |options: PgConnectOptions| {
            options.application_name("llmring-server").options([
                ("search_path", search_path.as_str()),
                ("synchronous_commit", "on"),
                ("timezone", "UTC"),
            ])
        });
    common(options)
}

fn common(mut options: ConnectOptions) -> ConnectOptions {
    options
        .acquire_timeout(ACQUIRE_TIMEOUT)
        .connect_timeout(ACQUIRE_TIMEOUT)
        .sqlx_logging(false)
        .test_before_acquire_if_idle_for(TRUSTED_IDLE);
    options
}

#[cfg(test)]
mod tests {
    use super::*;

    async fn sqlite(folder: &tempfile::TempDir) -> Storage {
        let config = DatabaseConfig {
            location: DatabaseLocation::Sqlite(folder.path().join("a file.db")),
            schema: "llmring".to_owned(),
            mcp_schema: "mcp_client".to_owned(),
            max_connections: 1,
        };
        Storage::connect(&config).await.expect("a database")
    }

    async fn insert(storage: &Storage, id: i32) -> Result<(), DbErr> {
        let transaction = storage.begin().await?;
        let sql = format!("INSERT INTO kept VALUES ({id}, zeroblob(5000))");
        transaction.execute_unprepared(&sql).await?;
        transaction.commit().await
    }

    #[tokio::test]
    async fn what_is_committed_after_a_full_disk_is_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = sqlite(&folder).await;
        let writer = storage.writer();
        writer
            .execute_unprepared("CREATE TABLE kept (id INTEGER, filler BLOB)")
            .await
            .expect("a table");
        // As if the disk had room for a few rows: this connection's limit, so that another one has none.
        writer
            .execute_unprepared("PRAGMA max_page_count = 20")
            .await
            .expect("a limit");
        let mut committed = 0;
        let mut refused = 0;
        for id in 0..60 {
            match insert(&storage, id).await {
                Ok(()) => committed += 1,
                Err(_) => refused += 1,
            }
        }
        assert!(refused > 0, "the limit was never reached");
        assert!(
            committed > refused,
            "nothing was written after the limit was reached"
        );
        let count = Statement::from_string(storage.backend(), "SELECT COUNT(*) FROM kept");
        let row = storage.reader().query_one_raw(count).await.expect("a count");
        let kept: i32 = row.expect("a row").try_get_by_index(0).expect("a number");
        assert_eq!(kept, committed);
    }
}
