//! Sessions against peers that behave, and peers that do not.

mod http;
mod stdio;

use std::ffi::OsString;
use std::time::Duration;

use entity::ids::ProjectId;
use serde_json::{Map, Value, json};
use uuid::Uuid;

use self::stdio::{accept, gone, lifelines, permitted, pid};
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

fn inherited(name: &str) -> Option<OsString> {
    std::env::var_os(name)
}

fn start(config: &McpConfig) -> Sessions {
    Sessions::start(config, inherited).expect("sessions")
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

/// Opens a session as the whole of a process, which then is killed.
#[tokio::test]
#[ignore = "run by another test, as a process of its own"]
async fn a_process_to_be_killed() {
    let address = std::env::var("LIFELINES").expect("run by another test");
    let (sessions, peer) = permitted(&["legacy", &address, "family"], |_| {});
    pid(&sessions, &peer).await;
    let _ = call(&sessions, &peer, "hang").await;
}

#[tokio::test]
async fn a_whole_group_ends_when_the_server_is_killed() {
    let (lifelines, address) = lifelines().await;
    let program = std::env::current_exe().expect("this program");
    let mut server = tokio::process::Command::new(program)
        .args([
            "--ignored",
            "--exact",
            "mcp::sessions::tests::a_process_to_be_killed",
        ])
        .env("LIFELINES", address)
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .stdout(std::process::Stdio::null())
        .kill_on_drop(true)
        .spawn()
        .expect("a process");
    let family = [accept(&lifelines).await, accept(&lifelines).await];
    // SIGKILL: nothing of the server's own runs any more.
    server.kill().await.expect("killed");
    for member in family {
        gone(member).await;
    }
}
