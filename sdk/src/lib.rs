#![doc = include_str!("../README.md")]

mod bindings;
pub mod configuration;
mod error;
pub mod http;
pub mod log;
mod plugin;
mod prompt;
mod resource;
pub mod runtime;
mod schema;
pub mod sse;
mod template;
mod tool;
pub mod transport;
pub mod types;
pub mod websocket;

pub use llmring_plugin_sdk_macros::{prompt, resource, tool};
pub use schemars;
pub use serde;
pub use serde_json;

pub use self::{
    bindings::llmring::plugin::{
        call::Call,
        types::{HostError, TransportError},
    },
    error::{Error, Result},
    plugin::VERSION,
    prompt::PromptOutput,
    resource::ResourceOutput,
    tool::{Json, Output},
};

/// What the macros' expansions name. Not for use by hand.
#[doc(hidden)]
pub mod __private {
    pub use crate::{
        bindings::{llmring::plugin::types::Error as WireError, prompts, resources, tools, transport},
        error::Answer,
        prompt::{Prompt, prompt_argument, prompt_arguments, prompt_definition, prompt_result},
        resource::{Address, Resource, listed_resource, read, resource_template},
        runtime::block_on,
        tool::{Tool, answer, arguments, definition},
        transport::Channel,
    };
}
