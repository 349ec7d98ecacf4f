//! Reading a component's outside: what it imports, exports and carries in custom sections, without compiling it.

use std::ops::Range;

use sha2::{Digest as _, Sha256};
use wasmparser::{Encoding, Parser, Payload};

use crate::{LoadError, Manifest, manifest::MANIFEST_SECTION};

/// The versions of `llmring:plugin` that this host speaks, oldest first.
pub const SUPPORTED_VERSIONS: &[&str] = &["0.1.0"];

/// The name of the custom section in which the SDK says which version of `llmring:plugin` it was made for.
pub const VERSION_SECTION: &str = "llmring:plugin/version";

const PACKAGE: &str = "llmring:plugin/";
const INTERFACES: [&str; 4] = ["tools", "resources", "prompts", "transport"];

/// What can be read of a component without compiling it.
#[derive(Clone, Debug)]
pub struct Inspection {
    /// The SHA-256 of the component, in hexadecimal.
    pub digest: String,
    /// The names of its imports, in the order they are in.
    pub imports: Vec<String>,
    /// The names of its exports.
    pub exports: Vec<String>,
    /// The version of `llmring:plugin` in the names of its imports and exports.
    pub version: Option<String>,
    /// The version that the SDK stamped on it.
    pub stamped_version: Option<String>,
    /// Its manifest, when it was bundled with one.
    pub manifest: Option<Manifest>,
}

/// Reads what can be read of a component without compiling it. A component of another world can be inspected too.
///
/// # Errors
/// The bytes are no component, or its manifest is malformed.
pub fn inspect(component: &[u8]) -> Result<Inspection, LoadError> {
    read(component)
}

impl Inspection {
    /// Which of `tools`, `resources`, `prompts` and `transport` it exports.
    pub fn interfaces(&self) -> impl Iterator<Item = &str> {
        self.exports
            .iter()
            .filter_map(|export| export.strip_prefix(PACKAGE)?.split('@').next())
            .filter(|interface| INTERFACES.contains(interface))
    }

    /// Whether this host speaks the component's language.
    pub(crate) fn check(&self) -> Result<(), LoadError> {
        for version in self.version.iter().chain(&self.stamped_version) {
            if !SUPPORTED_VERSIONS.contains(&version.as_str()) {
                return Err(LoadError::Version {
                    plugin: version.clone(),
                    supported: SUPPORTED_VERSIONS,
                });
            }
        }
        if self.interfaces().next().is_none() {
            return Err(LoadError::ForeignWorld {
                exports: self.exports.clone(),
            });
        }
        Ok(())
    }
}

pub(crate) fn read(component: &[u8]) -> Result<Inspection, LoadError> {
    let mut inspection = Inspection {
        digest: hex::encode(Sha256::digest(component)),
        imports: Vec::new(),
        exports: Vec::new(),
        version: None,
        stamped_version: None,
        manifest: None,
    };
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        let payload = payload.map_err(malformed)?;
        match payload {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(LoadError::Malformed(
                    "it is a core module; build it for the target wasm32-wasip2".to_owned(),
                ));
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::ComponentImportSection(imports) if depth == 0 => {
                for import in imports {
                    inspection
                        .imports
                        .push(import.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::ComponentExportSection(exports) if depth == 0 => {
                for export in exports {
                    inspection
                        .exports
                        .push(export.map_err(malformed)?.name.name.to_owned());
                }
            }
            Payload::CustomSection(section) => {
                // The stamp is in the core module that the SDK was linked into; a manifest belongs to the whole.
                if depth == 0 && section.name() == MANIFEST_SECTION {
                    if inspection.manifest.is_some() {
                        return Err(LoadError::Manifest("the component has two".to_owned()));
                    }
                    inspection.manifest = Some(Manifest::from_section(section.data())?);
                } else if section.name() == VERSION_SECTION {
                    inspection.stamped_version = Some(String::from_utf8_lossy(section.data()).into_owned());
                }
            }
            _ => {}
        }
    }
    inspection.version = inspection
        .exports
        .iter()
        .chain(&inspection.imports)
        .find_map(|name| Some(name.strip_prefix(PACKAGE)?.split_once('@')?.1.to_owned()));
    Ok(inspection)
}

/// `component` with one custom section of that name, at its end.
pub(crate) fn replace_custom_section(
    component: &[u8],
    name: &str,
    content: &[u8],
) -> Result<Vec<u8>, LoadError> {
    let mut result = Vec::with_capacity(component.len() + name.len() + content.len() + 16);
    let mut copied = 0;
    for section in custom_sections(component, name)? {
        result.extend_from_slice(&component[copied..section.start]);
        copied = section.end;
    }
    result.extend_from_slice(&component[copied..]);

    let mut body = Vec::new();
    leb128(&mut body, name.len());
    body.extend_from_slice(name.as_bytes());
    body.extend_from_slice(content);
    result.push(0);
    leb128(&mut result, body.len());
    result.extend_from_slice(&body);
    Ok(result)
}

/// Where the whole sections (identifier and length included) of that name are, outside nested modules.
fn custom_sections(component: &[u8], name: &str) -> Result<Vec<Range<usize>>, LoadError> {
    let mut sections = Vec::new();
    let mut depth = 0_u32;
    for payload in Parser::new(0).parse_all(component) {
        match payload.map_err(malformed)? {
            Payload::Version {
                encoding: Encoding::Module,
                ..
            } if depth == 0 => {
                return Err(LoadError::Malformed(
                    "it is a core module; build it for the target wasm32-wasip2".to_owned(),
                ));
            }
            Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
            Payload::End(_) => depth = depth.saturating_sub(1),
            Payload::CustomSection(section) if depth == 0 && section.name() == name => {
                // The range is that of name and content; the length before it has as few bytes as it needs, or is
                // padded by some tools, so it is found by reading back to the section's identifier, which is zero.
                let range = section.range();
                let start = section_start(component, &range)
                    .ok_or_else(|| LoadError::Malformed("a custom section has no header".to_owned()))?;
                sections.push(start..range.end);
            }
            _ => {}
        }
    }
    Ok(sections)
}

/// Where the section begins whose content is `content`: an identifier of zero and the content's length as LEB128 come
/// before it.
fn section_start(component: &[u8], content: &Range<usize>) -> Option<usize> {
    (1..=5_usize).find_map(|digits| {
        let header = content.start.checked_sub(digits + 1)?;
        let encoded = component.get(header + 1..content.start)?;
        let mut length = 0_usize;
        for (index, byte) in encoded.iter().enumerate() {
            if (byte & 0x80 != 0) != (index + 1 < digits) {
                return None;
            }
            length |= usize::from(byte & 0x7f) << (7 * index);
        }
        (component[header] == 0 && length == content.len()).then_some(header)
    })
}

fn leb128(bytes: &mut Vec<u8>, mut value: usize) {
    loop {
        let digit = u8::try_from(value & 0x7f).unwrap_or_default();
        value >>= 7;
        if value == 0 {
            return bytes.push(digit);
        }
        bytes.push(digit | 0x80);
    }
}

fn malformed(error: wasmparser::BinaryReaderError) -> LoadError {
    LoadError::Malformed(error.to_string())
}
