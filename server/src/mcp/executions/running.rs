//! What runs in this process: how much of it there may be, its progress, and the heartbeat that tells other processes of it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::TimeDelta;
use entity::tool_execution::{Column, Entity, Status};
use sea_orm::sea_query::{Expr, ExprTrait};
use sea_orm::{ColumnTrait, DbErr, EntityTrait, QueryFilter, QuerySelect};
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use super::RETRY_AFTER;
use crate::clock::{Clock, new_id};
use crate::mcp::peer::{Failure, Progress};
use crate::storage::Storage;

/// Between two signs of life.
const HEARTBEAT: Duration = Duration::from_secs(2);
/// A silence after which a process counts as gone.
const SILENCE: TimeDelta = TimeDelta::seconds(10);
/// Progress notifications kept of one execution.
const KEPT_NOTIFICATIONS: usize = 100;
/// Longest message kept of one, in characters.
const MOST_CHARS: usize = 1_000;
/// What is said of an execution whose process is gone.
const LOST: &str =
    "the server process that ran this call ended before the call did: it may or may not have happened";

/// The executions of this process.
#[derive(Clone, Debug)]
pub(super) struct Running {
    process: Uuid,
    entries: Arc<Mutex<HashMap<Uuid, Arc<State>>>>,
    rooms: Arc<Mutex<HashMap<Uuid, Arc<Semaphore>>>>,
    calls_of_a_server: usize,
    stopped: CancellationToken,
}

#[derive(Debug)]
struct State {
    progress: Mutex<Progresses>,
    ended: watch::Sender<()>,
}

#[derive(Debug, Default)]
struct Progresses {
    newest: VecDeque<Value>,
    is_news: bool,
}

/// A place among the calls of one server.
#[derive(Debug)]
pub(super) struct Room(#[expect(dead_code, reason = "held, not read")] OwnedSemaphorePermit);

/// An execution that runs for as long as this exists.
#[derive(Debug)]
pub(super) struct Entry {
    id: Uuid,
    state: Arc<State>,
    running: Running,
    _room: Room,
}

impl Running {
    /// Begins to give signs of life, and to look for executions whose process gives none.
    pub(super) fn start(storage: Storage, clock: Clock, calls_of_a_server: usize) -> Self {
        let running = Self {
            process: new_id(clock.now()),
            entries: Arc::default(),
            rooms: Arc::default(),
            calls_of_a_server,
            stopped: CancellationToken::new(),
        };
        let watching = running.clone();
        tokio::spawn(async move {
            while watching
                .stopped
                .run_until_cancelled(tokio::time::sleep(HEARTBEAT))
                .await
                .is_some()
            {
                let beat = async {
                    watching.beat(&storage, &clock).await?;
                    bury(&storage, &clock).await
                };
                if let Err(error) = beat.await {
                    tracing::warn!(%error, "the state of running executions could not be written");
                }
            }
        });
        running
    }

    /// The process, as records name it.
    pub(super) fn process(&self) -> Uuid {
        self.process
    }

    /// A place among the calls of `server`.
    ///
    /// # Errors
    ///
    /// [`Failure::Busy`] when all are taken.
    pub(super) fn room(&self, server: Uuid) -> Result<Room, Failure> {
        let mut rooms = lock(&self.rooms);
        // Servers that nobody calls need no room.
        rooms.retain(|id, room| *id == server || room.available_permits() < self.calls_of_a_server);
        let room = rooms
            .entry(server)
            .or_insert_with(|| Arc::new(Semaphore::new(self.calls_of_a_server)));
        room.clone()
            .try_acquire_owned()
            .map(Room)
            .map_err(|_| Failure::Busy {
                what: "the MCP server",
                retry_after: RETRY_AFTER,
            })
    }

    /// An execution begins.
    pub(super) fn enter(&self, id: Uuid, room: Room) -> Entry {
        let state = Arc::new(State {
            progress: Mutex::default(),
            ended: watch::Sender::new(()),
        });
        lock(&self.entries).insert(id, state.clone());
        Entry {
            id,
            state,
            running: self.clone(),
            _room: room,
        }
    }

    /// Waits for the end of an execution that runs in this process.
    pub(super) async fn end_of(&self, id: Uuid) {
        let ended = lock(&self.entries).get(&id).map(|state| state.ended.subscribe());
        if let Some(mut ended) = ended {
            // The sender goes away with the entry: that is the end.
            while ended.changed().await.is_ok() {}
        }
    }

    /// Stops giving signs of life.
    pub(super) fn shutdown(&self) {
        self.stopped.cancel();
    }

    async fn beat(&self, storage: &Storage, clock: &Clock) -> Result<(), DbErr> {
        let (ids, news) = {
            let entries = lock(&self.entries);
            let news: Vec<(Uuid, String)> = entries
                .iter()
                .filter_map(|(id, state)| Some((*id, state.news()?)))
                .collect();
            (entries.keys().copied().collect::<Vec<_>>(), news)
        };
        if ids.is_empty() {
            return Ok(());
        }
        Entity::update_many()
            .col_expr(Column::HeartbeatAt, Expr::value(clock.now()))
            .filter(Column::Id.is_in(ids))
            .filter(Column::Status.eq(Status::Running))
            .exec(storage.writer())
            .await?;
        for (id, progress) in news {
            Entity::update_many()
                .col_expr(Column::Progress, Expr::value(progress))
                .filter(Column::Id.eq(id))
                .filter(Column::Status.eq(Status::Running))
                .exec(storage.writer())
                .await?;
        }
        Ok(())
    }
}

/// Ends what no process runs any more.
async fn bury(storage: &Storage, clock: &Clock) -> Result<(), DbErr> {
    let now = clock.now();
    let silent = Column::Status
        .eq(Status::Running)
        .and(Column::HeartbeatAt.lt(now - SILENCE));
    // Looked for first, so that SQLite's write lock is taken only when there is something to write.
    let found = Entity::find()
        .select_only()
        .column(Column::Id)
        .filter(silent.clone())
        .into_tuple::<Uuid>()
        .one(storage.reader())
        .await?;
    if found.is_none() {
        return Ok(());
    }
    Entity::update_many()
        .col_expr(Column::Status, Expr::value(Status::OutcomeUnknown))
        .col_expr(Column::Error, Expr::value(LOST))
        .col_expr(Column::EndedAt, Expr::value(now))
        .filter(silent)
        .exec(storage.writer())
        .await?;
    Ok(())
}

impl State {
    /// The notifications as JSON text, when there are new ones since the last look.
    fn news(&self) -> Option<String> {
        let mut progress = lock(&self.progress);
        std::mem::take(&mut progress.is_news).then(|| progress.text())
    }
}

impl Progresses {
    fn text(&self) -> String {
        Value::from_iter(self.newest.iter().cloned()).to_string()
    }
}

impl Entry {
    /// Keeps a progress notification; the oldest goes when there are too many.
    pub(super) fn note(&self, progress: Progress) {
        let Progress {
            progress,
            total,
            message,
        } = progress;
        let message: Option<String> = message.map(|message| message.chars().take(MOST_CHARS).collect());
        let mut kept = lock(&self.state.progress);
        if kept.newest.len() == KEPT_NOTIFICATIONS {
            kept.newest.pop_front();
        }
        kept.newest
            .push_back(json!({"progress": progress, "total": total, "message": message}));
        kept.is_news = true;
    }

    /// The notifications so far, as JSON text.
    pub(super) fn progress(&self) -> Option<String> {
        let kept = lock(&self.state.progress);
        (!kept.newest.is_empty()).then(|| kept.text())
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        lock(&self.running.entries).remove(&self.id);
    }
}

/// What is behind these locks is whole between any two statements.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
