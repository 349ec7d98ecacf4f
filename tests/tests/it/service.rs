//! What the server says of itself, and what surrounds every answer.

use integration::{Proxy, Server, TestDatabase, Traffic, assert_answer, eventually, on_both_databases};
use reqwest::Method;
use serde_json::{Value, json};
use url::Url;

on_both_databases! {
    async fn the_root_says_what_this_is(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let mut root = server.anybody().get("/").await.ok();
        let version = root.json()["version"].as_str().expect("a version").to_owned();
        assert_eq!(version.split('.').count(), 3, "{version}");
        root.text = root.text.replace(&version, "[version]");
        assert_answer!(root, @r#"
        {
          "body": {
            "docs": "/docs",
            "name": "LLMRing Server",
            "registry": "/registry",
            "version": "[version]"
          },
          "status": 200
        }
        "#);
    }

    async fn health_says_that_the_database_answers(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let health = server.anybody().get("/health").await.ok().json();
        assert_eq!(health["status"], "healthy");
        assert_eq!(health["database"], "connected");
        assert_eq!(
            health["version"],
            server.anybody().get("/").await.json()["version"]
        );
    }

    async fn metrics_are_prometheus_text_and_count(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice
            .log_usage(json!({"provider": "p", "model": "m", "cost": 1}))
            .await
            .ok();
        alice.get("/nothing").await.refused(404);
        let metrics = server.anybody().get("/metrics").await.ok();
        assert!(
            metrics
                .header("content-type")
                .is_some_and(|kind| kind.starts_with("text/plain")),
            "{:?}",
            metrics.headers
        );
        let lines: Vec<&str> = metrics.text.lines().collect();
        for line in &lines {
            let sample = line.starts_with('#')
                || line
                    .rsplit_once(' ')
                    .is_some_and(|(_, value)| value.parse::<f64>().is_ok());
            assert!(sample, "{line:?} is no line of the Prometheus text format");
        }
        let counted = |parts: &[&str]| {
            lines.iter().any(|line| {
                parts.iter().all(|part| line.contains(part))
                    && !line.starts_with('#')
                    && !line.ends_with(" 0")
            })
        };
        assert!(
            counted(&["requests_total", "/api/v1/log", "POST", "200"]),
            "{}",
            metrics.text
        );
        assert!(counted(&["requests_total", "404"]), "{}", metrics.text);
        assert!(counted(&["ledger_rows_total"]), "{}", metrics.text);
        assert!(!metrics.text.contains(alice.key()));
    }

    async fn pages_load_nothing_from_elsewhere(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        for page in ["/docs", "/redoc", "/docs/", "/redoc/"] {
            let answer = server.anybody().get(page).await.ok();
            assert!(
                answer
                    .header("content-type")
                    .is_some_and(|kind| kind.starts_with("text/html")),
                "{page}"
            );
            assert!(
                answer.text.contains("openapi") || answer.text.contains("LLMRing Server"),
                "{page} shows no document"
            );
            for loaded in loaded_from(&answer.text) {
                assert!(
                    !loaded.starts_with("http") && !loaded.starts_with("//"),
                    "{page} loads {loaded}"
                );
            }
        }
    }
}

/// What the tags of a page load: the values of `src` in all of them and of `href` in `<link>`, and what its styles import.
fn loaded_from(page: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (tags, attribute) in [
        ("<script", "src="),
        ("<img", "src="),
        ("<iframe", "src="),
        ("<link", "href="),
    ] {
        for tag in page.split(tags).skip(1) {
            let tag = tag.split('>').next().unwrap_or_default();
            if let Some((_, value)) = tag.split_once(attribute) {
                found.push(value.trim_start_matches(['"', '\'']).chars().take(80).collect());
            }
        }
    }
    for import in page.split("@import").skip(1) {
        found.push(
            import
                .trim_start_matches([' ', '"', '\'', '('])
                .trim_start_matches("url(")
                .chars()
                .take(80)
                .collect(),
        );
    }
    found
}

#[tokio::test]
async fn a_database_that_is_away_is_503_and_comes_back() {
    integration::database::play(TestDatabase::postgres(), |db| async move {
        let settings = db.settings();
        let (_, url) = settings
            .iter()
            .find(|(variable, _)| *variable == "LLMRING_DATABASE_URL")
            .expect("a URL");
        let proxy = Proxy::before(&url.parse::<Url>().expect("a URL")).await;
        let server = Server::on(&db)
            .with("LLMRING_DATABASE_URL", proxy.url())
            .start()
            .await;
        let alice = server.actor("alice");
        let log = json!({"provider": "p", "model": "m", "cost": 1});
        alice.log_usage(log.clone()).await.ok();

        proxy.set(Traffic::IsRefused);
        let health = eventually("unhealthy", async || {
            let health = server.anybody().get("/health").await;
            (health.status == 503).then_some(health)
        })
        .await;
        let body = health.json();
        assert_eq!(body["status"], "unhealthy");
        assert_ne!(body["database"], "connected");
        let refusal = alice.log_usage_once("k", &log).await.refused(503);
        assert!(
            refusal
                .header("retry-after")
                .is_some_and(|seconds| seconds.parse::<u64>().is_ok())
        );
        let unreadable = alice.stats("").await.refused(503);
        for answer in [refusal, unreadable] {
            let text = answer.text.to_lowercase();
            for word in ["sql", "postgres", "127.0.0.1", "connection", "pool"] {
                assert!(!text.contains(word), "the caller reads {word:?}: {text}");
            }
        }

        proxy.set(Traffic::Flows);
        server
            .healthy_when("healthy again", |health| health["status"] == "healthy")
            .await;
        alice.log_usage_once("k", &log).await.ok();
        alice.log_usage_once("k", &log).await.ok();
        assert_eq!(alice.stats("").await.exact(&["summary", "total_requests"]), "2");
    })
    .await;
}

#[tokio::test]
async fn a_full_queue_and_a_slow_database_are_told_apart_from_success() {
    integration::database::play(TestDatabase::postgres(), |db| async move {
        const AT_ONCE: usize = 20;
        let settings = db.settings();
        let (_, url) = &settings[0];
        let proxy = Proxy::before(&url.parse::<Url>().expect("a URL")).await;
        let server = Server::on(&db)
            .with("LLMRING_DATABASE_URL", proxy.url())
            .with("LLMRING_LEDGER_QUEUE", "1")
            .with("LLMRING_REQUEST_TIMEOUT", "3")
            .start()
            .await;
        let alice = server.actor("alice");
        let log = json!({"provider": "p", "model": "m", "cost": 1});
        alice.log_usage(log.clone()).await.ok();
        proxy.set(Traffic::Hangs);
        let mut sending = tokio::task::JoinSet::new();
        for number in 0..AT_ONCE {
            let (alice, log) = (alice.clone(), log.clone());
            sending.spawn(async move { alice.log_usage_once(&number.to_string(), &log).await });
        }
        let answers = sending.join_all().await;
        let mut busy = 0;
        for answer in answers {
            let answer = answer.refused(503);
            assert!(
                answer
                    .header("retry-after")
                    .is_some_and(|seconds| seconds.parse::<u64>().is_ok())
            );
            busy += usize::from(
                answer.json()["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.contains("busy")),
            );
        }
        assert!(busy > 0, "nobody was told that the queue is full");

        proxy.set(Traffic::Flows);
        server
            .healthy_when("healthy again", |health| health["status"] == "healthy")
            .await;
        // Everybody repeats, and each call is one row whatever became of the first attempt.
        for number in 0..AT_ONCE {
            eventually("the call to be accepted", async || {
                let answer = alice.log_usage_once(&number.to_string(), &log).await;
                (answer.status == 200).then_some(())
            })
            .await;
        }
        let total = (AT_ONCE + 1).to_string();
        assert_eq!(alice.stats("").await.exact(&["summary", "total_requests"]), total);
        assert_eq!(db.db_count("usage_logs").await.to_string(), total);
    })
    .await;
}

#[tokio::test]
async fn listed_origins_may_call_and_others_may_not() {
    let db = TestDatabase::sqlite();
    let server = Server::on(&db)
        .with(
            "LLMRING_CORS_ORIGINS",
            "https://app.example.com,http://localhost:5173",
        )
        .start()
        .await;
    let anybody = server.anybody();
    let preflight = async |origin: &str| {
        let request = anybody
            .request(Method::OPTIONS, "/api/v1/log")
            .header("Origin", origin)
            .header("Access-Control-Request-Method", "POST")
            .header(
                "Access-Control-Request-Headers",
                "x-api-key,content-type,idempotency-key",
            );
        anybody.send(request).await
    };
    let allowed = preflight("https://app.example.com").await;
    assert!((200..300).contains(&allowed.status), "{allowed:?}");
    assert_eq!(
        allowed.header("access-control-allow-origin"),
        Some("https://app.example.com")
    );
    assert!(
        allowed
            .header("access-control-allow-methods")
            .is_some_and(|methods| methods.contains("POST"))
    );
    let headers = allowed
        .header("access-control-allow-headers")
        .unwrap_or_default()
        .to_lowercase();
    for name in ["x-api-key", "content-type", "idempotency-key"] {
        assert!(headers.contains(name), "{headers}");
    }
    let refused = preflight("https://evil.example.com").await;
    assert_eq!(refused.header("access-control-allow-origin"), None);

    let from = async |origin: &str| {
        anybody
            .send(
                anybody
                    .request(Method::GET, "/api/v1/logs")
                    .header("Origin", origin),
            )
            .await
            .refused(401)
    };
    // A page must be able to read refusals as well.
    assert_eq!(
        from("http://localhost:5173")
            .await
            .header("access-control-allow-origin"),
        Some("http://localhost:5173")
    );
    assert_eq!(
        from("https://evil.example.com")
            .await
            .header("access-control-allow-origin"),
        None
    );
    assert_eq!(
        from("https://app.example.com.evil.com")
            .await
            .header("access-control-allow-origin"),
        None
    );
}

#[tokio::test]
async fn a_star_lets_every_origin_call() {
    let db = TestDatabase::sqlite();
    let server = Server::on(&db).with("LLMRING_CORS_ORIGINS", "*").start().await;
    let anybody = server.anybody();
    let answer = anybody
        .send(
            anybody
                .request(Method::GET, "/health")
                .header("Origin", "https://any.example"),
        )
        .await
        .ok();
    assert_eq!(answer.header("access-control-allow-origin"), Some("*"));
    assert_eq!(answer.header("access-control-allow-credentials"), None);
}

#[tokio::test]
async fn the_log_is_json_when_asked_for() {
    let db = TestDatabase::sqlite();
    let mut server = Server::on(&db).start().await;
    server
        .actor("alice")
        .log_usage(json!({"provider": "p", "model": "m"}))
        .await
        .ok();
    server.terminate();
    server.ended().await;
    for line in server.log().text().lines() {
        let entry: Value = serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        assert!(
            entry["timestamp"].is_string() && entry["level"].is_string(),
            "{line}"
        );
    }
}
