//! Changes of documents.

use llmring_plugin_sdk::{Error, Result};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// A JSON Patch (RFC 6902).
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Patch {
    /// Its operations, in their order; none when the documents are equal.
    #[schemars(with = "Vec<Value>")]
    pub(crate) patch: json_patch::Patch,
}

/// A document after the change.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Document {
    pub(crate) document: Value,
}

pub(crate) fn between(before: &Value, after: &Value) -> Patch {
    Patch {
        patch: json_patch::diff(before, after),
    }
}

pub(crate) fn apply(mut document: Value, patch: Vec<Value>) -> Result<Document> {
    let patch: json_patch::Patch =
        serde_json::from_value(Value::Array(patch)).map_err(|error| Error::invalid("patch", error))?;
    // What is applied before the operation that fails is taken back.
    json_patch::patch(&mut document, &patch)?;
    Ok(Document { document })
}

pub(crate) fn merge(mut document: Value, patch: &Value) -> Document {
    json_patch::merge(&mut document, patch);
    Document { document }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn a_difference_makes_the_second_of_the_first() {
        let before = json!({"a": 1, "b": [1, 2, 3], "c/d": {"~": null}});
        let after = json!({"a": 2, "b": [1, 3], "c/d": {"~": true}, "e": "new"});
        let Value::Array(patch) = serde_json::to_value(between(&before, &after).patch).unwrap() else {
            panic!("a patch is an array");
        };
        assert!(
            patch.contains(&json!({"op": "replace", "path": "/c~1d/~0", "value": true})),
            "{patch:?}"
        );
        assert_eq!(apply(before, patch).unwrap().document, after);
        assert!(between(&after, &after).patch.is_empty());
    }

    #[test]
    fn patches_are_applied_whole_or_not() {
        let test = json!([{"op": "test", "path": "/a", "value": 2}]);
        let error = apply(json!({"a": 1}), test.as_array().unwrap().clone()).unwrap_err();
        assert!(matches!(error, Error::Failed(_)));
        let error = apply(json!({}), vec![json!({"op": "explode"})]).unwrap_err();
        assert!(matches!(error, Error::InvalidArgument { .. }));
    }

    #[test]
    fn merging_replaces_and_removes() {
        let merged = merge(
            json!({"a": 1, "b": {"c": 2, "d": 3}}),
            &json!({"b": {"c": null}, "e": [1]}),
        );
        assert_eq!(merged.document, json!({"a": 1, "b": {"d": 3}, "e": [1]}));
    }
}
