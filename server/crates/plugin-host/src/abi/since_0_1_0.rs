//! `llmring:plugin@0.1.0`: its bindings, and what its types are on MCP's wire.

use serde_json::value::RawValue;

use crate::{CallError, content};

wasmtime::component::bindgen!({
    path: "../../../sdk/wit/since-0.1.0",
    world: "plugin",
    imports: {
        "llmring:plugin/channel.deliver": async | trappable,
        "llmring:plugin/websocket": async | trappable,
        default: trappable,
    },
    exports: { default: async },
    with: {
        "wasi:io": wasmtime_wasi::p2::bindings::io,
        "wasi:clocks": wasmtime_wasi::p2::bindings::clocks,
        "wasi:http": wasmtime_wasi_http::p2::bindings::http,
        "llmring:plugin/call.call": crate::state::CallHandle,
        "llmring:plugin/channel.outgoing": crate::channel::OutgoingHandle,
        "llmring:plugin/websocket.connection": crate::websocket::Connection,
    },
    require_store_data_send: true,
});

use exports::llmring::plugin::{prompts, resources, tools};
use llmring::plugin::types;

/// A converted value, or the error that an answer which breaks the protocol is.
type Converted<T> = Result<T, CallError>;

impl From<types::Error> for CallError {
    fn from(error: types::Error) -> Self {
        match error {
            types::Error::InvalidArguments(types::InvalidArgument { path, message }) => {
                Self::InvalidArguments { path, message }
            }
            types::Error::NotFound(message) => Self::NotFound(message),
            types::Error::Denied(message) => Self::Denied(message),
            types::Error::Failed(message) => Self::Failed(message),
        }
    }
}

/// A text that must be a JSON object.
fn object(text: String, what: &str) -> Converted<content::Json> {
    let value = RawValue::from_string(text)
        .map_err(|error| CallError::Failed(format!("the plugin's {what} is not JSON: {error}")))?;
    if !value.get().starts_with('{') {
        return Err(CallError::Failed(format!(
            "the plugin's {what} is not a JSON object"
        )));
    }
    Ok(value)
}

fn optional_object(text: Option<String>, what: &str) -> Converted<Option<content::Json>> {
    text.map(|text| object(text, what)).transpose()
}

fn all<T, U>(values: Vec<T>, convert: impl FnMut(T) -> Converted<U>) -> Converted<Vec<U>> {
    values.into_iter().map(convert).collect()
}

pub(crate) fn tool(tool: tools::Tool) -> Converted<content::Tool> {
    let tools::Tool {
        name,
        title,
        description,
        input_schema,
        output_schema,
        annotations,
        icons,
        meta,
    } = tool;
    Ok(content::Tool {
        input_schema: object(input_schema, &format!("input schema of the tool {name:?}"))?,
        output_schema: optional_object(output_schema, &format!("output schema of the tool {name:?}"))?,
        meta: optional_object(meta, &format!("`_meta` of the tool {name:?}"))?,
        name,
        title,
        description,
        annotations: annotations.map(
            |tools::ToolAnnotations {
                 read_only_hint,
                 destructive_hint,
                 idempotent_hint,
                 open_world_hint,
             }| {
                content::ToolAnnotations {
                    read_only_hint,
                    destructive_hint,
                    idempotent_hint,
                    open_world_hint,
                }
            },
        ),
        icons: icons.into_iter().map(icon).collect(),
    })
}

pub(crate) fn tool_result(result: tools::ToolResult) -> Converted<content::ToolResult> {
    let tools::ToolResult {
        content,
        structured_content,
        is_error,
        meta,
    } = result;
    Ok(content::ToolResult {
        content: all(content, content_block)?,
        structured_content: optional_object(structured_content, "structured content")?,
        is_error,
        meta: optional_object(meta, "`_meta` of the result")?,
    })
}

pub(crate) fn resource(resource: resources::ListedResource) -> Converted<content::Resource> {
    let resources::ListedResource {
        uri,
        name,
        title,
        description,
        mime_type,
        size,
        annotations: hints,
        icons,
        meta,
    } = resource;
    Ok(content::Resource {
        meta: optional_object(meta, &format!("`_meta` of the resource {uri:?}"))?,
        uri,
        name,
        title,
        description,
        mime_type,
        size,
        annotations: hints.map(annotations),
        icons: icons.into_iter().map(icon).collect(),
    })
}

pub(crate) fn resource_template(
    template: resources::ResourceTemplate,
) -> Converted<content::ResourceTemplate> {
    let resources::ResourceTemplate {
        uri_template,
        name,
        title,
        description,
        mime_type,
        annotations: hints,
        icons,
        meta,
    } = template;
    Ok(content::ResourceTemplate {
        meta: optional_object(
            meta,
            &format!("`_meta` of the resource template {uri_template:?}"),
        )?,
        uri_template,
        name,
        title,
        description,
        mime_type,
        annotations: hints.map(annotations),
        icons: icons.into_iter().map(icon).collect(),
    })
}

pub(crate) fn resource_contents(contents: types::ResourceContents) -> Converted<content::ResourceContents> {
    let types::ResourceContents {
        uri,
        mime_type,
        body,
        meta,
    } = contents;
    Ok(content::ResourceContents {
        uri,
        mime_type,
        body: match body {
            types::ResourceBody::Text(text) => content::ResourceBody::Text(text),
            types::ResourceBody::Blob(bytes) => content::ResourceBody::Blob(content::Bytes(bytes)),
        },
        meta: optional_object(meta, "`_meta` of a resource's contents")?,
    })
}

pub(crate) fn prompt(prompt: prompts::Prompt) -> Converted<content::Prompt> {
    let prompts::Prompt {
        name,
        title,
        description,
        arguments,
        icons,
        meta,
    } = prompt;
    Ok(content::Prompt {
        meta: optional_object(meta, &format!("`_meta` of the prompt {name:?}"))?,
        name,
        title,
        description,
        arguments: arguments
            .into_iter()
            .map(
                |prompts::PromptArgument {
                     name,
                     title,
                     description,
                     required,
                 }| content::PromptArgument {
                    name,
                    title,
                    description,
                    required,
                },
            )
            .collect(),
        icons: icons.into_iter().map(icon).collect(),
    })
}

pub(crate) fn prompt_result(result: prompts::PromptResult) -> Converted<content::PromptResult> {
    let prompts::PromptResult {
        description,
        messages,
        meta,
    } = result;
    Ok(content::PromptResult {
        description,
        messages: all(
            messages,
            |prompts::PromptMessage {
                 role: speaker,
                 content,
             }| {
                Ok(content::PromptMessage {
                    role: role(speaker),
                    content: content_block(content)?,
                })
            },
        )?,
        meta: optional_object(meta, "`_meta` of the prompt")?,
    })
}

fn content_block(block: types::ContentBlock) -> Converted<content::ContentBlock> {
    let types::ContentBlock {
        content,
        annotations: hints,
        meta,
    } = block;
    Ok(content::ContentBlock {
        content: match content {
            types::Content::Text(text) => content::Content::Text { text },
            types::Content::Image(types::Media { data, mime_type }) => content::Content::Image {
                data: content::Bytes(data),
                mime_type,
            },
            types::Content::Audio(types::Media { data, mime_type }) => content::Content::Audio {
                data: content::Bytes(data),
                mime_type,
            },
            types::Content::ResourceLink(types::ResourceLink {
                uri,
                name,
                title,
                description,
                mime_type,
                size,
                icons,
            }) => content::Content::ResourceLink {
                uri,
                name,
                title,
                description,
                mime_type,
                size,
                icons: icons.into_iter().map(icon).collect(),
            },
            types::Content::EmbeddedResource(contents) => content::Content::Resource {
                resource: resource_contents(contents)?,
            },
        },
        annotations: hints.map(annotations),
        meta: optional_object(meta, "`_meta` of a content block")?,
    })
}

fn annotations(annotations: types::Annotations) -> content::Annotations {
    let types::Annotations {
        audience,
        priority,
        last_modified,
    } = annotations;
    content::Annotations {
        audience: audience.into_iter().map(role).collect(),
        priority,
        last_modified,
    }
}

fn icon(icon: types::Icon) -> content::Icon {
    let types::Icon {
        src,
        mime_type,
        sizes,
        theme,
    } = icon;
    content::Icon {
        src,
        mime_type,
        sizes,
        theme,
    }
}

fn role(role: types::Role) -> content::Role {
    match role {
        types::Role::User => content::Role::User,
        types::Role::Assistant => content::Role::Assistant,
    }
}
