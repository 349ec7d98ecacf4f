//! JSON-RPC 2.0 envelopes, read with the tolerance that real peers need.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

/// One message.
#[derive(Debug)]
pub(super) enum Envelope {
    /// The answer to a request of ours.
    Result {
        /// Of that request.
        id: i64,
        /// As sent.
        result: Value,
    },
    /// A refusal.
    Error {
        /// Of the request, unless the peer could not read it.
        id: Option<i64>,
        /// As sent.
        error: Value,
    },
    /// A request to us, whole.
    Request(Value),
    /// A notification.
    Notification {
        /// Its name.
        method: String,
        /// Its parameters, or null.
        params: Value,
    },
}

/// Reads a message, or a batch of them.
pub(super) fn read(text: &[u8]) -> Result<Vec<Envelope>, String> {
    match serde_json::from_slice(text).map_err(|error| error.to_string())? {
        Value::Array(batch) => batch.into_iter().map(envelope).collect(),
        single => Ok(vec![envelope(single)?]),
    }
}

fn envelope(message: Value) -> Result<Envelope, String> {
    let Value::Object(mut members) = message else {
        return Err("it is not a JSON object".into());
    };
    if members.get("jsonrpc").and_then(Value::as_str) != Some("2.0") {
        return Err("it is not JSON-RPC 2.0".into());
    }
    if let Some(Value::String(method)) = members.get("method") {
        if members.get("id").is_some_and(|id| !id.is_null()) {
            return Ok(Envelope::Request(Value::Object(members)));
        }
        let method = method.clone();
        let params = members.remove("params").unwrap_or_default();
        return Ok(Envelope::Notification { method, params });
    }
    let id = members.get("id").and_then(number);
    if let Some(error) = members.remove("error").filter(|error| !error.is_null()) {
        return Ok(Envelope::Error { id, error });
    }
    match (id, members.remove("result")) {
        (Some(id), Some(result)) => Ok(Envelope::Result { id, result }),
        (Some(_), None) => Err("it has neither a result nor an error".into()),
        (None, _) => Err("it answers no request".into()),
    }
}

/// Ids and progress tokens of ours are whole numbers; some peers send them back as text.
pub(super) fn number(id: &Value) -> Option<i64> {
    match id {
        Value::Number(number) => number.as_i64(),
        Value::String(text) => text.parse().ok(),
        _ => None,
    }
}

/// Whether a text that cannot be read was meant as a message, rather than printed by mistake.
pub(super) fn claims_to_be_json_rpc(text: &[u8]) -> bool {
    const MARK: &[u8] = br#""jsonrpc""#;
    text.trim_ascii_start().starts_with(b"{") && text.windows(MARK.len()).any(|window| window == MARK)
}

/// The id that a broken message names before the place where it breaks, or at its very end.
pub(super) fn id_of_broken(text: &[u8]) -> Option<i64> {
    let id = Cell::new(None);
    let mut deserializer = serde_json::Deserializer::from_slice(text);
    let _ = IdBeforeTheBreak(&id).deserialize(&mut deserializer);
    id.get().or_else(|| id_at_the_end(text))
}

struct IdBeforeTheBreak<'a>(&'a Cell<Option<i64>>);

impl<'de> DeserializeSeed<'de> for IdBeforeTheBreak<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for IdBeforeTheBreak<'_> {
    type Value = ();

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("a message")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        while let Some(name) = members.next_key::<String>()? {
            if name == "id" {
                self.0.set(number(&members.next_value()?));
            } else {
                members.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

/// `…"id":7}`: how libraries that write the result first end a message.
fn id_at_the_end(text: &[u8]) -> Option<i64> {
    const MARK: &[u8] = br#""id":"#;
    const LONGEST: usize = 64;
    let tail = &text[text.len().saturating_sub(LONGEST)..];
    let start = tail.windows(MARK.len()).rposition(|window| window == MARK)? + MARK.len();
    let rest = std::str::from_utf8(&tail[start..]).ok()?.trim();
    let rest = rest.strip_suffix('}')?.trim().trim_matches('"');
    rest.parse().ok()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn one(message: Value) -> Result<Envelope, String> {
        read(message.to_string().as_bytes()).map(|mut messages| messages.remove(0))
    }

    #[test]
    fn messages_are_told_apart() {
        let result = one(json!({"jsonrpc": "2.0", "id": "7", "result": {"x": 1}})).expect("a result");
        assert!(matches!(result, Envelope::Result { id: 7, .. }), "{result:?}");
        let error = one(json!({"jsonrpc": "2.0", "id": null, "error": {"code": 1}})).expect("an error");
        assert!(matches!(error, Envelope::Error { id: None, .. }), "{error:?}");
        let request = one(json!({"jsonrpc": "2.0", "id": 1, "method": "ping"})).expect("a request");
        assert!(matches!(request, Envelope::Request(_)), "{request:?}");
        let notification = one(json!({"jsonrpc": "2.0", "method": "x"})).expect("a notification");
        assert!(
            matches!(notification, Envelope::Notification { .. }),
            "{notification:?}"
        );
        let batch = read(br#"[{"jsonrpc":"2.0","method":"x"},{"jsonrpc":"2.0","id":1,"result":{}}]"#);
        assert_eq!(batch.expect("a batch").len(), 2);
    }

    #[test]
    fn what_is_no_message_is_refused() {
        for message in [
            json!(1),
            json!({"level": "info"}),
            json!({"jsonrpc": "1.0", "id": 1, "result": {}}),
            json!({"jsonrpc": "2.0", "id": 1}),
            json!({"jsonrpc": "2.0", "result": {}}),
        ] {
            assert!(one(message.clone()).is_err(), "{message}");
        }
    }

    #[test]
    fn a_broken_answer_still_names_its_request() {
        for (text, id) in [
            (r#"{"jsonrpc":"2.0","id":3,"result":{"content":["#, Some(3)),
            (r#"{"jsonrpc":"2.0","id":"4","result":{]}"#, Some(4)),
            (r#"{"result":{"a": nonsense},"jsonrpc":"2.0","id":5}"#, Some(5)),
            (r#"{"result":{"a": nonsense},"jsonrpc":"2.0","id": 6 }"#, Some(6)),
            (r#"{"result":{"a": nonsense}}"#, None),
            ("plain text", None),
        ] {
            assert_eq!(id_of_broken(text.as_bytes()), id, "{text}");
        }
        assert!(claims_to_be_json_rpc(br#" {"jsonrpc":"#));
        assert!(!claims_to_be_json_rpc(b"{'level': 'info'}"));
    }
}
