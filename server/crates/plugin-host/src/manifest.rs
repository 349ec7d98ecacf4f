//! `plugin.toml`: what a plugin says of itself and what it asks for. It travels inside the component, in a custom section.

use serde::{Deserialize, Serialize};

use crate::{Inspection, LimitChanges, LoadError, component};

/// The name of the custom section that holds the manifest's text.
pub const MANIFEST_SECTION: &str = "llmring:plugin/manifest";

/// The largest manifest, in bytes.
const MAX_BYTES: usize = 64 << 10;

/// What a plugin says of itself (`plugin.toml`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Lower-case letters, digits, `-` and `_`, at most 64, a letter first.
    pub name: String,
    /// The plugin's own version, of any form.
    #[serde(default)]
    pub version: String,
    /// One sentence.
    #[serde(default)]
    pub description: String,
    /// An SPDX expression.
    #[serde(default)]
    pub license: String,
    /// What it is for.
    #[serde(default)]
    pub provides: Provides,
    /// What it wants to be granted.
    #[serde(default)]
    pub asks: Permissions,
    /// The limits it would like.
    #[serde(default)]
    pub limits: LimitChanges,
}

/// What a plugin is for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Provides {
    /// Tools, resources or prompts.
    #[serde(default)]
    pub tools: bool,
    /// The transport types it carries, as a server row's `transport_type` names them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub transport: Vec<String>,
}

/// Things that a plugin can be granted: asked for in a manifest, given in a file of grants.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permissions {
    /// Hosts it may send requests to: `api.example.com` (at the scheme's own port), `api.example.com:8443`,
    /// `*.example.com` (any name below it), `*` (any host), each with an optional `:*` for any port.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub hosts: Vec<String>,
    /// The origin of the server row's own URL.
    #[serde(default)]
    pub endpoint: bool,
    /// Keys of the server row's settings it may read; `*` means all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub configuration: Vec<String>,
}

impl Manifest {
    /// Reads the text of a `plugin.toml`.
    ///
    /// # Errors
    /// What is wrong with it, with line and column where it is not TOML.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let manifest: Self = toml::from_str(text)
            .map_err(|error| LoadError::Manifest(error.to_string().trim_end().to_owned()))?;
        if !is_name(&manifest.name) {
            return Err(LoadError::Manifest(format!(
                "the name {:?} is not one: it takes lower-case letters, digits, `-` and `_`, at most 64, a letter first",
                manifest.name
            )));
        }
        for host in &manifest.asks.hosts {
            crate::grants::HostPattern::parse(host).map_err(LoadError::Manifest)?;
        }
        Ok(manifest)
    }

    /// The manifest of a component that has none: a name and no wish.
    #[must_use]
    pub fn unnamed(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            version: String::new(),
            description: String::new(),
            license: String::new(),
            provides: Provides::default(),
            asks: Permissions::default(),
            limits: LimitChanges::default(),
        }
    }

    /// Whether the component has what its manifest says it provides.
    pub(crate) fn check(&self, inspection: &Inspection) -> Result<(), LoadError> {
        let exports = |names: &[&str]| {
            inspection
                .interfaces()
                .any(|interface| names.contains(&interface))
        };
        if self.provides.tools && !exports(&["tools", "resources", "prompts"]) {
            return Err(LoadError::Manifest(
                "it promises tools, and the component exports none".to_owned(),
            ));
        }
        if !self.provides.transport.is_empty() && !exports(&["transport"]) {
            return Err(LoadError::Manifest(
                "it promises a transport, and the component exports none".to_owned(),
            ));
        }
        Ok(())
    }

    /// Puts the manifest `text` into `component`, in the place of one that is there: what `plugin bundle` writes.
    ///
    /// # Errors
    /// The manifest or the component is malformed, or they do not belong together.
    pub fn embed(text: &str, component: &[u8]) -> Result<Vec<u8>, LoadError> {
        Self::parse(text)?.check(&component::read(component)?)?;
        if text.len() > MAX_BYTES {
            return Err(LoadError::Manifest(format!(
                "it is longer than {MAX_BYTES} bytes"
            )));
        }
        component::replace_custom_section(component, MANIFEST_SECTION, text.as_bytes())
    }

    /// The manifest in a component's custom section.
    pub(crate) fn from_section(bytes: &[u8]) -> Result<Self, LoadError> {
        if bytes.len() > MAX_BYTES {
            return Err(LoadError::Manifest(format!(
                "it is longer than {MAX_BYTES} bytes"
            )));
        }
        let text = std::str::from_utf8(bytes).map_err(|error| LoadError::Manifest(error.to_string()))?;
        Self::parse(text)
    }
}

/// Whether `name` can name a plugin: in URLs (`plugin:<name>`) and files (`<name>.toml`).
fn is_name(name: &str) -> bool {
    name.len() <= 64
        && name.starts_with(|first: char| first.is_ascii_lowercase())
        && name
            .bytes()
            .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-' || b == b'_')
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const EMPTY_COMPONENT: &[u8] = b"\0asm\x0d\0\x01\0";

    #[test]
    fn a_manifest_survives_being_bundled() {
        let text = "name = \"fetch\"\nversion = \"1.2.0\"\n[asks]\nhosts = [\"*\"]\n";
        let bundled = Manifest::embed(text, EMPTY_COMPONENT).unwrap();
        let parsed = component::read(&bundled).unwrap();
        assert_eq!(parsed.manifest.unwrap(), Manifest::parse(text).unwrap());
    }

    #[test]
    fn bundling_again_replaces_the_manifest() {
        let once = Manifest::embed("name = \"one\"", EMPTY_COMPONENT).unwrap();
        let twice = Manifest::embed("name = \"two\"", &once).unwrap();
        assert_eq!(component::read(&twice).unwrap().manifest.unwrap().name, "two");
        assert_eq!(twice.len(), once.len());
    }

    #[test]
    fn wrong_manifests_are_refused_with_the_reason() {
        for (text, reason) in [
            ("name = 1", "invalid type"),
            ("version = \"1\"", "missing field `name`"),
            ("name = \"../etc\"", "lower-case"),
            ("name = \"Fetch\"", "lower-case"),
            ("name = \"a\"\n[asks]\nsecrets = true", "unknown field"),
            (
                "name = \"a\"\n[asks]\nhosts = [\"https://a.example/\"]",
                "not a host",
            ),
        ] {
            let error = Manifest::parse(text).unwrap_err().to_string();
            assert!(error.contains(reason), "{text}: {error}");
        }
    }
}
