//! Signing.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};

use crate::{
    JsonError, Receipt, SigningKey, StructureError, json,
    jwk::rfc3339,
    receipt::{self, signing_payload},
};

/// What a server says in a receipt of its own. Absent members are left out of the receipt.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct UnsignedReceipt {
    /// Unique within a project: `rcpt_` and a UUIDv7 without dashes.
    pub id: String,
    /// When it is issued; written with microseconds and `Z`.
    #[serde(serialize_with = "as_rfc3339")]
    pub timestamp: DateTime<Utc>,
    /// The version of the price registry.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub registry_version: Option<String>,
    /// Who served the model.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub provider: Option<String>,
    /// The model; `mixed` where a batch has several.
    pub model: String,
    /// The alias that was asked for; `mixed` where a batch has several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alias: Option<String>,
    /// The profile of the lockfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub profile: Option<String>,
    /// The digest of the lockfile.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lock_digest: Option<String>,
    /// Token counts; sums for a batch.
    pub tokens: Tokens,
    /// The cost; the sum for a batch.
    pub cost: Cost,
    /// Whether one log or several are certified; absent when none is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub receipt_type: Option<ReceiptType>,
    /// What the caller says it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The caller's tags.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<Vec<String>>,
    /// What a batch consists of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch_summary: Option<BatchSummary>,
}

/// Token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tokens {
    /// Tokens in.
    pub input: u64,
    /// Tokens out.
    pub output: u64,
    /// Tokens in that came from the provider's cache.
    pub cached_input: u64,
}

/// A cost and how it came about.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Cost {
    /// US dollars, a decimal such as `0.0025`.
    pub amount: String,
    /// The explanation from which a reader recomputes the amount.
    pub calculation: String,
}

/// Whether a receipt certifies one log or several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReceiptType {
    /// One log.
    Single,
    /// Several logs, with a [`BatchSummary`].
    Batch,
}

/// What a batch receipt certifies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchSummary {
    /// Different conversations among the logs.
    pub total_conversations: u64,
    /// Logs.
    pub total_calls: u64,
    /// Tokens in and out.
    pub total_tokens: u64,
    /// US dollars, a decimal.
    pub total_cost: String,
    /// The first log's time.
    #[serde(serialize_with = "as_rfc3339")]
    pub start_date: DateTime<Utc>,
    /// The last log's time.
    #[serde(serialize_with = "as_rfc3339")]
    pub end_date: DateTime<Utc>,
    /// Parts by model, which sum to the totals.
    pub by_model: BTreeMap<String, BatchShare>,
    /// Parts by alias; logs without one are in none.
    pub by_alias: BTreeMap<String, BatchShare>,
    /// SHA-256 (hex) over the certified logs: they are listed elsewhere, and this says which list is meant.
    pub logs_sha256: String,
    /// How many logs that digest covers.
    pub logs_count: u64,
}

/// A part of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchShare {
    /// Logs.
    pub calls: u64,
    /// Tokens in and out.
    pub tokens: u64,
    /// US dollars, a decimal.
    pub cost: String,
}

impl UnsignedReceipt {
    /// The members, as [`sign`] and [`KeyRing::sign`](crate::KeyRing::sign) take them.
    #[must_use]
    pub fn into_members(self) -> Map<String, Value> {
        match serde_json::to_value(self) {
            Ok(Value::Object(members)) => members,
            other => unreachable!("a struct of texts and counts is a JSON object, not {other:?}"),
        }
    }
}

fn as_rfc3339<S: Serializer>(instant: &DateTime<Utc>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&rfc3339(*instant))
}

/// Why members were not signed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// They have a signature already.
    #[error("`signature` is for the server to add")]
    AlreadySigned,
    /// They name another key.
    #[error("`key_id` names another key than the one that signs, {0:?}")]
    OtherKey(String),
    /// A value that JSON does not carry exactly.
    #[error(transparent)]
    Json(JsonError),
    /// A member that is not as a receipt's must be.
    #[error(transparent)]
    Structure(StructureError),
    /// There is no key to sign with.
    #[error("no signing key is configured")]
    NoSigningKey,
    /// The key does not sign at the receipt's time, so the receipt would not verify.
    #[error("`timestamp` is outside the time in which the key {key_id:?} signs")]
    OutsideWindow {
        /// The key.
        key_id: String,
    },
}

/// Signs a JSON object, unknown members and all, after adding `key_id`.
///
/// The receipt's text is compact JSON with the members sorted by name: the same members make the same text.
/// `signature` and `key_id` may be null in `members`, as if absent.
///
/// # Errors
///
/// [`SignError`], for whatever [`Receipt::from_slice`] would refuse afterwards.
pub fn sign(mut members: Map<String, Value>, key: &SigningKey, key_id: &str) -> Result<Receipt, SignError> {
    if members
        .remove("signature")
        .is_some_and(|signature| !signature.is_null())
    {
        return Err(SignError::AlreadySigned);
    }
    match members.insert("key_id".to_owned(), key_id.into()) {
        None | Some(Value::Null) => {}
        Some(named) if named == key_id => {}
        Some(_) => return Err(SignError::OtherKey(key_id.to_owned())),
    }
    // Through its text, so that one reader decides what is exact, whoever made the members.
    let text = Value::Object(members).to_string();
    let mut members = json::read_object(text.as_bytes()).map_err(SignError::Json)?;
    members.sort_keys();
    members.values_mut().for_each(Value::sort_all_objects);
    let signature = key.sign(&signing_payload(&members));
    members.insert("signature".to_owned(), signature.to_string().into());
    let text = serde_json::to_string(&members).expect("text keys and finite numbers are always JSON");
    receipt::Receipt::from_parts(text, members).map_err(SignError::Structure)
}
