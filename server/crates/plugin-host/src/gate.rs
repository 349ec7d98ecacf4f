//! Who may call a plugin now: places, a short queue, and a circuit breaker.

use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::{CallError, Limits};

/// A number of places and a queue before them.
#[derive(Debug)]
pub(crate) struct Gate {
    places: Arc<Semaphore>,
    waiting: AtomicUsize,
    capacity: usize,
    queue: usize,
    queue_time: Duration,
}

/// A place, kept as long as the instance lives.
pub(crate) type Place = OwnedSemaphorePermit;

impl Gate {
    pub(crate) fn new(capacity: usize, queue: usize, queue_time: Duration) -> Self {
        Self {
            places: Arc::new(Semaphore::new(capacity)),
            waiting: AtomicUsize::new(0),
            capacity,
            queue,
            queue_time,
        }
    }

    /// A place, at once or after a short wait.
    pub(crate) async fn enter(&self) -> Result<Place, CallError> {
        if let Ok(place) = self.places.clone().try_acquire_owned() {
            return Ok(place);
        }
        let busy = || {
            CallError::Busy(format!(
                "{} calls are running, and no place came free in time",
                self.capacity
            ))
        };
        let waiting = Waiting(&self.waiting);
        if self.waiting.fetch_add(1, Relaxed) >= self.queue {
            return Err(busy());
        }
        let place = tokio::time::timeout(self.queue_time, self.places.clone().acquire_owned()).await;
        drop(waiting);
        place.ok().and_then(Result::ok).ok_or_else(busy)
    }

    /// A place, if one is free.
    pub(crate) fn try_enter(&self) -> Option<Place> {
        self.places.clone().try_acquire_owned().ok()
    }

    pub(crate) fn in_use(&self) -> usize {
        self.capacity.saturating_sub(self.places.available_permits())
    }
}

/// One who waits, gone when dropped.
struct Waiting<'a>(&'a AtomicUsize);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Leaves a plugin alone that crashes again and again. One call that does not crash closes it.
#[derive(Debug)]
pub(crate) struct Breaker {
    traps_to_open: u32,
    open_for: Duration,
    state: Mutex<BreakerState>,
}

#[derive(Debug, Default)]
struct BreakerState {
    /// In succession.
    traps: u32,
    open_until: Option<Instant>,
}

impl Breaker {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            traps_to_open: limits.breaker_traps.max(1),
            open_for: limits.breaker_time,
            state: Mutex::default(),
        }
    }

    /// Whether the plugin may be called at `now`. After the time is over one call is let through, and decides.
    pub(crate) fn admit(&self, now: Instant) -> Result<(), CallError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.open_until {
            Some(until) if until > now => Err(CallError::Broken {
                retry_after: until - now,
            }),
            Some(_) => {
                // Others go on waiting until this one has decided, or as long again if it never does.
                state.open_until = Some(now + self.open_for);
                Ok(())
            }
            None => Ok(()),
        }
    }

    /// Notes how a call ended.
    pub(crate) fn note(&self, trapped: bool, now: Instant) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        if !trapped {
            *state = BreakerState::default();
            return;
        }
        state.traps = state.traps.saturating_add(1);
        if state.traps >= self.traps_to_open {
            state.open_until = Some(now + self.open_for);
        }
    }

    /// How much longer it stays open; none when it is closed.
    pub(crate) fn open_for(&self, now: Instant) -> Option<Duration> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        state.open_until.map(|until| until.saturating_duration_since(now))
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn the_breaker_opens_after_traps_in_succession_and_closes_by_itself() {
        let limits = Limits {
            breaker_traps: 2,
            breaker_time: Duration::from_secs(10),
            ..Limits::default()
        };
        let breaker = Breaker::new(&limits);
        let start = Instant::now();
        breaker.note(true, start);
        breaker.note(false, start);
        breaker.note(true, start);
        breaker.admit(start).unwrap();
        breaker.note(true, start);
        assert_eq!(
            breaker.admit(start + Duration::from_secs(4)),
            Err(CallError::Broken {
                retry_after: Duration::from_secs(6)
            })
        );
        let later = start + Duration::from_secs(10);
        breaker.admit(later).unwrap();
        breaker.admit(later).unwrap_err();
        breaker.note(false, later);
        breaker.admit(later).unwrap();
        assert_eq!(breaker.open_for(later), None);
    }

    #[tokio::test(start_paused = true)]
    async fn beyond_the_places_a_few_wait_and_the_rest_are_refused() {
        let gate = Gate::new(1, 1, Duration::from_secs(1));
        let place = gate.enter().await.unwrap();
        let (waited, refused) = tokio::join!(gate.enter(), gate.enter());
        assert!(matches!(waited, Err(CallError::Busy(_))), "nobody left in time");
        assert!(matches!(refused, Err(CallError::Busy(_))));
        drop(place);
        assert_eq!(gate.in_use(), 0);
        drop(gate.enter().await.unwrap());
    }
}
