//! The Model Context Protocol's types, as the contract in `wit/` has them, and short ways to make them.

pub use crate::bindings::{
    llmring::plugin::types::{
        Annotations, Content, ContentBlock, Icon, Media, Rejection, ResourceBody, ResourceContents,
        ResourceLink, Role,
    },
    prompts::exports::llmring::plugin::prompts::{
        Prompt as PromptDefinition, PromptArgument as PromptArgumentDefinition, PromptMessage, PromptResult,
    },
    resources::exports::llmring::plugin::resources::{ListedResource, ResourceTemplate},
    tools::exports::llmring::plugin::tools::{Tool as ToolDefinition, ToolAnnotations, ToolResult},
};

impl From<Content> for ContentBlock {
    fn from(content: Content) -> Self {
        Self {
            content,
            annotations: None,
            meta: None,
        }
    }
}

impl From<String> for Content {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Content {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<Content> for ToolResult {
    fn from(content: Content) -> Self {
        vec![content.into()].into()
    }
}

impl From<Vec<ContentBlock>> for ToolResult {
    fn from(content: Vec<ContentBlock>) -> Self {
        Self {
            content,
            structured_content: None,
            is_error: false,
            meta: None,
        }
    }
}

impl PromptMessage {
    /// A message that the user says.
    pub fn user(content: impl Into<Content>) -> Self {
        Self::of(Role::User, content)
    }

    /// A message that the assistant says.
    pub fn assistant(content: impl Into<Content>) -> Self {
        Self::of(Role::Assistant, content)
    }

    fn of(role: Role, content: impl Into<Content>) -> Self {
        Self {
            role,
            content: content.into().into(),
        }
    }
}
