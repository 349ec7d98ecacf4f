//! Bringing the schema up to date, under a lock, and refusing databases that are not ours to change.

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement};

use super::Storage;
use crate::config::DatabaseLocation;

/// Any number will do as long as every replica uses the same: ASCII `llmring`.
const MIGRATION_LOCK: i64 = 0x6c_6c_6d_72_69_6e_67;

/// The table in which `sea-orm-migration` records applied steps.
const RECORD: &str = "seaql_migrations";

/// One step of the schema.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MigrationStep {
    /// Such as `m20261123_000001_usage`.
    pub name: String,
    /// Whether the database has it.
    pub applied: bool,
}

/// Why the schema cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum SchemaError {
    /// Somebody else's tables are where ours would go.
    #[error(
        "the {place} holds tables that another program made ({tables}), such as the Python llmring-server; \
         nothing was changed. Set {setting} to {remedy}"
    )]
    Foreign {
        /// Schema or file.
        place: String,
        /// The tables found.
        tables: String,
        /// What to change.
        setting: &'static str,
        /// To what.
        remedy: &'static str,
    },
    /// A newer server was here.
    #[error(
        "the database has the schema step {step}, which this version does not know; \
         nothing was changed. Run a newer llmring-server, or point LLMRING_DATABASE_URL elsewhere"
    )]
    Newer {
        /// The first unknown step.
        step: String,
    },
    /// This server's schema is not there, or only in part.
    #[error(
        "the database lacks the schema step {step}; nothing was changed. \
         Run `llmring-server migrate up`, or point LLMRING_DATABASE_URL elsewhere"
    )]
    Older {
        /// The first step that is missing.
        step: String,
    },
    /// The database failed.
    #[error("the database schema could not be brought up to date: {0}")]
    Database(#[from] DbErr),
}

impl Storage {
    /// Applies all pending steps in one transaction under a lock: replicas may start together, and a step that fails leaves nothing.
    pub async fn migrate_up(&self) -> Result<(), SchemaError> {
        let transaction = self.lock().await?;
        self.refuse_foreign(&transaction).await?;
        if self.backend() == DbBackend::Postgres {
            for schema in [&self.config.schema, &self.config.mcp_schema] {
                // Asked first: a role that may not create schemas can use those that its administrator made.
                if !has_schema(&transaction, schema).await? {
                    transaction
                        .execute_unprepared(&format!("CREATE SCHEMA \"{schema}\""))
                        .await?;
                }
            }
        }
        self.refuse_newer(&transaction).await?;
        Migrator::up(&transaction, None).await?;
        Ok(transaction.commit().await?)
    }

    /// Takes back the last `steps` steps, with the rows in what they made.
    pub async fn migrate_down(&self, steps: u32) -> Result<(), SchemaError> {
        let transaction = self.lock().await?;
        self.refuse_foreign(&transaction).await?;
        self.refuse_newer(&transaction).await?;
        Migrator::down(&transaction, Some(steps)).await?;
        Ok(transaction.commit().await?)
    }

    /// All steps that this version knows, oldest first. Changes nothing.
    pub async fn migration_steps(&self) -> Result<Vec<MigrationStep>, SchemaError> {
        let transaction = self.snapshot().await?;
        self.refuse_foreign(&transaction).await?;
        let applied = if tables(&transaction, &self.config.schema).await?.is_empty() {
            Vec::new()
        } else {
            applied_steps(&transaction).await?
        };
        transaction.rollback().await?;
        Ok(Migrator::migrations()
            .iter()
            .map(|step| MigrationStep {
                name: step.name().to_owned(),
                applied: applied.iter().any(|name| name == step.name()),
            })
            .collect())
    }

    /// Refuses a schema that is not this version's. Changes nothing.
    pub async fn require_current(&self) -> Result<(), SchemaError> {
        let transaction = self.snapshot().await?;
        self.refuse_newer(&transaction).await?;
        transaction.rollback().await?;
        let missing = self
            .migration_steps()
            .await?
            .into_iter()
            .find(|step| !step.applied);
        match missing {
            Some(MigrationStep { name, .. }) => Err(SchemaError::Older { step: name }),
            None => Ok(()),
        }
    }

    /// On PostgreSQL an advisory lock that ends with the transaction; on SQLite the file's write lock.
    async fn lock(&self) -> Result<DatabaseTransaction, DbErr> {
        let transaction = self.begin().await?;
        if self.backend() == DbBackend::Postgres {
            transaction
                .execute_unprepared(&format!("SELECT pg_advisory_xact_lock({MIGRATION_LOCK})"))
                .await?;
        }
        Ok(transaction)
    }

    /// Tables under our names without our record of steps were made by somebody else.
    async fn refuse_foreign(&self, transaction: &DatabaseTransaction) -> Result<(), SchemaError> {
        let (schema, mcp_schema) = (&self.config.schema, &self.config.mcp_schema);
        let ours = tables(transaction, schema).await?;
        let recorded = ours.iter().any(|table| table == RECORD);
        if !recorded && !ours.is_empty() {
            return Err(match &self.config.location {
                DatabaseLocation::Sqlite(path) => SchemaError::Foreign {
                    place: format!("file {}", path.display()),
                    tables: ours.join(", "),
                    setting: "LLMRING_DATABASE_URL",
                    remedy: "another file",
                },
                DatabaseLocation::Postgres(_) => SchemaError::Foreign {
                    place: format!("schema {schema}"),
                    tables: ours.join(", "),
                    setting: "LLMRING_DATABASE_SCHEMA",
                    remedy: "a name that is free",
                },
            });
        }
        if self.backend() == DbBackend::Postgres && !recorded {
            let theirs = tables(transaction, mcp_schema).await?;
            if !theirs.is_empty() {
                return Err(SchemaError::Foreign {
                    place: format!("schema {mcp_schema}"),
                    tables: theirs.join(", "),
                    setting: "LLMRING_DATABASE_MCP_SCHEMA",
                    remedy: "a name that is free",
                });
            }
        }
        Ok(())
    }

    async fn refuse_newer(&self, transaction: &DatabaseTransaction) -> Result<(), SchemaError> {
        if tables(transaction, &self.config.schema).await?.is_empty() {
            return Ok(());
        }
        let known = Migrator::migrations();
        let unknown = applied_steps(transaction)
            .await?
            .into_iter()
            .find(|step| known.iter().all(|known| known.name() != step));
        match unknown {
            Some(step) => Err(SchemaError::Newer { step }),
            None => Ok(()),
        }
    }
}

async fn has_schema(transaction: &DatabaseTransaction, schema: &str) -> Result<bool, DbErr> {
    let statement = Statement::from_sql_and_values(
        DbBackend::Postgres,
        "SELECT 1 FROM pg_namespace WHERE nspname = $1",
        [schema.into()],
    );
    Ok(transaction.query_one_raw(statement).await?.is_some())
}

/// The names in the record, whether this version knows them or not.
async fn applied_steps(transaction: &DatabaseTransaction) -> Result<Vec<String>, DbErr> {
    let statement = Statement::from_string(
        transaction.get_database_backend(),
        format!("SELECT version FROM {RECORD} ORDER BY version"),
    );
    transaction
        .query_all_raw(statement)
        .await?
        .iter()
        .map(|row| row.try_get_by_index(0))
        .collect()
}

/// The tables in a schema; on SQLite, which has none, those in the file.
async fn tables(transaction: &DatabaseTransaction, schema: &str) -> Result<Vec<String>, DbErr> {
    let statement = match transaction.get_database_backend() {
        DbBackend::Postgres => Statement::from_sql_and_values(
            DbBackend::Postgres,
            "SELECT tablename::text FROM pg_tables WHERE schemaname = $1 ORDER BY 1",
            [schema.into()],
        ),
        backend => Statement::from_string(
            backend,
            "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite!_%' ESCAPE '!' ORDER BY 1",
        ),
    };
    transaction
        .query_all_raw(statement)
        .await?
        .iter()
        .map(|row| row.try_get_by_index(0))
        .collect()
}
