//! RFC 8785, the JSON Canonicalization Scheme, for values that have one exact form.

use serde::Serialize;
use serde_json::Value;

use crate::json::{self, JsonError};

/// The RFC 8785 form of a JSON text.
///
/// # Errors
///
/// Whatever [`json::read`] refuses.
pub fn of_text(text: &[u8]) -> Result<Vec<u8>, JsonError> {
    Ok(of_exact(&json::read(text)?))
}

/// The RFC 8785 form of a JSON value that may have come from anywhere.
///
/// # Errors
///
/// What [`json::read`] would refuse in the value's text: integers beyond ±(2^53 − 1), reserved members, too much depth.
pub fn of_value(value: &Value) -> Result<Vec<u8>, JsonError> {
    of_text(value.to_string().as_bytes())
}

/// The RFC 8785 form of what [`json::read`] accepted: serde_jcs would round other integers in silence.
pub(crate) fn of_exact(value: &impl Serialize) -> Vec<u8> {
    serde_jcs::to_vec(value).expect("what the strict reader accepts has text keys and finite numbers")
}
