//! LLMRing Server.

pub mod cache;
pub mod outbound;
pub mod prices;
pub mod registry;
