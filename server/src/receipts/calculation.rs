//! A usage log's cost in words, so that a reader recomputes the amount.

use std::fmt::Write;

use entity::usage_log::{self, CostSource};

use crate::error::{Error, Result};
use crate::prices::{CostLine, PriceBasis, Tier};

/// The registry's version, where the registry decided, and the explanation.
pub(super) fn of(log: &usage_log::Model) -> Result<(Option<String>, String)> {
    let basis = log.pricing.as_deref().map(serde_json::from_str).transpose();
    let basis: Option<PriceBasis> = basis.map_err(|source| Error::Corrupt {
        what: "pricing",
        source,
    })?;
    Ok(match (log.cost_source, basis) {
        (CostSource::Client, _) => (None, "The caller stated the cost.".to_owned()),
        (CostSource::Registry | CostSource::Unpriced, None) => (None, "No explanation is stored.".to_owned()),
        (CostSource::Registry, Some(basis)) => (basis.registry_version.clone(), priced(&basis)),
        (CostSource::Unpriced, Some(basis)) => {
            let reason = basis.reason.as_deref().unwrap_or("no reason is stored");
            (
                basis.registry_version.clone(),
                format!("No cost is known: {reason}."),
            )
        }
    })
}

/// `openai:gpt-4o-mini, registry version 12, provider file SHA-256 …: input 1200 × $0.15 / 1000000 = $0.00018; …`
fn priced(basis: &PriceBasis) -> String {
    let known = |text: &Option<String>| text.clone().unwrap_or_else(|| "unknown".to_owned());
    let mut text = format!(
        "{}, registry version {}, provider file SHA-256 {}, {} prices: ",
        known(&basis.model_key),
        known(&basis.registry_version),
        known(&basis.file_sha256),
        match basis.tier {
            Some(Tier::LongContext) => "long-context",
            Some(Tier::Standard) | None => "standard",
        },
    );
    let lines = basis.lines_with_amounts().unwrap_or_default();
    for (index, CostLine { line, amount }) in lines.iter().enumerate() {
        let separator = if index == 0 { "" } else { "; " };
        let _ = write!(
            text,
            "{separator}{} {} × ${} / 1000000 = ${amount}",
            line.token_class.as_str(),
            line.tokens,
            line.usd_per_million,
        );
    }
    if lines.is_empty() {
        text.push_str("no tokens");
    }
    text.push_str(". The amount is their sum, rounded half to even to 12 decimals.");
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_class_has_its_count_rate_and_amount() {
        let basis: PriceBasis = serde_json::from_str(
            r#"{"registry_version":"12","file_sha256":"ab","model_key":"openai:gpt-4o-mini","matched_by":"key",
                "tier":"standard","lines":[
                    {"token_class":"input","tokens":1200,"usd_per_million":"0.15"},
                    {"token_class":"output","tokens":350,"usd_per_million":"0.6"}]}"#,
        )
        .expect("a basis");
        assert_eq!(
            priced(&basis),
            "openai:gpt-4o-mini, registry version 12, provider file SHA-256 ab, standard prices: \
             input 1200 × $0.15 / 1000000 = $0.00018; output 350 × $0.6 / 1000000 = $0.00021. \
             The amount is their sum, rounded half to even to 12 decimals."
        );
    }
}
