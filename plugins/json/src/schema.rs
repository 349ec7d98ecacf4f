//! Validation.

use llmring_plugin_sdk::{Error, Result};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// The most faults that are listed.
const MAX_ERRORS: usize = 100;

/// Whether a document obeys a schema.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Verdict {
    pub(crate) valid: bool,
    /// What is wrong, the first 100 of it.
    pub(crate) errors: Vec<Fault>,
}

/// One thing that is wrong with a document.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Fault {
    /// Where it is in the document, as a JSON Pointer.
    pub(crate) path: String,
    /// The keyword that says so, as a JSON Pointer into the schema.
    pub(crate) schema_path: String,
    pub(crate) message: String,
}

pub(crate) fn check(document: &Value, schema: &Value) -> Result<Verdict> {
    let validator = jsonschema::validator_for(schema).map_err(|error| Error::invalid("schema", error))?;
    let errors: Vec<Fault> = validator
        .iter_errors(document)
        .take(MAX_ERRORS)
        .map(|error| Fault {
            path: error.instance_path().to_string(),
            schema_path: error.schema_path().to_string(),
            message: error.to_string(),
        })
        .collect();
    Ok(Verdict {
        valid: errors.is_empty(),
        errors,
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_is_wrong_is_listed() {
        let schema = json!({
            "type": "object",
            "required": ["name"],
            "properties": {"age": {"$ref": "#/$defs/age"}},
            "$defs": {"age": {"type": "integer", "minimum": 0}},
        });
        assert_eq!(
            check(&json!({"name": "Ada", "age": 36}), &schema).unwrap(),
            Verdict {
                valid: true,
                errors: vec![]
            }
        );
        let verdict = check(&json!({"age": -1}), &schema).unwrap();
        let mut paths: Vec<&str> = verdict.errors.iter().map(|fault| fault.path.as_str()).collect();
        paths.sort_unstable();
        assert_eq!((verdict.valid, paths), (false, vec!["", "/age"]));
        let fault = verdict.errors.iter().find(|fault| fault.path == "/age").unwrap();
        assert!(fault.schema_path.ends_with("/minimum"), "{fault:?}");
    }

    #[test]
    fn the_draft_is_the_one_that_the_schema_names() {
        let tuple = |draft: &str| json!({"$schema": draft, "items": [{"type": "integer"}]});
        let verdict = check(
            &json!(["text"]),
            &tuple("http://json-schema.org/draft-07/schema#"),
        )
        .unwrap();
        assert!(!verdict.valid);
        assert!(check(&json!([]), &tuple("https://json-schema.org/draft/2020-12/schema")).is_err());
    }

    #[test]
    fn no_reference_leads_outside() {
        for reference in [
            "https://example.com/schema.json",
            "file:///etc/passwd",
            "other.json",
        ] {
            let error = check(&json!(1), &json!({"$ref": reference})).unwrap_err();
            assert!(
                matches!(error, Error::InvalidArgument { path, .. } if path == "/schema"),
                "{reference}"
            );
        }
    }
}
