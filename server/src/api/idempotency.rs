//! The header `Idempotency-Key`.

use poem::Request;
use serde::Serialize;
use sha2::{Digest, Sha256};

use super::problem::Problem;
use crate::error::Violation;
use crate::usage::IdempotencyKey;

/// Longest key, in characters.
const MAX_CHARS: usize = 255;

/// The key that came with `request`, for `operation` and `body`. Two bodies are the same when their members have the same values, in
/// whatever order and with whatever white space between them; `metadata` counts as it is written.
///
/// The header is read here and not by an extractor, which would take one with anything but ASCII for absent.
pub(crate) fn key<T: Serialize>(
    operation: &str,
    request: &Request,
    body: &T,
) -> Result<Option<IdempotencyKey>, Problem> {
    let mut key = None;
    for value in request.headers().get_all("idempotency-key") {
        let text = std::str::from_utf8(value.as_bytes())
            .map_err(|_| Problem::malformed("the header Idempotency-Key must be UTF-8 text"))?;
        if key.is_some_and(|other| other != text) {
            return Err(Problem::malformed(
                "the request carries two different values of Idempotency-Key",
            ));
        }
        key = Some(text);
    }
    let Some(key) = key.filter(|key| !str::is_empty(key)) else {
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
        key: key.to_owned(),
        request_sha256: hash.finalize().into(),
    }))
}
