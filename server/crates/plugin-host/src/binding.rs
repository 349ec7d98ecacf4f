//! On whose behalf a plugin works.

use std::{collections::BTreeMap, fmt, sync::Arc};

use serde::Serialize;
use tokio_util::sync::CancellationToken;
use url::Url;

use crate::{Closed, Outbound};

/// The server row that a plugin works for: what it may learn of it, and its way out.
#[derive(Clone)]
pub struct Binding {
    /// The row's non-secret settings. A plugin reads those whose keys it is granted.
    pub configuration: BTreeMap<String, serde_json::Value>,
    /// Whether the row has a secret, which is all that a plugin learns of it.
    pub has_secret: bool,
    /// The row's own URL, where it has one; its origin is what the permission `endpoint` means.
    pub endpoint: Option<Url>,
    /// Sends the plugin's requests.
    pub outbound: Arc<dyn Outbound>,
}

impl Binding {
    /// No row: nothing to learn and no way out.
    #[must_use]
    pub fn none() -> Self {
        Self {
            configuration: BTreeMap::new(),
            has_secret: false,
            endpoint: None,
            outbound: Arc::new(Closed),
        }
    }
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The settings are not secret, and still nobody's business in a log.
        f.debug_struct("Binding")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}

/// How far a call is (MCP's `notifications/progress`).
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Progress {
    /// How much is done; it only grows.
    pub progress: f64,
    /// Of how much, when that is known.
    pub total: Option<f64>,
    /// In words.
    pub message: Option<String>,
}

/// Receives the progress of a call. It is called while the plugin waits, so it must not block.
pub type ProgressSink = Arc<dyn Fn(Progress) + Send + Sync>;

/// One call, as the plugin sees it.
#[derive(Clone)]
pub struct Call {
    /// Names the call in the log; the plugin sees it too, so it must tell nothing of who calls.
    pub id: String,
    /// On whose behalf.
    pub binding: Arc<Binding>,
    /// Where progress goes.
    pub progress: Option<ProgressSink>,
    /// Cancelled when the answer is no longer wanted. (Dropping the call's future ends the plugin without a word.)
    pub cancel: CancellationToken,
}

impl Call {
    /// A call whose progress nobody watches and that nobody cancels.
    #[must_use]
    pub fn new(id: impl Into<String>, binding: Arc<Binding>) -> Self {
        Self {
            id: id.into(),
            binding,
            progress: None,
            cancel: CancellationToken::new(),
        }
    }
}

impl fmt::Debug for Call {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Call")
            .field("id", &self.id)
            .field("binding", &self.binding)
            .finish_non_exhaustive()
    }
}
