//! What a plugin may use up, and the error that says it did.

use std::{fmt, time::Duration};

use serde::{Deserialize, Serialize};

/// What one call of a plugin may use up. Each field is a setting; [`Limits::default`] has the defaults.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of linear memory, all memories of an instance together.
    pub memory_bytes: u64,
    /// Elements of one table.
    pub table_elements: u32,
    /// Core instances in one component.
    pub core_instances: u32,
    /// CPU time, that of host functions included. For a transport: between two waits.
    pub cpu_time: Duration,
    /// Time from the start of a call to its end, waiting included. It does not bind transports.
    pub wall_time: Duration,
    /// How long a call whose caller has gone away may go on.
    pub cancel_grace: Duration,
    /// Bytes of a result, and of what a guest hands to the host at once.
    pub result_bytes: usize,
    /// Outbound requests of one call. It does not bind transports, whose requests count as handles while they last.
    pub requests: u32,
    /// Bytes of the bodies of a call's outbound requests and their responses together. It does not bind transports.
    pub request_bytes: u64,
    /// Lines in the log for one call, or in one minute of a transport; those beyond are dropped.
    pub log_lines: u32,
    /// Bytes of one line in the log; the rest is cut off.
    pub log_line_bytes: usize,
    /// Progress notifications of one call; those beyond are dropped.
    pub progress: u32,
    /// Handles (streams, requests, connections …) that one instance may hold in the host.
    pub handles: usize,
    /// Calls of one plugin at once.
    pub calls: usize,
    /// Calls of one plugin that wait for one of those to end; the next one is refused.
    pub queue: usize,
    /// How long a call waits for a place.
    pub queue_time: Duration,
    /// Open transports of one plugin.
    pub transports: usize,
    /// Messages that wait in each direction of a transport.
    pub channel_messages: usize,
    /// Traps one after the other that open the circuit breaker.
    pub breaker_traps: u32,
    /// How long the circuit breaker stays open.
    pub breaker_time: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 64 << 20,
            table_elements: 20_000,
            core_instances: 16,
            cpu_time: Duration::from_secs(5),
            wall_time: Duration::from_secs(30),
            cancel_grace: Duration::from_secs(1),
            result_bytes: 8 << 20,
            requests: 64,
            request_bytes: 32 << 20,
            log_lines: 1_000,
            log_line_bytes: 8 << 10,
            progress: 1_000,
            handles: 1_000,
            calls: 64,
            queue: 64,
            queue_time: Duration::from_secs(1),
            transports: 1_000,
            channel_messages: 64,
            breaker_traps: 10,
            breaker_time: Duration::from_secs(10),
        }
    }
}

/// The limits that a plugin would like, or that the operator grants it: `[limits]` in a manifest or in a file of grants.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LimitChanges {
    /// Mebibytes of linear memory.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u32>,
    /// Seconds of CPU time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpu_seconds: Option<u32>,
    /// Seconds from start to end.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wall_seconds: Option<u32>,
    /// Mebibytes of a result.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub result_mib: Option<u32>,
    /// Outbound requests of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub requests: Option<u32>,
    /// Mebibytes of all requests and responses of one call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub request_mib: Option<u32>,
    /// Calls at once.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub calls: Option<u32>,
}

impl Limits {
    /// These limits with what a plugin asks for and what the operator granted: asking can only lower a limit, the
    /// operator's word holds as it is.
    pub(crate) fn with(&self, asked: &LimitChanges, granted: &LimitChanges) -> Self {
        fn decide<T: Copy + Ord>(default: T, asked: Option<T>, granted: Option<T>) -> T {
            granted.unwrap_or_else(|| asked.map_or(default, |asked| asked.min(default)))
        }
        let mib = |count: Option<u32>| count.map(|count| u64::from(count) << 20);
        let usize_mib = |count: Option<u32>| count.map(|count| (count as usize) << 20);
        let seconds = |count: Option<u32>| count.map(|count| Duration::from_secs(count.into()));
        let count = |count: Option<u32>| count.map(|count| count as usize);
        Self {
            memory_bytes: decide(self.memory_bytes, mib(asked.memory_mib), mib(granted.memory_mib)),
            cpu_time: decide(
                self.cpu_time,
                seconds(asked.cpu_seconds),
                seconds(granted.cpu_seconds),
            ),
            wall_time: decide(
                self.wall_time,
                seconds(asked.wall_seconds),
                seconds(granted.wall_seconds),
            ),
            result_bytes: decide(
                self.result_bytes,
                usize_mib(asked.result_mib),
                usize_mib(granted.result_mib),
            ),
            requests: decide(self.requests, asked.requests, granted.requests),
            request_bytes: decide(
                self.request_bytes,
                mib(asked.request_mib),
                mib(granted.request_mib),
            ),
            calls: decide(self.calls, count(asked.calls), count(granted.calls)).max(1),
            ..self.clone()
        }
    }
}

/// A limit that ended a call, with its figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("exceeded {0}")]
pub struct LimitExceeded(pub Limit);

/// One of [`Limits`] that end a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Limit {
    /// Bytes of linear memory.
    Memory(u64),
    /// Elements of a table.
    TableElements(u32),
    /// CPU time.
    CpuTime(Duration),
    /// Time from start to end.
    WallTime(Duration),
    /// Bytes of a result, or of what the guest handed to the host at once.
    Result(usize),
    /// Outbound requests.
    Requests(u32),
    /// Bytes of requests and responses.
    RequestBytes(u64),
    /// Handles held in the host.
    Handles(usize),
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory(bytes) => write!(f, "memory limit of {}", Bytes(*bytes)),
            Self::TableElements(count) => write!(f, "table limit of {count} elements"),
            Self::CpuTime(time) => write!(f, "CPU time limit of {time:?}"),
            Self::WallTime(time) => write!(f, "time limit of {time:?}"),
            Self::Result(bytes) => write!(f, "result limit of {}", Bytes(*bytes as u64)),
            Self::Requests(count) => write!(f, "limit of {count} outbound requests"),
            Self::RequestBytes(bytes) => write!(f, "outbound traffic limit of {}", Bytes(*bytes)),
            Self::Handles(count) => write!(f, "limit of {count} open handles"),
        }
    }
}

/// A number of bytes in the largest unit that divides it.
struct Bytes(u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes != 0 && bytes % (1 << 20) == 0 => write!(f, "{} MiB", bytes >> 20),
            bytes if bytes != 0 && bytes % (1 << 10) == 0 => write!(f, "{} KiB", bytes >> 10),
            bytes => write!(f, "{bytes} bytes"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_names_its_figure() {
        assert_eq!(
            LimitExceeded(Limit::Memory(64 << 20)).to_string(),
            "exceeded memory limit of 64 MiB"
        );
        assert_eq!(
            LimitExceeded(Limit::CpuTime(Duration::from_secs(5))).to_string(),
            "exceeded CPU time limit of 5s"
        );
    }

    #[test]
    fn asking_lowers_a_limit_and_only_the_operator_raises_it() {
        let defaults = Limits::default();
        let asked = LimitChanges {
            memory_mib: Some(256),
            requests: Some(2),
            ..Default::default()
        };
        let limits = defaults.with(&asked, &LimitChanges::default());
        assert_eq!((limits.memory_bytes, limits.requests), (64 << 20, 2));
        let granted = LimitChanges {
            memory_mib: Some(128),
            ..Default::default()
        };
        assert_eq!(defaults.with(&asked, &granted).memory_bytes, 128 << 20);
    }
}
