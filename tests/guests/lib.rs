//! What the guests have in common: a plugin with one tool, `run`.

/// Makes a plugin with the tool `run`, which evaluates the block with the arguments (a JSON text) and the call.
#[macro_export]
macro_rules! tool {
    (|$arguments:ident, $call:ident| $body:block) => {
        wit_bindgen::generate!({ path: "../../sdk/wit/since-0.1.0", world: "tool-plugin", generate_all });

        use exports::llmring::plugin::tools::{Guest, Tool, ToolError, ToolResult};
        use llmring::plugin::{
            call::Call,
            types::{Content, ContentBlock},
        };

        struct Plugin;

        impl Guest for Plugin {
            fn list_tools() -> Result<Vec<Tool>, ToolError> {
                Ok(vec![Tool {
                    name: "run".to_owned(),
                    title: None,
                    description: None,
                    input_schema: r#"{"type":"object"}"#.to_owned(),
                    output_schema: None,
                    annotations: None,
                    icons: vec![],
                    meta: None,
                }])
            }

            fn call_tool(name: String, $arguments: String, $call: &Call) -> Result<ToolResult, ToolError> {
                if name != "run" {
                    return Err(ToolError::NotFound(format!("there is no tool {name:?}")));
                }
                $body
            }
        }

        export!(Plugin);

        #[allow(dead_code)]
        fn text(text: impl Into<String>) -> Result<ToolResult, ToolError> {
            Ok(ToolResult { content: vec![block(text)], structured_content: None, is_error: false, meta: None })
        }

        #[allow(dead_code)]
        fn block(text: impl Into<String>) -> ContentBlock {
            ContentBlock { content: Content::Text(text.into()), annotations: None, meta: None }
        }
    };
}
