//! Executions: recorded before they start, never repeated, cancelled when nobody waits, and what becomes of them in accidents.

use integration::{Actor, McpPeer, Server, eventually, on_both_databases};
use reqwest::Method;
use serde_json::{Value, json};

const ROOT: &str = "/api/v1/mcp";

async fn executes_once(actor: &Actor, key: &str, tool: &str, input: &Value) -> integration::Answer {
    let request = actor
        .request(Method::POST, &format!("{ROOT}/tools/{tool}/execute"))
        .header("Idempotency-Key", key)
        .json(&json!({"input": input}));
    actor.send(request).await
}

/// Waits until the newest execution of a tool has this status.
async fn newest_is(actor: &Actor, tool: &str, status: &str) -> Value {
    eventually(&format!("an execution that is {status}"), async || {
        let newest = actor.history(tool).await.into_iter().next()?;
        (newest["status"] == status).then_some(newest)
    })
    .await
}

on_both_databases! {
    async fn an_idempotency_key_gives_one_execution(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("peer", peer.url()).await;
        let echo = alice.tool(&id, "echo").await;
        let input = json!({"text": "once"});
        let repeated = (0..20).map(|_| executes_once(&alice, "k1", &echo, &input));
        let answers = futures_util::future::join_all(repeated).await;
        let first = answers[0].clone().ok().text;
        for answer in answers {
            assert_eq!(answer.ok().text, first);
        }
        assert_eq!(peer.journal(), ["echo once"]);
        executes_once(&alice, "k1", &echo, &json!({"text": "other"})).await.refused(409);
        executes_once(&alice, "k2", &echo, &input).await.ok();
        assert_eq!(peer.journal().len(), 2);
        assert_eq!(alice.history(&echo).await.len(), 2);
    }

    async fn a_call_may_take_longer_than_other_requests(db: TestDatabase) {
        let peer = McpPeer::everything_stdio();
        let server = Server::with_peers(&db, &[&peer]).with("LLMRING_REQUEST_TIMEOUT", "1").start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("everything", peer.url()).await;
        let record = alice
            .calls(&id, "trigger-long-running-operation", json!({"duration": 2, "steps": 2}))
            .await;
        assert_eq!(record["status"], "succeeded", "{record:#}");
    }

    async fn a_caller_that_goes_away_cancels_the_call(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        // Neither of these times ends the call within the test's patience.
        let server = Server::on(&db)
            .with("LLMRING_REQUEST_TIMEOUT", "300")
            .with("LLMRING_MCP_CALL_TIMEOUT", "300")
            .start()
            .await;
        let alice = server.actor("alice");
        let id = alice.discovers("peer", peer.url()).await;
        let wait = alice.tool(&id, "wait").await;
        let waiting = {
            let (alice, wait) = (alice.clone(), wait.clone());
            tokio::spawn(async move { alice.executes(&wait, &json!({"name": "ada"})).await })
        };
        peer.journal_says("wait ada").await;
        assert_eq!(alice.history(&wait).await[0]["status"], "running");
        waiting.abort();
        peer.journal_says("cancelled ada").await;
        let record = newest_is(&alice, &wait, "cancelled").await;
        assert!(record["error"].is_string(), "{record:#}");
        // The connection goes on.
        assert_eq!(alice.calls(&id, "echo", json!({"text": "still"})).await["status"], "succeeded");
    }

    async fn a_call_that_takes_too_long_is_ended(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).with("LLMRING_MCP_CALL_TIMEOUT", "1").start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("peer", peer.url()).await;
        let record = alice.calls(&id, "wait", json!({"name": "late"})).await;
        assert_eq!(record["status"], "timed_out", "{record:#}");
        peer.journal_says("cancelled late").await;
    }

    async fn a_server_that_hangs_is_replaced(db: TestDatabase) {
        let peer = McpPeer::python_stdio();
        let server = Server::with_peers(&db, &[&peer]).with("LLMRING_MCP_CALL_TIMEOUT", "2").start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("peer", peer.url()).await;
        assert_eq!(alice.calls(&id, "freeze", json!({})).await["status"], "timed_out");
        let echo = alice.tool(&id, "echo").await;
        eventually("another process", async || {
            let record = alice.executes(&echo, &json!({"text": "x"})).await.ok().json();
            (record["status"] == "succeeded").then_some(())
        })
        .await;
        assert_eq!(peer.journal().iter().filter(|line| *line == "freeze").count(), 1, "never sent again");
    }

    async fn a_server_that_dies_during_a_call_leaves_its_outcome_unknown(db: TestDatabase) {
        let peer = McpPeer::python_stdio();
        let server = Server::with_peers(&db, &[&peer]).start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("peer", peer.url()).await;
        let record = alice.calls(&id, "die", json!({})).await;
        assert_eq!(record["status"], "outcome_unknown", "{record:#}");
        assert_eq!(peer.journal(), ["die"], "never sent again");
        // A new process is started on demand.
        let record = eventually("the server to be started anew", async || {
            let record = alice.calls(&id, "echo", json!({"text": "back"})).await;
            (record["status"] == "succeeded").then_some(record)
        })
        .await;
        assert_eq!(record["output"]["content"][0]["text"], "back");
    }

    async fn a_server_that_is_not_there_is_unreachable(db: TestDatabase) {
        let mut peer = McpPeer::python_http().await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("peer", peer.url()).await;
        peer.kill();
        let record = eventually("the loss to be noticed", async || {
            let record = alice.calls(&id, "echo", json!({"text": "x"})).await;
            (record["status"] == "unreachable").then_some(record)
        })
        .await;
        assert!(record["error"].is_string(), "{record:#}");
        alice.refreshes(&id).await.refused(502);
    }

    async fn what_ran_when_the_server_was_killed_has_an_unknown_outcome(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("peer", peer.url()).await;
        let wait = alice.tool(&id, "wait").await;
        let request = alice
            .request(Method::POST, &format!("{ROOT}/tools/{wait}/execute"))
            .header("Idempotency-Key", "crash")
            .json(&json!({"input": {"name": "ada"}}));
        let waiting = {
            let alice = alice.clone();
            tokio::spawn(async move { alice.try_send(request).await })
        };
        peer.journal_says("wait ada").await;
        let server = server.crash_and_restart().await;
        waiting.await.expect("the request's end");
        let alice = server.actor("alice");
        let record = newest_is(&alice, &wait, "outcome_unknown").await;
        let again = executes_once(&alice, "crash", &wait, &json!({"name": "ada"})).await.ok().json();
        assert_eq!(again, record, "the same record, and no second execution");
        assert_eq!(peer.journal().iter().filter(|line| *line == "wait ada").count(), 1);
    }

    async fn sixty_four_calls_share_one_connection(db: TestDatabase) {
        let peer = McpPeer::python_stdio();
        let server = Server::with_peers(&db, &[&peer]).start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("peer", peer.url()).await;
        let echo = alice.tool(&id, "echo").await;
        let calls = (0..64).map(|n| {
            let (alice, echo) = (&alice, &echo);
            async move {
                let record = alice.executes(echo, &json!({"text": format!("n{n}")})).await.ok().json();
                assert_eq!(record["output"]["content"][0]["text"], format!("n{n}"), "{record:#}");
            }
        });
        futures_util::future::join_all(calls).await;
        let mut said = peer.journal();
        said.sort();
        said.dedup();
        assert_eq!(said.len(), 64);
    }

    async fn a_project_cannot_fill_the_pool_alone(db: TestDatabase) {
        let peers = [McpPeer::python_http().await, McpPeer::python_http().await];
        let server = Server::on(&db).with("LLMRING_MCP_MAX_PROJECT_SESSIONS", "1").start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let first = alice.discovers("first", peers[0].url()).await;
        let wait = alice.tool(&first, "wait").await;
        let waiting = {
            let alice = alice.clone();
            tokio::spawn(async move { alice.executes(&wait, &json!({"name": "ada"})).await })
        };
        peers[0].journal_says("wait ada").await;
        let second = alice.registers("second", peers[1].url()).await;
        let refused = alice.refreshes(&second).await.refused(429);
        assert!(refused.header("retry-after").is_some(), "{refused:?}");
        bob.discovers("bobs", peers[1].url()).await;
        waiting.abort();
        peers[0].journal_says("cancelled ada").await;
        // The idle session gives way.
        eventually("room for the second session", async || {
            (alice.refreshes(&second).await.status == 200).then_some(())
        })
        .await;
    }

    async fn a_clients_own_report_is_recorded_and_nothing_is_executed(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("peer", peer.url()).await;
        let echo = alice.tool(&id, "echo").await;
        for report in [
            json!({"input": {"text": 5}, "output": {"any": "thing"}, "duration_ms": 12}),
            json!({"input": {}, "output": null}),
            json!({"error": "it failed"}),
        ] {
            let record = alice.post(&format!("{ROOT}/tools/{echo}/execute"), &report).await.ok().json();
            assert_eq!(record["status"], "recorded", "{record:#}");
            assert_eq!(record["output"], report["output"]);
        }
        assert_eq!(alice.history(&echo).await.len(), 3);
        assert!(peer.journal().is_empty());
    }

    async fn an_execution_joins_its_conversation(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let id = alice.discovers("peer", peer.url()).await;
        let weather = alice.tool(&id, "weather").await;
        let conversation = alice.post("/api/v1/conversations", &json!({})).await.ok().id();
        let path = format!("{ROOT}/tools/{weather}/execute");
        let record = alice
            .post(&path, &json!({"input": {"city": "Graz"}, "conversation_id": conversation}))
            .await
            .ok()
            .json();
        assert_eq!(record["conversation_id"], conversation.as_str());
        let messages = alice.get(&format!("/api/v1/conversations/{conversation}/messages")).await.ok().json();
        let message = &messages[0];
        assert_eq!(message["role"], "tool", "{messages:#}");
        assert_eq!(message["tool_call_id"], record["id"]);
        assert_eq!(message["tool_results"], record["output"]);
        assert_eq!(message["metadata"]["tool_name"], "weather");

        bob.post(&path, &json!({"input": {"city": "Graz"}})).await.refused(404);
        let others = bob.post("/api/v1/conversations", &json!({})).await.ok().id();
        alice
            .post(&path, &json!({"input": {"city": "Graz"}, "conversation_id": others}))
            .await
            .refused(404);
        bob.get(&format!("{ROOT}/tools/{weather}/history")).await.refused(404);
        assert_eq!(peer.journal(), ["weather Graz"]);
    }

    async fn a_changed_tool_waits_for_approval_when_tools_are_pinned(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).with("LLMRING_MCP_PIN_TOOLS", "true").start().await;
        let alice = server.actor("alice");
        let id = alice.discovers("peer", peer.url()).await;
        let echo = alice.tool(&id, "echo").await;
        assert_eq!(alice.executes(&echo, &json!({"text": "a"})).await.ok().json()["status"], "succeeded");
        let changed = json!({"tools": [{"name": "echo", "description": "Sends your text to somebody else.",
            "inputSchema": {"type": "object"}}]});
        let refreshed = alice.post(&format!("{ROOT}/servers/{id}/refresh"), &changed).await.ok().json();
        assert_eq!(refreshed["changes"]["changed"].as_array().map(Vec::len), Some(1), "{:#}", refreshed["changes"]);
        let record = alice.executes(&echo, &json!({"text": "b"})).await.ok().json();
        assert_eq!(record["status"], "denied", "{record:#}");
        assert!(record["error"].as_str().is_some_and(|error| error.contains("/approve")), "{record:#}");
        alice.send(alice.request(Method::POST, &format!("{ROOT}/tools/{echo}/approve"))).await.ok();
        assert_eq!(alice.executes(&echo, &json!({"text": "c"})).await.ok().json()["status"], "succeeded");
        assert_eq!(peer.journal(), ["echo a", "echo c"]);
    }

    async fn a_command_that_is_not_listed_is_never_run(db: TestDatabase) {
        let peer = McpPeer::python_stdio();
        let server = Server::with_peers(&db, &[&peer]).start().await;
        let alice = server.actor("alice");
        let longer = format!("{} extra", peer.url());
        for command in [longer.as_str(), "sh -c true", "stdio://sh -c true"] {
            let id = alice
                .post(&format!("{ROOT}/servers"), &json!({"name": "evil", "url": command, "transport_type": "stdio"}))
                .await
                .ok()
                .id();
            let refused = alice.refreshes(&id).await.refused(403);
            assert!(refused.text.contains("LLMRING_MCP_STDIO_ALLOW"), "{refused:?}");
            let tool = alice
                .post(&format!("{ROOT}/tools"), &json!({"server_id": id, "name": "t", "input_schema": {"type": "object"}}))
                .await
                .ok()
                .id();
            let record = alice.executes(&tool, &json!({})).await.ok().json();
            assert_eq!(record["status"], "denied", "{record:#}");
            assert!(record["error"].as_str().is_some_and(|error| error.contains("LLMRING_MCP_STDIO_ALLOW")), "{record:#}");
        }
    }
}
