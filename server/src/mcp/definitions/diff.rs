//! What differs between two definitions, member by member.

use serde_json::Value;

/// One difference, in the manner of RFC 6902.
#[derive(Clone, Debug, PartialEq)]
pub struct Difference {
    /// What happened.
    pub operation: Operation,
    /// Where: a JSON Pointer (RFC 6901).
    pub path: String,
    /// What was there.
    pub before: Option<Value>,
    /// What is there now.
    pub after: Option<Value>,
}

/// What happened to a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// There was none.
    Add,
    /// There is none.
    Remove,
    /// It is another.
    Replace,
}

impl Operation {
    /// As RFC 6902 says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Replace => "replace",
        }
    }
}

/// Everything that differs, in the order of member names. Arrays are one value: their items have no names to compare by.
pub fn difference(before: &Value, after: &Value) -> Vec<Difference> {
    let mut found = Vec::new();
    compare(before, after, String::new(), &mut found);
    found
}

fn compare(before: &Value, after: &Value, path: String, found: &mut Vec<Difference>) {
    let (Value::Object(old), Value::Object(new)) = (before, after) else {
        if before != after {
            found.push(Difference {
                operation: Operation::Replace,
                path,
                before: Some(before.clone()),
                after: Some(after.clone()),
            });
        }
        return;
    };
    let mut names: Vec<&String> = old.keys().chain(new.keys()).collect();
    names.sort();
    names.dedup();
    for name in names {
        let path = format!("{path}/{}", name.replace('~', "~0").replace('/', "~1"));
        match (old.get(name), new.get(name)) {
            (Some(old), Some(new)) => compare(old, new, path, found),
            (old, new) => found.push(Difference {
                operation: if new.is_some() {
                    Operation::Add
                } else {
                    Operation::Remove
                },
                path,
                before: old.cloned(),
                after: new.cloned(),
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_name_their_places() {
        let found = difference(
            &json!({"same": {"x": 1}, "gone": 1, "a/b": {"~": [1, 2]}}),
            &json!({"same": {"x": 1}, "new": null, "a/b": {"~": [1, 3]}}),
        );
        let told: Vec<_> = found
            .iter()
            .map(|one| {
                (
                    one.operation.as_str(),
                    one.path.as_str(),
                    one.before.clone(),
                    one.after.clone(),
                )
            })
            .collect();
        assert_eq!(
            told,
            [
                ("replace", "/a~1b/~0", Some(json!([1, 2])), Some(json!([1, 3]))),
                ("remove", "/gone", Some(json!(1)), None),
                ("add", "/new", None, Some(json!(null))),
            ]
        );
    }
}
