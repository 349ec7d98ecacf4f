//! The same request twice is one row.

use chrono::{Days, Utc};
use integration::{Answer, Server, assert_answer, eventually, on_both_databases};
use serde_json::{Value, json};

fn call() -> Value {
    json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 3, "output_tokens": 2, "cost": 0.5})
}

async fn requests(actor: &integration::Actor) -> String {
    actor.stats("").await.ok().exact(&["summary", "total_requests"])
}

on_both_databases! {
    async fn the_same_key_and_body_get_the_first_answer_and_add_nothing(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let first = alice.log_usage_once("k", &call()).await.ok();
        let second = alice.log_usage_once("k", &call()).await.ok();
        assert_eq!(first.text, second.text);
        assert_eq!(alice.logs("").await.json().as_array().map(Vec::len), Some(1));
        let stats = alice.stats("").await;
        assert_eq!(stats.exact(&["summary", "total_requests"]), "1");
        assert_eq!(stats.exact(&["summary", "total_cost"]), "0.5");
        assert_eq!(stats.exact(&["summary", "total_tokens"]), "5");
        assert_eq!(stats.exact(&["by_model", "gpt-4o-mini", "requests"]), "1");
    }

    async fn white_space_and_the_order_of_members_do_not_count(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let send = async |body: &'static str| {
            let request = alice
                .request(reqwest::Method::POST, "/api/v1/log")
                .header("Idempotency-Key", "k")
                .header("Content-Type", "application/json")
                .body(body);
            alice.send(request).await.ok().text
        };
        let first = send(r#"{"provider":"p","model":"m","cost":1}"#).await;
        assert_eq!(
            first,
            send(r#"{ "cost": 1, "model": "m", "provider": "p" }"#).await
        );
        assert_eq!(requests(&alice).await, "1");
    }

    async fn the_same_key_with_another_body_is_409(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice.log_usage_once("k", &call()).await.ok();
        let mut other = call();
        other["input_tokens"] = json!(4);
        assert_answer!(alice.log_usage_once("k", &other).await.refused(409), @r#"
        {
          "body": {
            "detail": "this Idempotency-Key was used for another request",
            "request_id": "[request_id]",
            "status": 409,
            "title": "Conflict",
            "type": "about:blank"
          },
          "status": 409
        }
        "#);
        assert_eq!(requests(&alice).await, "1");
    }

    async fn a_key_that_was_used_for_one_log_is_409_for_a_batch(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice.log_usage_once("k", &call()).await.ok();
        let batch = alice
            .request(reqwest::Method::POST, "/api/v1/log/batch")
            .header("Idempotency-Key", "k")
            .json(&json!({"logs": [call()]}));
        alice.send(batch).await.refused(409);
        assert_eq!(requests(&alice).await, "1");
    }

    async fn a_batch_is_repeated_as_a_whole(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let send = async || {
            let batch = alice
                .request(reqwest::Method::POST, "/api/v1/log/batch")
                .header("Idempotency-Key", "k")
                .json(&json!({"logs": [call(), call(), call()]}));
            alice.send(batch).await.ok().text
        };
        assert_eq!(send().await, send().await);
        assert_eq!(requests(&alice).await, "3");
    }

    async fn keys_of_different_projects_have_nothing_to_do_with_each_other(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let hers = alice.log_usage_once("k", &call()).await.ok().id();
        let his = bob
            .log_usage_once("k", &json!({"provider": "p", "model": "m"}))
            .await
            .ok()
            .id();
        assert_ne!(hers, his);
        alice.cannot_see(&his).await;
        bob.cannot_see(&hers).await;
    }

    async fn a_key_has_at_most_255_characters(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice.log_usage_once(&"k".repeat(255), &call()).await.ok();
        let refusal = alice.log_usage_once(&"k".repeat(256), &call()).await.refused(422);
        assert_eq!(refusal.places(), ["header.Idempotency-Key"]);
        assert_eq!(requests(&alice).await, "1");
    }

    async fn a_refused_request_does_not_use_its_key_up(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice
            .log_usage_once("k", &json!({"provider": "p"}))
            .await
            .refused(422);
        alice.log_usage_once("k", &call()).await.ok();
    }

    async fn many_at_once_with_the_same_key_are_one_row(db: TestDatabase) {
        const AT_ONCE: usize = 32;
        let server = Server::on(&db).start().await;
        let replica = Server::on(&db).start().await;
        let mut sending = tokio::task::JoinSet::new();
        for index in 0..AT_ONCE {
            let alice = if index % 2 == 0 {
                server.actor("alice")
            } else {
                replica.actor("alice")
            };
            sending.spawn(async move { alice.log_usage_once("k", &call()).await });
        }
        let answers: Vec<Answer> = sending.join_all().await;
        for answer in &answers {
            assert_eq!(answer.clone().ok().text, answers[0].text);
        }
        assert_eq!(requests(&server.actor("alice")).await, "1");
        assert_eq!(db.db_count("usage_logs").await, 1);
    }

    async fn a_key_is_remembered_across_a_restart(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let first = server.actor("alice").log_usage_once("k", &call()).await.ok().text;
        let server = server.crash_and_restart().await;
        assert_eq!(
            server.actor("alice").log_usage_once("k", &call()).await.ok().text,
            first
        );
    }

    async fn a_key_is_forgotten_after_its_days(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for (key, age) in [("six", 6), ("eight", 8)] {
            alice.log_usage_once(key, &call()).await.ok();
            let long_ago = Utc::now() - Days::new(age);
            let sql = "UPDATE idempotency_keys SET created_at = $1 WHERE key = $2";
            assert_eq!(db.db_change(sql, [long_ago.into(), key.into()]).await, 1);
        }
        let server = server.restart().await;
        eventually("the older key to be forgotten", async || {
            (db.db_count("idempotency_keys").await == 1).then_some(())
        })
        .await;
        let alice = server.actor("alice");
        let other = json!({"provider": "p", "model": "m", "cost": 1});
        alice.log_usage_once("six", &other).await.refused(409);
        alice.log_usage_once("eight", &other).await.ok();
    }

    async fn the_id_at_origin_is_no_such_key(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let mut log = call();
        log["id_at_origin"] = json!("conversation-1");
        alice.log_usage(log.clone()).await.ok();
        log["output_tokens"] = json!(99);
        alice.log_usage(log).await.ok();
        assert_eq!(requests(&alice).await, "2");
    }
}
