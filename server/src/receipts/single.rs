//! The receipt of one usage log.

use chrono::{DateTime, Utc};
use entity::usage_log;
use entity::usd::Usd;
use receipt::{Cost, ReceiptType, Tokens, UnsignedReceipt};
use serde_json::{Map, Value};

use super::{Note, calculation};
use crate::error::Result;

/// What the receipt of one log says. Its member `log_id` says which log that is.
pub(super) fn members(
    id: String,
    timestamp: DateTime<Utc>,
    log: &usage_log::Model,
    note: Note,
) -> Result<Map<String, Value>> {
    let Note { description, tags } = note;
    let (registry_version, calculation) = calculation::of(log)?;
    let mut members = UnsignedReceipt {
        id,
        timestamp,
        registry_version,
        provider: Some(log.provider.clone()),
        model: log.model.clone(),
        alias: log.alias.clone(),
        profile: Some(log.profile.clone()),
        lock_digest: None,
        tokens: Tokens {
            input: log.input_tokens.unsigned_abs(),
            output: log.output_tokens.unsigned_abs(),
            cached_input: log.cached_input_tokens.unsigned_abs(),
        },
        cost: Cost {
            amount: log.cost().unwrap_or(Usd::ZERO).to_string(),
            calculation,
        },
        receipt_type: Some(ReceiptType::Single),
        description,
        tags,
        batch_summary: None,
    }
    .into_members();
    members.insert("log_id".to_owned(), log.id.to_string().into());
    Ok(members)
}
