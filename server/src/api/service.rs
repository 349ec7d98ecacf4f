//! What the server says of itself: `/`, `/health`, `/metrics`.

use std::collections::BTreeMap;

use poem::http::StatusCode;
use poem::{IntoResponse, Request, Response};
use poem_openapi::payload::{Json, Payload, PlainText};
use poem_openapi::registry::{MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use serde::{Deserialize, Serialize};

use super::Tag;
use super::body::Answer;
use super::problem::Problem;
use crate::app::App;
use crate::cache::CacheState;
use crate::registry::{ProviderState, ProviderStatus, RegistryState, RegistryStatus};

pub(super) struct ServiceApi;

#[OpenApi(tag = "Tag::Service")]
impl ServiceApi {
    /// What this is
    #[oai(path = "/", method = "get", operation_id = "service")]
    async fn root(&self) -> Answer<Service> {
        Answer(Service {
            name: "LLMRing Server".to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            docs: "/docs".to_owned(),
            registry: "/registry".to_owned(),
        })
    }

    /// Whether the server can do its work
    ///
    /// 503 when the database does not answer. A cache or a registry that is away degrades the server and leaves it at 200.
    #[oai(path = "/health", method = "get", operation_id = "health")]
    async fn health(&self, request: &Request) -> Health {
        let app = App::of(request);
        let connected = match app.storage().ping().await {
            Ok(()) => true,
            Err(error) => {
                tracing::warn!(%error, "the database does not answer");
                false
            }
        };
        Health(HealthBody {
            status: if connected {
                HealthStatus::Healthy
            } else {
                HealthStatus::Unhealthy
            },
            database: if connected {
                DatabaseStatus::Connected
            } else {
                DatabaseStatus::Unavailable
            },
            cache: app.cache().state().await.into(),
            registry: app.registry().status().into(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        })
    }

    /// Metrics in the Prometheus text format
    #[oai(path = "/metrics", method = "get", operation_id = "metrics")]
    async fn metrics(&self, request: &Request) -> Result<PlainText<String>, Problem> {
        App::of(request)
            .metrics()
            .text()
            .map(PlainText)
            .map_err(|error| Problem::from_poem(&poem::error::InternalServerError(error)))
    }
}

/// What this is.
#[derive(Debug, Serialize, Deserialize, Object)]
struct Service {
    /// `LLMRing Server`.
    name: String,
    /// Semantic version.
    version: String,
    /// Where the API is described.
    docs: String,
    /// Where the price registry is.
    registry: String,
}

/// Whether the server can do its work, and 503 when it cannot.
struct Health(HealthBody);

/// The state of the server and of what it depends on.
#[derive(Debug, Serialize, Deserialize, Object)]
#[oai(rename = "Health")]
struct HealthBody {
    /// `unhealthy` when the database does not answer.
    status: HealthStatus,
    /// Whether the database answers.
    database: DatabaseStatus,
    /// Whether the cache is this process's memory, Redis, or memory because Redis does not answer.
    cache: CacheStatus,
    /// How up to date the price registry's copies are.
    registry: RegistryHealth,
    /// Semantic version.
    version: String,
}

/// Whether the server can do its work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum HealthStatus {
    /// It can.
    Healthy,
    /// It cannot.
    Unhealthy,
}

/// Whether the database answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum DatabaseStatus {
    /// It does.
    Connected,
    /// It does not.
    Unavailable,
}

/// Where cached answers are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum CacheStatus {
    /// In this process.
    Memory,
    /// In Redis.
    Connected,
    /// In this process, because Redis does not answer.
    Degraded,
}

impl From<CacheState> for CacheStatus {
    fn from(state: CacheState) -> Self {
        match state {
            CacheState::Memory => Self::Memory,
            CacheState::Connected => Self::Connected,
            CacheState::Degraded => Self::Degraded,
        }
    }
}

/// How up to date the price registry's copies are.
#[derive(Debug, Serialize, Deserialize, Object)]
struct RegistryHealth {
    /// In short: the worst that is true of any provider.
    status: RegistryFreshness,
    /// Why no provider could be refreshed.
    #[oai(nullable)]
    reason: Option<String>,
    /// By provider.
    providers: BTreeMap<String, ProviderHealth>,
}

/// How up to date the copy of one provider is.
#[derive(Debug, Serialize, Deserialize, Object)]
struct ProviderHealth {
    /// In short.
    status: ProviderFreshness,
    /// Seconds since the registry was last seen to have this copy; null without a copy.
    #[oai(nullable)]
    age_seconds: Option<u64>,
    /// Why the last refresh failed.
    #[oai(nullable)]
    reason: Option<String>,
}

/// How up to date the registry's copies are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum RegistryFreshness {
    /// All are current.
    Ok,
    /// Some provider has its last good copy or none.
    Stale,
    /// There is no copy yet: calls that name no cost are unpriced.
    Empty,
}

/// How up to date one copy is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, Enum)]
#[oai(rename_all = "lowercase")]
#[serde(rename_all = "lowercase")]
enum ProviderFreshness {
    /// Current.
    Ok,
    /// The last good one.
    Stale,
    /// There is none.
    Missing,
}

impl From<RegistryStatus> for RegistryHealth {
    fn from(status: RegistryStatus) -> Self {
        let RegistryStatus {
            state,
            reason,
            providers,
        } = status;
        Self {
            status: match state {
                RegistryState::Ok => RegistryFreshness::Ok,
                RegistryState::Stale => RegistryFreshness::Stale,
                RegistryState::Empty => RegistryFreshness::Empty,
            },
            reason,
            providers: providers
                .into_iter()
                .map(|status| (status.provider.clone(), status.into()))
                .collect(),
        }
    }
}

impl From<ProviderStatus> for ProviderHealth {
    fn from(status: ProviderStatus) -> Self {
        let ProviderStatus {
            provider: _,
            state,
            reason,
            age,
        } = status;
        Self {
            status: match state {
                ProviderState::Ok => ProviderFreshness::Ok,
                ProviderState::Stale => ProviderFreshness::Stale,
                ProviderState::Missing => ProviderFreshness::Missing,
            },
            age_seconds: age.map(|age| age.as_secs()),
            reason,
        }
    }
}

impl IntoResponse for Health {
    fn into_response(self) -> Response {
        let status = match self.0.status {
            HealthStatus::Healthy => StatusCode::OK,
            HealthStatus::Unhealthy => StatusCode::SERVICE_UNAVAILABLE,
        };
        Answer(self.0).with_status(status).into_response()
    }
}

impl ApiResponse for Health {
    fn meta() -> MetaResponses {
        let response = |description, status| MetaResponse {
            description,
            status: Some(status),
            status_range: None,
            content: vec![MetaMediaType {
                content_type: "application/json",
                schema: Json::<HealthBody>::schema_ref(),
            }],
            headers: vec![],
        };
        MetaResponses {
            responses: vec![
                response("The server can do its work.", 200),
                response("The database does not answer.", 503),
            ],
        }
    }

    fn register(registry: &mut Registry) {
        HealthBody::register(registry);
    }
}
