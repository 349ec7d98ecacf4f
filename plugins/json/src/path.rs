//! Parts of a document.

use jsonpath_rust::JsonPath as _;
use llmring_plugin_sdk::{Error, Result};
use schemars::JsonSchema;
use serde::Serialize;
use serde_json::Value;

/// What a path selects, in the document's order.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Found {
    pub(crate) matches: Vec<Match>,
}

/// One part of a document.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Match {
    /// Where it is, in the form that the path had: a normalized JSONPath (`$['store']['book'][0]`) or a JSON Pointer.
    pub(crate) path: String,
    pub(crate) value: Value,
}

pub(crate) fn select(document: &Value, path: &str) -> Result<Found> {
    let matches = if path.starts_with('$') {
        let found = document
            .query_with_path(path)
            .map_err(|error| Error::invalid("path", error))?;
        found
            .into_iter()
            .map(|found| Match {
                value: found.clone().val().clone(),
                path: found.path(),
            })
            .collect()
    } else if path.is_empty() || path.starts_with('/') {
        let found = document.pointer(path).map(|value| Match {
            path: path.to_owned(),
            value: value.clone(),
        });
        found.into_iter().collect()
    } else {
        return Err(Error::invalid(
            "path",
            "a JSONPath begins with `$` and a JSON Pointer with `/`",
        ));
    };
    Ok(Found { matches })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use serde_json::json;

    use super::*;

    fn paths(path: &str) -> Vec<String> {
        let document =
            json!({"books": [{"title": "A", "price": 8}, {"title": "B", "price": 12}], "a/b": {"~": 1}});
        select(&document, path)
            .unwrap()
            .matches
            .into_iter()
            .map(|found| format!("{}={}", found.path, found.value))
            .collect()
    }

    #[test]
    fn paths_and_pointers_select() {
        assert_eq!(
            paths("$.books[?@.price < 10].title"),
            [r#"$['books'][0]['title']="A""#]
        );
        assert_eq!(
            paths("$..price"),
            ["$['books'][0]['price']=8", "$['books'][1]['price']=12"]
        );
        assert_eq!(
            paths("$.books[?match(@.title, '[B-Z]')].price"),
            ["$['books'][1]['price']=12"]
        );
        assert_eq!(paths("/books/1/title"), [r#"/books/1/title="B""#]);
        assert_eq!(paths("/a~1b/~0"), ["/a~1b/~0=1"]);
        assert_eq!(paths("$.nothing"), [""; 0]);
        assert_eq!(paths("/books/7"), [""; 0]);
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["books", "$.books[", "$.books[?@.price <]"] {
            let error = select(&json!({}), path).unwrap_err();
            assert!(
                matches!(error, Error::InvalidArgument { path, .. } if path == "/path"),
                "{path}"
            );
        }
    }
}
