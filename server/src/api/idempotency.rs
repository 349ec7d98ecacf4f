//! The header `Idempotency-Key`.

use serde::Serialize;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use crate::error::Violation;
use crate::usage::IdempotencyKey;

/// Longest key, in characters.
const MAX_CHARS: usize = 255;

/// The key for `operation` and `body`. Two bodies are the same when they mean the same: white space and the order of members do
/// not count.
pub(crate) fn key<T: Serialize>(
    operation: &str,
    header: Option<String>,
    body: &T,
) -> Result<Option<IdempotencyKey>, Problem> {
    let Some(key) = header.filter(|key| !key.is_empty()) else {
        return Ok(None);
    };
    if key.chars().count() > MAX_CHARS {
        let violation = Violation {
            at: vec!["header".to_owned(), "Idempotency-Key".to_owned()],
            message: format!("must not be longer than {MAX_CHARS} characters"),
        };
        return Err(Problem::invalid(vec![violation]));
    }
    let mut hash = Sha256::new();
    hash.update(operation);
    hash.update([0]);
    hash.update(
        serde_json::to_vec(body)
            .map_err(poem::error::InternalServerError)
            .map_err(|error| Problem::from_poem(&error))?,
    );
    Ok(Some(IdempotencyKey {
        key,
        request_sha256: hash.finalize().into(),
    }))
}
