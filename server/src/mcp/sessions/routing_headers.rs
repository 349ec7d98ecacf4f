//! Headers that repeat what a request's body says, so that intermediaries can route it unread (MCP specification 2026-07-28,
//! transports): `Mcp-Method`, `Mcp-Name`, and `Mcp-Param-*` for arguments that the tool's input schema marks with `x-mcp-header`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;

use super::line::Ticket;

const METHOD: HeaderName = HeaderName::from_static("mcp-method");
const NAME: HeaderName = HeaderName::from_static("mcp-name");
/// How deep marked arguments may be nested.
const MAX_DEPTH: usize = 32;

/// The headers of a message; `text` is its JSON. An empty `method` is taken from there.
pub(super) fn of(method: &str, text: &str, ticket: &Ticket) -> HeaderMap {
    let message: Value = serde_json::from_str(text).unwrap_or_default();
    let method = match method {
        "" => message["method"].as_str().unwrap_or_default(),
        method => method,
    };
    let params = &message["params"];
    let mut headers = HeaderMap::new();
    insert(&mut headers, METHOD, method);
    let name = match method {
        "tools/call" | "prompts/get" => &params["name"],
        "resources/read" | "resources/subscribe" | "resources/unsubscribe" => &params["uri"],
        "tasks/get" | "tasks/update" | "tasks/cancel" => &params["taskId"],
        _ => &Value::Null,
    };
    if let Some(name) = name.as_str() {
        insert(&mut headers, NAME, name);
    }
    if method == "tools/call"
        && let Some(schema) = ticket.input_schema()
    {
        insert_marked(&mut headers, schema, &params["arguments"], MAX_DEPTH);
    }
    headers
}

fn insert_marked(headers: &mut HeaderMap, schema: &Value, arguments: &Value, depth: usize) {
    let Some(properties) = schema["properties"].as_object().filter(|_| depth > 0) else {
        return;
    };
    for (property, schema) in properties {
        let Some(argument) = arguments.get(property) else {
            continue;
        };
        let text = match argument {
            Value::String(text) => Some(text.clone()),
            Value::Bool(_) | Value::Number(_) => Some(argument.to_string()),
            _ => None,
        };
        let header = schema["x-mcp-header"]
            .as_str()
            .filter(|header| !header.is_empty())
            .and_then(|header| HeaderName::from_bytes(format!("mcp-param-{header}").as_bytes()).ok());
        if let (Some(header), Some(text)) = (header, text) {
            insert(headers, header, &text);
        }
        insert_marked(headers, schema, argument, depth - 1);
    }
}

fn insert(headers: &mut HeaderMap, name: HeaderName, text: &str) {
    if let Ok(value) = HeaderValue::from_str(&encoded(text)) {
        headers.insert(name, value);
    }
}

/// As it is, or wrapped when a header would not carry it unchanged.
fn encoded(text: &str) -> String {
    let wrapped = text.starts_with("=?base64?") && text.ends_with("?=");
    let plain = text.bytes().all(|byte| matches!(byte, b' '..=b'~')) && text.trim() == text;
    if plain && !wrapped {
        text.to_owned()
    } else {
        format!("=?base64?{}?=", STANDARD.encode(text))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_call_is_routed_by_its_name_and_its_marked_arguments() {
        let schema = json!({"type": "object", "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "place": {"type": "object", "properties": {"level": {"type": "integer", "x-mcp-header": "Level"}}},
            "secret": {"type": "string"},
            "evil": {"type": "string", "x-mcp-header": "a\r\nb"},
        }});
        let text = json!({"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": {
            "name": "größe",
            "arguments": {"region": "eu\r\nx: y", "place": {"level": 3}, "secret": "s", "evil": "e"},
        }})
        .to_string();
        let headers = of("tools/call", &text, &Ticket::new(None, Some(schema)));
        let mut shown: Vec<String> = headers
            .iter()
            .map(|(name, value)| format!("{name}: {}", value.to_str().expect("ASCII")))
            .collect();
        shown.sort();
        assert_eq!(
            shown,
            [
                "mcp-method: tools/call",
                "mcp-name: =?base64?Z3LDtsOfZQ==?=",
                "mcp-param-level: 3",
                "mcp-param-region: =?base64?ZXUNCng6IHk=?=",
            ]
        );
    }

    #[test]
    fn what_needs_no_wrapping_stays_as_it_is() {
        assert_eq!(encoded("plain text"), "plain text");
        assert_eq!(encoded(""), "");
        assert_eq!(encoded(" edge"), "=?base64?IGVkZ2U=?=");
        assert_eq!(encoded("=?base64?eA==?="), "=?base64?PT9iYXNlNjQ/ZUE9PT89?=");
    }
}
