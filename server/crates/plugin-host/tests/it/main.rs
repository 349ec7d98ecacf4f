//! The plugin host and the guests of `tests/guests`, most of which misbehave.
//!
//! `scripts/guests` builds the guests; `LLMRING_TEST_GUESTS` is the folder that it prints (`scripts/test` does both).

#![expect(clippy::unwrap_used, reason = "tests")]

mod capabilities;
mod guests;
mod isolation;
mod limits;
mod loading;
mod transports;

use std::sync::Arc;

use plugin_host::{Binding, Call, CodeCache, Content, Grants, Host, Limits, Plugin, Settings, ToolResult};

/// A host with the limits of the test.
fn host(limits: Limits) -> Host {
    // Compiled once for all tests; an engine with other settings has other entries.
    let cache = CodeCache::new(concat!(env!("CARGO_TARGET_TMPDIR"), "/plugin-code"), [7; 32]);
    let settings = Settings {
        limits,
        calls: 64,
        transports: 16,
        threads: 2,
        cache: Some(cache),
        ..Settings::default()
    };
    Host::start(settings).unwrap()
}

/// A plugin that is granted nothing.
async fn load(host: &Host, component: Vec<u8>) -> Plugin {
    Plugin::load(host, "guest", component, Grants::default())
        .await
        .unwrap()
}

async fn load_with(host: &Host, component: Vec<u8>, grants: &str) -> Plugin {
    Plugin::load(host, "guest", component, Grants::parse(grants).unwrap())
        .await
        .unwrap()
}

fn call() -> Call {
    Call::new("call-1", Arc::new(Binding::none()))
}

/// The first text of a result.
fn text(result: &ToolResult) -> &str {
    match &result.content[0].content {
        Content::Text { text } => text,
        other => panic!("{other:?} is no text"),
    }
}
