//! LLMRing Server: logs what LLM calls use and cost, and answers with statistics.
//!
//! The program `llmring-server` is a thin shell around [`App`], which another poem application can mount as well.

/// Everything as one value: started, mounted, shut down.
pub mod app;

/// Settings and the configuration they are checked into.
pub mod config;

/// What can go wrong in the domain.
pub mod error;

/// The time, and ids made from it.
pub mod clock;

/// Logs and metrics.
pub mod telemetry;

/// The database, set up so that a commit is on disk.
pub mod storage;

/// Which project a key opens.
pub mod keys;

/// The usage ledger and its questions.
pub mod usage;

/// What was said, in order, with totals.
pub mod conversations;

/// What conversations start from.
pub mod templates;

/// Signed statements about calls.
pub mod receipts;

/// MCP servers, what they offer, and calls of it.
pub mod mcp;

/// What tokens cost.
pub mod prices;

/// Models and their prices, as last fetched.
pub mod registry;

/// What may be forgotten: memory, and Redis beside it.
mod cache;

/// The one HTTP client, and where it may go.
mod outbound;

/// HTTP in.
mod api;

pub use app::{App, StartError};
pub use config::{Config, ConfigError, Settings};
