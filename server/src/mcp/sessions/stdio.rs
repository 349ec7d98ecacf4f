//! Servers as child processes, speaking one message a line over standard input and output (MCP specification, transports, stdio).
//!
//! A child leads a process group of its own and knows nothing of this server's environment but [`KEPT`]. The whole group ends
//! with the session. So that it also ends when this server is killed, a guardian (a shell that reads a pipe which only this
//! server holds open) outlives the server for the moment it takes to kill the group.

use std::ffi::OsString;
use std::io::Write;
use std::os::unix::process::CommandExt;
use std::process::{self, Stdio};
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions, kill_process_group, waitid};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, Command};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::envelope;
use super::line::{Allowance, FAREWELL, Line, Ticket, Unacceptable};
use super::transport::Outgoing;
use crate::mcp::peer::Failure;

/// What a child sees of this server's environment.
const KEPT: [&str; 6] = ["PATH", "HOME", "LANG", "LC_ALL", "TMPDIR", "TZ"];
/// Messages that wait to be written. More wait only when the child does not read.
const QUEUE: usize = 256;
/// Bytes of a child's standard error that reach the log.
const LOGGED_STDERR: usize = 256 << 10;
/// Longest line of it.
const LOGGED_LINE: usize = 1 << 10;
/// A line this many times too long ends the session instead of being skipped.
const SKIPPED_LINES: usize = 16;
/// How long what a process said last may take to arrive after it exited.
const LAST_WORDS: Duration = Duration::from_millis(500);
/// Reads a process group, waits until this server is gone, and kills the group.
const GUARDIAN: &str = r#"read -r group || exit 0; read -r _; kill -s KILL -- "-$group""#;

/// The whole environment of a child.
#[derive(Clone, Debug)]
pub(super) struct Environment(Vec<(&'static str, OsString)>);

impl Environment {
    /// What is kept of the environment that `variable` looks into.
    pub(super) fn kept(variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let kept = KEPT.into_iter();
        Self(kept.filter_map(|name| Some((name, variable(name)?))).collect())
    }
}

/// A running child.
#[derive(Debug)]
pub(super) struct StdioLink {
    line: Arc<Line>,
    queue: Option<mpsc::Sender<Queued>>,
    family: Family,
    output_ended: CancellationToken,
}

#[derive(Debug)]
struct Queued {
    text: String,
    request: Option<(i64, Ticket)>,
}

impl StdioLink {
    /// Starts `words`, program and arguments, without a shell.
    ///
    /// # Errors
    /// [`Failure::Unreachable`] when it does not start.
    pub(super) fn start(
        words: &[String],
        environment: &Environment,
        line: Arc<Line>,
    ) -> Result<Self, Failure> {
        let unreachable = |error| Failure::Unreachable(format!("it cannot be started: {error}"));
        let mut family = Family::start(words, environment).map_err(unreachable)?;
        let (stdin, stdout, stderr) = family.take_streams().map_err(unreachable)?;
        let (queue, queued) = mpsc::channel(QUEUE);
        let output_ended = CancellationToken::new();
        tokio::spawn(write(stdin, queued, line.clone()));
        tokio::spawn(log_stderr(stderr));
        tokio::spawn(watch(family.group, output_ended.clone(), line.clone()));
        tokio::spawn({
            let (line, ended) = (line.clone(), output_ended.clone().drop_guard());
            async move {
                read(BufReader::new(stdout), &line).await;
                drop(ended);
            }
        });
        Ok(Self {
            line,
            queue: Some(queue),
            family,
            output_ended,
        })
    }

    /// Queues a message; a request's future lasts until its answer.
    pub(super) fn send(&self, outgoing: Outgoing) -> BoxFuture<'static, Result<(), Failure>> {
        match outgoing {
            Outgoing::Request {
                id,
                text,
                ticket,
                expected,
                progress_token,
                ..
            } => {
                let done = self.line.expect(id, expected, ticket.clone(), progress_token);
                if let Err(failure) = self.enqueue(text, Some((id, ticket))) {
                    self.line.fail(id, failure);
                }
                Box::pin(async move {
                    done.await
                        .unwrap_or_else(|_| Err(Failure::Lost("the request was cancelled".into())))
                })
            }
            Outgoing::Cancellation { id, text } => {
                let outcome = if self.line.abandon(id) {
                    self.enqueue(text, None)
                } else {
                    Ok(())
                };
                Box::pin(std::future::ready(outcome))
            }
            Outgoing::Initialized { text } | Outgoing::Other { text } => {
                Box::pin(std::future::ready(self.enqueue(text, None)))
            }
        }
    }

    fn enqueue(&self, text: String, request: Option<(i64, Ticket)>) -> Result<(), Failure> {
        let closed = || Failure::Unreachable("it is being closed".into());
        match self
            .queue
            .as_ref()
            .ok_or_else(closed)?
            .try_send(Queued { text, request })
        {
            Ok(()) => Ok(()),
            Err(mpsc::error::TrySendError::Closed(_)) => Err(closed()),
            Err(mpsc::error::TrySendError::Full(_)) => {
                let failure = Failure::Unreachable("it does not read its input".into());
                self.line.end(failure.clone());
                Err(failure)
            }
        }
    }

    /// Closes the child's input, waits a moment for it to leave, then kills what is left of its group.
    pub(super) async fn close(&mut self) {
        self.queue = None;
        let _ = tokio::time::timeout(FAREWELL, self.output_ended.cancelled()).await;
        self.line.end(Failure::Lost("the session was closed".into()));
        self.family.end().await;
    }
}

async fn write(mut stdin: ChildStdin, mut queue: mpsc::Receiver<Queued>, line: Arc<Line>) {
    while let Some(Queued { mut text, request }) = queue.recv().await {
        if let Some((_, ticket)) = &request {
            if ticket.is_abandoned() {
                continue;
            }
            ticket.mark_sent();
        }
        text.push('\n');
        if let Err(error) = stdin.write_all(text.as_bytes()).await {
            if let Some((id, ticket)) = request {
                // The child has not seen the end of the line: it cannot have understood the request.
                ticket.mark_unsent();
                line.fail(id, Failure::Unreachable(format!("it closed its input: {error}")));
            }
            return;
        }
    }
}

async fn read(mut stdout: impl AsyncBufReadExt + Unpin, line: &Line) {
    let mut allowance = Allowance::new(line.limits);
    let mut text = Vec::new();
    let ending = loop {
        text.clear();
        match next_line(&mut stdout, &mut text, line.limits.bytes).await {
            Ok(Some(Length::Within)) => {}
            Ok(Some(Length::Beyond { id })) => {
                match id.or_else(|| line.only_pending()) {
                    Some(id) => line.fail(id, line.limits.too_large()),
                    None => break line.limits.too_large(),
                }
                continue;
            }
            Ok(Some(Length::FarBeyond)) => break line.limits.too_large(),
            Ok(None) => break Failure::Lost("the process ended its output".into()),
            Err(error) => break Failure::Lost(format!("its output cannot be read: {error}")),
        }
        if text.trim_ascii().is_empty() {
            continue;
        }
        match line.accept(&text, &mut allowance).await {
            Ok(()) => {}
            Err(Unacceptable::Ends(failure)) => break failure,
            Err(Unacceptable::Unreadable {
                is_json_rpc,
                id,
                problem,
            }) => {
                if !text.trim_ascii_start().starts_with(b"{") {
                    tracing::debug!("an MCP server printed a line that is no message");
                    continue;
                }
                match id.or_else(|| line.only_pending().filter(|_| is_json_rpc)) {
                    Some(id) => line.fail(id, Failure::Malformed(problem)),
                    None if is_json_rpc => break Failure::Malformed(problem),
                    None => tracing::debug!(problem, "an MCP server printed a line that is no message"),
                }
            }
        }
    };
    line.end(ending);
}

enum Length {
    /// The line is whole.
    Within,
    /// It was skipped; `id` is of the request that it seems to answer.
    Beyond { id: Option<i64> },
    /// It did not end.
    FarBeyond,
}

/// Reads one line into `text`, never more than `limit` bytes of it.
async fn next_line(
    stdout: &mut (impl AsyncBufReadExt + Unpin),
    text: &mut Vec<u8>,
    limit: usize,
) -> std::io::Result<Option<Length>> {
    const TAIL: usize = 64;
    let mut length = 0_usize;
    let mut tail = Vec::new();
    loop {
        let available = stdout.fill_buf().await?;
        if available.is_empty() {
            return Ok(None);
        }
        let end = available.iter().position(|byte| *byte == b'\n');
        let piece = &available[..end.unwrap_or(available.len())];
        length += piece.len();
        if length <= limit {
            text.extend_from_slice(piece);
        } else {
            tail.extend_from_slice(&piece[piece.len().saturating_sub(TAIL)..]);
            tail.drain(..tail.len().saturating_sub(TAIL));
        }
        let used = piece.len() + usize::from(end.is_some());
        stdout.consume(used);
        if end.is_some() {
            return Ok(Some(if length <= limit {
                Length::Within
            } else {
                Length::Beyond {
                    id: envelope::id_of_broken(text).or_else(|| envelope::id_of_broken(&tail)),
                }
            }));
        }
        if length > limit.saturating_mul(SKIPPED_LINES) {
            return Ok(Some(Length::FarBeyond));
        }
    }
}

/// Ends the session when the process exits, which others that share its output would hide.
async fn watch(process: Pid, output_ended: CancellationToken, line: Arc<Line>) {
    let Ok(mut child_exits) = signal(SignalKind::child()) else {
        return;
    };
    // Looks without reaping: as long as the process is not reaped, its group's id belongs to no other.
    let look = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
    while let Ok(None) = waitid(WaitId::Pid(process), look) {
        tokio::select! {
            _ = child_exits.recv() => {}
            () = line.ended().cancelled() => return,
        }
    }
    let _ = tokio::time::timeout(LAST_WORDS, output_ended.cancelled()).await;
    line.end(Failure::Lost("the process exited".into()));
}

/// Reads standard error to its end, so that the child never waits for it; the beginning goes to the log.
async fn log_stderr(mut stderr: impl AsyncRead + Unpin) {
    let mut logged = 0;
    let mut piece = vec![0; LOGGED_LINE];
    while let Ok(length @ 1..) = stderr.read(&mut piece).await {
        if logged < LOGGED_STDERR {
            logged += length;
            let text = String::from_utf8_lossy(&piece[..length]);
            tracing::debug!(text = text.trim_end(), "standard error of an MCP server");
        }
    }
}

/// A child, its process group, and the guardian of the group.
#[derive(Debug)]
struct Family {
    /// The leader is reaped after its group was killed and never before: until then its id cannot be used again.
    leader: Child,
    group: Pid,
    guardian: process::Child,
    ended: bool,
}

impl Family {
    fn start(words: &[String], environment: &Environment) -> std::io::Result<Self> {
        let [program, arguments @ ..] = words else {
            return Err(std::io::Error::other("the command line is empty"));
        };
        let mut guardian = process::Command::new("/bin/sh")
            .args(["-c", GUARDIAN])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn()?;
        let started = Command::new(program)
            .args(arguments)
            .env_clear()
            .envs(environment.0.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn();
        let leader = match started {
            Ok(leader) => leader,
            Err(error) => {
                dismiss(&mut guardian);
                return Err(error);
            }
        };
        let group = leader
            .id()
            .and_then(|id| i32::try_from(id).ok())
            .and_then(Pid::from_raw);
        let Some(group) = group else {
            dismiss(&mut guardian);
            return Err(std::io::Error::other("the process has no id"));
        };
        let mut family = Self {
            leader,
            group,
            guardian,
            ended: false,
        };
        // From here on dropping the family kills it.
        match &mut family.guardian.stdin {
            Some(pipe) => writeln!(pipe, "{}", group.as_raw_nonzero())?,
            None => return Err(std::io::Error::other("the guardian has no input")),
        }
        Ok(family)
    }

    fn take_streams(
        &mut self,
    ) -> std::io::Result<(
        ChildStdin,
        tokio::process::ChildStdout,
        tokio::process::ChildStderr,
    )> {
        match (
            self.leader.stdin.take(),
            self.leader.stdout.take(),
            self.leader.stderr.take(),
        ) {
            (Some(stdin), Some(stdout), Some(stderr)) => Ok((stdin, stdout, stderr)),
            _ => Err(std::io::Error::other("the process has no standard streams")),
        }
    }

    async fn end(&mut self) {
        self.kill();
        let _ = self.leader.wait().await;
    }

    fn kill(&mut self) {
        if !self.ended {
            self.ended = true;
            // An error means that nobody is left.
            let _ = kill_process_group(self.group, Signal::KILL);
            dismiss(&mut self.guardian);
        }
    }
}

impl Drop for Family {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ends a guardian that has nothing to guard any more. It only waits, so this is over at once.
fn dismiss(guardian: &mut process::Child) {
    let _ = guardian.kill();
    let _ = guardian.wait();
}
