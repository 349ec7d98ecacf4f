//! A last net: what a server quotes of the secret that it was shown goes no further. It is no proof, a server can encode what it knows.

use serde_json::{Map, Value};

use crate::mcp::peer::{Auth, Failure};

/// What stands in a secret's place.
const MASK: &str = "********";
/// Shorter secrets are left alone: they would be found in words that mean nothing of the kind.
const SHORTEST: usize = 8;

/// The same value without the secret.
pub(super) fn value(value: Value, auth: Option<&Auth>) -> Value {
    match secret(auth) {
        None => value,
        Some(secret) => within(value, secret),
    }
}

/// The same failure without the secret.
pub(super) fn failure(failure: Failure, auth: Option<&Auth>) -> Failure {
    let Some(secret) = secret(auth) else {
        return failure;
    };
    match failure {
        Failure::Unreachable(reason) => Failure::Unreachable(text(reason, secret)),
        Failure::Lost(reason) => Failure::Lost(text(reason, secret)),
        Failure::LimitExceeded(reason) => Failure::LimitExceeded(text(reason, secret)),
        Failure::Malformed(reason) => Failure::Malformed(text(reason, secret)),
        Failure::Rpc { code, message, data } => Failure::Rpc {
            code,
            message: text(message, secret),
            data: data.map(|data| within(data, secret)),
        },
        other @ (Failure::Denied { .. } | Failure::Busy { .. } | Failure::TimedOut(_)) => other,
    }
}

fn secret(auth: Option<&Auth>) -> Option<&str> {
    let secret = match auth? {
        Auth::Bearer(token) => token,
        Auth::Header { value, .. } => value,
        Auth::Basic { password, .. } => password,
        Auth::OauthClientCredentials { client_secret, .. } => client_secret,
    };
    Some(secret.expose()).filter(|secret| secret.len() >= SHORTEST)
}

fn within(value: Value, secret: &str) -> Value {
    match value {
        Value::String(quoted) => Value::String(text(quoted, secret)),
        Value::Array(elements) => elements
            .into_iter()
            .map(|element| within(element, secret))
            .collect(),
        Value::Object(members) => {
            let members = members.into_iter();
            Value::Object(Map::from_iter(
                members.map(|(name, value)| (text(name, secret), within(value, secret))),
            ))
        }
        plain @ (Value::Null | Value::Bool(_) | Value::Number(_)) => plain,
    }
}

fn text(text: String, secret: &str) -> String {
    if text.contains(secret) {
        text.replace(secret, MASK)
    } else {
        text
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::mcp::peer::Secret;

    #[test]
    fn a_quoted_secret_is_masked_wherever_it_stands() {
        let auth = Auth::Bearer(Secret::new("correct-horse"));
        let quoting = json!({"a": ["Bearer correct-horse", 1], "correct-horse": {"b": "x"}});
        let masked = json!({"a": ["Bearer ********", 1], "********": {"b": "x"}});
        assert_eq!(value(quoting.clone(), Some(&auth)), masked);
        assert_eq!(value(quoting.clone(), None), quoting);
        let refused = failure(Failure::Malformed("got correct-horse".to_owned()), Some(&auth));
        assert_eq!(refused, Failure::Malformed("got ********".to_owned()));
    }

    #[test]
    fn a_short_secret_masks_no_words() {
        let auth = Auth::Bearer(Secret::new("a"));
        assert_eq!(value(json!("a cat"), Some(&auth)), json!("a cat"));
    }
}
