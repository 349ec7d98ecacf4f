//! Settings: from where they come, and what is said when they cannot be used.

use std::collections::BTreeSet;

use integration::{Server, TestDatabase};

/// The variables that `--help` documents.
async fn documented() -> BTreeSet<String> {
    let help = Server::without_settings()
        .run(&["--help"])
        .await
        .succeeded()
        .stdout;
    variables(&help)
}

/// All words that begin with `LLMRING_`.
fn variables(text: &str) -> BTreeSet<String> {
    text.split(|character: char| !character.is_ascii_alphanumeric() && character != '_')
        .filter(|word| word.starts_with("LLMRING_"))
        .map(str::to_owned)
        .collect()
}

#[tokio::test]
async fn every_setting_is_in_help_and_in_the_readme_and_nothing_else_is() {
    let documented = documented().await;
    for variable in [
        "LLMRING_HOST",
        "LLMRING_PORT",
        "LLMRING_LOG",
        "LLMRING_DATABASE_URL",
        "LLMRING_DATABASE_SCHEMA",
        "LLMRING_DATABASE_POOL_SIZE",
        "LLMRING_DATABASE_POOL_OVERFLOW",
        "LLMRING_REDIS_URL",
        "LLMRING_CACHE_TTL",
        "LLMRING_CORS_ORIGINS",
        "LLMRING_REGISTRY_BASE_URL",
    ] {
        assert!(documented.contains(variable), "{variable} is not in --help");
    }
    let readme = include_str!("../../../README.md");
    let rows: BTreeSet<String> = readme
        .lines()
        .filter_map(|line| line.strip_prefix("| `LLMRING_"))
        .filter_map(|line| line.split('`').next())
        .map(|name| format!("LLMRING_{name}"))
        .collect();
    assert_eq!(rows, documented, "the table of settings in README.md");
}

#[tokio::test]
async fn a_value_that_cannot_be_used_stops_the_start_with_one_sentence_that_names_it() {
    let db = TestDatabase::sqlite();
    for (variable, value) in [
        ("LLMRING_HOST", "not an address"),
        ("LLMRING_HOST", "300.1.1.1"),
        ("LLMRING_PORT", "65536"),
        ("LLMRING_PORT", "-1"),
        ("LLMRING_PORT", "http"),
        ("LLMRING_LOG", "llmring_server=loudly"),
        ("LLMRING_LOG_FORMAT", "xml"),
        ("LLMRING_DATABASE_URL", "mysql://root:hush-hush@localhost/x"),
        (
            "LLMRING_DATABASE_URL",
            "postgres://root:hush-hush@localhost:port/x",
        ),
        ("LLMRING_DATABASE_URL", "sqlite://"),
        (
            "LLMRING_DATABASE_URL",
            "sqlite:///nonexistent-directory/of/llmring.db",
        ),
        ("LLMRING_DATABASE_SCHEMA", "Robert'); DROP TABLE students;--"),
        ("LLMRING_DATABASE_SCHEMA", "pg_catalog"),
        ("LLMRING_DATABASE_MCP_SCHEMA", "llmring"),
        ("LLMRING_DATABASE_POOL_SIZE", "0"),
        ("LLMRING_DATABASE_POOL_SIZE", "twenty"),
        ("LLMRING_DATABASE_POOL_OVERFLOW", "-1"),
        ("LLMRING_REDIS_URL", "http://:hush-hush@localhost"),
        ("LLMRING_REDIS_URL", "localhost:6379"),
        ("LLMRING_REDIS_TIMEOUT_MS", "0"),
        ("LLMRING_CACHE_TTL", "0"),
        ("LLMRING_CACHE_TTL", "1.5"),
        ("LLMRING_AUTH_MODE", "closed"),
        ("LLMRING_KEY_CACHE_TTL", "-5"),
        ("LLMRING_CORS_ORIGINS", "https://a.example/path"),
        ("LLMRING_CORS_ORIGINS", "example.com"),
        ("LLMRING_REGISTRY_BASE_URL", "ftp://a.example/"),
        ("LLMRING_REGISTRY_BASE_URL", "registry"),
        ("LLMRING_MAX_BODY_BYTES", "10MB"),
        ("LLMRING_MAX_METADATA_BYTES", "-1"),
        ("LLMRING_REQUEST_TIMEOUT", "0"),
        ("LLMRING_SHUTDOWN_TIMEOUT", "soon"),
        ("LLMRING_LEDGER_QUEUE", "0"),
        ("LLMRING_LEDGER_BATCH", "0"),
        ("LLMRING_IDEMPOTENCY_DAYS", "0"),
    ] {
        let said = Server::on(&db).with(variable, value).refuses_to_start().await;
        let said = said.trim();
        assert_eq!(said.lines().count(), 1, "{variable}={value}: {said}");
        assert!(said.contains(variable), "{variable}={value}: {said}");
        assert!(!said.contains("hush"), "{said}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_is_named() {
    let db = TestDatabase::sqlite();
    let server = Server::on(&db).start().await;
    let port = server.address().rsplit(':').next().expect("a port").to_owned();
    let said = Server::on(&TestDatabase::sqlite())
        .with("LLMRING_PORT", &port)
        .refuses_to_start()
        .await;
    assert!(said.contains("LLMRING_PORT"), "{said}");
}

#[tokio::test]
async fn a_flag_wins_over_the_environment_and_that_over_the_file() {
    let server = Server::without_settings();
    std::fs::write(
        server.directory().join(".env"),
        "LLMRING_AUTH_MODE=from-the-file\nLLMRING_LOG_FORMAT='json' # quoted\n",
    )
    .expect("the file");
    let said = server.run(&["keys", "list"]).await.stderr;
    assert!(said.contains("from-the-file"), "{said}");
    let server = server.with("LLMRING_AUTH_MODE", "from-the-environment");
    let said = server.run(&["keys", "list"]).await.stderr;
    assert!(said.contains("from-the-environment"), "{said}");
    let said = server
        .run(&["--auth-mode", "from-the-flag", "keys", "list"])
        .await
        .stderr;
    assert!(said.contains("from-the-flag"), "{said}");
    // Present but empty counts as absent.
    let said = server
        .with("LLMRING_AUTH_MODE", "")
        .run(&["keys", "list"])
        .await
        .stderr;
    assert!(said.contains("from-the-file"), "{said}");
}

#[tokio::test]
async fn without_any_setting_it_runs_on_a_file_in_the_working_directory() {
    let builder = Server::without_settings()
        .with("LLMRING_PORT", "0")
        .with("LLMRING_HOST", "127.0.0.1")
        .with("LLMRING_LOG_FORMAT", "json")
        .with("LLMRING_REGISTRY_BASE_URL", "http://127.0.0.1:9/");
    let file = builder.directory().join("llmring.db");
    let server = builder.start().await;
    let alice = server.actor("alice");
    let log = alice
        .log_usage(serde_json::json!({"provider": "p", "model": "m", "cost": 1}))
        .await
        .ok()
        .id();
    assert!(file.exists());
    server.restart().await.actor("alice").can_see(&log).await;
}

#[tokio::test]
async fn no_secret_is_in_the_log() {
    integration::database::play(TestDatabase::postgres(), |db| async move {
        let redis = integration::redis_url();
        let mut server = Server::on(&db)
            .with("LLMRING_LOG", "trace")
            .with("LLMRING_REDIS_URL", redis.as_str())
            .start()
            .await;
        let alice = server.actor("alice");
        alice
            .log_usage(serde_json::json!({"provider": "p", "model": "m"}))
            .await
            .ok();
        server.anybody().get("/health").await.ok();
        server.terminate();
        server.ended().await;
        let log = server.log().text();
        let settings = db.settings();
        let database: url::Url = settings[0].1.parse().expect("a URL");
        for secret in [
            alice.key(),
            redis.password().expect("a password"),
            database.password().expect("a password"),
        ] {
            assert!(!log.contains(secret), "a secret is in the log");
        }
        assert!(log.contains("/health"), "nothing was logged");
    })
    .await;
}
