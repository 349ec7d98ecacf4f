//! What calls cost by the registry, to the last digit.

use integration::{Actor, Answer, RegistryFixture, Server, assert_answer, on_both_databases};
use serde_json::{Value, json};

/// Logs a call and returns its cost and where it comes from.
async fn priced(actor: &Actor, log: &Value) -> (String, Value) {
    let answer = actor.log_usage(log.clone()).await.ok();
    let explained = actor.cost_of(&answer.id()).await.ok();
    assert_eq!(explained.exact(&["cost"]), answer.exact(&["cost"]), "{log}");
    if answer.json()["cost_source"] == "registry" {
        assert_eq!(
            explained.exact(&["recomputed_cost"]),
            answer.exact(&["cost"]),
            "{log}"
        );
        adds_up(&explained);
    } else {
        assert!(
            explained.json()["reason"]
                .as_str()
                .is_some_and(|reason| !reason.is_empty()),
            "{explained:?}"
        );
        // Unknown is not zero: the row has no cost at all.
        assert_eq!(explained.exact(&["recomputed_cost"]), "null", "{log}");
    }
    (answer.exact(&["cost"]), answer.json()["cost_source"].clone())
}

/// Recomputes a cost from its lines as a reader would: tokens × rate ÷ 1,000,000, in units of 10⁻¹⁸ dollars.
fn adds_up(explained: &Answer) {
    let scaled = |decimal: &str, digits: usize| -> i128 {
        let (whole, fraction) = decimal.split_once('.').unwrap_or((decimal, ""));
        format!("{whole}{fraction:0<digits$}").parse().expect("a decimal")
    };
    let body = explained.json();
    let mut sum = 0;
    for line in body["lines"].as_array().expect("lines") {
        let tokens = i128::from(line["tokens"].as_u64().expect("a count"));
        let rate = scaled(line["usd_per_million_tokens"].as_str().expect("a rate"), 12);
        let amount = scaled(line["amount"].as_str().expect("an amount"), 18);
        assert_eq!(tokens * rate, amount, "{line}");
        sum += amount;
    }
    assert_eq!(sum, scaled(&explained.exact(&["cost"]), 18), "{explained:?}");
}

fn cents(log: Value, cost: &str) -> (Value, String, &'static str) {
    (log, cost.to_owned(), "registry")
}

fn unknown(log: Value) -> (Value, String, &'static str) {
    (log, "0".to_owned(), "unpriced")
}

on_both_databases! {
    async fn token_classes_are_priced_as_the_providers_bill(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let (openai, anthropic, google) = ("openai", "anthropic", "google");
        let mini = "gpt-4o-mini";
        let sonnet = "claude-sonnet-4-5-20250929";
        let pro = "gemini-2.5-pro";
        for (log, cost, source) in [
            // 1 input token, 1 output token.
            cents(json!({"provider": openai, "model": mini, "input_tokens": 1}), "0.00000015"),
            cents(json!({"provider": openai, "model": mini, "output_tokens": 1}), "0.0000006"),
            // Nothing used costs nothing, and that is known.
            cents(json!({"provider": openai, "model": mini}), "0"),
            // Cached reads are part of the input, or not, as the provider counts.
            cents(json!({"provider": openai, "model": mini, "input_tokens": 1200, "cached_input_tokens": 1000, "output_tokens": 350}), "0.000315"),
            cents(json!({"provider": openai, "model": mini, "input_tokens": 1200, "cached_input_tokens": 1000, "output_tokens": 350, "input_includes_cached": false}), "0.000465"),
            cents(json!({"provider": anthropic, "model": sonnet, "input_tokens": 1200, "cached_input_tokens": 1000, "output_tokens": 350}), "0.00915"),
            cents(json!({"provider": anthropic, "model": sonnet, "input_tokens": 1200, "cached_input_tokens": 1000, "output_tokens": 350, "input_includes_cached": true}), "0.00615"),
            // Cache writes come on top.
            cents(json!({"provider": anthropic, "model": sonnet, "cache_write_5m_tokens": 1000}), "0.00375"),
            cents(json!({"provider": anthropic, "model": sonnet, "cache_write_1h_tokens": 1000}), "0.006"),
            cents(json!({"provider": anthropic, "model": sonnet, "input_tokens": 10, "cached_input_tokens": 20, "cache_write_5m_tokens": 30, "cache_write_1h_tokens": 40, "output_tokens": 50}), "0.0011385"),
            // Reasoning is part of the output, with a price of its own or not.
            cents(json!({"provider": openai, "model": "example-reasoner", "output_tokens": 100, "reasoning_tokens": 40}), "0.00098"),
            cents(json!({"provider": openai, "model": "o3", "output_tokens": 100, "reasoning_tokens": 40}), "0.0008"),
            // One below, at and one above the threshold; then the whole request is at the long-context prices.
            cents(json!({"provider": anthropic, "model": sonnet, "input_tokens": 199_999, "output_tokens": 1000}), "0.614997"),
            cents(json!({"provider": anthropic, "model": sonnet, "input_tokens": 200_000, "output_tokens": 1000}), "0.615"),
            cents(json!({"provider": anthropic, "model": sonnet, "input_tokens": 200_001, "output_tokens": 1000}), "1.222506"),
            // Cached and written tokens count towards it, and scale with the input price.
            cents(json!({"provider": anthropic, "model": sonnet, "input_tokens": 1, "cached_input_tokens": 200_000}), "0.120006"),
            cents(json!({"provider": anthropic, "model": sonnet, "input_tokens": 1, "cached_input_tokens": 199_999}), "0.0600027"),
            cents(json!({"provider": anthropic, "model": sonnet, "input_tokens": 1, "cache_write_5m_tokens": 200_000}), "1.500006"),
            cents(json!({"provider": google, "model": pro, "input_tokens": 200_001, "cached_input_tokens": 1, "output_tokens": 1}), "0.50001525"),
            // Output does not count towards it.
            cents(json!({"provider": google, "model": pro, "input_tokens": 1, "output_tokens": 300_000}), "3.00000125"),
            // Prices of zero are prices.
            cents(json!({"provider": openai, "model": "example-free", "input_tokens": 1_000_000}), "0"),
            // The key, the model as a key, the model's name, an alias that only one model has.
            cents(json!({"provider": openai, "model": "openai:gpt-4o-mini", "input_tokens": 1}), "0.00000015"),
            cents(json!({"provider": openai, "model": "example-unprefixed", "input_tokens": 1}), "0.00000015"),
            cents(json!({"provider": anthropic, "model": "claude-sonnet-4-5", "input_tokens": 1}), "0.000003"),
            cents(json!({"provider": openai, "model": "example-gratis", "input_tokens": 1}), "0"),
            // A model's key wins over another's alias.
            cents(json!({"provider": openai, "model": "gpt-5", "input_tokens": 2, "cached_input_tokens": 1}), "0.000001375"),
            // Two models share this alias.
            unknown(json!({"provider": openai, "model": "example-shared", "input_tokens": 1})),
            // Unknown models, unknown providers, a model of another provider.
            unknown(json!({"provider": openai, "model": "unheard-of", "input_tokens": 1})),
            unknown(json!({"provider": "nobody", "model": mini, "input_tokens": 1})),
            unknown(json!({"provider": google, "model": mini, "input_tokens": 1})),
            // A class without a price: only where it has tokens.
            unknown(json!({"provider": openai, "model": "gpt-5-2025-08-07", "input_tokens": 2, "cached_input_tokens": 1})),
            cents(json!({"provider": openai, "model": "gpt-5-2025-08-07", "input_tokens": 2}), "0.0000025"),
            unknown(json!({"provider": openai, "model": mini, "input_tokens": 2, "cache_write_5m_tokens": 1})),
            unknown(json!({"provider": google, "model": "gemini-2.5-computer-use-preview-10-2025", "input_tokens": 2, "cached_input_tokens": 1})),
            // Counts that contradict each other.
            unknown(json!({"provider": openai, "model": mini, "input_tokens": 1, "cached_input_tokens": 2})),
            unknown(json!({"provider": openai, "model": mini, "output_tokens": 1, "reasoning_tokens": 2})),
            // Large, and still exact.
            cents(json!({"provider": openai, "model": "gpt-5-pro", "output_tokens": 999_999_999_999_u64}), "119999999.99988"),
        ] {
            let found = priced(&alice, &log).await;
            assert_eq!(found, (cost, json!(source)), "{log}");
        }
    }

    async fn an_explanation_shows_the_arithmetic(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let log = alice
            .log_usage(json!({
                "provider": "anthropic", "model": "claude-sonnet-4-5", "input_tokens": 200_001, "cached_input_tokens": 10,
                "cache_write_5m_tokens": 20, "output_tokens": 30,
            }))
            .await
            .ok();
        let mut explained = alice.cost_of(&log.id()).await.ok();
        let digest = explained.json()["registry_sha256"].as_str().expect("a digest").to_owned();
        assert_eq!(digest.len(), 64);
        let providers = server.anybody().get("/registry").await.ok().json()["providers"].clone();
        assert_eq!(providers["anthropic"]["sha256"], json!(digest));
        explained.text = explained.text.replace(&digest, "[sha256]");
        assert_answer!(explained, @"");
    }

    async fn a_row_keeps_the_price_it_was_logged_at(db: TestDatabase) {
        let model = |rate: f64| {
            json!({"acme:m": {
                "provider": "acme", "model_name": "m",
                "dollars_per_million_tokens_input": rate, "dollars_per_million_tokens_output": 1.0,
            }})
        };
        let registry = RegistryFixture::with_providers(&[("acme", model(1.0))]).await;
        let server = Server::on(&db).with_registry(&registry).with("LLMRING_CACHE_TTL", "1").start().await;
        server.has_prices().await;
        let alice = server.actor("alice");
        let call = json!({"provider": "acme", "model": "m", "input_tokens": 1_000_000});
        let before = alice.log_usage(call.clone()).await.ok();
        assert_eq!(before.exact(&["cost"]), "1");
        registry.serve_provider("acme", 2, &model(2.0));
        integration::eventually("the new price", async || {
            (alice.log_usage(call.clone()).await.ok().exact(&["cost"]) == "2").then_some(())
        })
        .await;
        let explained = alice.cost_of(&before.id()).await.ok();
        assert_eq!(explained.exact(&["cost"]), "1");
        assert_eq!(explained.exact(&["recomputed_cost"]), "1");
        assert_eq!(explained.json()["registry_version"], json!("1"));
    }

    async fn prices_with_many_digits_are_exact(db: TestDatabase) {
        let text = r#"{"provider": "acme", "version": 1, "models": {
            "acme:precise": {"provider": "acme", "model_name": "precise",
                "dollars_per_million_tokens_input": 0.123456, "dollars_per_million_tokens_output": 1e-1},
            "acme:dear": {"provider": "acme", "model_name": "dear",
                "dollars_per_million_tokens_input": 1000000, "dollars_per_million_tokens_output": 1}}}"#;
        let registry = RegistryFixture::with_providers(&[("acme", json!({}))]).await;
        registry.serve("acme/models.json", text);
        let server = Server::on(&db).with_registry(&registry).start().await;
        server.has_prices().await;
        let alice = server.actor("alice");
        for (log, cost) in [
            (json!({"provider": "acme", "model": "precise", "input_tokens": 1}), "0.000000123456"),
            (json!({"provider": "acme", "model": "precise", "input_tokens": 7, "output_tokens": 3}), "0.000001164192"),
            (json!({"provider": "acme", "model": "dear", "input_tokens": 1_000_001}), "1000001"),
        ] {
            assert_eq!(priced(&alice, &log).await, (cost.to_owned(), json!("registry")), "{log}");
        }
    }

    async fn unpriced_calls_are_counted_apart(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice.log_usage(json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1})).await.ok();
        alice.log_usage(json!({"provider": "openai", "model": "unheard-of", "input_tokens": 1})).await.ok();
        let stats = alice.stats("").await.ok();
        assert_eq!(stats.exact(&["summary", "unpriced_requests"]), "1");
        assert_eq!(stats.exact(&["summary", "total_cost"]), "0.00000015");
        let sql = "SELECT CAST(count(*) AS bigint) FROM usage_logs WHERE cost_micros IS NULL";
        assert_eq!(db.db_value::<i64>(sql).await, 1);
    }

    async fn a_batch_is_priced_as_well(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let batch = alice
            .log_batch(&[
                json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1}),
                json!({"provider": "openai", "model": "unheard-of", "input_tokens": 1}),
                json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1, "cost": 7}),
            ])
            .await
            .ok();
        let sources: Vec<Value> =
            batch.json().as_array().expect("an array").iter().map(|log| log["cost_source"].clone()).collect();
        assert_eq!(sources, [json!("registry"), json!("unpriced"), json!("client")]);
        assert_eq!(batch.exact(&["0", "cost"]), "0.00000015");
    }
}
