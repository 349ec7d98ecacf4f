//! stand-in
use std::sync::Arc;
use std::time::Duration;
#[derive(Debug)]
pub struct Catalog;
#[derive(Clone, Debug)]
pub struct Registry;
impl Registry {
    pub async fn start(
        _o: &crate::config::RegistryConfig,
        _t: Duration,
        _s: crate::storage::Storage,
        _c: crate::cache::Cache,
        _ob: crate::outbound::Outbound,
        _cl: crate::clock::Clock,
    ) -> Self {
        Self
    }
    pub fn catalog(&self) -> Arc<Catalog> {
        Arc::new(Catalog)
    }
    pub async fn wait_for_first_attempt(&self, _d: Duration) {}
    pub async fn shutdown(&self) {}
}
