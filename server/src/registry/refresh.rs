//! Keeps the registry's copies up to date.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::{StreamExt, stream};

use super::Current;
use super::catalog::{Catalog, Dating};
use super::provider_file::ProviderFile;
use super::source::{FetchError, Fetched, Source};
use super::status::Knowledge;
use super::store;
use crate::clock::Clock;
use crate::storage::Storage;

/// Files fetched side by side.
const CONCURRENT: usize = 4;
/// Wait after a first failure; it doubles with each further one.
const RETRY: Duration = Duration::from_secs(5);
/// Least wait between two refreshes.
const LEAST_WAIT: Duration = Duration::from_secs(1);
/// Waits are longer by up to this fraction, so that replicas do not all come at once.
const JITTER: f64 = 0.1;

/// The one that changes what is current.
pub(super) struct Refresher {
    source: Source,
    storage: Storage,
    clock: Clock,
    ttl: Duration,
    current: Arc<RwLock<Current>>,
    files: BTreeMap<String, Arc<ProviderFile>>,
    status: Knowledge,
    /// When the oldest copy in use was seen in this registry; `None` when there is none, or one from elsewhere.
    oldest: Option<DateTime<Utc>>,
    failures: u32,
}

/// A good file of a provider.
struct Refreshed {
    file: Arc<ProviderFile>,
    at: DateTime<Utc>,
}

impl Refresher {
    /// Begins with the last good copies in the database. When they cannot be read, it begins without.
    pub(super) async fn load(source: Source, storage: Storage, clock: Clock, ttl: Duration) -> Self {
        let stored = store::load(&storage).await.unwrap_or_else(|error| {
            tracing::error!(%error, "the stored copy of the registry cannot be read");
            Vec::new()
        });
        let all_own = stored.iter().all(|stored| stored.source == source.name());
        let oldest = stored
            .iter()
            .map(|stored| stored.checked_at)
            .min()
            .filter(|_| all_own);
        let mut status = Knowledge::default();
        for stored in &stored {
            status.refreshed(stored.file.provider(), stored.checked_at);
        }
        let files: BTreeMap<_, _> = stored
            .into_iter()
            .map(|stored| (stored.file.provider().to_owned(), Arc::new(stored.file)))
            .collect();
        let catalog = Arc::new(Catalog::new(files.values().cloned(), Dating::Fetched));
        let current = Arc::new(RwLock::new(Current {
            catalog,
            status: status.clone(),
        }));
        Self {
            source,
            storage,
            clock,
            ttl,
            current,
            files,
            status,
            oldest,
            failures: 0,
        }
    }

    /// Where the current catalog is found.
    pub(super) fn current(&self) -> Arc<RwLock<Current>> {
        Arc::clone(&self.current)
    }

    /// Whether there is a copy of this very registry.
    pub(super) fn has_own_copy(&self) -> bool {
        self.oldest.is_some()
    }

    /// How long the copy that was loaded is good.
    pub(super) fn first_wait(&self) -> Duration {
        self.oldest.map_or(Duration::ZERO, |oldest| self.left(oldest))
    }

    /// Fetches everything once and answers when to do it again. What fails keeps its last good copy.
    pub(super) async fn refresh(&mut self) -> Duration {
        let complete = match self.source.providers().await {
            Ok((providers, manifest_at)) => {
                self.status.set_problem(None);
                self.refresh_providers(&providers, manifest_at).await
            }
            Err(error) => {
                self.status.set_problem(Some(format!("manifest.json: {error}")));
                false
            }
        };
        self.publish();
        let wait = match self.oldest {
            Some(oldest) if complete => {
                self.failures = 0;
                self.left(oldest).max(LEAST_WAIT)
            }
            _ => {
                self.failures = self.failures.saturating_add(1);
                RETRY
                    .saturating_mul(2_u32.saturating_pow(self.failures - 1))
                    .min(self.ttl)
                    .max(LEAST_WAIT)
            }
        };
        wait.mul_f64(1.0 + rand::random_range(0.0..JITTER))
    }

    /// Whether all of them were refreshed.
    async fn refresh_providers(&mut self, providers: &[String], manifest_at: DateTime<Utc>) -> bool {
        let (source, storage) = (&self.source, &self.storage);
        let outcomes: Vec<_> = stream::iter(providers.to_vec())
            .map(|provider| async move {
                let outcome = fetch(source, storage, &provider).await;
                (provider, outcome)
            })
            .buffer_unordered(CONCURRENT)
            .collect()
            .await;
        let mut complete = true;
        let mut oldest = manifest_at;
        for (provider, outcome) in outcomes {
            match outcome {
                Ok(Refreshed { file, at }) => {
                    oldest = oldest.min(at);
                    self.status.refreshed(&provider, at);
                    self.files.insert(provider, file);
                }
                Err(error) => {
                    complete = false;
                    self.status.failed(&provider, error.to_string());
                }
            }
        }
        self.files.retain(|name, _| providers.contains(name));
        self.status.retain(providers);
        self.oldest = Some(oldest);
        complete
    }

    fn publish(&self) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let changed = !self
            .files
            .values()
            .map(|file| file.sha256())
            .eq(current.catalog.files().map(|file| file.sha256()));
        if changed {
            let catalog = Catalog::new(self.files.values().cloned(), Dating::Fetched);
            tracing::info!(version = catalog.version(), "new prices from the registry");
            current.catalog = Arc::new(catalog);
        }
        current.status = self.status.clone();
    }

    /// How much of its time to live is left to what was seen at `at`.
    fn left(&self, at: DateTime<Utc>) -> Duration {
        // An instant in the future (another replica's clock) counts as now.
        let age = (self.clock.now() - at).to_std().unwrap_or_default();
        self.ttl.saturating_sub(age)
    }
}

/// A provider's file, kept in the database if that answers: prices do not wait for it.
async fn fetch(source: &Source, storage: &Storage, provider: &str) -> Result<Refreshed, FetchError> {
    let accept = |fetched: &Fetched| {
        let file =
            ProviderFile::parse(provider, &fetched.text, fetched.at).map_err(|error| error.to_string())?;
        Ok((file, fetched.clone()))
    };
    let (file, fetched) = source.read(&format!("{provider}/models.json"), accept).await?;
    let file = match store::keep(storage, &file, &fetched.text, source.name(), fetched.at).await {
        Ok(first_fetched_at) => file.with_fetched_at(first_fetched_at),
        Err(error) => {
            tracing::warn!(provider, %error, "the registry file cannot be stored: it is in use until the server stops");
            file
        }
    };
    Ok(Refreshed {
        file: Arc::new(file),
        at: fetched.at,
    })
}
