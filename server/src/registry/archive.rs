//! Archived versions of the registry, fetched when somebody asks.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use futures_util::{StreamExt, stream};
use moka::Expiry;
use tokio::sync::Semaphore;

use super::Current;
use super::catalog::{Catalog, Dating, Document};
use super::provider_file::ProviderFile;
use super::source::{FetchError, Source};
use crate::error::{Error, Result};

/// Most bytes of documents kept.
const MAX_BYTES: u64 = 8 << 20;
/// How long a complete document is kept: what is archived does not change.
const KEEP_COMPLETE: Duration = Duration::from_secs(24 * 60 * 60);
/// How long it is remembered that a version is not there, or not all of it.
const KEEP_OTHER: Duration = Duration::from_secs(60);
/// Versions fetched at the same time, whoever asks: the registry is not ours to flood.
const CONCURRENT_VERSIONS: usize = 2;
/// Files of one version fetched side by side.
const CONCURRENT_FILES: usize = 4;

/// An archived version.
#[derive(Clone, Debug)]
pub struct Archived {
    /// In the shape of the current one. Its `generated_at` is the time of the newest file, as the files say.
    pub document: Document,
    /// Whether every provider that has this version is in it. When not, a later answer may have more.
    pub complete: bool,
}

/// What is known of a version: `None` when no provider has it.
type Known = Option<Arc<Archived>>;

/// Archived versions.
pub(super) struct Archive {
    source: Source,
    current: Arc<RwLock<Current>>,
    known: moka::future::Cache<u64, Known>,
    fetching: Semaphore,
}

/// The registry did not answer.
#[derive(Debug)]
struct Outage;

struct ByCompleteness;

impl Expiry<u64, Known> for ByCompleteness {
    fn expire_after_create(&self, _version: &u64, known: &Known, _created_at: Instant) -> Option<Duration> {
        let complete = known.as_ref().is_some_and(|archived| archived.complete);
        Some(if complete { KEEP_COMPLETE } else { KEEP_OTHER })
    }
}

impl Archive {
    pub(super) fn new(source: Source, current: Arc<RwLock<Current>>) -> Self {
        let known = moka::future::Cache::builder()
            .max_capacity(MAX_BYTES)
            .weigher(|_: &u64, known: &Known| {
                let bytes = known.as_ref().map_or(0, |archived| archived.document.body.len());
                u32::try_from(bytes).unwrap_or(u32::MAX).saturating_add(100)
            })
            .expire_after(ByCompleteness)
            .build();
        Self {
            source,
            current,
            known,
            fetching: Semaphore::new(CONCURRENT_VERSIONS),
        }
    }

    /// See [`super::Registry::archived`]. Callers that ask for the same version at the same time share one fetch.
    pub(super) async fn get(&self, version: &str) -> Result<Arc<Archived>> {
        let not_found = || Error::NotFound {
            what: "registry version",
            id: version.to_owned(),
        };
        let digits = version.bytes().all(|byte| byte.is_ascii_digit());
        let number: u64 = version.parse().ok().filter(|_| digits).ok_or_else(not_found)?;
        match self.known.try_get_with(number, self.fetch(number)).await {
            Ok(known) => known.ok_or_else(not_found),
            Err(_) => Err(Error::Unavailable {
                what: "the price registry",
                source: None,
            }),
        }
    }

    async fn fetch(&self, version: u64) -> Result<Known, Outage> {
        // The semaphore is never closed.
        let _permit = self.fetching.acquire().await.map_err(|_| Outage)?;
        let providers = self.providers().await?;
        let outcomes: Vec<_> = stream::iter(providers)
            .map(|provider| async move {
                let outcome = self.fetch_file(&provider, version).await;
                (provider, outcome)
            })
            .buffer_unordered(CONCURRENT_FILES)
            .collect()
            .await;
        let mut complete = true;
        let mut files = Vec::new();
        for (provider, outcome) in outcomes {
            match outcome {
                Ok(file) => files.push(Arc::new(file)),
                Err(FetchError::Absent) => {}
                Err(error) => {
                    complete = false;
                    tracing::warn!(provider, version, %error, "an archived registry file cannot be fetched");
                }
            }
        }
        if files.is_empty() {
            return if complete { Ok(None) } else { Err(Outage) };
        }
        let document = Catalog::new(files, Dating::Updated).document().clone();
        Ok(Some(Arc::new(Archived { document, complete })))
    }

    async fn fetch_file(&self, provider: &str, version: u64) -> Result<ProviderFile, FetchError> {
        let path = format!("{provider}/v/{version}/models.json");
        self.source
            .read(&path, |fetched| {
                ProviderFile::parse(provider, &fetched.text, fetched.at).map_err(|error| error.to_string())
            })
            .await
    }

    /// The providers of the current copy; before there is one, those of the manifest.
    async fn providers(&self) -> Result<Vec<String>, Outage> {
        let current: Vec<String> = {
            let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
            current
                .catalog
                .files()
                .map(|file| file.provider().to_owned())
                .collect()
        };
        if !current.is_empty() {
            return Ok(current);
        }
        match self.source.providers().await {
            Ok((providers, _)) => Ok(providers),
            Err(error) => {
                tracing::warn!(%error, "an archived registry version cannot be fetched");
                Err(Outage)
            }
        }
    }
}

impl fmt::Debug for Archive {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Archive")
            .field("source", &self.source.name())
            .finish_non_exhaustive()
    }
}
