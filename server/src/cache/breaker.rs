//! A circuit breaker: after some failures in a row nothing is tried for a while, then by one caller at a time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row that open the circuit.
const FAILURES: u32 = 3;
/// How long it stays open before somebody tries again.
pub(super) const OPEN_FOR: Duration = Duration::from_secs(3);

/// Decides who may try.
#[derive(Debug)]
pub(super) struct Breaker(Mutex<State>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Closed { failures: u32 },
    Open { until: Instant },
    Probing,
}

/// The right to try once. Dropping it unused, as a cancelled caller does, says nothing about the other side.
#[derive(Debug)]
pub(super) struct Attempt<'a> {
    breaker: &'a Breaker,
    probe: bool,
}

/// What an outcome changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Change {
    None,
    Opened,
    Closed,
}

impl Breaker {
    pub(super) fn new() -> Self {
        Self(Mutex::new(State::Closed { failures: 0 }))
    }

    /// The right to try now, unless the circuit is open.
    pub(super) fn attempt(&self) -> Option<Attempt<'_>> {
        let mut state = self.state();
        let probe = match *state {
            State::Closed { .. } => false,
            State::Open { until } if Instant::now() >= until => {
                *state = State::Probing;
                true
            }
            State::Open { .. } | State::Probing => return None,
        };
        Some(Attempt { breaker: self, probe })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt<'_> {
    /// Tells how it went.
    pub(super) fn succeeded(mut self) -> Change {
        self.probe = false;
        let mut state = self.breaker.state();
        let before = std::mem::replace(&mut *state, State::Closed { failures: 0 });
        if matches!(before, State::Closed { .. }) {
            Change::None
        } else {
            Change::Closed
        }
    }

    /// Tells how it went.
    pub(super) fn failed(mut self) -> Change {
        let probe = std::mem::take(&mut self.probe);
        let mut state = self.breaker.state();
        let open = State::Open {
            until: Instant::now() + OPEN_FOR,
        };
        match *state {
            State::Closed { failures } if failures + 1 < FAILURES => {
                *state = State::Closed {
                    failures: failures + 1,
                };
                Change::None
            }
            State::Closed { .. } => {
                *state = open;
                Change::Opened
            }
            State::Probing if probe => {
                *state = open;
                Change::None
            }
            State::Probing | State::Open { .. } => Change::None,
        }
    }
}

impl Drop for Attempt<'_> {
    fn drop(&mut self) {
        if self.probe {
            *self.breaker.state() = State::Open {
                until: Instant::now(),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Breaker {
        let breaker = Breaker::new();
        let changes = [(); 3].map(|()| breaker.attempt().expect("closed").failed());
        assert_eq!(changes, [Change::None, Change::None, Change::Opened]);
        breaker
    }

    #[tokio::test(start_paused = true)]
    async fn opens_after_three_failures_in_a_row() {
        let breaker = opened();
        assert!(breaker.attempt().is_none());
        tokio::time::advance(OPEN_FOR - Duration::from_millis(1)).await;
        assert!(breaker.attempt().is_none());
    }

    #[tokio::test(start_paused = true)]
    async fn a_success_between_failures_starts_the_count_again() {
        let breaker = Breaker::new();
        for _ in 0..10 {
            assert_eq!(breaker.attempt().expect("closed").failed(), Change::None);
            assert_eq!(breaker.attempt().expect("closed").failed(), Change::None);
            assert_eq!(breaker.attempt().expect("closed").succeeded(), Change::None);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_caller_probes_and_its_outcome_decides() {
        let breaker = opened();
        tokio::time::advance(OPEN_FOR).await;
        let probe = breaker.attempt().expect("half open");
        assert!(breaker.attempt().is_none(), "a second probe");
        assert_eq!(probe.failed(), Change::None);
        assert!(breaker.attempt().is_none());
        tokio::time::advance(OPEN_FOR).await;
        assert_eq!(breaker.attempt().expect("half open").succeeded(), Change::Closed);
        assert!(breaker.attempt().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cancelled_probe_leaves_the_next_caller_to_probe() {
        let breaker = opened();
        tokio::time::advance(OPEN_FOR).await;
        drop(breaker.attempt().expect("half open"));
        assert_eq!(breaker.attempt().expect("half open").succeeded(), Change::Closed);
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_failure_does_not_end_somebody_elses_probe() {
        let breaker = Breaker::new();
        let late = breaker.attempt().expect("closed");
        for _ in 0..3 {
            breaker.attempt().expect("closed").failed();
        }
        tokio::time::advance(OPEN_FOR).await;
        let probe = breaker.attempt().expect("half open");
        assert_eq!(late.failed(), Change::None);
        assert!(breaker.attempt().is_none(), "a second probe");
        assert_eq!(probe.succeeded(), Change::Closed);
    }
}
