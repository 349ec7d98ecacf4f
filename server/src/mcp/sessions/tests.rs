//! Sessions against peers that behave, and peers that do not.

mod http;
mod stdio;

use std::time::Duration;

use entity::ids::ProjectId;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use super::Sessions;
use crate::Settings;
use crate::config::{Config, McpConfig};
use crate::mcp::peer::{Endpoint, Failure, Peer, ToolCall};
use crate::outbound::EgressPolicy;

/// Longer than anything takes that works.
const LONG: Duration = Duration::from_secs(30);

fn config() -> McpConfig {
    let mut config = Config::from_settings(&Settings::from_pairs(&[]))
        .expect("the defaults")
        .mcp;
    config.egress = EgressPolicy::Private;
    config
}

fn peer(endpoint: Endpoint) -> Peer {
    Peer {
        project: ProjectId(Uuid::now_v7()),
        server: Uuid::now_v7(),
        revision: 1,
        endpoint,
        auth: None,
        protocol_version: None,
    }
}

fn tool(name: &str, arguments: Value) -> ToolCall {
    let Value::Object(arguments) = arguments else {
        panic!("arguments are an object");
    };
    ToolCall {
        name: name.into(),
        arguments,
        input_schema: None,
        timeout: LONG,
    }
}

async fn call(sessions: &Sessions, peer: &Peer, name: &str) -> Result<Value, Failure> {
    sessions.call_tool(peer, tool(name, json!({})), |_| {}).await
}

/// The JSON inside the only text of a result.
fn said(result: &Value) -> Value {
    let text = result["content"][0]["text"].as_str().expect("a text");
    serde_json::from_str(text).expect("JSON")
}

#[expect(dead_code, reason = "compiled only: futures can move between threads")]
fn futures_are_send(sessions: &'static Sessions, peer: &'static Peer) {
    fn send(_: impl Send) {}
    send(sessions.discover(peer));
    send(sessions.call_tool(peer, tool("x", json!({})), |_| {}));
    send(sessions.read_resource(peer, "x", LONG));
    send(sessions.get_prompt(peer, "x", Map::new(), LONG));
}
