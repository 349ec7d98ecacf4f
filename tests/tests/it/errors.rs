//! Every error has one envelope and carries the id of its request.

use integration::{Server, assert_answer, on_both_databases};
use reqwest::Method;
use serde_json::json;

on_both_databases! {
    async fn an_unknown_path_is_404(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        for path in [
            "/nothing",
            "/api/v1",
            "/api/v2/log",
            "/api/v1/log/nothing",
            "/docs/nothing",
        ] {
            server.anybody().get(path).await.refused(404);
        }
        assert_answer!(server.anybody().get("/nothing").await, @r#"
        {
          "body": {
            "detail": "there is nothing at this path",
            "request_id": "[request_id]",
            "status": 404,
            "title": "Not Found",
            "type": "about:blank"
          },
          "status": 404
        }
        "#);
    }

    async fn a_wrong_method_is_405_and_says_which_are_right(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for (method, path, allowed) in [
            (Method::GET, "/api/v1/log", "POST"),
            (Method::DELETE, "/api/v1/logs", "GET"),
            (Method::POST, "/health", "GET"),
            (Method::PATCH, "/api/v1/stats", "GET"),
            (Method::DELETE, "/api/v1/logs/01890a5d-ac96-774b-bcce-b302099a8057/cost", "GET"),
            (Method::PUT, "/registry/v/6/registry.json", "GET"),
            (Method::TRACE, "/", "GET"),
        ] {
            let refusal = alice.send(alice.request(method.clone(), path)).await.refused(405);
            let allow = refusal.header("allow").unwrap_or_default().to_owned();
            assert!(
                allow.split(", ").any(|method| method == allowed),
                "{method} {path}: {allow:?}"
            );
        }
        assert_answer!(alice.get("/api/v1/log").await, @r#"
        {
          "body": {
            "detail": "this path does not answer this method",
            "request_id": "[request_id]",
            "status": 405,
            "title": "Method Not Allowed",
            "type": "about:blank"
          },
          "status": 405
        }
        "#);
    }

    async fn the_callers_request_id_is_carried_through(db: TestDatabase) {
        let server = Server::on(&db).with("LLMRING_LOG", "debug").start().await;
        let alice = server.actor("alice");
        let refusal = alice
            .send(
                alice
                    .request(Method::GET, "/nothing")
                    .header("X-Request-ID", "caller-17"),
            )
            .await
            .refused(404);
        assert_eq!(refusal.json()["request_id"], json!("caller-17"));
        let answer = alice
            .send(
                alice
                    .request(Method::GET, "/health")
                    .header("X-Request-ID", "caller-18"),
            )
            .await
            .ok();
        assert_eq!(answer.header("x-request-id"), Some("caller-18"));
        integration::eventually("both ids in the log", async || {
            let log = server.log().text();
            (log.contains("caller-17") && log.contains("caller-18")).then_some(())
        })
        .await;
    }

    async fn an_answer_without_a_callers_id_gets_one_of_its_own(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let anybody = server.anybody();
        let (first, second) = (
            anybody.get("/health").await.ok(),
            anybody.get("/health").await.ok(),
        );
        let id = first.header("x-request-id").expect("a request id");
        assert!(!id.is_empty() && second.header("x-request-id") != Some(id));
        let forged = anybody
            .send(
                anybody
                    .request(Method::GET, "/health")
                    .header("X-Request-ID", "x".repeat(5000)),
            )
            .await
            .ok();
        assert!(
            forged
                .header("x-request-id")
                .is_some_and(|id| !id.is_empty() && id.len() <= 255)
        );
    }
}
