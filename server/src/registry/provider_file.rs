//! One provider's `models.json`: read strictly, kept verbatim.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use chrono::{DateTime, NaiveDateTime, Utc};
use serde::de::{Error as _, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::value::RawValue;
use sha2::{Digest, Sha256};

use super::price_list::PriceList;

/// A provider's file that reads as one. Models keep the order of the file.
#[derive(Debug)]
pub struct ProviderFile {
    provider: String,
    version: Option<FileVersion>,
    updated_at: Option<DateTime<Utc>>,
    sha256: String,
    fetched_at: DateTime<Utc>,
    models: Vec<Model>,
    by_key: HashMap<String, usize>,
}

/// The version that a file gives itself: upstream an integer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FileVersion {
    /// A number.
    Number(u64),
    /// Any text.
    Text(String),
}

impl fmt::Display for FileVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => number.fmt(f),
            Self::Text(text) => text.fmt(f),
        }
    }
}

/// One model of a file.
#[derive(Debug)]
pub struct Model {
    /// `provider:name`.
    pub key: String,
    /// Every member of the model as the file has it, byte for byte.
    pub members: Box<RawValue>,
    /// The provider's own name for it.
    pub model_name: Option<String>,
    /// Other names that the provider accepts.
    pub model_aliases: Vec<String>,
    /// Whether it can still be called; models are active unless the file says otherwise.
    pub is_active: bool,
    /// What the file says of each `supports_…` member, by its name without that prefix; null counts as false.
    pub supports: BTreeMap<String, bool>,
    /// What its tokens cost.
    pub prices: PriceList,
}

/// Why a file is refused.
#[derive(Debug, thiserror::Error)]
pub enum MalformedFile {
    /// Not JSON, or not of the shape of a provider's file.
    #[error("{0}")]
    Shape(serde_json::Error),
    /// A model that cannot be understood.
    #[error("model {key}: {problem}")]
    Model {
        /// The model's key.
        key: String,
        /// What is wrong with it.
        problem: serde_json::Error,
    },
    /// Two models have one key.
    #[error("the model key {0} occurs twice")]
    DuplicateKey(String),
}

impl ProviderFile {
    /// Reads `text`, a provider's `models.json` as it was fetched at `fetched_at`.
    ///
    /// # Errors
    /// [`MalformedFile`] when it is not JSON, has no `models` object, names a model twice, or a member that matters has
    /// another type than the registry's schema says. (A price that is no price does not spoil the file: it is an unknown
    /// price.)
    pub fn parse(provider: &str, text: &str, fetched_at: DateTime<Utc>) -> Result<Self, MalformedFile> {
        let Envelope {
            version,
            updated_at,
            models: entries,
        } = serde_json::from_str(text).map_err(MalformedFile::Shape)?;
        let prefix = format!("{provider}:");
        let mut models = Vec::with_capacity(entries.0.len());
        let mut by_key = HashMap::with_capacity(entries.0.len());
        for (key, members) in entries.0 {
            let key = if key.starts_with(&prefix) {
                key
            } else {
                format!("{prefix}{key}")
            };
            if by_key.insert(key.clone(), models.len()).is_some() {
                return Err(MalformedFile::DuplicateKey(key));
            }
            match serde_json::from_str::<Members>(members.get()) {
                Ok(Members {
                    model_name,
                    model_aliases,
                    is_active,
                    supports,
                    prices,
                }) => models.push(Model {
                    key,
                    members,
                    model_name,
                    model_aliases,
                    is_active,
                    supports,
                    prices,
                }),
                Err(problem) => return Err(MalformedFile::Model { key, problem }),
            }
        }
        Ok(Self {
            provider: provider.to_owned(),
            version,
            updated_at: updated_at.as_deref().and_then(parse_time),
            sha256: hex::encode(Sha256::digest(text)),
            fetched_at,
            models,
            by_key,
        })
    }

    /// The same file, fetched first at another time.
    #[must_use]
    pub(super) fn with_fetched_at(self, fetched_at: DateTime<Utc>) -> Self {
        Self { fetched_at, ..self }
    }

    /// The provider, as the manifest names it.
    pub fn provider(&self) -> &str {
        &self.provider
    }

    /// The version that the file gives itself.
    pub fn version(&self) -> Option<&FileVersion> {
        self.version.as_ref()
    }

    /// When the file says it was made.
    pub fn updated_at(&self) -> Option<DateTime<Utc>> {
        self.updated_at
    }

    /// SHA-256 of the bytes that were fetched, in hex.
    pub fn sha256(&self) -> &str {
        &self.sha256
    }

    /// When these bytes were fetched for the first time.
    pub fn fetched_at(&self) -> DateTime<Utc> {
        self.fetched_at
    }

    /// All models, in the order of the file.
    pub fn models(&self) -> &[Model] {
        &self.models
    }

    /// The model with this key (`provider:name`).
    pub fn model(&self, key: &str) -> Option<&Model> {
        self.by_key.get(key).map(|index| &self.models[*index])
    }
}

/// RFC 3339, or the same without an offset, which means UTC.
fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text)
        .map(|time| time.to_utc())
        .or_else(|_| text.parse::<NaiveDateTime>().map(|time| time.and_utc()))
        .ok()
}

#[derive(Deserialize)]
struct Envelope {
    version: Option<FileVersion>,
    updated_at: Option<String>,
    models: Entries,
}

/// The `models` object in the order of the file, repeated keys included.
struct Entries(Vec<(String, Box<RawValue>)>);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EntriesVisitor;

        impl<'de> Visitor<'de> for EntriesVisitor {
            type Value = Entries;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of models by key")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries, A::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(EntriesVisitor)
    }
}

/// The members of a model that the server understands.
struct Members {
    model_name: Option<String>,
    model_aliases: Vec<String>,
    is_active: bool,
    supports: BTreeMap<String, bool>,
    prices: PriceList,
}

impl<'de> Deserialize<'de> for Members {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MembersVisitor;

        impl<'de> Visitor<'de> for MembersVisitor {
            type Value = Members;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object that describes a model")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members, A::Error> {
                let mut model_name: Option<Option<String>> = None;
                let mut model_aliases: Option<Option<Vec<String>>> = None;
                let mut is_active: Option<Option<bool>> = None;
                let mut supports = BTreeMap::new();
                let mut prices = PriceList::default();
                while let Some(name) = map.next_key::<String>()? {
                    let repeated = match name.as_str() {
                        "model_name" => model_name.replace(named(&name, map.next_value())?).is_some(),
                        "model_aliases" => model_aliases.replace(named(&name, map.next_value())?).is_some(),
                        "is_active" => is_active.replace(named(&name, map.next_value())?).is_some(),
                        _ => {
                            if let Some(price) = prices.member(&name) {
                                let raw: Box<RawValue> = map.next_value()?;
                                price.publish(raw.get()).is_err()
                            } else if let Some(capability) = name.strip_prefix("supports_") {
                                let supported: Option<bool> = named(&name, map.next_value())?;
                                supports
                                    .insert(capability.to_owned(), supported.unwrap_or(false))
                                    .is_some()
                            } else {
                                map.next_value::<IgnoredAny>()?;
                                false
                            }
                        }
                    };
                    if repeated {
                        return Err(A::Error::custom(format_args!("the member {name} occurs twice")));
                    }
                }
                prices.supports_long_context = supports.get("long_context_pricing").copied().unwrap_or(false);
                Ok(Members {
                    model_name: model_name.flatten(),
                    model_aliases: model_aliases.flatten().unwrap_or_default(),
                    is_active: is_active.flatten().unwrap_or(true),
                    supports,
                    prices,
                })
            }
        }

        deserializer.deserialize_map(MembersVisitor)
    }
}

fn named<T, E: serde::de::Error>(member: &str, value: Result<T, E>) -> Result<T, E> {
    value.map_err(|error| E::custom(format_args!("{member}: {error}")))
}
