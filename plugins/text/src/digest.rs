//! Hashes.

use llmring_plugin_sdk::Result;
use schemars::JsonSchema;
use serde::Deserialize;
use sha2::Digest;

use crate::code::{self, Encoding};

/// A hash function. `md5` and `sha1` are broken: good for comparing, not for security.
#[derive(Clone, Copy, Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
#[schemars(inline)]
pub(crate) enum Algorithm {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
    Blake3,
}

pub(crate) fn of(text: &str, algorithm: Algorithm, encoding: Option<Encoding>) -> Result<String> {
    let bytes = match encoding {
        Some(encoding) => code::decode(text, encoding)?,
        None => text.as_bytes().to_vec(),
    };
    Ok(match algorithm {
        Algorithm::Md5 => hex::encode(md5::Md5::digest(&bytes)),
        Algorithm::Sha1 => hex::encode(sha1::Sha1::digest(&bytes)),
        Algorithm::Sha256 => hex::encode(sha2::Sha256::digest(&bytes)),
        Algorithm::Sha384 => hex::encode(sha2::Sha384::digest(&bytes)),
        Algorithm::Sha512 => hex::encode(sha2::Sha512::digest(&bytes)),
        Algorithm::Blake3 => blake3::hash(&bytes).to_hex().to_string(),
    })
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    /// The published digests of `abc`.
    #[test]
    fn digests_are_the_published_ones() {
        for (algorithm, digest) in [
            (Algorithm::Md5, "900150983cd24fb0d6963f7d28e17f72"),
            (Algorithm::Sha1, "a9993e364706816aba3e25717850c26c9cd0d89d"),
            (
                Algorithm::Sha256,
                "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            ),
            (
                Algorithm::Sha384,
                "cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7",
            ),
            (
                Algorithm::Sha512,
                "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f",
            ),
            (
                Algorithm::Blake3,
                "6437b3ac38465133ffb63b75273a8db548c558465d79db03fd359c6cd5bd9d85",
            ),
        ] {
            assert_eq!(of("abc", algorithm, None).unwrap(), digest, "{algorithm:?}");
            assert_eq!(
                of("616263", algorithm, Some(Encoding::Hex)).unwrap(),
                digest,
                "{algorithm:?}"
            );
        }
    }
}
