//! Conversations and their messages: totals, order, levels, whole calls, search, retention, export and import.

use chrono::{TimeDelta, Utc};
use integration::{Actor, Answer, Server, eventually, on_both_databases};
use reqwest::Method;
use serde_json::{Value, json};

const ROOT: &str = "/api/v1/conversations";

async fn begin(actor: &Actor, fields: &Value) -> String {
    actor.post(ROOT, fields).await.ok().id()
}

async fn conversation(actor: &Actor, id: &str) -> Answer {
    actor.get(&format!("{ROOT}/{id}")).await.ok()
}

async fn say(actor: &Actor, id: &str, messages: Value) -> Answer {
    let body = json!({ "messages": messages });
    actor.post(&format!("{ROOT}/{id}/messages/batch"), &body).await
}

async fn log_call(actor: &Actor, call: &Value) -> Answer {
    actor.post(&format!("{ROOT}/log"), call).await
}

async fn change(actor: &Actor, id: &str, fields: &Value) -> Answer {
    let request = actor.request(Method::PATCH, &format!("{ROOT}/{id}"));
    actor.send(request.json(fields)).await
}

async fn delete(actor: &Actor, path: &str) -> Answer {
    actor.send(actor.request(Method::DELETE, path)).await
}

async fn import(actor: &Actor, file: &str) -> Answer {
    let request = actor.request(Method::POST, &format!("{ROOT}/import"));
    let request = request.header("Content-Type", "application/jsonl");
    actor.send(request.body(file.to_owned())).await
}

/// The `content`s of a conversation's messages, in order.
async fn contents(actor: &Actor, id: &str) -> Vec<Value> {
    let messages = actor
        .get(&format!("{ROOT}/{id}/messages?limit=1000"))
        .await
        .ok()
        .json();
    let messages = messages.as_array().expect("an array");
    messages
        .iter()
        .map(|message| message["content"].clone())
        .collect()
}

/// What a service that records conversations sends for one call.
fn call(metadata: Value) -> Value {
    let mut whole = json!({
        "provider": "openai", "model": "gpt-4o-mini", "origin": "app",
        "input_tokens": 100, "output_tokens": 50, "cached_tokens": 0,
    });
    for (name, value) in metadata.as_object().expect("an object") {
        whole[name] = value.clone();
    }
    json!({
        "messages": [{"role": "user", "content": "What is the capital of France?"}],
        "response": {"content": "Paris", "model": "gpt-4o-mini", "finish_reason": "stop", "usage": {}},
        "metadata": whole,
    })
}

async fn titles_found(actor: &Actor, words: &str) -> Vec<String> {
    let words: String = url::form_urlencoded::byte_serialize(words.as_bytes()).collect();
    let found = actor.get(&format!("{ROOT}?q={words}")).await.ok().json();
    let found = found.as_array().expect("an array").iter();
    let mut titles: Vec<String> = found
        .map(|conversation| conversation["title"].as_str().unwrap_or_default().to_owned())
        .collect();
    titles.sort();
    titles
}

on_both_databases! {
    async fn a_conversation_is_begun_read_changed_and_deleted(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let begun = alice.post(ROOT, &json!({"title": "Trip", "max_tokens": null, "model_alias": null})).await.ok();
        let id = begun.id();
        let body = begun.json();
        assert_eq!(body["model_alias"], "default");
        assert_eq!(body["temperature"], 0.7);
        assert_eq!(body["message_count"], 0);
        assert_eq!(begun.exact(&["total_cost"]), "0");
        assert_eq!(body["created_at"], body["updated_at"]);
        assert_eq!(body["last_message_at"], Value::Null);
        assert!(body.get("messages").is_none(), "{body}");

        let changed = change(&alice, &id, &json!({"temperature": 1.5, "title": null, "project_id": "p1"})).await.ok().json();
        assert_eq!((&changed["title"], &changed["temperature"]), (&json!("Trip"), &json!(1.5)));
        assert_eq!(changed["project_id"], "p1");
        assert_eq!(conversation(&alice, &id).await.json()["messages"], json!([]));

        let deleted = delete(&alice, &format!("{ROOT}/{id}")).await.ok().json();
        assert!(deleted["message"].is_string(), "{deleted}");
        alice.get(&format!("{ROOT}/{id}")).await.refused(404);
        delete(&alice, &format!("{ROOT}/{id}")).await.refused(404);
    }

    async fn both_prefixes_are_the_same(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = alice.post("/conversations/", &json!({})).await.ok().id();
        say(&alice, &id, json!([{"role": "user", "content": "hi"}])).await.ok();
        for root in ["/conversations", ROOT] {
            assert_eq!(alice.get(&format!("{root}?limit=5")).await.ok().json()[0]["id"], json!(id));
            assert_eq!(alice.get(&format!("{root}/{id}?message_limit=100")).await.ok().json()["messages"][0]["content"], "hi");
            alice.get(&format!("{root}/{id}/export")).await.ok();
            for (path, allowed) in [(root.to_owned(), "GET, POST"), (format!("{root}/{id}/messages"), "GET, POST")] {
                let refused = delete(&alice, &path).await.refused(405);
                assert_eq!(refused.header("allow"), Some(allowed), "{refused:?}");
            }
        }
    }

    async fn content_is_kept_as_it_was_sent(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = begin(&alice, &json!({})).await;
        let parts = json!([
            {"type": "text", "text": "look"}, {"type": "image_url", "image_url": {"url": "data:,"}},
            {"type": "tool_use", "id": "t1", "name": "f", "input": {"n": 1.5}},
        ]);
        let stored = say(&alice, &id, json!([
            {"role": "system", "content": "be \u{1f600} kind"},
            {"role": "user", "content": parts},
            {"role": "assistant", "content": null, "tool_calls": [{"id": "c1", "function": {"name": "f"}}],
             "input_tokens": 12, "output_tokens": null, "metadata": {"a": 1.10}},
            {"role": "tool", "content": "", "tool_call_id": "c1", "tool_results": [1, "two"], "receipt_id": "rcpt_1"},
        ])).await.ok();
        let body = stored.json();
        assert_eq!(body[1]["content"], parts);
        assert_eq!(body[2]["content"], Value::Null);
        assert_eq!(body[2]["content_hash"], Value::Null);
        assert_eq!(body[2]["tool_calls"][0]["id"], "c1");
        assert_eq!((&body[2]["input_tokens"], &body[2]["output_tokens"]), (&json!(12), &Value::Null));
        assert_eq!(body[3]["tool_results"], json!([1, "two"]));
        // printf 'be \360\237\230\200 kind' | sha256sum
        assert_eq!(body[0]["content_hash"], "1acaacc40f909bed903e1de3ed56b669f5a328c1100c61c1ff6c01383300469a");
        let read = alice.get(&format!("{ROOT}/{id}/messages")).await.ok();
        assert_eq!(read.text, stored.text, "what is read is what was answered");
        assert_eq!(read.exact(&["2", "metadata"]), r#"{"a":1.1}"#);
    }

    async fn messages_come_in_order_and_in_pages(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = begin(&alice, &json!({})).await;
        for batch in 0..3 {
            let messages: Vec<Value> = (0..5)
                .map(|index| json!({"role": "user", "content": format!("{}", batch * 5 + index)}))
                .collect();
            say(&alice, &id, json!(messages)).await.ok();
        }
        let all: Vec<Value> = (0..15).map(|index| json!(index.to_string())).collect();
        assert_eq!(contents(&alice, &id).await, all);
        let newest = alice.get(&format!("{ROOT}/{id}?message_limit=2")).await.ok().json();
        assert_eq!((&newest["messages"][0]["content"], &newest["messages"][1]["content"]), (&json!("13"), &json!("14")));
        assert_eq!(newest["message_count"], 15);
        let page = alice.get(&format!("{ROOT}/{id}/messages?limit=2&offset=4")).await.ok().json();
        assert_eq!((&page[0]["content"], page.as_array().map(Vec::len)), (&json!("4"), Some(2)));
        let without = alice.get(&format!("{ROOT}/{id}?include_messages=false")).await.ok().json();
        assert!(without.get("messages").is_none(), "{without}");
        for beyond in [format!("{ROOT}/{id}/messages?offset=99"), format!("{ROOT}?offset=99")] {
            assert_eq!(alice.get(&beyond).await.ok().text, "[]");
        }
    }

    async fn totals_stay_exact_under_fifty_writers(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = begin(&alice, &json!({})).await;
        let writers = (0..50).map(|writer| {
            let (alice, id) = (alice.clone(), id.clone());
            tokio::spawn(async move {
                for turn in 0..2 {
                    let text = |index: i32| format!("{writer} {turn} {index}");
                    say(&alice, &id, json!([
                        {"role": "user", "content": text(0)},
                        {"role": "assistant", "content": text(1), "input_tokens": 7, "output_tokens": 3},
                    ])).await.ok();
                }
                log_call(&alice, &call(json!({"conversation_id": id, "cost": 0.000_000_1, "input_tokens": 1, "output_tokens": 1}))).await.ok();
            })
        });
        let writers: Vec<_> = writers.collect();
        for writer in writers {
            writer.await.expect("a writer");
        }
        let read = conversation(&alice, &id).await;
        let body = read.json();
        assert_eq!(body["message_count"], 50 * 6);
        assert_eq!(body["total_input_tokens"], 50 * 15);
        assert_eq!(body["total_output_tokens"], 50 * 7);
        assert_eq!(read.exact(&["total_cost"]), "0.000005");
        assert_eq!(alice.stats("").await.exact(&["summary", "total_cost"]), "0.000005");
        let said = contents(&alice, &id).await;
        assert_eq!(said.len(), 300);
        // What came together stays together, and each writer's turns are in order.
        for writer in 0..50 {
            let place = |text: String| said.iter().position(|content| *content == text).expect("a message");
            let first = place(format!("{writer} 0 0"));
            assert_eq!(place(format!("{writer} 0 1")), first + 1);
            assert!(place(format!("{writer} 1 0")) > first);
        }
        let positions: i64 = db.db_value("SELECT CAST(max(position) AS bigint) FROM messages").await;
        assert_eq!(positions, 300, "positions have no gaps");
    }

    async fn a_failed_batch_changes_nothing(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let id = begin(&alice, &json!({"title": "t"})).await;
        let before = conversation(&alice, &id).await.text;
        let good = json!({"role": "user", "content": "x"});
        for (bad, place) in [
            (json!({"role": "narrator", "content": "x"}), "body.messages.1.role"),
            (json!({"content": "x"}), "body.messages.1.role"),
            (json!({"role": "user", "content": {"text": "x"}}), "body.messages.1.content"),
            (json!({"role": "user", "content": 7}), "body.messages.1.content"),
            (json!({"role": "user", "content": [9_007_199_254_740_993_i64]}), "body.messages.1.content"),
            (json!({"role": "user", "tool_calls": ["x"]}), "body.messages.1.tool_calls"),
            (json!({"role": "user", "tool_calls": {}}), "body.messages.1.tool_calls"),
            (json!({"role": "user", "metadata": []}), "body.messages.1.metadata"),
            (json!({"role": "user", "input_tokens": -1}), "body.messages.1.input_tokens"),
            (json!({"role": "user", "tool_call_id": "x".repeat(256)}), "body.messages.1.tool_call_id"),
        ] {
            let refused = say(&alice, &id, json!([good, bad])).await.refused(422);
            assert_eq!(refused.places(), [place], "{bad}");
        }
        say(&alice, &id, json!([])).await.refused(422);
        say(&alice, &id, json!(vec![good.clone(); 1001])).await.refused(422);
        say(&bob, &id, json!([good])).await.refused(404);
        alice.post(&format!("{ROOT}/{id}/messages"), &json!({"role": "user", "content": "x".repeat(20_000_000)})).await.refused(413);
        assert_eq!(conversation(&alice, &id).await.text, before);
        assert_eq!(db.db_count("messages").await, 0);
    }

    async fn fields_out_of_range_are_refused(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = begin(&alice, &json!({})).await;
        for (fields, place) in [
            (json!({"title": "x".repeat(501)}), "body.title"),
            (json!({"model_alias": "x".repeat(256)}), "body.model_alias"),
            (json!({"temperature": 2.1}), "body.temperature"),
            (json!({"temperature": -0.1}), "body.temperature"),
            (json!({"max_tokens": 0}), "body.max_tokens"),
            (json!({"max_tokens": "many"}), "body.max_tokens"),
            (json!({"project_id": "x".repeat(256)}), "body.project_id"),
            (json!({"title": "a\u{0}b"}), "body.title"),
        ] {
            assert_eq!(alice.post(ROOT, &fields).await.refused(422).places(), [place]);
            assert_eq!(change(&alice, &id, &fields).await.refused(422).places(), [place]);
        }
        for query in ["limit=0", "limit=101", "offset=-1", "limit=x", "q=%00"] {
            alice.get(&format!("{ROOT}?{query}")).await.refused(422);
        }
        for query in ["message_limit=0", "message_limit=1001"] {
            alice.get(&format!("{ROOT}/{id}?{query}")).await.refused(422);
        }
        alice.post_text(ROOT, r#"{"title":"a","title":"b"}"#).await.refused(400);
        assert_eq!(db.db_count("conversations").await, 1);
        begin(&alice, &json!({"title": "é".repeat(500), "temperature": 2, "max_tokens": 1})).await;
    }

    async fn another_projects_conversations_do_not_exist(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let id = begin(&alice, &json!({"title": "secret plan"})).await;
        let message = json!({"role": "user", "content": "secret word"});
        alice.post(&format!("{ROOT}/{id}/messages"), &message).await.ok();
        let before = conversation(&alice, &id).await.text;
        for path in ["", "/messages", "/export"] {
            bob.get(&format!("{ROOT}/{id}{path}")).await.refused(404);
        }
        bob.post(&format!("{ROOT}/{id}/messages"), &message).await.refused(404);
        change(&bob, &id, &json!({"title": "mine"})).await.refused(404);
        delete(&bob, &format!("{ROOT}/{id}")).await.refused(404);
        log_call(&bob, &call(json!({"conversation_id": id}))).await.refused(404);
        log_call(&bob, &call(json!({"conversation_id": "no id at all"}))).await.refused(404);
        assert_eq!(bob.get(ROOT).await.ok().text, "[]");
        assert!(titles_found(&bob, "secret").await.is_empty());
        bob.has_nothing().await;
        // A usage log that names it is a log all the same, and nothing of Alice's.
        bob.log_usage(json!({"provider": "openai", "model": "m", "cost": 1, "conversation_id": id, "id_at_origin": id})).await.ok();
        assert_eq!(conversation(&alice, &id).await.text, before);
    }

    async fn the_list_begins_with_what_changed_last(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let mut ids = Vec::new();
        for title in ["a", "b", "c"] {
            ids.push(begin(&alice, &json!({"title": title})).await);
        }
        say(&alice, &ids[0], json!([{"role": "user", "content": "x"}])).await.ok();
        change(&alice, &ids[1], &json!({"title": "b2"})).await.ok();
        let titles = async |query: &str| {
            let list = alice.get(&format!("{ROOT}?{query}")).await.ok().json();
            let list = list.as_array().expect("an array").iter();
            list.map(|one| one["title"].as_str().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(titles("").await, ["b2", "a", "c"]);
        assert_eq!(titles("limit=1&offset=1").await, ["a"]);
    }

    async fn levels_keep_what_they_say(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = begin(&alice, &json!({})).await;
        let batch = |level: &str| json!({"logging_level": level, "conversation_id": id, "messages": [
            {"role": "assistant", "content": "secret", "input_tokens": 5, "tool_calls": [{"arguments": "secret"}],
             "metadata": {"finish_reason": "stop", "tool_calls": [{"arguments": "secret"}]}}]});
        let path = format!("{ROOT}/{id}/messages/batch");
        let none = alice.post(&path, &batch("none")).await.ok();
        assert_eq!(none.text, "[]");
        assert_eq!(db.db_count("messages").await, 0);
        let metadata = alice.post(&path, &batch("metadata")).await.ok();
        assert!(!metadata.text.contains("secret"), "{metadata:?}");
        let body = metadata.json();
        assert_eq!(body[0]["metadata"], json!({"finish_reason": "stop"}));
        // printf secret | sha256sum
        assert_eq!(body[0]["content_hash"], "2bb80d537b1da3e38bd30361aa855686bde0eacd7162fef6a25fe97bf527a25b");
        assert_eq!(body[0]["input_tokens"], 5);
        let full = alice.post(&path, &batch("full")).await.ok().json();
        assert_eq!(full[0]["content"], "secret");
        alice.post(&path, &batch("loud")).await.refused(422);
        assert_eq!(conversation(&alice, &id).await.json()["message_count"], 2);

        let strict = Server::on(&db).with("LLMRING_MESSAGE_LOGGING_LEVEL", "metadata").start().await;
        let alice = strict.actor("alice");
        let stricter = alice.post(&path, &batch("full")).await.ok();
        assert!(!stricter.text.contains("secret"), "{stricter:?}");

        let silent = Server::on(&db).with("LLMRING_MESSAGE_LOGGING_LEVEL", "none").start().await;
        let alice = silent.actor("alice");
        assert_eq!(alice.post(&path, &batch("full")).await.ok().text, "[]");
        let one = alice.post(&format!("{ROOT}/{id}/messages"), &json!({"role": "user", "content": "secret"})).await.ok();
        assert_eq!((&one.json()["id"], &one.json()["content"]), (&Value::Null, &Value::Null));
        let logged = log_call(&alice, &call(json!({"cost": 0.5}))).await.ok().json();
        assert_eq!(logged["message_id"], Value::Null);
        let logged = conversation(&alice, logged["conversation_id"].as_str().expect("an id")).await;
        assert_eq!(logged.exact(&["total_cost"]), "0.5");
        assert_eq!((&logged.json()["message_count"], &logged.json()["total_input_tokens"]), (&json!(0), &json!(100)));
        assert_eq!(db.db_count("messages").await, 3);
    }

    async fn without_tracking_nothing_is_recorded(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let id = begin(&server.actor("alice"), &json!({})).await;
        let deaf = Server::on(&db).with("LLMRING_ENABLE_CONVERSATION_TRACKING", "false").start().await;
        let alice = deaf.actor("alice");
        let message = json!({"role": "user", "content": "x"});
        for refused in [
            alice.post(ROOT, &json!({})).await,
            log_call(&alice, &call(json!({}))).await,
            say(&alice, &id, json!([message])).await,
            alice.post(&format!("{ROOT}/{id}/messages"), &message).await,
            import(&alice, "{}").await,
        ] {
            let refused = refused.refused(400);
            let detail = refused.json()["detail"].to_string();
            assert!(detail.contains("LLMRING_ENABLE_CONVERSATION_TRACKING"), "{detail}");
        }
        conversation(&alice, &id).await;
        assert_eq!((db.db_count("messages").await, db.db_count("usage_logs").await), (0, 0));
    }

    async fn a_logged_call_is_conversation_messages_and_one_usage_row(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        server.has_prices().await;
        let alice = server.actor("alice");
        let logged = log_call(&alice, &call(json!({"input_tokens": 1200, "output_tokens": 350, "cached_tokens": 1000}))).await.ok().json();
        assert_eq!(logged["receipt"], Value::Null);
        let id = logged["conversation_id"].as_str().expect("an id");
        let read = conversation(&alice, id).await;
        let body = read.json();
        assert_eq!(body["messages"][1]["id"], logged["message_id"]);
        assert_eq!(body["messages"][1]["content"], "Paris");
        assert_eq!((&body["messages"][1]["input_tokens"], &body["messages"][1]["output_tokens"]), (&json!(1200), &json!(350)));
        assert_eq!(body["messages"][1]["metadata"]["finish_reason"], "stop");
        assert_eq!((&body["total_input_tokens"], &body["total_output_tokens"]), (&json!(1200), &json!(350)));
        // The same as the same counts at /api/v1/log.
        assert_eq!(read.exact(&["total_cost"]), "0.000315");
        let logs = alice.logs("").await.ok();
        assert_eq!(logs.json().as_array().map(Vec::len), Some(1));
        assert_eq!((&logs.json()[0]["conversation_id"], &logs.json()[0]["origin"]), (&json!(id), &json!("app")));
        assert_eq!((logs.json()[0]["cost_source"].clone(), logs.exact(&["0", "cost"])), (json!("registry"), "0.000315".to_owned()));
        alice.cost_of(logs.json()[0]["id"].as_str().unwrap_or_default()).await.ok();

        // Appended, not merged: clients send the whole history each turn.
        log_call(&alice, &call(json!({"conversation_id": id}))).await.ok();
        assert_eq!(contents(&alice, id).await.len(), 4);
        delete(&alice, &format!("{ROOT}/{id}")).await.ok();
        assert_eq!(alice.stats("").await.exact(&["summary", "total_requests"]), "2");
        assert_eq!(db.db_count("messages").await, 0);
    }

    async fn a_log_that_follows_completes_the_row(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let logged = log_call(&alice, &call(json!({"cost": 0.25}))).await.ok().json();
        let id = logged["conversation_id"].as_str().expect("an id");
        let row = alice.logs("").await.ok().json()[0]["id"].clone();
        let log = json!({
            "provider": "openai", "model": "gpt-4o-mini", "input_tokens": 100, "output_tokens": 50, "cached_input_tokens": 0,
            "alias": "fast", "profile": "prod", "origin": "app2", "cost": 0.5, "latency_ms": 12, "id_at_origin": id,
            "metadata": {"model_alias": "openai:gpt-4o-mini", "conversation_id": id},
        });
        let completed = alice.log_usage_once("k1", &log).await.ok();
        assert_eq!(completed.json()["log_id"], row);
        assert_eq!(completed.exact(&["cost"]), "0.5");
        assert_eq!(alice.log_usage_once("k1", &log).await.ok().text, completed.text, "a repetition adds nothing");
        let logs = alice.logs("").await.ok();
        let seen = &logs.json()[0];
        assert_eq!((logs.json().as_array().map(Vec::len), logs.exact(&["0", "cost"])), (Some(1), "0.5".to_owned()));
        for (member, value) in [("alias", json!("fast")), ("profile", json!("prod")), ("origin", json!("app2")), ("latency_ms", json!(12)), ("conversation_id", json!(id))] {
            assert_eq!(seen[member], value, "{member}");
        }
        let stats = alice.stats("").await.ok();
        assert_eq!((stats.exact(&["summary", "total_requests"]), stats.exact(&["summary", "total_cost"])), ("1".into(), "0.5".into()));
        assert_eq!(stats.json()["by_origin"], json!({"app2": {"requests": 1, "cost": 0.5}}));
        assert_eq!(stats.json()["by_alias"]["fast"]["input_tokens"], 100);
        let read = conversation(&alice, id).await;
        assert_eq!((read.exact(&["total_cost"]), read.json()["total_input_tokens"].clone()), ("0.5".into(), json!(100)));

        // The next one is a call of its own, and belongs to the conversation.
        alice.log_usage(log.clone()).await.ok();
        assert_eq!(alice.stats("").await.exact(&["summary", "total_requests"]), "2");
        let read = conversation(&alice, id).await;
        assert_eq!((read.exact(&["total_cost"]), read.json()["total_input_tokens"].clone()), ("1".into(), json!(200)));
    }

    async fn a_call_of_a_deleted_conversation_is_never_completed_by_another_project(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let (alice, mallory) = (server.actor("alice"), server.actor("mallory"));
        let logged = log_call(&alice, &call(json!({"cost": 0.25, "alias": "hers"}))).await.ok().json();
        let id = logged["conversation_id"].as_str().expect("an id").to_owned();
        let (logs, stats) = (alice.logs("").await.ok().text, alice.stats("").await.ok().text);
        delete(&alice, &format!("{ROOT}/{id}")).await.ok();
        assert_eq!(db.db_count("awaited_logs").await, 0, "no log is awaited for a conversation that is gone");

        // The id is free now.
        let taken = import(&mallory, &json!({"id": id, "title": "mine"}).to_string()).await.ok();
        assert_eq!(taken.id(), id);
        let log = json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 100, "output_tokens": 50, "cost": 7,
            "alias": "stolen", "origin": "mallory", "conversation_id": id});
        mallory.log_usage(log).await.ok();
        assert_eq!(alice.logs("").await.ok().text, logs);
        assert_eq!(alice.stats("").await.ok().text, stats);
        let of_mallory = mallory.logs("").await.ok();
        assert_eq!((of_mallory.json().as_array().map(Vec::len), of_mallory.exact(&["0", "cost"])), (Some(1), "7".to_owned()));
        assert_eq!(conversation(&mallory, &id).await.exact(&["total_cost"]), "7");
        assert_eq!(db.db_count("usage_logs").await, 2);
    }

    async fn another_count_or_model_is_another_call(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let logged = log_call(&alice, &call(json!({"cost": 0.25}))).await.ok().json();
        let log = json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 100, "output_tokens": 51, "cost": 0.25,
            "conversation_id": logged["conversation_id"]});
        let other = json!({"provider": "openai", "model": "gpt-4o", "input_tokens": 100, "output_tokens": 50, "cost": 0.25,
            "conversation_id": logged["conversation_id"]});
        alice.log_batch(&[log, other]).await.ok();
        assert_eq!(alice.stats("").await.exact(&["summary", "total_requests"]), "3");
    }

    async fn a_session_counts_its_calls_once(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = begin(&alice, &json!({})).await;
        for turn in 1..=3 {
            alice.log_usage(json!({"provider": "openai", "model": "m", "input_tokens": 10, "output_tokens": 4, "cost": 0.1,
                "id_at_origin": id, "metadata": {"conversation_id": id}})).await.ok();
            say(&alice, &id, json!([
                {"role": "user", "content": "q"},
                {"role": "assistant", "content": "a", "input_tokens": 10, "output_tokens": 4},
            ])).await.ok();
            let read = conversation(&alice, &id).await.json();
            assert_eq!((&read["total_input_tokens"], &read["total_output_tokens"]), (&json!(10 * turn), &json!(4 * turn)));
        }
        assert_eq!(conversation(&alice, &id).await.exact(&["total_cost"]), "0.3");
        let stats = alice.stats("").await.ok();
        assert_eq!((stats.exact(&["summary", "total_tokens"]), stats.exact(&["summary", "total_cost"])), ("42".into(), "0.3".into()));
    }

    async fn logging_a_call_again_with_its_key_adds_nothing(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let with_key = async |call: &Value| {
            let request = alice.request(Method::POST, &format!("{ROOT}/log")).header("Idempotency-Key", "once");
            alice.send(request.json(call)).await
        };
        let calls = (0..8).map(|_| with_key(&CALL));
        let mut answers = Vec::new();
        for call in calls {
            answers.push(call.await.ok().text);
        }
        answers.dedup();
        assert_eq!(answers.len(), 1, "{answers:?}");
        with_key(&call(json!({"cost": 2}))).await.refused(409);
        alice.log_usage_once("once", &json!({"provider": "openai", "model": "m"})).await.refused(409);
        assert_eq!((db.db_count("conversations").await, db.db_count("messages").await, db.db_count("usage_logs").await), (1, 2, 1));
        // One that fails claims nothing.
        let lost = call(json!({"conversation_id": "00000000-0000-7000-8000-000000000000"}));
        let request = alice.request(Method::POST, &format!("{ROOT}/log")).header("Idempotency-Key", "again");
        alice.send(request.json(&lost)).await.refused(404);
        let request = alice.request(Method::POST, &format!("{ROOT}/log")).header("Idempotency-Key", "again");
        alice.send(request.json(&*CALL)).await.ok();
    }

    async fn a_call_that_breaks_a_rule_leaves_nothing(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for (metadata, place) in [
            (json!({"cost": -1}), "body.metadata.cost"),
            (json!({"alias": "x".repeat(256)}), "body.metadata.alias"),
        ] {
            assert_eq!(log_call(&alice, &call(metadata)).await.refused(422).places(), [place]);
        }
        log_call(&alice, &call(json!({"input_tokens": -1}))).await.refused(422);
        alice.post_text(&format!("{ROOT}/log"), "{").await.refused(400);
        alice.has_nothing().await;
        assert_eq!((db.db_count("conversations").await, db.db_count("messages").await), (0, 0));
    }

    async fn what_can_be_made_sense_of_is_logged(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let logged = log_call(&alice, &json!({
            "messages": [
                {"role": "developer", "content": "rules"},
                {"role": "user", "parts": [{"text": "google"}]},
                {"role": "model", "parts": [{"text": "hi"}]},
                {"role": "assistant", "content": [{"type": "tool_use", "id": "t", "name": "f", "input": {"id": 12_345_678_901_234_567_890_u64}}]},
                {"role": "function", "name": "f", "content": "42"},
                {"content": "nobody said this"},
            ],
            "response": {"content": [{"type": "text", "text": "done"}], "model": "claude-sonnet-4-5", "usage": {
                "prompt_tokens": 20, "completion_tokens": 10, "cached_tokens": null, "cache_creation_tokens": 6}},
            "metadata": {"provider": "anthropic", "model": null},
        })).await.ok().json();
        let read = conversation(&alice, logged["conversation_id"].as_str().expect("an id")).await.json();
        let messages = read["messages"].as_array().expect("messages");
        let roles: Vec<&str> = messages.iter().filter_map(|message| message["role"].as_str()).collect();
        assert_eq!(roles, ["system", "user", "assistant", "assistant", "tool", "user", "assistant"]);
        assert_eq!(messages[0]["metadata"], json!({"role": "developer"}));
        assert_eq!(messages[1]["content"], json!([{"text": "google"}]));
        assert_eq!(messages[3]["content"][0]["input"]["id"].to_string(), "12345678901234567890");
        assert_eq!(messages[6]["content"][0]["text"], "done");
        let log = alice.logs("").await.ok().json()[0].clone();
        assert_eq!((&log["model"], &log["input_tokens"]), (&json!("claude-sonnet-4-5"), &json!(20)));
        assert_eq!((&log["cache_write_5m_tokens"], &log["input_includes_cached"]), (&json!(6), &json!(false)));
    }

    async fn words_are_found_in_titles_and_messages(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let trip = begin(&alice, &json!({"title": "Trip to Lisbon"})).await;
        let code = begin(&alice, &json!({"title": "Code review"})).await;
        let vague = begin(&alice, &json!({"title": "Untitled thing"})).await;
        say(&alice, &trip, json!([{"role": "user", "content": "Book a hotel, please: snake_case@example.com"}])).await.ok();
        say(&alice, &code, json!([{"role": "user", "content": [
            {"type": "text", "text": "The hotel module panics"},
            {"type": "tool_result", "content": [{"type": "text", "text": "deeply nested"}]},
            {"type": "image", "source": {"data": "cGFuaWM"}}]}])).await.ok();
        assert_eq!(titles_found(&alice, "lisbon").await, ["Trip to Lisbon"]);
        assert_eq!(titles_found(&alice, "HOTEL").await, ["Code review", "Trip to Lisbon"]);
        assert_eq!(titles_found(&alice, "hotel panics").await, ["Code review"]);
        assert_eq!(titles_found(&alice, "nested").await, ["Code review"]);
        assert_eq!(titles_found(&alice, "example").await, ["Trip to Lisbon"]);
        assert_eq!(titles_found(&alice, "snake_case@example.com").await, ["Trip to Lisbon"]);
        for nothing in ["hot", "hotel airport", "cGFuaWM", "type", "\"", "title:x OR", "hotel NOT book", "*"] {
            assert!(titles_found(&alice, nothing).await.is_empty(), "{nothing}");
        }
        // Numbers that PostgreSQL's jsonb cannot hold do not keep a call from being logged.
        let odd = r#"{"messages":[{"role":"user","content":[{"n":1e-20000}]}],"metadata":{"provider":"p","model":"m","cost":0}}"#;
        alice.post_text(&format!("{ROOT}/log"), odd).await.ok();
        change(&alice, &vague, &json!({"title": "Porto"})).await.ok();
        assert_eq!(titles_found(&alice, "porto").await, ["Porto"]);
        assert!(titles_found(&alice, "untitled").await.is_empty());
        delete(&alice, &format!("{ROOT}/{code}")).await.ok();
        assert_eq!(titles_found(&alice, "hotel").await, ["Trip to Lisbon"]);
        delete(&alice, &format!("{ROOT}/old-messages?retention_days=0")).await.ok();
        assert!(titles_found(&alice, "hotel").await.is_empty());
        assert_eq!(titles_found(&alice, "trip").await, ["Trip to Lisbon"]);
    }

    async fn words_are_cut_alike_on_both_databases(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let texts = [
            "foo-bar", "a.b", "c++", "user@example.com", "東京に行く。", "Été à Zürich", "МОСКВА", "1e5 3.14 v2", "it's", "naïve—dash",
            "https://docs.rs/axum/0.8?q=1#top", "x_y", "½ ２３", "🙂smile",
        ];
        for text in texts {
            let id = begin(&alice, &json!({"title": text})).await;
            say(&alice, &id, json!([{"role": "user", "content": format!("said {text}")}])).await.ok();
        }
        for (question, found) in [
            ("foo", &["foo-bar"][..]), ("bar-foo", &["foo-bar"]), ("foobar", &[]), ("A.B", &["a.b"]), ("C", &["c++"]), ("c++", &["c++"]),
            ("example", &["user@example.com"]), ("user@example.com", &["user@example.com"]), ("東京", &["東京に行く。"]), ("京", &["東京に行く。"]),
            ("大阪", &[]), ("ÉTÉ", &["Été à Zürich"]), ("ete", &[]), ("zürich", &["Été à Zürich"]), ("москва", &["МОСКВА"]), ("1e5", &["1e5 3.14 v2"]),
            ("3", &["1e5 3.14 v2"]), ("V2", &["1e5 3.14 v2"]), ("its", &[]), ("it", &["it's"]), ("dash", &["naïve—dash"]), ("naïve", &["naïve—dash"]),
            ("docs.rs", &["https://docs.rs/axum/0.8?q=1#top"]), ("axum", &["https://docs.rs/axum/0.8?q=1#top"]), ("y", &["x_y"]), ("２３", &["½ ２３"]),
            ("smile", &["🙂smile"]), ("🙂", &[]), ("said smile", &["🙂smile"]), ("AND", &[]),
        ] {
            assert_eq!(titles_found(&alice, question).await, found, "{question}");
        }
    }

    async fn old_messages_of_the_caller_are_deleted_when_asked(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let old = (Utc::now() - TimeDelta::days(40)).to_rfc3339();
        let file = old_conversation(&old, 1200);
        let mine = import(&alice, &file).await.ok().id();
        let theirs = import(&bob, &file).await.ok().id();
        assert_ne!(mine, theirs);
        say(&alice, &mine, json!([{"role": "user", "content": "new", "input_tokens": 5}])).await.ok();
        let kept = delete(&alice, &format!("{ROOT}/old-messages?retention_days=50")).await.ok().json();
        assert_eq!(kept, json!({"deleted_count": 0, "retention_days": 50}));
        let deleted = delete(&alice, "/conversations/old-messages").await.ok().json();
        assert_eq!(deleted, json!({"deleted_count": 1200, "retention_days": 30}));
        let read = conversation(&alice, &mine).await.json();
        assert_eq!((&read["message_count"], &read["messages"][0]["content"]), (&json!(1), &json!("new")));
        assert_eq!(read["total_input_tokens"], 1205, "what was used stays used");
        assert_eq!(conversation(&bob, &theirs).await.json()["message_count"], 1200);
        delete(&alice, &format!("{ROOT}/old-messages?retention_days=-1")).await.refused(422);
        // Positions are never given twice.
        say(&alice, &mine, json!([{"role": "user", "content": "newer"}])).await.ok();
        assert_eq!(contents(&alice, &mine).await, ["new", "newer"]);
    }

    async fn old_messages_go_by_themselves_where_that_is_switched_on(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let old = (Utc::now() - TimeDelta::days(8)).to_rfc3339();
        let mine = import(&alice, &old_conversation(&old, 700)).await.ok().id();
        import(&bob, &old_conversation(&old, 3)).await.ok();
        say(&alice, &mine, json!([{"role": "user", "content": "new"}])).await.ok();
        let tidy = Server::on(&db)
            .with("LLMRING_MESSAGE_RETENTION", "auto")
            .with("LLMRING_MESSAGE_RETENTION_DAYS", "7")
            .start().await;
        eventually("old messages to be gone", async || (db.db_count("messages").await == 1).then_some(())).await;
        assert_eq!(contents(&tidy.actor("alice"), &mine).await, ["new"]);
    }

    async fn an_exported_conversation_comes_back_as_it_was(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let logged = log_call(&alice, &call(json!({"cost": 0.123}))).await.ok().json();
        let id = logged["conversation_id"].as_str().expect("an id").to_owned();
        change(&alice, &id, &json!({"title": "t", "system_prompt": "line\nbreak", "max_tokens": 9})).await.ok();
        let many: Vec<Value> = (0..120).map(|index| json!({"role": "user", "content": [{"text": index.to_string()}]})).collect();
        say(&alice, &id, json!(many)).await.ok();
        let before = alice.get(&format!("{ROOT}/{id}?message_limit=1000")).await.ok().text;
        let export = alice.get(&format!("{ROOT}/{id}/export")).await.ok();
        assert_eq!(export.header("content-type"), Some("application/jsonl"));
        assert_eq!(export.text.lines().count(), 1 + 122);
        assert!(export.text.ends_with('\n'));

        delete(&alice, &format!("{ROOT}/{id}")).await.ok();
        import(&alice, &export.text).await.ok();
        assert_eq!(alice.get(&format!("{ROOT}/{id}?message_limit=1000")).await.ok().text, before);

        // Elsewhere, and once more here, the ids are taken.
        for actor in [&alice, &bob] {
            let copy = import(actor, &export.text).await.ok().id();
            assert_ne!(copy, id);
            assert_eq!(contents(actor, &copy).await.len(), 122);
        }
        assert_eq!(db.db_count("usage_logs").await, 1);
    }

    async fn below_full_nothing_that_was_said_is_kept_anywhere(db: TestDatabase) {
        for level in ["metadata", "none"] {
            let server = Server::on(&db).with("LLMRING_MESSAGE_LOGGING_LEVEL", level).start().await;
            let alice = server.actor("alice");
            let mut whole = call(json!({"cost": 1, "alias": "fast", "prompt": "zanzibar", "trace": {"said": "zanzibar"},
                "profile": null, "origin": "app"}));
            whole["messages"] = json!([{"role": "user", "content": "zanzibar", "metadata": {"summary": "zanzibar", "origin": "app"}}]);
            whole["response"]["finish_reason"] = json!({"said": "zanzibar"});
            whole["response"]["tool_calls"] = json!("zanzibar");
            let logged = log_call(&alice, &whole).await.ok().json();
            let id = logged["conversation_id"].as_str().expect("an id");
            let messages = [json!({"role": "assistant", "metadata": {"cost": 0.5, "tool_calls": [{"arguments": "zanzibar"}], "note": "zanzibar"}})];
            say(&alice, id, json!(messages)).await.ok();
            let metadata = alice.logs("").await.ok().json()[0]["metadata"].clone();
            assert_eq!((&metadata["alias"], &metadata["input_tokens"]), (&json!("fast"), &json!(100)), "{metadata}");
            if level == "metadata" {
                let read = conversation(&alice, id).await.json();
                assert_eq!(read["messages"][0]["metadata"], json!({"origin": "app"}));
                assert_eq!(read["messages"][2]["metadata"], json!({"cost": 0.5}));
            }
            assert!(!db.db_contains("zanzibar").await, "{level}");
        }
    }

    async fn a_list_of_large_messages_is_written_while_it_is_read(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = begin(&alice, &json!({})).await;
        let texts: Vec<Value> = (0..25).map(|index| json!(format!("{index} {}", "x".repeat(300_000)))).collect();
        let messages: Vec<Value> = texts.iter().map(|text| json!({"role": "user", "content": text})).collect();
        say(&alice, &id, json!(messages)).await.ok();
        let texts_of = |messages: &Value| -> Vec<Value> {
            messages.as_array().expect("messages").iter().map(|message| message["content"].clone()).collect()
        };
        let list = alice.get(&format!("{ROOT}/{id}/messages")).await.ok();
        assert_eq!(list.header("content-length"), None, "7 MB are written in pieces");
        assert_eq!(list.header("content-type"), Some("application/json; charset=utf-8"));
        assert_eq!(texts_of(&list.json()), texts);
        for (query, part) in [
            ("limit=3&offset=20", &texts[20..23]), ("offset=24", &texts[24..]), ("limit=1", &texts[..1]), ("offset=25", &[]),
            ("offset=9007199254740991", &[]),
        ] {
            let list = alice.get(&format!("{ROOT}/{id}/messages?{query}")).await.ok();
            assert_eq!(texts_of(&list.json()), part, "{query}");
        }
        for (query, part) in [("", &texts[..]), ("message_limit=7", &texts[18..]), ("message_limit=1", &texts[24..])] {
            let read = alice.get(&format!("{ROOT}/{id}?{query}")).await.ok().json();
            assert_eq!((texts_of(&read["messages"]), &read["message_count"]), (part.to_vec(), &json!(25)), "{query}");
        }
        let bare = alice.get(&format!("{ROOT}/{id}?include_messages=false")).await.ok().json();
        assert!(bare.get("messages").is_none(), "{bare}");
        assert_eq!(alice.get(&format!("{ROOT}/{id}/export")).await.ok().text.lines().count(), 26);
    }

    async fn whatever_was_once_accepted_can_be_imported(db: TestDatabase) {
        const MOST: usize = 200_000;
        let server = Server::on(&db).with("LLMRING_MAX_BODY_BYTES", &MOST.to_string()).start().await;
        let alice = server.actor("alice");
        let deep = format!("{}1{}", "[".repeat(100), "]".repeat(100));
        let odd = format!(
            r#"{{"messages":[{{"role":"user","content":[{{"id":12345678901234567890,"ratio":1.10}},{deep}]}},
                {{"role":"tool","tool_call_id":"{}","content":"42"}}],"metadata":{{"provider":"p","model":"m","cost":0}}}}"#,
            "c".repeat(300)
        );
        let logged = alice.post_text(&format!("{ROOT}/log"), &odd).await.ok().json();
        let id = logged["conversation_id"].as_str().expect("an id").to_owned();
        // Each request fits; the whole does not. Nor is any sum of counts a count that one request may have.
        for _ in 0..3 {
            say(&alice, &id, json!([{"role": "user", "content": "x".repeat(MOST - 1000)}])).await.ok();
            alice.log_usage(json!({"provider": "p", "model": "m", "input_tokens": 1_000_000_000_000_u64, "cost": 0, "conversation_id": id})).await.ok();
        }
        let before = conversation(&alice, &id).await;
        assert_eq!(before.json()["total_input_tokens"], 3_000_000_000_000_u64);
        let hash = before.json()["messages"][0]["content_hash"].clone();
        assert_eq!(hash.as_str().map(str::len), Some(64), "{hash}");
        let export = alice.get(&format!("{ROOT}/{id}/export")).await.ok().text;
        assert!(export.len() > 2 * MOST);
        delete(&alice, &format!("{ROOT}/{id}")).await.ok();
        import(&alice, &export).await.ok();
        assert_eq!(conversation(&alice, &id).await.text, before.text);

        let small = Server::on(&db).with("LLMRING_MAX_IMPORT_BYTES", &MOST.to_string()).start().await;
        let refused = import(&small.actor("alice"), &export).await.refused(413);
        assert!(refused.text.contains("LLMRING_MAX_IMPORT_BYTES"), "{refused:?}");
    }

    async fn imports_that_share_ids_get_along(db: TestDatabase) {
        const MESSAGES: usize = 1200;
        let (one, two) = (Server::on(&db).start().await, Server::on(&db).start().await);
        let alice = one.actor("alice");
        let id = import(&alice, &old_conversation("2026-01-01T00:00:00Z", MESSAGES)).await.ok().id();
        let export = alice.get(&format!("{ROOT}/{id}/export")).await.ok().text;
        delete(&alice, &format!("{ROOT}/{id}")).await.ok();
        let (first, rest) = export.split_once('\n').expect("lines");
        let mut backwards: Vec<&str> = rest.lines().rev().collect();
        let another = first.replace(&id, "01890a5d-ac96-774b-bcce-b302099a8057");
        backwards.insert(0, &another);
        let files = [export.clone(), backwards.join("\n"), format!("{first}\n{0}\n{0}", rest.lines().next().expect("a line"))];
        let imports = (0..12).map(|index| {
            let actor = [&one, &two][index % 2].actor(["alice", "bob"][index / 2 % 2]);
            let file = files[index % 3].clone();
            tokio::spawn(async move {
                let imported = import(&actor, &file).await.ok();
                (contents(&actor, &imported.id()).await.len(), index)
            })
        });
        let imports: Vec<_> = imports.collect();
        for import in imports {
            let (kept, index) = import.await.expect("an import");
            // Of a conversation's messages, a list has at most 1000.
            assert_eq!(kept, if index % 3 == 2 { 2 } else { 1000 });
        }
        let messages = 8 * MESSAGES + 4 * 2;
        assert_eq!(db.db_count("messages").await, i64::try_from(messages).expect("a count"));
    }

    async fn a_time_that_leaves_the_calendar_in_utc_is_refused(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for time in ["9999-12-31T23:59:59-00:01", "0000-01-01T00:00:00+00:01"] {
            let refused = import(&alice, &json!({"created_at": time}).to_string()).await.refused(422);
            assert_eq!(refused.places(), ["body.1.created_at"], "{time}");
            let message = json!({"role": "user", "timestamp": time});
            assert_eq!(import(&alice, &format!("{{}}\n{message}")).await.refused(422).places(), ["body.2.timestamp"]);
        }
        assert_eq!(db.db_count("conversations").await, 0);
        let edges = json!({"created_at": "0000-01-01T00:00:00Z", "updated_at": "9999-12-31T23:59:59+23:59"});
        import(&alice, &edges.to_string()).await.ok();
        assert_eq!(alice.get(ROOT).await.ok().json()[0]["created_at"], "0000-01-01T00:00:00.000000Z");
    }

    async fn the_time_of_the_last_change_never_goes_back(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = begin(&alice, &json!({})).await;
        // As a replica wrote it whose clock is ahead.
        let ahead = Utc::now() + TimeDelta::hours(1);
        db.db_change("UPDATE conversations SET updated_at = $1", [ahead.into()]).await;
        let shown = conversation(&alice, &id).await.json()["updated_at"].clone();
        let log = json!({"provider": "p", "model": "m", "cost": 0, "conversation_id": id});
        change(&alice, &id, &json!({"title": "t"})).await.ok();
        say(&alice, &id, json!([{"role": "user", "content": "hi"}])).await.ok();
        alice.log_usage(log.clone()).await.ok();
        assert_eq!(conversation(&alice, &id).await.json()["updated_at"], shown);
        db.db_change("UPDATE conversations SET updated_at = $1", [(ahead - TimeDelta::hours(2)).into()]).await;
        let before = conversation(&alice, &id).await.json()["updated_at"].clone();
        alice.log_usage(log).await.ok();
        assert_ne!(conversation(&alice, &id).await.json()["updated_at"], before);
        // Nor does an import freeze it.
        let copy = import(&alice, &json!({"updated_at": ahead}).to_string()).await.ok().json();
        assert!(copy["updated_at"].as_str() < shown.as_str(), "{copy}");
    }

    async fn a_file_with_a_bad_line_leaves_nothing(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let refused = import(&alice, "{\"title\":\"t\"}\n{\"role\":\"user\"}\n{\"role\":\"narrator\"}\n").await.refused(422);
        assert_eq!(refused.places(), ["body.3.role"]);
        let refused = import(&alice, "{\"temperature\":3}\n{\"role\":\"user\",\"content\":[9007199254740993]}").await.refused(422);
        assert_eq!(refused.places(), ["body.1.temperature"]);
        import(&alice, "{\"title\":\"t\"}\nnot json").await.refused(400);
        import(&alice, "").await.refused(400);
        let request = alice.request(Method::POST, &format!("{ROOT}/import")).header("Content-Type", "image/png").body("{}");
        alice.send(request).await.refused(415);
        assert_eq!((db.db_count("conversations").await, db.db_count("messages").await), (0, 0));
    }

    async fn fifty_clients_that_report_twice_make_one_row_a_call(db: TestDatabase) {
        let (one, two) = (Server::on(&db).start().await, Server::on(&db).start().await);
        let alice = one.actor("alice");
        let mut shared = Vec::new();
        for _ in 0..5 {
            shared.push(begin(&alice, &json!({})).await);
        }
        let clients = (0..50_usize).map(|client| {
            let id = shared[client % 5].clone();
            let (first, second) = if client % 2 == 0 { (&one, &two) } else { (&two, &one) };
            let (first, second) = (first.actor("alice"), second.actor("alice"));
            tokio::spawn(async move {
                let counts = json!({"input_tokens": client, "output_tokens": 1, "cost": 0.001, "conversation_id": id});
                log_call(&first, &call(counts.clone())).await.ok();
                let mut log = json!({"provider": "openai", "model": "gpt-4o-mini", "alias": format!("a{}", client % 3), "cost": 0.002});
                for member in ["input_tokens", "output_tokens", "conversation_id"] {
                    log[member] = counts[member].clone();
                }
                second.log_usage(log).await.ok();
            })
        });
        let clients: Vec<_> = clients.collect();
        for client in clients {
            client.await.expect("a client");
        }
        let stats = alice.stats("").await.ok();
        assert_eq!(stats.exact(&["summary", "total_requests"]), "50");
        assert_eq!(stats.exact(&["summary", "total_cost"]), "0.1");
        let by_alias = stats.json()["by_alias"].clone();
        let by_alias: Vec<_> = ["a0", "a1", "a2"].map(|alias| by_alias[alias]["requests"].clone()).into();
        assert_eq!(by_alias, [17, 17, 16]);
        let (mut input, mut messages) = (0, 0);
        for id in &shared {
            let read = conversation(&alice, id).await;
            assert_eq!(read.exact(&["total_cost"]), "0.02");
            input += read.json()["total_input_tokens"].as_u64().expect("a count");
            messages += read.json()["message_count"].as_u64().expect("a count");
        }
        assert_eq!((input, messages), ((0..50).sum::<u64>(), 100));
        assert_eq!(db.db_count("awaited_logs").await, 0);
    }

    async fn two_replicas_complete_a_row_once(db: TestDatabase) {
        let (one, two) = (Server::on(&db).start().await, Server::on(&db).start().await);
        let logged = log_call(&one.actor("alice"), &call(json!({"cost": 0.25}))).await.ok().json();
        let log = json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 100, "output_tokens": 50, "cost": 0.25,
            "conversation_id": logged["conversation_id"]});
        let logs = [&one, &two].map(|server| {
            let (alice, log) = (server.actor("alice"), log.clone());
            tokio::spawn(async move { alice.log_usage(log).await.ok().id() })
        });
        for log in logs {
            log.await.expect("a log");
        }
        let alice = one.actor("alice");
        assert_eq!(alice.stats("").await.exact(&["summary", "total_requests"]), "2", "one completed, one added");
        let read = conversation(&alice, logged["conversation_id"].as_str().expect("an id")).await;
        assert_eq!(read.exact(&["total_cost"]), "0.5");
        assert_eq!(read.json()["total_input_tokens"], 200);
    }
}

/// The same call each time.
static CALL: std::sync::LazyLock<Value> = std::sync::LazyLock::new(|| call(json!({"cost": 1})));

/// A file with a conversation whose messages are of this time.
fn old_conversation(time: &str, messages: usize) -> String {
    let message = json!({"role": "user", "content": "old", "input_tokens": 1, "timestamp": time}).to_string();
    let mut lines = vec![json!({"title": "old", "created_at": time}).to_string()];
    lines.extend(vec![message; messages]);
    lines.join("\n")
}
