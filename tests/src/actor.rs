//! Who speaks to the server.

use std::sync::OnceLock;
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder};
use serde_json::Value;

use crate::Answer;

/// Longer than anything the server may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// Somebody with an API key, or without.
#[derive(Clone, Debug)]
pub struct Actor {
    client: Client,
    base: String,
    key: Option<String>,
}

impl Actor {
    pub(crate) fn new(base: String, key: Option<String>) -> Self {
        static PROVIDER: OnceLock<()> = OnceLock::new();
        PROVIDER.get_or_init(|| {
            // Fails only when a provider is there already.
            let _ = rustls::crypto::ring::default_provider().install_default();
        });
        let client = Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .timeout(PATIENCE)
            .build()
            .expect("an HTTP client");
        Self { client, base, key }
    }

    /// The key that this actor sends.
    pub fn key(&self) -> &str {
        self.key.as_deref().expect("an actor with a key")
    }

    /// The server's address, without a slash at the end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// A request to a path, with this actor's key.
    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.client.request(method, format!("{}{path}", self.base));
        match &self.key {
            Some(key) => request.header("X-API-Key", key),
            None => request,
        }
    }

    /// Sends and reads the whole answer.
    pub async fn send(&self, request: RequestBuilder) -> Answer {
        Answer::read(request.send().await.expect("an answer")).await
    }

    /// As [`Actor::send`]; `None` when the server broke off.
    pub async fn try_send(&self, request: RequestBuilder) -> Option<Answer> {
        let response = request.send().await.ok()?;
        let status = response.status().as_u16();
        let headers = response.headers().clone();
        let text = response.text().await.ok()?;
        Some(Answer {
            status,
            headers,
            text,
        })
    }

    /// `GET`.
    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    /// `POST` with a JSON body.
    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        self.post_text(path, &body.to_string()).await
    }

    /// `POST` with text that claims to be JSON.
    pub async fn post_text(&self, path: &str, body: &str) -> Answer {
        let request = self
            .request(Method::POST, path)
            .header("Content-Type", "application/json")
            .body(body.to_owned());
        self.send(request).await
    }

    /// Logs one call.
    pub async fn log_usage(&self, log: Value) -> Answer {
        self.post("/api/v1/log", &log).await
    }

    /// Logs one call with an idempotency key.
    pub async fn log_usage_once(&self, idempotency_key: &str, log: &Value) -> Answer {
        let request = self
            .request(Method::POST, "/api/v1/log")
            .header("Idempotency-Key", idempotency_key)
            .json(log);
        self.send(request).await
    }

    /// Logs many calls at once.
    pub async fn log_batch(&self, logs: &[Value]) -> Answer {
        self.post("/api/v1/log/batch", &serde_json::json!({ "logs": logs }))
            .await
    }

    /// The newest logs; `query` is a query string or empty.
    pub async fn logs(&self, query: &str) -> Answer {
        self.get(&format!("/api/v1/logs?{query}")).await
    }

    /// Statistics; `query` is a query string or empty.
    pub async fn stats(&self, query: &str) -> Answer {
        self.get(&format!("/api/v1/stats?{query}")).await
    }

    /// The explanation of what a log costs.
    pub async fn cost_of(&self, log_id: &str) -> Answer {
        self.get(&format!("/api/v1/logs/{log_id}/cost")).await
    }

    /// Asserts that the log is listed for this actor and that its cost can be explained to them.
    pub async fn can_see(&self, log_id: &str) {
        self.cost_of(log_id).await.ok();
        assert!(self.lists(log_id).await, "{log_id} is not listed");
    }

    /// Asserts that the log does not exist for this actor, in no list and in no sum.
    pub async fn cannot_see(&self, log_id: &str) {
        self.cost_of(log_id).await.refused(404);
        assert!(!self.lists(log_id).await, "{log_id} is listed");
        let csv = self.logs("format=csv").await.ok();
        assert!(!csv.text.contains(log_id), "{csv:?}");
    }

    /// Asserts that nothing at all is stored for this actor.
    #[track_caller]
    pub fn has_nothing(&self) -> impl Future<Output = ()> {
        let caller = std::panic::Location::caller();
        async move {
            let logs = self.logs("").await.ok();
            assert_eq!(logs.text, "[]", "{caller}");
            let stats = self.stats("").await.ok();
            assert_eq!(stats.exact(&["summary", "total_requests"]), "0", "{caller}");
        }
    }

    async fn lists(&self, log_id: &str) -> bool {
        let logs = self.logs("limit=500").await.ok().json();
        let logs = logs.as_array().expect("an array");
        logs.iter().any(|log| log["id"] == log_id)
    }
}
