//! What servers offer: tools, resources, resource templates, prompts, as rows with stable ids, digests and versions.
//!
//! Definitions come from a server itself (`Discovery`) or from a client that looked there (a report). Both are
//! read by the same rules (`read`) and stored by the same code (`store`); they differ in what an absent member means.

mod diff;
mod read;
mod store;

use serde_json::{Map, Value};
use sha2::{Digest, Sha256};
use uuid::Uuid;

pub use diff::{Difference, Operation, difference};
pub use read::{ReportedLists, ToolReport};
pub use store::Refreshed;

/// The four kinds of definitions.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// MCP `Tool`.
    Tool,
    /// MCP `Resource`.
    Resource,
    /// MCP `ResourceTemplate`.
    ResourceTemplate,
    /// MCP `Prompt`.
    Prompt,
}

impl Kind {
    /// As the wire says it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Tool => "tool",
            Self::Resource => "resource",
            Self::ResourceTemplate => "resource_template",
            Self::Prompt => "prompt",
        }
    }

    /// The list in which it is reported.
    fn list(self) -> &'static str {
        match self {
            Self::Tool => "tools",
            Self::Resource => "resources",
            Self::ResourceTemplate => "resource_templates",
            Self::Prompt => "prompts",
        }
    }
}

/// Who says what a server offers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// The server itself: what is absent is not there.
    Server,
    /// A client, which may not know every member: what is absent stays as it is.
    Client,
}

impl Source {
    /// What a member is from now on.
    fn member<T>(self, before: Option<T>, said: Option<T>) -> Option<T> {
        match self {
            Self::Server => said,
            Self::Client => said.or(before),
        }
    }
}

/// What a refresh did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Changes {
    /// New, or there again.
    pub added: Vec<Change>,
    /// No longer offered.
    pub removed: Vec<Change>,
    /// Of another digest than before.
    pub changed: Vec<Change>,
}

/// One definition that a refresh added, removed or changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// What it is.
    pub kind: Kind,
    /// Its row.
    pub id: Uuid,
    /// A tool's or prompt's name, a resource's URI, a template's URI template.
    pub name: String,
    /// Of the definition as it is now; of a removed one as it was.
    pub digest: String,
    /// What it was, when it changed.
    pub previous_digest: Option<String>,
}

/// A definition that a server sent and that cannot be kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Skipped {
    /// What it should have been.
    pub kind: Kind,
    /// Its place in the server's list, from 0.
    pub position: usize,
    /// Why it is not kept.
    pub reason: String,
}

/// SHA-256, hexadecimal, of the RFC 8785 form of these members, absent ones left out.
///
/// JSON has values without such a form, such as integers beyond 2⁵³ (a schema's `maximum` can be one). Those are hashed as plain JSON with
/// sorted member names; no text is both.
pub(super) fn digest<'a>(members: impl IntoIterator<Item = (&'a str, Option<Value>)>) -> String {
    let members: Map<String, Value> = members
        .into_iter()
        .filter_map(|(name, value)| Some((name.to_owned(), value?)))
        .collect();
    let value = Value::Object(members);
    let text = receipt::canonical::of_value(&value).unwrap_or_else(|_| value.to_string().into_bytes());
    hex::encode(Sha256::digest(text))
}

/// Stored JSON, as a value. The server wrote it; what does not read back is shown as the text that it is.
pub(super) fn stored(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| Value::from(text))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_digest_depends_on_meaning_alone() {
        let of = |text: &str| {
            digest([
                ("inputSchema", serde_json::from_str(text).ok()),
                ("annotations", None),
            ])
        };
        assert_eq!(of(r#"{"a": 1, "b": 2}"#), of(r#"{"b":2.0,"a":1e0}"#));
        assert_ne!(of(r#"{"a": 1}"#), of(r#"{"a": 2}"#));
        // SHA-256 of {"inputSchema":{}}, computed with coreutils.
        assert_eq!(
            of("{}"),
            "76a8a0f44c6d5198bcca60613ef4627bbbb1d5f64ee831b2078c468d900ebe97"
        );
    }

    #[test]
    fn what_has_no_canonical_form_has_a_digest() {
        let of = |maximum: u64| digest([("inputSchema", Some(json!({"maximum": maximum, "b": 1})))]);
        assert_ne!(of(u64::MAX), of(u64::MAX - 1), "a double holds neither");
        assert_eq!(of(u64::MAX), of(u64::MAX));
    }
}
