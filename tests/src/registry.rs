//! The price registry, served from a copy, with switches for what can go wrong.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::{Reply, StandIn};

/// A directory with a small copy of the public registry.
pub const FIXTURE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/registry");

/// A registry on loopback.
#[derive(Debug)]
pub struct RegistryFixture {
    server: StandIn,
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    trouble: Option<Reply>,
    files: BTreeMap<String, Reply>,
    requests: Vec<String>,
}

impl RegistryFixture {
    /// Serves [`FIXTURE`].
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State::default()));
        let shared = state.clone();
        let server = StandIn::start(move |request| {
            let mut state = shared.lock().expect("the fixture's state");
            let path = request.path.trim_start_matches('/').to_owned();
            state.requests.push(path.clone());
            if let Some(trouble) = &state.trouble {
                return trouble.clone();
            }
            if let Some(reply) = state.files.get(&path) {
                return reply.clone();
            }
            match std::fs::read(format!("{FIXTURE}/{path}")) {
                Ok(body) => Reply::Send(200, "application/json", body),
                Err(_) => Reply::Send(404, "text/html", b"<h1>404</h1>".to_vec()),
            }
        })
        .await;
        Self { server, state }
    }

    /// Serves these providers alone, each with the `models` of its file.
    pub async fn with_providers(providers: &[(&str, Value)]) -> Self {
        let fixture = Self::start().await;
        let listed: BTreeMap<_, _> = providers
            .iter()
            .map(|(name, _)| (*name, json!({"file": format!("{name}/models.json")})))
            .collect();
        fixture.serve(
            "manifest.json",
            &json!({"version": "2026-01-01", "providers": listed}).to_string(),
        );
        for (name, models) in providers {
            fixture.serve_provider(name, 1, models);
        }
        fixture
    }

    /// Serves a provider's file from now on.
    pub fn serve_provider(&self, name: &str, version: u32, models: &Value) {
        let file = json!({"provider": name, "version": version, "models": models});
        self.serve(&format!("{name}/models.json"), &file.to_string());
    }

    /// The URL to set, with a slash at its end.
    pub fn url(&self) -> String {
        format!("{}/", self.server.url())
    }

    /// Serves this text at this path from now on.
    pub fn serve(&self, path: &str, text: &str) {
        let reply = Reply::Send(200, "application/json", text.as_bytes().to_vec());
        self.answer_with(path, reply);
    }

    /// Does this for this path from now on.
    pub fn answer_with(&self, path: &str, reply: Reply) {
        self.state
            .lock()
            .expect("the fixture's state")
            .files
            .insert(path.to_owned(), reply);
    }

    /// Does this for every request, until [`RegistryFixture::heal`].
    pub fn trouble(&self, reply: Reply) {
        self.state.lock().expect("the fixture's state").trouble = Some(reply);
    }

    /// Serves files again.
    pub fn heal(&self) {
        self.state.lock().expect("the fixture's state").trouble = None;
    }

    /// The paths asked for so far, in order.
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().expect("the fixture's state").requests.clone()
    }
}
