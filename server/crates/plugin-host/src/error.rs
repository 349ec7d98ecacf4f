//! How a call can end other than well, and why a plugin is not loaded.

use std::time::Duration;

use crate::LimitExceeded;

/// Why a plugin did not answer a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The guest did something impossible: it panicked, read outside its memory, ran out of stack, called `exit`.
    #[error("the plugin crashed: {0}")]
    Trap(String),
    /// A limit ended the call.
    #[error(transparent)]
    Limit(#[from] LimitExceeded),
    /// The plugin could not do it without something that was not granted to it.
    #[error("{0}")]
    Denied(String),
    /// The plugin says that it failed, or what it answered is not what the protocol allows.
    #[error("{0}")]
    Failed(String),
    /// The plugin has no tool, resource or prompt of that name, or has none at all.
    #[error("{0}")]
    NotFound(String),
    /// The plugin does not take these arguments.
    #[error("{}{message}", if path.is_empty() { String::new() } else { format!("{path}: ") })]
    InvalidArguments {
        /// An RFC 6901 JSON Pointer into the arguments.
        path: String,
        /// What is wrong there.
        message: String,
    },
    /// As many calls as permitted are running and waiting.
    #[error("{0}")]
    Busy(String),
    /// The plugin crashed so often in succession that it is left alone for a while.
    #[error("the plugin crashed repeatedly and is not called for another {retry_after:?}")]
    Broken {
        /// When it is tried again.
        retry_after: Duration,
    },
    /// The caller no longer wanted the answer.
    #[error("the call was cancelled")]
    Cancelled,
    /// The host itself is at fault.
    #[error("the plugin host failed: {0}")]
    Host(String),
}

/// Why a component is not a plugin, or not one that this host can run.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The bytes are no WebAssembly component.
    #[error("not a WebAssembly component: {0}")]
    Malformed(String),
    /// It is larger than permitted.
    #[error("the component has {bytes} bytes, more than the {limit} permitted")]
    TooLarge {
        /// Its size.
        bytes: usize,
        /// The largest permitted.
        limit: usize,
    },
    /// It was built for a version of the plugin interface that this host does not speak.
    #[error("the plugin speaks llmring:plugin@{plugin}, and this server speaks {}", supported.join(", "))]
    Version {
        /// The plugin's version.
        plugin: String,
        /// The host's versions.
        supported: &'static [&'static str],
    },
    /// It is not on the operator's list of permitted components.
    #[error("the component's digest {digest} is not on the list of permitted ones")]
    UnknownDigest {
        /// Its SHA-256, in hexadecimal.
        digest: String,
    },
    /// It belongs to another world.
    #[error(
        "the component exports nothing of llmring:plugin (tools, resources, prompts or transport); it exports {}",
        if exports.is_empty() { "nothing".to_owned() } else { exports.join(", ") }
    )]
    ForeignWorld {
        /// What it exports.
        exports: Vec<String>,
    },
    /// It imports what this host does not have, or has in another shape.
    #[error("the component cannot be linked: {0}")]
    Unlinkable(String),
    /// Its manifest cannot be read.
    #[error("the plugin's manifest is wrong: {0}")]
    Manifest(String),
    /// It failed to describe itself.
    #[error("the plugin failed when it was asked to describe itself: {0}")]
    Description(#[source] CallError),
    /// What the operator granted cannot be had.
    #[error("{0}")]
    Grants(String),
}
