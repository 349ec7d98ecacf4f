//! The price registry: fetched in the background, kept in the database, served from memory.
//!
//! A provider's last good copy stays in use until a newer good one is there, across restarts and without network. One provider's
//! trouble does not touch the others; [`status`](crate::registry::Registry::status) tells of it.

mod archive;
mod catalog;
mod price_list;
mod provider_file;
mod refresh;
mod source;
mod status;
mod store;
#[cfg(test)]
mod tests;
mod well_known;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError, RwLock};
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::config::RegistryConfig;
use crate::error::Result;
use crate::outbound::Outbound;
use crate::storage::Storage;
use archive::Archive;
use refresh::Refresher;
use source::Source;

pub use archive::Archived;
pub use catalog::{Catalog, Document, Filter, UnknownCapability};
pub use price_list::{PriceList, Published};
pub use provider_file::{FileVersion, MalformedFile, Model, ProviderFile};
pub use status::{ProviderState, ProviderStatus, RegistryState, RegistryStatus};

/// The price registry. Clones are handles to the same one.
#[derive(Clone)]
pub struct Registry(Arc<Inner>);

struct Inner {
    current: Arc<RwLock<Current>>,
    attempted: watch::Receiver<bool>,
    archive: Archive,
    clock: Clock,
    ttl: Duration,
    stop: CancellationToken,
    refreshing: Mutex<Option<JoinHandle<()>>>,
}

/// What is known now.
#[derive(Debug)]
struct Current {
    catalog: Arc<Catalog>,
    status: status::Knowledge,
}

impl Registry {
    /// Loads the last good copy from the database and starts to refresh it on the current tokio runtime: at once when it is older
    /// than `ttl` or from elsewhere, then every `ttl`.
    pub async fn start(
        config: &RegistryConfig,
        ttl: Duration,
        storage: Storage,
        cache: Cache,
        outbound: Outbound,
        clock: Clock,
    ) -> Self {
        let source = Source::new(
            &config.base_url,
            outbound,
            cache,
            clock.clone(),
            ttl,
            config.max_bytes,
        );
        let mut refresher = Refresher::load(source.clone(), storage, clock.clone(), ttl).await;
        let current = refresher.current();
        let archive = Archive::new(source, Arc::clone(&current));
        let (attempt, attempted) = watch::channel(refresher.has_own_copy());
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let refreshing = tokio::spawn(async move {
            let mut wait = refresher.first_wait();
            while stopped
                .run_until_cancelled(tokio::time::sleep(wait))
                .await
                .is_some()
            {
                let Some(next) = stopped.run_until_cancelled(refresher.refresh()).await else {
                    break;
                };
                attempt.send_replace(true);
                wait = next;
            }
        });
        Self(Arc::new(Inner {
            current,
            attempted,
            archive,
            clock,
            ttl,
            stop,
            refreshing: Mutex::new(Some(refreshing)),
        }))
    }

    /// The models and prices known now.
    pub fn catalog(&self) -> Arc<Catalog> {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&current.catalog)
    }

    /// Waits until there is a copy or the first attempt to fetch one has ended, at most this long. Returns at once ever after.
    pub async fn wait_for_first_attempt(&self, at_most: Duration) {
        let mut attempted = self.0.attempted.clone();
        if *attempted.borrow_and_update() {
            return;
        }
        // Neither a time-out nor the end of the background task is an error: the caller goes on with what is known.
        let _ = tokio::time::timeout(at_most, attempted.wait_for(|attempted| *attempted)).await;
    }

    /// How up to date the copies are.
    pub fn status(&self) -> RegistryStatus {
        let current = self.0.current.read().unwrap_or_else(PoisonError::into_inner);
        current.status.report(self.0.clock.now(), self.0.ttl)
    }

    /// The archived version `version` (a number) of every provider that has it.
    ///
    /// # Errors
    /// [`Error::NotFound`](crate::error::Error::NotFound) when no provider has it,
    /// [`Error::Unavailable`](crate::error::Error::Unavailable) when that cannot be known now.
    pub async fn archived(&self, version: &str) -> Result<Arc<Archived>> {
        self.0.archive.get(version).await
    }

    /// Stops the background work. What is in memory stays readable.
    pub async fn shutdown(&self) {
        self.0.stop.cancel();
        let refreshing = self
            .0
            .refreshing
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        if let Some(refreshing) = refreshing
            && let Err(error) = refreshing.await
        {
            tracing::error!(%error, "the registry's background work ended badly");
        }
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("version", &self.catalog().version())
            .finish_non_exhaustive()
    }
}

/// The catalog of these providers' files.
#[cfg(test)]
pub(crate) fn catalog_of(files: &[(&str, &str)]) -> Catalog {
    let fetched_at = chrono::DateTime::UNIX_EPOCH;
    Catalog::new(
        files.iter().map(|(provider, text)| {
            Arc::new(ProviderFile::parse(provider, text, fetched_at).expect("a provider's file"))
        }),
        catalog::Dating::Fetched,
    )
}
