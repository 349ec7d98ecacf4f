//! Input that is refused: clearly, and leaving nothing behind.

use integration::{Actor, Answer, Server, assert_answer, on_both_databases};
use reqwest::{Body, Method};
use serde_json::json;

/// Posts bytes with this content type, or with none.
async fn post_bytes(actor: &Actor, content_type: Option<&str>, body: impl Into<Body>) -> Answer {
    let mut request = actor.request(Method::POST, "/api/v1/log").body(body);
    if let Some(content_type) = content_type {
        request = request.header("Content-Type", content_type);
    }
    actor.send(request).await
}

/// A log with one more member, as text.
fn with(member: &str) -> String {
    format!(r#"{{"provider": "openai", "model": "gpt-4o-mini", {member}}}"#)
}

const GOOD: &str = r#"{"provider": "openai", "model": "gpt-4o-mini"}"#;

on_both_databases! {
    async fn text_that_is_not_json_is_400(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let too_deep = with(&format!(
            r#""metadata": {{"a": {}{}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        ));
        for body in [
            "",
            " ",
            "{",
            r#"{"provider": "openai", "model": "m""#,
            "{'provider': 'openai'}",
            "nothing",
            "NaN",
            &format!("{GOOD}{GOOD}"),
            &format!("{GOOD}x"),
            &format!("\u{feff}{GOOD}"),
            &with(r#""cost": NaN"#),
            &with(r#""cost": 01"#),
            &with(r#""cost": .5"#),
            &with(r#""alias": "\ud800""#),
            &with("\"alias\": \"a\nb\""),
            &with(r#""alias": "a","#),
            &too_deep,
        ] {
            let refusal = alice.post_text("/api/v1/log", body).await;
            let shown: String = body.chars().take(80).collect();
            assert_eq!(refusal.status, 400, "{shown:?}: {refusal:?}");
            refusal.refused(400);
        }
        post_bytes(
            &alice,
            Some("application/json"),
            &b"{\"provider\": \"\xff\", \"model\": \"m\"}"[..],
        )
        .await
        .refused(400);
        assert_answer!(alice.post_text("/api/v1/log", "{").await, @r#"
        {
          "body": {
            "detail": "the body is not valid JSON: EOF while parsing an object at line 1 column 1",
            "request_id": "[request_id]",
            "status": 400,
            "title": "Bad Request",
            "type": "about:blank"
          },
          "status": 400
        }
        "#);
        alice.has_nothing().await;
    }

    async fn an_array_in_the_place_of_an_object_is_422_and_named(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        // In the order of the members, as nobody documents it.
        for (path, body, place) in [
            ("/api/v1/log", json!(["openai", "gpt-4o-mini", 1, 1]), "body"),
            ("/api/v1/log/batch", json!({"logs": [{"provider": "p", "model": "m"}, ["p", "m"]]}), "body.logs.1"),
            ("/api/v1/conversations", json!(["title", null, null, null, null, null]), "body"),
            ("/api/v1/conversations/log", json!({"response": ["content", "model", null, null, null]}), "body.response"),
            ("/api/v1/templates", json!([]), "body"),
            ("/api/v1/receipts/preview", json!([null, null, null, null, true]), "body"),
        ] {
            let refused = alice.post(path, &body).await.refused(422);
            assert_eq!(refused.places(), [place], "{path}");
            assert!(refused.text.contains("expected an object"), "{refused:?}");
        }
        alice.has_nothing().await;
        assert_eq!(db.db_count("conversations").await, 0);
    }

    async fn duplicate_members_are_400(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for body in [
            &with(r#""model": "gpt-4o""#),
            &with(r#""cost": 1, "cost": 1"#),
            &with(r#""metadata": {"a": 1, "a": 2}"#),
            &with(r#""metadata": {"a": [{"b": 1, "\u0062": 2}]}"#),
            &with(r#""unknown": {"a": 1, "a": 2}"#),
        ] {
            alice.post_text("/api/v1/log", body).await.refused(400);
        }
        assert_answer!(alice.post_text("/api/v1/log", &with(r#""cost": 1, "cost": 1"#)).await, @r#"
        {
          "body": {
            "detail": "the body has the member cost twice",
            "request_id": "[request_id]",
            "status": 400,
            "title": "Bad Request",
            "type": "about:blank"
          },
          "status": 400
        }
        "#);
        alice.has_nothing().await;
    }

    async fn wrong_types_are_422_and_named(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for (member, place) in [
            (r#""input_tokens": "12""#, "body.input_tokens"),
            (r#""input_tokens": true"#, "body.input_tokens"),
            (r#""input_tokens": 1.5"#, "body.input_tokens"),
            (r#""input_tokens": [1]"#, "body.input_tokens"),
            (r#""cost": {}"#, "body.cost"),
            (r#""cost": true"#, "body.cost"),
            (r#""alias": 7"#, "body.alias"),
            (r#""metadata": []"#, "body.metadata"),
            (r#""metadata": "text""#, "body.metadata"),
            (r#""latency_ms": "fast""#, "body.latency_ms"),
            (r#""input_includes_cached": "yes""#, "body.input_includes_cached"),
        ] {
            let refusal = alice.post_text("/api/v1/log", &with(member)).await;
            assert_eq!(refusal.refused(422).places(), [place], "{member}");
        }
        for body in ["[]", "null", "7", "\"text\"", "true"] {
            alice.post_text("/api/v1/log", body).await.refused(422);
        }
        assert_answer!(alice.post_text("/api/v1/log", &with(r#""input_tokens": "12""#)).await, @r#"
        {
          "body": {
            "detail": "body.input_tokens invalid type: string \"12\", expected a whole number",
            "errors": [
              {
                "loc": [
                  "body",
                  "input_tokens"
                ],
                "msg": "invalid type: string \"12\", expected a whole number"
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
        alice.has_nothing().await;
    }

    async fn missing_and_empty_names_are_422(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for body in [
            json!({}),
            json!({"provider": "openai"}),
            json!({"model": "m"}),
            json!({"provider": null, "model": "m"}),
            json!({"provider": "", "model": "m"}),
            json!({"provider": "openai", "model": ""}),
        ] {
            alice.log_usage(body).await.refused(422);
        }
        assert_answer!(alice.log_usage(json!({"provider": "openai"})).await, @r#"
        {
          "body": {
            "detail": "body.model is required",
            "errors": [
              {
                "loc": [
                  "body",
                  "model"
                ],
                "msg": "is required"
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
        alice.has_nothing().await;
    }

    async fn negative_and_huge_numbers_are_422(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for name in [
            "input_tokens",
            "output_tokens",
            "cached_input_tokens",
            "cache_write_5m_tokens",
            "cache_write_1h_tokens",
            "reasoning_tokens",
            "latency_ms",
            "cost",
        ] {
            for number in [
                "-1",
                "-0.5",
                "1e400",
                "1e999999999",
                "-1e400",
                "99999999999999999999999999999999999999999",
            ] {
                let refusal = alice
                    .post_text("/api/v1/log", &with(&format!(r#""{name}": {number}"#)))
                    .await;
                assert_eq!(refusal.status, 422, "{name} {number}: {refusal:?}");
                assert_eq!(
                    refusal.refused(422).places(),
                    [format!("body.{name}")],
                    "{number}"
                );
            }
        }
        // 2⁵³ + 1 is no binary float.
        for number in [
            "9007199254740993",
            "9007199254740992",
            "18446744073709551615",
            "18446744073709551616",
        ] {
            alice
                .post_text("/api/v1/log", &with(&format!(r#""input_tokens": {number}"#)))
                .await
                .refused(422);
        }
        alice.has_nothing().await;
    }

    async fn nul_characters_are_422(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for member in [
            r#""alias": "a\u0000b""#,
            r#""origin": "\u0000""#,
            r#""id_at_origin": "\u0000""#,
            r#""metadata": {"a": "\u0000"}"#,
            r#""metadata": {"\u0000": 1}"#,
        ] {
            alice.post_text("/api/v1/log", &with(member)).await.refused(422);
        }
        alice
            .post_text("/api/v1/log", r#"{"provider": "\u0000", "model": "m"}"#)
            .await
            .refused(422);
        alice.has_nothing().await;
    }

    async fn strings_of_a_megabyte_are_422(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let megabyte = "x".repeat(1 << 20);
        for name in ["provider", "model", "alias", "profile", "origin", "id_at_origin"] {
            let mut log = json!({"provider": "openai", "model": "m"});
            log[name] = json!(megabyte);
            assert_eq!(
                alice.log_usage(log).await.refused(422).places(),
                [format!("body.{name}")]
            );
        }
        let metadata = alice
            .log_usage(json!({"provider": "p", "model": "m", "metadata": {"a": megabyte}}))
            .await;
        assert_eq!(metadata.refused(422).places(), ["body.metadata"]);
        for query in ["alias", "model", "origin", "start_date", "tz"] {
            let answer = alice
                .try_send(alice.request(Method::GET, &format!("/api/v1/stats?{query}={megabyte}")))
                .await;
            // A server may also refuse to read so long a request line.
            assert!(
                answer.is_none_or(|answer| (400..500).contains(&answer.status) || query != "tz"),
                "{query}"
            );
        }
        alice.has_nothing().await;
    }

    async fn a_body_over_the_limit_is_413(db: TestDatabase) {
        let server = Server::on(&db)
            .with("LLMRING_MAX_BODY_BYTES", "2000")
            .start()
            .await;
        let alice = server.actor("alice");
        let large = with(&format!(r#""unknown": "{}""#, "x".repeat(2000)));
        alice.post_text("/api/v1/log", &large).await.refused(413);
        assert_answer!(alice.post_text("/api/v1/log", &large).await, @r#"
        {
          "body": {
            "detail": "the body is larger than the server accepts (LLMRING_MAX_BODY_BYTES)",
            "request_id": "[request_id]",
            "status": 413,
            "title": "Payload Too Large",
            "type": "about:blank"
          },
          "status": 413
        }
        "#);
        alice.post_text("/api/v1/log/batch", &large).await.refused(413);
        alice.has_nothing().await;
        let fits = with(&format!(r#""unknown": "{}""#, "x".repeat(1900)));
        alice.post_text("/api/v1/log", &fits).await.ok();
    }

    async fn a_wrong_or_missing_content_type_is_415(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for content_type in [
            None,
            Some("text/plain"),
            Some("application/x-www-form-urlencoded"),
            Some("application/xml"),
            Some("nonsense"),
        ] {
            post_bytes(&alice, content_type, GOOD).await.refused(415);
        }
        assert_answer!(post_bytes(&alice, Some("text/plain"), GOOD).await, @r#"
        {
          "body": {
            "detail": "the body must be sent as Content-Type: application/json",
            "request_id": "[request_id]",
            "status": 415,
            "title": "Unsupported Media Type",
            "type": "about:blank"
          },
          "status": 415
        }
        "#);
        alice.has_nothing().await;
        for content_type in [
            "application/json",
            "application/json; charset=utf-8",
            "APPLICATION/JSON",
        ] {
            post_bytes(&alice, Some(content_type), GOOD).await.ok();
        }
    }

    async fn ids_that_are_none_are_404(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for id in [
            "x",
            "1",
            "%00",
            "..",
            "01890a5d-ac96-774b-bcce-b302099a805",
            "01890a5d-ac96-774b-bcce-b302099a8057",
        ] {
            alice.get(&format!("/api/v1/logs/{id}/cost")).await.refused(404);
        }
    }

    async fn a_request_that_is_not_http_harms_nobody(db: TestDatabase) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let server = Server::on(&db).start().await;
        for garbage in [
            "\r\n\r\n\r\n",
            "GET\r\n\r\n",
            "\u{16}\u{3}\u{1}",
            "POST /api/v1/log HTTP/1.1\r\nContent-Length: -1\r\n\r\n",
        ] {
            let mut stream = tokio::net::TcpStream::connect(server.address())
                .await
                .expect("a connection");
            stream.write_all(garbage.as_bytes()).await.expect("bytes sent");
            stream.shutdown().await.expect("the end sent");
            let mut answer = Vec::new();
            // Broken off or answered 400.
            let _ = stream.read_to_end(&mut answer).await;
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
                "{garbage:?}: {}",
                String::from_utf8_lossy(&answer)
            );
        }
        server.anybody().get("/health").await.ok();
    }
}

/// A body that does not say how long it is.
mod chunked {
    use super::*;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    on_both_databases! {
        async fn over_the_limit_is_413(db: TestDatabase) {
            let server = Server::on(&db)
                .with("LLMRING_MAX_BODY_BYTES", "2000")
                .start()
                .await;
            let alice = server.actor("alice");
            let mut stream = tokio::net::TcpStream::connect(server.address())
                .await
                .expect("a connection");
            let head = format!(
                "POST /api/v1/log HTTP/1.1\r\nHost: x\r\nX-API-Key: {}\r\nContent-Type: application/json\r\n\
                 Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n",
                alice.key()
            );
            stream.write_all(head.as_bytes()).await.expect("bytes sent");
            let chunk = format!("3e8\r\n{}\r\n", "x".repeat(1000));
            for _ in 0..5 {
                // The server may stop reading before the end.
                let _ = stream.write_all(chunk.as_bytes()).await;
            }
            let _ = stream.write_all(b"0\r\n\r\n").await;
            let mut answer = Vec::new();
            let _ = stream.read_to_end(&mut answer).await;
            let answer = String::from_utf8_lossy(&answer);
            assert!(answer.starts_with("HTTP/1.1 413"), "{answer}");
            alice.has_nothing().await;
        }
    }
}
