//! Attacks on the way to MCP servers and from them.

use std::fs;

use integration::{Actor, McpPeer, McpStandIn, Reply, Server, StandIn, eventually, on_both_databases};
use reqwest::Method;
use serde_json::{Value, json};

const ROOT: &str = "/api/v1/mcp";

/// An address of cloud metadata in many disguises.
const METADATA: [&str; 9] = [
    "http://169.254.169.254/mcp",
    "http://2852039166/mcp",
    "http://0xa9fea9fe/mcp",
    "http://0251.0376.0251.0376/mcp",
    "http://169.254.43518/mcp",
    "http://[::ffff:169.254.169.254]/mcp",
    "http://[64:ff9b::169.254.169.254]/mcp",
    "http://[fd00:ec2::254]/mcp",
    "http://[fe80::1]/mcp",
];

fn echo_tool() -> Value {
    json!([{"name": "echo", "inputSchema": {"type": "object"}}])
}

async fn refusal(actor: &Actor, url: &str) -> String {
    let id = actor.registers("m", url).await;
    actor.refreshes(&id).await.refused(403).text
}

/// The processes whose command line or environment names this.
fn processes_with(text: &str) -> Vec<String> {
    let entries = fs::read_dir("/proc").expect("processes").flatten();
    entries
        .filter(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .bytes()
                .all(|byte| byte.is_ascii_digit())
        })
        .filter(|entry| {
            let read = |file| fs::read(entry.path().join(file)).unwrap_or_default();
            let told = [read("cmdline"), read("environ")].concat();
            String::from_utf8_lossy(&told).contains(text)
        })
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect()
}

on_both_databases! {
    async fn metadata_addresses_are_never_dialled_however_they_are_written(db: TestDatabase) {
        let server = Server::on(&db).with("LLMRING_MCP_EGRESS", "private").start().await;
        let alice = server.actor("alice");
        for url in METADATA {
            let text = refusal(&alice, url).await;
            assert!(text.contains("LLMRING_MCP_EGRESS"), "{url}: {text}");
        }
    }

    async fn private_networks_are_closed_to_callers_of_a_public_server(db: TestDatabase) {
        let peer = McpStandIn::start(echo_tool(), |_| json!({"content": []})).await;
        let server = Server::on(&db).with("LLMRING_MCP_EGRESS", "public").start().await;
        let alice = server.actor("alice");
        let port = peer.url().rsplit(':').next().expect("a port").to_owned();
        for host in ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "127.1", "[::ffff:127.0.0.1]"] {
            let text = refusal(&alice, &format!("http://{host}:{port}")).await;
            assert!(text.contains("LLMRING_MCP_EGRESS"), "{host}: {text}");
        }
        for host in ["10.0.0.1", "192.168.1.1", "172.16.0.1", "100.64.0.1", "[fc00::1]"] {
            refusal(&alice, &format!("http://{host}/mcp")).await;
        }
        assert!(peer.heard().is_empty());
    }

    async fn a_redirect_leads_nowhere(db: TestDatabase) {
        let secret = StandIn::start(|_| Reply::Send(200, "application/json", b"{}".to_vec())).await;
        let target = secret.url();
        let redirecting = StandIn::start(move |_| {
            let moved = format!("text/plain\r\nLocation: {target}/mcp");
            Reply::Send(307, Box::leak(moved.into_boxed_str()), Vec::new())
        })
        .await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = alice.registers("m", &format!("{}/mcp", redirecting.url())).await;
        alice.refreshes(&id).await.refused(502);
    }

    async fn a_token_reaches_its_server_and_nothing_else(db: TestDatabase) {
        let peer = McpStandIn::start(echo_tool(), |_| json!({"content": [{"type": "text", "text": "x"}]})).await;
        let server = Server::on(&db).with("LLMRING_LOG", "debug").with("LLMRING_SECRET_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").start().await;
        let alice = server.actor("alice");
        let registration = json!({"name": "m", "url": peer.url(), "transport_type": "http",
            "auth_config": {"type": "bearer", "token": "correct-horse-battery"}});
        let registered = alice.post(&format!("{ROOT}/servers"), &registration).await.ok();
        let refreshed = alice.refreshes(&registered.id()).await.ok();
        let record = alice.calls(&registered.id(), "echo", json!({})).await;
        assert_eq!(record["status"], "succeeded", "{record:#}");
        for request in peer.heard() {
            let sent = request.headers.get("authorization").map(String::as_str);
            assert_eq!(sent, Some("Bearer correct-horse-battery"), "{request:?}");
        }
        let said = [registered.text, refreshed.text, record.to_string(), server.log().text()];
        assert!(said.iter().all(|text| !text.contains("correct-horse")), "{said:?}");
    }

    async fn a_token_that_its_server_quotes_is_masked(db: TestDatabase) {
        let quoting = json!({"content": [{"type": "text", "text": "I was shown Bearer correct-horse-battery"}], "isError": true});
        let peer = McpStandIn::start(echo_tool(), move |_| quoting.clone()).await;
        let server = Server::on(&db).with("LLMRING_SECRET_KEY", "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8").start().await;
        let alice = server.actor("alice");
        let registration = json!({"name": "m", "url": peer.url(), "transport_type": "http",
            "auth_config": {"type": "bearer", "token": "correct-horse-battery"}});
        let id = alice.post(&format!("{ROOT}/servers"), &registration).await.ok().id();
        alice.refreshes(&id).await.ok();
        let record = alice.calls(&id, "echo", json!({})).await;
        assert_eq!(record["error"], "I was shown Bearer ********", "{record:#}");
        assert!(!db.db_contains("correct-horse").await);
    }

    async fn a_result_that_breaks_the_promise_of_its_schema_is_an_error(db: TestDatabase) {
        let tools = json!([{"name": "promise", "inputSchema": {"type": "object"},
            "outputSchema": {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}}]);
        let peer = McpStandIn::start(tools, |params| match params["arguments"]["kind"].as_str() {
            Some("kept") => json!({"content": [], "structuredContent": {"n": 1, "extra": [1.50]}, "_meta": {"a/b": 1}, "unknown": {"x": null}}),
            Some("broken") => json!({"content": [], "structuredContent": {"n": "one"}}),
            Some("failed") => json!({"content": [{"type": "text", "text": "no"}], "isError": true}),
            _ => json!({"content": [{"type": "new-kind", "payload": 1}]}),
        })
        .await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("m", &peer.url()).await;
        let call = async |kind: &str| alice.calls(&id, "promise", json!({"kind": kind})).await;
        let kept = call("kept").await;
        assert_eq!(kept["status"], "succeeded", "{kept:#}");
        let sent = json!({"content": [], "structuredContent": {"n": 1, "extra": [1.5]}, "_meta": {"a/b": 1}, "unknown": {"x": null}});
        assert_eq!(kept["output"], sent, "unknown members come through");
        let broken = call("broken").await;
        assert_eq!(broken["status"], "tool_error");
        assert!(broken["error"].as_str().is_some_and(|error| error.contains("/n")), "{broken:#}");
        assert_eq!(broken["output"]["structuredContent"], json!({"n": "one"}), "kept as it came");
        assert_eq!(call("failed").await["error"], "no", "a failure promises nothing");
        let missing = call("missing").await;
        assert_eq!(missing["status"], "tool_error", "{missing:#}");
        assert_eq!(missing["output"]["content"][0]["type"], "new-kind");
    }

    async fn a_schema_that_cannot_be_checked_lets_nothing_through(db: TestDatabase) {
        let mut bomb = json!({"$ref": "#/$defs/l0", "$defs": {"l30": {"type": "object"}}});
        for level in 0..30 {
            let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
            bomb["$defs"][format!("l{level}")] = json!({"allOf": [next, next]});
        }
        let schemas = [json!({"$ref": "http://127.0.0.1:1/schema"}), json!({"$ref": "file:///etc/passwd"}), json!({"type": 5}), bomb];
        let tools: Vec<Value> = schemas
            .iter()
            .enumerate()
            .map(|(n, schema)| json!({"name": format!("t{n}"), "inputSchema": schema}))
            .collect();
        let peer = McpStandIn::start(json!(tools), |_| json!({"content": []})).await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("m", &peer.url()).await;
        for n in 0..schemas.len() {
            let tool = alice.tool(&id, &format!("t{n}")).await;
            assert_eq!(alice.executes(&tool, &json!({})).await.refused(422).places(), ["body.input"], "t{n}");
            assert!(alice.history(&tool).await.is_empty());
        }
        let calls = peer.heard().iter().filter(|request| String::from_utf8_lossy(&request.body).contains("tools/call")).count();
        assert_eq!(calls, 0);
    }

    async fn children_die_with_a_killed_server(db: TestDatabase) {
        let peer = McpPeer::python_stdio();
        let mut server = Server::with_peers(&db, &[&peer]).start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("peer", peer.url()).await;
        alice.calls(&id, "echo", json!({"text": "x"})).await;
        let marker = peer.journal_path();
        assert!(!processes_with(&marker).is_empty(), "the child runs");
        server.kill().await;
        eventually("the child's end", async || processes_with(&marker).is_empty().then_some(())).await;
    }

    async fn children_die_with_a_server_that_stops(db: TestDatabase) {
        let peer = McpPeer::python_stdio();
        let mut server = Server::with_peers(&db, &[&peer]).start().await;
        let alice = server.actor("alice");
        alice.discovers("peer", peer.url()).await;
        server.terminate();
        assert!(server.ended().await.success());
        assert!(processes_with(&peer.journal_path()).is_empty());
    }

    async fn a_changed_registration_opens_another_session(db: TestDatabase) {
        let first = McpStandIn::start(echo_tool(), |_| json!({"content": [{"type": "text", "text": "first"}]})).await;
        let second = McpStandIn::start(echo_tool(), |_| json!({"content": [{"type": "text", "text": "second"}]})).await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("m", &first.url()).await;
        let put = alice.request(Method::PUT, &format!("{ROOT}/servers/{id}")).json(&json!({"url": second.url()}));
        alice.send(put).await.ok();
        let record = alice.calls(&id, "echo", json!({})).await;
        assert_eq!(record["output"]["content"][0]["text"], "second", "{record:#}");
        let tool = alice.tool(&id, "echo").await;
        let put = alice.request(Method::PUT, &format!("{ROOT}/servers/{id}")).json(&json!({"is_active": false}));
        alice.send(put).await.ok();
        alice.executes(&tool, &json!({})).await.refused(409);
        alice.refreshes(&id).await.refused(409);
    }
}
