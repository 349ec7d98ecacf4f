//! A plugin that wants something that no host has.

wit_bindgen::generate!({
    path: "../../sdk/wit/since-0.1.0",
    inline: "
        package test:guest;
        interface launcher {
            launch: func(codes: string) -> bool;
        }
        world guest {
            include llmring:plugin/imports@0.1.0;
            import launcher;
            export llmring:plugin/tools@0.1.0;
        }
    ",
    world: "test:guest/guest",
    generate_all,
});

use exports::llmring::plugin::tools::{Guest, Tool, ToolError, ToolResult};
use llmring::plugin::call::Call;

struct Plugin;

impl Guest for Plugin {
    fn list_tools() -> Result<Vec<Tool>, ToolError> {
        Ok(vec![])
    }

    fn call_tool(_: String, codes: String, _: &Call) -> Result<ToolResult, ToolError> {
        let launched = test::guest::launcher::launch(&codes);
        Ok(ToolResult {
            content: vec![],
            structured_content: None,
            is_error: launched,
            meta: None,
        })
    }
}

export!(Plugin);
