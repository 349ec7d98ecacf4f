//! What servers are asked for themselves: contents of resources, prompts; and over what.

use poem::Request;
use poem_openapi::param::Path;
use poem_openapi::{Object, OpenApi};
use serde::Serialize;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::wire::{Prompt, Resource, ResourceTemplate};
use crate::api::Tag;
use crate::api::auth::Caller;
use crate::api::body::{Answer, OptionalBody};
use crate::api::problem::Problem;
use crate::api::scalar::{AnyJson, JsonObject};
use crate::app::App;
use crate::error::{Error, Violation};

pub(crate) struct LiveApi;

#[OpenApi(prefix_path = "/api/v1/mcp", tag = "Tag::Mcp")]
impl LiveApi {
    /// Read a resource
    ///
    /// From its server, each time.
    #[oai(
        path = "/resources/:resource_id/content",
        method = "get",
        operation_id = "read_mcp_resource"
    )]
    async fn content(
        &self,
        caller: Caller,
        request: &Request,
        /// The resource's id.
        resource_id: Path<Uuid>,
    ) -> Result<Answer<ResourceContent>, Problem> {
        let mcp = App::of(request).mcp();
        let (resource, contents) = mcp.read_resource(caller.project, resource_id.0).await?;
        Ok(Answer(ResourceContent {
            resource: resource.try_into()?,
            content: json(&contents)?,
        }))
    }

    /// Read the resource that a template and its variables name
    ///
    /// The body is an object of variables, or `{"variables": {…}}`; the template is expanded as RFC 6570 says.
    #[oai(
        path = "/resource-templates/:resource_template_id/content",
        method = "post",
        operation_id = "read_mcp_resource_template"
    )]
    async fn template_content(
        &self,
        caller: Caller,
        request: &Request,
        /// The template's id.
        resource_template_id: Path<Uuid>,
        body: OptionalBody<JsonObject>,
    ) -> Result<Answer<ResourceTemplateContent>, Problem> {
        let mcp = App::of(request).mcp();
        let variables = members(body.0, "variables")?;
        let (template, uri, contents) = mcp
            .read_template(caller.project, resource_template_id.0, &variables)
            .await?;
        Ok(Answer(ResourceTemplateContent {
            resource_template: template.try_into()?,
            uri,
            content: json(&contents)?,
        }))
    }

    /// Render a prompt
    ///
    /// The body is an object of arguments, or `{"arguments": {…}}`.
    #[oai(
        path = "/prompts/:prompt_id/render",
        method = "post",
        operation_id = "render_mcp_prompt"
    )]
    async fn render(
        &self,
        caller: Caller,
        request: &Request,
        /// The prompt's id.
        prompt_id: Path<Uuid>,
        body: OptionalBody<JsonObject>,
    ) -> Result<Answer<RenderedPrompt>, Problem> {
        let mcp = App::of(request).mcp();
        let arguments = members(body.0, "arguments")?;
        let (prompt, rendered) = mcp.render_prompt(caller.project, prompt_id.0, &arguments).await?;
        Ok(Answer(RenderedPrompt {
            prompt: prompt.try_into()?,
            arguments: json(&Value::Object(arguments))?,
            rendered: json(&rendered)?,
        }))
    }

    /// What carries connections to MCP servers
    #[oai(path = "/adapters", method = "get", operation_id = "list_mcp_adapters")]
    async fn adapters(&self, _caller: Caller, request: &Request) -> Result<Answer<Vec<Adapter>>, Problem> {
        Ok(Answer(vec![Adapter {
            name: "native".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            digest: None,
            transports: vec!["stdio".to_owned(), "http".to_owned()],
            permissions: App::of(request).config().mcp.permissions(),
            open_sessions: App::of(request).mcp().open_sessions(),
        }]))
    }
}

/// The members of a body, or of the one member that holds them.
fn members(body: Option<JsonObject>, wrapper: &str) -> Result<Map<String, Value>, Error> {
    let text = body.as_ref().map_or("{}", JsonObject::get);
    let mut members: Map<String, Value> =
        serde_json::from_str(text).map_err(|_| Violation::body(&[], "must be an object"))?;
    match members.get_mut(wrapper).map(Value::take) {
        Some(Value::Object(inner)) if members.len() == 1 => Ok(inner),
        Some(other) => {
            members.insert(wrapper.to_owned(), other);
            Ok(members)
        }
        None => Ok(members),
    }
}

fn json(value: &Value) -> Result<AnyJson, Error> {
    AnyJson::from_stored(value.to_string()).map_err(|source| Error::Corrupt {
        what: "answer of an MCP server",
        source,
    })
}

/// A resource and what it contains.
#[derive(Debug, Serialize, Object)]
struct ResourceContent {
    /// The resource.
    resource: Resource,
    /// MCP `ResourceContents` objects, as the server sent them.
    content: AnyJson,
}

/// What a template and its variables name, and what that contains.
#[derive(Debug, Serialize, Object)]
struct ResourceTemplateContent {
    /// The template.
    resource_template: ResourceTemplate,
    /// What it expanded to.
    uri: String,
    /// MCP `ResourceContents` objects, as the server sent them.
    content: AnyJson,
}

/// A prompt with its arguments filled in.
#[derive(Debug, Serialize, Object)]
struct RenderedPrompt {
    /// The prompt.
    prompt: Prompt,
    /// The arguments, as they were sent here.
    arguments: AnyJson,
    /// `description` and `messages`, as the server sent them (MCP `GetPromptResult`).
    rendered: AnyJson,
}

/// What carries connections to MCP servers.
#[derive(Debug, Serialize, Object)]
struct Adapter {
    /// What a server row's `adapter` says.
    name: String,
    /// Its version.
    version: String,
    /// SHA-256 of the component, hexadecimal; null for what is part of this server.
    #[oai(nullable)]
    digest: Option<String>,
    /// The `transport_type`s that it carries.
    transports: Vec<String>,
    /// What the operator permits it.
    permissions: Vec<String>,
    /// Connections open now, of all projects together.
    open_sessions: usize,
}
