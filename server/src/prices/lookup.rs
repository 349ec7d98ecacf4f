//! Which model of the registry a caller means.

use crate::registry::{Catalog, Model, ProviderFile};

use super::basis::MatchedBy;

/// A model, the file it is in, and how it was found.
pub(super) struct Found<'a> {
    pub(super) file: &'a ProviderFile,
    pub(super) model: &'a Model,
    pub(super) by: MatchedBy,
}

/// Tries, in this order: `provider:model` as a key; `model` as a key; the provider's own names; an alias that exactly one of the
/// provider's models has. The error is the reason for which there is none.
pub(super) fn find<'a>(catalog: &'a Catalog, provider: &str, model: &str) -> Result<Found<'a>, String> {
    let own_file = catalog.provider(provider);
    if let Some(file) = own_file
        && let Some(model) = file.model(&format!("{}:{model}", file.provider()))
    {
        return Ok(Found {
            file,
            model,
            by: MatchedBy::Key,
        });
    }
    if let Some((file, model)) = catalog.model(model) {
        return Ok(Found {
            file,
            model,
            by: MatchedBy::ModelAsKey,
        });
    }
    let file = own_file.ok_or_else(|| {
        if catalog.is_empty() {
            "no price registry has been fetched yet".to_owned()
        } else {
            format!("the registry has no provider {provider:?}")
        }
    })?;
    let named = |candidate: &&Model| candidate.model_name.as_deref() == Some(model);
    let aliased = |candidate: &&Model| candidate.model_aliases.iter().any(|alias| alias == model);
    let found = match only(file.models().iter().filter(named), model, "name")? {
        Some(model) => Some((model, MatchedBy::ModelName)),
        None => {
            only(file.models().iter().filter(aliased), model, "alias")?.map(|model| (model, MatchedBy::Alias))
        }
    };
    let (model, by) =
        found.ok_or_else(|| format!("the registry has no model {model:?} of provider {provider:?}"))?;
    Ok(Found { file, model, by })
}

fn only<'a>(
    mut candidates: impl Iterator<Item = &'a Model>,
    name: &str,
    kind: &str,
) -> Result<Option<&'a Model>, String> {
    let first = candidates.next();
    match (first, candidates.next()) {
        (Some(first), Some(second)) => Err(format!(
            "the {kind} {name:?} is ambiguous: {} and {} have it",
            first.key, second.key
        )),
        _ => Ok(first),
    }
}
