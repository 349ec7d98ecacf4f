//! Checking arguments and results against the JSON Schemas of tools (2020-12, or what `$schema` names, back to draft 4).
//!
//! Schemas come from outside: nothing is fetched for a `$ref`, patterns run in linear time, what checking would cost is
//! [counted](effort) before it begins, and it happens on a few threads apart from the ones that answer requests.

mod effort;

use std::sync::Arc;
use std::time::Duration;

use jsonschema::{PatternOptions, Validator};
use moka::sync::Cache;
use serde_json::Value;
use sha2::{Digest, Sha256};
use tokio::sync::Semaphore;

/// Memory that compiled schemas may take, by a generous guess.
const KEPT_BYTES: u64 = 256 << 20;
/// Patterns in one schema.
const MOST_PATTERNS: usize = 100;
/// Findings named in one answer.
const MOST_FINDINGS: usize = 20;
/// Longest text of one finding, in characters: findings quote what was sent.
const MOST_CHARS: usize = 300;
/// Bytes of one compiled pattern.
const PATTERN_BYTES: usize = 256 << 10;

/// Checks values against schemas. Clones share what is compiled.
#[derive(Clone, Debug)]
pub(super) struct Schemas {
    compiled: Cache<[u8; 32], Arc<Compiled>>,
    threads: Arc<Semaphore>,
    timeout: Duration,
}

/// One place where a value does not fit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Misfit {
    /// From the outside in: `["filters", "0", "name"]`.
    pub(super) path: Vec<String>,
    /// What is wrong, as a sentence.
    pub(super) message: String,
}

/// Why a value could not be checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Uncheckable {
    /// The schema is none, or refers to what is not in it.
    #[error("is no JSON Schema that can be checked: {0}")]
    Schema(String),
    /// The schema multiplies beyond all measure on this value.
    #[error("takes more than {} steps to check", effort::MOST_STEPS)]
    Effort,
    /// Checking took too long, or too much is being checked.
    #[error("could not be checked within {} ms", .0.as_millis())]
    TimedOut(Duration),
}

impl Schemas {
    /// Checks within `timeout`, on at most `threads` threads.
    pub(super) fn new(threads: usize, timeout: Duration) -> Self {
        Self {
            compiled: Cache::builder()
                .max_capacity(KEPT_BYTES)
                .weigher(|_, compiled: &Arc<Compiled>| compiled.weight)
                .build(),
            threads: Arc::new(Semaphore::new(threads)),
            timeout,
        }
    }

    /// Where `value` does not fit `schema`, JSON text: nowhere when the answer is empty.
    pub(super) async fn misfits(&self, schema: &str, value: Value) -> Result<Vec<Misfit>, Uncheckable> {
        let late = || Uncheckable::TimedOut(self.timeout);
        let digest: [u8; 32] = Sha256::digest(schema).into();
        let schema = schema.to_owned();
        let compiled = self.compiled.clone();
        let checking = async {
            let permit = self.threads.clone().acquire_owned().await.map_err(|_| late())?;
            tokio::task::spawn_blocking(move || {
                // Held until the thread is free, which may be long after nobody waits any more.
                let _permit = permit;
                let schema = match compiled.get(&digest) {
                    Some(known) => known,
                    None => {
                        let new = Arc::new(Compiled::new(&schema).map_err(Uncheckable::Schema)?);
                        compiled.insert(digest, new.clone());
                        new
                    }
                };
                effort::within_bounds(&schema.source, &value)?;
                Ok(misfits(&schema.validator, &value))
            })
            .await
            .unwrap_or_else(|_| Err(Uncheckable::Schema("it could not be evaluated".to_owned())))
        };
        tokio::time::timeout(self.timeout, checking)
            .await
            .unwrap_or_else(|_| Err(late()))
    }
}

#[derive(Debug)]
struct Compiled {
    source: Value,
    validator: Validator,
    /// Bytes, by a generous guess.
    weight: u32,
}

impl Compiled {
    fn new(schema: &str) -> Result<Self, String> {
        let source: Value = serde_json::from_str(schema).map_err(|error| error.to_string())?;
        let patterns = effort::patterns(&source);
        if patterns > MOST_PATTERNS {
            return Err(format!(
                "it has {patterns} patterns; at most {MOST_PATTERNS} are compiled"
            ));
        }
        let validator = jsonschema::options()
            .offline()
            .with_pattern_options(PatternOptions::regex().size_limit(PATTERN_BYTES))
            .build(&source)
            .map_err(|error| shortened(&error.to_string()))?;
        let weight = schema.len() * 16 + patterns * PATTERN_BYTES;
        Ok(Self {
            source,
            validator,
            weight: u32::try_from(weight).unwrap_or(u32::MAX),
        })
    }
}

fn misfits(validator: &Validator, value: &Value) -> Vec<Misfit> {
    let found = validator.iter_errors(value).take(MOST_FINDINGS);
    found
        .map(|error| Misfit {
            path: segments(error.instance_path().as_str()),
            message: shortened(&error.to_string()),
        })
        .collect()
}

/// The segments of a JSON Pointer (RFC 6901 section 4).
fn segments(pointer: &str) -> Vec<String> {
    let tokens = pointer.split('/').skip(1);
    tokens
        .map(|token| token.replace("~1", "/").replace("~0", "~"))
        .collect()
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(MOST_CHARS) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use serde_json::json;

    use super::*;

    fn schemas() -> Schemas {
        Schemas::new(2, Duration::from_secs(20))
    }

    async fn check(schema: Value, value: Value) -> Result<Vec<Misfit>, Uncheckable> {
        schemas().misfits(&schema.to_string(), value).await
    }

    #[tokio::test]
    async fn names_the_path_of_each_misfit() {
        let schema = json!({"type": "object", "properties": {"a/b": {"items": {"type": "integer"}}}, "required": ["c"]});
        let found = check(schema, json!({"a/b": [1, "x"]})).await.unwrap();
        let paths: Vec<_> = found.iter().map(|misfit| misfit.path.join(" ")).collect();
        assert_eq!(found.len(), 2, "{found:?}");
        assert!(paths.contains(&"a/b 1".to_owned()), "{paths:?}");
        assert!(
            found.iter().any(|misfit| misfit.message.contains("\"c\"")),
            "{found:?}"
        );
    }

    #[tokio::test]
    async fn knows_draft_7_and_2020_12_apart() {
        // `items` as an array checks positions in draft 7; since 2020-12 that is `prefixItems`.
        let draft_7 =
            json!({"$schema": "http://json-schema.org/draft-07/schema#", "items": [{"type": "string"}]});
        assert_eq!(check(draft_7, json!([1])).await.unwrap().len(), 1);
        let newest = json!({"prefixItems": [{"type": "string"}]});
        assert_eq!(check(newest, json!([1])).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn fetches_nothing() {
        for reference in ["http://127.0.0.1:9/schema.json", "file:///etc/hostname"] {
            let refused = check(json!({"$ref": reference}), json!(1)).await;
            assert!(matches!(refused, Err(Uncheckable::Schema(_))), "{refused:?}");
        }
    }

    #[tokio::test]
    async fn a_schema_that_is_none_is_named() {
        for schema in ["{\"type\": 5}", "{", "{\"pattern\": \"(\"}"] {
            let refused = schemas().misfits(schema, json!("x")).await;
            assert!(
                matches!(refused, Err(Uncheckable::Schema(_))),
                "{schema}: {refused:?}"
            );
        }
    }

    #[tokio::test]
    async fn a_schema_that_refers_to_itself_ends() {
        let list = json!({"properties": {"next": {"$ref": "#"}, "n": {"type": "integer"}}});
        let value = json!({"n": 1, "next": {"n": 2, "next": {"n": "three"}}});
        assert_eq!(check(list, value).await.unwrap()[0].path, ["next", "next", "n"]);
    }

    #[tokio::test]
    async fn a_schema_that_is_nothing_but_itself_is_refused() {
        let circle = check(json!({"$ref": "#"}), json!(1)).await;
        assert!(matches!(circle, Err(Uncheckable::Schema(_))), "{circle:?}");
    }

    #[tokio::test]
    async fn a_schema_of_many_patterns_is_not_compiled() {
        let patterns: Vec<Value> = (0..400)
            .map(|n| json!({"pattern": format!("(\\pL{{8}})x{n}")}))
            .collect();
        let refused = check(json!({"anyOf": patterns}), json!("x")).await;
        assert!(matches!(refused, Err(Uncheckable::Schema(_))), "{refused:?}");
    }

    #[tokio::test]
    async fn long_texts_weigh_more_than_short_ones() {
        let mut definitions = serde_json::Map::new();
        definitions.insert("l0".to_owned(), json!({"pattern": "^(a|aa|a*)*b$"}));
        for level in 1..=14 {
            let before = json!({"$ref": format!("#/$defs/l{}", level - 1)});
            definitions.insert(format!("l{level}"), json!({"allOf": [before, before]}));
        }
        let schema = json!({"$ref": "#/$defs/l14", "$defs": definitions});
        assert!(check(schema.clone(), json!("aab")).await.is_ok());
        assert_eq!(
            check(schema, json!("a".repeat(1 << 20))).await,
            Err(Uncheckable::Effort)
        );
    }

    #[tokio::test]
    async fn patterns_take_linear_time() {
        let schema = json!({"pattern": "^(a+)+$"});
        let value = json!(format!("{}!", "a".repeat(100_000)));
        assert_eq!(check(schema, value).await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn a_schema_made_to_burn_time_holds_nobody_up() {
        let mut definitions = serde_json::Map::new();
        for level in 0..40 {
            let next = json!({"$ref": format!("#/$defs/l{}", level + 1)});
            definitions.insert(format!("l{level}"), json!({"allOf": [next, next]}));
        }
        definitions.insert("l40".to_owned(), json!({"type": "string"}));
        let bomb = json!({"$ref": "#/$defs/l0", "$defs": definitions});
        assert_eq!(check(bomb, json!("x")).await, Err(Uncheckable::Effort));
    }

    #[tokio::test]
    async fn a_schema_that_multiplies_with_the_depth_of_a_value_is_refused_for_deep_values_alone() {
        let again = json!({"$ref": "#"});
        let schema = json!({"properties": {"x": {"allOf": [again, again]}}});
        let nested = |depth| (0..depth).fold(json!({}), |inner, _| json!({"x": inner}));
        assert_eq!(check(schema.clone(), nested(10)).await, Ok(Vec::new()));
        assert_eq!(check(schema, nested(60)).await, Err(Uncheckable::Effort));
    }
}
