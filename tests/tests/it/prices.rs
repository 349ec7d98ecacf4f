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

/// What a call used; what is left out is 0.
#[derive(Clone, Copy)]
struct Used {
    input: u64,
    cached: u64,
    write_5m: u64,
    write_1h: u64,
    output: u64,
    reasoning: u64,
    includes: Option<bool>,
}

const NONE: Used = Used {
    input: 0,
    cached: 0,
    write_5m: 0,
    write_1h: 0,
    output: 0,
    reasoning: 0,
    includes: None,
};

impl Used {
    /// The log of a call to a model, written `provider/model`.
    fn of(self, model: &str) -> Value {
        let (provider, model) = model.split_once('/').expect("a provider and a model");
        let Self {
            input,
            cached,
            write_5m,
            write_1h,
            output,
            reasoning,
            includes,
        } = self;
        json!({
            "provider": provider,
            "model": model,
            "input_tokens": input,
            "cached_input_tokens": cached,
            "cache_write_5m_tokens": write_5m,
            "cache_write_1h_tokens": write_1h,
            "output_tokens": output,
            "reasoning_tokens": reasoning,
            "input_includes_cached": includes,
        })
    }
}

on_both_databases! {
    async fn token_classes_are_priced_as_the_providers_bill(db: TestDatabase) {
        const MINI: &str = "openai/gpt-4o-mini";
        const SONNET: &str = "anthropic/claude-sonnet-4-5-20250929";
        const PRO: &str = "google/gemini-2.5-pro";
        const OWN_RULE: Option<bool> = None;
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        let cached = |includes| Used { input: 1200, cached: 1000, output: 350, includes, ..NONE };
        for (model, used, cost) in [
            (MINI, Used { input: 1, ..NONE }, "0.00000015"),
            (MINI, Used { output: 1, ..NONE }, "0.0000006"),
            // Nothing used costs nothing, and that is known.
            (MINI, NONE, "0"),
            // Cached reads are part of the input or not, as the provider counts or as the caller says.
            (MINI, cached(OWN_RULE), "0.000315"),
            (MINI, cached(Some(true)), "0.000315"),
            (MINI, cached(Some(false)), "0.000465"),
            (SONNET, cached(OWN_RULE), "0.00915"),
            (SONNET, cached(Some(false)), "0.00915"),
            (SONNET, cached(Some(true)), "0.00615"),
            // Cache writes come on top.
            (SONNET, Used { write_5m: 1000, ..NONE }, "0.00375"),
            (SONNET, Used { write_1h: 1000, ..NONE }, "0.006"),
            (SONNET, Used { input: 10, cached: 20, write_5m: 30, write_1h: 40, output: 50, ..NONE }, "0.0011385"),
            // Reasoning is part of the output, with a price of its own or not.
            ("openai/example-reasoner", Used { output: 100, reasoning: 40, ..NONE }, "0.00098"),
            ("openai/o3", Used { output: 100, reasoning: 40, ..NONE }, "0.0008"),
            // One below, at and one above the threshold; then the whole request is at the long-context prices.
            (SONNET, Used { input: 199_999, output: 1000, ..NONE }, "0.614997"),
            (SONNET, Used { input: 200_000, output: 1000, ..NONE }, "0.615"),
            (SONNET, Used { input: 200_001, output: 1000, ..NONE }, "1.222506"),
            // Cached and written tokens count towards it, and scale with the input price.
            (SONNET, Used { input: 1, cached: 199_999, ..NONE }, "0.0600027"),
            (SONNET, Used { input: 1, cached: 200_000, ..NONE }, "0.120006"),
            (SONNET, Used { input: 1, write_5m: 200_000, ..NONE }, "1.500006"),
            (PRO, Used { input: 200_001, cached: 1, output: 1, ..NONE }, "0.50001525"),
            // Output does not count towards it.
            (PRO, Used { input: 1, output: 300_000, ..NONE }, "3.00000125"),
            // A price of zero is a price.
            ("openai/example-free", Used { input: 1_000_000, output: 7, ..NONE }, "0"),
            // The key, the model as a key, the model's name, an alias that only one model has.
            ("openai/openai:gpt-4o-mini", Used { input: 1, ..NONE }, "0.00000015"),
            ("openai/example-unprefixed", Used { input: 1, ..NONE }, "0.00000015"),
            ("anthropic/claude-sonnet-4-5", Used { input: 1, ..NONE }, "0.000003"),
            ("openai/example-gratis", Used { input: 1, ..NONE }, "0"),
            // A model's own key wins over another's alias.
            ("openai/gpt-5", Used { input: 2, cached: 1, ..NONE }, "0.000001375"),
            // A missing price does not matter where there are no tokens.
            ("openai/gpt-5-2025-08-07", Used { input: 2, ..NONE }, "0.0000025"),
            // Large, and still exact.
            ("openai/gpt-5-pro", Used { output: 999_999_999_999, ..NONE }, "119999999.99988"),
        ] {
            let log = used.of(model);
            assert_eq!(
                priced(&alice, &log).await,
                (cost.to_owned(), json!("registry")),
                "{log}"
            );
        }
    }

    async fn what_is_not_known_is_unpriced_and_not_zero(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        for (model, used) in [
            ("openai/unheard-of", Used { input: 1, ..NONE }),
            ("nobody/gpt-4o-mini", Used { input: 1, ..NONE }),
            // A model of another provider.
            ("google/gpt-4o-mini", Used { input: 1, ..NONE }),
            // An alias that two models share.
            ("openai/example-shared", Used { input: 1, ..NONE }),
            // A class that has tokens and no price.
            ("openai/gpt-5-2025-08-07", Used { input: 2, cached: 1, ..NONE }),
            ("openai/gpt-4o-mini", Used { input: 2, write_5m: 1, ..NONE }),
            ("openai/gpt-4o-mini", Used { input: 2, write_1h: 1, ..NONE }),
            ("google/gemini-2.5-computer-use-preview-10-2025", Used { input: 2, cached: 1, ..NONE }),
            // Counts that contradict each other.
            ("openai/gpt-4o-mini", Used { input: 1, cached: 2, ..NONE }),
            ("openai/gpt-4o-mini", Used { output: 1, reasoning: 2, ..NONE }),
        ] {
            let log = used.of(model);
            assert_eq!(
                priced(&alice, &log).await,
                ("0".to_owned(), json!("unpriced")),
                "{log}"
            );
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
        let digest = explained.json()["registry_sha256"]
            .as_str()
            .expect("a digest")
            .to_owned();
        assert_eq!(digest.len(), 64);
        let providers = server.anybody().get("/registry").await.ok().json()["providers"].clone();
        assert_eq!(providers["anthropic"]["sha256"], json!(digest));
        explained.text = explained.text.replace(&digest, "[sha256]");
        assert_answer!(explained, @r#"
        {
          "body": {
            "cost": 1.200837,
            "cost_source": "registry",
            "lines": [
              {
                "amount": "1.200006",
                "token_class": "input",
                "tokens": 200001,
                "usd_per_million_tokens": "6"
              },
              {
                "amount": "0.000006",
                "token_class": "cached_input",
                "tokens": 10,
                "usd_per_million_tokens": "0.6"
              },
              {
                "amount": "0.00015",
                "token_class": "cache_write_5m",
                "tokens": 20,
                "usd_per_million_tokens": "7.5"
              },
              {
                "amount": "0.000675",
                "token_class": "output",
                "tokens": 30,
                "usd_per_million_tokens": "22.5"
              }
            ],
            "log_id": "[log_id]",
            "matched_by": "alias",
            "model": "claude-sonnet-4-5",
            "provider": "anthropic",
            "reason": null,
            "recomputed_cost": 1.200837,
            "registry_model": "anthropic:claude-sonnet-4-5-20250929",
            "registry_sha256": "[sha256]",
            "registry_version": "9",
            "tier": "long_context"
          },
          "status": 200
        }
        "#);
    }

    async fn a_row_keeps_the_price_it_was_logged_at(db: TestDatabase) {
        let model = |rate: f64| {
            json!({"acme:m": {
                "provider": "acme", "model_name": "m",
                "dollars_per_million_tokens_input": rate, "dollars_per_million_tokens_output": 1.0,
            }})
        };
        let registry = RegistryFixture::with_providers(&[("acme", model(1.0))]).await;
        let server = Server::on(&db)
            .with_registry(&registry)
            .with("LLMRING_CACHE_TTL", "1")
            .start()
            .await;
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
            (
                json!({"provider": "acme", "model": "precise", "input_tokens": 1}),
                "0.000000123456",
            ),
            (
                json!({"provider": "acme", "model": "precise", "input_tokens": 7, "output_tokens": 3}),
                "0.000001164192",
            ),
            (
                json!({"provider": "acme", "model": "dear", "input_tokens": 1_000_001}),
                "1000001",
            ),
        ] {
            assert_eq!(
                priced(&alice, &log).await,
                (cost.to_owned(), json!("registry")),
                "{log}"
            );
        }
    }

    async fn unpriced_calls_are_counted_apart(db: TestDatabase) {
        let server = Server::on(&db).start().await;
        let alice = server.actor("alice");
        alice
            .log_usage(json!({"provider": "openai", "model": "gpt-4o-mini", "input_tokens": 1}))
            .await
            .ok();
        alice
            .log_usage(json!({"provider": "openai", "model": "unheard-of", "input_tokens": 1}))
            .await
            .ok();
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
        let sources: Vec<Value> = batch
            .json()
            .as_array()
            .expect("an array")
            .iter()
            .map(|log| log["cost_source"].clone())
            .collect();
        assert_eq!(sources, [json!("registry"), json!("unpriced"), json!("client")]);
        assert_eq!(batch.exact(&["0", "cost"]), "0.00000015");
    }
}
