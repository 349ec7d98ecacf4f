//! Panics when it is asked what it offers.

wit_bindgen::generate!({ path: "../../sdk/wit/since-0.1.0", world: "tool-plugin", generate_all });

use exports::llmring::plugin::tools::{Guest, Tool, ToolError, ToolResult};
use llmring::plugin::call::Call;

struct Plugin;

impl Guest for Plugin {
    fn list_tools() -> Result<Vec<Tool>, ToolError> {
        panic!("nothing to see here")
    }

    fn call_tool(_: String, _: String, _: &Call) -> Result<ToolResult, ToolError> {
        panic!("nothing to do here")
    }
}

export!(Plugin);
