//! Ed25519 keys (RFC 8032).

use std::fmt;

use ed25519_dalek::{
    Signer as _,
    pkcs8::{EncodePublicKey as _, spki::der::pem::LineEnding},
};
use zeroize::Zeroizing;

use crate::{
    Signature,
    base64url::{self, Base64UrlError},
};

/// Why a text or bytes are not a key. Never shows the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// The text is not base64url.
    #[error("the key is not base64url: {0}")]
    Base64Url(#[source] Base64UrlError),
    /// A signing key of another length.
    #[error("a signing key has 32 bytes (the seed) or 64 (the seed and its public key), not {0}")]
    SigningLength(usize),
    /// A verifying key of another length.
    #[error("a verifying key has 32 bytes, not {0}")]
    VerifyingLength(usize),
    /// The second half of a 64-byte signing key is not the first half's public key.
    #[error("the two halves of the signing key do not belong together")]
    HalvesDiffer,
    /// The bytes are not a point of the curve.
    #[error("the bytes are not an Ed25519 public key")]
    NotAPoint,
    /// The point has another, canonical encoding (RFC 8032 section 5.1.3 wants that one).
    #[error("the public key is not in its canonical encoding")]
    NonCanonical,
    /// The point has low order: a signature by such a key proves nothing.
    #[error("the public key is weak (of low order)")]
    Weak,
}

/// A signature that does not belong to the key and the message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the signature does not match")]
pub struct BadSignature;

/// A private key. Zeroised when dropped, and never shown by `Debug`.
#[derive(Clone)]
pub struct SigningKey(ed25519_dalek::SigningKey);

impl SigningKey {
    /// The key of a 32-byte seed (RFC 8032 section 5.1.5): fresh random bytes make a fresh key.
    #[must_use]
    pub fn from_seed(seed: &[u8; 32]) -> Self {
        Self(ed25519_dalek::SigningKey::from_bytes(seed))
    }

    /// Reads base64url, with or without padding, of the 32-byte seed, or of the seed followed by its public key.
    ///
    /// # Errors
    ///
    /// [`KeyError`] with the reason, for everything else.
    pub fn from_base64url(text: &str) -> Result<Self, KeyError> {
        let bytes = base64url::decode(text).map_err(KeyError::Base64Url)?;
        let (seed, public) = match bytes.len() {
            32 => (&bytes[..], None),
            64 => (&bytes[..32], Some(&bytes[32..])),
            length => return Err(KeyError::SigningLength(length)),
        };
        let seed: &[u8; 32] = seed
            .try_into()
            .map_err(|_| KeyError::SigningLength(bytes.len()))?;
        let key = Self::from_seed(seed);
        match public {
            Some(public) if key.verifying_key().as_bytes() != public => Err(KeyError::HalvesDiffer),
            Some(_) | None => Ok(key),
        }
    }

    /// The seed as base64url without padding, 43 characters.
    #[must_use]
    pub fn to_base64url(&self) -> Zeroizing<String> {
        Zeroizing::new(base64url::encode(self.0.as_bytes()))
    }

    /// The public key that belongs to it.
    #[must_use]
    pub fn verifying_key(&self) -> VerifyingKey {
        VerifyingKey(self.0.verifying_key())
    }

    /// Signs a message. The same message has the same signature always.
    #[must_use]
    pub fn sign(&self, message: &[u8]) -> Signature {
        Signature(self.0.sign(message))
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("SigningKey").field(&"redacted").finish()
    }
}

/// A public key: canonical, and not weak.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct VerifyingKey(ed25519_dalek::VerifyingKey);

impl VerifyingKey {
    /// Reads the 32 bytes of RFC 8032.
    ///
    /// # Errors
    ///
    /// [`KeyError::NonCanonical`], [`KeyError::NotAPoint`] or [`KeyError::Weak`].
    pub fn from_bytes(bytes: &[u8; 32]) -> Result<Self, KeyError> {
        if !is_canonical(bytes) {
            return Err(KeyError::NonCanonical);
        }
        let key = ed25519_dalek::VerifyingKey::from_bytes(bytes).map_err(|_| KeyError::NotAPoint)?;
        if key.is_weak() {
            Err(KeyError::Weak)
        } else {
            Ok(Self(key))
        }
    }

    /// Reads base64url, with or without padding, of the 32 bytes.
    ///
    /// # Errors
    ///
    /// [`KeyError`] with the reason, for everything else.
    pub fn from_base64url(text: &str) -> Result<Self, KeyError> {
        let bytes = base64url::decode(text).map_err(KeyError::Base64Url)?;
        let bytes: &[u8; 32] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| KeyError::VerifyingLength(bytes.len()))?;
        Self::from_bytes(bytes)
    }

    /// The 32 bytes of RFC 8032.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        self.0.as_bytes()
    }

    /// base64url without padding, 43 characters.
    #[must_use]
    pub fn to_base64url(&self) -> String {
        base64url::encode(self.as_bytes())
    }

    /// SubjectPublicKeyInfo as PEM (RFC 8410, RFC 7468), lines ended by LF.
    #[must_use]
    pub fn to_pem(&self) -> String {
        self.0
            .to_public_key_pem(LineEnding::LF)
            .expect("32 bytes always have a DER form")
    }

    /// Verifies strictly: a signature that is malleable or made for a weak point does not pass.
    ///
    /// # Errors
    ///
    /// [`BadSignature`].
    pub fn verify(&self, message: &[u8], signature: &Signature) -> Result<(), BadSignature> {
        self.0
            .verify_strict(message, &signature.0)
            .map_err(|_| BadSignature)
    }
}

impl fmt::Debug for VerifyingKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("VerifyingKey").field(&self.to_base64url()).finish()
    }
}

/// Whether the y coordinate, little-endian below the sign bit, is less than p = 2^255 - 19. (The other non-canonical
/// encodings, x = 0 with a sign, are of weak points.)
fn is_canonical(bytes: &[u8; 32]) -> bool {
    let top_is_full = bytes[31] & 0x7f == 0x7f && bytes[1..31].iter().all(|byte| *byte == 0xff);
    !(top_is_full && bytes[0] >= 0xed)
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

    use super::*;

    // RFC 8032 section 7.1, test 2.
    const SEED: &str = "4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb";
    const PUBLIC: &str = "3d4017c3e843895a92b70aa74d1b7ebc9c982ccf2ec4968cc0cd55f12af4660c";
    const SIGNATURE: &str = "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da\
                             085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00";

    fn bytes32(text: &str) -> [u8; 32] {
        hex::decode(text).unwrap().try_into().unwrap()
    }

    #[test]
    fn signs_as_rfc_8032_does() {
        let key = SigningKey::from_seed(&bytes32(SEED));
        assert_eq!(hex::encode(key.verifying_key().as_bytes()), PUBLIC);
        let signature = key.sign(b"\x72");
        assert_eq!(hex::encode(signature.0.to_bytes()), SIGNATURE);
        assert_eq!(key.verifying_key().verify(b"\x72", &signature), Ok(()));
        assert_eq!(key.verifying_key().verify(b"\x73", &signature), Err(BadSignature));
    }

    #[test]
    fn a_signing_key_reads_with_and_without_padding_and_nothing_else() {
        let key = SigningKey::from_seed(&bytes32(SEED));
        let text = key.to_base64url();
        let both = base64url::encode(&hex::decode(format!("{SEED}{PUBLIC}")).unwrap());
        for accepted in [
            text.to_string(),
            format!("{}=", *text),
            both.clone(),
            format!("{both}=="),
        ] {
            assert_eq!(
                SigningKey::from_base64url(&accepted).unwrap().verifying_key(),
                key.verifying_key()
            );
        }

        let refused = |text: &str| SigningKey::from_base64url(text).unwrap_err();
        assert_eq!(refused(""), KeyError::SigningLength(0));
        assert_eq!(refused("AAAA"), KeyError::SigningLength(3));
        assert_eq!(
            refused(&format!("{}==", *text)),
            KeyError::Base64Url(Base64UrlError::Padding)
        );
        assert_eq!(
            refused(&format!("{both}=")),
            KeyError::Base64Url(Base64UrlError::Padding)
        );
        assert_eq!(
            refused(&format!("{}\n", *text)),
            KeyError::Base64Url(Base64UrlError::WhiteSpace(43))
        );
        assert_eq!(
            refused(&format!(" {}", *text)),
            KeyError::Base64Url(Base64UrlError::WhiteSpace(0))
        );
        assert_eq!(
            refused(&format!("+{}", &text[1..])),
            KeyError::Base64Url(Base64UrlError::StandardAlphabet(0))
        );
        assert_eq!(
            refused(&format!("é{}", &text[2..])),
            KeyError::Base64Url(Base64UrlError::Alphabet(0))
        );
        assert_eq!(refused(&base64url::encode(&[7; 31])), KeyError::SigningLength(31));
        assert_eq!(
            refused(&text[..41]),
            KeyError::Base64Url(Base64UrlError::Incomplete)
        );
        assert_eq!(
            refused(&format!("{}_", &text[..42])),
            KeyError::Base64Url(Base64UrlError::Incomplete)
        );
        let wrong = base64url::encode(&hex::decode(format!("{SEED}{SEED}")).unwrap());
        assert_eq!(refused(&wrong), KeyError::HalvesDiffer);
    }

    #[test]
    fn debug_and_errors_do_not_show_the_secret() {
        let key = SigningKey::from_seed(&bytes32(SEED));
        assert_eq!(format!("{key:?}"), r#"SigningKey("redacted")"#);
        let text = key.to_base64url();
        let error = SigningKey::from_base64url(&format!("{}!", *text)).unwrap_err();
        assert!(!format!("{error:?} {error}").contains(&text[..8]));
    }

    #[test]
    fn weak_and_non_canonical_public_keys_are_refused() {
        let refused = |text: &str| VerifyingKey::from_bytes(&bytes32(text)).unwrap_err();
        // The eight points of low order in their canonical encodings: order 1, 2, 4, 4, 8, 8, 8, 8.
        for weak in [
            "0100000000000000000000000000000000000000000000000000000000000000",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
            "0000000000000000000000000000000000000000000000000000000000000000",
            "0000000000000000000000000000000000000000000000000000000000000080",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
            "26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
            "c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
            // x = 0 with a sign bit.
            "0100000000000000000000000000000000000000000000000000000000000080",
            "ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
        ] {
            assert_eq!(refused(weak), KeyError::Weak, "{weak}");
        }
        for y in 0xed..=0xffu8 {
            for top in ["7f", "ff"] {
                assert_eq!(
                    refused(&format!("{y:02x}{}{top}", "ff".repeat(30))),
                    KeyError::NonCanonical,
                    "{y:x} {top}"
                );
            }
        }
        assert_eq!(refused(&format!("02{}", "00".repeat(31))), KeyError::NotAPoint);
        assert_eq!(
            VerifyingKey::from_base64url("AAAA").unwrap_err(),
            KeyError::VerifyingLength(3)
        );
    }

    #[test]
    fn pem_is_subject_public_key_info() {
        // RFC 8410 section 10.1.
        let key = VerifyingKey::from_base64url("Gb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE").unwrap();
        assert_eq!(
            key.to_pem(),
            "-----BEGIN PUBLIC KEY-----\n\
             MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE=\n\
             -----END PUBLIC KEY-----\n"
        );
    }
}
