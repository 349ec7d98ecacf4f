//! Golden amounts, worked out by hand, with the arithmetic beside them.

use std::path::{Path, PathBuf};

use super::*;
use crate::registry::catalog_of;

/// Prices in the shapes of the public registry; `l` models have long-context ones.
const OPENAI: &str = r#"{"version": 7, "updated_at": "2026-08-18T17:29:16.542543", "models": {
    "openai:gpt-4o-mini": {"model_name": "gpt-4o-mini", "model_aliases": null,
        "dollars_per_million_tokens_input": 0.15, "dollars_per_million_tokens_output": 0.6,
        "dollars_per_million_tokens_cached_input": 0.075, "dollars_per_million_tokens_output_thinking": null},
    "openai:o3-2025-04-16": {"model_name": "o3-2025-04-16", "model_aliases": ["o3", "shared"],
        "dollars_per_million_tokens_input": 2.0, "dollars_per_million_tokens_output": 8.0},
    "openai:thinker": {"model_name": "thinker", "model_aliases": ["shared", "thinker-latest", "thinker-latest"],
        "dollars_per_million_tokens_input": 2.0, "dollars_per_million_tokens_output": 8.0,
        "dollars_per_million_tokens_output_thinking": 12.5},
    "unprefixed": {"model_name": "unprefixed-2026",
        "dollars_per_million_tokens_input": 1, "dollars_per_million_tokens_output": 2},
    "openai:free": {"dollars_per_million_tokens_input": 0.0, "dollars_per_million_tokens_output": 0.0},
    "openai:precise": {"dollars_per_million_tokens_input": 0.07500000000000001,
        "dollars_per_million_tokens_output": 7.5e-2},
    "openai:twin-a": {"model_name": "twin"},
    "openai:twin-b": {"model_name": "twin"},
    "openai:malformed": {"dollars_per_million_tokens_input": -1, "dollars_per_million_tokens_output": "8.0",
        "dollars_per_million_tokens_cached_input": 0.5},
    "openai:dear": {"dollars_per_million_tokens_input": 1e24, "dollars_per_million_tokens_output": 1e24}
}}"#;

const ANTHROPIC: &str = r#"{"version": 9, "updated_at": "2026-08-18T21:05:03.715411", "models": {
    "anthropic:claude-sonnet-4-5-20250929": {"model_name": "claude-sonnet-4-5-20250929",
        "model_aliases": ["claude-sonnet-4-5"],
        "dollars_per_million_tokens_input": 3.0, "dollars_per_million_tokens_output": 15.0,
        "dollars_per_million_tokens_cached_input": null, "dollars_per_million_tokens_cache_read": 0.3,
        "dollars_per_million_tokens_cache_write_5m": 3.75, "dollars_per_million_tokens_cache_write_1h": 6.0,
        "supports_long_context_pricing": true, "long_context_threshold_tokens": 200000,
        "dollars_per_million_tokens_input_long_context": 6.0, "dollars_per_million_tokens_output_long_context": 22.5},
    "anthropic:both-cache-prices": {
        "dollars_per_million_tokens_cache_read": 0.3, "dollars_per_million_tokens_cached_input": 0.9}
}}"#;

const GOOGLE: &str = r#"{"version": 5, "updated_at": "2026-08-18T17:30:40.820947", "models": {
    "google:gemini-2.5-pro": {
        "dollars_per_million_tokens_input": 1.25, "dollars_per_million_tokens_output": 10.0,
        "dollars_per_million_tokens_cached_input": 0.125, "dollars_per_million_tokens_cache_read": 0.125,
        "supports_long_context_pricing": true, "long_context_threshold_tokens": 200000.0,
        "dollars_per_million_tokens_input_long_context": 2.5, "dollars_per_million_tokens_output_long_context": 15.0},
    "google:thirds": {
        "dollars_per_million_tokens_input": 0.3, "dollars_per_million_tokens_output": 3,
        "dollars_per_million_tokens_output_thinking": 1,
        "dollars_per_million_tokens_cache_read": 0.1,
        "supports_long_context_pricing": true, "long_context_threshold_tokens": 10,
        "dollars_per_million_tokens_input_long_context": 0.7, "dollars_per_million_tokens_output_long_context": 4},
    "google:no-threshold": {
        "dollars_per_million_tokens_input": 1, "dollars_per_million_tokens_output": 2,
        "supports_long_context_pricing": true,
        "dollars_per_million_tokens_input_long_context": 2, "dollars_per_million_tokens_output_long_context": 4},
    "google:no-long-prices": {
        "dollars_per_million_tokens_input": 1, "dollars_per_million_tokens_output": 2,
        "dollars_per_million_tokens_cache_read": 0.5,
        "supports_long_context_pricing": true, "long_context_threshold_tokens": 10},
    "google:free-input": {
        "dollars_per_million_tokens_input": 0, "dollars_per_million_tokens_output": 2,
        "dollars_per_million_tokens_cache_read": 0.5,
        "supports_long_context_pricing": true, "long_context_threshold_tokens": 10,
        "dollars_per_million_tokens_input_long_context": 1, "dollars_per_million_tokens_output_long_context": 4},
    "google:unsupported": {
        "dollars_per_million_tokens_input": 1, "dollars_per_million_tokens_output": 2,
        "supports_long_context_pricing": false, "long_context_threshold_tokens": 10,
        "dollars_per_million_tokens_input_long_context": 2, "dollars_per_million_tokens_output_long_context": 4}
}}"#;

fn catalog() -> Catalog {
    catalog_of(&[("openai", OPENAI), ("anthropic", ANTHROPIC), ("google", GOOGLE)])
}

/// Counts whose input includes the cached tokens, and whose every member can be set.
fn counts(set: impl FnOnce(&mut TokenCounts)) -> TokenCounts {
    let mut counts = TokenCounts {
        input_includes_cached: true,
        ..TokenCounts::default()
    };
    set(&mut counts);
    counts
}

fn apart(set: impl FnOnce(&mut TokenCounts)) -> TokenCounts {
    let mut counts = TokenCounts::default();
    set(&mut counts);
    counts
}

fn outcome(model: &str, counts: &TokenCounts) -> Priced {
    let (provider, model) = model.split_once('/').expect("provider/model");
    price(&catalog(), provider, model, counts)
}

#[track_caller]
fn costs(model: &str, counts: &TokenCounts, usd: &str) -> PriceBasis {
    match outcome(model, counts) {
        Priced::Priced { cost, basis } => {
            assert_eq!(cost.to_string(), usd, "{model} {counts:?}");
            let stored = serde_json::to_string(&basis).expect("JSON");
            let read: PriceBasis = serde_json::from_str(&stored).expect("its own JSON");
            assert_eq!(read, basis);
            assert_eq!(read.recompute(), Some(cost), "from what is stored alone");
            basis
        }
        Priced::Unpriced { basis } => panic!("{model} is unpriced: {:?}", basis.reason),
    }
}

#[track_caller]
fn unpriced(model: &str, counts: &TokenCounts, reason: &str) -> PriceBasis {
    match outcome(model, counts) {
        Priced::Priced { cost, .. } => panic!("{model} costs {cost}"),
        Priced::Unpriced { basis } => {
            assert_eq!(basis.reason.as_deref(), Some(reason), "{model} {counts:?}");
            assert_eq!(basis.lines, []);
            assert_eq!(basis.recompute(), None);
            basis
        }
    }
}

#[test]
fn input_and_output() {
    // 1000 × 0.15 + 500 × 0.6 = 150 + 300 = 450 dollars per million
    let basis = costs(
        "openai/gpt-4o-mini",
        &counts(|c| (c.input, c.output) = (1000, 500)),
        "0.00045",
    );
    assert_eq!(
        serde_json::to_value(&basis).expect("JSON"),
        serde_json::json!({
            "registry_version": "7",
            "file_sha256": hex::encode(<sha2::Sha256 as sha2::Digest>::digest(OPENAI)),
            "model_key": "openai:gpt-4o-mini",
            "matched_by": "key",
            "tier": "standard",
            "lines": [
                {"token_class": "input", "tokens": 1000, "usd_per_million": "0.15"},
                {"token_class": "output", "tokens": 500, "usd_per_million": "0.6"},
            ],
        })
    );
    let amounts: Vec<String> = basis
        .lines_with_amounts()
        .expect("fits")
        .iter()
        .map(|line| line.amount.to_string())
        .collect();
    assert_eq!(amounts, ["0.00015", "0.0003"]);
    // One token: 0.15 / 10⁶
    costs("openai/gpt-4o-mini", &counts(|c| c.input = 1), "0.00000015");
}

#[test]
fn cached_reads_that_the_input_includes() {
    // (1000 − 400) × 0.15 + 400 × 0.075 + 500 × 0.6 = 90 + 30 + 300 = 420
    let call = counts(|c| (c.input, c.cached_input, c.output) = (1000, 400, 500));
    costs("openai/gpt-4o-mini", &call, "0.00042");
    // All of it cached: 1000 × 0.075 = 75, and no line for uncached input.
    let basis = costs(
        "openai/gpt-4o-mini",
        &counts(|c| (c.input, c.cached_input) = (1000, 1000)),
        "0.000075",
    );
    assert_eq!(basis.lines.len(), 1);
}

#[test]
fn cached_reads_that_are_reported_apart() {
    // 1000 × 3 + 400 × 0.3 + 500 × 15 = 3000 + 120 + 7500 = 10620
    let call = apart(|c| (c.input, c.cached_input, c.output) = (1000, 400, 500));
    costs("anthropic/claude-sonnet-4-5-20250929", &call, "0.01062");
    // More cached than input is no contradiction here: 10 × 3 + 4000 × 0.3 = 30 + 1200 = 1230
    costs(
        "anthropic/claude-sonnet-4-5-20250929",
        &apart(|c| (c.input, c.cached_input) = (10, 4000)),
        "0.00123",
    );
    // The same counts, said to be included, are (1000 − 400) × 3 + 400 × 0.3 + 500 × 15 = 1800 + 120 + 7500 = 9420
    let included = TokenCounts {
        input_includes_cached: true,
        ..call
    };
    costs("anthropic/claude-sonnet-4-5-20250929", &included, "0.00942");
    assert!(!input_includes_cached_default("anthropic"));
    assert!(!input_includes_cached_default("Anthropic"));
    assert!(input_includes_cached_default("openai"));
    assert!(input_includes_cached_default("google"));
}

#[test]
fn the_cache_read_price_comes_before_the_cached_input_price() {
    // 1000 × 0.3, not × 0.9
    costs(
        "anthropic/both-cache-prices",
        &apart(|c| c.cached_input = 1000),
        "0.0003",
    );
}

#[test]
fn cache_writes_are_never_part_of_the_input() {
    // 100 × 3 + 1000 × 3.75 + 2000 × 6 + 10 × 15 = 300 + 3750 + 12000 + 150 = 16200
    let set = |c: &mut TokenCounts| {
        (c.input, c.cache_write_5m, c.cache_write_1h, c.output) = (100, 1000, 2000, 10);
    };
    costs("anthropic/claude-sonnet-4-5-20250929", &apart(set), "0.0162");
    costs("anthropic/claude-sonnet-4-5-20250929", &counts(set), "0.0162");
}

#[test]
fn reasoning_with_a_price_of_its_own() {
    // 100 × 2 + (500 − 300) × 8 + 300 × 12.5 = 200 + 1600 + 3750 = 5550
    let call = counts(|c| (c.input, c.output, c.reasoning) = (100, 500, 300));
    costs("openai/thinker", &call, "0.00555");
    // All output is reasoning: 300 × 12.5
    costs(
        "openai/thinker",
        &counts(|c| (c.output, c.reasoning) = (300, 300)),
        "0.00375",
    );
}

#[test]
fn reasoning_without_a_price_of_its_own_is_output() {
    // 100 × 0.15 + 500 × 0.6 = 15 + 300 = 315, however much of the output is reasoning
    let call = counts(|c| (c.input, c.output, c.reasoning) = (100, 500, 300));
    costs("openai/gpt-4o-mini", &call, "0.000315");
}

#[test]
fn the_long_context_threshold() {
    let model = "anthropic/claude-sonnet-4-5-20250929";
    // One below, and at the threshold: 199,999 × 3 + 1000 × 15 = 599,997 + 15,000; 200,000 × 3 + 15,000 = 615,000
    costs(
        model,
        &apart(|c| (c.input, c.output) = (199_999, 1000)),
        "0.614997",
    );
    let at = costs(model, &apart(|c| (c.input, c.output) = (200_000, 1000)), "0.615");
    assert_eq!(at.tier, Some(Tier::Standard));
    // One above, the whole request is dearer: 200,001 × 6 + 1000 × 22.5 = 1,200,006 + 22,500 = 1,222,506
    let above = costs(
        model,
        &apart(|c| (c.input, c.output) = (200_001, 1000)),
        "1.222506",
    );
    assert_eq!(above.tier, Some(Tier::LongContext));
    // Output does not count towards it: 1 × 3 + 300,000 × 15 = 4,500,003
    costs(model, &apart(|c| (c.input, c.output) = (1, 300_000)), "4.500003");
}

#[test]
fn cached_and_written_tokens_count_towards_the_threshold_and_scale_with_the_input_price() {
    let model = "anthropic/claude-sonnet-4-5-20250929";
    // 50,000 + 100,000 + 30,000 + 20,000 = 200,000, at the threshold:
    // 50,000 × 3 + 100,000 × 0.3 + 30,000 × 3.75 + 20,000 × 6 + 1000 × 15 = 150,000 + 30,000 + 112,500 + 120,000 + 15,000
    let set = |c: &mut TokenCounts| {
        (
            c.input,
            c.cached_input,
            c.cache_write_5m,
            c.cache_write_1h,
            c.output,
        ) = (50_000, 100_000, 30_000, 20_000, 1000);
    };
    costs(model, &apart(set), "0.4275");
    // One more written token, and every cache price doubles as the input price does (6 / 3):
    // 50,000 × 6 + 100,000 × 0.6 + 30,001 × 7.5 + 20,000 × 12 + 1000 × 22.5
    //   = 300,000 + 60,000 + 225,007.5 + 240,000 + 22,500 = 847,507.5
    let above = apart(|c| {
        set(c);
        c.cache_write_5m += 1;
    });
    let basis = costs(model, &above, "0.8475075");
    let rates: Vec<String> = basis
        .lines
        .iter()
        .map(|line| line.usd_per_million.to_string())
        .collect();
    assert_eq!(rates, ["6", "0.6", "7.5", "12", "22.5"]);
    // Where the input includes them, cached tokens count once: 200,000 of 200,000 cached is at the threshold,
    // 200,000 × 0.125 = 25,000; one above, 200,001 × 0.125 × 2.5 / 1.25 = 200,001 × 0.25 = 50,000.25
    costs(
        "google/gemini-2.5-pro",
        &counts(|c| (c.input, c.cached_input) = (200_000, 200_000)),
        "0.025",
    );
    costs(
        "google/gemini-2.5-pro",
        &counts(|c| (c.input, c.cached_input) = (200_001, 200_001)),
        "0.05000025",
    );
}

#[test]
fn a_scaled_rate_without_a_last_digit_is_rounded_and_shown_as_it_was_used() {
    // 0.1 × 0.7 / 0.3 = 0.2333…; reasoning 1 × 4 / 3 = 1.3333…
    // 3 × 0.7 + 9 × 0.233333333333 + 6 × 1.333333333333 = 2.1 + 2.099999999997 + 7.999999999998 = 12.199999999995 per
    // million, which is 0.000012199999999995 dollars: 12.199999999995 millionths round to 12.2
    let call = counts(|c| (c.input, c.cached_input, c.output, c.reasoning) = (12, 9, 6, 6));
    let basis = costs("google/thirds", &call, "0.0000122");
    let rates: Vec<String> = basis
        .lines
        .iter()
        .map(|line| line.usd_per_million.to_string())
        .collect();
    assert_eq!(rates, ["0.7", "0.233333333333", "1.333333333333"]);
}

#[test]
fn long_context_prices_that_cannot_be_known() {
    let few = counts(|c| (c.input, c.output) = (10, 5));
    let many = counts(|c| (c.input, c.output) = (11, 5));
    // Without a threshold nobody can say which prices hold, but for a request without input.
    let reason = "the model has long-context prices, but no usable threshold for them is published";
    unpriced("google/no-threshold", &few, reason);
    costs("google/no-threshold", &counts(|c| c.output = 5), "0.00001");
    // Without the prices only small requests have a cost: 10 × 1 + 5 × 2 = 20
    costs("google/no-long-prices", &few, "0.00002");
    unpriced(
        "google/no-long-prices",
        &many,
        "no long-context input price is published; no long-context output price is published",
    );
    unpriced(
        "google/no-long-prices",
        &counts(|c| (c.input, c.cached_input) = (11, 11)),
        "no long-context input price is published",
    );
    // No proportion can be taken of a price of 0, but nothing else needs one: 11 × 1 + 5 × 4 = 31
    costs("google/free-input", &many, "0.000031");
    unpriced(
        "google/free-input",
        &counts(|c| (c.input, c.cached_input) = (11, 1)),
        "the long-context cached input price cannot be derived from the input prices 0 and 1",
    );
    // A model that does not support them has none: 11 × 1 + 5 × 2 = 21
    costs("google/unsupported", &many, "0.000021");
}

#[test]
fn a_class_without_a_price_makes_the_call_unpriced() {
    let cached = counts(|c| (c.input, c.cached_input) = (100, 1));
    let basis = unpriced("openai/o3", &cached, "no cached input price is published");
    assert_eq!(basis.model_key.as_deref(), Some("openai:o3-2025-04-16"));
    assert_eq!(basis.tier, Some(Tier::Standard));
    // Without cached tokens nothing is missing: 100 × 2
    costs("openai/o3", &counts(|c| c.input = 100), "0.0002");
    unpriced(
        "openai/gpt-4o-mini",
        &counts(|c| (c.cache_write_5m, c.cache_write_1h) = (1, 1)),
        "no 5-minute cache write price is published; no 1-hour cache write price is published",
    );
}

#[test]
fn a_malformed_price_is_unknown() {
    let reason = "the published input price is not a number of 0 or more";
    unpriced("openai/malformed", &counts(|c| c.input = 1), reason);
    let reason = "the published output price is not a number of 0 or more";
    unpriced("openai/malformed", &counts(|c| c.output = 1), reason);
    // A class without tokens needs no price: 2 × 0.5
    costs(
        "openai/malformed",
        &counts(|c| (c.input, c.cached_input) = (2, 2)),
        "0.000001",
    );
}

#[test]
fn models_that_nobody_knows() {
    let one = counts(|c| c.input = 1);
    unpriced(
        "openai/gpt-99",
        &one,
        r#"the registry has no model "gpt-99" of provider "openai""#,
    );
    unpriced(
        "nobody/gpt-4o-mini",
        &one,
        r#"the registry has no provider "nobody""#,
    );
    // A name of another provider's model is no name of this one's.
    unpriced(
        "google/gpt-4o-mini",
        &one,
        r#"the registry has no model "gpt-4o-mini" of provider "google""#,
    );
    let nothing = price(&catalog_of(&[]), "openai", "gpt-4o-mini", &one);
    assert!(
        matches!(nothing, Priced::Unpriced { basis } if basis.reason.as_deref()
        == Some("no price registry has been fetched yet"))
    );
}

#[test]
fn the_ways_to_name_a_model() {
    let one = counts(|c| c.input = 1_000_000);
    let found = |model: &str, usd: &str| {
        let basis = costs(model, &one, usd);
        (basis.model_key.expect("a key"), basis.matched_by.expect("a way"))
    };
    assert_eq!(
        found("openai/gpt-4o-mini", "0.15"),
        ("openai:gpt-4o-mini".into(), MatchedBy::Key)
    );
    assert_eq!(
        found("OpenAI/gpt-4o-mini", "0.15"),
        ("openai:gpt-4o-mini".into(), MatchedBy::Key)
    );
    assert_eq!(
        found("openai/openai:gpt-4o-mini", "0.15"),
        ("openai:gpt-4o-mini".into(), MatchedBy::ModelAsKey)
    );
    assert_eq!(
        found("proxy/openai:gpt-4o-mini", "0.15"),
        ("openai:gpt-4o-mini".into(), MatchedBy::ModelAsKey)
    );
    assert_eq!(
        found("openai/unprefixed", "1"),
        ("openai:unprefixed".into(), MatchedBy::Key)
    );
    assert_eq!(
        found("openai/unprefixed-2026", "1"),
        ("openai:unprefixed".into(), MatchedBy::ModelName)
    );
    assert_eq!(
        found("openai/o3", "2"),
        ("openai:o3-2025-04-16".into(), MatchedBy::Alias)
    );
    assert_eq!(
        found("openai/thinker-latest", "2"),
        ("openai:thinker".into(), MatchedBy::Alias)
    );
    let long = costs(
        "anthropic/claude-sonnet-4-5",
        &apart(|c| c.input = 100_000),
        "0.3",
    );
    assert_eq!(long.matched_by, Some(MatchedBy::Alias));
}

#[test]
fn a_name_that_two_models_share_is_no_name() {
    let one = counts(|c| c.input = 1);
    unpriced(
        "openai/shared",
        &one,
        r#"the alias "shared" is ambiguous: openai:o3-2025-04-16 and openai:thinker have it"#,
    );
    unpriced(
        "openai/twin",
        &one,
        r#"the name "twin" is ambiguous: openai:twin-a and openai:twin-b have it"#,
    );
}

#[test]
fn a_price_of_0_is_a_price() {
    let basis = costs(
        "openai/free",
        &counts(|c| (c.input, c.output) = (1000, 1000)),
        "0",
    );
    assert_eq!(basis.lines.len(), 2);
    // And a call without tokens costs nothing.
    let basis = costs("openai/gpt-4o-mini", &counts(|_| ()), "0");
    assert_eq!(basis.lines.len(), 0);
}

#[test]
fn large_amounts_are_exact() {
    // 10⁶ dollars and a little: 6,666,666,666,667 × 0.15 = 1,000,000,000,000.05 per million = 1,000,000.00000005
    costs(
        "openai/gpt-4o-mini",
        &counts(|c| c.input = 6_666_666_666_667),
        "1000000.00000005",
    );
    // 2⁵³ + 1 tokens: 9,007,199,254,740,993 × 0.15 = 1,351,079,888,211,148.95 per million
    costs(
        "openai/gpt-4o-mini",
        &counts(|c| c.input = (1 << 53) + 1),
        "1351079888.21114895",
    );
    // 10¹² tokens at all 17 digits of the file: 0.07500000000000001 × 10⁶
    costs(
        "openai/precise",
        &counts(|c| c.input = 1_000_000_000_000),
        "75000.00000000001",
    );
    costs(
        "openai/precise",
        &counts(|c| c.output = 1_000_000_000_000),
        "75000",
    );
}

#[test]
fn what_is_too_large_to_be_exact_is_unpriced_and_never_panics() {
    let reason = "the amount is too large to be exact";
    unpriced("openai/dear", &counts(|c| c.input = 1_000_000_000_000), reason);
    unpriced(
        "openai/dear",
        &counts(|c| (c.input, c.output) = (u64::MAX, u64::MAX)),
        reason,
    );
    // 18,446,744,073,709,551,615 × 0.15 = 2,767,011,611,056,432,742.25 per million
    costs(
        "openai/gpt-4o-mini",
        &counts(|c| c.input = u64::MAX),
        "2767011611056.43274225",
    );
    unpriced(
        "anthropic/claude-sonnet-4-5",
        &apart(|c| (c.input, c.cached_input) = (u64::MAX, 1)),
        "the input tokens are too many to count",
    );
}

#[test]
fn counts_that_contradict_each_other_are_unpriced() {
    unpriced(
        "openai/gpt-4o-mini",
        &counts(|c| (c.input, c.cached_input) = (10, 11)),
        "11 cached input tokens contradict the 10 input tokens that should include them",
    );
    let basis = unpriced(
        "openai/gpt-4o-mini",
        &counts(|c| (c.output, c.reasoning) = (10, 11)),
        "11 reasoning tokens contradict the 10 output tokens that should include them",
    );
    assert_eq!(basis.registry_version.as_deref(), Some("7"));
}

/// The whole public registry, where a copy of it is at hand: beside the repository, or where `LLMRING_TEST_REGISTRY_PAGES` says.
fn public_registry() -> Option<PathBuf> {
    if let Some(pages) = std::env::var_os("LLMRING_TEST_REGISTRY_PAGES") {
        return Some(pages.into());
    }
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .ancestors()
        .map(|folder| folder.join("../shared/registry/pages"))
        .find(|pages| pages.is_dir())
}

#[test]
fn every_model_of_the_public_registry_has_a_price() {
    let Some(pages) = public_registry() else {
        eprintln!("SKIPPED: no copy of the public registry here, set LLMRING_TEST_REGISTRY_PAGES");
        return;
    };
    let texts: Vec<_> = ["anthropic", "google", "openai"]
        .map(|provider| {
            let path = pages.join(provider).join("models.json");
            (
                provider,
                std::fs::read_to_string(&path).expect("a provider's file"),
            )
        })
        .into();
    let files: Vec<_> = texts
        .iter()
        .map(|(provider, text)| (*provider, text.as_str()))
        .collect();
    let catalog = catalog_of(&files);
    let mut models = 0;
    for file in catalog.files() {
        for model in file.models() {
            let members: serde_json::Value = serde_json::from_str(model.members.get()).expect("JSON");
            let rate = |name: &str| members[name].to_string().parse::<Decimal>().expect(name);
            for (input, rates) in [
                (
                    1_000,
                    [
                        "dollars_per_million_tokens_input",
                        "dollars_per_million_tokens_output",
                    ],
                ),
                (
                    1_000_000,
                    [
                        "dollars_per_million_tokens_input_long_context",
                        "dollars_per_million_tokens_output_long_context",
                    ],
                ),
            ] {
                let long = members["supports_long_context_pricing"] == true;
                if input > 1_000 && !long {
                    continue;
                }
                let call = counts(|c| (c.input, c.output) = (input, 1_000));
                let name = model.key.split_once(':').expect("a prefix").1;
                let Priced::Priced { cost, basis } = price(&catalog, file.provider(), name, &call) else {
                    panic!("{} is unpriced", model.key);
                };
                let expected = rate(rates[0])
                    .per_million(input)
                    .and_then(|amount| amount.checked_add(rate(rates[1]).per_million(1_000)?))
                    .and_then(Decimal::to_usd);
                assert_eq!(Some(cost), expected, "{}", model.key);
                assert_eq!(basis.recompute(), expected);
                models += 1;
            }
        }
    }
    assert!(models > 100, "only {models} prices");
}
