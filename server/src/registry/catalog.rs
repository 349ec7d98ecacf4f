//! The providers' files together: what prices are looked up in, and the document that clients read.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, SecondsFormat, Utc};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use sha2::{Digest, Sha256};

use super::provider_file::{FileVersion, Model, ProviderFile};
use super::well_known;

/// Hexadecimal digits of the content's digest that a version shows.
const VERSION_DIGITS: usize = 12;
/// Capabilities that may be asked for even when no model mentions them.
const NAMED_CAPABILITIES: [&str; 4] = ["vision", "function_calling", "json_mode", "parallel_tool_calls"];

/// Some providers' files at one moment. It never changes.
#[derive(Debug)]
pub struct Catalog {
    files: BTreeMap<String, Arc<ProviderFile>>,
    version: String,
    generated_at: Option<DateTime<Utc>>,
    document: Document,
}

/// The JSON text of a catalog, or of a part of it.
#[derive(Clone, Debug)]
pub struct Document {
    /// `{"version","generated_at","models","providers"}`.
    pub body: Bytes,
    /// The strong entity tag of `body` (RFC 9110 section 8.8.3), quotes included.
    pub etag: String,
}

/// Which part of a catalog is wanted. Everything, by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Only these providers; empty means all. Unknown ones have no models.
    pub providers: Vec<String>,
    /// Only models that have all of these, with or without `supports_` in front.
    pub capabilities: Vec<String>,
}

impl Filter {
    /// The filter of two lists separated by commas. Empty items are nothing.
    pub fn from_lists(providers: Option<&str>, capabilities: Option<&str>) -> Self {
        let items = |list: Option<&str>| {
            list.unwrap_or_default()
                .split(',')
                .map(str::trim)
                .filter(|item| !item.is_empty())
                .map(str::to_owned)
                .collect()
        };
        Self {
            providers: items(providers),
            capabilities: items(capabilities),
        }
    }
}

/// No model of the catalog says whether it has this capability.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("has the unknown capability {name:?}, known are {}", .known.join(", "))]
pub struct UnknownCapability {
    /// As asked for.
    pub name: String,
    /// What can be asked for, in alphabetical order.
    pub known: Vec<String>,
}

/// When a catalog says it was made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dating {
    /// When the newest of its files was fetched for the first time.
    Fetched,
    /// When the newest of its files was made, as the files say: the same at every fetch.
    Updated,
}

impl Catalog {
    /// The catalog of these files; of several of one provider, the last.
    pub(crate) fn new(files: impl IntoIterator<Item = Arc<ProviderFile>>, dating: Dating) -> Self {
        let files: BTreeMap<_, _> = files
            .into_iter()
            .map(|file| (file.provider().to_owned(), file))
            .collect();
        let version = version(&files);
        let fetched_at = files.values().map(|file| file.fetched_at()).max();
        let generated_at = match dating {
            Dating::Fetched => fetched_at,
            Dating::Updated => files
                .values()
                .filter_map(|file| file.updated_at())
                .max()
                .or(fetched_at),
        };
        let document = Document::of(&Selection {
            version: &version,
            generated_at,
            models: files.values().flat_map(|file| file.models()).collect(),
            providers: files.values().collect(),
        });
        Self {
            files,
            version,
            generated_at,
            document,
        }
    }

    /// Whether it has no provider.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty()
    }

    /// `<date of the newest update>+<first digits of the content's SHA-256>`, such as `2026-08-18+687df1e13a9c`. The same
    /// files have the same version.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// The providers' files, by name.
    pub fn files(&self) -> impl Iterator<Item = &Arc<ProviderFile>> {
        self.files.values()
    }

    /// The file of a provider, whose name may differ in case.
    pub fn provider(&self, name: &str) -> Option<&ProviderFile> {
        let file = self.files.get(name).or_else(|| {
            self.files
                .values()
                .find(|file| file.provider().eq_ignore_ascii_case(name))
        });
        file.map(AsRef::as_ref)
    }

    /// The model whose key is `key` (`provider:name`), with the file it is in.
    pub fn model(&self, key: &str) -> Option<(&ProviderFile, &Model)> {
        self.files
            .values()
            .find_map(|file| file.model(key).map(|model| (file.as_ref(), model)))
    }

    /// The whole catalog as a document.
    pub fn document(&self) -> &Document {
        &self.document
    }

    /// The part of the catalog that `filter` selects, as a document.
    ///
    /// # Errors
    /// [`UnknownCapability`] for one that no model mentions.
    pub fn filtered(&self, filter: &Filter) -> Result<Document, UnknownCapability> {
        let capabilities = filter
            .capabilities
            .iter()
            .map(|name| self.capability(name))
            .collect::<Result<Vec<_>, _>>()?;
        if *filter == Filter::default() {
            return Ok(self.document.clone());
        }
        let providers: Vec<_> = self
            .files
            .values()
            .filter(|file| {
                filter.providers.is_empty()
                    || filter
                        .providers
                        .iter()
                        .any(|name| name.eq_ignore_ascii_case(file.provider()))
            })
            .collect();
        let models = providers
            .iter()
            .flat_map(|file| file.models())
            .filter(|model| {
                capabilities
                    .iter()
                    .all(|name| model.supports.get(*name) == Some(&true))
            })
            .collect();
        Ok(Document::of(&Selection {
            version: &self.version,
            generated_at: self.generated_at,
            models,
            providers,
        }))
    }

    /// The capability's name without prefix.
    fn capability<'a>(&self, name: &'a str) -> Result<&'a str, UnknownCapability> {
        let bare = name.strip_prefix("supports_").unwrap_or(name);
        let models = || self.files.values().flat_map(|file| file.models());
        if NAMED_CAPABILITIES.contains(&bare) || models().any(|model| model.supports.contains_key(bare)) {
            return Ok(bare);
        }
        let mut known: Vec<_> = models()
            .flat_map(|model| model.supports.keys().map(String::as_str))
            .chain(NAMED_CAPABILITIES)
            .map(str::to_owned)
            .collect();
        known.sort_unstable();
        known.dedup();
        Err(UnknownCapability {
            name: name.to_owned(),
            known,
        })
    }
}

fn version(files: &BTreeMap<String, Arc<ProviderFile>>) -> String {
    let mut content = Sha256::new();
    for (provider, file) in files {
        content.update(format!("{provider} {}\n", file.sha256()));
    }
    let digest = &hex::encode(content.finalize())[..VERSION_DIGITS];
    match files.values().filter_map(|file| file.updated_at()).max() {
        Some(updated_at) => format!("{}+{digest}", updated_at.date_naive()),
        None => format!("undated+{digest}"),
    }
}

impl Document {
    fn of(selection: &Selection<'_>) -> Self {
        // Serialising maps with text keys into memory has no way to fail.
        let body = serde_json::to_vec(selection).unwrap_or_default();
        let etag = format!("\"{}\"", &hex::encode(Sha256::digest(&body))[..32]);
        Self {
            body: body.into(),
            etag,
        }
    }
}

#[derive(Serialize)]
struct Selection<'a> {
    version: &'a str,
    #[serde(serialize_with = "time")]
    generated_at: Option<DateTime<Utc>>,
    #[serde(serialize_with = "models")]
    models: Vec<&'a Model>,
    #[serde(serialize_with = "providers")]
    providers: Vec<&'a Arc<ProviderFile>>,
}

#[derive(Serialize)]
struct Provider<'a> {
    name: &'a str,
    base_url: Option<&'static str>,
    models_endpoint: Option<&'static str>,
    version: Option<&'a FileVersion>,
    sha256: &'a str,
}

fn time<S: Serializer>(time: &Option<DateTime<Utc>>, serializer: S) -> Result<S::Ok, S::Error> {
    time.map(|time| time.to_rfc3339_opts(SecondsFormat::Micros, true))
        .serialize(serializer)
}

fn models<S: Serializer>(models: &[&Model], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(models.len()))?;
    for model in models {
        map.serialize_entry(&model.key, &model.members)?;
    }
    map.end()
}

fn providers<S: Serializer>(files: &[&Arc<ProviderFile>], serializer: S) -> Result<S::Ok, S::Error> {
    let mut map = serializer.serialize_map(Some(files.len()))?;
    for file in files {
        let known = well_known::provider(file.provider());
        map.serialize_entry(
            file.provider(),
            &Provider {
                name: known.map_or(file.provider(), |known| known.name),
                base_url: known.map(|known| known.base_url),
                models_endpoint: known.map(|known| known.models_endpoint),
                version: file.version(),
                sha256: file.sha256(),
            },
        )?;
    }
    map.end()
}
