//! Redis: never needed, never waited for.

use std::time::{Duration, Instant};

use integration::{Actor, Proxy, RegistryFixture, Reply, Server, TestDatabase, Traffic, redis_url};
use serde_json::json;

/// Far above what a time-out of tens of milliseconds costs, far below what waiting for Redis would.
const PROMPT: Duration = Duration::from_secs(2);

/// A server that asks its cache often.
async fn start(db: &TestDatabase, registry: &RegistryFixture, redis: &str) -> Server {
    Server::on(db)
        .with_registry(registry)
        .with("LLMRING_CACHE_TTL", "1")
        .with("LLMRING_REDIS_URL", redis)
        .start()
        .await
}

/// Asserts that everything is answered, and at once.
async fn everything_works(alice: &Actor) {
    for _ in 0..20 {
        for path in [
            "/registry",
            "/registry/v/6/registry.json",
            "/health",
            "/api/v1/stats",
        ] {
            let started = Instant::now();
            alice.get(path).await.ok();
            assert!(started.elapsed() < PROMPT, "{path} took {:?}", started.elapsed());
        }
        let started = Instant::now();
        let call = json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1});
        assert_eq!(alice.log_usage(call).await.ok().exact(&["cost"]), "0.00000015");
        assert!(started.elapsed() < PROMPT, "a log took {:?}", started.elapsed());
    }
}

#[tokio::test]
async fn redis_may_go_away_and_come_back() {
    let (db, registry) = (TestDatabase::sqlite(), RegistryFixture::start().await);
    let redis = Proxy::before(&redis_url()).await;
    let server = start(&db, &registry, redis.url()).await;
    server.has_prices().await;
    server
        .healthy_when("Redis in use", |health| health["cache"] == "connected")
        .await;
    redis.set(Traffic::IsRefused);
    server
        .healthy_when("Redis missed", |health| health["cache"] == "degraded")
        .await;
    everything_works(&server.actor("alice")).await;
    redis.set(Traffic::Flows);
    server
        .healthy_when("Redis back", |health| health["cache"] == "connected")
        .await;
    everything_works(&server.actor("alice")).await;
}

#[tokio::test]
async fn redis_may_hang() {
    let (db, registry) = (TestDatabase::sqlite(), RegistryFixture::start().await);
    let redis = Proxy::before(&redis_url()).await;
    let server = start(&db, &registry, redis.url()).await;
    server.has_prices().await;
    server
        .healthy_when("Redis in use", |health| health["cache"] == "connected")
        .await;
    redis.set(Traffic::Hangs);
    everything_works(&server.actor("alice")).await;
    let health = server
        .healthy_when("Redis missed", |health| health["cache"] == "degraded")
        .await;
    assert_eq!(health["status"], "healthy");
    everything_works(&server.actor("alice")).await;
}

#[tokio::test]
async fn a_server_starts_while_redis_hangs() {
    let (db, registry) = (TestDatabase::sqlite(), RegistryFixture::start().await);
    let redis = Proxy::before(&redis_url()).await;
    redis.set(Traffic::Hangs);
    let server = start(&db, &registry, redis.url()).await;
    server.has_prices().await;
    everything_works(&server.actor("alice")).await;
}

#[tokio::test]
async fn a_server_starts_without_the_redis_it_was_told_of() {
    let (db, registry) = (TestDatabase::sqlite(), RegistryFixture::start().await);
    let server = start(&db, &registry, "redis://127.0.0.1:9/0").await;
    server.has_prices().await;
    everything_works(&server.actor("alice")).await;
    server
        .healthy_when("Redis missed", |health| health["cache"] == "degraded")
        .await;
}

#[tokio::test]
async fn replicas_share_registry_files_through_redis() {
    let registry = RegistryFixture::start().await;
    let redis = redis_url();
    let (first_db, second_db) = (TestDatabase::sqlite(), TestDatabase::sqlite());
    let replica = |db: &TestDatabase| {
        Server::on(db)
            .with_registry(&registry)
            .with("LLMRING_REDIS_URL", redis.as_str())
    };
    let first = replica(&first_db).start().await;
    first.has_prices().await;
    registry.trouble(Reply::Reset);
    let second = replica(&second_db).start().await;
    second.has_prices().await;
    let models =
        async |server: &Server| server.anybody().get("/registry").await.ok().json()["models"].clone();
    assert_eq!(models(&first).await, models(&second).await);
}

#[tokio::test]
async fn without_redis_the_cache_is_memory() {
    let db = TestDatabase::sqlite();
    let server = Server::on(&db).start().await;
    assert_eq!(
        server.anybody().get("/health").await.ok().json()["cache"],
        "memory"
    );
}
