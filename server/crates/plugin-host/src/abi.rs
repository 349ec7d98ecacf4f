//! The versions of `llmring:plugin`, one module each.

pub(crate) mod since_0_1_0;
