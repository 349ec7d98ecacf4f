//! The proxy of the price registry.

use integration::{
    Actor, Answer, FIXTURE, RegistryFixture, Reply, Server, TestDatabase, eventually, on_both_databases,
};
use reqwest::Method;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

/// A file of the fixture.
fn fixture(path: &str) -> String {
    std::fs::read_to_string(format!("{FIXTURE}/{path}")).expect(path)
}

fn models(path: &str) -> Value {
    let file: Value = serde_json::from_str(&fixture(path)).expect("JSON");
    file["models"].clone()
}

fn keys(value: &Value) -> Vec<&String> {
    value.as_object().expect("an object").keys().collect()
}

async fn if_none_match(actor: &Actor, path: &str, etag: &str) -> Answer {
    actor
        .send(actor.request(Method::GET, path).header("If-None-Match", etag))
        .await
}

/// A server that reads this registry again every second.
async fn refreshing(db: &TestDatabase, registry: &RegistryFixture) -> Server {
    let server = Server::on(db)
        .with_registry(registry)
        .with("LLMRING_CACHE_TTL", "1")
        .start()
        .await;
    server.has_prices().await;
    server
}

on_both_databases! {
    async fn every_provider_and_every_member_of_a_model_is_passed_on(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        server.has_prices().await;
        let registry = server.anybody().get("/registry").await.ok();
        let body = registry.json();
        for provider in ["openai", "anthropic", "google"] {
            for (key, model) in models(&format!("{provider}/models.json"))
                .as_object()
                .expect("models")
            {
                let key = if key.contains(':') {
                    key.clone()
                } else {
                    format!("{provider}:{key}")
                };
                let served = &body["models"][&key];
                for (member, value) in model.as_object().expect("a model") {
                    assert_eq!(&served[member], value, "{member} of {key}");
                }
            }
            let told = &body["providers"][provider];
            let digest = Sha256::digest(fixture(&format!("{provider}/models.json")));
            let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            assert_eq!(told["sha256"], json!(digest), "{told}");
            for member in ["name", "base_url", "models_endpoint", "version"] {
                assert!(!told[member].is_null(), "{member} of {told}");
            }
        }
        for member in ["version", "generated_at"] {
            assert!(
                body[member].as_str().is_some_and(|text| !text.is_empty()),
                "{member}"
            );
        }
        assert_eq!(
            server.anybody().get("/registry.json").await.ok().text,
            registry.text
        );
    }

    async fn an_unchanged_registry_is_304(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        server.has_prices().await;
        let anybody = server.anybody();
        let registry = anybody.get("/registry").await.ok();
        assert_eq!(registry.header("cache-control"), Some("public, max-age=3600"));
        let etag = registry.header("etag").expect("an entity tag").to_owned();
        assert!(
            etag.trim_start_matches("W/").starts_with('"') && etag.ends_with('"'),
            "{etag}"
        );
        for matching in [
            etag.clone(),
            "*".to_owned(),
            format!("\"other\", {etag}"),
            format!("W/{}", etag.trim_start_matches("W/")),
        ] {
            let unchanged = if_none_match(&anybody, "/registry", &matching).await;
            assert_eq!(unchanged.status, 304, "{matching}");
            assert_eq!(unchanged.text, "");
            assert_eq!(unchanged.header("etag"), Some(etag.as_str()));
        }
        if_none_match(&anybody, "/registry", "\"other\"").await.ok();
        let filtered = anybody.get("/registry?providers=openai").await.ok();
        assert_ne!(
            filtered.header("etag"),
            Some(etag.as_str()),
            "another content has another tag"
        );
        // The same content has the same tag after a restart and on another replica.
        let server = server.restart().await;
        server.has_prices().await;
        assert_eq!(
            server.anybody().get("/registry").await.ok().header("etag"),
            Some(etag.as_str())
        );
    }

    async fn providers_and_capabilities_filter(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        server.has_prices().await;
        let anybody = server.anybody();
        let get = async |query: &str| anybody.get(&format!("/registry?{query}")).await.ok().json();
        let all = get("").await;
        let one = get("providers=openai").await;
        assert!(keys(&one["models"]).iter().all(|key| key.starts_with("openai:")));
        assert_eq!(keys(&one["providers"]), ["openai"]);
        let two = get("providers=openai,google").await;
        assert_eq!(keys(&two["providers"]), ["google", "openai"]);
        assert_eq!(get("providers=nobody").await["models"], json!({}));
        assert_eq!(get("providers=&capabilities=").await["models"], all["models"]);
        let able = |member: &str| {
            let models = all["models"].as_object().expect("models");
            models
                .iter()
                .filter(|(_, model)| model[member] == true)
                .map(|(key, _)| key.clone())
                .collect::<Vec<_>>()
        };
        for (capability, member) in [
            ("vision", "supports_vision"),
            ("function_calling", "supports_function_calling"),
            ("json_mode", "supports_json_mode"),
            ("parallel_tool_calls", "supports_parallel_tool_calls"),
            ("supports_streaming", "supports_streaming"),
        ] {
            let found = get(&format!("capabilities={capability}")).await;
            assert_eq!(
                keys(&found["models"]),
                able(member).iter().collect::<Vec<_>>(),
                "{capability}"
            );
        }
        let both = get("capabilities=vision,json_mode").await;
        let json_mode = able("supports_json_mode");
        let expected: Vec<_> = able("supports_vision")
            .into_iter()
            .filter(|key| json_mode.contains(key))
            .collect();
        assert_eq!(keys(&both["models"]), expected.iter().collect::<Vec<_>>());
    }

    async fn an_archived_version_is_immutable(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        server.has_prices().await;
        let anybody = server.anybody();
        let archived = anybody.get("/registry/v/6/registry.json").await.ok();
        assert!(
            archived
                .header("cache-control")
                .is_some_and(|cache| cache.contains("immutable")),
            "{archived:?}"
        );
        let body = archived.json();
        assert!(
            keys(&body["models"]).iter().all(|key| key.starts_with("openai:")),
            "only openai has a version 6"
        );
        assert_eq!(
            keys(&body["models"]).len(),
            models("openai/v/6/models.json")
                .as_object()
                .expect("models")
                .len()
        );
        let etag = archived.header("etag").expect("an entity tag");
        assert_eq!(
            if_none_match(&anybody, "/registry/v/6/registry.json", etag)
                .await
                .status,
            304
        );
        for version in [
            "999",
            "0",
            "-1",
            "six",
            "..",
            "%2e%2e",
            "6%2f..%2f7",
            "18446744073709551616",
        ] {
            anybody
                .get(&format!("/registry/v/{version}/registry.json"))
                .await
                .refused(404);
        }
    }

    async fn the_last_good_copy_survives_trouble_and_a_restart_without_network(db: TestDatabase) {
        let registry = RegistryFixture::start().await;
        let server = refreshing(&db, &registry).await;
        let good = server.anybody().get("/registry").await.ok().json()["models"].clone();
        for trouble in [
            Reply::Send(500, "text/plain", b"oops".to_vec()),
            Reply::Send(200, "text/html", b"<html>".to_vec()),
            Reply::Send(200, "application/json", b"{\"providers\": 7}".to_vec()),
            Reply::Reset,
        ] {
            let seen = registry.requests().len();
            registry.trouble(trouble.clone());
            eventually("another attempt", async || {
                (registry.requests().len() > seen + 1).then_some(())
            })
            .await;
            assert_eq!(
                server.anybody().get("/registry").await.ok().json()["models"],
                good,
                "{trouble:?}"
            );
            registry.heal();
        }
        registry.trouble(Reply::Reset);
        let server = server.restart().await;
        assert_eq!(
            server.anybody().get("/registry").await.ok().json()["models"],
            good
        );
        let call = json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1});
        assert_eq!(
            server.actor("alice").log_usage(call).await.ok().exact(&["cost"]),
            "0.00000015"
        );
    }

    async fn trouble_shows_in_the_log_and_in_health_and_goes_away(db: TestDatabase) {
        let registry = RegistryFixture::start().await;
        let server = refreshing(&db, &registry).await;
        let explained = |health: &Value| health["registry"]["reason"].is_string();
        assert!(!explained(&server.anybody().get("/health").await.ok().json()));
        registry.trouble(Reply::Send(500, "text/plain", b"oops".to_vec()));
        let health = server.healthy_when("trouble with the registry", explained).await;
        assert_eq!(health["status"], "healthy");
        eventually("a warning in the log", async || {
            let entries = server.log().entries();
            let warned = |entry: &Value| entry["level"] == "WARN" && entry.to_string().contains("registry");
            entries.iter().any(warned).then_some(())
        })
        .await;
        registry.heal();
        server
            .healthy_when("a healthy registry", |health| !explained(health))
            .await;
    }

    async fn a_malformed_file_of_one_provider_hides_neither_it_nor_the_others(db: TestDatabase) {
        let registry = RegistryFixture::start().await;
        let server = refreshing(&db, &registry).await;
        let good = server.anybody().get("/registry").await.ok().json()["models"].clone();
        let mut changed = models("google/models.json");
        changed["google:new-model"] = json!({"provider": "google", "model_name": "new-model"});
        for malformed in [
            "",
            "{",
            "[]",
            "{\"models\": []}",
            "{\"models\": {\"openai:a\": 7}}",
        ] {
            registry.serve("openai/models.json", malformed);
            changed["google:new-model"]["description"] = json!(malformed);
            registry.serve_provider("google", 99, &changed);
            eventually("the change of the other provider", async || {
                let models = server.anybody().get("/registry").await.ok().json()["models"].clone();
                assert_eq!(
                    models["openai:gpt-4o-mini"], good["openai:gpt-4o-mini"],
                    "{malformed:?}"
                );
                (models["google:new-model"]["description"] == malformed).then_some(())
            })
            .await;
            server
                .healthy_when("the provider's trouble", |health| {
                    health["registry"]["providers"]["openai"]["reason"].is_string()
                })
                .await;
        }
    }

    async fn a_registry_that_hangs_delays_nobody(db: TestDatabase) {
        let registry = RegistryFixture::start().await;
        registry.trouble(Reply::Hang);
        let server = Server::on(&db)
            .with_registry(&registry)
            .with("LLMRING_REGISTRY_TIMEOUT", "1")
            .start()
            .await;
        let alice = server.actor("alice");
        let logged = alice
            .log_usage(json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1}))
            .await
            .ok();
        assert_eq!(logged.json()["cost_source"], "unpriced");
        server.anybody().get("/health").await.ok();
        registry.heal();
    }

    async fn a_server_without_a_registry_answers_everything_else(db: TestDatabase) {
        let server = Server::on(&db)
            .with("LLMRING_REGISTRY_BASE_URL", "http://127.0.0.1:9/")
            .start()
            .await;
        let alice = server.actor("alice");
        let log = alice
            .log_usage(json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1}))
            .await
            .ok();
        assert_eq!(log.json()["cost_source"], "unpriced");
        alice.can_see(&log.id()).await;
        assert_eq!(
            server.anybody().get("/health").await.ok().json()["status"],
            "healthy"
        );
        // Either an empty registry or a clear refusal.
        let registry = server.anybody().get("/registry").await;
        if registry.status == 200 {
            assert_eq!(registry.json()["models"], json!({}));
        } else {
            registry.refused(503);
        }
    }
}
