//! The registry from a folder, through the database, to the documents.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use url::Url;

use super::refresh::Refresher;
use super::source::Source;
use super::*;
use crate::config::{CacheConfig, DatabaseConfig, DatabaseLocation};
use crate::error::Error;
use crate::outbound::{EgressPolicy, Timeouts};

const TTL: Duration = Duration::from_secs(3600);

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000 + seconds, 0).expect("in range")
}

fn clock(seconds: i64) -> Clock {
    Clock::fixed(at(seconds))
}

fn cache(memory_bytes: u64) -> Cache {
    let config = CacheConfig {
        redis_url: None,
        redis_timeout: Duration::ZERO,
        memory_bytes,
        ttl: TTL,
    };
    Cache::new(&config).expect("a cache")
}

/// A folder with a registry in it and a database beside it.
struct Place {
    folder: tempfile::TempDir,
    storage: Storage,
}

impl Place {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let storage = Storage::connect(&DatabaseConfig {
            location: DatabaseLocation::Sqlite(folder.path().join("test.db")),
            schema: "llmring".to_owned(),
            mcp_schema: "mcp_client".to_owned(),
            max_connections: 1,
        })
        .await
        .expect("a database");
        storage.migrate_up().await.expect("a schema");
        Self { folder, storage }
    }

    fn pages(&self) -> std::path::PathBuf {
        self.folder.path().join("pages")
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.pages().join(path);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }

    fn manifest(&self, providers: &[&str]) {
        let providers: serde_json::Map<String, Value> = providers
            .iter()
            .map(|name| ((*name).to_owned(), Value::Object(serde_json::Map::new())))
            .collect();
        self.write(
            "manifest.json",
            &serde_json::json!({"providers": providers}).to_string(),
        );
    }

    fn models(&self, provider: &str, version: u64, names: &[&str]) {
        self.write(&format!("{provider}/models.json"), &file(version, names));
    }

    fn remove(&self, path: &str) {
        std::fs::remove_file(self.pages().join(path)).expect("a file");
    }

    fn source(&self, seconds: i64, cache: Cache) -> Source {
        source(
            &Url::from_directory_path(self.pages()).expect("a URL"),
            seconds,
            cache,
        )
    }

    async fn refresher_with(&self, seconds: i64, cache: Cache) -> Refresher {
        Refresher::load(
            self.source(seconds, cache),
            self.storage.clone(),
            clock(seconds),
            TTL,
        )
        .await
    }

    /// What a server that starts at that time begins with, without a cache.
    async fn refresher(&self, seconds: i64) -> Refresher {
        self.refresher_with(seconds, cache(0)).await
    }
}

fn source(base_url: &Url, seconds: i64, cache: Cache) -> Source {
    let outbound =
        Outbound::new(EgressPolicy::Operator, Timeouts::within(Duration::from_secs(5))).expect("a client");
    Source::new(base_url, outbound, cache, clock(seconds), TTL, 10_000)
}

fn file(version: u64, names: &[&str]) -> String {
    let models: serde_json::Map<String, Value> = names
        .iter()
        .map(|name| ((*name).to_owned(), serde_json::json!({"model_name": name})))
        .collect();
    serde_json::json!({"version": version, "updated_at": "2026-08-18T17:29:16.542543", "models": models})
        .to_string()
}

fn keys(refresher: &Refresher) -> Vec<String> {
    let current = refresher.current();
    let current = current.read().expect("not poisoned");
    current
        .catalog
        .files()
        .flat_map(|file| file.models())
        .map(|model| model.key.clone())
        .collect()
}

fn document(refresher: &Refresher) -> Document {
    refresher
        .current()
        .read()
        .expect("not poisoned")
        .catalog
        .document()
        .clone()
}

fn status(refresher: &Refresher, seconds: i64) -> RegistryStatus {
    refresher
        .current()
        .read()
        .expect("not poisoned")
        .status
        .report(at(seconds), TTL)
}

fn states(refresher: &Refresher, seconds: i64) -> Vec<(String, ProviderState)> {
    let providers = status(refresher, seconds).providers;
    providers
        .into_iter()
        .map(|provider| (provider.provider, provider.state))
        .collect()
}

fn parse(document: &Document) -> Value {
    serde_json::from_slice(&document.body).expect("JSON")
}

#[test]
fn members_pass_through_byte_for_byte() {
    let model = r#"{ "dollars_per_million_tokens_input": 1.50e0, "large": 12345678901234567890.10,
        "text": "\u00e9\u2028", "unknown": {"b": [1.0, null], "a": 1} }"#;
    let text = format!(r#"{{"version": 7, "models": {{"z": {model}, "p:a": {{}}}}}}"#);
    let catalog = catalog_of(&[("p", &text)]);
    let body = std::str::from_utf8(&catalog.document().body)
        .expect("text")
        .to_owned();
    assert!(body.contains(&format!(r#""p:z":{model},"p:a":{{}}"#)), "{body}");
    assert!(body.starts_with(r#"{"version":"undated+"#), "{body}");
    assert!(
        body.contains(r#""generated_at":"1970-01-01T00:00:00.000000Z""#),
        "{body}"
    );
    let providers =
        r#""providers":{"p":{"name":"p","base_url":null,"models_endpoint":null,"version":7,"sha256":""#;
    assert!(body.contains(providers), "{body}");
}

#[test]
fn versions_and_entity_tags_follow_the_content() {
    let (a, b) = (file(1, &["a"]), file(2, &["a"]));
    let same = [
        catalog_of(&[("p", &a), ("q", &b)]),
        catalog_of(&[("q", &b), ("p", &a)]),
    ];
    assert_eq!(same[0].version(), same[1].version());
    assert_eq!(same[0].document().etag, same[1].document().etag);
    assert!(
        same[0].version().starts_with("2026-08-18+"),
        "{}",
        same[0].version()
    );
    let other = catalog_of(&[("p", &b), ("q", &b)]);
    assert_ne!(same[0].version(), other.version());
    assert_ne!(same[0].document().etag, other.document().etag);
    // A part has a tag of its own, the same for the same part.
    let part = |name: &str| {
        let filter = Filter {
            providers: vec![name.to_owned()],
            ..Filter::default()
        };
        other.filtered(&filter).expect("a part")
    };
    assert_ne!(part("p").etag, other.document().etag);
    assert_eq!(part("p").etag, part("P").etag);
    assert_eq!(parse(&part("nobody"))["models"], serde_json::json!({}));
}

#[test]
fn a_model_needs_every_capability_that_is_asked_for() {
    let text = r#"{"models": {
        "both": {"supports_vision": true, "supports_telepathy": true},
        "one": {"supports_vision": true, "supports_telepathy": null},
        "none": {"supports_vision": false}}}"#;
    let catalog = catalog_of(&[("p", text)]);
    let models = |capabilities: &[&str]| {
        let capabilities = capabilities.iter().map(|name| (*name).to_owned()).collect();
        let document = catalog
            .filtered(&Filter {
                capabilities,
                ..Filter::default()
            })
            .expect("known");
        let models = parse(&document)["models"].as_object().expect("models").clone();
        models.into_iter().map(|(key, _)| key).collect::<Vec<_>>()
    };
    assert_eq!(models(&["vision"]), ["p:both", "p:one"]);
    assert_eq!(models(&["supports_telepathy", "vision"]), ["p:both"]);
    // Named by the contract even where no model mentions it.
    assert_eq!(models(&["json_mode"]), [""; 0]);
    let filter = Filter {
        capabilities: vec!["supports_flight".to_owned()],
        ..Filter::default()
    };
    assert_eq!(
        catalog.filtered(&filter).expect_err("unknown").to_string(),
        "has the unknown capability \"supports_flight\", known are \
         function_calling, json_mode, parallel_tool_calls, telepathy, vision"
    );
}

#[test]
fn malformed_files() {
    for (text, problem) in [
        ("", "EOF while parsing a value"),
        ("{\"models\": {", "EOF while parsing an object"),
        ("[]", "invalid"),
        ("{}", "missing field `models`"),
        (r#"{"models": null}"#, "an object of models by key"),
        (
            r#"{"models": [{"model_name": "a"}]}"#,
            "an object of models by key",
        ),
        (r#"{"models": {"a": {"x": NaN}}}"#, "expected value"),
        (
            r#"{"models": {"a": {}, "a": {}}}"#,
            "the model key p:a occurs twice",
        ),
        (
            r#"{"models": {"a": {}, "p:a": {}}}"#,
            "the model key p:a occurs twice",
        ),
        (
            r#"{"models": {"a": []}}"#,
            "model p:a: invalid type: sequence, expected an object that describes a model",
        ),
        (
            r#"{"models": {"a": {"model_name": 1}}}"#,
            "model p:a: model_name: invalid type: integer `1`",
        ),
        (
            r#"{"models": {"a": {"model_aliases": "x"}}}"#,
            "model p:a: model_aliases: invalid type: string",
        ),
        (
            r#"{"models": {"a": {"is_active": "yes"}}}"#,
            "model p:a: is_active: invalid type: string",
        ),
        (
            r#"{"models": {"a": {"supports_vision": 1}}}"#,
            "model p:a: supports_vision: invalid type: integer",
        ),
        (
            r#"{"models": {"a": {"dollars_per_million_tokens_input": 1, "dollars_per_million_tokens_input": 2}}}"#,
            "the member dollars_per_million_tokens_input occurs twice",
        ),
    ] {
        let error = ProviderFile::parse("p", text, at(0)).expect_err(text).to_string();
        assert!(error.contains(problem), "{text}: {error}");
    }
}

#[tokio::test]
async fn a_first_refresh_fills_everything() {
    let place = Place::new().await;
    place.manifest(&["p", "q"]);
    place.models("p", 7, &["a"]);
    place.models("q", 9, &["b"]);
    let mut refresher = place.refresher(0).await;
    assert_eq!(status(&refresher, 0).state, RegistryState::Empty);
    assert_eq!(refresher.first_wait(), Duration::ZERO);
    let wait = refresher.refresh().await;
    assert!(wait >= TTL && wait <= TTL.mul_f64(1.1), "{wait:?}");
    assert_eq!(keys(&refresher), ["p:a", "q:b"]);
    assert_eq!(status(&refresher, 10).state, RegistryState::Ok);
    assert_eq!(
        status(&refresher, 10).providers[0].age,
        Some(Duration::from_secs(10))
    );
}

#[tokio::test]
async fn a_malformed_file_keeps_its_last_good_copy_and_does_not_touch_the_others() {
    let place = Place::new().await;
    place.manifest(&["p", "q"]);
    place.models("p", 1, &["a"]);
    place.models("q", 1, &["b"]);
    let mut refresher = place.refresher(0).await;
    refresher.refresh().await;

    place.write("p/models.json", r#"{"models": []}"#);
    place.models("q", 2, &["c"]);
    let waits = [
        refresher.refresh().await,
        refresher.refresh().await,
        refresher.refresh().await,
    ];
    for (wait, seconds) in waits.into_iter().zip([5, 10, 20]) {
        let least = Duration::from_secs(seconds);
        assert!(wait >= least && wait <= least.mul_f64(1.1), "{wait:?}");
    }
    assert_eq!(keys(&refresher), ["p:a", "q:c"]);
    assert_eq!(
        states(&refresher, 0),
        [
            ("p".to_owned(), ProviderState::Stale),
            ("q".to_owned(), ProviderState::Ok)
        ]
    );
    assert_eq!(status(&refresher, 0).state, RegistryState::Stale);
    let reason = status(&refresher, 0).providers[0]
        .reason
        .clone()
        .expect("a reason");
    assert!(reason.contains("an object of models by key"), "{reason}");

    place.models("p", 3, &["d"]);
    assert!(refresher.refresh().await >= TTL);
    assert_eq!(keys(&refresher), ["p:d", "q:c"]);
    assert_eq!(status(&refresher, 0).state, RegistryState::Ok);
}

#[tokio::test]
async fn files_that_cannot_be_had_say_why() {
    let place = Place::new().await;
    place.manifest(&["absent", "large", "p"]);
    place.models("p", 1, &["a"]);
    place.write("large/models.json", &" ".repeat(10_001));
    let mut refresher = place.refresher(0).await;
    refresher.refresh().await;
    assert_eq!(keys(&refresher), ["p:a"]);
    let providers = status(&refresher, 0).providers;
    let told: Vec<_> = providers
        .iter()
        .map(|provider| (provider.state, provider.reason.as_deref()))
        .collect();
    assert_eq!(
        told,
        [
            (ProviderState::Missing, Some("the registry has no such file")),
            (
                ProviderState::Missing,
                Some("the file is larger than 10000 bytes")
            ),
            (ProviderState::Ok, None),
        ]
    );
}

#[tokio::test]
async fn without_a_manifest_everything_stays() {
    let place = Place::new().await;
    place.manifest(&["p"]);
    place.models("p", 1, &["a"]);
    let mut refresher = place.refresher(0).await;
    refresher.refresh().await;
    for manifest in [r#"{"providers": {}}"#, "<html>", r#"{"providers": {"../p": {}}}"#] {
        place.write("manifest.json", manifest);
        refresher.refresh().await;
        assert_eq!(keys(&refresher), ["p:a"], "{manifest}");
        assert_eq!(status(&refresher, 0).state, RegistryState::Stale);
        assert!(
            status(&refresher, 0)
                .reason
                .expect("a reason")
                .starts_with("manifest.json: ")
        );
    }
    // A provider that a good manifest no longer names is gone.
    place.manifest(&["q"]);
    place.models("q", 1, &["b"]);
    refresher.refresh().await;
    assert_eq!(keys(&refresher), ["q:b"]);
    assert_eq!(states(&refresher, 0), [("q".to_owned(), ProviderState::Ok)]);
}

#[tokio::test]
async fn the_last_good_copy_survives_a_restart_without_network() {
    let place = Place::new().await;
    place.manifest(&["p"]);
    place.models("p", 1, &["a"]);
    let mut first = place.refresher(0).await;
    first.refresh().await;
    let before = document(&first);

    place.remove("manifest.json");
    let mut second = place.refresher(600).await;
    let after = document(&second);
    assert_eq!((&after.etag, &after.body), (&before.etag, &before.body));
    assert_eq!(status(&second, 600).state, RegistryState::Ok);
    // It is good for the rest of its time to live; then it is served for as long as there is no other, and said to be old.
    assert_eq!(second.first_wait(), TTL - Duration::from_secs(600));
    second.refresh().await;
    assert_eq!(document(&second).etag, before.etag);
    assert_eq!(status(&second, 600).state, RegistryState::Stale);
    let third = place.refresher(8000).await;
    assert_eq!(third.first_wait(), Duration::ZERO);
    assert_eq!(document(&third).etag, before.etag);
    assert_eq!(status(&third, 8000).state, RegistryState::Stale);
}

#[tokio::test]
async fn the_same_content_fetched_again_is_the_same_document() {
    let place = Place::new().await;
    place.manifest(&["p"]);
    place.models("p", 1, &["a"]);
    let mut refresher = place.refresher(0).await;
    refresher.refresh().await;
    let original = document(&refresher);
    let mut later = place.refresher(100).await;
    later.refresh().await;
    assert_eq!(document(&later).etag, original.etag);
    place.models("p", 2, &["b"]);
    let mut changed = place.refresher(200).await;
    changed.refresh().await;
    assert_ne!(document(&changed).etag, original.etag);
    assert_eq!(
        parse(&document(&changed))["generated_at"],
        "2027-01-15T08:03:20.000000Z"
    );
    // Back again, and the database knows which of the two is current.
    place.models("p", 1, &["a"]);
    let mut back = place.refresher(300).await;
    assert_eq!(keys(&back), ["p:b"]);
    back.refresh().await;
    assert_eq!(document(&back).body, original.body);
    assert_eq!(keys(&place.refresher(400).await), ["p:a"]);
}

#[tokio::test]
async fn a_copy_of_another_registry_is_replaced_at_once() {
    let place = Place::new().await;
    place.manifest(&["p"]);
    place.models("p", 1, &["a"]);
    place.refresher(0).await.refresh().await;
    let elsewhere = source(&Url::parse("file:///nowhere/").expect("a URL"), 1, cache(0));
    let refresher = Refresher::load(elsewhere, place.storage.clone(), clock(1), TTL).await;
    assert_eq!(keys(&refresher), ["p:a"]);
    assert!(!refresher.has_own_copy());
    assert_eq!(refresher.first_wait(), Duration::ZERO);
}

#[tokio::test]
async fn replicas_share_what_one_of_them_fetched() {
    let (first, second) = (Place::new().await, Place::new().await);
    let shared = cache(1 << 20);
    first.manifest(&["p"]);
    first.models("p", 1, &["a"]);
    first.refresher_with(0, shared.clone()).await.refresh().await;
    std::fs::remove_dir_all(first.pages()).expect("a folder");
    // Another database and a later clock, the same registry and cache.
    let mut replica = Refresher::load(
        first.source(600, shared.clone()),
        second.storage.clone(),
        clock(600),
        TTL,
    )
    .await;
    let wait = replica.refresh().await;
    assert_eq!(keys(&replica), ["p:a"]);
    // It is as old as it is, whoever fetched it.
    assert_eq!(
        status(&replica, 600).providers[0].age,
        Some(Duration::from_secs(600))
    );
    assert!(wait <= (TTL - Duration::from_secs(600)).mul_f64(1.1), "{wait:?}");
}

#[tokio::test]
async fn what_the_cache_holds_is_judged_like_anything_else() {
    let place = Place::new().await;
    place.manifest(&["p"]);
    place.models("p", 1, &["a"]);
    let poisoned = cache(1 << 20);
    let base = Url::from_directory_path(place.pages()).expect("a URL");
    for entry in ["", "short", "12345678not a file"] {
        poisoned
            .put(&format!("registry:{base}p/models.json"), entry.into(), TTL)
            .await;
        let mut refresher = place.refresher_with(0, poisoned.clone()).await;
        refresher.refresh().await;
        assert_eq!(keys(&refresher), ["p:a"], "{entry}");
    }
}

fn registry_config(pages: &Path) -> RegistryConfig {
    RegistryConfig {
        base_url: Url::from_directory_path(pages).expect("a URL"),
        timeout: Duration::from_secs(5),
        max_bytes: 10_000,
    }
}

async fn start(place: &Place) -> Registry {
    let outbound =
        Outbound::new(EgressPolicy::Operator, Timeouts::within(Duration::from_secs(5))).expect("a client");
    Registry::start(
        &registry_config(&place.pages()),
        TTL,
        place.storage.clone(),
        cache(0),
        outbound,
        clock(0),
    )
    .await
}

#[tokio::test]
async fn the_first_logs_wait_for_the_first_attempt_and_later_ones_for_nothing() {
    let place = Place::new().await;
    place.manifest(&["p"]);
    place.models("p", 1, &["a"]);
    let registry = start(&place).await;
    registry.wait_for_first_attempt(Duration::from_secs(60)).await;
    assert!(registry.catalog().model("p:a").is_some());
    registry.shutdown().await;
    // A server that starts with a copy does not wait, even when nothing answers.
    std::fs::remove_dir_all(place.pages()).expect("a folder");
    let registry = start(&place).await;
    let ready = registry.wait_for_first_attempt(Duration::from_secs(60));
    assert!(futures_util::FutureExt::now_or_never(ready).is_some(), "it waits");
    assert!(registry.catalog().model("p:a").is_some());
    registry.shutdown().await;
    registry.shutdown().await;
}

#[tokio::test]
async fn a_first_attempt_that_fails_ends_the_wait_too() {
    let place = Place::new().await;
    let registry = start(&place).await;
    registry.wait_for_first_attempt(Duration::from_secs(60)).await;
    assert!(registry.catalog().is_empty());
    assert_eq!(registry.status().state, RegistryState::Empty);
    assert!(registry.status().reason.is_some());
    registry.shutdown().await;
}

#[tokio::test]
async fn archived_versions_have_the_providers_that_have_them() {
    let place = Place::new().await;
    place.manifest(&["p", "q"]);
    place.models("p", 2, &["a"]);
    place.models("q", 9, &["b"]);
    place.write("p/v/1/models.json", &file(1, &["old"]));
    place.write("p/v/3/models.json", &file(3, &["x"]));
    place.write("q/v/3/models.json", "{}");
    place.write("q/v/4/models.json", "{}");
    let registry = start(&place).await;
    registry.wait_for_first_attempt(Duration::from_secs(60)).await;

    let archived = registry.archived("1").await.expect("a version");
    assert!(archived.complete);
    let body = parse(&archived.document);
    assert_eq!(
        body["models"],
        serde_json::json!({"p:old": {"model_name": "old"}})
    );
    assert_eq!(body["generated_at"], "2026-08-18T17:29:16.542543Z");
    assert_eq!(
        registry.archived("001").await.expect("a version").document.etag,
        archived.document.etag
    );
    // What is malformed is left out, and the answer not taken for final; with nothing else there is no answer.
    assert!(!registry.archived("3").await.expect("a version").complete);
    assert!(matches!(
        registry.archived("4").await,
        Err(Error::Unavailable { .. })
    ));
    for version in ["2", "", "x", "-1", "+1", "1.0", "../1", "99999999999999999999999"] {
        assert!(
            matches!(registry.archived(version).await, Err(Error::NotFound { .. })),
            "{version}"
        );
    }
    registry.shutdown().await;
}

#[tokio::test]
async fn callers_of_the_same_archived_version_share_one_fetch() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
        .await
        .expect("a port");
    let base = Url::parse(&format!("http://{}/", listener.local_addr().expect("an address"))).expect("a URL");
    let fetches = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&fetches);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = vec![0; 8192];
            let length = stream.read(&mut head).await.unwrap_or(0);
            let path = String::from_utf8_lossy(&head[..length])
                .split(' ')
                .nth(1)
                .unwrap_or_default()
                .to_owned();
            let (status, body) = match path.as_str() {
                "/manifest.json" => ("200 OK", r#"{"providers": {"p": {}}}"#.to_owned()),
                "/p/v/1/models.json" => {
                    counted.fetch_add(1, Ordering::SeqCst);
                    ("200 OK", file(1, &["a"]))
                }
                _ => {
                    counted.fetch_add(1, Ordering::SeqCst);
                    ("404 Not Found", String::new())
                }
            };
            let head = format!(
                "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            let _ = stream.write_all(format!("{head}{body}").as_bytes()).await;
        }
    });
    let nothing = Current {
        catalog: Arc::new(catalog_of(&[])),
        status: status::Knowledge::default(),
    };
    let archive = Archive::new(source(&base, 0, cache(0)), Arc::new(RwLock::new(nothing)));
    let answers = futures_util::future::join_all((0..20).map(|_| archive.get("1"))).await;
    assert!(
        answers
            .iter()
            .all(|answer| answer.as_ref().is_ok_and(|archived| archived.complete))
    );
    assert_eq!(fetches.load(Ordering::SeqCst), 1);
    // That a version does not exist is remembered as well.
    for _ in 0..3 {
        assert!(matches!(archive.get("2").await, Err(Error::NotFound { .. })));
    }
    assert_eq!(fetches.load(Ordering::SeqCst), 2);
}
