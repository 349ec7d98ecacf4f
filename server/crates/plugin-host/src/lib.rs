//! Runs plugins: WebAssembly components with no authority but what their operator granted.
//!
//! A plugin is loaded once ([`Plugin::load`]) and then called; every call has an instance, a store and limits of its own
//! and ends in an [`Execution`]. A transport ([`Transport::open`]) keeps one instance for as long as it is open. What a
//! plugin sends goes through the server's [`Outbound`].

mod abi;
mod binding;
mod channel;
mod code_cache;
mod component;
mod content;
mod error;
mod gate;
mod grants;
mod guest;
mod host;
mod http;
mod limits;
mod log;
mod manifest;
mod meter;
mod outbound;
mod plugin;
mod state;
mod transport;
mod websocket;

pub use self::{
    binding::{Binding, Call, Progress, ProgressSink},
    code_cache::CodeCache,
    component::{Inspection, SUPPORTED_VERSIONS, VERSION_SECTION, inspect},
    content::{
        Annotations, Bytes, Content, ContentBlock, Description, Icon, Json, Prompt, PromptArgument,
        PromptMessage, PromptResult, Resource, ResourceBody, ResourceContents, ResourceTemplate, Role, Tool,
        ToolAnnotations, ToolResult,
    },
    error::{CallError, LoadError},
    grants::Grants,
    host::{Host, Settings, StartError},
    limits::{Limit, LimitChanges, LimitExceeded, Limits},
    manifest::{MANIFEST_SECTION, Manifest, Permissions, Provides},
    meter::Usage,
    outbound::{Body, BodyError, Closed, Dialled, Duplex, Outbound, OutboundError},
    plugin::{CounterReadings, Execution, Plugin},
    transport::{Transport, TransportError, TransportSender},
};
