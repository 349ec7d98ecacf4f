//! Who certifies a project's logs now: one call at a time, so that no log is picked twice.
//!
//! Calls of this process wait for each other before they take a connection, so that a crowd of them takes one. On PostgreSQL an advisory
//! lock does the same between replicas.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use entity::ids::ProjectId;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbBackend, DbErr, Statement, Value};
use tokio::sync::{Mutex as Turn, OwnedMutexGuard};
use tokio::time::{Instant, timeout_at};

use crate::error::{Error, Result, has_sqlstate};
use crate::storage::Storage;

/// ASCII `rcpt`: these advisory locks are two numbers, the migrations' lock is one, so that they never meet.
const LOCK_SPACE: i32 = 0x72_63_70_74;
/// Longest wait for one's turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// When a caller should come back.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// SQLSTATE `lock_not_available`.
const LOCK_NOT_AVAILABLE: &str = "55P03";

/// The projects that somebody in this process certifies for, or waits to.
#[derive(Clone, Debug, Default)]
pub(super) struct Turns(Arc<Mutex<HashMap<ProjectId, Weak<Turn<()>>>>>);

/// A transaction in which nobody else certifies logs of the project.
pub(super) struct OwnTurn {
    pub(super) transaction: DatabaseTransaction,
    /// Given up after the transaction, whichever way that ends.
    _turn: OwnedMutexGuard<()>,
}

impl OwnTurn {
    pub(super) async fn commit(self) -> Result<(), DbErr> {
        self.transaction.commit().await
    }
}

impl Turns {
    /// Waits for the project's turn and begins a transaction; [`Error::Busy`] when that takes too long.
    pub(super) async fn take(&self, storage: &Storage, project: ProjectId) -> Result<OwnTurn> {
        let deadline = Instant::now() + PATIENCE;
        let turn = timeout_at(deadline, self.of(project).lock_owned())
            .await
            .map_err(|_| busy())?;
        let transaction = storage.begin().await?;
        lock(&transaction, project, deadline).await?;
        Ok(OwnTurn {
            transaction,
            _turn: turn,
        })
    }

    fn of(&self, project: ProjectId) -> Arc<Turn<()>> {
        let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        turns.retain(|_, turn| turn.strong_count() > 0);
        let known = turns.get(&project).and_then(Weak::upgrade);
        known.unwrap_or_else(|| {
            let turn = Arc::default();
            turns.insert(project, Arc::downgrade(&turn));
            turn
        })
    }
}

/// Makes other replicas' calls for the project wait until the transaction ends. On SQLite a transaction that writes is alone anyway.
///
/// On PostgreSQL the transaction must be `READ COMMITTED`: statements after the lock then see what its last holder committed.
async fn lock(transaction: &DatabaseTransaction, project: ProjectId, deadline: Instant) -> Result<()> {
    if transaction.get_database_backend() != DbBackend::Postgres {
        return Ok(());
    }
    let run = async |sql, values: Vec<Value>| {
        let statement = Statement::from_sql_and_values(DbBackend::Postgres, sql, values);
        transaction.execute_raw(statement).await
    };
    // 0 would be no limit.
    let left = deadline.duration_since(Instant::now()).as_millis().max(1);
    let limit = "SELECT set_config('lock_timeout', $1, true)";
    run(limit, vec![left.to_string().into()]).await?;
    // The end of a project's id is random or a hash; two projects that share these bits wait for each other, no more.
    let [.., a, b, c, d] = *project.0.as_bytes();
    let key = vec![LOCK_SPACE.into(), i32::from_be_bytes([a, b, c, d]).into()];
    run("SELECT pg_advisory_xact_lock($1, $2)", key)
        .await
        .map_err(|error| {
            if has_sqlstate(&error, LOCK_NOT_AVAILABLE) {
                busy()
            } else {
                error.into()
            }
        })?;
    run(limit, vec!["0".into()]).await?;
    Ok(())
}

fn busy() -> Error {
    Error::Busy {
        what: "the certification of this project's usage logs",
        retry_after: RETRY_AFTER,
    }
}
