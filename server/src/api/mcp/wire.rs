//! The shapes of MCP servers and what they offer, and their conversion field by field.

use entity::{prompt, resource, resource_template, server, tool, tool_execution};
use poem_openapi::{Enum, Object};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use uuid::Uuid;

use crate::api::scalar::{AnyJson, JsonObject, JsonObjects, Milliseconds, SecretObject, Timestamp};
use crate::error::Error;
use crate::mcp::Mcp;
use crate::mcp::auth_config::AuthConfig;
use crate::mcp::definitions::{self, Difference, Refreshed, ReportedLists, ToolReport};
use crate::mcp::offers;
use crate::mcp::servers::ServerFields;

/// JSON that the server stored.
fn object(what: &'static str, text: String) -> Result<JsonObject, Error> {
    JsonObject::from_stored(text).map_err(|source| Error::Corrupt { what, source })
}

fn optional_object(what: &'static str, text: Option<String>) -> Result<Option<JsonObject>, Error> {
    text.map(|text| object(what, text)).transpose()
}

fn any(what: &'static str, text: String) -> Result<AnyJson, Error> {
    AnyJson::from_stored(text).map_err(|source| Error::Corrupt { what, source })
}

/// Text that the request's own reader accepted.
fn parsed<T>(read: serde_json::Result<T>) -> Result<T, Error> {
    read.map_err(|source| Error::Corrupt {
        what: "a request body",
        source,
    })
}

/// A MCP server to be registered.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct ServerRequest {
    /// 1 to 255 characters.
    #[oai(validator(min_length = 1, max_length = 255))]
    name: String,
    /// At most 4096 characters: a URL without passwords in it; for `stdio` a command line, `stdio://` in front or not; for `plugin`
    /// `plugin:<name>`.
    #[oai(validator(min_length = 1, max_length = 4096))]
    url: String,
    /// `stdio`, `http`, `sse`, `websocket` or `plugin`; `http` when absent.
    #[oai(nullable)]
    transport_type: Option<String>,
    /// `{"type":"bearer","token"}`, `{"type":"header","name","value"}`, `{"type":"basic","username","password"}` or
    /// `{"type":"oauth_client_credentials","token_url","client_id","client_secret","scope","resource"}`; other shapes are stored and not used.
    #[oai(nullable)]
    auth_config: Option<SecretObject>,
    /// Anything, as an object.
    #[oai(nullable)]
    capabilities: Option<JsonObject>,
    /// Whatever the caller likes, at most 255 characters; it has no meaning here.
    #[oai(nullable, validator(max_length = 255))]
    project_id: Option<String>,
    /// Which plugin carries it, or `native`, at most 255 characters; the server decides when absent.
    #[oai(nullable, validator(max_length = 255))]
    adapter: Option<String>,
    /// Whether it is in use; true when absent.
    #[oai(nullable)]
    is_active: Option<bool>,
}

impl TryFrom<ServerRequest> for ServerFields {
    type Error = Error;

    fn try_from(request: ServerRequest) -> Result<Self, Error> {
        let ServerRequest {
            name,
            url,
            transport_type,
            auth_config,
            capabilities,
            project_id,
            adapter,
            is_active,
        } = request;
        Ok(Self {
            name: Some(name),
            url: Some(url),
            transport_type,
            adapter,
            auth_config: auth(auth_config)?,
            capabilities: capabilities.map(JsonObject::into_text),
            project_id,
            is_active,
        })
    }
}

fn auth(sent: Option<SecretObject>) -> Result<Option<AuthConfig>, Error> {
    let members = sent.map(|object| parsed(object.members())).transpose()?;
    Ok(members.map(AuthConfig::new))
}

/// Changes to a MCP server: what is present changes, the rest stays.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct ServerUpdate {
    /// 1 to 255 characters.
    #[oai(nullable, validator(min_length = 1, max_length = 255))]
    name: Option<String>,
    /// At most 4096 characters.
    #[oai(nullable, validator(min_length = 1, max_length = 4096))]
    url: Option<String>,
    /// `stdio`, `http`, `sse`, `websocket` or `plugin`.
    #[oai(nullable)]
    transport_type: Option<String>,
    /// A mask that comes back in its place keeps the secret behind it; `{}` removes all.
    #[oai(nullable)]
    auth_config: Option<SecretObject>,
    /// Anything, as an object.
    #[oai(nullable)]
    capabilities: Option<JsonObject>,
    /// Whatever the caller likes, at most 255 characters.
    #[oai(nullable, validator(max_length = 255))]
    project_id: Option<String>,
    /// Which plugin carries it, or `native`, at most 255 characters.
    #[oai(nullable, validator(max_length = 255))]
    adapter: Option<String>,
    /// Whether it is in use.
    #[oai(nullable)]
    is_active: Option<bool>,
}

impl TryFrom<ServerUpdate> for ServerFields {
    type Error = Error;

    fn try_from(update: ServerUpdate) -> Result<Self, Error> {
        let ServerUpdate {
            name,
            url,
            transport_type,
            auth_config,
            capabilities,
            project_id,
            adapter,
            is_active,
        } = update;
        Ok(Self {
            name,
            url,
            transport_type,
            adapter,
            auth_config: auth(auth_config)?,
            capabilities: capabilities.map(JsonObject::into_text),
            project_id,
            is_active,
        })
    }
}

/// One MCP server.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct McpServer {
    /// UUIDv7.
    id: Uuid,
    /// The project.
    api_key_id: Uuid,
    /// What people call it.
    name: String,
    /// Where it is.
    url: String,
    /// How it is reached.
    transport_type: String,
    /// Which plugin carries it, or `native`.
    #[oai(nullable)]
    adapter: Option<String>,
    /// How this server shows who is asking, with `********` in the place of secrets.
    #[oai(nullable)]
    auth_config: Option<JsonObject>,
    /// As they were sent, or as the server declared them.
    capabilities: JsonObject,
    /// The caller's own.
    #[oai(nullable)]
    project_id: Option<String>,
    /// Whether it is in use.
    is_active: bool,
    /// Agreed on at the last discovery.
    #[oai(nullable)]
    protocol_version: Option<String>,
    /// The server's own name and version.
    #[oai(nullable)]
    server_info: Option<JsonObject>,
    /// What the server says of its use.
    #[oai(nullable)]
    instructions: Option<String>,
    /// When what it offers was stored last.
    #[oai(nullable)]
    refreshed_at: Option<Timestamp>,
    /// When it was registered.
    created_at: Timestamp,
    /// When its registration changed last.
    updated_at: Timestamp,
}

impl TryFrom<server::Model> for McpServer {
    type Error = Error;

    fn try_from(row: server::Model) -> Result<Self, Error> {
        let server::Model {
            id,
            project_id,
            name,
            url,
            transport_type,
            adapter,
            auth_config,
            auth_envelope: _,
            capabilities,
            caller_project_id,
            is_active,
            protocol_version,
            server_info,
            instructions,
            revision: _,
            refreshed_at,
            created_at,
            updated_at,
        } = row;
        Ok(Self {
            id,
            api_key_id: project_id.0,
            name,
            url,
            transport_type,
            adapter,
            auth_config: optional_object("auth_config", auth_config)?,
            capabilities: object("capabilities", capabilities)?,
            project_id: caller_project_id,
            is_active,
            protocol_version,
            server_info: optional_object("server_info", server_info)?,
            instructions,
            refreshed_at: refreshed_at.map(Timestamp),
            created_at: Timestamp(created_at),
            updated_at: Timestamp(updated_at),
        })
    }
}

/// The server of a definition.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct ServerSummary {
    /// UUIDv7.
    id: Uuid,
    /// What people call it.
    name: String,
    /// Where it is.
    url: String,
}

impl From<&server::Model> for ServerSummary {
    fn from(row: &server::Model) -> Self {
        Self {
            id: row.id,
            name: row.name.clone(),
            url: row.url.clone(),
        }
    }
}

/// What a server offers, as a client saw it. A list that is absent stays as it is; a definition that a list does not name is no longer
/// offered; a member that a definition does not have stays as it is. Names are MCP's camelCase or snake_case.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct RefreshRequest {
    /// MCP `Tool` objects.
    #[oai(nullable)]
    tools: Option<JsonObjects>,
    /// MCP `Resource` objects.
    #[oai(nullable)]
    resources: Option<JsonObjects>,
    /// MCP `ResourceTemplate` objects.
    #[serde(alias = "resourceTemplates")]
    #[oai(nullable)]
    resource_templates: Option<JsonObjects>,
    /// MCP `Prompt` objects; their `arguments` are an array, or an object.
    #[oai(nullable)]
    prompts: Option<JsonObjects>,
}

impl TryFrom<RefreshRequest> for ReportedLists {
    type Error = Error;

    fn try_from(request: RefreshRequest) -> Result<Self, Error> {
        let RefreshRequest {
            tools,
            resources,
            resource_templates,
            prompts,
        } = request;
        let list = |list: Option<JsonObjects>| list.map(|list| parsed(list.values())).transpose();
        Ok(Self {
            tools: list(tools)?,
            resources: list(resources)?,
            resource_templates: list(resource_templates)?,
            prompts: list(prompts)?,
        })
    }
}

/// A server after a refresh, with everything that it offers now.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct RefreshedServer {
    /// The server.
    server: McpServer,
    /// What it offers now.
    tools: Vec<Tool>,
    /// What it offers now.
    resources: Vec<Resource>,
    /// What it offers now.
    resource_templates: Vec<ResourceTemplate>,
    /// What it offers now.
    prompts: Vec<Prompt>,
    /// What the refresh did.
    changes: Changes,
    /// What the server sent and cannot be kept.
    skipped: Vec<Skipped>,
}

impl RefreshedServer {
    pub(super) fn new(mcp: &Mcp, refreshed: Refreshed) -> Result<Self, Error> {
        let Refreshed {
            server,
            tools,
            resources,
            resource_templates,
            prompts,
            changes,
            skipped,
        } = refreshed;
        let tools = tools.into_iter().map(|row| Tool::new(mcp, row, &server));
        let resources = resources.into_iter().map(Resource::try_from);
        let resource_templates = resource_templates.into_iter().map(ResourceTemplate::try_from);
        let prompts = prompts.into_iter().map(Prompt::try_from);
        Ok(Self {
            tools: tools.collect::<Result<_, _>>()?,
            resources: resources.collect::<Result<_, _>>()?,
            resource_templates: resource_templates.collect::<Result<_, _>>()?,
            prompts: prompts.collect::<Result<_, _>>()?,
            server: server.try_into()?,
            changes: changes.into(),
            skipped: skipped.into_iter().map(Skipped::from).collect(),
        })
    }
}

/// What a refresh did.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct Changes {
    /// New, or there again.
    added: Vec<Change>,
    /// No longer offered.
    removed: Vec<Change>,
    /// Defined otherwise than before.
    changed: Vec<Change>,
}

impl From<definitions::Changes> for Changes {
    fn from(changes: definitions::Changes) -> Self {
        let definitions::Changes {
            added,
            removed,
            changed,
        } = changes;
        let list = |list: Vec<definitions::Change>| list.into_iter().map(Change::from).collect();
        Self {
            added: list(added),
            removed: list(removed),
            changed: list(changed),
        }
    }
}

/// One definition that was added, removed or changed.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct Change {
    /// What it is.
    kind: DefinitionKind,
    /// Its id.
    id: Uuid,
    /// A tool's or prompt's name, a resource's URI, a template's URI template.
    name: String,
    /// SHA-256, hexadecimal, of the definition now; of a removed one as it was.
    digest: String,
    /// What the digest was, when it changed.
    #[oai(nullable)]
    previous_digest: Option<String>,
}

impl From<definitions::Change> for Change {
    fn from(change: definitions::Change) -> Self {
        let definitions::Change {
            kind,
            id,
            name,
            digest,
            previous_digest,
        } = change;
        Self {
            kind: kind.into(),
            id,
            name,
            digest,
            previous_digest,
        }
    }
}

/// The kinds of definitions.
#[derive(Debug, Serialize, Deserialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
pub(super) enum DefinitionKind {
    Tool,
    Resource,
    ResourceTemplate,
    Prompt,
}

impl From<definitions::Kind> for DefinitionKind {
    fn from(kind: definitions::Kind) -> Self {
        match kind {
            definitions::Kind::Tool => Self::Tool,
            definitions::Kind::Resource => Self::Resource,
            definitions::Kind::ResourceTemplate => Self::ResourceTemplate,
            definitions::Kind::Prompt => Self::Prompt,
        }
    }
}

/// A definition that a server sent and that cannot be kept.
#[derive(Debug, Serialize, Deserialize, Object)]
#[oai(rename = "SkippedDefinition")]
pub(super) struct Skipped {
    /// What it should have been.
    kind: DefinitionKind,
    /// Its place in the server's list, from 0.
    position: u64,
    /// Why it is not kept.
    reason: String,
}

impl From<definitions::Skipped> for Skipped {
    fn from(skipped: definitions::Skipped) -> Self {
        let definitions::Skipped {
            kind,
            position,
            reason,
        } = skipped;
        Self {
            kind: kind.into(),
            position: position as u64,
            reason,
        }
    }
}

/// A tool to be added to what a server offers.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct ToolRequest {
    /// The server.
    server_id: Uuid,
    /// 1 to 255 characters, unique at its server.
    #[oai(validator(min_length = 1, max_length = 255))]
    name: String,
    /// Its name for people.
    #[oai(nullable)]
    title: Option<String>,
    /// What it does.
    #[oai(nullable)]
    description: Option<String>,
    /// JSON Schema of the arguments; `inputSchema` means the same.
    #[serde(alias = "inputSchema")]
    #[oai(nullable)]
    input_schema: Option<JsonObject>,
    /// JSON Schema of the structured result; `outputSchema` means the same.
    #[serde(alias = "outputSchema")]
    #[oai(nullable)]
    output_schema: Option<JsonObject>,
    /// MCP `ToolAnnotations`.
    #[oai(nullable)]
    annotations: Option<JsonObject>,
}

impl TryFrom<ToolRequest> for ToolReport {
    type Error = Error;

    fn try_from(request: ToolRequest) -> Result<Self, Error> {
        let ToolRequest {
            server_id,
            name,
            title,
            description,
            input_schema,
            output_schema,
            annotations,
        } = request;
        let value = |object: Option<JsonObject>| -> Result<Value, Error> {
            object.map_or(Ok(Value::Null), |object| {
                parsed(serde_json::from_str(object.get()))
            })
        };
        let tool = [
            ("name", name.into()),
            ("title", title.into()),
            ("description", description.into()),
            ("input_schema", value(input_schema)?),
            ("output_schema", value(output_schema)?),
            ("annotations", value(annotations)?),
        ];
        let tool: Map<String, Value> = tool
            .into_iter()
            .map(|(name, value)| (name.to_owned(), value))
            .collect();
        Ok(Self {
            server: server_id,
            tool,
        })
    }
}

/// One tool.
#[derive(Debug, Serialize, Deserialize, Object)]
#[oai(rename = "McpTool")]
pub(super) struct Tool {
    /// UUIDv7; it stays when the definition changes, and when the tool goes and comes back.
    id: Uuid,
    /// Who offers it.
    server_id: Uuid,
    /// The project.
    api_key_id: Uuid,
    /// Its name at the server.
    name: String,
    /// Its name for people.
    #[oai(nullable)]
    title: Option<String>,
    /// What it does.
    #[oai(nullable)]
    description: Option<String>,
    /// JSON Schema of the arguments.
    input_schema: JsonObject,
    /// JSON Schema of the structured result.
    #[oai(nullable)]
    output_schema: Option<JsonObject>,
    /// MCP `ToolAnnotations`.
    #[oai(nullable)]
    annotations: Option<JsonObject>,
    /// SHA-256, hexadecimal, of the RFC 8785 form of description, both schemas and annotations.
    digest: String,
    /// The number of this definition among its versions, from 1.
    version: i64,
    /// Whether it may be executed as it is defined now: false when tools are pinned and it changed.
    is_approved: bool,
    /// Whether the server still offers it.
    is_active: bool,
    /// When it was first seen.
    created_at: Timestamp,
    /// When anything about it changed last.
    updated_at: Timestamp,
    /// Who offers it.
    server: ServerSummary,
}

impl Tool {
    pub(super) fn new(mcp: &Mcp, row: tool::Model, server: &server::Model) -> Result<Self, Error> {
        let is_approved = mcp.is_approved(&row);
        let tool::Model {
            id,
            project_id,
            server_id,
            is_active,
            created_at,
            updated_at,
            name,
            title,
            description,
            input_schema,
            output_schema,
            annotations,
            digest,
            approved_digest: _,
            version,
        } = row;
        Ok(Self {
            id,
            server_id,
            api_key_id: project_id.0,
            name,
            title,
            description,
            input_schema: object("input_schema", input_schema)?,
            output_schema: optional_object("output_schema", output_schema)?,
            annotations: optional_object("annotations", annotations)?,
            digest,
            version,
            is_approved,
            is_active,
            created_at: Timestamp(created_at),
            updated_at: Timestamp(updated_at),
            server: server.into(),
        })
    }
}

/// A definition that a tool has or had.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct ToolVersion {
    /// From 1.
    version: i64,
    /// SHA-256, hexadecimal, as the tool's.
    digest: String,
    /// What it did.
    #[oai(nullable)]
    description: Option<String>,
    /// JSON Schema of the arguments.
    input_schema: JsonObject,
    /// JSON Schema of the structured result.
    #[oai(nullable)]
    output_schema: Option<JsonObject>,
    /// MCP `ToolAnnotations`.
    #[oai(nullable)]
    annotations: Option<JsonObject>,
    /// When it was first seen.
    created_at: Timestamp,
    /// Whether it is the tool's definition now.
    is_current: bool,
    /// Whether it may be executed.
    is_approved: bool,
    /// What differs from the version before; empty for the first.
    diff: Vec<VersionDifference>,
}

impl TryFrom<offers::ToolVersion> for ToolVersion {
    type Error = Error;

    fn try_from(told: offers::ToolVersion) -> Result<Self, Error> {
        let offers::ToolVersion {
            version,
            is_current,
            is_approved,
            differences,
        } = told;
        let entity::tool_version::Model {
            tool_id: _,
            version,
            project_id: _,
            description,
            input_schema,
            output_schema,
            annotations,
            digest,
            created_at,
        } = version;
        let diff = differences.into_iter().map(VersionDifference::try_from);
        Ok(Self {
            version,
            digest,
            description,
            input_schema: object("input_schema", input_schema)?,
            output_schema: optional_object("output_schema", output_schema)?,
            annotations: optional_object("annotations", annotations)?,
            created_at: Timestamp(created_at),
            is_current,
            is_approved,
            diff: diff.collect::<Result<_, _>>()?,
        })
    }
}

/// One difference between two definitions.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct VersionDifference {
    /// `add`, `remove` or `replace`.
    op: String,
    /// A JSON Pointer (RFC 6901) into `{description, input_schema, output_schema, annotations}`.
    path: String,
    /// What was there; null when nothing was.
    #[oai(nullable)]
    from: Option<AnyJson>,
    /// What is there now; null when nothing is.
    #[oai(nullable)]
    to: Option<AnyJson>,
}

impl TryFrom<Difference> for VersionDifference {
    type Error = Error;

    fn try_from(difference: Difference) -> Result<Self, Error> {
        let Difference {
            operation,
            path,
            before,
            after,
        } = difference;
        let value = |value: Option<Value>| value.map(|value| any("a difference", value.to_string()));
        Ok(Self {
            op: operation.as_str().to_owned(),
            path,
            from: value(before).transpose()?,
            to: value(after).transpose()?,
        })
    }
}

/// One resource.
#[derive(Debug, Serialize, Deserialize, Object)]
#[oai(rename = "McpResource")]
pub(super) struct Resource {
    /// UUIDv7.
    id: Uuid,
    /// Who offers it.
    server_id: Uuid,
    /// The project.
    api_key_id: Uuid,
    /// Its URI at the server.
    uri: String,
    /// What the server calls it.
    #[oai(nullable)]
    name: Option<String>,
    /// Its name for people.
    #[oai(nullable)]
    title: Option<String>,
    /// What it is.
    #[oai(nullable)]
    description: Option<String>,
    /// Its media type.
    #[oai(nullable)]
    mime_type: Option<String>,
    /// MCP `Annotations`.
    #[oai(nullable)]
    annotations: Option<JsonObject>,
    /// Bytes, as the server says.
    #[oai(nullable)]
    size: Option<i64>,
    /// Whether the server still offers it.
    is_active: bool,
    /// When it was first seen.
    created_at: Timestamp,
    /// When anything about it changed last.
    updated_at: Timestamp,
}

impl TryFrom<resource::Model> for Resource {
    type Error = Error;

    fn try_from(row: resource::Model) -> Result<Self, Error> {
        let resource::Model {
            id,
            project_id,
            server_id,
            is_active,
            created_at,
            updated_at,
            uri,
            name,
            title,
            description,
            mime_type,
            annotations,
            size,
        } = row;
        Ok(Self {
            id,
            server_id,
            api_key_id: project_id.0,
            uri,
            name,
            title,
            description,
            mime_type,
            annotations: optional_object("annotations", annotations)?,
            size,
            is_active,
            created_at: Timestamp(created_at),
            updated_at: Timestamp(updated_at),
        })
    }
}

/// One resource template.
#[derive(Debug, Serialize, Deserialize, Object)]
#[oai(rename = "McpResourceTemplate")]
pub(super) struct ResourceTemplate {
    /// UUIDv7.
    id: Uuid,
    /// Who offers it.
    server_id: Uuid,
    /// The project.
    api_key_id: Uuid,
    /// RFC 6570.
    uri_template: String,
    /// What the server calls it.
    #[oai(nullable)]
    name: Option<String>,
    /// Its name for people.
    #[oai(nullable)]
    title: Option<String>,
    /// What it is.
    #[oai(nullable)]
    description: Option<String>,
    /// The media type of all that match, when they share one.
    #[oai(nullable)]
    mime_type: Option<String>,
    /// MCP `Annotations`.
    #[oai(nullable)]
    annotations: Option<JsonObject>,
    /// Whether the server still offers it.
    is_active: bool,
    /// When it was first seen.
    created_at: Timestamp,
    /// When anything about it changed last.
    updated_at: Timestamp,
}

impl TryFrom<resource_template::Model> for ResourceTemplate {
    type Error = Error;

    fn try_from(row: resource_template::Model) -> Result<Self, Error> {
        let resource_template::Model {
            id,
            project_id,
            server_id,
            is_active,
            created_at,
            updated_at,
            uri_template,
            name,
            title,
            description,
            mime_type,
            annotations,
        } = row;
        Ok(Self {
            id,
            server_id,
            api_key_id: project_id.0,
            uri_template,
            name,
            title,
            description,
            mime_type,
            annotations: optional_object("annotations", annotations)?,
            is_active,
            created_at: Timestamp(created_at),
            updated_at: Timestamp(updated_at),
        })
    }
}

/// One prompt.
#[derive(Debug, Serialize, Deserialize, Object)]
#[oai(rename = "McpPrompt")]
pub(super) struct Prompt {
    /// UUIDv7.
    id: Uuid,
    /// Who offers it.
    server_id: Uuid,
    /// The project.
    api_key_id: Uuid,
    /// Its name at the server.
    name: String,
    /// Its name for people.
    #[oai(nullable)]
    title: Option<String>,
    /// What it is for.
    #[oai(nullable)]
    description: Option<String>,
    /// MCP `PromptArgument` objects in an array, or the object that a client registered instead.
    arguments: AnyJson,
    /// Whether the server still offers it.
    is_active: bool,
    /// When it was first seen.
    created_at: Timestamp,
    /// When anything about it changed last.
    updated_at: Timestamp,
}

impl TryFrom<prompt::Model> for Prompt {
    type Error = Error;

    fn try_from(row: prompt::Model) -> Result<Self, Error> {
        let prompt::Model {
            id,
            project_id,
            server_id,
            is_active,
            created_at,
            updated_at,
            name,
            title,
            description,
            arguments,
        } = row;
        Ok(Self {
            id,
            server_id,
            api_key_id: project_id.0,
            name,
            title,
            description,
            arguments: any("arguments", arguments)?,
            is_active,
            created_at: Timestamp(created_at),
            updated_at: Timestamp(updated_at),
        })
    }
}

/// The record of one execution.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct ToolExecution {
    /// UUIDv7.
    id: Uuid,
    /// The tool, which may be gone.
    tool_id: Uuid,
    /// Its name when it was called.
    tool_name: String,
    /// Its server, which may be gone.
    server_id: Uuid,
    /// The conversation that it belongs to.
    #[oai(nullable)]
    conversation_id: Option<Uuid>,
    /// The call in that conversation's message that this answers.
    #[oai(nullable)]
    tool_call_id: Option<String>,
    /// The arguments.
    input: AnyJson,
    /// The result: of an execution by this server the MCP `CallToolResult`, as the tool's server sent it.
    #[oai(nullable)]
    output: Option<AnyJson>,
    /// The newest progress notifications, oldest of them first: `progress`, `total` and `message`.
    #[oai(nullable)]
    progress: Option<AnyJson>,
    /// What went wrong.
    #[oai(nullable)]
    error: Option<String>,
    /// How it ended.
    status: ExecutionStatus,
    /// How long it took.
    #[oai(nullable)]
    duration_ms: Option<Milliseconds>,
    /// When it began.
    executed_at: Timestamp,
}

impl TryFrom<tool_execution::Model> for ToolExecution {
    type Error = Error;

    fn try_from(row: tool_execution::Model) -> Result<Self, Error> {
        let tool_execution::Model {
            id,
            project_id: _,
            tool_id,
            tool_name,
            server_id,
            conversation_id,
            tool_call_id,
            input,
            output,
            progress,
            error,
            status,
            duration_ms,
            executed_at,
            ended_at: _,
            idempotency_key: _,
            request_hash: _,
            owner: _,
            heartbeat_at: _,
        } = row;
        Ok(Self {
            id,
            tool_id,
            tool_name,
            server_id,
            conversation_id,
            tool_call_id,
            input: any("input", input)?,
            output: output.map(|output| any("output", output)).transpose()?,
            progress: progress.map(|progress| any("progress", progress)).transpose()?,
            error,
            status: status.into(),
            duration_ms: duration_ms.map(Milliseconds),
            executed_at: Timestamp(executed_at),
        })
    }
}

/// How an execution ended.
#[derive(Debug, Serialize, Deserialize, Enum)]
#[serde(rename_all = "snake_case")]
#[oai(rename_all = "snake_case")]
pub(super) enum ExecutionStatus {
    Running,
    Succeeded,
    ToolError,
    Unreachable,
    TimedOut,
    LimitExceeded,
    Trapped,
    Denied,
    Cancelled,
    OutcomeUnknown,
    Recorded,
}

impl From<tool_execution::Status> for ExecutionStatus {
    fn from(status: tool_execution::Status) -> Self {
        use tool_execution::Status;
        match status {
            Status::Running => Self::Running,
            Status::Succeeded => Self::Succeeded,
            Status::ToolError => Self::ToolError,
            Status::Unreachable => Self::Unreachable,
            Status::TimedOut => Self::TimedOut,
            Status::LimitExceeded => Self::LimitExceeded,
            Status::Trapped => Self::Trapped,
            Status::Denied => Self::Denied,
            Status::Cancelled => Self::Cancelled,
            Status::OutcomeUnknown => Self::OutcomeUnknown,
            Status::Recorded => Self::Recorded,
        }
    }
}
