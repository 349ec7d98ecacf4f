//! Public keys as they are published: a set is a JSON array of JWKs (RFC 7517, RFC 8037).

use std::fmt;

use chrono::{DateTime, SecondsFormat, Utc};
use serde::{Serialize, Serializer, ser::SerializeStruct as _};
use serde_json::{Map, Value};

use crate::{JsonError, KeyError, VerifyingKey, json, receipt::parse_instant};

/// A key id is at most this many characters.
pub(crate) const MAX_KEY_ID: usize = 255;

/// When a key signs: from `not_before` to `not_after`, both inclusive; open where one is absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Window {
    not_before: Option<DateTime<Utc>>,
    not_after: Option<DateTime<Utc>>,
}

/// A window that ends before it begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("`not_after` is before `not_before`")]
pub struct WindowError;

impl Window {
    /// Open at both ends.
    pub const ALWAYS: Self = Self {
        not_before: None,
        not_after: None,
    };

    /// A window with these ends.
    ///
    /// # Errors
    ///
    /// [`WindowError`] if they are the wrong way round.
    pub fn new(
        not_before: Option<DateTime<Utc>>,
        not_after: Option<DateTime<Utc>>,
    ) -> Result<Self, WindowError> {
        match (not_before, not_after) {
            (Some(start), Some(end)) if end < start => Err(WindowError),
            _ => Ok(Self {
                not_before,
                not_after,
            }),
        }
    }

    /// The first instant, if there is one.
    #[must_use]
    pub fn not_before(&self) -> Option<DateTime<Utc>> {
        self.not_before
    }

    /// The last instant, if there is one.
    #[must_use]
    pub fn not_after(&self) -> Option<DateTime<Utc>> {
        self.not_after
    }

    /// Whether an instant lies in it.
    #[must_use]
    pub fn contains(&self, instant: DateTime<Utc>) -> bool {
        self.not_before.is_none_or(|start| start <= instant)
            && self.not_after.is_none_or(|end| instant <= end)
    }
}

/// `from 2026-01-01T00:00:00.000000Z`, `until …`, both, or `always`.
impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.not_before, self.not_after) {
            (Some(start), Some(end)) => write!(f, "from {} until {}", rfc3339(start), rfc3339(end)),
            (Some(start), None) => write!(f, "from {}", rfc3339(start)),
            (None, Some(end)) => write!(f, "until {}", rfc3339(end)),
            (None, None) => f.write_str("always"),
        }
    }
}

/// A public key with its id and validity window. Serialises as a JWK.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublicKey {
    id: String,
    key: VerifyingKey,
    window: Window,
}

impl PublicKey {
    /// A key with an id of 1 to 255 characters, without control characters; `None` for another id.
    #[must_use]
    pub fn new(id: &str, key: VerifyingKey, window: Window) -> Option<Self> {
        is_key_id(id).then(|| Self {
            id: id.to_owned(),
            key,
            window,
        })
    }

    /// The key id: `kid` in a JWK, `key_id` in a receipt.
    #[must_use]
    pub fn id(&self) -> &str {
        &self.id
    }

    /// The key itself.
    #[must_use]
    pub fn key(&self) -> &VerifyingKey {
        &self.key
    }

    /// When it signs.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }
}

impl Serialize for PublicKey {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Window {
            not_before,
            not_after,
        } = self.window;
        let ends = usize::from(not_before.is_some()) + usize::from(not_after.is_some());
        let mut jwk = serializer.serialize_struct("PublicKey", 4 + ends)?;
        jwk.serialize_field("kty", "OKP")?;
        jwk.serialize_field("crv", "Ed25519")?;
        jwk.serialize_field("kid", &self.id)?;
        jwk.serialize_field("x", &self.key.to_base64url())?;
        if let Some(start) = not_before {
            jwk.serialize_field("not_before", &rfc3339(start))?;
        }
        if let Some(end) = not_after {
            jwk.serialize_field("not_after", &rfc3339(end))?;
        }
        jwk.end()
    }
}

/// Why a text is not a set of public keys.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeySetError {
    /// The text is not strict JSON.
    #[error("the key set is not JSON: {0}")]
    Json(#[source] JsonError),
    /// The value is neither an array of JWKs, nor `{"keys":[…]}`, nor one JWK.
    #[error("a key set is a JSON array of JWKs")]
    NotASet,
    /// One of the keys is not as it must be.
    #[error("key {index} of the set: {problem}")]
    Key {
        /// Its place in the set, from 0.
        index: usize,
        /// What is wrong with it.
        problem: JwkProblem,
    },
}

/// What is wrong with a JWK.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JwkProblem {
    /// It is not an object.
    #[error("not an object")]
    NotAnObject,
    /// A member is absent or has another type or value than the one that is named.
    #[error("`{0}` must be {1}")]
    Member(&'static str, &'static str),
    /// It holds the private key.
    #[error("it has a member `d`, the private key, which belongs in no set; the key must be replaced")]
    Private,
    /// It has `nbf` or `exp`, which would be ignored.
    #[error("`{0}` is not read; write `not_before` and `not_after` as RFC 3339 times")]
    JwtWindow(&'static str),
    /// `x` is not a key.
    #[error("`x`: {0}")]
    Key(#[source] KeyError),
    /// The window is the wrong way round.
    #[error(transparent)]
    Window(WindowError),
}

/// Reads a set of public keys: the JSON array that a server publishes, an RFC 7517 `{"keys":[…]}`, or one JWK.
///
/// ```json
/// [{"kty":"OKP","crv":"Ed25519","kid":"2026-a","x":"Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE",
///   "not_before":"2026-01-01T00:00:00.000000Z","not_after":"2026-12-31T23:59:59.999999Z"}]
/// ```
///
/// `not_before` and `not_after` are members that JWK does not have: RFC 3339 times, both inclusive, both optional. A
/// receipt counts as signed with the key if its `timestamp` lies between them. Unknown members are ignored (RFC 7517
/// section 4), but for those that would mislead: a private key, and JWT's `nbf` and `exp`, are refused.
///
/// # Errors
///
/// [`KeySetError`] naming the key and the member.
pub fn read_key_set(text: &[u8]) -> Result<Vec<PublicKey>, KeySetError> {
    let jwks = match json::read(text).map_err(KeySetError::Json)? {
        Value::Array(jwks) => jwks,
        Value::Object(mut members) => match members.remove("keys") {
            Some(Value::Array(jwks)) => jwks,
            Some(_) => return Err(KeySetError::NotASet),
            None => vec![Value::Object(members)],
        },
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {
            return Err(KeySetError::NotASet);
        }
    };
    let read = |(index, jwk)| read_jwk(jwk).map_err(|problem| KeySetError::Key { index, problem });
    jwks.iter().enumerate().map(read).collect()
}

fn read_jwk(jwk: &Value) -> Result<PublicKey, JwkProblem> {
    let jwk = jwk.as_object().ok_or(JwkProblem::NotAnObject)?;
    let text = |name| jwk.get(name).and_then(Value::as_str);
    let absent_or = |name, allowed: &[&str]| match jwk.get(name) {
        None => true,
        Some(value) => value.as_str().is_some_and(|value| allowed.contains(&value)),
    };
    if jwk.contains_key("d") {
        return Err(JwkProblem::Private);
    }
    if text("kty") != Some("OKP") {
        return Err(JwkProblem::Member("kty", "\"OKP\""));
    }
    if text("crv") != Some("Ed25519") {
        return Err(JwkProblem::Member("crv", "\"Ed25519\""));
    }
    if !absent_or("use", &["sig"]) {
        return Err(JwkProblem::Member("use", "\"sig\" if present"));
    }
    if !absent_or("alg", &["EdDSA", "Ed25519"]) {
        return Err(JwkProblem::Member("alg", "\"EdDSA\" or \"Ed25519\" if present"));
    }
    for name in ["nbf", "exp"] {
        if jwk.contains_key(name) {
            return Err(JwkProblem::JwtWindow(name));
        }
    }
    let x = text("x").ok_or(JwkProblem::Member("x", "the public key in base64url"))?;
    let key = VerifyingKey::from_base64url(x).map_err(JwkProblem::Key)?;
    let window = Window::new(window_end(jwk, "not_before")?, window_end(jwk, "not_after")?)
        .map_err(JwkProblem::Window)?;
    text("kid")
        .and_then(|id| PublicKey::new(id, key, window))
        .ok_or(JwkProblem::Member(
            "kid",
            "a text of 1 to 255 characters, none of them a control character",
        ))
}

fn window_end(jwk: &Map<String, Value>, name: &'static str) -> Result<Option<DateTime<Utc>>, JwkProblem> {
    match jwk.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => match value.as_str().and_then(parse_instant) {
            Some(instant) => Ok(Some(instant)),
            None => Err(JwkProblem::Member(name, "an RFC 3339 time")),
        },
    }
}

/// Whether a text can be a key id or a receipt id: something that fits a URL, a log line and a database column.
pub(crate) fn is_key_id(id: &str) -> bool {
    !id.is_empty() && id.chars().count() <= MAX_KEY_ID && !id.chars().any(char::is_control)
}

/// `2026-01-01T00:00:00.000000Z`.
pub(crate) fn rfc3339(instant: DateTime<Utc>) -> String {
    instant.to_rfc3339_opts(SecondsFormat::Micros, true)
}
