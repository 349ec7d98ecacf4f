//! LLMRing Server.

pub mod outbound;
pub mod prices;
pub mod registry;
