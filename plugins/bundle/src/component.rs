//! The outside of components.

use std::collections::BTreeSet;

use wasm_encoder::{CustomSection, Section as _};
use wasmparser::{Encoding, Parser, Payload};

use crate::{MANIFEST, Result, SOURCES};

/// What a component says of itself.
#[derive(Debug, Default)]
pub(crate) struct Component {
    exports: BTreeSet<String>,
    imports: BTreeSet<String>,
    pub(crate) manifest: Vec<u8>,
    pub(crate) sources: Vec<u8>,
}

impl Component {
    pub(crate) fn read(bytes: &[u8]) -> Result<Self> {
        let mut component = Self::default();
        let mut depth = 0_u32;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::Version {
                    encoding: Encoding::Module,
                    ..
                } if depth == 0 => {
                    return Err("it is a core module, not a component".into());
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        component.exports.insert(export?.name.name.to_owned());
                    }
                }
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        component.imports.insert(import?.name.name.to_owned());
                    }
                }
                Payload::CustomSection(section) if depth == 0 && section.name() == MANIFEST => {
                    component.manifest = section.data().to_vec();
                }
                Payload::CustomSection(section) if depth == 0 && section.name() == SOURCES => {
                    component.sources = section.data().to_vec();
                }
                _ => {}
            }
        }
        if component.exports().is_empty() {
            return Err("it exports nothing of llmring:plugin".into());
        }
        Ok(component)
    }

    /// The interfaces of `llmring:plugin` that it exports.
    pub(crate) fn exports(&self) -> Vec<&str> {
        let ours = self
            .exports
            .iter()
            .filter_map(|export| export.strip_prefix("llmring:plugin/"));
        ours.collect()
    }

    /// The interfaces that it imports, without versions of WASI: those are the toolchain's.
    pub(crate) fn imports(&self) -> BTreeSet<&str> {
        let names = self.imports.iter().map(|import| match import.split_once('@') {
            Some((name, _)) if name.starts_with("wasi:") => name,
            _ => import,
        });
        // The standard library's own needs differ from one toolchain to another.
        names
            .filter(|name| !name.starts_with("wasi:cli/") && !name.starts_with("wasi:filesystem/"))
            .collect()
    }
}

/// `component` with these custom sections at its end.
pub(crate) fn with_sections(mut component: Vec<u8>, sections: &[(&str, &[u8])]) -> Vec<u8> {
    for &(name, content) in sections {
        let section = CustomSection {
            name: name.into(),
            data: content.into(),
        };
        section.append_to(&mut component);
    }
    component
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use wasm_encoder::{ComponentExportKind, ComponentExportSection, ComponentInstanceSection};

    use super::*;

    fn component(interface: &str) -> Vec<u8> {
        let mut instances = ComponentInstanceSection::new();
        instances.export_items(Vec::<(&str, ComponentExportKind, u32)>::new());
        let mut exports = ComponentExportSection::new();
        exports.export(interface, ComponentExportKind::Instance, 0, None);
        let mut component = wasm_encoder::Component::new();
        component.section(&instances).section(&exports);
        component.finish()
    }

    #[test]
    fn sections_are_found_again() {
        let bundled = with_sections(
            component("llmring:plugin/tools@0.1.0"),
            &[(MANIFEST, b"name"), (SOURCES, b"digest")],
        );
        let read = Component::read(&bundled).unwrap();
        assert_eq!(
            (&read.manifest[..], &read.sources[..]),
            (&b"name"[..], &b"digest"[..])
        );
        assert_eq!(read.exports(), ["tools@0.1.0"]);
    }

    #[test]
    fn what_is_no_plugin_is_refused() {
        assert!(Component::read(&component("other:package/tools@0.1.0")).is_err());
        assert!(Component::read(&wasm_encoder::Module::new().finish()).is_err());
        assert!(Component::read(b"\0asm").is_err());
    }
}
