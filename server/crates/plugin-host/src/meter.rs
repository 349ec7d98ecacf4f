//! What one call has used up so far, shared by everything that has a part in it.

use std::{
    pin::Pin,
    sync::{
        OnceLock,
        atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering::Relaxed},
    },
    task::{Context, Poll},
    time::{Duration, Instant},
};

use rustix::time::{ClockId, clock_gettime};
use serde::Serialize;

use crate::{CallError, Limit, LimitExceeded, Limits};

/// What one call used up.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Usage {
    /// From the start to the end, waiting for a place included.
    pub wall_time: Duration,
    /// CPU time, host functions included.
    pub cpu_time: Duration,
    /// The most linear memory at once, in bytes.
    pub memory_bytes: u64,
    /// Outbound requests that were sent.
    pub requests: u32,
    /// Bytes of their bodies and of their responses.
    pub request_bytes: u64,
    /// Lines written to the log.
    pub log_lines: u32,
    /// Lines that were dropped because there were too many.
    pub log_lines_dropped: u32,
    /// Things that were refused because they are not granted.
    pub denials: u32,
}

/// Counts one call against its limits. Everything is relaxed: the counters are read where they are written, or after
/// the call has ended.
#[derive(Debug)]
pub(crate) struct Meter {
    pub(crate) limits: Limits,
    /// A transport: it lives on, so what would be counted from the start is counted from its last wait, or not at all.
    endless: bool,
    started: Instant,
    log_minute: AtomicU64,
    exceeded: OnceLock<LimitExceeded>,
    /// Set at the first epoch: the guest is slow and belongs on the guests' own runtime.
    slow: AtomicBool,
    /// Set when the guest was interrupted by an epoch and not by a wait of its own.
    preempted: AtomicBool,
    cpu_nanos: AtomicU64,
    poll_started_nanos: AtomicU64,
    memory_bytes: AtomicU64,
    memory_peak: AtomicU64,
    requests: AtomicU32,
    request_bytes: AtomicU64,
    log_lines: AtomicU32,
    log_lines_dropped: AtomicU32,
    progress: AtomicU32,
    denials: AtomicU32,
    first_denial: OnceLock<String>,
}

impl Meter {
    pub(crate) fn call(limits: Limits) -> Self {
        Self::new(limits, false)
    }

    pub(crate) fn transport(limits: Limits) -> Self {
        Self::new(limits, true)
    }

    fn new(limits: Limits, endless: bool) -> Self {
        Self {
            limits,
            endless,
            started: Instant::now(),
            log_minute: AtomicU64::new(0),
            exceeded: OnceLock::new(),
            slow: AtomicBool::new(false),
            preempted: AtomicBool::new(false),
            cpu_nanos: AtomicU64::new(0),
            poll_started_nanos: AtomicU64::new(0),
            memory_bytes: AtomicU64::new(0),
            memory_peak: AtomicU64::new(0),
            requests: AtomicU32::new(0),
            request_bytes: AtomicU64::new(0),
            log_lines: AtomicU32::new(0),
            log_lines_dropped: AtomicU32::new(0),
            progress: AtomicU32::new(0),
            denials: AtomicU32::new(0),
            first_denial: OnceLock::new(),
        }
    }

    /// Notes that a limit is exceeded, which ends the call; the first one is the one that is told.
    pub(crate) fn exceed(&self, limit: Limit) -> LimitExceeded {
        *self.exceeded.get_or_init(|| LimitExceeded(limit))
    }

    pub(crate) fn exceeded(&self) -> Option<LimitExceeded> {
        self.exceeded.get().copied()
    }

    /// Whether the guest has seen an epoch.
    pub(crate) fn is_slow(&self) -> bool {
        self.slow.load(Relaxed)
    }

    /// Called at each epoch while the guest runs: notes that it is slow, and ends it when its CPU time is over.
    pub(crate) fn tick(&self) -> Result<(), LimitExceeded> {
        self.slow.store(true, Relaxed);
        self.preempted.store(true, Relaxed);
        let running = thread_nanos().saturating_sub(self.poll_started_nanos.load(Relaxed));
        let spent = Duration::from_nanos(self.cpu_nanos.load(Relaxed).saturating_add(running));
        if spent > self.limits.cpu_time {
            return Err(self.exceed(Limit::CpuTime(self.limits.cpu_time)));
        }
        self.exceeded().map_or(Ok(()), Err)
    }

    /// Accounts for linear memory that is about to change by `growth` bytes.
    pub(crate) fn grow_memory(&self, growth: u64) -> Result<(), LimitExceeded> {
        let total = self.memory_bytes.load(Relaxed).saturating_add(growth);
        if total > self.limits.memory_bytes {
            return Err(self.exceed(Limit::Memory(self.limits.memory_bytes)));
        }
        self.memory_bytes.store(total, Relaxed);
        self.memory_peak.fetch_max(total, Relaxed);
        Ok(())
    }

    pub(crate) fn count_request(&self) -> Result<(), LimitExceeded> {
        if !self.endless && self.requests.load(Relaxed) >= self.limits.requests {
            return Err(self.exceed(Limit::Requests(self.limits.requests)));
        }
        self.requests.fetch_add(1, Relaxed);
        Ok(())
    }

    pub(crate) fn count_request_bytes(&self, bytes: usize) -> Result<(), LimitExceeded> {
        let total = self
            .request_bytes
            .fetch_add(bytes as u64, Relaxed)
            .saturating_add(bytes as u64);
        if !self.endless && total > self.limits.request_bytes {
            return Err(self.exceed(Limit::RequestBytes(self.limits.request_bytes)));
        }
        Ok(())
    }

    /// Whether one more line may be written.
    pub(crate) fn count_log_line(&self) -> bool {
        if self.endless {
            let minute = self.started.elapsed().as_secs() / 60;
            if self.log_minute.swap(minute, Relaxed) != minute {
                self.log_lines.store(0, Relaxed);
            }
        }
        if self.log_lines.load(Relaxed) >= self.limits.log_lines {
            self.log_lines_dropped.fetch_add(1, Relaxed);
            return false;
        }
        self.log_lines.fetch_add(1, Relaxed);
        true
    }

    /// Whether one more progress notification may be sent.
    pub(crate) fn count_progress(&self) -> bool {
        self.progress.fetch_add(1, Relaxed) < self.limits.progress
    }

    pub(crate) fn count_denial(&self, denial: &str) {
        self.denials.fetch_add(1, Relaxed);
        self.first_denial.get_or_init(|| denial.to_owned());
    }

    /// The answer of a guest as its caller gets it: one that failed after something was denied to it failed for that.
    pub(crate) fn blame<T>(&self, outcome: Result<T, CallError>) -> Result<T, CallError> {
        match (outcome, self.first_denial.get()) {
            (Err(CallError::Failed(message)), Some(denial)) => {
                Err(CallError::Denied(format!("{denial}; the plugin says: {message}")))
            }
            (outcome, _) => outcome,
        }
    }

    /// What was used so far, `wall_time` being for the caller to say.
    pub(crate) fn usage(&self, wall_time: Duration) -> Usage {
        Usage {
            wall_time,
            cpu_time: Duration::from_nanos(self.cpu_nanos.load(Relaxed)),
            memory_bytes: self.memory_peak.load(Relaxed),
            requests: self.requests.load(Relaxed),
            request_bytes: self.request_bytes.load(Relaxed),
            log_lines: self.log_lines.load(Relaxed),
            log_lines_dropped: self.log_lines_dropped.load(Relaxed),
            denials: self.denials.load(Relaxed),
        }
    }

    /// Polls a guest, counting the CPU time of that. A limit that was exceeded in there, by whatever part of the host,
    /// ends it.
    pub(crate) fn poll<T>(
        &self,
        guest: Pin<&mut (impl Future<Output = Result<T, CallError>> + ?Sized)>,
        context: &mut Context<'_>,
    ) -> Poll<Result<T, CallError>> {
        let started = thread_nanos();
        self.poll_started_nanos.store(started, Relaxed);
        let waited = !self.preempted.swap(false, Relaxed);
        if self.endless && waited {
            self.cpu_nanos.store(0, Relaxed);
        }
        let answer = guest.poll(context);
        self.cpu_nanos
            .fetch_add(thread_nanos().saturating_sub(started), Relaxed);
        match self.exceeded() {
            Some(limit) => Poll::Ready(Err(limit.into())),
            None => answer,
        }
    }
}

/// CPU time of this thread.
fn thread_nanos() -> u64 {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    u64::try_from(time.tv_sec).unwrap_or_default() * 1_000_000_000
        + u64::try_from(time.tv_nsec).unwrap_or_default()
}
