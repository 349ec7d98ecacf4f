//! The time, passed in: nothing else in the server reads a clock for what it stores.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, SubsecRound, Utc};
use uuid::{ContextV7, Timestamp, Uuid};

/// Tells the time in UTC, to the microsecond: what both databases can keep.
#[derive(Clone)]
pub struct Clock(Arc<dyn Fn() -> DateTime<Utc> + Send + Sync>);

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(Utc::now))
    }

    /// A clock that always says `instant`, for tests.
    pub fn fixed(instant: DateTime<Utc>) -> Self {
        Self(Arc::new(move || instant))
    }

    /// The time now.
    pub fn now(&self) -> DateTime<Utc> {
        (self.0)().trunc_subsecs(6)
    }
}

impl std::fmt::Debug for Clock {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Clock")
    }
}

/// A new id (UUIDv7, RFC 9562 section 5.7) for something that happened at `instant`. Ids made one after the other in this process
/// sort in that order, also within a millisecond (section 6.2).
pub fn new_id(instant: DateTime<Utc>) -> Uuid {
    static COUNTER: Mutex<ContextV7> = Mutex::new(ContextV7::new());
    let seconds = u64::try_from(instant.timestamp()).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(
        &COUNTER,
        seconds,
        instant.timestamp_subsec_nanos(),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_sort_by_the_time_they_were_made() {
        let early = DateTime::from_timestamp_millis(1_700_000_000_000).expect("in range");
        let late = DateTime::from_timestamp_millis(1_700_000_000_001).expect("in range");
        assert!(new_id(early) < new_id(late));
        assert_eq!(new_id(early).get_version_num(), 7);
    }

    #[test]
    fn ids_of_one_instant_sort_in_the_order_they_were_made() {
        let instant = DateTime::from_timestamp_millis(1_700_000_000_500).expect("in range");
        let ids: Vec<Uuid> = (0..1000).map(|_| new_id(instant)).collect();
        assert!(ids.is_sorted());
    }

    #[test]
    fn nanoseconds_are_cut_off() {
        let instant = DateTime::from_timestamp(1, 123_456_789).expect("in range");
        assert_eq!(Clock::fixed(instant).now().timestamp_subsec_nanos(), 123_456_000);
    }
}
