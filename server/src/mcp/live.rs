//! Asking servers themselves: what they offer, what a resource contains, how a prompt reads.

use std::fmt::{self, Write};

use entity::ids::ProjectId;
use entity::{prompt, resource, resource_template, server};
use iri_string::spec::UriSpec;
use iri_string::template::UriTemplateStr;
use iri_string::template::simple_context::{SimpleContext, Value as Variable};
use serde_json::{Map, Value};
use uuid::Uuid;

use super::Mcp;
use super::definitions::Refreshed;
use super::peer::{Failure, Peer};
use crate::error::{Error, Result, Violation};

/// Longest URI made from a template, in bytes.
const MAX_URI_BYTES: usize = 8_192;

impl Mcp {
    /// Connects to a server, asks for all that it offers, and stores it.
    pub async fn discover(&self, project: ProjectId, server: Uuid) -> Result<Refreshed> {
        let row = self.server(project, server).await?;
        let peer = self.peer_in_use(&row)?;
        let discovery = self.sessions.discover(&peer).await?;
        self.store_discovery(project, server, discovery).await
    }

    /// A resource with its contents: MCP `ResourceContents` objects, as the server sent them.
    pub async fn read_resource(&self, project: ProjectId, id: Uuid) -> Result<(resource::Model, Value)> {
        let (resource, server) = self.resource(project, id).await?;
        let contents = self.contents(&server, &resource.uri).await?;
        Ok((resource, contents))
    }

    /// What is at the URI that a template and its variables make (RFC 6570), with that URI.
    pub async fn read_template(
        &self,
        project: ProjectId,
        id: Uuid,
        variables: &Map<String, Value>,
    ) -> Result<(resource_template::Model, String, Value)> {
        let (template, server) = self.resource_template(project, id).await?;
        let uri = expanded(&template.uri_template, variables)?;
        let contents = self.contents(&server, &uri).await?;
        Ok((template, uri, contents))
    }

    /// A prompt filled with arguments: `GetPromptResult`, as the server sent it.
    pub async fn render_prompt(
        &self,
        project: ProjectId,
        id: Uuid,
        arguments: &Map<String, Value>,
    ) -> Result<(prompt::Model, Value)> {
        let (prompt, server) = self.prompt(project, id).await?;
        let arguments = prompt_arguments(&prompt, arguments)?;
        let peer = self.peer_in_use(&server)?;
        let rendered = self
            .sessions
            .get_prompt(&peer, &prompt.name, arguments, self.call_timeout)
            .await?;
        Ok((prompt, rendered))
    }

    async fn contents(&self, server: &server::Model, uri: &str) -> Result<Value> {
        let peer = self.peer_in_use(server)?;
        let mut read = self.sessions.read_resource(&peer, uri, self.call_timeout).await?;
        match read.get_mut("contents").map(Value::take) {
            Some(contents @ Value::Array(_)) => Ok(contents),
            _ => Err(Failure::Malformed("the result has no list of contents".to_owned()).into()),
        }
    }

    fn peer_in_use(&self, server: &server::Model) -> Result<Peer> {
        if server.is_active {
            Ok(self.peer(server)?)
        } else {
            Err(Error::Conflict("the server is not active".to_owned()))
        }
    }
}

/// The arguments of a prompt: texts (MCP specification, prompts); other values become their JSON text.
fn prompt_arguments(prompt: &prompt::Model, given: &Map<String, Value>) -> Result<Map<String, Value>> {
    let declared: Vec<Value> = serde_json::from_str(&prompt.arguments).unwrap_or_default();
    let missing: Vec<Violation> = declared
        .iter()
        .filter(|argument| argument.get("required").and_then(Value::as_bool).unwrap_or(false))
        .filter_map(|argument| argument.get("name")?.as_str())
        .filter(|name| given.get(*name).is_none_or(Value::is_null))
        .map(|name| Violation::body(&["arguments", name], "is required"))
        .collect();
    if !missing.is_empty() {
        return Err(Error::Invalid(missing));
    }
    let present = given.iter().filter(|(_, value)| !value.is_null());
    Ok(present
        .map(|(name, value)| (name.clone(), Value::String(text_of(value))))
        .collect())
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// Expands a URI template (RFC 6570). Variables of queries (`{?name}`) may be absent, all others are needed.
fn expanded(template: &str, variables: &Map<String, Value>) -> Result<String> {
    let unusable = |problem: String| {
        Error::Refused(format!(
            "the server's URI template {template} cannot be expanded: {problem}"
        ))
    };
    let parsed = UriTemplateStr::new(template).map_err(|error| unusable(error.to_string()))?;
    let missing: Vec<Violation> = needed(template)
        .filter(|name| variables.get(*name).is_none_or(Value::is_null))
        .map(|name| Violation::body(&[name], "is required"))
        .collect();
    if !missing.is_empty() {
        return Err(Error::Invalid(missing));
    }
    let mut context = SimpleContext::new();
    for (name, value) in variables {
        match value {
            Value::Null => {}
            Value::Array(list) => {
                context.insert(name.clone(), Variable::List(list.iter().map(text_of).collect()));
            }
            Value::Object(members) => {
                let pairs = members.iter().map(|(name, value)| (name.clone(), text_of(value)));
                context.insert(name.clone(), Variable::Assoc(pairs.collect()));
            }
            scalar => {
                context.insert(name.clone(), text_of(scalar));
            }
        }
    }
    let expansion = parsed
        .expand::<UriSpec, _>(&context)
        .map_err(|error| unusable(error.to_string()))?;
    let mut uri = Bounded(String::new());
    write!(uri, "{expansion}").map_err(|_| {
        let message = format!("make a URI of more than {MAX_URI_BYTES} bytes");
        Violation::body(&[], message)
    })?;
    Ok(uri.0)
}

/// A text that refuses to grow beyond [`MAX_URI_BYTES`]: a short template can repeat a long variable many times.
struct Bounded(String);

impl Write for Bounded {
    fn write_str(&mut self, more: &str) -> fmt::Result {
        if self.0.len() + more.len() > MAX_URI_BYTES {
            return Err(fmt::Error);
        }
        self.0.push_str(more);
        Ok(())
    }
}

/// The names of a template's variables that are not optional.
fn needed(template: &str) -> impl Iterator<Item = &str> {
    let expressions = template
        .split('{')
        .skip(1)
        .filter_map(|rest| rest.split_once('}'));
    expressions
        .map(|(expression, _)| expression)
        .filter(|expression| !expression.starts_with(['?', '&']))
        .flat_map(|expression| {
            expression
                .trim_start_matches(['+', '#', '.', '/', ';'])
                .split(',')
        })
        .map(|variable| variable.split([':', '*']).next().unwrap_or_default())
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    fn expand(template: &str, variables: Value) -> Result<String> {
        expanded(template, variables.as_object().unwrap())
    }

    /// Examples of RFC 6570 sections 1.2 and 3.2.
    #[test]
    fn templates_expand_as_their_specification_says() {
        for (template, variables, expected) in [
            ("demo://text/{id}", json!({"id": 3}), "demo://text/3"),
            ("/{var}", json!({"var": "Hello World!"}), "/Hello%20World%21"),
            ("{+path}/here", json!({"path": "/foo/bar"}), "/foo/bar/here"),
            (
                "/search{?q,lang}",
                json!({"q": "chien", "lang": "fr"}),
                "/search?q=chien&lang=fr",
            ),
            ("/search{?q,lang}", json!({}), "/search"),
            ("/{list*}", json!({"list": ["red", "green"]}), "/red,green"),
            (
                "/{x}",
                json!({"x": "../../etc/passwd"}),
                "/..%2F..%2Fetc%2Fpasswd",
            ),
        ] {
            assert_eq!(expand(template, variables).unwrap(), expected, "{template}");
        }
    }

    #[test]
    fn a_short_template_cannot_make_a_huge_uri() {
        let refused = expand(
            &format!("x:{}", "{a}".repeat(600)),
            json!({"a": "%".repeat(1 << 20)}),
        );
        assert!(matches!(refused, Err(Error::Invalid(_))), "{refused:?}");
    }

    #[test]
    fn missing_variables_are_named() {
        let refused = expand("/{a}/{b}{?c}", json!({"b": null})).unwrap_err();
        assert_eq!(refused.to_string(), "body.a is required; body.b is required");
        assert!(matches!(expand("/{a", json!({})), Err(Error::Refused(_))));
    }
}
