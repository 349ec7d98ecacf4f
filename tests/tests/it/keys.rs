//! Keys and the projects they open.

use chrono::{Days, Utc};
use integration::{Actor, Answer, Server, ServerBuilder, assert_answer, on_both_databases};
use reqwest::Method;
use serde_json::{Value, json};

fn call() -> Value {
    json!({"provider": "openai", "model": "gpt-4o-mini", "cost": 0.5})
}

/// Asks for logs with these headers alone.
async fn with_headers(anybody: &Actor, headers: &[(&str, &str)]) -> Answer {
    let mut request = anybody.request(Method::GET, "/api/v1/logs");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    anybody.send(request).await
}

/// A server that knows only the operator's keys and looks each up anew.
fn strict(db: &integration::TestDatabase) -> ServerBuilder {
    Server::on(db)
        .with("LLMRING_AUTH_MODE", "strict")
        .with("LLMRING_KEY_CACHE_TTL", "0")
}

async fn create(operator: &ServerBuilder, project: &str) -> String {
    let made = operator
        .run(&["keys", "create", "--project", project])
        .await
        .succeeded();
    made.stdout.trim().to_owned()
}

/// The listed line of the key that begins like this one.
async fn listed(operator: &ServerBuilder, key: &str) -> String {
    let listed = operator.run(&["keys", "list"]).await.succeeded().stdout;
    assert!(!listed.contains(key), "a whole key is listed: {listed}");
    let line = listed.lines().find(|line| line.contains(&key[..8]));
    line.unwrap_or_else(|| panic!("no key begins with {} in:\n{listed}", &key[..8]))
        .to_owned()
}

async fn revoke(operator: &ServerBuilder, key: &str) {
    let line = listed(operator, key).await;
    let id = line.split_whitespace().next().expect("an id");
    operator.run(&["keys", "revoke", id]).await.succeeded();
}

on_both_databases! {
    async fn a_key_comes_in_either_header(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let log = server.actor_with_key("k1").log_usage(call()).await.ok().id();
        let anybody = server.anybody();
        for headers in [
            &[("X-API-Key", "k1")][..],
            &[("Authorization", "Bearer k1")],
            &[("Authorization", "bearer k1")],
            &[("X-API-Key", "k1"), ("Authorization", "Bearer k1")],
            &[("X-API-Key", "k1"), ("Authorization", "Basic azE6")],
        ] {
            let logs = with_headers(&anybody, headers).await.ok();
            assert_eq!(logs.json()[0]["id"], json!(log), "{headers:?}");
        }
    }

    async fn a_missing_empty_or_contradicting_key_is_401(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let anybody = server.anybody();
        for headers in [
            &[("X-API-Key", "")][..],
            &[("Authorization", "Bearer ")],
            &[("Authorization", "Basic azE6")],
            &[("X-API-Key", "k1"), ("Authorization", "Bearer k2")],
            &[("X-API-Key", "k1"), ("X-API-Key", "k2")],
        ] {
            with_headers(&anybody, headers).await.refused(401);
        }
        assert_answer!(with_headers(&anybody, &[]).await.refused(401), @r#"
        {
          "body": {
            "detail": "an API key is required, in the header X-API-Key",
            "request_id": "[request_id]",
            "status": 401,
            "title": "Unauthorized",
            "type": "about:blank"
          },
          "status": 401
        }
        "#);
    }

    async fn a_key_with_white_space_or_over_255_characters_is_400(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let anybody = server.anybody();
        let longest = "x".repeat(255);
        with_headers(&anybody, &[("X-API-Key", &longest)]).await.ok();
        for key in ["a b", "a\tb", &"x".repeat(256)] {
            with_headers(&anybody, &[("X-API-Key", key)]).await.refused(400);
            with_headers(&anybody, &[("Authorization", &format!("Bearer {key}"))])
                .await
                .refused(400);
        }
    }

    async fn a_key_is_neither_stored_nor_logged(db: TestDatabase) {
        let mut server = Server::on(&db).with("LLMRING_LOG", "trace").start().await;
        let alice = server.actor("alice");
        alice.log_usage(call()).await.ok();
        alice.log_usage_once("once", &call()).await.ok();
        alice.log_usage(json!({"model": 1})).await.refused(422);
        with_headers(
            &server.anybody(),
            &[("Authorization", &format!("Bearer {}", alice.key()))],
        )
        .await
        .ok();
        server.terminate();
        server.ended().await;
        assert!(server.log().text().contains("/api/v1/log"), "nothing was logged");
        assert!(!server.log().text().contains(alice.key()));
        assert!(!db.db_contains(alice.key()).await);
        assert!(
            db.db_contains("gpt-4o-mini").await,
            "the search finds nothing at all"
        );
    }

    async fn in_open_mode_each_key_opens_its_own_project(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let (alice, bob) = (server.actor("alice"), server.actor("bob"));
        let log = alice.log_usage(call()).await.ok().id();
        alice.can_see(&log).await;
        bob.cannot_see(&log).await;
        bob.has_nothing().await;
    }

    async fn in_strict_mode_only_the_operators_keys_open_anything(db: TestDatabase) {
        let server = strict(&db);
        let key = create(&server, "web").await;
        let server = server.start().await;
        let web = server.actor_with_key(&key);
        let log = web.log_usage(call()).await.ok().id();
        web.can_see(&log).await;
        assert_answer!(server.actor("stranger").log_usage(call()).await.refused(401), @r#"
        {
          "body": {
            "detail": "this API key opens no project",
            "request_id": "[request_id]",
            "status": 401,
            "title": "Unauthorized",
            "type": "about:blank"
          },
          "status": 401
        }
        "#);
        assert!(!db.db_contains(&key).await, "the key itself is stored");
    }

    async fn a_key_is_shown_once_and_listed_by_its_beginning(db: TestDatabase) {
        let operator = strict(&db);
        let made = operator
            .run(&["keys", "create", "--project", "web", "--expires-in-days", "90"])
            .await
            .succeeded();
        let key = made.stdout.trim();
        assert_eq!(made.stdout.lines().count(), 1, "{made:?}");
        assert!(key.len() >= 32 && !made.stderr.contains(key), "{made:?}");
        let line = listed(&operator, key).await;
        assert!(line.contains("web") && line.contains("expires"), "{line}");
    }

    async fn a_revoked_key_opens_nothing(db: TestDatabase) {
        let operator = strict(&db);
        let key = create(&operator, "web").await;
        let server = operator.clone().start().await;
        let web = server.actor_with_key(&key);
        web.log_usage(call()).await.ok();
        revoke(&operator, &key).await;
        web.log_usage(call()).await.refused(401);
        assert!(listed(&operator, &key).await.contains("revoked"));
        let open = operator.with("LLMRING_AUTH_MODE", "open").start().await;
        open.actor_with_key(&key).log_usage(call()).await.refused(401);
    }

    async fn an_expired_key_opens_nothing(db: TestDatabase) {
        let operator = strict(&db);
        let made = operator
            .run(&["keys", "create", "--project", "web", "--expires-in-days", "1"])
            .await
            .succeeded();
        let server = operator.clone().start().await;
        let web = server.actor_with_key(made.stdout.trim());
        web.log_usage(call()).await.ok();
        let yesterday = Utc::now() - Days::new(1);
        assert_eq!(
            db.db_change("UPDATE api_keys SET expires_at = $1", [yesterday.into()])
                .await,
            1
        );
        web.log_usage(call()).await.refused(401);
        assert!(listed(&operator, web.key()).await.contains("expired"));
    }

    async fn a_revocation_reaches_a_running_server_after_the_remembered_time(db: TestDatabase) {
        let operator = strict(&db).with("LLMRING_KEY_CACHE_TTL", "1");
        let key = create(&operator, "web").await;
        let server = operator.clone().start().await;
        let web = server.actor_with_key(&key);
        web.log_usage(call()).await.ok();
        revoke(&operator, &key).await;
        integration::eventually("the key to be refused", async || {
            (web.logs("").await.status == 401).then_some(())
        })
        .await;
    }

    async fn rotating_a_key_loses_nothing(db: TestDatabase) {
        let operator = strict(&db);
        let old = create(&operator, "web").await;
        let server = operator.clone().start().await;
        let before = server.actor_with_key(&old).log_usage(call()).await.ok().id();
        let new = create(&operator, "web").await;
        assert_ne!(old, new);
        let after = server.actor_with_key(&new).log_usage(call()).await.ok().id();
        server.actor_with_key(&old).can_see(&after).await;
        revoke(&operator, &old).await;
        let web = server.actor_with_key(&new);
        web.can_see(&before).await;
        web.can_see(&after).await;
        let other = create(&operator, "batch").await;
        server.actor_with_key(&other).cannot_see(&before).await;
    }

    async fn adopting_gives_an_open_keys_project_a_managed_key(db: TestDatabase) {
        let open = Server::on(&db).start().await;
        let alice = open.actor("alice");
        let log = alice.log_usage(call()).await.ok().id();
        drop(open);

        let operator = strict(&db);
        let adopted = operator
            .run_with_input(
                &["keys", "adopt", "--project", "alice's"],
                &format!("{}\n", alice.key()),
            )
            .await
            .succeeded();
        let server = operator.clone().start().await;
        server.actor_with_key(adopted.stdout.trim()).can_see(&log).await;
        server.actor("alice").log_usage(call()).await.refused(401);
        assert!(!db.db_contains(alice.key()).await);
    }

    async fn adopting_can_keep_the_open_key(db: TestDatabase) {
        let open = Server::on(&db).start().await;
        let alice = open.actor("alice");
        let log = alice.log_usage(call()).await.ok().id();
        drop(open);

        let operator = strict(&db);
        operator
            .run_with_input(&["keys", "adopt", "--project", "alice's", "--keep"], alice.key())
            .await
            .succeeded();
        let server = operator.start().await;
        server.actor("alice").can_see(&log).await;
        server.actor("bob").log_usage(call()).await.refused(401);
    }

    async fn an_operators_mistake_is_answered_with_a_sentence(db: TestDatabase) {
        let operator = strict(&db);
        for arguments in [
            &["keys", "create"][..],
            &["keys", "create", "--project", ""],
            &["keys", "create", "--project", "web", "--expires-in-days", "0"],
            &["keys", "revoke", "not-an-id"],
            &["keys", "revoke", "01890a5d-ac96-774b-bcce-b302099a8057"],
            &["keys", "adopt", "--project", "web"],
        ] {
            let finished = operator.run(arguments).await;
            assert!(!finished.status.success(), "{arguments:?} {finished:?}");
            assert!(
                !finished.stderr.trim().is_empty() && !finished.stderr.contains("panicked"),
                "{finished:?}"
            );
        }
    }
}
