//! The Python client's conversations, end to end: its session, its service that records conversations, and its decorators.

use integration::{Actor, Server, on_both_databases};
use serde_json::{Value, json};

use super::client::client;

/// The last line that a program wrote.
fn told(stdout: &str) -> Value {
    let line = stdout.lines().last().unwrap_or_default();
    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {stdout}"))
}

/// Asserts that the conversations' totals are the statistics', and that there are so many calls.
async fn assert_agreement(alice: &Actor, calls: usize) {
    let stats = alice.stats("").await.ok();
    assert_eq!(stats.exact(&["summary", "total_requests"]), calls.to_string());
    let list = alice.get("/conversations?limit=100").await.ok().json();
    let list = list.as_array().expect("an array").iter();
    let (mut tokens, mut cost) = (0, 0.0);
    for conversation in list {
        tokens += conversation["total_input_tokens"].as_u64().expect("a count");
        tokens += conversation["total_output_tokens"].as_u64().expect("a count");
        cost += conversation["total_cost"].as_f64().expect("a number");
    }
    assert_eq!(stats.exact(&["summary", "total_tokens"]), tokens.to_string());
    let total = stats.json()["summary"]["total_cost"].as_f64().expect("a number");
    assert!(total > 0.0 && (total - cost).abs() < 1e-9, "{total} {cost}");
}

on_both_databases! {
    async fn a_session_talks_remembers_and_lists(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        server.has_prices().await;
        let alice = server.actor("alice");
        let begun = told(&client(&alice, &["conversation_session.py", "begin"]).await.stdout);
        let id = begun["id"].as_str().expect("an id").to_owned();
        assert_eq!(begun["roles"], json!(["system", "user", "assistant"]));

        let server = server.restart().await;
        let alice = server.actor("alice");
        let resumed = told(&client(&alice, &["conversation_session.py", "resume", &id]).await.stdout);
        assert_eq!(resumed["loaded"], true);
        assert_eq!(resumed["listed"], json!([id]));
        // What was there, the question and the answer.
        assert_eq!(resumed["history"], json!(5));
        let read = alice.get(&format!("/conversations/{id}")).await.ok().json();
        assert_eq!(read["title"], "Session");
        // Each turn sends the whole history, and that is what is stored.
        assert_eq!(read["message_count"], 3 + 5);
        assert_agreement(&alice, 2).await;

        let shown = client(&alice, &["-m", "llmring.cli", "server", "conversations", "--conversation-id", &id, "--messages"]).await.stdout;
        assert!(shown.contains(&format!("Conversation {id}")) && shown.contains("[assistant] Hello"), "{shown}");
        let shown = client(&alice, &["-m", "llmring.cli", "server", "conversations"]).await.stdout;
        assert!(shown.contains(&format!("{id} :: Session")), "{shown}");
    }

    async fn a_service_that_records_conversations_makes_one_row_a_call(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        server.has_prices().await;
        let alice = server.actor("alice");
        client(&alice, &["recorded_calls.py", "service"]).await;
        assert_agreement(&alice, 2).await;
        let logs = alice.logs("").await.ok().json();
        for log in logs.as_array().expect("an array") {
            assert_eq!((&log["origin"], &log["cost_source"]), (&json!("recording"), &json!("client")), "{log}");
            // Which only the log knows.
            assert_eq!(log["id_at_origin"], log["conversation_id"], "{log}");
        }
    }

    async fn decorators_that_record_conversations_make_one_row_a_call(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        server.has_prices().await;
        let alice = server.actor("alice");
        client(&alice, &["recorded_calls.py", "decorators"]).await;
        assert_agreement(&alice, 3).await;
        let logs = alice.logs("").await.ok().json();
        let mut seen: Vec<_> = logs.as_array().expect("an array").iter()
            .map(|log| (log["provider"].to_string(), log["input_tokens"].to_string(), log["cached_input_tokens"].to_string(), log["cost_source"].to_string()))
            .collect();
        seen.sort();
        let row = |provider: &str| (format!("{provider:?}"), "1200".to_owned(), "1000".to_owned(), "\"registry\"".to_owned());
        assert_eq!(seen, [row("anthropic"), row("google"), row("openai")]);
        let list = alice.get("/conversations?limit=100").await.ok().json();
        for conversation in list.as_array().expect("an array") {
            let id = conversation["id"].as_str().expect("an id");
            let messages = alice.get(&format!("/conversations/{id}/messages")).await.ok().json();
            let messages = messages.as_array().expect("an array");
            let last = messages.last().expect("an answer");
            assert_eq!((&last["role"], &last["content"]), (&json!("assistant"), &json!("Hello")), "{last}");
            assert!(messages[0]["content"].is_string() || messages[0]["content"].is_array(), "{messages:?}");
        }
    }
}
