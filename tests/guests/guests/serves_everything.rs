//! Has tools, resources and prompts, and uses every member that there is.

wit_bindgen::generate!({
    path: "../../sdk/wit/since-0.1.0",
    inline: "
        package test:guest;
        world guest {
            include llmring:plugin/imports@0.1.0;
            export llmring:plugin/tools@0.1.0;
            export llmring:plugin/resources@0.1.0;
            export llmring:plugin/prompts@0.1.0;
        }
    ",
    world: "test:guest/guest",
    generate_all,
});

use exports::llmring::plugin::{
    prompts::{self, Prompt, PromptArgument, PromptError, PromptMessage, PromptResult},
    resources::{self, ListedResource, ResourceError, ResourceTemplate},
    tools::{self, Tool, ToolAnnotations, ToolError, ToolResult},
};
use llmring::plugin::{
    call::Call,
    types::{
        Annotations, Content, ContentBlock, Icon, Media, ResourceBody, ResourceContents, ResourceLink, Role,
    },
};

struct Plugin;

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn icons() -> Vec<Icon> {
    vec![Icon {
        src: "https://example.com/icon.png".to_owned(),
        mime_type: some("image/png"),
        sizes: vec!["48x48".to_owned()],
        theme: some("dark"),
    }]
}

fn annotations() -> Option<Annotations> {
    Some(Annotations {
        audience: vec![Role::User, Role::Assistant],
        priority: Some(0.5),
        last_modified: some("2025-01-12T15:00:58Z"),
    })
}

fn meta() -> Option<String> {
    some(r#"{"example.com/exact":1.10}"#)
}

fn poem() -> ResourceContents {
    ResourceContents {
        uri: "poem://one".to_owned(),
        mime_type: some("text/plain"),
        body: ResourceBody::Text("Tyger Tyger".to_owned()),
        meta: meta(),
    }
}

fn block(content: Content) -> ContentBlock {
    ContentBlock {
        content,
        annotations: None,
        meta: None,
    }
}

impl tools::Guest for Plugin {
    fn list_tools() -> Result<Vec<Tool>, ToolError> {
        Ok(vec![Tool {
            name: "show".to_owned(),
            title: some("Show"),
            description: some("Shows everything."),
            input_schema: r#"{"type":"object","properties":{"n":{"type":"number","maximum":1e400}}}"#
                .to_owned(),
            output_schema: some(r#"{"type":"object"}"#),
            annotations: Some(ToolAnnotations {
                read_only_hint: Some(true),
                destructive_hint: Some(false),
                idempotent_hint: None,
                open_world_hint: Some(true),
            }),
            icons: icons(),
            meta: meta(),
        }])
    }

    fn call_tool(_: String, _: String, _: &Call) -> Result<ToolResult, ToolError> {
        let media = || Media {
            data: vec![0, 255, 16],
            mime_type: "image/png".to_owned(),
        };
        Ok(ToolResult {
            content: vec![
                ContentBlock {
                    content: Content::Text("text".to_owned()),
                    annotations: annotations(),
                    meta: meta(),
                },
                block(Content::Image(media())),
                block(Content::Audio(media())),
                block(Content::ResourceLink(ResourceLink {
                    uri: "poem://one".to_owned(),
                    name: "one".to_owned(),
                    title: some("One"),
                    description: some("A poem"),
                    mime_type: some("text/plain"),
                    size: Some(11),
                    icons: icons(),
                })),
                block(Content::EmbeddedResource(poem())),
            ],
            structured_content: some(r#"{"b":1.0,"a":9007199254740993}"#),
            is_error: true,
            meta: meta(),
        })
    }
}

impl resources::Guest for Plugin {
    fn list_resources() -> Result<Vec<ListedResource>, ResourceError> {
        Ok(vec![ListedResource {
            uri: "poem://one".to_owned(),
            name: "one".to_owned(),
            title: some("One"),
            description: some("A poem"),
            mime_type: some("text/plain"),
            size: Some(11),
            annotations: annotations(),
            icons: icons(),
            meta: meta(),
        }])
    }

    fn list_resource_templates() -> Result<Vec<ResourceTemplate>, ResourceError> {
        Ok(vec![ResourceTemplate {
            uri_template: "poem://{name}".to_owned(),
            name: "poem".to_owned(),
            title: None,
            description: None,
            mime_type: None,
            annotations: None,
            icons: vec![],
            meta: None,
        }])
    }

    fn read_resource(uri: String, _: &Call) -> Result<Vec<ResourceContents>, ResourceError> {
        if uri != "poem://one" {
            return Err(ResourceError::NotFound(format!("there is no resource {uri:?}")));
        }
        let bytes = ResourceContents {
            mime_type: None,
            body: ResourceBody::Blob(vec![1, 2]),
            meta: None,
            ..poem()
        };
        Ok(vec![poem(), bytes])
    }
}

impl prompts::Guest for Plugin {
    fn list_prompts() -> Result<Vec<Prompt>, PromptError> {
        Ok(vec![Prompt {
            name: "rhyme".to_owned(),
            title: some("Rhyme"),
            description: some("Asks for a rhyme."),
            arguments: vec![PromptArgument {
                name: "word".to_owned(),
                title: None,
                description: some("What to rhyme with"),
                required: true,
            }],
            icons: vec![],
            meta: None,
        }])
    }

    fn get_prompt(_: String, arguments: String, _: &Call) -> Result<PromptResult, PromptError> {
        Ok(PromptResult {
            description: some("A rhyme"),
            messages: vec![PromptMessage {
                role: Role::User,
                content: block(Content::Text(arguments)),
            }],
            meta: None,
        })
    }
}

export!(Plugin);
