//! Receipts that anybody can verify: strict JSON, RFC 8785, Ed25519, and nothing else.
//!
//! A receipt is a JSON object. Its signature covers the RFC 8785 form of exactly the members that travel, without
//! `signature` itself, and its text is kept as it came. No clock, no randomness, no I/O: time and random bytes are
//! passed in. What this crate signs, it accepts, and so does any RFC 8785 and Ed25519 implementation.
//!
//! To verify: [`Receipt::from_slice`], then [`KeyRing::verify`]. To issue: [`UnsignedReceipt`] or any JSON object,
//! then [`KeyRing::sign`].

/// Reads JSON and refuses what two readers could understand differently.
pub mod json;

/// Writes the RFC 8785 form of a JSON value.
pub mod canonical;

/// Reads base64url and says what is wrong with it.
mod base64url;

/// The text of a signature, `ed25519:<base64url>`.
mod signature;

/// Ed25519 keys: signing, strict verification, base64url and PEM.
mod keys;

/// Public keys as they are published: JWK, key id and validity window.
mod jwk;

/// A signed receipt: its text, its members, and what they must look like.
mod receipt;

/// What a receipt says before it is signed, and signing.
mod issue;

/// The keys a server signs with and trusts.
mod key_ring;

pub use base64url::Base64UrlError;
pub use issue::{BatchShare, BatchSummary, Cost, ReceiptType, SignError, Tokens, UnsignedReceipt, sign};
pub use json::JsonError;
pub use jwk::{JwkProblem, KeySetError, PublicKey, Window, WindowError, read_key_set};
pub use key_ring::{KeyRing, KeyRingError, Rejection};
pub use keys::{BadSignature, KeyError, SigningKey, VerifyingKey};
pub use receipt::{Receipt, ReceiptError, StructureError, StructureProblem, parse_instant};
pub use signature::{Signature, SignatureError};
