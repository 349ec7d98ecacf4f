//! Answers that are given again when a request comes again, for operations that commit by themselves.

use chrono::{DateTime, Utc};
use entity::idempotency_key;
use entity::ids::ProjectId;
use sea_orm::{ColumnTrait, DatabaseTransaction, QueryFilter};

use super::{IdempotencyKey, sql};
use crate::error::{Error, Result};

/// Claims `key` for `answer`, both of which are stored when the transaction commits. Returns the answer that is stored already when
/// the same request came before; another request under the same key is [`Error::Conflict`].
pub(crate) async fn claim(
    transaction: &DatabaseTransaction,
    project: ProjectId,
    key: &IdempotencyKey,
    answer: String,
    now: DateTime<Utc>,
) -> Result<Option<String>> {
    let claim = idempotency_key::Model {
        project_id: project,
        key: key.key.clone(),
        request_sha256: key.request_sha256.to_vec(),
        response: answer,
        created_at: now,
    };
    if !sql::claim_keys(transaction, &[claim]).await?.is_empty() {
        return Ok(None);
    }
    let stored = idempotency_key::Entity::of(project)
        .filter(idempotency_key::Column::Key.eq(&key.key))
        .one(transaction)
        .await?;
    match stored {
        Some(stored) if stored.request_sha256 == key.request_sha256 => Ok(Some(stored.response)),
        // Gone again: forgotten in this very moment. Nothing is known of its request.
        Some(_) | None => Err(another_request()),
    }
}

pub(super) fn another_request() -> Error {
    Error::Conflict("this Idempotency-Key was used for another request".to_owned())
}
