//! A usage log's cost in words, so that a reader recomputes the amount.

use entity::usage_log::{self, CostSource};

use crate::error::{Error, Result};
use crate::prices::PriceBasis;

/// The registry's version, where it decided, and the explanation.
pub(super) fn of(log: &usage_log::Model) -> Result<(Option<String>, String)> {
    let basis = log.pricing.as_deref().map(serde_json::from_str).transpose();
    let basis: Option<PriceBasis> = basis.map_err(|source| Error::Corrupt {
        what: "pricing",
        source,
    })?;
    Ok(match (log.cost_source, basis) {
        (CostSource::Client, _) | (_, None) => (None, "The caller stated the cost.".to_owned()),
        (CostSource::Registry | CostSource::Unpriced, Some(basis)) => explain(&basis),
    })
}

fn explain(basis: &PriceBasis) -> (Option<String>, String) {
    (None, format!("No cost is known: {}.", basis.reason.as_deref().unwrap_or_default()))
}
