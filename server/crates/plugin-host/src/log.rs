//! What a plugin writes, on its way into the server's log.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::io::AsyncWrite;
use wasmtime_wasi::{
    cli::{IsTerminal, StdoutStream},
    p2::{OutputStream, Pollable, StreamResult},
};

use crate::{meter::Meter, state::Identity};

/// The levels of the log.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Level {
    Trace,
    Debug,
    Info,
    Warn,
    Error,
}

/// The log of one instance.
#[derive(Clone)]
pub(crate) struct Log {
    identity: Arc<Identity>,
    meter: Arc<Meter>,
    call: String,
    /// The last words on standard error: what a crashed guest had to say.
    last_words: Arc<Mutex<String>>,
}

/// Bytes of the last words that are kept.
const LAST_WORDS_BYTES: usize = 1 << 10;

impl Log {
    pub(crate) fn new(identity: Arc<Identity>, meter: Arc<Meter>, call: String) -> Self {
        Self {
            identity,
            meter,
            call,
            last_words: Arc::default(),
        }
    }

    /// Writes one line, and tells whether it was not one too many.
    pub(crate) fn write(&self, level: Level, line: &str) -> bool {
        if !self.meter.count_log_line() {
            return false;
        }
        let line = cut(line, self.meter.limits.log_line_bytes);
        // A line break would let a guest write lines that look like the server's own.
        let line = line.replace(char::is_control, " ");
        let (plugin, call) = (self.identity.plugin.as_str(), self.call.as_str());
        match level {
            Level::Trace => tracing::trace!(target: "plugin", plugin, call, "{line}"),
            Level::Debug => tracing::debug!(target: "plugin", plugin, call, "{line}"),
            Level::Info => tracing::info!(target: "plugin", plugin, call, "{line}"),
            Level::Warn => tracing::warn!(target: "plugin", plugin, call, "{line}"),
            Level::Error => tracing::error!(target: "plugin", plugin, call, "{line}"),
        }
        true
    }

    /// Standard output or standard error.
    pub(crate) fn pipe(&self, level: Level) -> Pipe {
        Pipe {
            log: self.clone(),
            level,
        }
    }

    pub(crate) fn last_words(&self) -> String {
        self.last_words
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .trim()
            .to_owned()
    }

    fn remember(&self, line: &str) {
        let mut words = self.last_words.lock().unwrap_or_else(PoisonError::into_inner);
        let room = LAST_WORDS_BYTES.saturating_sub(words.len());
        words.push_str(cut(line, room));
        words.push(' ');
    }
}

/// The first `bytes` bytes of a text, or a few fewer so that no character is cut in two.
fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

/// Standard output or standard error, whose lines go into the log.
pub(crate) struct Pipe {
    log: Log,
    level: Level,
}

impl IsTerminal for Pipe {
    fn is_terminal(&self) -> bool {
        false
    }
}

impl StdoutStream for Pipe {
    fn async_stream(&self) -> Box<dyn AsyncWrite + Send + Sync> {
        // Only WASI 0.3 asks for this one.
        Box::new(tokio::io::sink())
    }

    fn p2_stream(&self) -> Box<dyn OutputStream> {
        Box::new(Lines {
            log: self.log.clone(),
            level: self.level,
            line: Vec::new(),
        })
    }
}

/// Cuts a stream of bytes into lines.
struct Lines {
    log: Log,
    level: Level,
    line: Vec<u8>,
}

impl Lines {
    fn end_line(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        if !line.trim().is_empty() {
            if matches!(self.level, Level::Warn) {
                self.log.remember(&line);
            }
            self.log.write(self.level, &line);
        }
        self.line.clear();
    }
}

impl OutputStream for Lines {
    fn write(&mut self, bytes: Bytes) -> StreamResult<()> {
        let room = self.log.meter.limits.log_line_bytes;
        let mut pieces = bytes.split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let kept = piece.len().min(room.saturating_sub(self.line.len()));
            self.line.extend_from_slice(&piece[..kept]);
            if pieces.peek().is_some() {
                self.end_line();
            }
        }
        Ok(())
    }

    fn flush(&mut self) -> StreamResult<()> {
        Ok(())
    }

    fn check_write(&mut self) -> StreamResult<usize> {
        Ok(64 << 10)
    }
}

#[async_trait::async_trait]
impl Pollable for Lines {
    async fn ready(&mut self) {}
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.end_line();
    }
}
