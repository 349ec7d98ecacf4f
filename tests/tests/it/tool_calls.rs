//! Tool calls of conversations: executed once, answered once, in every provider's shape.

use integration::{Actor, McpPeer, Server, on_both_databases};
use reqwest::Method;
use serde_json::{Value, json};

async fn conversation_with(actor: &Actor, message: Value) -> String {
    let id = actor.post("/api/v1/conversations", &json!({})).await.ok().id();
    actor
        .post(&format!("/api/v1/conversations/{id}/messages"), &message)
        .await
        .ok();
    id
}

async fn answer_calls(actor: &Actor, conversation: &str) -> integration::Answer {
    let path = format!("/api/v1/mcp/conversations/{conversation}/tool-calls");
    actor.send(actor.request(Method::POST, &path)).await
}

/// The `tool` messages of a conversation: id of the call and text.
async fn answers(actor: &Actor, conversation: &str) -> Vec<(String, String)> {
    let path = format!("/api/v1/conversations/{conversation}/messages");
    let messages = actor.get(&path).await.ok().json();
    let messages = messages.as_array().expect("an array").iter();
    messages
        .filter(|message| message["role"] == "tool")
        .map(|message| {
            let text = |member: &str| message[member].as_str().unwrap_or_default().to_owned();
            (text("tool_call_id"), text("content"))
        })
        .collect()
}

fn openai(id: &str, name: &str, arguments: &Value) -> Value {
    json!({"id": id, "type": "function", "function": {"name": name, "arguments": arguments.to_string()}})
}

on_both_databases! {
    async fn calls_of_every_provider_are_executed_and_answered_in_order(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice.discovers("peer", peer.url()).await;
        let ada = json!({"text": "ada"});
        for (message, id) in [
            (json!({"role": "assistant", "content": null, "tool_calls": [openai("c1", "echo", &ada)]}), "c1"),
            (json!({"role": "assistant", "content": "x", "metadata": {"tool_calls": [openai("c2", "echo", &ada)]}}), "c2"),
            (json!({"role": "assistant", "content": [{"type": "text", "text": "hm"},
                {"type": "tool_use", "id": "c3", "name": "echo", "input": ada}]}), "c3"),
            (json!({"role": "assistant", "content": [{"functionCall": {"id": "c4", "name": "echo", "args": ada}}]}), "c4"),
        ] {
            let conversation = conversation_with(&alice, message).await;
            let answered = answer_calls(&alice, &conversation).await.ok().json();
            assert_eq!(answered["calls"][0]["tool_call_id"], id, "{answered:#}");
            assert_eq!(answered["calls"][0]["execution"]["status"], "succeeded", "{answered:#}");
            assert_eq!(answers(&alice, &conversation).await, [(id.to_owned(), "ada".to_owned())]);
        }
        let nameless = json!({"role": "assistant", "content": [{"functionCall": {"name": "echo", "args": ada}}]});
        let conversation = conversation_with(&alice, nameless).await;
        answer_calls(&alice, &conversation).await.ok();
        answer_calls(&alice, &conversation).await.ok();
        assert_eq!(answers(&alice, &conversation).await.len(), 1, "a call without an id is answered once as well");
    }

    async fn one_failing_call_harms_no_other(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice.discovers("peer", peer.url()).await;
        let calls = json!([
            openai("a", "broken", &json!({"reason": "because"})),
            openai("b", "echo", &json!({"text": "fine"})),
            openai("c", "no_such_tool", &json!({})),
            openai("d", "echo", &json!({"text": 5})),
            {"id": "e", "function": {"name": "echo", "arguments": "{\"text\": "}},
        ]);
        let conversation = conversation_with(&alice, json!({"role": "assistant", "tool_calls": calls})).await;
        let answered = answer_calls(&alice, &conversation).await.ok().json();
        let status: Vec<&Value> = answered["calls"].as_array().expect("calls").iter().map(|call| &call["status"]).collect();
        assert_eq!(status, ["executed", "executed", "refused", "refused", "refused"], "{answered:#}");
        let said = answers(&alice, &conversation).await;
        let ids: Vec<&str> = said.iter().map(|(id, _)| id.as_str()).collect();
        assert_eq!(ids, ["a", "b", "c", "d", "e"], "in the order of the calls");
        assert!(said[0].1.contains("because"), "{said:?}");
        assert_eq!(said[1].1, "fine");
        assert!(said[2].1.contains("no_such_tool"), "{said:?}");
        assert!(said[3].1.contains("text"), "the path that does not fit: {said:?}");
        assert_eq!(peer.journal().len(), 2);
    }

    async fn a_call_is_executed_and_answered_once_however_often_this_is_asked(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice.discovers("peer", peer.url()).await;
        let calls = json!([openai("a", "echo", &json!({"text": "1"})), openai("b", "echo", &json!({"text": "2"}))]);
        let conversation = conversation_with(&alice, json!({"role": "assistant", "tool_calls": calls})).await;
        let asking = (0..8).map(|_| answer_calls(&alice, &conversation));
        for answer in futures_util::future::join_all(asking).await {
            answer.ok();
        }
        assert_eq!(answers(&alice, &conversation).await.len(), 2);
        let mut journal = peer.journal();
        journal.sort();
        assert_eq!(journal, ["echo 1", "echo 2"]);
        let again = answer_calls(&alice, &conversation).await.ok().json();
        assert_eq!(again["calls"][0]["status"], "answered", "{again:#}");

        // A call that the application answered itself is not executed.
        let path = format!("/api/v1/conversations/{conversation}/messages");
        let next = json!({"role": "assistant", "tool_calls": [openai("a", "echo", &json!({"text": "3"})), openai("z", "echo", &json!({"text": "4"}))]});
        alice.post(&path, &next).await.ok();
        alice.post(&path, &json!({"role": "tool", "tool_call_id": "z", "content": "done"})).await.ok();
        answer_calls(&alice, &conversation).await.ok();
        let journal = peer.journal();
        assert!(journal.contains(&"echo 3".to_owned()), "the same id in a later message is another call: {journal:?}");
        assert!(!journal.contains(&"echo 4".to_owned()), "{journal:?}");
    }

    async fn a_call_that_runs_elsewhere_is_not_answered_before_it_ends(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let (one, two) = (Server::on(&db).start().await, Server::on(&db).start().await);
        let alice = one.actor("alice");
        alice.discovers("peer", peer.url()).await;
        let message = json!({"role": "assistant", "tool_calls": [openai("a", "wait", &json!({"name": "ada"}))]});
        let conversation = conversation_with(&alice, message).await;
        let waiting = {
            let (alice, conversation) = (alice.clone(), conversation.clone());
            tokio::spawn(async move { answer_calls(&alice, &conversation).await })
        };
        peer.journal_says("wait ada").await;
        let elsewhere = answer_calls(&two.actor("alice"), &conversation).await.ok().json();
        assert_eq!(elsewhere["calls"][0]["status"], "not_now", "{elsewhere:#}");
        assert!(answers(&alice, &conversation).await.is_empty());
        waiting.abort();
        peer.journal_says("cancelled ada").await;
    }

    async fn ids_of_calls_may_be_long(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice.discovers("peer", peer.url()).await;
        let id: String = (0..6000_u32).map(|n| char::from_digit(n.wrapping_mul(2_654_435_761) >> 27, 36).unwrap_or('x')).collect();
        let message = json!({"role": "assistant", "tool_calls": [openai(&id, "echo", &json!({"text": "x"}))]});
        let conversation = conversation_with(&alice, message).await;
        let answered = answer_calls(&alice, &conversation).await.ok().json();
        assert_eq!(answered["calls"][0]["status"], "executed", "{answered:#}");
    }

    async fn a_name_of_two_servers_is_told_apart_by_the_server(db: TestDatabase) {
        let (one, two) = (McpPeer::python_http().await, McpPeer::python_http().await);
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice.discovers("peer one", one.url()).await;
        alice.discovers("two", two.url()).await;
        let text = json!({"text": "x"});
        let calls = json!([openai("a", "echo", &text), openai("b", "peer_one__echo", &text), openai("c", "two__echo", &text)]);
        let conversation = conversation_with(&alice, json!({"role": "assistant", "tool_calls": calls})).await;
        answer_calls(&alice, &conversation).await.ok();
        let said = answers(&alice, &conversation).await;
        assert!(said[0].1.contains("peer_one__echo") && said[0].1.contains("two__echo"), "{said:?}");
        assert_eq!((said[1].1.as_str(), said[2].1.as_str()), ("x", "x"));
        assert_eq!((one.journal().len(), two.journal().len()), (1, 1));
    }

    async fn tools_of_another_project_are_not_there(db: TestDatabase) {
        let peer = McpPeer::python_http().await;
        let server = Server::on(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        alice.discovers("peer", peer.url()).await;
        let message = json!({"role": "assistant", "tool_calls": [openai("a", "echo", &json!({"text": "x"}))]});
        let conversation = conversation_with(&bob, message).await;
        answer_calls(&bob, &conversation).await.ok();
        assert!(answers(&bob, &conversation).await[0].1.contains("no active tool"));
        answer_calls(&alice, &conversation).await.refused(404);
        assert!(peer.journal().is_empty());
    }

    async fn a_conversation_in_which_nobody_asks_is_said_to_be_one(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let silent = conversation_with(&alice, json!({"role": "user", "content": "hello"})).await;
        answer_calls(&alice, &silent).await.refused(400);
        let satisfied = conversation_with(&alice, json!({"role": "assistant", "content": "hello"})).await;
        assert_eq!(answer_calls(&alice, &satisfied).await.ok().json()["calls"], json!([]));
    }
}
