//! The whole server as one value: started from a configuration, mounted as an endpoint, shut down in order.

mod hang_up;

use std::sync::Arc;

use poem::endpoint::BoxEndpoint;
use poem::{Request, Response};
use sea_orm::DbErr;

use crate::api;
use crate::cache::{Cache, CacheError};
use crate::clock::Clock;
use crate::config::Config;
use crate::conversations::Conversations;
use crate::keys::Keys;
use crate::mcp::Mcp;
use crate::mcp::executions::Executions;
use crate::mcp::secrets::{SecretKeyError, SecretKeys};
use crate::mcp::sessions::Sessions;
use crate::outbound::{EgressPolicy, Outbound, OutboundError, Timeouts};
use crate::receipts::Receipts;
use crate::registry::Registry;
use crate::storage::{SchemaError, Storage};
use crate::telemetry::Metrics;
use crate::templates::Templates;
use crate::usage::Usage;

pub(crate) use hang_up::HangUps;
pub use hang_up::{WatchedAcceptor, WatchedStream};

/// A running server without its listener. Clones are handles to the same server.
///
/// # Mounting it in another poem application
///
/// ```
/// use llmring_server::{App, Config, Settings};
/// use poem::{Route, test::TestClient};
///
/// # tokio::runtime::Runtime::new()?.block_on(async {
/// # let folder = tempfile::tempdir()?;
/// # let url = format!("sqlite://{}/llmring.db", folder.path().display());
/// # let prices = format!("file://{}/", folder.path().display());
/// let settings = Settings::from_pairs(&[
///     ("LLMRING_DATABASE_URL", &url),
///     ("LLMRING_REGISTRY_BASE_URL", &prices),
/// ]);
/// let app = App::start(Config::from_settings(&settings)?).await?;
/// let yours = Route::new().nest("/llm", app.endpoint());
///
/// let client = TestClient::new(yours);
/// let answer = client
///     .post("/llm/api/v1/log")
///     .header("X-API-Key", "my-project")
///     .body_json(&serde_json::json!({"provider": "openai", "model": "gpt-4o-mini", "cost": 0.25}))
///     .send()
///     .await;
/// answer.assert_status_is_ok();
///
/// app.shutdown().await;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # })?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Debug)]
pub struct App(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    config: Config,
    storage: Storage,
    cache: Cache,
    keys: Keys,
    registry: Registry,
    usage: Usage,
    conversations: Conversations,
    templates: Templates,
    receipts: Receipts,
    sessions: Sessions,
    mcp: Mcp,
    executions: Executions,
    metrics: Metrics,
    hang_ups: HangUps,
}

/// Why the server does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The database cannot be reached.
    #[error("LLMRING_DATABASE_URL: the database cannot be opened: {0}")]
    Database(#[source] DbErr),
    /// The database cannot be used as it is.
    #[error(transparent)]
    Schema(#[from] SchemaError),
    /// The keys of secrets cannot be had.
    #[error(transparent)]
    SecretKeys(#[from] SecretKeyError),
    /// The cache cannot be set up.
    #[error(transparent)]
    Cache(#[from] CacheError),
    /// The HTTP client cannot be set up.
    #[error(transparent)]
    Outbound(#[from] OutboundError),
    /// The metrics cannot be set up.
    #[error(transparent)]
    Metrics(#[from] prometheus::Error),
}

impl App {
    /// Opens the database, brings its schema up to date, and starts the background work. Needs a tokio runtime.
    pub async fn start(config: Config) -> Result<Self, StartError> {
        let storage = Storage::connect(&config.database)
            .await
            .map_err(StartError::Database)?;
        storage.migrate_up().await?;
        let durability = storage.durability().await.map_err(StartError::Database)?;
        if durability.contains("=off") {
            tracing::warn!(
                durability,
                "the database can lose what it has confirmed: an acknowledged log may be lost"
            );
        }
        let clock = Clock::system();
        let metrics = Metrics::new()?;
        let cache = Cache::new(&config.cache)?;
        let outbound = Outbound::new(EgressPolicy::Operator, Timeouts::within(config.registry.timeout))?;
        let registry = Registry::start(
            &config.registry,
            config.cache.ttl,
            storage.clone(),
            cache.clone(),
            outbound,
            clock.clone(),
        )
        .await;
        let keys = Keys::new(
            storage.clone(),
            clock.clone(),
            config.auth_mode,
            config.key_cache_ttl,
        );
        let receipts = Receipts::new(storage.clone(), clock.clone(), config.receipt_keys.clone());
        receipts.warn_of_idle_key();
        let usage = Usage::start(
            storage.clone(),
            clock.clone(),
            registry.clone(),
            &config.ledger,
            &metrics,
        );
        let conversations = Conversations::start(
            storage.clone(),
            clock.clone(),
            usage.clone(),
            receipts.clone(),
            &config.conversations,
        );
        let templates = Templates::new(storage.clone(), clock.clone(), conversations.clone());
        let secrets = SecretKeys::open(&config.secrets, &config.database.location)?;
        let sessions = Sessions::start(&config.mcp, |name| std::env::var_os(name))?;
        let mcp = Mcp::new(storage.clone(), clock.clone(), secrets, sessions.clone(), &config);
        if let Err(error) = mcp.warn_of_unreadable_secrets().await {
            tracing::warn!(%error, "whether the stored secrets can be read was not found out");
        }
        let executions = Executions::start(
            mcp.clone(),
            conversations.clone(),
            storage.clone(),
            clock,
            &config,
        );
        Ok(Self(Arc::new(Parts {
            config,
            storage,
            cache,
            keys,
            registry,
            usage,
            conversations,
            templates,
            receipts,
            sessions,
            mcp,
            executions,
            metrics,
            hang_ups: HangUps::default(),
        })))
    }

    /// Everything the server answers, to be served or mounted.
    pub fn endpoint(&self) -> BoxEndpoint<'static, Response> {
        api::endpoint(self.clone())
    }

    /// The same acceptor, with connections that are watched: calls of MCP tools end when their callers hang up.
    pub fn watched<A>(&self, acceptor: A) -> WatchedAcceptor<A> {
        WatchedAcceptor::new(acceptor, self.0.hang_ups.clone())
    }

    /// The OpenAPI document, as JSON.
    pub fn openapi() -> String {
        api::document()
    }

    /// Writes what was accepted, stops the background work and closes the database. Call it when no request is under way.
    pub async fn shutdown(&self) {
        self.0.executions.shutdown().await;
        self.0.sessions.shutdown().await;
        self.0.conversations.shutdown();
        self.0.usage.shutdown().await;
        self.0.registry.shutdown().await;
        if let Err(error) = self.0.storage.clone().close().await {
            tracing::warn!(%error, "the database was not closed in order");
        }
    }

    /// The server that answers `request`.
    ///
    /// # Panics
    ///
    /// When the request did not come through [`App::endpoint`]: a mistake in this crate.
    pub(crate) fn of(request: &Request) -> &Self {
        match request.data::<Self>() {
            Some(app) => app,
            None => panic!("a request reached a handler past App::endpoint"),
        }
    }

    pub(crate) fn config(&self) -> &Config {
        &self.0.config
    }

    pub(crate) fn storage(&self) -> &Storage {
        &self.0.storage
    }

    pub(crate) fn cache(&self) -> &Cache {
        &self.0.cache
    }

    pub(crate) fn keys(&self) -> &Keys {
        &self.0.keys
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    pub(crate) fn usage(&self) -> &Usage {
        &self.0.usage
    }

    pub(crate) fn conversations(&self) -> &Conversations {
        &self.0.conversations
    }

    pub(crate) fn templates(&self) -> &Templates {
        &self.0.templates
    }

    pub(crate) fn receipts(&self) -> &Receipts {
        &self.0.receipts
    }

    pub(crate) fn mcp(&self) -> &Mcp {
        &self.0.mcp
    }

    pub(crate) fn executions(&self) -> &Executions {
        &self.0.executions
    }

    pub(crate) fn hang_ups(&self) -> &HangUps {
        &self.0.hang_ups
    }

    pub(crate) fn metrics(&self) -> &Metrics {
        &self.0.metrics
    }
}
