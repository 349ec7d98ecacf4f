//! Receipts as rows: what is kept beside the text, and how a change is noticed.

use chrono::{DateTime, Utc};
use entity::ids::ProjectId;
use entity::receipt::{self as row, Column};
use receipt::{KeyRing, Receipt, Rejection};
use sea_orm::sea_query::OnConflict;
use sea_orm::{ConnectionTrait, DbErr, EntityTrait, IntoActiveModel, TryInsertResult};
use sha2::{Digest, Sha256};

use crate::error::{Error, Result, Violation};

/// Largest text of a receipt: a page of 500 stays in memory.
pub const MAX_RECEIPT_BYTES: usize = 128 * 1024;

/// The row of a receipt.
pub(super) fn row(
    project: ProjectId,
    receipt: &Receipt,
    certified: Option<u64>,
    stored_at: DateTime<Utc>,
) -> Result<row::Model> {
    let text = receipt.as_str();
    if text.len() > MAX_RECEIPT_BYTES {
        let message = format!("would make a receipt larger than {MAX_RECEIPT_BYTES} bytes");
        return Err(Violation::body(&[], message).into());
    }
    let mut row = row::Model {
        project_id: project,
        id: receipt.id().to_owned(),
        key_id: receipt.key_id().to_owned(),
        stored_at,
        logs_count: certified.map(|count| i64::try_from(count).unwrap_or(i64::MAX)),
        text: text.to_owned(),
        sha256: Vec::new(),
    };
    row.sha256 = sha256(&row);
    Ok(row)
}

/// Stores the row unless the project has a receipt of this id; whether it did.
pub(super) async fn insert(connection: &impl ConnectionTrait, row: row::Model) -> Result<bool, DbErr> {
    let already_there = OnConflict::columns([Column::ProjectId, Column::Id])
        .do_nothing()
        .to_owned();
    let inserted = row::Entity::insert(row.into_active_model())
        .on_conflict(already_there)
        .try_insert()
        .exec_without_returning(connection)
        .await?;
    Ok(matches!(inserted, TryInsertResult::Inserted(rows) if rows > 0))
}

/// The receipt in a row, after it was checked.
pub(super) fn checked(row: &row::Model, keys: &KeyRing) -> Result<Receipt> {
    read(row, keys).map_err(|reason| tampered(row, reason))
}

pub(super) fn tampered(row: &row::Model, reason: String) -> Error {
    Error::Tampered {
        what: "receipt",
        id: row.id.clone(),
        reason,
    }
}

/// The receipt in a row. The error says how the row differs from what was stored.
///
/// The digest covers every byte, white space included, and the columns; the signature, which only a holder of the key can make,
/// covers what the bytes mean.
pub(super) fn read(row: &row::Model, keys: &KeyRing) -> Result<Receipt, String> {
    let receipt = Receipt::from_slice(row.text.as_bytes())
        .map_err(|error| format!("its text is no receipt: {error}"))?;
    keys.verify(&receipt).map_err(|rejection| match rejection {
        Rejection::UnknownKey { .. } => {
            format!("{rejection} (a retired key belongs in LLMRING_RECEIPTS_OTHER_KEYS)")
        }
        _ => rejection.to_string(),
    })?;
    if row.sha256 != sha256(row) {
        Err("its text or a column beside it is not what its digest covers".to_owned())
    } else if receipt.id() != row.id {
        Err("its column id is not that of its text".to_owned())
    } else if receipt.key_id() != row.key_id {
        Err("its column key_id is not that of its text".to_owned())
    } else {
        Ok(receipt)
    }
}

/// Binds the text to its place, its time, and the number of logs. An id has no control character, so the NUL ends it; `-1` is no number
/// of logs.
fn sha256(row: &row::Model) -> Vec<u8> {
    let row::Model {
        project_id,
        id,
        key_id: _,
        stored_at,
        logs_count,
        text,
        sha256: _,
    } = row;
    let mut hash = Sha256::new();
    hash.update(project_id.0.as_bytes());
    hash.update(id);
    hash.update([0]);
    hash.update(stored_at.timestamp_micros().to_be_bytes());
    hash.update(logs_count.unwrap_or(-1).to_be_bytes());
    hash.update(text);
    hash.finalize().to_vec()
}
