//! `/registry`: models and prices as last fetched, and archived versions of them. Public.

use std::collections::BTreeMap;
use std::time::Duration;

use poem::http::{HeaderValue, StatusCode, header};
use poem::{IntoResponse, Request, Response};
use poem_openapi::param::{Header, Path, Query};
use poem_openapi::payload::{Json, Payload};
use poem_openapi::registry::{MetaHeader, MetaMediaType, MetaResponse, MetaResponses, Registry};
use poem_openapi::types::Type;
use poem_openapi::{ApiResponse, Object, OpenApi};

use super::problem::Problem;
use super::{Tag, conditional};
use crate::app::App;
use crate::error::Violation;
use crate::registry::{Document, Filter};

/// When to ask again while nothing has been fetched.
const FIRST_COPY: Duration = Duration::from_secs(5);

pub(super) struct RegistryApi;

#[OpenApi(tag = "Tag::Registry")]
impl RegistryApi {
    /// Models and prices
    ///
    /// Everything the registry's providers publish, member by member unchanged, as last fetched in good order.
    #[oai(path = "/registry", method = "get", operation_id = "registry")]
    async fn registry(
        &self,
        request: &Request,
        /// Only these providers, separated by commas.
        providers: Query<Option<String>>,
        /// Only models with all of these, separated by commas: `vision`, `function_calling`, `json_mode`, `parallel_tool_calls`
        /// or any other `supports_…`.
        capabilities: Query<Option<String>>,
        /// Entity tags of copies at hand.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<RegistryAnswer, Problem> {
        current(request, providers.0, capabilities.0, if_none_match.0)
    }

    /// Models and prices, under the name of a file
    #[oai(path = "/registry.json", method = "get", operation_id = "registry_json")]
    async fn registry_json(
        &self,
        request: &Request,
        /// Only these providers, separated by commas.
        providers: Query<Option<String>>,
        /// Only models with all of these, separated by commas.
        capabilities: Query<Option<String>>,
        /// Entity tags of copies at hand.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<RegistryAnswer, Problem> {
        current(request, providers.0, capabilities.0, if_none_match.0)
    }

    /// An archived version
    ///
    /// Providers count their versions apart: the answer has those that have this one.
    #[oai(
        path = "/registry/v/:version/registry.json",
        method = "get",
        operation_id = "registry_version"
    )]
    async fn archived(
        &self,
        request: &Request,
        /// A number.
        version: Path<String>,
        /// Entity tags of copies at hand.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<RegistryAnswer, Problem> {
        let archived = App::of(request).registry().archived(&version.0).await?;
        let freshness = if archived.complete {
            Freshness::Immutable
        } else {
            Freshness::Minute
        };
        Ok(RegistryAnswer::of(&archived.document, freshness, if_none_match.0))
    }
}

fn current(
    request: &Request,
    providers: Option<String>,
    capabilities: Option<String>,
    if_none_match: Option<String>,
) -> Result<RegistryAnswer, Problem> {
    let catalog = App::of(request).registry().catalog();
    if catalog.is_empty() {
        return Err(Problem::unavailable(
            "no price registry could be fetched yet: try again later",
            FIRST_COPY,
        ));
    }
    let filter = Filter::from_lists(providers.as_deref(), capabilities.as_deref());
    let document = catalog
        .filtered(&filter)
        .map_err(|unknown| Violation::query("capabilities", unknown.to_string()))?;
    Ok(RegistryAnswer::of(&document, Freshness::Hour, if_none_match))
}

/// How long caches on the way may keep an answer.
#[derive(Clone, Copy, Debug)]
enum Freshness {
    Minute,
    Hour,
    Immutable,
}

impl Freshness {
    fn cache_control(self) -> HeaderValue {
        HeaderValue::from_static(match self {
            Self::Minute => "public, max-age=60",
            Self::Hour => "public, max-age=3600",
            Self::Immutable => "public, max-age=31536000, immutable",
        })
    }
}

/// A document, or 304 when the caller has it already.
#[derive(Debug)]
struct RegistryAnswer {
    /// `None`: not modified.
    body: Option<bytes::Bytes>,
    etag: String,
    freshness: Freshness,
}

impl RegistryAnswer {
    fn of(document: &Document, freshness: Freshness, if_none_match: Option<String>) -> Self {
        let at_hand = if_none_match.is_some_and(|tags| conditional::matches(&tags, &document.etag));
        Self {
            body: (!at_hand).then(|| document.body.clone()),
            etag: document.etag.clone(),
            freshness,
        }
    }
}

impl IntoResponse for RegistryAnswer {
    fn into_response(self) -> Response {
        let response = Response::builder()
            .header(header::ETAG, self.etag)
            .header(header::CACHE_CONTROL, self.freshness.cache_control());
        match self.body {
            Some(body) => response
                .content_type("application/json; charset=utf-8")
                .body(body),
            None => response.status(StatusCode::NOT_MODIFIED).finish(),
        }
    }
}

impl ApiResponse for RegistryAnswer {
    fn meta() -> MetaResponses {
        let header = |name: &str, description: &str| MetaHeader {
            name: name.to_owned(),
            description: Some(description.to_owned()),
            required: true,
            deprecated: false,
            schema: String::schema_ref(),
        };
        let headers = || {
            vec![
                header("ETag", "Changes when the content does."),
                header("Cache-Control", "How long caches may keep it."),
            ]
        };
        MetaResponses {
            responses: vec![
                MetaResponse {
                    description: "",
                    status: Some(200),
                    status_range: None,
                    content: vec![MetaMediaType {
                        content_type: "application/json",
                        schema: Json::<RegistryDocument>::schema_ref(),
                    }],
                    headers: headers(),
                },
                MetaResponse {
                    description: "The copy at hand is current.",
                    status: Some(304),
                    status_range: None,
                    content: vec![],
                    headers: headers(),
                },
            ],
        }
    }

    fn register(registry: &mut Registry) {
        RegistryDocument::register(registry);
    }
}

/// Providers and their models.
#[derive(Debug, Object)]
#[oai(rename = "Registry")]
struct RegistryDocument {
    /// `<date of the newest update>+<first digits of the content's SHA-256>`.
    version: String,
    /// When the newest of the files was fetched for the first time; for an archived version, when it was made.
    generated_at: String,
    /// By `provider:model`.
    models: BTreeMap<String, RegistryModel>,
    /// By name.
    providers: BTreeMap<String, RegistryProvider>,
}

/// A provider.
#[derive(Debug, Object)]
struct RegistryProvider {
    /// Its name, for people.
    name: String,
    /// Root of its API, where known.
    #[oai(nullable)]
    base_url: Option<String>,
    /// Where it lists its models, below the root.
    #[oai(nullable)]
    models_endpoint: Option<String>,
    /// The version that its file gives itself: a number, or any text.
    #[oai(nullable)]
    version: Option<poem_openapi::types::Any<serde_json::Value>>,
    /// SHA-256 of its file, hexadecimal.
    sha256: String,
}

/// A model, with every member that its provider's file has; these are the ones with a meaning here. Prices are US dollars per
/// million tokens.
#[derive(Debug, Object)]
#[oai(nullable_all)]
struct RegistryModel {
    /// The provider's name.
    provider: Option<String>,
    /// The provider's own name for the model.
    model_name: Option<String>,
    /// Other names that the provider accepts.
    model_aliases: Option<Vec<String>>,
    /// Whether it can still be called.
    is_active: Option<bool>,
    /// Input neither read from nor written to the cache.
    dollars_per_million_tokens_input: Option<f64>,
    /// Output.
    dollars_per_million_tokens_output: Option<f64>,
    /// Output spent on reasoning, where it has a price of its own.
    dollars_per_million_tokens_output_thinking: Option<f64>,
    /// Input read from the cache.
    dollars_per_million_tokens_cache_read: Option<f64>,
    /// Input read from the cache, where the member above is absent.
    dollars_per_million_tokens_cached_input: Option<f64>,
    /// Input written to the cache for five minutes.
    dollars_per_million_tokens_cache_write_5m: Option<f64>,
    /// Input written to the cache for an hour.
    dollars_per_million_tokens_cache_write_1h: Option<f64>,
    /// Whether requests above a threshold have prices of their own.
    supports_long_context_pricing: Option<bool>,
    /// The threshold, in tokens of input.
    long_context_threshold_tokens: Option<u64>,
    /// Input of a request above the threshold.
    dollars_per_million_tokens_input_long_context: Option<f64>,
    /// Output of a request above the threshold.
    dollars_per_million_tokens_output_long_context: Option<f64>,
    /// Images as input.
    supports_vision: Option<bool>,
    /// Calls of functions.
    supports_function_calling: Option<bool>,
    /// Output in JSON.
    supports_json_mode: Option<bool>,
    /// Several calls of functions at once.
    supports_parallel_tool_calls: Option<bool>,
}

#[cfg(test)]
mod tests {
    use std::path::Path as FilePath;

    use poem::test::{TestClient, TestResponse};
    use serde_json::Value;

    use super::*;
    use crate::config::{Config, Settings};

    /// An app whose registry is at `pages`, and the folder that it works in.
    async fn app(pages: &FilePath) -> (App, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let url = format!("sqlite://{}/llmring.db", folder.path().display());
        let pages = format!("file://{}/", pages.display());
        let settings = Settings::from_pairs(&[
            ("LLMRING_DATABASE_URL", &url),
            ("LLMRING_REGISTRY_BASE_URL", &pages),
        ]);
        let config = Config::from_settings(&settings).expect("a configuration");
        let app = App::start(config).await.expect("an app");
        app.registry()
            .wait_for_first_attempt(Duration::from_secs(10))
            .await;
        (app, folder)
    }

    async fn fixture() -> (App, tempfile::TempDir) {
        app(&FilePath::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/registry")).await
    }

    async fn get(app: &App, path: &str) -> TestResponse {
        TestClient::new(app.endpoint()).get(path).send().await
    }

    async fn read(response: TestResponse) -> (StatusCode, Value) {
        let status = response.0.status();
        let text = response.0.into_body().into_string().await.expect("text");
        (status, serde_json::from_str(&text).expect("JSON"))
    }

    async fn keys(app: &App, path: &str) -> Vec<String> {
        let (status, body) = read(get(app, path).await).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body["models"]
            .as_object()
            .expect("models")
            .keys()
            .cloned()
            .collect()
    }

    fn header_of(response: &TestResponse, name: &str) -> String {
        response.0.header(name).unwrap_or_default().to_owned()
    }

    #[tokio::test]
    async fn the_document_and_its_entity_tag() {
        let (app, _folder) = fixture().await;
        let response = get(&app, "/registry").await;
        response.assert_status_is_ok();
        assert_eq!(header_of(&response, "cache-control"), "public, max-age=3600");
        let etag = header_of(&response, "etag");
        let (_, body) = read(response).await;
        let version = body["version"].as_str().expect("a version");
        assert!(
            version.starts_with("2026-08-18+") && version.len() == 23,
            "{version}"
        );
        assert_eq!(body["models"]["openai:gpt-4o-mini"]["max_output_tokens"], 16000);
        assert!(body["models"]["openai:example-unprefixed"].is_object());
        let openai = &body["providers"]["openai"];
        assert_eq!(openai["name"], "OpenAI");
        assert_eq!(openai["base_url"], "https://api.openai.com/v1");
        assert_eq!(openai["version"], 7);
        assert_eq!(openai["sha256"].as_str().map(str::len), Some(64));

        assert_eq!(header_of(&get(&app, "/registry.json").await, "etag"), etag);
        for tags in [etag.clone(), format!("\"x\", W/{etag}"), "*".to_owned()] {
            let client = TestClient::new(app.endpoint());
            let response = client.get("/registry").header("If-None-Match", tags).send().await;
            response.assert_status(StatusCode::NOT_MODIFIED);
            assert_eq!(header_of(&response, "etag"), etag);
            response.assert_text("").await;
        }
        let client = TestClient::new(app.endpoint());
        client
            .get("/registry")
            .header("If-None-Match", "\"x\"")
            .send()
            .await
            .assert_status_is_ok();
        app.shutdown().await;
    }

    #[tokio::test]
    async fn filters() {
        let (app, _folder) = fixture().await;
        let anthropic = keys(&app, "/registry?providers=anthropic").await;
        assert!(!anthropic.is_empty() && anthropic.iter().all(|key| key.starts_with("anthropic:")));
        assert_eq!(keys(&app, "/registry?providers=nobody").await, [""; 0]);
        let vision = keys(
            &app,
            "/registry.json?capabilities=vision,supports_thinking&providers=google,%20openai",
        )
        .await;
        assert!(vision.contains(&"google:gemini-2.5-pro".to_owned()), "{vision:?}");
        assert!(!vision.contains(&"openai:gpt-4o-mini".to_owned()), "{vision:?}");
        let everything = keys(&app, "/registry").await;
        assert_eq!(
            keys(&app, "/registry?providers=&capabilities=,").await,
            everything
        );

        let response = get(&app, "/registry?capabilities=telepathy").await;
        response.assert_status(StatusCode::UNPROCESSABLE_ENTITY);
        let body = response.0.into_body().into_string().await.expect("text");
        assert!(
            body.contains("telepathy") && body.contains("function_calling"),
            "{body}"
        );
        app.shutdown().await;
    }

    #[tokio::test]
    async fn archived_versions() {
        let (app, _folder) = fixture().await;
        let response = get(&app, "/registry/v/6/registry.json").await;
        response.assert_status_is_ok();
        assert_eq!(
            header_of(&response, "cache-control"),
            "public, max-age=31536000, immutable"
        );
        let (_, body) = read(response).await;
        assert_eq!(body["providers"]["openai"]["version"], 6);
        assert_eq!(body["providers"].as_object().map(serde_json::Map::len), Some(1));
        assert_eq!(body["generated_at"], "2026-01-03T12:07:39.730334Z");
        for version in [
            "99",
            "0",
            "six",
            "-6",
            "+6",
            "6.0",
            "99999999999999999999",
            "..",
            "%2e%2e",
        ] {
            let response = get(&app, &format!("/registry/v/{version}/registry.json")).await;
            response.assert_status(StatusCode::NOT_FOUND);
        }
        app.shutdown().await;
    }

    #[tokio::test]
    async fn before_the_first_copy() {
        let nothing = tempfile::tempdir().expect("a folder");
        let (app, _folder) = app(nothing.path()).await;
        for path in ["/registry", "/registry/v/6/registry.json"] {
            let response = get(&app, path).await;
            response.assert_status(StatusCode::SERVICE_UNAVAILABLE);
            assert_eq!(header_of(&response, "retry-after"), "5");
        }
        app.shutdown().await;
    }
}
