//! A database for one test, on either kind. What starts with `db_` looks behind the server's back.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{
    ConnectOptions, ConnectionTrait, Database, DatabaseConnection, DbBackend, FromQueryResult, Statement,
    TryGetable, Value,
};
use tempfile::TempDir;
use uuid::Uuid;

/// Runs each scenario twice, as `name::sqlite` and `name::postgres`, each time on an empty database of its own.
#[macro_export]
macro_rules! on_both_databases {
    ($($(#[$attribute:meta])* async fn $name:ident($db:ident: TestDatabase) $body:block)*) => {$(
        $(#[$attribute])*
        mod $name {
            use super::*;

            async fn scenario($db: $crate::TestDatabase) $body

            #[tokio::test]
            async fn sqlite() {
                $crate::database::play($crate::TestDatabase::sqlite(), scenario).await;
            }

            #[tokio::test]
            async fn postgres() {
                $crate::database::play($crate::TestDatabase::postgres(), scenario).await;
            }
        }
    )*};
}

/// A database that nobody else uses. Clones are the same one.
#[derive(Clone, Debug)]
pub struct TestDatabase(Arc<Place>);

#[derive(Debug)]
enum Place {
    Sqlite { directory: TempDir },
    Postgres { url: String, schema: String },
}

/// Runs a scenario and removes its schemas, also when it fails.
pub async fn play<F: Future<Output = ()> + 'static>(
    db: TestDatabase,
    scenario: impl FnOnce(TestDatabase) -> F,
) {
    let here = tokio::task::LocalSet::new();
    let outcome = here.spawn_local(scenario(db.clone()));
    let outcome = here.run_until(outcome).await;
    db.remove().await;
    if let Err(failure) = outcome {
        std::panic::resume_unwind(failure.into_panic());
    }
}

impl TestDatabase {
    /// A file in a directory that goes away with the last clone.
    pub fn sqlite() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory");
        Self(Arc::new(Place::Sqlite { directory }))
    }

    /// Two schemas that do not exist yet, in the PostgreSQL that `make test` starts.
    pub fn postgres() -> Self {
        let url = crate::required(
            "LLMRING_TEST_POSTGRES_URL",
            "a PostgreSQL where tests may create schemas",
        );
        let schema = format!("t_{}", Uuid::now_v7().simple());
        Self(Arc::new(Place::Postgres {
            url: url.into(),
            schema,
        }))
    }

    /// Whether this is PostgreSQL.
    pub fn is_postgres(&self) -> bool {
        matches!(*self.0, Place::Postgres { .. })
    }

    /// The server's settings for this database.
    pub fn settings(&self) -> Vec<(&'static str, String)> {
        match &*self.0 {
            Place::Sqlite { .. } => vec![(
                "LLMRING_DATABASE_URL",
                format!("sqlite://{}", self.file().display()),
            )],
            Place::Postgres { url, schema } => vec![
                ("LLMRING_DATABASE_URL", url.clone()),
                ("LLMRING_DATABASE_SCHEMA", schema.clone()),
                ("LLMRING_DATABASE_MCP_SCHEMA", format!("{schema}_mcp")),
            ],
        }
    }

    /// The SQLite file.
    pub fn file(&self) -> PathBuf {
        self.directory().join("llmring.db")
    }

    fn directory(&self) -> &Path {
        match &*self.0 {
            Place::Sqlite { directory } => directory.path(),
            Place::Postgres { .. } => panic!("PostgreSQL has no file"),
        }
    }

    /// The schema of the server's own tables; on SQLite, which has none, `main`.
    pub fn schema(&self) -> &str {
        match &*self.0 {
            Place::Sqlite { .. } => "main",
            Place::Postgres { schema, .. } => schema,
        }
    }

    /// A connection past the server.
    pub async fn db_connect(&self) -> DatabaseConnection {
        let mut options = match &*self.0 {
            Place::Sqlite { .. } => {
                ConnectOptions::new(format!("sqlite://{}?mode=rwc", self.file().display()))
            }
            Place::Postgres { url, schema } => {
                let search_path = format!("{schema},{schema}_mcp");
                let mut options = ConnectOptions::new(url);
                options.map_sqlx_postgres_opts(move |options| {
                    options.options([("search_path", search_path.as_str())])
                });
                options
            }
        };
        options.max_connections(1).sqlx_logging(false);
        Database::connect(options)
            .await
            .expect("a connection to the test's database")
    }

    /// Runs statements that answer nothing.
    pub async fn db_execute(&self, sql: &str) {
        let connection = self.db_connect().await;
        connection
            .execute_unprepared(sql)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.close().await.expect("a closed connection");
    }

    /// The only value of the only row.
    pub async fn db_value<T: TryGetable>(&self, sql: &str) -> T {
        let connection = self.db_connect().await;
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let row = connection
            .query_one_raw(statement)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        let value = row
            .expect("one row")
            .try_get_by_index(0)
            .unwrap_or_else(|error| panic!("{sql}: {error:?}"));
        connection.close().await.expect("a closed connection");
        value
    }

    /// How many rows a table has.
    pub async fn db_count(&self, table: &str) -> i64 {
        self.db_value(&format!("SELECT CAST(count(*) AS bigint) FROM {table}"))
            .await
    }

    /// The names of all tables in the schema, sorted.
    pub async fn db_tables(&self) -> Vec<String> {
        #[derive(FromQueryResult)]
        struct Table {
            name: String,
        }
        let sql = match &*self.0 {
            Place::Sqlite { .. } => {
                "SELECT name FROM sqlite_master WHERE type = 'table' ORDER BY 1".to_owned()
            }
            Place::Postgres { schema, .. } => format!(
                "SELECT tablename::text AS name FROM pg_tables WHERE schemaname IN ('{schema}', '{schema}_mcp') ORDER BY 1"
            ),
        };
        let connection = self.db_connect().await;
        let statement = Statement::from_string(connection.get_database_backend(), sql);
        let tables = Table::find_by_statement(statement)
            .all(&connection)
            .await
            .expect("the tables");
        connection.close().await.expect("a closed connection");
        tables.into_iter().map(|table| table.name).collect()
    }

    /// Changes rows, with values in the place of `$1`, `$2` …, and says how many.
    pub async fn db_change(&self, sql: &str, values: impl IntoIterator<Item = Value>) -> u64 {
        let connection = self.db_connect().await;
        let backend = connection.get_database_backend();
        let statement = Statement::from_sql_and_values(backend, placeholders(backend, sql), values);
        let changed = connection
            .execute_raw(statement)
            .await
            .unwrap_or_else(|error| panic!("{sql}: {error}"));
        connection.close().await.expect("a closed connection");
        changed.rows_affected()
    }

    /// Pretends that a log was accepted at another time: moves its row, and its share of the rollups, which must be all that has its
    /// model.
    pub async fn db_move_log(&self, log_id: &str, model: &str, time: DateTime<Utc>) {
        const BUCKET_SECONDS: i64 = 900;
        let id: Uuid = log_id.parse().expect("a log's id");
        let bucket = time.timestamp() - time.timestamp().rem_euclid(BUCKET_SECONDS);
        let rows = self
            .db_change(
                "UPDATE usage_logs SET logged_at = $1 WHERE id = $2",
                [time.into(), id.into()],
            )
            .await;
        let sums = self
            .db_change(
                "UPDATE usage_rollups SET bucket = $1 WHERE model = $2",
                [bucket.into(), model.into()],
            )
            .await;
        assert_eq!((rows, sums), (1, 1), "{model}");
    }

    /// Whether this text is anywhere in what is stored.
    pub async fn db_contains(&self, text: &str) -> bool {
        if let Place::Sqlite { directory } = &*self.0 {
            let files = std::fs::read_dir(directory.path()).expect("the database's directory");
            return files.map_while(Result::ok).any(|file| {
                let bytes = std::fs::read(file.path()).expect("a file of the database");
                bytes.windows(text.len()).any(|window| window == text.as_bytes())
            });
        }
        for table in self.db_tables().await {
            let sql = format!("SELECT count(*) FROM {table} AS stored WHERE stored::text LIKE '%{text}%'");
            if self.db_value::<i64>(&sql).await > 0 {
                return true;
            }
        }
        false
    }

    async fn remove(&self) {
        if let Place::Postgres { schema, .. } = &*self.0 {
            self.db_execute(&format!(
                "DROP SCHEMA IF EXISTS {schema} CASCADE; DROP SCHEMA IF EXISTS {schema}_mcp CASCADE"
            ))
            .await;
        }
    }
}

/// `$1` is `?1` on SQLite.
fn placeholders(backend: DbBackend, sql: &str) -> String {
    match backend {
        DbBackend::Postgres => sql.to_owned(),
        _ => sql.replace('$', "?"),
    }
}
