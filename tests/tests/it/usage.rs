//! Logging calls and reading the logs.

use chrono::{DateTime, Days, Utc};
use integration::{Server, assert_answer, on_both_databases};
use reqwest::Method;
use serde_json::{Value, json};

fn call(model: &str) -> Value {
    json!({"provider": "openai", "model": model, "input_tokens": 10, "output_tokens": 5, "cost": 0.25})
}

fn ids(logs: &integration::Answer) -> Vec<String> {
    let logs = logs.json();
    let logs = logs.as_array().expect("an array");
    logs.iter()
        .map(|log| log["id"].as_str().expect("an id").to_owned())
        .collect()
}

on_both_databases! {
    async fn a_log_is_acknowledged_and_listed_with_every_field(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let acknowledged = alice
            .log_usage(json!({
                "provider": "openai",
                "model": "gpt-4o-mini",
                "input_tokens": 1200,
                "output_tokens": 350,
                "cached_input_tokens": 1000,
                "cache_write_5m_tokens": 7,
                "cache_write_1h_tokens": 8,
                "reasoning_tokens": 9,
                "input_includes_cached": true,
                "alias": "summarizer",
                "profile": "prod",
                "cost": 0.0025,
                "latency_ms": 850,
                "origin": "tests",
                "id_at_origin": "call-1",
                "conversation_id": "01890a5d-ac96-774b-bcce-b302099a8057",
                "metadata": {"finish_reason": "stop", "nested": {"list": [1, 2.5, null, "ü"]}},
            }))
            .await
            .ok();
        assert_answer!(acknowledged, @r#"
        {
          "body": {
            "cost": 0.0025,
            "cost_source": "client",
            "log_id": "[log_id]",
            "timestamp": "[timestamp]"
          },
          "status": 200
        }
        "#);
        assert_answer!(alice.logs("").await, @r#"
        {
          "body": [
            {
              "alias": "summarizer",
              "cache_write_1h_tokens": 8,
              "cache_write_5m_tokens": 7,
              "cached_input_tokens": 1000,
              "conversation_id": "01890a5d-ac96-774b-bcce-b302099a8057",
              "cost": 0.0025,
              "cost_source": "client",
              "id": "[id]",
              "id_at_origin": "call-1",
              "input_includes_cached": true,
              "input_tokens": 1200,
              "latency_ms": 850,
              "logged_at": "[logged_at]",
              "metadata": {
                "finish_reason": "stop",
                "nested": {
                  "list": [
                    1,
                    2.5,
                    null,
                    "ü"
                  ]
                }
              },
              "model": "gpt-4o-mini",
              "origin": "tests",
              "output_tokens": 350,
              "profile": "prod",
              "provider": "openai",
              "reasoning_tokens": 9
            }
          ],
          "status": 200
        }
        "#);
        assert_eq!(alice.logs("").await.json()[0]["id"], json!(acknowledged.id()));
        assert_eq!(
            alice.logs("").await.json()[0]["logged_at"],
            acknowledged.json()["timestamp"]
        );
    }

    async fn provider_and_model_are_enough(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice
            .log_usage(json!({"provider": "acme", "model": "unheard-of"}))
            .await
            .ok();
        assert_answer!(alice.logs("").await, @r#"
        {
          "body": [
            {
              "alias": null,
              "cache_write_1h_tokens": 0,
              "cache_write_5m_tokens": 0,
              "cached_input_tokens": 0,
              "conversation_id": null,
              "cost": 0,
              "cost_source": "unpriced",
              "id": "[id]",
              "id_at_origin": null,
              "input_includes_cached": true,
              "input_tokens": 0,
              "latency_ms": null,
              "logged_at": "[logged_at]",
              "metadata": {},
              "model": "unheard-of",
              "origin": null,
              "output_tokens": 0,
              "profile": "default",
              "provider": "acme",
              "reasoning_tokens": 0
            }
          ],
          "status": 200
        }
        "#);
    }

    async fn null_means_absent_and_unknown_members_are_ignored(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let all_null = json!({
            "provider": "acme", "model": "unheard-of", "input_tokens": null, "output_tokens": null,
            "cached_input_tokens": null, "cache_write_5m_tokens": null, "cache_write_1h_tokens": null,
            "reasoning_tokens": null, "input_includes_cached": null, "alias": null, "profile": null, "cost": null,
            "latency_ms": null, "origin": null, "id_at_origin": null, "conversation_id": null, "metadata": null,
            "never_heard_of": {"a": [1]},
        });
        alice.log_usage(all_null).await.ok();
        alice
            .log_usage(json!({"provider": "acme", "model": "unheard-of"}))
            .await
            .ok();
        let logs = alice.logs("").await.json();
        let (mut first, mut second) = (logs[0].clone(), logs[1].clone());
        for log in [&mut first, &mut second] {
            let log = log.as_object_mut().expect("a log");
            log.remove("id");
            log.remove("logged_at");
        }
        assert_eq!(first, second);
    }

    async fn a_path_works_with_a_slash_at_its_end(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let log = alice.post("/api/v1/log/", &call("a")).await.ok().id();
        for path in [
            "/api/v1/logs/",
            "/api/v1/stats/",
            "/health/",
            &format!("/api/v1/logs/{log}/cost/"),
        ] {
            alice.get(path).await.ok();
        }
    }

    async fn what_the_client_sends_is_accepted_as_it_is(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for odd in [
            json!({"provider": "openai", "model": "m", "input_tokens": 12.0}),
            json!({"provider": "openai", "model": "m", "latency_ms": 12.6}),
            json!({"provider": "openai", "model": "m", "cost": 0}),
            json!({"provider": "openai", "model": "m", "cost": 1.3877787807814457e-17}),
            json!({"provider": "openai", "model": "m", "conversation_id": "not-a-uuid"}),
            json!({"provider": "openai", "model": "m", "alias": ""}),
            json!({"provider": "openai", "model": "m", "cached_input_tokens": 5, "input_tokens": 1}),
        ] {
            alice.log_usage(odd).await.ok();
        }
    }

    async fn money_is_exact_from_the_request_to_every_answer(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for (sent, kept) in [
            ("0.00000001", "0.00000001"),
            ("1000000", "1000000"),
            ("1e6", "1000000"),
            ("0.000000000001", "0.000000000001"),
            ("123456789.123456789012", "123456789.123456789012"),
            ("0.1", "0.1"),
            // Beyond a pico-dollar, half to even.
            ("0.0000000000005", "0"),
            ("0.0000000000015", "0.000000000002"),
            ("0.0000000000025", "0.000000000002"),
            ("0.00000000000250000000000000000000000001", "0.000000000003"),
            ("0.30000000000000004", "0.3"),
        ] {
            let body = format!(r#"{{"provider": "acme", "model": "m", "cost": {sent}}}"#);
            let log = alice.post_text("/api/v1/log", &body).await.ok();
            assert_eq!(log.exact(&["cost"]), kept, "sent {sent}");
            assert_eq!(
                alice.logs("limit=1").await.exact(&["0", "cost"]),
                kept,
                "sent {sent}"
            );
            assert_eq!(
                alice.cost_of(&log.id()).await.ok().exact(&["cost"]),
                kept,
                "sent {sent}"
            );
            let csv = alice.logs("format=csv").await.ok().text;
            assert!(csv.contains(&format!(",{kept},client,")), "sent {sent}: {csv}");
        }
    }

    async fn a_batch_is_answered_in_order(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let logs: Vec<Value> = (0..1000)
            .map(|index| json!({"provider": "acme", "model": format!("m{index}"), "cost": index}))
            .collect();
        let answers = alice.log_batch(&logs).await.ok().json();
        let answers = answers.as_array().expect("an array");
        assert_eq!(answers.len(), 1000);
        for (index, answer) in answers.iter().enumerate() {
            assert_eq!(answer["cost"], json!(index));
        }
        let stats = alice.stats("").await;
        assert_eq!(stats.exact(&["summary", "total_requests"]), "1000");
        assert_eq!(stats.exact(&["summary", "total_cost"]), "499500");
        let last = answers[999]["log_id"].as_str().expect("an id");
        assert_eq!(alice.logs("model=m999").await.json()[0]["id"], json!(last));
    }

    async fn a_batch_is_stored_whole_or_not_at_all(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let batch = [
            call("a"),
            json!({"provider": "openai", "model": "b", "input_tokens": -1}),
            call("c"),
        ];
        assert_answer!(alice.log_batch(&batch).await.refused(422), @r#"
        {
          "body": {
            "detail": "body.logs.1.input_tokens must not be negative",
            "errors": [
              {
                "loc": [
                  "body",
                  "logs",
                  "1",
                  "input_tokens"
                ],
                "msg": "must not be negative"
              }
            ],
            "request_id": "[request_id]",
            "status": 422,
            "title": "Unprocessable Entity",
            "type": "about:blank"
          },
          "status": 422
        }
        "#);
        let too_many = vec![call("a"); 1001];
        assert_eq!(
            alice.log_batch(&too_many).await.refused(422).places(),
            ["body.logs"]
        );
        assert_eq!(alice.log_batch(&[]).await.refused(422).places(), ["body.logs"]);
        alice.has_nothing().await;
    }

    async fn logs_come_newest_first_in_pages(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let mut logged = Vec::new();
        for index in 0..7 {
            logged.insert(0, alice.log_usage(call(&format!("m{index}"))).await.ok().id());
        }
        assert_eq!(ids(&alice.logs("").await), logged);
        assert_eq!(ids(&alice.logs("limit=3").await), logged[..3]);
        assert_eq!(ids(&alice.logs("limit=3&offset=3").await), logged[3..6]);
        assert_eq!(alice.logs("limit=3&offset=100").await.ok().text, "[]");
        assert_eq!(ids(&alice.logs("limit=500").await), logged);
    }

    async fn fifty_logs_are_listed_when_no_limit_is_given(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice.log_batch(&vec![call("a"); 60]).await.ok();
        assert_eq!(ids(&alice.logs("").await).len(), 50);
        for query in [
            "limit=0",
            "limit=501",
            "limit=-1",
            "limit=many",
            "offset=-1",
            "offset=1.5",
            "offset=9223372036854775808",
            "offset=18446744073709551616",
        ] {
            let name = query.split('=').next().expect("a name");
            assert_eq!(
                alice.logs(query).await.refused(422).places(),
                [format!("query.{name}")],
                "{query}"
            );
        }
    }

    async fn logs_are_filtered(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let first = alice
            .log_usage(
                json!({"provider": "p", "model": "m1", "alias": "fast", "origin": "web & co", "cost": 1}),
            )
            .await
            .id();
        let second = alice
            .log_usage(json!({"provider": "p", "model": "m2", "alias": "deep", "cost": 1}))
            .await
            .id();
        for (query, expected) in [
            ("alias=fast", vec![&first]),
            ("model=m2", vec![&second]),
            ("origin=web+%26%20co", vec![&first]),
            ("alias=fast&model=m2", vec![]),
            (
                "alias=&model=&origin=&start_date=&end_date=&limit=&offset=&format=",
                vec![&second, &first],
            ),
            ("alias=FAST", vec![]),
            ("alias=%27%20OR%201%3D1%20--", vec![]),
        ] {
            let found = ids(&alice.logs(query).await.ok());
            assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{query}");
        }
    }

    async fn logs_are_those_of_the_last_30_days_unless_dates_are_given(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let now = Utc::now();
        let (month_old, recent) = (now - Days::new(31), now - Days::new(29));
        for (model, time) in [("old", month_old), ("recent", recent)] {
            let log = alice.log_usage(call(model)).await.id();
            db.db_move_log(&log, model, time).await;
        }
        let models = async |query: &str| {
            let logs = alice.logs(query).await.ok().json();
            let logs = logs.as_array().expect("an array").clone();
            logs.iter()
                .map(|log| log["model"].as_str().expect("a model").to_owned())
                .collect::<Vec<_>>()
        };
        let day = |time: DateTime<Utc>| time.format("%Y-%m-%d").to_string();
        assert_eq!(models("").await, ["recent"]);
        assert_eq!(
            models(&format!("start_date={}", day(month_old))).await,
            ["recent", "old"]
        );
        assert_eq!(models(&format!("end_date={}", day(month_old))).await, ["old"]);
        assert_eq!(
            models(&format!("start_date={0}&end_date={0}", day(recent))).await,
            ["recent"]
        );
        let instant = recent.format("%Y-%m-%dT%H:%M:%S%.6f").to_string();
        assert_eq!(
            models(&format!("start_date={instant}&end_date={instant}")).await,
            ["recent"]
        );
        assert_eq!(
            models(&format!("start_date={instant}Z&end_date={instant}%2B00:00")).await,
            ["recent"]
        );
        assert_eq!(alice.stats("").await.exact(&["summary", "total_requests"]), "1");
        assert_eq!(
            alice
                .stats(&format!("start_date={}", day(month_old)))
                .await
                .exact(&["summary", "total_requests"]),
            "2"
        );
    }

    async fn csv_has_all_rows_and_survives_awkward_text(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice.log_batch(&vec![call("plain"); 1000]).await.ok();
        alice.log_batch(&vec![call("plain"); 300]).await.ok();
        let awkward = "a \"quoted\", comma\r\nand a second line; ünï";
        let metadata = json!({"k": "v,\"w\""});
        let log = json!({"provider": "p", "model": "m", "alias": awkward, "metadata": metadata, "cost": 2});
        alice.log_usage(log).await.ok();
        let accepted = alice
            .send(
                alice
                    .request(Method::GET, "/api/v1/logs")
                    .header("Accept", "text/csv"),
            )
            .await
            .ok();
        let asked = alice.logs("format=csv").await.ok();
        assert_eq!(accepted.text, asked.text);
        assert!(
            asked
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/csv")),
            "{:?}",
            asked.headers
        );
        let records = csv_records(&asked.text);
        assert_eq!(records.len(), 1 + 1301);
        let column = |name: &str| records[0].iter().position(|field| field == name).expect(name);
        assert!(records.iter().all(|record| record.len() == records[0].len()));
        assert_eq!(records[1][column("alias")], awkward);
        assert_eq!(records[1][column("metadata")], r#"{"k":"v,\"w\""}"#);
        assert_eq!(records[1][column("cost")], "2");
        assert_eq!(records[2][column("cost")], "0.25");
        assert_eq!(
            csv_records(&alice.logs("format=csv&limit=5").await.ok().text).len(),
            1 + 5
        );
        assert_eq!(
            csv_records(&alice.logs("format=csv&alias=none").await.ok().text).len(),
            1
        );
    }

    async fn the_cost_that_a_client_gives_is_believed_and_explained(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let log = alice
            .log_usage(json!({"provider": "openai", "model": "gpt-4o-mini", "cost": 1.5}))
            .await
            .ok()
            .id();
        assert_answer!(alice.cost_of(&log).await.ok(), @r#"
        {
          "body": {
            "cost": 1.5,
            "cost_source": "client",
            "lines": [],
            "log_id": "[log_id]",
            "matched_by": null,
            "model": "gpt-4o-mini",
            "provider": "openai",
            "reason": "the caller gave the cost",
            "recomputed_cost": null,
            "registry_model": null,
            "registry_sha256": null,
            "registry_version": null,
            "tier": null
          },
          "status": 200
        }
        "#);
    }

    async fn logs_survive_a_restart(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let log = server.actor("alice").log_usage(call("m")).await.ok().id();
        let server = server.restart().await;
        server.actor("alice").can_see(&log).await;
        assert_eq!(
            server
                .actor("alice")
                .stats("")
                .await
                .exact(&["summary", "total_cost"]),
            "0.25"
        );
    }
}

/// Reads RFC 4180 text.
fn csv_records(text: &str) -> Vec<Vec<String>> {
    let mut records = vec![vec![String::new()]];
    let mut quoted = false;
    let mut characters = text.chars().peekable();
    while let Some(character) = characters.next() {
        let record = records.last_mut().expect("a record");
        let field = record.last_mut().expect("a field");
        match character {
            '"' if quoted && characters.peek() == Some(&'"') => field.extend(characters.next()),
            '"' => quoted = !quoted,
            ',' if !quoted => record.push(String::new()),
            '\r' if !quoted => assert_eq!(characters.peek(), Some(&'\n'), "a lone carriage return"),
            '\n' if !quoted => records.push(vec![String::new()]),
            _ => field.push(character),
        }
    }
    assert_eq!(
        records.pop(),
        Some(vec![String::new()]),
        "the last line has no end"
    );
    records
}
