//! Tools: what `#[tool]` makes of a function.

use schemars::JsonSchema;
use serde::{Serialize, de::DeserializeOwned};

use crate::{
    Call, Error, Result,
    bindings::llmring::plugin::types,
    schema,
    types::{Content, ContentBlock, ToolAnnotations, ToolDefinition, ToolResult},
};

/// A tool. `#[tool]` implements it for a type with the function's name.
pub trait Tool {
    /// The name that it is called by.
    const NAME: &'static str;

    /// What a list of tools says of it.
    fn definition() -> ToolDefinition;

    /// Runs it; `arguments` is a JSON object.
    fn call(arguments: &str, call: &Call) -> Result<ToolResult, types::Error>;
}

/// What a tool can answer.
pub trait Output {
    /// The JSON Schema of its structured content, an object's; none when it has no such content.
    fn schema() -> Option<serde_json::Value> {
        None
    }

    /// The answer in MCP's form.
    ///
    /// # Errors
    /// It cannot be written down.
    fn into_result(self) -> Result<ToolResult>;
}

/// A result that is JSON: structured content, and the same as text for clients that read only that.
///
/// MCP's structured content is an object. A `T` that is written as anything else is answered as text alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T: Serialize + JsonSchema> Output for Json<T> {
    fn schema() -> Option<serde_json::Value> {
        let schema = schema::written::<T>();
        (schema.get("type")? == "object").then_some(schema)
    }

    fn into_result(self) -> Result<ToolResult> {
        let text = serde_json::to_string(&self.0)?;
        let structured = text.starts_with('{').then(|| text.clone());
        Ok(ToolResult {
            structured_content: structured,
            ..ToolResult::from(Content::Text(text))
        })
    }
}

impl Output for ToolResult {
    fn into_result(self) -> Result<ToolResult> {
        Ok(self)
    }
}

/// No content.
impl Output for () {
    fn into_result(self) -> Result<ToolResult> {
        Ok(ToolResult::from(Vec::new()))
    }
}

impl Output for Content {
    fn into_result(self) -> Result<ToolResult> {
        Ok(self.into())
    }
}

impl Output for Vec<ContentBlock> {
    fn into_result(self) -> Result<ToolResult> {
        Ok(self.into())
    }
}

impl Output for String {
    fn into_result(self) -> Result<ToolResult> {
        Content::Text(self).into_result()
    }
}

impl Output for &str {
    fn into_result(self) -> Result<ToolResult> {
        self.to_owned().into_result()
    }
}

/// What a list of tools says of a tool that takes `A` and answers `O`.
pub fn definition<A: JsonSchema, O: Output>(
    name: &str,
    title: Option<&str>,
    description: Option<&str>,
    annotations: Option<ToolAnnotations>,
) -> ToolDefinition {
    ToolDefinition {
        name: name.to_owned(),
        title: title.map(str::to_owned),
        description: description.map(str::to_owned),
        input_schema: schema::read::<A>().to_string(),
        output_schema: O::schema().map(|schema| schema.to_string()),
        annotations,
        icons: Vec::new(),
        meta: None,
    }
}

/// Reads a tool's arguments.
pub fn arguments<A: DeserializeOwned>(arguments: &str) -> Result<A, types::Error> {
    let mut json = serde_json::Deserializer::from_str(arguments);
    serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = pointer(error.path());
        types::Error::InvalidArguments(types::InvalidArgument {
            path,
            message: error.into_inner().to_string(),
        })
    })
}

/// What the host gets of what a tool answered.
pub fn answer<O: Output>(answer: Result<O, impl Into<Error>>) -> Result<ToolResult, types::Error> {
    match answer.map_err(Into::into).and_then(Output::into_result) {
        Ok(result) => Ok(result),
        Err(Error::Failed(message)) => Ok(ToolResult {
            is_error: true,
            ..ToolResult::from(Content::Text(message))
        }),
        Err(error) => Err(error.into()),
    }
}

/// A path as an RFC 6901 JSON Pointer.
fn pointer(path: &serde_path_to_error::Path) -> String {
    use serde_path_to_error::Segment;
    let mut pointer = String::new();
    for segment in path {
        let token = match segment {
            Segment::Seq { index } => index.to_string(),
            Segment::Map { key } => key.clone(),
            Segment::Enum { variant } => variant.clone(),
            Segment::Unknown => break,
        };
        pointer.push('/');
        pointer.push_str(&token.replace('~', "~0").replace('/', "~1"));
    }
    pointer
}
