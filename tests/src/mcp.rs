//! What actors do with MCP servers.

use reqwest::Method;
use serde_json::{Value, json};

use crate::{Actor, Answer, McpPeer, Server, ServerBuilder, TestDatabase};

const ROOT: &str = "/api/v1/mcp";

impl Server {
    /// A server that may run the commands of these peers, and no others.
    pub fn with_peers(db: &TestDatabase, peers: &[&McpPeer]) -> ServerBuilder {
        let commands: Vec<&str> = peers.iter().map(|peer| peer.url()).collect();
        Self::on(db)
            .with("PATH", &std::env::var("PATH").unwrap_or_default())
            .with("LLMRING_MCP_STDIO_ALLOW", &commands.join("\n"))
    }
}

impl Actor {
    /// Registers an MCP server; returns its id.
    pub async fn registers(&self, name: &str, url: &str) -> String {
        let transport = if url.starts_with("http") { "http" } else { "stdio" };
        let body = json!({"name": name, "url": url, "transport_type": transport});
        self.post(&format!("{ROOT}/servers"), &body).await.ok().id()
    }

    /// Registers an MCP server and discovers what it offers; returns its id.
    pub async fn discovers(&self, name: &str, url: &str) -> String {
        let id = self.registers(name, url).await;
        self.refreshes(&id).await.ok();
        id
    }

    /// Discovers what a server offers.
    pub async fn refreshes(&self, server: &str) -> Answer {
        let path = format!("{ROOT}/servers/{server}/refresh");
        self.send(self.request(Method::POST, &path)).await
    }

    /// The id of a server's tool.
    pub async fn tool(&self, server: &str, name: &str) -> String {
        self.offer("tools", server, |tool| tool["name"] == name).await["id"]
            .as_str()
            .expect("an id")
            .to_owned()
    }

    /// The one tool, resource, … of a server for which this holds.
    pub async fn offer(&self, kind: &str, server: &str, wanted: impl Fn(&Value) -> bool) -> Value {
        let listed = self
            .get(&format!("{ROOT}/{kind}?server_id={server}"))
            .await
            .ok()
            .json();
        let offers = listed.as_array().expect("an array");
        let mut found = offers.iter().filter(|offer| wanted(offer));
        match (found.next(), found.next()) {
            (Some(offer), None) => offer.clone(),
            _ => panic!("not one of {kind}: {listed:#}"),
        }
    }

    /// Executes a tool; returns the answer.
    pub async fn executes(&self, tool: &str, input: &Value) -> Answer {
        self.post(&format!("{ROOT}/tools/{tool}/execute"), &json!({"input": input}))
            .await
    }

    /// Executes a tool of a server by name; returns the record.
    pub async fn calls(&self, server: &str, name: &str, input: Value) -> Value {
        let tool = self.tool(server, name).await;
        self.executes(&tool, &input).await.ok().json()
    }

    /// The executions of a tool, newest first.
    pub async fn history(&self, tool: &str) -> Vec<Value> {
        let listed = self
            .get(&format!("{ROOT}/tools/{tool}/history"))
            .await
            .ok()
            .json();
        listed.as_array().expect("an array").clone()
    }
}
