//! The public keys that a server publishes, fetched to verify its receipts elsewhere.

use std::time::Duration;

use receipt::{KeySetError, PublicKey, read_key_set};
use url::Url;

use crate::outbound::{EgressPolicy, Outbound, OutboundError, Timeouts};

/// Longest wait for the keys.
const TIMEOUT: Duration = Duration::from_secs(10);
/// Larger than any key set.
const MAX_BYTES: u64 = 1 << 20;

/// Why there are no keys.
#[derive(Debug, thiserror::Error)]
pub enum FetchKeysError {
    /// Nothing came back.
    #[error("the keys cannot be fetched: {0}")]
    Outbound(#[from] OutboundError),
    /// What came back is not a set of keys.
    #[error(transparent)]
    KeySet(#[from] KeySetError),
}

/// Fetches a key set, such as the one at `/receipts/public-keys.json`.
pub async fn fetch_public_keys(url: &Url) -> Result<Vec<PublicKey>, FetchKeysError> {
    let outbound = Outbound::new(EgressPolicy::Operator, Timeouts::within(TIMEOUT))?;
    let text = outbound.fetch(url, MAX_BYTES).await?;
    Ok(read_key_set(&text)?)
}
