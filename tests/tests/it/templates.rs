//! Templates, their placeholders and the conversations that start from them.

use integration::{Actor, Answer, Server, on_both_databases};
use reqwest::Method;
use serde_json::{Value, json};

const ROOT: &str = "/api/v1/templates";

async fn make(actor: &Actor, fields: &Value) -> Answer {
    actor.post(ROOT, fields).await
}

async fn change(actor: &Actor, id: &str, fields: &Value) -> Answer {
    let request = actor.request(Method::PUT, &format!("{ROOT}/{id}"));
    actor.send(request.json(fields)).await
}

async fn start(actor: &Actor, id: &str, body: &Value) -> Answer {
    actor.post(&format!("{ROOT}/{id}/conversations"), body).await
}

async fn record_use(actor: &Actor, id: &str) -> Answer {
    actor
        .send(actor.request(Method::POST, &format!("{ROOT}/{id}/use")))
        .await
}

async fn names(actor: &Actor, query: &str) -> Vec<String> {
    let list = actor.get(&format!("{ROOT}?{query}")).await.ok().json();
    let list = list.as_array().expect("an array").iter();
    list.map(|template| template["name"].as_str().expect("a name").to_owned())
        .collect()
}

on_both_databases! {
    async fn a_template_is_made_read_changed_and_deleted(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let made = make(&alice, &json!({"name": "n", "tool_config": {"b": 1, "a": [1.50]}, "description": null})).await.ok();
        let (id, body) = (made.id(), made.json());
        assert_eq!((&body["model"], &body["temperature"]), (&json!("claude-3-sonnet-20240229"), &json!(0.7)));
        assert_eq!((&body["is_active"], &body["usage_count"], &body["variables"]), (&json!(true), &json!(0), &json!([])));
        assert_eq!(made.exact(&["tool_config"]), r#"{"a":[1.5],"b":1}"#);
        assert_eq!((&body["last_used_at"], &body["max_tokens"]), (&Value::Null, &Value::Null));
        assert_eq!(alice.get(&format!("{ROOT}/{id}")).await.ok().text, made.text);

        let changed = change(&alice, &id, &json!({"system_prompt": "You are {{ role }}", "is_active": false, "name": null})).await.ok().json();
        assert_eq!((&changed["name"], &changed["is_active"]), (&json!("n"), &json!(false)));
        assert_eq!(changed["variables"], json!(["role"]));
        assert!(names(&alice, "").await.is_empty(), "inactive ones are not listed");

        bob.get(&format!("{ROOT}/{id}")).await.refused(404);
        change(&bob, &id, &json!({"name": "mine"})).await.refused(404);
        record_use(&bob, &id).await.refused(404);
        start(&bob, &id, &json!({})).await.refused(404);
        bob.send(bob.request(Method::DELETE, &format!("{ROOT}/{id}"))).await.refused(404);
        assert_eq!(bob.get(&format!("{ROOT}/stats")).await.ok().text, "[]");

        let deleted = alice.send(alice.request(Method::DELETE, &format!("{ROOT}/{id}"))).await.ok().json();
        assert!(deleted["message"].is_string(), "{deleted}");
        alice.get(&format!("{ROOT}/{id}")).await.refused(404);
    }

    async fn fields_out_of_range_are_refused(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = make(&alice, &json!({"name": "n"})).await.ok().id();
        for (fields, place) in [
            (json!({"name": "x".repeat(256)}), "body.name"),
            (json!({"name": " "}), "body.name"),
            (json!({"name": "n", "model": "x".repeat(256)}), "body.model"),
            (json!({"name": "n", "temperature": 2.1}), "body.temperature"),
            (json!({"name": "n", "max_tokens": 0}), "body.max_tokens"),
            (json!({"name": "n", "tool_config": []}), "body.tool_config"),
            (json!({"name": "n", "created_by": "x".repeat(256)}), "body.created_by"),
        ] {
            assert_eq!(make(&alice, &fields).await.refused(422).places(), [place]);
            assert_eq!(change(&alice, &id, &fields).await.refused(422).places(), [place]);
        }
        assert_eq!(make(&alice, &json!({})).await.refused(422).places(), ["body.name"]);
        for query in ["?limit=0", "?limit=101", "/stats?limit=51"] {
            alice.get(&format!("{ROOT}{query}")).await.refused(422);
        }
        assert_eq!(db.db_count("conversation_templates").await, 1);
    }

    async fn the_list_has_filters_and_pages(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for (name, by) in [("a", "x"), ("b", "y"), ("c", "x")] {
            make(&alice, &json!({"name": name, "created_by": by})).await.ok();
        }
        assert_eq!(names(&alice, "").await, ["c", "b", "a"]);
        assert_eq!(names(&alice, "created_by=x").await, ["c", "a"]);
        assert_eq!(names(&alice, "created_by=&limit=1&offset=1").await, ["b"]);
        assert!(names(&alice, "offset=9").await.is_empty());
    }

    async fn uses_are_counted_exactly(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let often = make(&alice, &json!({"name": "often"})).await.ok().id();
        make(&alice, &json!({"name": "never"})).await.ok();
        let users: Vec<_> = (0..50)
            .map(|_| {
                let (alice, often) = (alice.clone(), often.clone());
                tokio::spawn(async move { record_use(&alice, &often).await.ok() })
            })
            .collect();
        for user in users {
            user.await.expect("a use");
        }
        assert_eq!(alice.get(&format!("{ROOT}/{often}")).await.ok().json()["usage_count"], 50);
        let stats = alice.get(&format!("{ROOT}/stats")).await.ok().json();
        assert_eq!((&stats[0]["template_id"], &stats[0]["template_name"], &stats[0]["usage_count"]), (&json!(often), &json!("often"), &json!(50)));
        assert!(stats[0]["last_used_at"].is_string() && stats[0]["created_at"].is_string(), "{stats}");
        assert_eq!((&stats[1]["usage_count"], &stats[1]["last_used_at"]), (&json!(0), &Value::Null));
        assert_eq!(alice.get(&format!("{ROOT}/stats?limit=1")).await.ok().json().as_array().map(Vec::len), Some(1));
    }

    async fn a_conversation_starts_from_a_template(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let id = make(&alice, &json!({"name": "Guide", "system_prompt": "You guide {{who}} in {{ city }}, {{who}}: {{n}}.",
            "model": "fast", "temperature": 0.1, "max_tokens": 99})).await.ok().id();
        let missing = start(&alice, &id, &json!({"variables": {"city": "Rome"}})).await.refused(422);
        assert_eq!(missing.places(), ["body.variables.who", "body.variables.n"]);
        assert_eq!(alice.get(&format!("{ROOT}/{id}")).await.ok().json()["usage_count"], 0, "nothing was started");
        assert_eq!(db.db_count("conversations").await, 0);

        let begun = start(&alice, &id, &json!({"variables": {"city": "Rome", "who": "{{n}}", "n": 3, "more": null}, "project_id": "p"})).await.ok().json();
        assert_eq!(begun["system_prompt"], "You guide {{n}} in Rome, {{n}}: 3.");
        assert_eq!((&begun["title"], &begun["model_alias"], &begun["project_id"]), (&json!("Guide"), &json!("fast"), &json!("p")));
        assert_eq!((&begun["temperature"], &begun["max_tokens"]), (&json!(0.1), &json!(99)));
        assert_eq!(alice.get(&format!("/conversations/{}", begun["id"].as_str().expect("an id"))).await.ok().json()["title"], "Guide");
        assert_eq!(alice.get(&format!("{ROOT}/{id}")).await.ok().json()["usage_count"], 1);

        start(&alice, &id, &json!({"variables": {"city": "x", "who": "x", "n": "x"}, "title": "x".repeat(501)})).await.refused(422);
        change(&alice, &id, &json!({"is_active": false})).await.ok();
        record_use(&alice, &id).await.refused(409);
        assert_eq!(alice.get(&format!("{ROOT}/{id}")).await.ok().json()["usage_count"], 1);
    }
}
