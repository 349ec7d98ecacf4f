//! Has everything, and panics in every export that is not a list.

wit_bindgen::generate!({ path: "../../sdk/wit/since-0.1.0", world: "plugin", generate_all });

use exports::llmring::plugin::{
    prompts::{self, Prompt, PromptError, PromptResult},
    resources::{self, ListedResource, ResourceError, ResourceTemplate},
    tools::{self, Tool, ToolError, ToolResult},
    transport,
};
use llmring::plugin::{
    call::Call,
    types::{ResourceContents, TransportError},
};

struct Plugin;

impl tools::Guest for Plugin {
    fn list_tools() -> Result<Vec<Tool>, ToolError> {
        Ok(vec![])
    }

    fn call_tool(_: String, _: String, _: &Call) -> Result<ToolResult, ToolError> {
        panic!("in a tool")
    }
}

impl resources::Guest for Plugin {
    fn list_resources() -> Result<Vec<ListedResource>, ResourceError> {
        Ok(vec![])
    }

    fn list_resource_templates() -> Result<Vec<ResourceTemplate>, ResourceError> {
        Ok(vec![])
    }

    fn read_resource(_: String, _: &Call) -> Result<Vec<ResourceContents>, ResourceError> {
        panic!("in a resource")
    }
}

impl prompts::Guest for Plugin {
    fn list_prompts() -> Result<Vec<Prompt>, PromptError> {
        Ok(vec![])
    }

    fn get_prompt(_: String, _: String, _: &Call) -> Result<PromptResult, PromptError> {
        panic!("in a prompt")
    }
}

impl transport::Guest for Plugin {
    fn run(_: String) -> Result<(), TransportError> {
        panic!("in a transport")
    }
}

export!(Plugin);
