//! Sums that add up, in every time zone.

use chrono::{DateTime, Utc};
use integration::{Actor, Answer, Server, TestDatabase, assert_answer, on_both_databases};
use serde_json::{Value, json};

/// Logs one call for each time, each with a model of its own and a cost that differs in its last digits.
async fn log_at(db: &TestDatabase, actor: &Actor, times: &[&str]) {
    for (index, time) in times.iter().enumerate() {
        let model = format!("model-{index}-{time}");
        let body = format!(
            r#"{{"provider": "acme", "model": "{model}", "input_tokens": {tokens}, "cost": {index}.00000000000{digit}}}"#,
            tokens = 10 + index,
            digit = index % 9 + 1,
        );
        let log = actor.post_text("/api/v1/log", &body).await.ok().id();
        let time: DateTime<Utc> = time.parse().expect("a time");
        db.db_move_log(&log, &model, time).await;
    }
}

/// `[["2026-03-29", 2], …]`.
fn days(stats: &Answer) -> Value {
    let stats = stats.json();
    let days = stats["by_day"].as_array().expect("by_day");
    days.iter()
        .map(|day| json!([day["date"], day["requests"]]))
        .collect()
}

/// An exact decimal as a number of pico-dollars.
fn picos(decimal: &str) -> i128 {
    let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
    assert!(fraction.len() <= 12, "{decimal}");
    format!("{whole}{fraction:0<12}").parse().expect("a decimal")
}

/// Asserts that what is given by day and by model sums to the summary, to the last digit.
#[track_caller]
fn adds_up(stats: &Answer) {
    let body = stats.json();
    let total = (
        stats
            .exact(&["summary", "total_requests"])
            .parse::<u64>()
            .expect("a count"),
        picos(&stats.exact(&["summary", "total_cost"])),
    );
    let mut by_day = (0, 0);
    for index in 0..body["by_day"].as_array().expect("by_day").len() {
        let index = index.to_string();
        by_day.0 += stats
            .exact(&["by_day", &index, "requests"])
            .parse::<u64>()
            .expect("a count");
        by_day.1 += picos(&stats.exact(&["by_day", &index, "cost"]));
    }
    let mut by_model = (0, 0);
    let mut tokens = 0;
    for model in body["by_model"].as_object().expect("by_model").keys() {
        by_model.0 += stats
            .exact(&["by_model", model, "requests"])
            .parse::<u64>()
            .expect("a count");
        by_model.1 += picos(&stats.exact(&["by_model", model, "cost"]));
        for member in ["input_tokens", "output_tokens"] {
            tokens += stats
                .exact(&["by_model", model, member])
                .parse::<u64>()
                .expect("a count");
        }
    }
    assert_eq!(by_day, total, "{stats:?}");
    assert_eq!(by_model, total, "{stats:?}");
    assert_eq!(
        stats.exact(&["summary", "total_tokens"]),
        tokens.to_string(),
        "{stats:?}"
    );
}

/// Around the changes of Berlin, New York, Lord Howe (half an hour) and Santiago (at midnight), and the ends of a week, month
/// and year.
const EDGES: &[&str] = &[
    "2025-12-31T22:59:59.999999Z",
    "2025-12-31T23:00:00Z",
    "2026-01-01T00:00:00Z",
    "2026-03-08T06:59:59Z",
    "2026-03-08T07:00:00Z",
    "2026-03-28T22:59:59.999999Z",
    "2026-03-28T23:00:00Z",
    "2026-03-29T00:59:59Z",
    "2026-03-29T01:00:00Z",
    "2026-03-29T21:59:59.999999Z",
    "2026-03-29T22:00:00Z",
    "2026-04-04T15:00:00Z",
    "2026-04-05T03:00:00Z",
    "2026-09-06T03:59:59.999999Z",
    "2026-09-06T04:00:00Z",
    "2026-10-24T21:59:59.999999Z",
    "2026-10-24T22:00:00Z",
    "2026-10-25T00:30:00Z",
    "2026-10-25T01:30:00Z",
    "2026-10-25T22:59:59.999999Z",
    "2026-10-25T23:00:00Z",
];

on_both_databases! {
    async fn sums_beyond_the_databases_integers_are_exact_or_refused(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for model in ["a", "b", "c"] {
            let log = json!({"provider": "p", "model": model, "input_tokens": 1, "cost": 0.25});
            alice.log_usage(log).await.ok();
        }
        // As after very many dear calls: each sum is the greatest that one bucket takes.
        db.db_execute("UPDATE usage_rollups SET cost_micros = 9223372036854775807, cost_picos = 999999").await;
        let stats = alice.stats("").await.ok();
        assert_eq!(stats.exact(&["summary", "total_cost"]), "27670116110564.327423999997");
        assert_eq!(stats.exact(&["by_model", "b", "cost"]), "9223372036854.775807999999");
        db.db_execute("UPDATE usage_rollups SET input_tokens = 9223372036854775807").await;
        let refused = alice.stats("").await.refused(400);
        assert!(refused.text.contains("shorter"), "{refused:?}");
    }

    async fn an_empty_project_has_empty_statistics(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        assert_answer!(server.actor("alice").stats("").await.ok(), @r#"
        {
          "body": {
            "by_alias": {},
            "by_day": [],
            "by_model": {},
            "by_origin": {},
            "summary": {
              "total_cost": 0,
              "total_requests": 0,
              "total_tokens": 0,
              "unique_models": 0,
              "unique_origins": 0,
              "unpriced_requests": 0
            }
          },
          "status": 200
        }
        "#);
    }

    async fn statistics_have_every_view(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for log in [
            json!({"model": "a", "alias": "fast", "origin": "web", "input_tokens": 10, "output_tokens": 1, "cost": 1}),
            json!({"model": "a", "alias": "deep", "origin": "web", "input_tokens": 20, "output_tokens": 2, "cost": 2.5}),
            json!({"model": "b", "origin": "cron", "input_tokens": 30, "output_tokens": 3, "cost": 4}),
            json!({"model": "unheard-of", "input_tokens": 5}),
        ] {
            let mut log = log;
            log["provider"] = json!("acme");
            alice.log_usage(log).await.ok();
        }
        let stats = alice.stats("").await.ok();
        adds_up(&stats);
        let mut body = stats.json();
        let today = Utc::now().format("%Y-%m-%d").to_string();
        assert!(
            body["by_day"][0]["date"]
                .as_str()
                .is_some_and(|date| date <= today.as_str())
        );
        body["by_day"][0]["date"] = json!("[today]");
        insta::allow_duplicates! { insta::assert_json_snapshot!(body, @r#"
        {
          "by_alias": {
            "deep": {
              "cost": 2.5,
              "input_tokens": 20,
              "output_tokens": 2,
              "requests": 1
            },
            "fast": {
              "cost": 1,
              "input_tokens": 10,
              "output_tokens": 1,
              "requests": 1
            }
          },
          "by_day": [
            {
              "cost": 7.5,
              "date": "[today]",
              "requests": 4,
              "top_model": "a"
            }
          ],
          "by_model": {
            "a": {
              "cost": 3.5,
              "input_tokens": 30,
              "output_tokens": 3,
              "requests": 2
            },
            "b": {
              "cost": 4,
              "input_tokens": 30,
              "output_tokens": 3,
              "requests": 1
            },
            "unheard-of": {
              "cost": 0,
              "input_tokens": 5,
              "output_tokens": 0,
              "requests": 1
            }
          },
          "by_origin": {
            "cron": {
              "cost": 4,
              "requests": 1
            },
            "web": {
              "cost": 3.5,
              "requests": 2
            }
          },
          "summary": {
            "total_cost": 7.5,
            "total_requests": 4,
            "total_tokens": 71,
            "unique_models": 3,
            "unique_origins": 2,
            "unpriced_requests": 1
          }
        }
        "#) }
    }

    async fn a_million_dollars_and_a_hundred_millionth_add_up(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for cost in ["1000000", "0.00000001", "0.000000000001"] {
            let body =
                format!(r#"{{"provider": "p", "model": "m", "alias": "a", "origin": "o", "cost": {cost}}}"#);
            alice.post_text("/api/v1/log", &body).await.ok();
        }
        let stats = alice.stats("").await.ok();
        for path in [
            &["summary", "total_cost"][..],
            &["by_day", "0", "cost"],
            &["by_model", "m", "cost"],
            &["by_alias", "a", "cost"],
            &["by_origin", "o", "cost"],
        ] {
            assert_eq!(stats.exact(path), "1000000.000000010001", "{path:?}");
        }
    }

    async fn totals_beyond_64_bits_of_picodollars_stay_exact(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let logs = vec![
            json!({"provider": "p", "model": "m", "cost": 900_000_000, "input_tokens": 1_000_000_000});
            1000
        ];
        alice.log_batch(&logs).await.ok();
        alice
            .log_usage(json!({"provider": "p", "model": "m", "cost": 0.000_001}))
            .await
            .ok();
        let stats = alice.stats("").await.ok();
        assert_eq!(stats.exact(&["summary", "total_cost"]), "900000000000.000001");
        assert_eq!(stats.exact(&["summary", "total_tokens"]), "1000000000000");
    }

    async fn a_day_is_a_day_of_the_time_zone_across_daylight_saving(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        log_at(&db, &alice, EDGES).await;
        let day = async |query: &str| days(&alice.stats(query).await.ok());
        // Berlin's 29 March has 23 hours and its 25 October 25.
        let spring = day("start_date=2026-03-28&end_date=2026-03-30&tz=Europe/Berlin").await;
        assert_eq!(
            spring,
            json!([["2026-03-30", 1], ["2026-03-29", 4], ["2026-03-28", 1]])
        );
        let autumn = day("start_date=2026-10-24&end_date=2026-10-26&tz=Europe/Berlin").await;
        assert_eq!(
            autumn,
            json!([["2026-10-26", 1], ["2026-10-25", 4], ["2026-10-24", 1]])
        );
        let one = day("start_date=2026-03-29&end_date=2026-03-29&tz=Europe/Berlin").await;
        assert_eq!(one, json!([["2026-03-29", 4]]));
        let utc = day("start_date=2026-03-28&end_date=2026-03-30").await;
        assert_eq!(utc, json!([["2026-03-29", 4], ["2026-03-28", 2]]));
        // 6 September begins at 01:00 in Santiago.
        let santiago = day("start_date=2026-09-05&end_date=2026-09-06&tz=America/Santiago").await;
        assert_eq!(santiago, json!([["2026-09-06", 1], ["2026-09-05", 1]]));
    }

    async fn weeks_begin_on_monday_and_months_on_the_first(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        log_at(&db, &alice, EDGES).await;
        let grouped = async |query: &str| days(&alice.stats(query).await.ok());
        let weeks = grouped("start_date=2026-03-23&end_date=2026-04-05&tz=Europe/Berlin&group_by=week").await;
        assert_eq!(weeks, json!([["2026-03-30", 3], ["2026-03-23", 5]]));
        let months =
            grouped("start_date=2025-12-01&end_date=2026-04-30&tz=Europe/Berlin&group_by=month").await;
        assert_eq!(
            months,
            json!([
                ["2026-04-01", 2],
                ["2026-03-01", 8],
                ["2026-01-01", 2],
                ["2025-12-01", 1]
            ])
        );
    }

    async fn days_and_models_sum_to_the_summary_in_every_zone(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        log_at(&db, &alice, EDGES).await;
        for zone in [
            "UTC",
            "Europe/Berlin",
            "America/New_York",
            "Australia/Lord_Howe",
            "America/Santiago",
            "Asia/Kathmandu",
            "Pacific/Apia",
            "Pacific/Chatham",
        ] {
            for group_by in ["day", "week", "month"] {
                let query =
                    format!("start_date=2025-12-01&end_date=2026-12-31&tz={zone}&group_by={group_by}");
                let stats = alice.stats(&query).await.ok();
                assert_eq!(
                    stats.exact(&["summary", "total_requests"]),
                    EDGES.len().to_string(),
                    "{query}"
                );
                adds_up(&stats);
            }
            // Ragged edges, in the middle of a rollup's bucket.
            let query =
                format!("start_date=2026-03-28T22:59:59.999999Z&end_date=2026-03-29T01:00:00Z&tz={zone}");
            let stats = alice.stats(&query).await.ok();
            assert_eq!(stats.exact(&["summary", "total_requests"]), "4", "{query}");
            adds_up(&stats);
        }
    }

    async fn logs_and_statistics_agree_about_a_range(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        log_at(&db, &alice, EDGES).await;
        for range in [
            "start_date=2026-03-29&end_date=2026-03-29",
            "start_date=2026-03-29T00:59:59Z&end_date=2026-03-29T01:00:00Z",
            "start_date=2026-03-28T22:59:59.999999%2B00:00&end_date=2026-10-25T00:30:00%2B02:00",
            "start_date=2025-01-01&end_date=2026-12-31",
        ] {
            let logs = alice.logs(&format!("limit=500&{range}")).await.ok().json();
            let stats = alice.stats(range).await.ok();
            let listed = logs.as_array().expect("an array").len().to_string();
            assert_eq!(stats.exact(&["summary", "total_requests"]), listed, "{range}");
        }
    }

    async fn the_top_model_has_most_requests(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for (model, cost) in [("dear", 100), ("frequent", 1), ("frequent", 1)] {
            alice
                .log_usage(json!({"provider": "p", "model": model, "cost": cost}))
                .await
                .ok();
        }
        assert_eq!(alice.stats("").await.json()["by_day"][0]["top_model"], "frequent");
    }

    async fn a_wrong_question_is_422(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for (query, place) in [
            ("tz=Mars/Phobos", "query.tz"),
            ("tz=%00", "query.tz"),
            ("group_by=decade", "query.group_by"),
            ("start_date=yesterday", "query.start_date"),
            ("start_date=2026-02-30", "query.start_date"),
            ("end_date=2026-13-01", "query.end_date"),
            ("end_date=99999-01-01", "query.end_date"),
            ("start_date=2026-03-02&end_date=2026-03-01", "query.start_date"),
            (
                "start_date=2026-03-02T00:00:00.000002Z&end_date=2026-03-02T00:00:00.000000Z",
                "query.start_date",
            ),
        ] {
            assert_eq!(alice.stats(query).await.refused(422).places(), [place], "{query}");
        }
        assert_answer!(alice.stats("tz=Mars/Phobos").await, @r#"
        {
          "body": {
            "detail": "query.tz is not a time zone of the IANA database, such as Europe/Berlin",
            "errors": [
              {
                "loc": [
                  "query",
                  "tz"
                ],
                "msg": "is not a time zone of the IANA database, such as Europe/Berlin"
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
    }
}
