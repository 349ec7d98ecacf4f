//! Lines in the server's log, marked with the plugin's name.
//!
//! Lines beyond the permitted number are dropped by the host; a plugin works on all the same, so nothing here fails.

use crate::bindings::llmring::plugin::log::{Level, log};

/// Logs what only somebody who follows every step wants to read.
pub fn trace(message: impl AsRef<str>) {
    line(Level::Trace, message.as_ref());
}

/// Logs what somebody who looks for a fault wants to read.
pub fn debug(message: impl AsRef<str>) {
    line(Level::Debug, message.as_ref());
}

/// Logs what an operator may want to read.
pub fn info(message: impl AsRef<str>) {
    line(Level::Info, message.as_ref());
}

/// Logs what an operator should look into.
pub fn warn(message: impl AsRef<str>) {
    line(Level::Warn, message.as_ref());
}

/// Logs what an operator has to look into.
pub fn error(message: impl AsRef<str>) {
    line(Level::Error, message.as_ref());
}

fn line(level: Level, message: &str) {
    // Dropped lines are the host's to count.
    _ = log(level, message);
}
