//! The text of a signature.

use std::{fmt, str::FromStr};

use crate::base64url::{self, Base64UrlError};

const ALGORITHM: &str = "ed25519";

/// An Ed25519 signature (RFC 8032). As text: `ed25519:` and 86 characters of base64url without padding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Signature(pub(crate) ed25519_dalek::Signature);

/// Why a text is not a signature.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    /// There is no `algorithm:` in front.
    #[error("a signature begins with `ed25519:`")]
    NoAlgorithm,
    /// The algorithm is another one.
    #[error("the algorithm is not ed25519")]
    OtherAlgorithm,
    /// The rest is not base64url.
    #[error("the signature is not base64url: {0}")]
    Base64Url(#[source] Base64UrlError),
    /// The rest is padded, which a signature's text never is.
    #[error("the signature is padded with `=`")]
    Padded,
    /// The rest does not hold 64 bytes.
    #[error("a signature has 64 bytes, not {0}")]
    Length(usize),
}

impl FromStr for Signature {
    type Err = SignatureError;

    fn from_str(text: &str) -> Result<Self, SignatureError> {
        let (algorithm, encoded) = text.split_once(':').ok_or(SignatureError::NoAlgorithm)?;
        if algorithm != ALGORITHM {
            return Err(SignatureError::OtherAlgorithm);
        }
        if encoded.ends_with('=') {
            return Err(SignatureError::Padded);
        }
        let bytes = base64url::decode(encoded).map_err(SignatureError::Base64Url)?;
        let bytes: &[u8; 64] = bytes
            .as_slice()
            .try_into()
            .map_err(|_| SignatureError::Length(bytes.len()))?;
        Ok(Self(ed25519_dalek::Signature::from_bytes(bytes)))
    }
}

impl fmt::Display for Signature {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{ALGORITHM}:{}", base64url::encode(&self.0.to_bytes()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_reading() {
        let text = format!("ed25519:{}", "A".repeat(86));
        assert_eq!(
            text.parse::<Signature>().map(|signature| signature.to_string()),
            Ok(text.clone())
        );

        let refused = |text: &str| text.parse::<Signature>().expect_err("not a signature");
        assert_eq!(refused(""), SignatureError::NoAlgorithm);
        assert_eq!(refused(&"A".repeat(86)), SignatureError::NoAlgorithm);
        assert_eq!(
            refused(&text.replace("ed25519", "rs256")),
            SignatureError::OtherAlgorithm
        );
        assert_eq!(
            refused(&text.replace("ed25519", "Ed25519")),
            SignatureError::OtherAlgorithm
        );
        assert_eq!(refused(&format!("{text}==")), SignatureError::Padded);
        assert_eq!(refused("ed25519:"), SignatureError::Length(0));
        assert_eq!(refused("ed25519:AAAA"), SignatureError::Length(3));
        assert_eq!(
            refused(&format!("ed25519:+{}", "A".repeat(85))),
            SignatureError::Base64Url(Base64UrlError::StandardAlphabet(0))
        );
        // The last of 86 characters holds four unused bits: were they free, one signature would have 16 texts.
        assert_eq!(
            refused(&format!("ed25519:{}B", "A".repeat(85))),
            SignatureError::Base64Url(Base64UrlError::Incomplete)
        );
    }
}
