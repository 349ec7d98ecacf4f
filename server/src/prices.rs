//! stand-in
use entity::usd::Usd;
use serde::{Deserialize, Serialize};
#[derive(Clone, Copy, Debug)]
pub struct TokenCounts {
    pub input: u64,
    pub output: u64,
    pub cached_input: u64,
    pub cache_write_5m: u64,
    pub cache_write_1h: u64,
    pub reasoning: u64,
    pub input_includes_cached: bool,
}
pub fn input_includes_cached_default(provider: &str) -> bool {
    provider != "anthropic"
}
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct PriceBasis {
    pub reason: Option<String>,
}
pub enum Priced {
    Priced { cost: Usd, basis: PriceBasis },
    Unpriced { basis: PriceBasis },
}
pub fn price(_c: &crate::registry::Catalog, _p: &str, _m: &str, _t: &TokenCounts) -> Priced {
    Priced::Unpriced {
        basis: PriceBasis {
            reason: Some("x".into()),
        },
    }
}
