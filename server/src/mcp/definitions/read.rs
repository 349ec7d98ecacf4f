//! Reading definitions from JSON: MCP's camelCase, or the same names in snake_case.

use std::collections::HashSet;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{Kind, Skipped, Source};
use crate::config::DefinitionsConfig;
use crate::error::{Error, Result, Violation};

/// Longest name of a tool or prompt.
const MAX_NAME_CHARS: usize = 255;
/// The same in bytes: names and URIs are index entries.
const MAX_NAME_BYTES: usize = 512;
/// Longest URI.
const MAX_URI_BYTES: usize = 2048;

/// What a client says that a server offers. A list that is absent stays as it is.
#[derive(Clone, Debug, Default)]
pub struct ReportedLists {
    /// MCP `Tool` objects.
    pub tools: Option<Vec<Value>>,
    /// MCP `Resource` objects.
    pub resources: Option<Vec<Value>>,
    /// MCP `ResourceTemplate` objects.
    pub resource_templates: Option<Vec<Value>>,
    /// MCP `Prompt` objects.
    pub prompts: Option<Vec<Value>>,
}

/// One tool that a client says a server offers.
#[derive(Clone, Debug)]
pub struct ToolReport {
    /// The server.
    pub server: Uuid,
    /// A MCP `Tool` object.
    pub tool: Map<String, Value>,
}

/// Definitions that can be stored.
#[derive(Debug)]
pub(in crate::mcp) struct Lists {
    pub(super) source: Source,
    pub(super) tools: Option<Vec<ToolDefinition>>,
    pub(super) resources: Option<Vec<ResourceDefinition>>,
    pub(super) resource_templates: Option<Vec<ResourceTemplateDefinition>>,
    pub(super) prompts: Option<Vec<PromptDefinition>>,
}

#[derive(Debug)]
pub(in crate::mcp) struct ToolDefinition {
    pub(in crate::mcp) name: String,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) input_schema: Option<Value>,
    pub(super) output_schema: Option<Value>,
    pub(super) annotations: Option<Value>,
}

#[derive(Debug)]
pub(super) struct ResourceDefinition {
    pub(super) uri: String,
    pub(super) name: Option<String>,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) mime_type: Option<String>,
    pub(super) annotations: Option<Value>,
    pub(super) size: Option<i64>,
}

#[derive(Debug)]
pub(super) struct ResourceTemplateDefinition {
    pub(super) uri_template: String,
    pub(super) name: Option<String>,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) mime_type: Option<String>,
    pub(super) annotations: Option<Value>,
}

#[derive(Debug)]
pub(super) struct PromptDefinition {
    pub(super) name: String,
    pub(super) title: Option<String>,
    pub(super) description: Option<String>,
    pub(super) arguments: Option<Value>,
}

impl Lists {
    /// Everything or nothing: a client can mend what it sent.
    pub(in crate::mcp) fn reported(lists: ReportedLists, limits: &DefinitionsConfig) -> Result<Self> {
        let ReportedLists {
            tools,
            resources,
            resource_templates,
            prompts,
        } = lists;
        let mut violations = Vec::new();
        let read = Self {
            source: Source::Client,
            tools: tools.map(|list| strict(list, limits, &mut violations)),
            resources: resources.map(|list| strict(list, limits, &mut violations)),
            resource_templates: resource_templates.map(|list| strict(list, limits, &mut violations)),
            prompts: prompts.map(|list| strict(list, limits, &mut violations)),
        };
        if violations.is_empty() {
            Ok(read)
        } else {
            Err(Error::Invalid(violations))
        }
    }

    /// What can be kept: one odd definition does not hide a server's others.
    pub(in crate::mcp) fn discovered(
        tools: Vec<Value>,
        resources: Vec<Value>,
        resource_templates: Vec<Value>,
        prompts: Vec<Value>,
        limits: &DefinitionsConfig,
    ) -> (Self, Vec<Skipped>) {
        let mut skipped = Vec::new();
        let read = Self {
            source: Source::Server,
            tools: Some(lenient(tools, limits, &mut skipped)),
            resources: Some(lenient(resources, limits, &mut skipped)),
            resource_templates: Some(lenient(resource_templates, limits, &mut skipped)),
            prompts: Some(lenient(prompts, limits, &mut skipped)),
        };
        (read, skipped)
    }
}

impl ToolDefinition {
    /// A tool alone; places in refusals are members of the body.
    pub(in crate::mcp) fn reported(tool: Map<String, Value>, limits: &DefinitionsConfig) -> Result<Self> {
        one(Value::Object(tool), limits).map_err(|faults| {
            let violations = faults.iter().map(|(member, message)| at(&[], member, message));
            Error::Invalid(violations.collect())
        })
    }
}

/// A definition that is read from a JSON object.
pub(super) trait Definition: Sized {
    const KIND: Kind;

    fn read(members: &mut Members) -> Option<Self>;

    /// What tells it from the others of its list.
    fn key(&self) -> &str;
}

impl Definition for ToolDefinition {
    const KIND: Kind = Kind::Tool;

    fn read(members: &mut Members) -> Option<Self> {
        Some(Self {
            title: members.text(&["title"]),
            description: members.text(&["description"]),
            input_schema: members.object(&["inputSchema", "input_schema"]),
            output_schema: members.object(&["outputSchema", "output_schema"]),
            annotations: members.object(&["annotations"]),
            name: members.name()?,
        })
    }

    fn key(&self) -> &str {
        &self.name
    }
}

impl Definition for ResourceDefinition {
    const KIND: Kind = Kind::Resource;

    fn read(members: &mut Members) -> Option<Self> {
        Some(Self {
            name: members.text(&["name"]),
            title: members.text(&["title"]),
            description: members.text(&["description"]),
            mime_type: members.text(&["mimeType", "mime_type"]),
            annotations: members.object(&["annotations"]),
            size: members.size(),
            uri: members.uri(&["uri"])?,
        })
    }

    fn key(&self) -> &str {
        &self.uri
    }
}

impl Definition for ResourceTemplateDefinition {
    const KIND: Kind = Kind::ResourceTemplate;

    fn read(members: &mut Members) -> Option<Self> {
        Some(Self {
            name: members.text(&["name"]),
            title: members.text(&["title"]),
            description: members.text(&["description"]),
            mime_type: members.text(&["mimeType", "mime_type"]),
            annotations: members.object(&["annotations"]),
            uri_template: members.uri(&["uriTemplate", "uri_template"])?,
        })
    }

    fn key(&self) -> &str {
        &self.uri_template
    }
}

impl Definition for PromptDefinition {
    const KIND: Kind = Kind::Prompt;

    fn read(members: &mut Members) -> Option<Self> {
        Some(Self {
            title: members.text(&["title"]),
            description: members.text(&["description"]),
            arguments: members.arguments(),
            name: members.name()?,
        })
    }

    fn key(&self) -> &str {
        &self.name
    }
}

/// Member and what is wrong with it; no member when it is the whole.
type Fault = (&'static str, String);

/// The members of one definition, and what is wrong with them.
pub(super) struct Members {
    members: Map<String, Value>,
    faults: Vec<Fault>,
}

impl Members {
    /// The first of these names that has a value; null is none.
    fn take(&mut self, names: &[&'static str]) -> Option<Value> {
        names
            .iter()
            .find_map(|name| self.members.remove(*name).filter(|value| !value.is_null()))
    }

    fn fault(&mut self, member: &'static str, message: impl Into<String>) {
        self.faults.push((member, message.into()));
    }

    fn text(&mut self, names: &[&'static str]) -> Option<String> {
        match self.take(names)? {
            Value::String(text) => Some(text),
            _ => {
                self.fault(names[0], "must be a text");
                None
            }
        }
    }

    fn object(&mut self, names: &[&'static str]) -> Option<Value> {
        let value = self.take(names)?;
        if !value.is_object() {
            self.fault(names[0], "must be an object");
        }
        Some(value)
    }

    fn required(&mut self, names: &[&'static str], most_bytes: usize) -> Option<String> {
        let before = self.faults.len();
        let text = self.text(names);
        match text.as_deref() {
            Some("") => self.fault(names[0], "must not be empty"),
            Some(text) if text.len() > most_bytes => {
                self.fault(names[0], format!("must not be longer than {most_bytes} bytes"));
            }
            None if self.faults.len() == before => self.fault(names[0], "is required"),
            Some(_) | None => {}
        }
        text
    }

    fn name(&mut self) -> Option<String> {
        let name = self.required(&["name"], MAX_NAME_BYTES)?;
        if name.chars().count() > MAX_NAME_CHARS {
            self.fault(
                "name",
                format!("must not be longer than {MAX_NAME_CHARS} characters"),
            );
        }
        Some(name)
    }

    fn uri(&mut self, names: &[&'static str]) -> Option<String> {
        self.required(names, MAX_URI_BYTES)
    }

    fn size(&mut self) -> Option<i64> {
        let size = self.take(&["size"])?;
        let bytes = size.as_i64().filter(|bytes| *bytes >= 0);
        if bytes.is_none() {
            self.fault("size", "must be a whole number that is not negative");
        }
        bytes
    }

    /// MCP has an array of objects; clients register objects as well.
    fn arguments(&mut self) -> Option<Value> {
        let arguments = self.take(&["arguments"])?;
        let usable = match &arguments {
            Value::Object(_) => true,
            Value::Array(items) => items.iter().all(Value::is_object),
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => false,
        };
        if !usable {
            self.fault("arguments", "must be an array of objects, or an object");
        }
        Some(arguments)
    }
}

fn one<D: Definition>(value: Value, limits: &DefinitionsConfig) -> Result<D, Vec<Fault>> {
    let whole = |message: String| vec![("", message)];
    let bytes = value.to_string().len();
    if bytes > limits.max_bytes {
        let message = format!(
            "must not be larger than {} bytes, has {bytes} (LLMRING_MCP_MAX_DEFINITION_BYTES)",
            limits.max_bytes
        );
        return Err(whole(message));
    }
    if has_nul(&value) {
        return Err(whole("must not contain the character U+0000".to_owned()));
    }
    let Value::Object(members) = value else {
        return Err(whole("must be an object".to_owned()));
    };
    let mut members = Members {
        members,
        faults: Vec::new(),
    };
    match D::read(&mut members) {
        Some(definition) if members.faults.is_empty() => Ok(definition),
        _ => Err(members.faults),
    }
}

fn too_many(limits: &DefinitionsConfig) -> String {
    format!(
        "must not have more than {} entries (LLMRING_MCP_MAX_DEFINITIONS)",
        limits.max_count
    )
}

fn strict<D: Definition>(
    list: Vec<Value>,
    limits: &DefinitionsConfig,
    violations: &mut Vec<Violation>,
) -> Vec<D> {
    let name = D::KIND.list();
    if list.len() > limits.max_count {
        violations.push(Violation::body(&[name], too_many(limits)));
        return Vec::new();
    }
    let mut seen = HashSet::new();
    let mut read = Vec::with_capacity(list.len());
    for (position, value) in list.into_iter().enumerate() {
        let position = position.to_string();
        match one::<D>(value, limits) {
            Ok(definition) if seen.insert(definition.key().to_owned()) => read.push(definition),
            Ok(_) => violations.push(Violation::body(&[name, &position], "is listed twice")),
            Err(faults) => {
                let faults = faults.iter();
                violations.extend(faults.map(|(member, message)| at(&[name, &position], member, message)));
            }
        }
    }
    read
}

fn at(place: &[&str], member: &str, message: &str) -> Violation {
    let path: Vec<&str> = place
        .iter()
        .copied()
        .chain((!member.is_empty()).then_some(member))
        .collect();
    Violation::body(&path, message)
}

fn lenient<D: Definition>(
    list: Vec<Value>,
    limits: &DefinitionsConfig,
    skipped: &mut Vec<Skipped>,
) -> Vec<D> {
    let mut skip = |position, reason| {
        skipped.push(Skipped {
            kind: D::KIND,
            position,
            reason,
        });
    };
    let mut seen = HashSet::new();
    let mut read = Vec::new();
    for (position, value) in list.into_iter().enumerate() {
        if read.len() == limits.max_count {
            skip(
                position,
                format!("this and all after it: the list {}", too_many(limits)),
            );
            break;
        }
        match one::<D>(value, limits) {
            Ok(definition) if seen.insert(definition.key().to_owned()) => read.push(definition),
            Ok(_) => skip(position, "is listed twice".to_owned()),
            Err(faults) => {
                let reasons = faults.into_iter().map(|(member, message)| {
                    if member.is_empty() {
                        message
                    } else {
                        format!("{member} {message}")
                    }
                });
                skip(position, reasons.collect::<Vec<_>>().join("; "));
            }
        }
    }
    read
}

/// A text with this character cannot be stored on PostgreSQL.
fn has_nul(value: &Value) -> bool {
    match value {
        Value::String(text) => text.contains('\0'),
        Value::Array(items) => items.iter().any(has_nul),
        Value::Object(members) => members
            .iter()
            .any(|(name, value)| name.contains('\0') || has_nul(value)),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
