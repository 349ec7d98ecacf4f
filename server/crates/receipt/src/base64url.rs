//! base64url (RFC 4648 section 5), strict about everything but padding.

use base64::{DecodeError, Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use zeroize::Zeroizing;

/// Why a text is not base64url. Shows places, never the text: it may be a secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Base64UrlError {
    /// `+` or `/` after so many bytes.
    #[error("byte {0} is of the standard base64 alphabet; base64url has - and _ instead of + and /")]
    StandardAlphabet(usize),
    /// A space, tab or line end after so many bytes.
    #[error("byte {0} is white space")]
    WhiteSpace(usize),
    /// Anything else that base64url does not have, after so many bytes.
    #[error("byte {0} is not of the base64url alphabet")]
    Alphabet(usize),
    /// Padding that does not fit the length.
    #[error("the padding is not what the length needs (leave it out, or fill up to a multiple of four)")]
    Padding,
    /// A length that no whole number of bytes has, or bits left over at the end.
    #[error("the text is cut short or altered at its end")]
    Incomplete,
}

/// Writes base64url without padding.
pub(crate) fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

/// Reads base64url with or without padding.
pub(crate) fn decode(text: &str) -> Result<Zeroizing<Vec<u8>>, Base64UrlError> {
    let digits = text.trim_end_matches('=');
    let padding = text.len() - digits.len();
    if let Some(at) = digits
        .bytes()
        .position(|byte| !matches!(byte, b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_'))
    {
        return Err(match digits.as_bytes()[at] {
            b'+' | b'/' => Base64UrlError::StandardAlphabet(at),
            byte if byte.is_ascii_whitespace() => Base64UrlError::WhiteSpace(at),
            _ => Base64UrlError::Alphabet(at),
        });
    }
    if padding > 2 || (padding > 0 && !text.len().is_multiple_of(4)) {
        return Err(Base64UrlError::Padding);
    }
    match URL_SAFE_NO_PAD.decode(digits) {
        Ok(bytes) => Ok(Zeroizing::new(bytes)),
        Err(
            DecodeError::InvalidLength(_)
            | DecodeError::InvalidLastSymbol(..)
            | DecodeError::InvalidByte(..)
            | DecodeError::InvalidPadding,
        ) => Err(Base64UrlError::Incomplete),
    }
}
