//! An MCP server over Streamable HTTP that a test scripts: protocol version 2025-11-25, answers as JSON.

use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::{Incoming, Reply, StandIn};

/// A scripted server with the tools that a test gives it.
#[derive(Debug)]
pub struct McpStandIn {
    server: StandIn,
    heard: Arc<Mutex<Vec<Incoming>>>,
}

impl McpStandIn {
    /// Offers `tools` (MCP `Tool` objects) and answers each call with what `call` makes of its parameters: a `CallToolResult`.
    pub async fn start(tools: Value, call: impl Fn(&Value) -> Value + Send + Sync + 'static) -> Self {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let hearing = heard.clone();
        let server = StandIn::start(move |incoming| {
            let reply = answer(&incoming, &tools, &call);
            hearing.lock().expect("what was heard").push(incoming);
            reply
        })
        .await;
        Self { server, heard }
    }

    /// What a server row's `url` says.
    pub fn url(&self) -> String {
        format!("{}/mcp", self.server.url())
    }

    /// The requests so far.
    pub fn heard(&self) -> Vec<Incoming> {
        self.heard.lock().expect("what was heard").clone()
    }
}

fn answer(incoming: &Incoming, tools: &Value, call: &impl Fn(&Value) -> Value) -> Reply {
    const JSON: &str = "application/json";
    if incoming.method != "POST" {
        return Reply::Send(405, JSON, Vec::new());
    }
    let request: Value = serde_json::from_slice(&incoming.body).unwrap_or_default();
    let Some(id) = request.get("id") else {
        return Reply::Send(202, JSON, Vec::new());
    };
    let outcome = match request["method"].as_str().unwrap_or_default() {
        "initialize" => Ok(json!({
            "protocolVersion": "2025-11-25",
            "capabilities": {"tools": {}},
            "serverInfo": {"name": "stand-in", "version": "1"},
        })),
        "tools/list" => Ok(json!({ "tools": tools })),
        "tools/call" => Ok(call(&request["params"])),
        method => Err(json!({"code": -32601, "message": format!("no {method} here")})),
    };
    let body = match outcome {
        Ok(result) => json!({"jsonrpc": "2.0", "id": id, "result": result}),
        Err(error) => json!({"jsonrpc": "2.0", "id": id, "error": error}),
    };
    Reply::Send(200, JSON, body.to_string().into_bytes())
}
