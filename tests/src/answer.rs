//! What the server answered.

use std::fmt;

use chrono::DateTime;
pub use reqwest::header;
use reqwest::header::HeaderMap;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use uuid::Uuid;

/// A status, headers and a whole body.
///
/// Serialised for a snapshot it is `{"status", "body"}`, in which what differs from run to run (ids, times) is replaced by a name once its
/// shape has been checked.
#[derive(Clone)]
pub struct Answer {
    /// The HTTP status.
    pub status: u16,
    /// All headers.
    pub headers: HeaderMap,
    /// The body as it came.
    pub text: String,
}

/// Compares an answer's status and body with an inline snapshot. May run more than once in a process: once on each database.
#[macro_export]
macro_rules! assert_answer {
    ($answer:expr, @$snapshot:literal) => {{
        let answer = &$answer;
        insta::allow_duplicates! {
            insta::assert_json_snapshot!(answer, @$snapshot)
        }
    }};
}

impl Answer {
    pub(crate) async fn read(response: reqwest::Response) -> Self {
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.expect("the whole body of the answer");
        Self {
            status,
            headers,
            text,
        }
    }

    /// This answer, which must be 200.
    #[track_caller]
    pub fn ok(self) -> Self {
        assert_eq!(self.status, 200, "{self:?}");
        self
    }

    /// This answer, which must be a refusal with this status in the one envelope that errors have.
    #[track_caller]
    pub fn refused(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        assert_eq!(
            self.header("content-type"),
            Some("application/problem+json"),
            "{self:?}"
        );
        let body = self.json();
        assert_eq!(body["status"], json!(status), "{self:?}");
        for member in ["type", "title", "detail"] {
            let text = body[member].as_str().unwrap_or_default();
            assert!(!text.is_empty(), "{member} is absent: {self:?}");
        }
        let request_id = body["request_id"].as_str();
        assert!(request_id.is_some(), "no request id: {self:?}");
        assert_eq!(request_id, self.header("x-request-id"), "{self:?}");
        self
    }

    /// The body as JSON. Numbers become binary floats here: for money see [`Answer::exact`].
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("not JSON ({error}): {self:?}"))
    }

    /// The text of one value in the body, as it was sent; `path` is member names and array indexes.
    #[track_caller]
    pub fn exact(&self, path: &[&str]) -> String {
        let mut text = self.text.as_str();
        for step in path {
            let inner: &RawValue = if text.trim_start().starts_with('[') {
                let items: Vec<&RawValue> = serde_json::from_str(text).expect("an array");
                let index: usize = step.parse().expect("an index");
                items
                    .get(index)
                    .copied()
                    .unwrap_or_else(|| panic!("no {path:?} in {self:?}"))
            } else {
                let members: BTreeMap<String, &RawValue> = serde_json::from_str(text)
                    .unwrap_or_else(|error| panic!("no {path:?} ({error}): {self:?}"));
                members
                    .get(*step)
                    .copied()
                    .unwrap_or_else(|| panic!("no {path:?} in {self:?}"))
            };
            text = inner.get();
        }
        text.to_owned()
    }

    /// The `log_id` or `id` of what the answer is about.
    #[track_caller]
    pub fn id(&self) -> String {
        let body = self.json();
        ["log_id", "id"]
            .iter()
            .find_map(|member| body[member].as_str().map(str::to_owned))
            .unwrap_or_else(|| panic!("no id in {self:?}"))
    }

    /// A header's value, when it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// The places that a refusal's `errors` name, such as `body.input_tokens`.
    #[track_caller]
    pub fn places(&self) -> Vec<String> {
        let body = self.json();
        let errors = body["errors"]
            .as_array()
            .unwrap_or_else(|| panic!("no errors in {self:?}"));
        errors
            .iter()
            .map(|error| {
                let steps = error["loc"].as_array().expect("a place");
                let steps: Vec<_> = steps
                    .iter()
                    .map(|step| step.as_str().map_or(step.to_string(), str::to_owned))
                    .collect();
                steps.join(".")
            })
            .collect()
    }
}

impl fmt::Debug for Answer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 2000;
        let text: String = self.text.chars().take(SHOWN).collect();
        write!(f, "{} {:?}\n{text}", self.status, self.headers)
    }
}

impl Serialize for Answer {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut body = self.json();
        redact(&mut body);
        json!({"status": self.status, "body": body}).serialize(serializer)
    }
}

fn redact(value: &mut Value) {
    match value {
        Value::Array(items) => items.iter_mut().for_each(redact),
        Value::Object(members) => {
            for (name, value) in members {
                match (name.as_str(), value.as_str().map(str::to_owned)) {
                    ("id" | "log_id", Some(id)) => {
                        let id = Uuid::parse_str(&id).unwrap_or_else(|_| panic!("{name} {id} is not a UUID"));
                        assert_eq!(id.get_version_num(), 7, "{name} {id}");
                        *value = json!(format!("[{name}]"));
                    }
                    ("timestamp" | "logged_at", Some(time)) => {
                        assert_is_time(&time);
                        *value = json!(format!("[{name}]"));
                    }
                    ("request_id", Some(_)) => *value = json!("[request_id]"),
                    _ => redact(value),
                }
            }
        }
        _ => {}
    }
}

/// RFC 3339, UTC, `Z`, microseconds.
fn assert_is_time(text: &str) {
    assert!(
        DateTime::parse_from_rfc3339(text).is_ok(),
        "{text} is not RFC 3339"
    );
    assert!(
        text.len() == "2026-01-31T12:00:00.000000Z".len() && text.ends_with('Z'),
        "{text} is not in microseconds and Z"
    );
}
