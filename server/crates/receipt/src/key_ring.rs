//! The keys of a server.

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use crate::{
    PublicKey, Receipt, SignError, Signature, SignatureError, SigningKey, VerifyingKey, Window, jwk::rfc3339,
    sign,
};

/// The current key, with which a server may sign, and the public keys it publishes and trusts: retired, upcoming.
///
/// ```
/// use llmring_receipt::{KeyRing, Receipt, SigningKey, json};
///
/// let random_bytes = [1; 32]; // from the operating system, in earnest
/// let ring = KeyRing::new("2026-a", Some(SigningKey::from_seed(&random_bytes)), None, vec![])?;
/// let members = json::read_object(
///     br#"{"id":"rcpt_1","timestamp":"2026-07-01T12:00:00Z","model":"gpt-4o-mini","team":"a member nobody knows",
///          "tokens":{"input":1200,"output":350},"cost":{"amount":"0.00039"}}"#,
/// )?;
/// let issued = ring.sign(members)?.into_string();
///
/// ring.verify(&Receipt::from_slice(issued.as_bytes())?)?;
/// let forged = Receipt::from_slice(issued.replace("1200", "1201").as_bytes())?;
/// assert!(ring.verify(&forged).is_err());
/// # Ok::<_, Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct KeyRing {
    signing: Option<SigningKey>,
    has_current: bool,
    /// The current one first, if there is one. No id occurs twice.
    keys: Vec<PublicKey>,
}

/// Why keys make no ring.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyRingError {
    /// The key id is not a text of 1 to 255 characters, none of them a control character.
    #[error("the key id must have 1 to 255 characters, none of them a control character")]
    KeyId,
    /// The private key is not the public key's.
    #[error("the private key does not belong to the public key")]
    KeysDiffer,
    /// One id names two keys, or one key with two windows.
    #[error("the key id {0:?} stands for two different keys or windows")]
    DuplicateId(String),
}

/// Why a receipt is not genuine.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejection {
    /// Nobody here knows the key.
    #[error("the key {key_id:?} is not known")]
    UnknownKey {
        /// The receipt's `key_id`.
        key_id: String,
    },
    /// `signature` is not an Ed25519 signature.
    #[error("malformed signature: {0}")]
    MalformedSignature(#[source] SignatureError),
    /// The signature is not the key's, or not over these members.
    #[error("the signature does not match the members and the key {key_id:?}")]
    BadSignature {
        /// The receipt's `key_id`.
        key_id: String,
    },
    /// The signature matches, but the receipt says it is from a time at which the key did not sign.
    #[error("the timestamp {} is outside the validity window of the key {key_id:?} ({window})", rfc3339(*timestamp))]
    OutsideWindow {
        /// The receipt's `key_id`.
        key_id: String,
        /// The receipt's `timestamp`.
        timestamp: DateTime<Utc>,
        /// When the key signs.
        window: Window,
    },
}

impl KeyRing {
    /// A ring whose current key is `key_id`, given by either half or both, and which publishes and trusts `others`.
    ///
    /// With neither half there is no current key, and nothing is signed. If `others` lists the current key too, as a
    /// published set does, that entry gives it its window. An entry may be repeated, as in two sets pasted together.
    ///
    /// # Errors
    ///
    /// [`KeyRingError`].
    pub fn new(
        key_id: &str,
        signing: Option<SigningKey>,
        verifying: Option<VerifyingKey>,
        others: Vec<PublicKey>,
    ) -> Result<Self, KeyRingError> {
        let derived = signing.as_ref().map(SigningKey::verifying_key);
        if let (Some(derived), Some(verifying)) = (derived, verifying)
            && derived != verifying
        {
            return Err(KeyRingError::KeysDiffer);
        }
        let mut keys = Vec::with_capacity(others.len() + 1);
        if let Some(key) = derived.or(verifying) {
            let listed = others.iter().find(|other| other.id() == key_id);
            let window = listed.map_or(Window::ALWAYS, PublicKey::window);
            keys.push(PublicKey::new(key_id, key, window).ok_or(KeyRingError::KeyId)?);
        }
        let has_current = !keys.is_empty();
        for other in others {
            match keys.iter().find(|key| key.id() == other.id()) {
                None => keys.push(other),
                Some(key) if *key == other => {}
                Some(_) => return Err(KeyRingError::DuplicateId(other.id().to_owned())),
            }
        }
        Ok(Self {
            signing,
            has_current,
            keys,
        })
    }

    /// The current key, if there is one.
    #[must_use]
    pub fn current(&self) -> Option<&PublicKey> {
        self.keys.first().filter(|_| self.has_current)
    }

    /// Whether there is a private key.
    #[must_use]
    pub fn can_sign(&self) -> bool {
        self.signing.is_some()
    }

    /// All keys, the current one first: serialised, the published set.
    #[must_use]
    pub fn public_keys(&self) -> &[PublicKey] {
        &self.keys
    }

    /// The key with an id.
    #[must_use]
    pub fn find(&self, key_id: &str) -> Option<&PublicKey> {
        self.keys.iter().find(|key| key.id() == key_id)
    }

    /// Signs with the current key, as [`sign`] does.
    ///
    /// # Errors
    ///
    /// [`SignError`], also when the timestamp is outside the current key's window.
    pub fn sign(&self, members: Map<String, Value>) -> Result<Receipt, SignError> {
        let (Some(key), Some(current)) = (&self.signing, self.current()) else {
            return Err(SignError::NoSigningKey);
        };
        let receipt = sign(members, key, current.id())?;
        if current.window().contains(receipt.timestamp()) {
            Ok(receipt)
        } else {
            Err(SignError::OutsideWindow {
                key_id: current.id().to_owned(),
            })
        }
    }

    /// Verifies a receipt: signed by a key of this ring, over exactly its members, at a time at which that key signs.
    /// Returns the key.
    ///
    /// # Errors
    ///
    /// [`Rejection`] with the reason.
    pub fn verify(&self, receipt: &Receipt) -> Result<&PublicKey, Rejection> {
        let key_id = || receipt.key_id().to_owned();
        let key = self
            .find(receipt.key_id())
            .ok_or_else(|| Rejection::UnknownKey { key_id: key_id() })?;
        let signature: Signature = receipt
            .signature()
            .parse()
            .map_err(Rejection::MalformedSignature)?;
        key.key()
            .verify(&receipt.signing_payload(), &signature)
            .map_err(|_| Rejection::BadSignature { key_id: key_id() })?;
        if key.window().contains(receipt.timestamp()) {
            Ok(key)
        } else {
            let (timestamp, window) = (receipt.timestamp(), key.window());
            Err(Rejection::OutsideWindow {
                key_id: key_id(),
                timestamp,
                window,
            })
        }
    }
}
