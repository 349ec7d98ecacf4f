//! The server as a black box: the real binary on real databases, and the actors that speak to it over HTTP.
//!
//! Start with a scenario for both databases:
//!
//! ```ignore
//! on_both_databases! {
//!     async fn a_log_is_seen_by_its_owner_alone(db: TestDatabase) {
//!         let server = Server::on(&db).start().await;
//!         let (alice, bob) = (server.actor("alice"), server.actor("bob"));
//!         let log = alice.log_usage(json!({"provider": "openai", "model": "gpt-4o-mini"})).await.ok();
//!         alice.can_see(&log.id()).await;
//!         bob.cannot_see(&log.id()).await;
//!     }
//! }
//! ```

mod actor;
mod answer;
pub mod database;
mod eventually;
mod mcp;
mod mcp_peer;
mod mcp_stand_in;
mod proxy;
mod python;
mod registry;
mod server;
mod stand_in;

pub use actor::Actor;
pub use answer::{Answer, header};
pub use database::TestDatabase;
pub use eventually::{DEADLINE, eventually};
pub use mcp_peer::McpPeer;
pub use mcp_stand_in::McpStandIn;
pub use proxy::{Proxy, Traffic};
pub use python::{Finished, python, python_with_input};
pub use registry::{FIXTURE, RegistryFixture};
pub use server::{Log, Server, ServerBuilder, program};
pub use stand_in::{Incoming, Reply, StandIn};

/// The URL of the Redis that `make test` starts; it holds a password.
///
/// # Panics
///
/// When there is none.
pub fn redis_url() -> url::Url {
    required("LLMRING_TEST_REDIS_URL", "a Redis that tests may fill")
}

/// An environment variable that `make test` sets.
fn required(variable: &str, what: &str) -> url::Url {
    let value = std::env::var(variable)
        .unwrap_or_else(|_| panic!("{variable} is not set: run `make test`, or set it to the URL of {what}"));
    value
        .parse()
        .unwrap_or_else(|error| panic!("{variable} is not a URL: {error}"))
}
