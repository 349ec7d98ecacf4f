//! The shapes of receipts on the wire. A receipt itself travels as its text: [`Receipt`] only describes it.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use poem_openapi::registry::{MetaSchemaRef, Registry};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use poem_openapi::{Enum, Object, Union};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use uuid::Uuid;

use crate::api::scalar::{Dollars, JsonObject, Timestamp};
use crate::api::usage::UsageLog;
use crate::error::{Error, Result, Violation};
use crate::receipts::{Certificate, MAX_SELECTED_IDS, Note, Part, Selection, Share, Summary, Verdict};
use crate::usage::{DateBound, DateRange, Page, Zone};

/// A signed receipt. Members that are not listed here are kept and signed as well.
#[derive(Debug, Object)]
pub(super) struct Receipt {
    /// Unique within a project.
    id: String,
    /// When it was issued.
    timestamp: Timestamp,
    /// The version of the price registry.
    #[oai(nullable)]
    registry_version: Option<TextOrNumber>,
    /// Who served the model.
    #[oai(nullable)]
    provider: Option<String>,
    /// The model; `mixed` when logs with several are certified.
    model: String,
    /// The alias that was asked for; `mixed` when logs with several are certified.
    #[oai(nullable)]
    alias: Option<String>,
    /// The profile of the lockfile; `mixed` when logs with several are certified.
    #[oai(nullable)]
    profile: Option<String>,
    /// The digest of the lockfile.
    #[oai(nullable)]
    lock_digest: Option<String>,
    /// The key that signed.
    key_id: String,
    /// Token counts.
    tokens: ReceiptTokens,
    /// The cost.
    cost: ReceiptCost,
    /// Whether one log or several are certified; absent when none is.
    #[oai(nullable)]
    receipt_type: Option<ReceiptType>,
    /// What it is for.
    #[oai(nullable)]
    description: Option<String>,
    /// Free labels.
    #[oai(nullable)]
    tags: Option<Vec<String>>,
    /// The log that is certified, when it is one.
    #[oai(nullable)]
    log_id: Option<Uuid>,
    /// What is certified, when it is several logs.
    #[oai(nullable)]
    batch_summary: Option<BatchSummary>,
    /// `ed25519:` and base64url without padding: Ed25519 over the RFC 8785 form of all other members.
    signature: String,
}

/// A receipt to be signed. Members that are not listed here are kept and signed as well.
#[derive(Debug, Object)]
pub(super) struct UnsignedReceipt {
    /// Unique within the project; made when absent.
    #[oai(nullable)]
    id: Option<String>,
    /// The time of issue when absent.
    #[oai(nullable)]
    timestamp: Option<Timestamp>,
    /// The version of the price registry.
    #[oai(nullable)]
    registry_version: Option<TextOrNumber>,
    /// Who served the model.
    #[oai(nullable)]
    provider: Option<String>,
    /// The model.
    model: String,
    /// The alias that was asked for.
    #[oai(nullable)]
    alias: Option<String>,
    /// The profile of the lockfile.
    #[oai(nullable)]
    profile: Option<String>,
    /// The digest of the lockfile.
    #[oai(nullable)]
    lock_digest: Option<String>,
    /// The key that signs, if it is named: no other does.
    #[oai(nullable)]
    key_id: Option<String>,
    /// Token counts.
    tokens: ReceiptTokens,
    /// The cost.
    cost: ReceiptCost,
    /// What it is for.
    #[oai(nullable)]
    description: Option<String>,
    /// Free labels.
    #[oai(nullable)]
    tags: Option<Vec<String>>,
}

/// Token counts.
#[derive(Debug, Object)]
struct ReceiptTokens {
    /// Tokens in.
    input: u64,
    /// Tokens out.
    output: u64,
    /// Tokens in that came from the provider's cache.
    #[oai(nullable)]
    cached_input: Option<u64>,
}

/// Text; receipts of other servers may have a number.
#[derive(Debug, Union)]
enum TextOrNumber {
    Text(String),
    Number(f64),
}

/// A cost and how it came about.
#[derive(Debug, Object)]
struct ReceiptCost {
    /// US dollars, a decimal such as `0.0025`. A number from elsewhere is kept as it came.
    amount: TextOrNumber,
    /// The explanation from which a reader recomputes the amount.
    #[oai(nullable)]
    calculation: Option<String>,
}

/// How many logs are certified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum ReceiptType {
    /// One.
    Single,
    /// Several.
    Batch,
}

/// What a batch receipt certifies.
#[derive(Debug, Object)]
struct BatchSummary {
    /// Different conversations among the logs.
    total_conversations: u64,
    /// Logs.
    total_calls: u64,
    /// Tokens in and out.
    total_tokens: u64,
    /// US dollars, a decimal.
    total_cost: String,
    /// The first log's time.
    start_date: Timestamp,
    /// The last log's time.
    end_date: Timestamp,
    /// Parts by model, which sum to the totals.
    by_model: BTreeMap<String, BatchShare>,
    /// Parts by alias; logs without one are in none.
    by_alias: BTreeMap<String, BatchShare>,
    /// SHA-256, hexadecimal, over the ids of the logs: ascending, as text, each followed by a line feed.
    logs_sha256: String,
    /// Logs.
    logs_count: u64,
}

/// A part of a batch.
#[derive(Debug, Object)]
struct BatchShare {
    /// Logs.
    calls: u64,
    /// Tokens in and out.
    tokens: u64,
    /// US dollars, a decimal.
    cost: String,
}

/// The text of a receipt, described as a [`Receipt`].
#[derive(Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct ReceiptText(JsonObject);

impl ReceiptText {
    pub(super) fn of(receipt: receipt::Receipt) -> Result<Self> {
        JsonObject::from_stored(receipt.into_string())
            .map(Self)
            .map_err(|source| Error::Corrupt {
                what: "receipt",
                source,
            })
    }
}

impl Type for ReceiptText {
    const IS_REQUIRED: bool = true;
    type RawValueType = Self;
    type RawElementValueType = Self;

    fn name() -> Cow<'static, str> {
        Receipt::name()
    }

    fn schema_ref() -> MetaSchemaRef {
        Receipt::schema_ref()
    }

    fn register(registry: &mut Registry) {
        Receipt::register(registry);
    }

    fn as_raw_value(&self) -> Option<&Self> {
        Some(self)
    }

    fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
        Box::new(std::iter::once(self))
    }
}

impl ParseFromJSON for ReceiptText {
    fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
        serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
    }
}

impl ToJSON for ReceiptText {
    fn to_json(&self) -> Option<Value> {
        serde_json::to_value(self).ok()
    }
}

/// A receipt to be stored.
#[derive(Debug, Object)]
pub(super) struct StoreRequest {
    /// The receipt, signed by a key that this server publishes.
    receipt: Receipt,
}

/// The text of the member `receipt` of a [`StoreRequest`].
pub(super) fn enclosed_receipt(body: &[u8]) -> Result<&str> {
    #[derive(Deserialize)]
    struct Enclosed<'a> {
        #[serde(borrow)]
        receipt: Option<&'a RawValue>,
    }
    // What surrounds the receipt is read as strictly as the receipt itself.
    receipt::json::read_object(body).map_err(|error| Error::Refused(error.to_string()))?;
    serde_json::from_slice::<Enclosed<'_>>(body)
        .ok()
        .and_then(|enclosed| enclosed.receipt)
        .map(RawValue::get)
        .ok_or_else(|| Violation::body(&["receipt"], "is required").into())
}

/// The receipt is stored.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct StoreResponse {
    /// Its id.
    receipt_id: String,
    /// Always `verified`: others are not stored.
    status: String,
}

impl StoreResponse {
    pub(super) fn verified(receipt: &receipt::Receipt) -> Self {
        Self {
            receipt_id: receipt.id().to_owned(),
            status: "verified".to_owned(),
        }
    }
}

/// A page of receipts.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct ReceiptList {
    /// Last stored first.
    receipts: Vec<ReceiptText>,
    /// All receipts of the project.
    total: u64,
    /// As asked for.
    limit: u64,
    /// As asked for.
    offset: u64,
}

impl ReceiptList {
    pub(super) fn new(part: Part<receipt::Receipt>, page: Page) -> Result<Self> {
        let Part { entries, total } = part;
        let Page { limit, offset } = page;
        Ok(Self {
            receipts: entries.into_iter().map(ReceiptText::of).collect::<Result<_>>()?,
            total,
            limit,
            offset,
        })
    }
}

/// A page of usage logs.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct CertifiedLogs {
    /// The logs.
    logs: Vec<UsageLog>,
    /// All of them.
    total: u64,
    /// As asked for.
    limit: u64,
    /// As asked for.
    offset: u64,
}

impl CertifiedLogs {
    pub(super) fn new(part: Part<entity::usage_log::Model>, page: Page) -> Result<Self> {
        let Part { entries, total } = part;
        let Page { limit, offset } = page;
        Ok(Self {
            logs: entries
                .into_iter()
                .map(UsageLog::try_from)
                .collect::<Result<_>>()?,
            total,
            limit,
            offset,
        })
    }
}

/// Which usage logs are meant: exactly one of `conversation_id`, `start_date` with `end_date`, `log_ids`, `since_last_receipt`.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct SelectionRequest {
    /// The logs of this conversation.
    #[oai(nullable)]
    conversation_id: Option<Uuid>,
    /// The logs from this day or instant on: a date or an RFC 3339 time. Needs `end_date`.
    #[oai(nullable)]
    start_date: Option<String>,
    /// The logs up to this instant, or to the end of this day.
    #[oai(nullable)]
    end_date: Option<String>,
    /// Exactly these logs, 1 to 10,000.
    #[oai(nullable, validator(min_items = 1, max_items = 10000))]
    log_ids: Option<Vec<Uuid>>,
    /// All logs that no receipt certifies yet, whenever they were made.
    #[oai(nullable)]
    since_last_receipt: Option<bool>,
}

/// Which usage logs to certify (exactly one of `conversation_id`, `start_date` with `end_date`, `log_ids`, `since_last_receipt`), and
/// what to say of them.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct GenerateRequest {
    /// The logs of this conversation.
    #[oai(nullable)]
    conversation_id: Option<Uuid>,
    /// The logs from this day or instant on: a date or an RFC 3339 time. Needs `end_date`.
    #[oai(nullable)]
    start_date: Option<String>,
    /// The logs up to this instant, or to the end of this day.
    #[oai(nullable)]
    end_date: Option<String>,
    /// Exactly these logs, 1 to 10,000.
    #[oai(nullable, validator(min_items = 1, max_items = 10000))]
    log_ids: Option<Vec<Uuid>>,
    /// All logs that no receipt certifies yet, whenever they were made.
    #[oai(nullable)]
    since_last_receipt: Option<bool>,
    /// What the receipt is for.
    #[oai(nullable)]
    description: Option<String>,
    /// Free labels.
    #[oai(nullable)]
    tags: Option<Vec<String>>,
}

impl GenerateRequest {
    pub(super) fn into_selection(self, now: DateTime<Utc>) -> Result<(Selection, Note)> {
        let Self {
            conversation_id,
            start_date,
            end_date,
            log_ids,
            since_last_receipt,
            description,
            tags,
        } = self;
        let selection = SelectionRequest {
            conversation_id,
            start_date,
            end_date,
            log_ids,
            since_last_receipt,
        };
        Ok((selection.into_selection(now)?, Note { description, tags }))
    }
}

impl SelectionRequest {
    pub(super) fn into_selection(self, now: DateTime<Utc>) -> Result<Selection> {
        let Self {
            conversation_id,
            start_date,
            end_date,
            log_ids,
            since_last_receipt,
        } = self;
        let dates = (present(start_date), present(end_date));
        let uncertified = since_last_receipt.filter(|wanted| *wanted);
        match (conversation_id, dates, log_ids, uncertified) {
            (Some(id), (None, None), None, None) => Ok(Selection::Conversation(id)),
            (None, (Some(start), Some(end)), None, None) => {
                let (start, end) = (bound("start_date", &start)?, bound("end_date", &end)?);
                let range = DateRange::new(Some(start), Some(end), Zone::UTC, now);
                let range = range.map_err(|_| Violation::body(&["start_date"], "must not be after end_date"))?;
                Ok(Selection::Dates(range))
            }
            (None, (None, None), Some(ids), None) => {
                let ids = BTreeSet::from_iter(ids);
                if ids.is_empty() || ids.len() > MAX_SELECTED_IDS {
                    let message = format!("must have 1 to {MAX_SELECTED_IDS} ids, has {}", ids.len());
                    return Err(Violation::body(&["log_ids"], message).into());
                }
                Ok(Selection::Logs(ids))
            }
            (None, (None, None), None, Some(_)) => Ok(Selection::Uncertified),
            (None, (Some(_), None), None, None) => {
                Err(Violation::body(&["end_date"], "is required with start_date").into())
            }
            (None, (None, Some(_)), None, None) => {
                Err(Violation::body(&["start_date"], "is required with end_date").into())
            }
            _ => Err(Violation::body(
                &[],
                "must have exactly one of conversation_id, start_date with end_date, log_ids, since_last_receipt: true",
            )
            .into()),
        }
    }
}

fn present(text: Option<String>) -> Option<String> {
    text.filter(|text| !text.is_empty())
}

fn bound(member: &str, text: &str) -> Result<DateBound> {
    text.parse()
        .map_err(|problem| Violation::body(&[member], problem).into())
}

/// A receipt just issued.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct GenerateResponse {
    /// The receipt.
    receipt: ReceiptText,
    /// Usage logs linked to it.
    certified_count: u64,
}

impl TryFrom<Certificate> for GenerateResponse {
    type Error = Error;

    fn try_from(certificate: Certificate) -> Result<Self> {
        let Certificate { receipt, certified } = certificate;
        Ok(Self {
            receipt: ReceiptText::of(receipt)?,
            certified_count: certified,
        })
    }
}

/// What a receipt would certify.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct Preview {
    /// Logs.
    total_logs: u64,
    /// Different conversations among them.
    total_conversations: u64,
    /// Tokens in and out, as logged.
    total_tokens: u64,
    /// Their exact cost.
    total_cost: Dollars,
    /// Logs without a known cost; they add nothing to it.
    unpriced_logs: u64,
    /// The first log's time.
    start_date: Timestamp,
    /// The last log's time.
    end_date: Timestamp,
    /// Parts by model, which sum to the totals.
    by_model: BTreeMap<String, PreviewShare>,
    /// Parts by alias; logs without one are in none.
    by_alias: BTreeMap<String, PreviewShare>,
    /// `single` for one log.
    receipt_type: ReceiptType,
}

/// A part of what a receipt would certify.
#[derive(Debug, Serialize, Deserialize, Object)]
struct PreviewShare {
    /// Logs.
    calls: u64,
    /// Tokens in and out, as logged.
    tokens: u64,
    /// Their exact cost.
    cost: Dollars,
}

impl From<Summary> for Preview {
    fn from(summary: Summary) -> Self {
        let Summary {
            calls,
            unpriced,
            conversations,
            tokens,
            cost,
            start,
            end,
            by_model,
            by_alias,
            ..
        } = summary;
        let shares = |shares: BTreeMap<String, Share>| {
            shares
                .into_iter()
                .map(|(name, share)| (name, share.into()))
                .collect()
        };
        Self {
            total_logs: calls,
            total_conversations: conversations,
            total_tokens: tokens.input + tokens.output,
            total_cost: Dollars(cost),
            unpriced_logs: unpriced,
            start_date: Timestamp(start),
            end_date: Timestamp(end),
            by_model: shares(by_model),
            by_alias: shares(by_alias),
            receipt_type: if calls == 1 {
                ReceiptType::Single
            } else {
                ReceiptType::Batch
            },
        }
    }
}

impl From<Share> for PreviewShare {
    fn from(share: Share) -> Self {
        let Share { calls, tokens, cost } = share;
        Self {
            calls,
            tokens,
            cost: Dollars(cost),
        }
    }
}

/// Whether a receipt is genuine.
#[derive(Debug, Serialize, Deserialize, Object)]
pub(super) struct Verification {
    /// The receipt's `id`, where it has one.
    #[oai(nullable)]
    receipt_id: Option<String>,
    /// Whether it is genuine.
    valid: bool,
    /// The receipt's `key_id`, where it has one.
    #[oai(nullable)]
    key_id: Option<String>,
    /// Always `Ed25519`.
    algorithm: String,
    /// Why it is not genuine.
    #[oai(nullable)]
    reason: Option<String>,
}

impl From<Verdict> for Verification {
    fn from(verdict: Verdict) -> Self {
        let Verdict {
            receipt_id,
            key_id,
            reason,
        } = verdict;
        Self {
            receipt_id,
            valid: reason.is_none(),
            key_id,
            algorithm: "Ed25519".to_owned(),
            reason,
        }
    }
}
