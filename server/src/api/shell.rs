//! What surrounds every operation: request id, log line, metrics, CORS, path and query clean-up, errors, time limit, panics.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use poem::endpoint::BoxEndpoint;
use poem::error::MethodNotAllowedError;
use poem::http::{HeaderValue, Method, StatusCode, header};
use poem::middleware::{CatchPanic, NormalizePath, PanicHandler, TrailingSlash};
use poem::{Endpoint, EndpointExt, IntoResponse, PathPattern, Request, Response};

use super::problem::Problem;
use super::{cors, request_id};
use crate::app::{App, HangUps};
use crate::error::Violation;
use crate::telemetry::Metrics;

/// The outermost endpoint. It never fails: every error has become an answer.
pub(super) struct Shell {
    inner: BoxEndpoint<'static, Response>,
    /// The value of `Allow` for each route, as poem writes it.
    allowed: HashMap<String, HeaderValue>,
    origins: Vec<String>,
    time_limit: Duration,
    /// What a request to an MCP server may take besides.
    servers_time: Duration,
    hang_ups: HangUps,
    metrics: Metrics,
}

impl Endpoint for Shell {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        Ok(request_id::identify(request, |request| self.observe(request)).await)
    }
}

/// Where the operations are that may ask MCP servers.
const MCP: &str = "/api/v1/mcp/";

impl Shell {
    pub(super) fn new(inner: impl Endpoint + 'static, app: &App, document: &str) -> Self {
        let config = &app.config().http;
        Self {
            inner: inner
                .with(CatchPanic::new().with_handler(Panicked))
                .with(NormalizePath::new(TrailingSlash::Trim))
                .map_to_response()
                .boxed(),
            allowed: allowed_methods(document),
            origins: config.cors_origins.clone(),
            time_limit: config.request_timeout,
            servers_time: app.config().servers_time(),
            hang_ups: app.hang_ups().clone(),
            metrics: app.metrics().clone(),
        }
    }

    /// One log line and one count for each request. The path without its query: queries may hold anything.
    async fn observe(&self, request: Request) -> Response {
        let started = Instant::now();
        let method = request.method().clone();
        let path = request.uri().path().to_owned();
        let response = cors::share(&self.origins, request, |request| self.answer(request)).await;
        let elapsed = started.elapsed();
        let status = response.status();
        let route = response
            .data::<PathPattern>()
            .map_or("none", |pattern| &*pattern.0);
        // A caller can invent methods, and each would be a series of its own.
        let known = [
            Method::GET,
            Method::POST,
            Method::PUT,
            Method::PATCH,
            Method::DELETE,
            Method::HEAD,
            Method::OPTIONS,
        ];
        let label = if known.contains(&method) {
            method.as_str()
        } else {
            "OTHER"
        };
        self.metrics
            .requests
            .with_label_values(&[label, route, status.as_str()])
            .inc();
        self.metrics
            .request_seconds
            .with_label_values(&[label, route])
            .observe(elapsed.as_secs_f64());
        let elapsed_ms = elapsed.as_secs_f64() * 1000.0;
        let request_id = request_id::current();
        let status = status.as_u16();
        // A busy server's good news is in the metrics; its log keeps what somebody may have to look into.
        if status < 400 {
            tracing::debug!(request_id, %method, path, status, elapsed_ms, "answered");
        } else if status < 500 {
            tracing::info!(request_id, %method, path, status, elapsed_ms, "refused");
        } else {
            tracing::warn!(request_id, %method, path, status, elapsed_ms, "failed");
        }
        response
    }

    /// What asks MCP servers has their time as well, and ends when its caller hangs up: nobody else waits for it.
    async fn call_in_time(&self, request: Request) -> Result<poem::Result<Response>, Problem> {
        let asks_servers = request.uri().path().starts_with(MCP);
        let remote = request.remote_addr().clone();
        let gone = async {
            if asks_servers {
                self.hang_ups.of(&remote).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        let time_limit = if asks_servers {
            self.time_limit + self.servers_time
        } else {
            self.time_limit
        };
        tokio::select! {
            answer = tokio::time::timeout(time_limit, self.inner.call(request)) => answer.map_err(|_| took_too_long()),
            () = gone => Err(Problem::malformed("the caller hung up")),
        }
    }

    /// Gives every error the same shape.
    async fn answer(&self, mut request: Request) -> Response {
        if let Err(problem) = refuse_nul(&request) {
            return problem.into_response();
        }
        drop_empty_parameters(&mut request);
        let error = match self.call_in_time(request).await {
            Ok(Ok(answer)) => return answer,
            Ok(Err(error)) => error,
            Err(problem) => return problem.into_response(),
        };
        let pattern = error.data::<PathPattern>().cloned();
        let not_allowed = error.is::<MethodNotAllowedError>();
        let mut response = if error.is_from_response() {
            error.into_response()
        } else {
            Problem::from_poem(&error).into_response()
        };
        if let Some(pattern) = pattern {
            if not_allowed && let Some(methods) = self.allowed.get(&*pattern.0) {
                response.headers_mut().insert(header::ALLOW, methods.clone());
            }
            response.set_data(pattern);
        }
        response
    }
}

fn took_too_long() -> Problem {
    Problem::unavailable(
        "the request took longer than the server allows (LLMRING_REQUEST_TIMEOUT); \
         whether it had an effect is not known: an Idempotency-Key makes it safe to repeat",
        Duration::from_secs(1),
    )
}

/// Answers for a handler that panicked. The panic itself is printed by the panic hook.
#[derive(Clone, Copy)]
struct Panicked;

impl PanicHandler for Panicked {
    type Response = Response;

    fn get_response(&self, _: Box<dyn std::any::Any + Send + 'static>) -> Response {
        Problem::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "the server could not complete this request",
        )
        .into_response()
    }
}

/// For each route, as poem writes it, the value of `Allow` (RFC 9110 section 10.2.1).
fn allowed_methods(document: &str) -> HashMap<String, HeaderValue> {
    let document: serde_json::Value = serde_json::from_str(document).unwrap_or_default();
    let paths = document["paths"].as_object();
    paths
        .into_iter()
        .flatten()
        .filter_map(|(path, operations)| {
            let methods: Vec<String> = operations
                .as_object()?
                .keys()
                .map(|method| method.to_uppercase())
                .collect();
            let value = HeaderValue::from_str(&methods.join(", ")).ok()?;
            Some((route_of(path), value))
        })
        .collect()
}

/// A path of the document as the router has it: poem-openapi numbers the parameters.
fn route_of(path: &str) -> String {
    let mut parameters = 0..;
    let segments = path.split('/').map(|segment| match segment.starts_with('{') {
        true => parameters
            .next()
            .map_or_else(String::new, |number| format!(":param{number}")),
        false => segment.to_owned(),
    });
    segments.collect::<Vec<_>>().join("/")
}

/// No id, name or parameter means anything with U+0000 in it, and PostgreSQL cannot hold one.
fn refuse_nul(request: &Request) -> Result<(), Problem> {
    if request.uri().path().contains("%00") {
        return Err(Problem::new(
            StatusCode::NOT_FOUND,
            "there is nothing at this path",
        ));
    }
    let query = request.uri().query().unwrap_or_default();
    let bad = query.split('&').find(|parameter| parameter.contains("%00"));
    match bad.map(|parameter| parameter.split('=').next().unwrap_or_default()) {
        Some(name) => Err(Violation::query(name, "must not contain the character U+0000").into()),
        None => Ok(()),
    }
}

/// A query parameter that is present but empty counts as absent.
fn drop_empty_parameters(request: &mut Request) {
    let Some(query) = request.uri().query() else {
        return;
    };
    let present: Vec<&str> = query
        .split('&')
        .filter(|parameter| {
            parameter
                .split_once('=')
                .is_some_and(|(_, value)| !value.is_empty())
        })
        .collect();
    if present.len() == query.split('&').count() {
        return;
    }
    let path = request.uri().path();
    let shortened = if present.is_empty() {
        path.to_owned()
    } else {
        format!("{path}?{}", present.join("&"))
    };
    let mut parts = request.uri().clone().into_parts();
    parts.path_and_query = shortened.parse().ok();
    if let Ok(uri) = poem::http::Uri::from_parts(parts) {
        *request.uri_mut() = uri;
    }
}
