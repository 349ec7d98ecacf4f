//! Encodings.

use base64::{
    Engine as _, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use llmring_plugin_sdk::{Error, Result};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, percent_encode};
use schemars::JsonSchema;
use serde::Deserialize;

/// A way to write bytes as text.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Encoding {
    /// RFC 4648, section 4, with padding.
    Base64,
    /// RFC 4648, section 5, without padding.
    Base64url,
    /// RFC 4648, section 8, in lower case.
    Hex,
    /// RFC 3986, section 2.1: everything but unreserved characters.
    Percent,
}

/// Padding is read whether it is there or not.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const BASE64: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const BASE64URL: GeneralPurpose =
    GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT.with_encode_padding(false));

/// All but the unreserved characters of RFC 3986.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

pub(crate) fn encode(bytes: &[u8], encoding: Encoding) -> String {
    match encoding {
        Encoding::Base64 => BASE64.encode(bytes),
        Encoding::Base64url => BASE64URL.encode(bytes),
        Encoding::Hex => hex::encode(bytes),
        Encoding::Percent => percent_encode(bytes, RESERVED).to_string(),
    }
}

/// The bytes that the argument `text` encodes.
pub(crate) fn decode(text: &str, encoding: Encoding) -> Result<Vec<u8>> {
    match encoding {
        Encoding::Base64 => BASE64.decode(text).map_err(|error| Error::invalid("text", error)),
        Encoding::Base64url => BASE64URL
            .decode(text)
            .map_err(|error| Error::invalid("text", error)),
        Encoding::Hex => hex::decode(text).map_err(|error| Error::invalid("text", error)),
        Encoding::Percent => Ok(percent_decode_str(text).collect()),
    }
}

pub(crate) fn decode_text(text: &str, encoding: Encoding) -> Result<String> {
    String::from_utf8(decode(text, encoding)?).map_err(|error| {
        Error::failed(format_args!(
            "what it decodes to is no text: {}",
            error.utf8_error()
        ))
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn texts_survive_every_encoding() {
        let text = "Åse: 100 % ~ \"a/b\"?>\n";
        for (encoding, encoded) in [
            (Encoding::Base64, "w4VzZTogMTAwICUgfiAiYS9iIj8+Cg=="),
            (Encoding::Base64url, "w4VzZTogMTAwICUgfiAiYS9iIj8-Cg"),
            (Encoding::Hex, "c38573653a203130302025207e2022612f62223f3e0a"),
            (
                Encoding::Percent,
                "%C3%85se%3A%20100%20%25%20~%20%22a%2Fb%22%3F%3E%0A",
            ),
        ] {
            assert_eq!(encode(text.as_bytes(), encoding), encoded);
            assert_eq!(decode_text(encoded, encoding).unwrap(), text);
        }
        assert_eq!(decode_text("w4VzZQ", Encoding::Base64).unwrap(), "Åse");
    }

    #[test]
    fn what_is_no_encoding_is_refused() {
        for (text, encoding) in [
            ("a?", Encoding::Base64),
            ("ab+/", Encoding::Base64url),
            ("abc", Encoding::Hex),
        ] {
            assert!(
                matches!(decode(text, encoding).unwrap_err(), Error::InvalidArgument { path, .. } if path == "/text"),
                "{text}"
            );
        }
        assert!(matches!(
            decode_text("%FF", Encoding::Percent).unwrap_err(),
            Error::Failed(_)
        ));
    }
}
