//! A signed receipt.

use chrono::{DateTime, Datelike, Utc};
use serde::{Serialize, Serializer, ser::SerializeMap as _};
use serde_json::{Map, Value};

use crate::{
    JsonError, canonical, json,
    jwk::{MAX_KEY_ID, is_key_id},
};

/// A receipt with a signature, which may or may not be genuine: [`KeyRing::verify`](crate::KeyRing::verify) tells.
///
/// Its text is strict JSON, kept byte for byte, and its members are as a receipt's must be:
///
/// | member | must be |
/// |---|---|
/// | `id`, `key_id` | text of 1 to 255 characters, none of them a control character |
/// | `timestamp` | an RFC 3339 time (without an offset it means UTC) |
/// | `model` | text, not empty |
/// | `tokens` | an object with the counts `input`, `output` and, optionally, `cached_input` |
/// | `cost` | an object with `amount`, a decimal not below zero, text or number, and, optionally, the text `calculation` |
/// | `signature` | text |
/// | `provider`, `alias`, `profile`, `lock_digest`, `description` | text, or absent |
/// | `registry_version` | text or number, or absent |
/// | `receipt_type` | `"single"` or `"batch"`, or absent |
/// | `tags` | an array of texts, or absent |
/// | `batch_summary` | an object, or absent |
///
/// `null` is as good as absent. Any other member is kept, and is signed like the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Receipt {
    text: String,
    members: Map<String, Value>,
    timestamp: DateTime<Utc>,
}

/// Why a text is not a receipt.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReceiptError {
    /// It is not a strict JSON object.
    #[error(transparent)]
    Json(JsonError),
    /// A member is not as it must be.
    #[error(transparent)]
    Structure(StructureError),
}

/// A member that is not as a receipt's must be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{member}` {problem}")]
pub struct StructureError {
    /// The member's name; one inside an object after a dot, as in `tokens.input`.
    pub member: &'static str,
    /// What is wrong with it.
    pub problem: StructureProblem,
}

/// What is wrong with a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum StructureProblem {
    /// It is required, and absent or null.
    #[error("is missing")]
    Missing,
    /// It has another type or value than the one that is named.
    #[error("must be {0}")]
    MustBe(&'static str),
}

impl Receipt {
    /// Reads a receipt and keeps its text.
    ///
    /// # Errors
    ///
    /// [`ReceiptError`] naming the member and the reason.
    pub fn from_slice(text: &[u8]) -> Result<Self, ReceiptError> {
        let members = json::read_object(text).map_err(ReceiptError::Json)?;
        // Nothing is lost: the strict reader refuses what is not UTF-8.
        let text = String::from_utf8_lossy(text).into_owned();
        Self::from_parts(text, members).map_err(ReceiptError::Structure)
    }

    /// `members` must be what the strict reader makes of `text`.
    pub(crate) fn from_parts(text: String, members: Map<String, Value>) -> Result<Self, StructureError> {
        let timestamp = check(&members)?;
        Ok(Self {
            text,
            members,
            timestamp,
        })
    }

    /// The text, byte for byte as it came or was issued.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text, byte for byte as it came or was issued.
    #[must_use]
    pub fn into_string(self) -> String {
        self.text
    }

    /// All members, `signature` and unknown ones included.
    #[must_use]
    pub fn members(&self) -> &Map<String, Value> {
        &self.members
    }

    /// A member that is text.
    #[must_use]
    pub fn text(&self, member: &str) -> Option<&str> {
        self.members.get(member).and_then(Value::as_str)
    }

    /// The member `id`.
    #[must_use]
    pub fn id(&self) -> &str {
        self.required_text("id")
    }

    /// The member `key_id`: the key that is said to have signed.
    #[must_use]
    pub fn key_id(&self) -> &str {
        self.required_text("key_id")
    }

    /// The member `signature`, which need not be one.
    #[must_use]
    pub fn signature(&self) -> &str {
        self.required_text("signature")
    }

    /// The member `timestamp`.
    #[must_use]
    pub fn timestamp(&self) -> DateTime<Utc> {
        self.timestamp
    }

    /// What the signature covers: the RFC 8785 form of all members but `signature`.
    #[must_use]
    pub fn signing_payload(&self) -> Vec<u8> {
        signing_payload(&self.members)
    }

    fn required_text(&self, member: &str) -> &str {
        self.text(member)
            .expect("a receipt is made only after its required members were checked")
    }
}

/// The RFC 8785 form of all members but `signature`; `members` must come from the strict reader.
pub(crate) fn signing_payload(members: &Map<String, Value>) -> Vec<u8> {
    canonical::of_exact(&WithoutSignature(members))
}

struct WithoutSignature<'a>(&'a Map<String, Value>);

impl Serialize for WithoutSignature<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.0.iter().filter(|(name, _)| *name != "signature") {
            map.serialize_entry(name, value)?;
        }
        map.end()
    }
}

/// Reads an RFC 3339 time; one without an offset means UTC. `None` also for one that an offset takes out of the years 0 to 9999, which
/// RFC 3339 could not write in UTC.
#[must_use]
pub fn parse_instant(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .or_else(|_| DateTime::parse_from_rfc3339(&format!("{text}Z")))
        .ok()
        .map(|instant| instant.to_utc())
        .filter(|instant| (0..=9999).contains(&instant.year()))
}

/// Checks the members and returns the timestamp.
fn check(members: &Map<String, Value>) -> Result<DateTime<Utc>, StructureError> {
    const ID: &str = "a text of 1 to 255 characters, none of them a control character";
    const { assert!(MAX_KEY_ID == 255, "the message says so") };
    const COUNT: &str = "a whole number not below zero";
    const TEXT: &str = "text";

    let is_id = |value: &Value| value.as_str().is_some_and(is_key_id);
    required(members, "id", "id", ID, is_id)?;
    let timestamp = required(
        members,
        "timestamp",
        "timestamp",
        "an RFC 3339 time",
        Value::is_string,
    )?
    .as_str()
    .and_then(parse_instant)
    .ok_or(must_be("timestamp", "an RFC 3339 time"))?;
    required(members, "model", "model", "text, not empty", |value| {
        value.as_str().is_some_and(|text| !text.is_empty())
    })?;
    required(members, "key_id", "key_id", ID, is_id)?;
    required(members, "signature", "signature", TEXT, Value::is_string)?;

    let tokens = required_object(members, "tokens")?;
    required(tokens, "input", "tokens.input", COUNT, is_count)?;
    required(tokens, "output", "tokens.output", COUNT, is_count)?;
    optional(tokens, "cached_input", "tokens.cached_input", COUNT, is_count)?;

    let cost = required_object(members, "cost")?;
    required(
        cost,
        "amount",
        "cost.amount",
        "a decimal not below zero, such as \"0.0025\"",
        is_amount,
    )?;
    optional(cost, "calculation", "cost.calculation", TEXT, Value::is_string)?;

    for name in ["provider", "alias", "profile", "lock_digest", "description"] {
        optional(members, name, name, TEXT, Value::is_string)?;
    }
    let name = "registry_version";
    optional(members, name, name, "text or a number", |value| {
        value.is_string() || value.is_number()
    })?;
    let name = "receipt_type";
    optional(members, name, name, "\"single\" or \"batch\"", |value| {
        matches!(value.as_str(), Some("single" | "batch"))
    })?;
    optional(members, "tags", "tags", "an array of texts", |value| {
        value
            .as_array()
            .is_some_and(|tags| tags.iter().all(Value::is_string))
    })?;
    optional(
        members,
        "batch_summary",
        "batch_summary",
        "an object",
        Value::is_object,
    )?;
    Ok(timestamp)
}

fn must_be(member: &'static str, what: &'static str) -> StructureError {
    StructureError {
        member,
        problem: StructureProblem::MustBe(what),
    }
}

fn required<'a>(
    members: &'a Map<String, Value>,
    name: &str,
    member: &'static str,
    what: &'static str,
    is_right: impl Fn(&Value) -> bool,
) -> Result<&'a Value, StructureError> {
    optional(members, name, member, what, is_right)?.ok_or(StructureError {
        member,
        problem: StructureProblem::Missing,
    })
}

fn optional<'a>(
    members: &'a Map<String, Value>,
    name: &str,
    member: &'static str,
    what: &'static str,
    is_right: impl Fn(&Value) -> bool,
) -> Result<Option<&'a Value>, StructureError> {
    match members.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) if is_right(value) => Ok(Some(value)),
        Some(_) => Err(must_be(member, what)),
    }
}

fn required_object<'a>(
    members: &'a Map<String, Value>,
    member: &'static str,
) -> Result<&'a Map<String, Value>, StructureError> {
    required(members, member, member, "an object", Value::is_object)?
        .as_object()
        .ok_or(must_be(member, "an object"))
}

/// A whole number, however it is written: `12`, `12.0` and `1.2e1` are one.
fn is_count(value: &Value) -> bool {
    value
        .as_f64()
        .is_some_and(|count| count >= 0.0 && count.fract() == 0.0)
}

/// A JSON number, or a text that is one; not below zero.
fn is_amount(value: &Value) -> bool {
    match value {
        Value::Number(_) => value.as_f64().is_some_and(|amount| amount >= 0.0),
        Value::String(text) => is_decimal(text),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => false,
    }
}

/// `digits[.digits][e[±]digits]`: what a reader can add up without a float.
fn is_decimal(text: &str) -> bool {
    let digits = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let (mantissa, exponent) = match text.split_once(['e', 'E']) {
        Some((mantissa, exponent)) => (mantissa, Some(exponent)),
        None => (text, None),
    };
    let (whole, fraction) = match mantissa.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (mantissa, None),
    };
    digits(whole)
        && fraction.is_none_or(digits)
        && exponent.is_none_or(|exponent| digits(exponent.strip_prefix(['+', '-']).unwrap_or(exponent)))
}
