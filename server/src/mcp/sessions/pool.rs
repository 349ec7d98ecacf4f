//! Which sessions are open, and for how long.

use std::collections::HashMap;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use entity::ids::ProjectId;
use tokio::sync::{OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use super::session::{Means, Session, permitted};
use super::stdio::Environment;
use crate::config::McpConfig;
use crate::mcp::peer::{Failure, Peer};
use crate::outbound::{Exchanges, OutboundError};

/// The pause after a first failure; it doubles with each that follows.
const FIRST_BACKOFF: Duration = Duration::from_millis(250);
/// A pause that a caller waits out instead of hearing of it.
const PATIENCE: Duration = Duration::from_secs(1);
/// Requests in a row without an answer in time, after which a session counts as hung.
const UNANSWERED: usize = 3;
/// Longest wait for an idle session to make place for another.
const CLOSING_TIME: Duration = Duration::from_secs(5);
/// Longest interval between two looks for idle sessions.
const MAX_TICK: Duration = Duration::from_secs(15);

/// One session, one tenant.
type Key = (ProjectId, Uuid);

/// See the module's description.
#[derive(Debug)]
pub(super) struct Pool {
    config: McpConfig,
    means: Means,
    slots: Mutex<HashMap<Key, Arc<Slot>>>,
    places: Arc<Semaphore>,
    closing: CancellationToken,
    tasks: TaskTracker,
}

/// The session of one server row for one project, and its past.
#[derive(Debug)]
struct Slot {
    revision: i64,
    /// Locked while a session is being opened.
    state: Arc<tokio::sync::Mutex<Past>>,
    /// The session, when one is open.
    open: Mutex<Option<Arc<Session>>>,
    leases: AtomicUsize,
    last_used: Mutex<Instant>,
    /// No session is opened here any more: the pool has another slot, or none.
    retired: AtomicBool,
    /// Requests without an answer in time, one after the other.
    unanswered: AtomicUsize,
}

/// What went wrong lately.
#[derive(Debug, Default)]
struct Past {
    failures: u32,
    last: Option<(Failure, Instant)>,
}

impl Slot {
    fn new(revision: i64) -> Self {
        Self {
            revision,
            state: Arc::default(),
            open: Mutex::default(),
            leases: AtomicUsize::new(0),
            last_used: Mutex::new(Instant::now()),
            retired: AtomicBool::new(false),
            unanswered: AtomicUsize::new(0),
        }
    }

    fn open(&self) -> MutexGuard<'_, Option<Arc<Session>>> {
        locked(&self.open)
    }

    fn usable(&self) -> Option<Arc<Session>> {
        self.open()
            .as_ref()
            .filter(|session| session.line().is_usable())
            .cloned()
    }

    fn idle_since(&self) -> Option<Instant> {
        (self.leases.load(Ordering::SeqCst) == 0).then(|| *locked(&self.last_used))
    }
}

impl Past {
    fn note(&mut self, failure: Failure, at: Instant) {
        self.failures = self.failures.saturating_add(1);
        self.last = Some((failure, at));
    }

    /// When the next attempt is due.
    fn due(&self, longest: Duration) -> Option<Instant> {
        let (_, at) = self.last.as_ref()?;
        let doubled = 1_u32
            .checked_shl(self.failures.saturating_sub(1))
            .and_then(|factor| FIRST_BACKOFF.checked_mul(factor))
            .unwrap_or(longest);
        Some(*at + doubled.min(longest))
    }
}

/// Poisoning needs a panic under the lock; what it guards is whole at every moment.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A session in use. While one is held the session is not closed for being idle.
#[derive(Debug)]
pub(super) struct Lease {
    session: Arc<Session>,
    slot: Arc<Slot>,
}

impl Lease {
    /// Counts first and looks second, so that whoever closes idle sessions cannot come between.
    fn take(slot: &Arc<Slot>) -> Option<Self> {
        slot.leases.fetch_add(1, Ordering::SeqCst);
        match slot.usable() {
            Some(session) => Some(Self {
                session,
                slot: slot.clone(),
            }),
            None => {
                slot.leases.fetch_sub(1, Ordering::SeqCst);
                None
            }
        }
    }
}

impl Deref for Lease {
    type Target = Session;

    fn deref(&self) -> &Session {
        &self.session
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        *locked(&self.slot.last_used) = Instant::now();
        self.slot.leases.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Pool {
    pub(super) fn start(config: McpConfig, environment: Environment) -> Result<Arc<Self>, OutboundError> {
        let pool = Arc::new(Self {
            means: Means {
                exchanges: Exchanges::new(config.egress, config.connect_timeout)?,
                environment,
            },
            slots: Mutex::default(),
            places: Arc::new(Semaphore::new(config.max_sessions)),
            closing: CancellationToken::new(),
            tasks: TaskTracker::new(),
            config,
        });
        let tick = (pool.config.idle_timeout / 4).clamp(Duration::from_millis(10), MAX_TICK);
        let closing = pool.closing.clone();
        let watched = Arc::downgrade(&pool);
        tokio::spawn(async move {
            let mut ticks = tokio::time::interval(tick);
            ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = closing.cancelled() => return,
                    _ = ticks.tick() => match watched.upgrade() {
                        Some(pool) => pool.tidy(),
                        None => return,
                    },
                }
            }
        });
        Ok(pool)
    }

    pub(super) fn config(&self) -> &McpConfig {
        &self.config
    }

    fn slots(&self) -> MutexGuard<'_, HashMap<Key, Arc<Slot>>> {
        locked(&self.slots)
    }

    /// The session for `peer`, opened if need be; one at a time opens it.
    ///
    /// # Errors
    /// Why there is none. It was not used.
    pub(super) async fn lease(self: &Arc<Self>, peer: &Peer, deadline: Instant) -> Result<Lease, Failure> {
        // Before anything else: what is refused must not cost an idle session its place.
        permitted(&peer.endpoint, &self.config)?;
        loop {
            let slot = self.slot(peer);
            if let Some(lease) = Lease::take(&slot) {
                return Ok(lease);
            }
            let mut past = slot.state.clone().lock_owned().await;
            // Somebody else may have opened it meanwhile.
            if let Some(lease) = Lease::take(&slot) {
                return Ok(lease);
            }
            if slot.retired.load(Ordering::SeqCst) {
                continue;
            }
            self.bury(&slot, &mut past);
            self.wait_until_due(&past, deadline).await?;
            self.keep_share(peer.project, &slot)?;
            let place = self.place().await?;
            let opening = self
                .tasks
                .spawn(open(self.clone(), slot.clone(), peer.clone(), past, place));
            // The opening goes on when this caller gives up: the next one finds the session.
            match opening.await {
                Ok(Ok(lease)) => return Ok(lease),
                Ok(Err(failure)) => return Err(failure),
                Err(_) => return Err(Failure::Unreachable("the session could not be opened".into())),
            }
        }
    }

    fn slot(&self, peer: &Peer) -> Arc<Slot> {
        let mut slots = self.slots();
        let key = (peer.project, peer.server);
        let outdated = match slots.get(&key) {
            Some(slot) if slot.revision == peer.revision => return slot.clone(),
            Some(slot) => Some(slot.clone()),
            None => None,
        };
        let slot = Arc::new(Slot::new(peer.revision));
        slots.insert(key, slot.clone());
        drop(slots);
        if let Some(outdated) = outdated {
            self.retire(outdated);
        }
        slot
    }

    /// Takes note of a session that ended by itself.
    fn bury(&self, slot: &Slot, past: &mut Past) {
        let Some(session) = slot.open().take() else {
            return;
        };
        if let Some((lived, failure, at)) = session.died() {
            if lived >= self.config.max_backoff {
                past.failures = 0;
            }
            past.note(failure, at.into());
        }
        self.tasks.spawn(async move { session.close().await });
    }

    async fn wait_until_due(&self, past: &Past, deadline: Instant) -> Result<(), Failure> {
        let now = Instant::now();
        let (Some(due), Some((failure, _))) = (past.due(self.config.max_backoff), &past.last) else {
            return Ok(());
        };
        let wait = due.saturating_duration_since(now);
        if wait <= PATIENCE && due < deadline {
            tokio::time::sleep_until(due).await;
            return Ok(());
        }
        let reason = match failure {
            Failure::Unreachable(reason) | Failure::Lost(reason) => reason.clone(),
            other => other.to_string(),
        };
        Err(Failure::Unreachable(format!(
            "{reason}; the next attempt is due in {} s",
            wait.as_secs() + 1
        )))
    }

    /// Makes sure that a project has no more sessions than its share when `new` is opened, so that it cannot fill the pool alone. Its own
    /// session that has been idle longest gives way.
    fn keep_share(&self, project: ProjectId, new: &Arc<Slot>) -> Result<(), Failure> {
        let others: Vec<Arc<Slot>> = self
            .slots()
            .iter()
            .filter(|((of, _), slot)| *of == project && !Arc::ptr_eq(slot, new))
            .map(|(_, slot)| slot.clone())
            .collect();
        // A locked state is a session that is being opened.
        let held = others
            .iter()
            .filter(|slot| slot.open().is_some() || slot.state.try_lock().is_err());
        if held.count() < self.config.max_project_sessions {
            return Ok(());
        }
        match longest_idle(&others) {
            Some(slot) => {
                self.close_idle(slot);
                Ok(())
            }
            None => Err(Failure::Busy {
                what: "the project's share of MCP sessions",
                retry_after: Duration::from_secs(1),
            }),
        }
    }

    /// A place for one more session, if need be that of the session that has been idle longest.
    async fn place(&self) -> Result<OwnedSemaphorePermit, Failure> {
        if self.closing.is_cancelled() {
            return Err(Failure::Unreachable("this server is stopping".into()));
        }
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let all: Vec<Arc<Slot>> = self.slots().values().cloned().collect();
        if let Some(slot) = longest_idle(&all) {
            self.close_idle(slot);
            let freed = tokio::time::timeout(CLOSING_TIME, self.places.clone().acquire_owned()).await;
            if let Ok(Ok(place)) = freed {
                return Ok(place);
            }
        }
        Err(Failure::Busy {
            what: "the pool of MCP sessions",
            retry_after: Duration::from_secs(1),
        })
    }

    /// Closes the slot's session unless it is in use after all.
    fn close_idle(&self, slot: &Slot) {
        let session = {
            let mut open = slot.open();
            match open.as_ref() {
                // Under the lock nobody can take a lease of it.
                Some(session) if slot.leases.load(Ordering::SeqCst) == 0 => {
                    session.line().retire();
                    open.take()
                }
                _ => None,
            }
        };
        if let Some(session) = session {
            self.tasks.spawn(async move { session.close().await });
        }
    }

    /// Lets a slot's session end with the requests under way.
    fn retire(&self, slot: Arc<Slot>) {
        slot.retired.store(true, Ordering::SeqCst);
        let closing = self.closing.clone();
        if let Some(session) = slot.open().as_ref() {
            session.line().retire();
        }
        self.tasks.spawn(async move {
            // An opening that is under way ends first.
            let _past = slot.state.lock().await;
            let session = slot.open().take();
            if let Some(session) = session {
                session.line().retire();
                tokio::select! {
                    () = session.quiet() => {}
                    () = closing.cancelled() => {}
                }
                session.close().await;
            }
        });
    }

    /// Closes idle sessions and forgets slots without any.
    fn tidy(&self) {
        let now = Instant::now();
        let all: Vec<(Key, Arc<Slot>)> = self
            .slots()
            .iter()
            .map(|(key, slot)| (*key, slot.clone()))
            .collect();
        for (key, slot) in all {
            let Some(idle_since) = slot.idle_since() else {
                continue;
            };
            let unusable = slot
                .open()
                .as_ref()
                .is_some_and(|session| !session.line().is_usable());
            if unusable && let Ok(mut past) = slot.state.try_lock() {
                self.bury(&slot, &mut past);
            }
            if now.saturating_duration_since(idle_since) < self.config.idle_timeout {
                continue;
            }
            self.close_idle(&slot);
            let Ok(past) = slot.state.try_lock() else {
                continue;
            };
            if past.due(self.config.max_backoff).is_none_or(|due| due < now) {
                let mut slots = self.slots();
                // One reference is the map's and one is ours: nobody is about to use it.
                if slot.open().is_none() && Arc::strong_count(&slot) <= 2 {
                    slots.remove(&key);
                }
            }
        }
    }

    pub(super) fn forget(&self, server: Uuid) {
        let mut forgotten = Vec::new();
        self.slots().retain(|(_, id), slot| {
            let keep = *id != server;
            if !keep {
                forgotten.push(slot.clone());
            }
            keep
        });
        for slot in forgotten {
            self.retire(slot);
        }
    }

    /// A request was answered.
    pub(super) fn trust(&self, peer: &Peer) {
        if let Some(slot) = self.slots().get(&(peer.project, peer.server)) {
            slot.unanswered.store(0, Ordering::Relaxed);
        }
    }

    /// A request was not answered in time. A session in which that goes on and on is given up for a new one.
    pub(super) fn doubt(&self, peer: &Peer) {
        let key = (peer.project, peer.server);
        let mut slots = self.slots();
        let hangs = slots
            .get(&key)
            .is_some_and(|slot| slot.unanswered.fetch_add(1, Ordering::Relaxed) + 1 >= UNANSWERED);
        let slot = if hangs { slots.remove(&key) } else { None };
        drop(slots);
        if let Some(slot) = slot {
            self.retire(slot);
        }
    }

    pub(super) fn lists_changed(&self, peer: &Peer) -> bool {
        let slot = self.slots().get(&(peer.project, peer.server)).cloned();
        slot.and_then(|slot| slot.usable())
            .is_some_and(|session| session.line().have_lists_changed())
    }

    pub(super) fn open_sessions(&self) -> usize {
        self.config.max_sessions - self.places.available_permits()
    }

    pub(super) async fn shutdown(&self) {
        self.closing.cancel();
        let slots: Vec<Arc<Slot>> = self.slots().drain().map(|(_, slot)| slot).collect();
        for slot in slots {
            self.tasks.spawn(async move {
                let _past = slot.state.lock().await;
                let session = slot.open().take();
                if let Some(session) = session {
                    session.close().await;
                }
            });
        }
        self.tasks.close();
        self.tasks.wait().await;
    }
}

fn longest_idle(slots: &[Arc<Slot>]) -> Option<&Arc<Slot>> {
    slots
        .iter()
        .filter(|slot| slot.open().is_some())
        .filter_map(|slot| Some((slot.idle_since()?, slot)))
        .min_by_key(|(since, _)| *since)
        .map(|(_, slot)| slot)
}

/// Opens a slot's session. `past` is locked until that is done.
async fn open(
    pool: Arc<Pool>,
    slot: Arc<Slot>,
    peer: Peer,
    mut past: OwnedMutexGuard<Past>,
    place: OwnedSemaphorePermit,
) -> Result<Lease, Failure> {
    let limit = pool.config.connect_timeout;
    let opening = Session::open(&peer, &pool.config, &pool.means, place);
    let outcome = tokio::select! {
        outcome = tokio::time::timeout(limit, opening) => outcome.unwrap_or(Err(Failure::TimedOut(limit))),
        () = pool.closing.cancelled() => Err(Failure::Unreachable("this server is stopping".into())),
    };
    match outcome {
        Ok(session) => {
            let session = Arc::new(session);
            *slot.open() = Some(session.clone());
            *locked(&slot.last_used) = Instant::now();
            slot.leases.fetch_add(1, Ordering::SeqCst);
            Ok(Lease { session, slot })
        }
        Err(failure) => {
            // A refusal by the operator is no fault of the server's.
            if !matches!(failure, Failure::Denied { .. }) {
                past.note(failure.clone(), Instant::now());
            }
            Err(failure)
        }
    }
}
