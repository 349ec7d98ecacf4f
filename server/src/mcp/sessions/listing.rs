//! Everything that a server offers: all pages of every list, within bounds.

use serde_json::{Map, Value};

use super::line::{Expected, Ticket};
use super::session::Session;
use crate::config::{MAX_DEFINITIONS, MAX_DISCOVERY_BYTES, MAX_PAGES, McpConfig};
use crate::mcp::peer::{Discovery, Failure};

/// JSON-RPC 2.0 section 5.1.
const METHOD_NOT_FOUND: i64 = -32601;

/// Reads all lists that the server's capabilities name.
pub(super) async fn discover(session: &Session, config: &McpConfig) -> Result<Discovery, Failure> {
    let greeting = session.greeting();
    let capabilities = greeting.get("capabilities").cloned().unwrap_or_default();
    let mut lists = Lists {
        session,
        config,
        bytes: 0,
    };
    let mut discovery = Discovery {
        protocol_version: session.version().to_owned(),
        server_info: Expected::server_info(greeting),
        instructions: greeting
            .get("instructions")
            .and_then(Value::as_str)
            .map(ToOwned::to_owned),
        ..Discovery::default()
    };
    if capabilities.get("tools").is_some() {
        discovery.tools = lists.all("tools/list", "tools").await?;
    }
    if capabilities.get("resources").is_some() {
        discovery.resources = lists.all("resources/list", "resources").await?;
        discovery.resource_templates = lists.all("resources/templates/list", "resourceTemplates").await?;
    }
    if capabilities.get("prompts").is_some() {
        discovery.prompts = lists.all("prompts/list", "prompts").await?;
    }
    discovery.capabilities = capabilities;
    Ok(discovery)
}

struct Lists<'a> {
    session: &'a Session,
    config: &'a McpConfig,
    bytes: usize,
}

impl Lists<'_> {
    async fn all(&mut self, method: &str, member: &str) -> Result<Vec<Value>, Failure> {
        let mut items = Vec::new();
        let mut cursor: Option<String> = None;
        for _ in 0..self.config.max_pages {
            let params = cursor
                .iter()
                .map(|cursor| ("cursor".to_owned(), Value::from(cursor.as_str())))
                .collect();
            let ticket = Ticket::default();
            let mut page = match self.session.request(method, params, &ticket).await {
                Ok(page) => page,
                // A capability does not promise every list that belongs to it.
                Err(Failure::Rpc {
                    code: METHOD_NOT_FOUND,
                    ..
                }) if cursor.is_none() => return Ok(items),
                Err(failure) => return Err(failure),
            };
            self.bytes += ticket.result_bytes();
            if self.bytes > self.config.max_discovery_bytes {
                return Err(exceeded(
                    "bytes in its lists",
                    self.config.max_discovery_bytes,
                    MAX_DISCOVERY_BYTES,
                ));
            }
            items.extend(take_items(&mut page, method, member)?);
            if items.len() > self.config.max_items {
                return Err(exceeded(
                    "entries in a list",
                    self.config.max_items,
                    MAX_DEFINITIONS,
                ));
            }
            let next = match page.remove("nextCursor") {
                Some(Value::String(next)) => next,
                _ => return Ok(items),
            };
            if cursor.as_ref() == Some(&next) {
                return Err(Failure::Malformed(format!(
                    "{method} names the same next page again"
                )));
            }
            cursor = Some(next);
        }
        Err(exceeded("pages in a list", self.config.max_pages, MAX_PAGES))
    }
}

fn take_items(page: &mut Map<String, Value>, method: &str, member: &str) -> Result<Vec<Value>, Failure> {
    match page.remove(member) {
        Some(Value::Array(items)) => Ok(items),
        _ => Err(Failure::Malformed(format!("{method} has no list of {member}"))),
    }
}

fn exceeded(what: &str, limit: usize, setting: &str) -> Failure {
    Failure::LimitExceeded(format!("the MCP server has more than {limit} {what} ({setting})"))
}
