//! How up to date the registry's copies are.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

/// How up to date everything is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RegistryStatus {
    /// The worst that is true.
    pub state: RegistryState,
    /// Why no provider could be refreshed; each provider's own trouble is with it.
    pub reason: Option<String>,
    /// By name.
    pub providers: Vec<ProviderStatus>,
}

/// How up to date everything is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RegistryState {
    /// Every provider is.
    Ok,
    /// Some provider has an old copy or none.
    Stale,
    /// No provider has a copy.
    Empty,
}

/// How up to date one provider is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ProviderStatus {
    /// Its name.
    pub provider: String,
    /// In short.
    pub state: ProviderState,
    /// Why the last attempt to refresh it failed.
    pub reason: Option<String>,
    /// How long ago the registry was seen to have the copy in use; `None` without a copy.
    pub age: Option<Duration>,
}

/// How up to date one provider is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ProviderState {
    /// Its copy is current.
    Ok,
    /// Its copy is the last good one.
    Stale,
    /// It has no copy: the registry names it, but no good file of it was ever fetched.
    Missing,
}

/// What a status is told from, and what has been logged of it.
#[derive(Clone, Debug, Default)]
pub(super) struct Knowledge {
    /// Why the manifest could not be read.
    problem: Option<String>,
    providers: BTreeMap<String, Provider>,
}

#[derive(Clone, Debug, Default)]
struct Provider {
    checked_at: Option<DateTime<Utc>>,
    problem: Option<String>,
}

impl Knowledge {
    /// The whole registry cannot be refreshed, or (`None`) can again. Logged when it changes.
    pub(super) fn set_problem(&mut self, problem: Option<String>) {
        match &problem {
            Some(reason) if self.problem != problem => {
                tracing::warn!(
                    reason,
                    "the registry cannot be refreshed: the last good copies stay in use"
                );
            }
            None if self.problem.is_some() => tracing::info!("the registry can be refreshed again"),
            Some(_) | None => {}
        }
        self.problem = problem;
    }

    /// A good copy of a provider was seen in the registry at that time.
    pub(super) fn refreshed(&mut self, provider: &str, checked_at: DateTime<Utc>) {
        let entry = self.providers.entry(provider.to_owned()).or_default();
        entry.checked_at = Some(checked_at);
        if entry.problem.take().is_some() {
            tracing::info!(provider, "the registry file can be refreshed again");
        }
    }

    /// A provider could not be refreshed. Logged when the reason changes.
    pub(super) fn failed(&mut self, provider: &str, reason: String) {
        let entry = self.providers.entry(provider.to_owned()).or_default();
        if entry.problem.as_ref() != Some(&reason) {
            tracing::warn!(
                provider,
                reason,
                "a registry file cannot be refreshed: the last good copy stays in use"
            );
        }
        entry.problem = Some(reason);
    }

    /// Only these providers are left.
    pub(super) fn retain(&mut self, providers: &[String]) {
        self.providers.retain(|name, _| providers.contains(name));
    }

    pub(super) fn report(&self, now: DateTime<Utc>, ttl: Duration) -> RegistryStatus {
        let providers: Vec<_> = self
            .providers
            .iter()
            .map(|(name, provider)| {
                let age = provider
                    .checked_at
                    .map(|at| (now - at).to_std().unwrap_or_default());
                let state = match age {
                    None => ProviderState::Missing,
                    // Nothing went wrong and yet it was not refreshed: the server was not running.
                    Some(age) if provider.problem.is_some() || age > 2 * ttl => ProviderState::Stale,
                    Some(_) if self.problem.is_some() => ProviderState::Stale,
                    Some(_) => ProviderState::Ok,
                };
                ProviderStatus {
                    provider: name.clone(),
                    state,
                    reason: provider.problem.clone(),
                    age,
                }
            })
            .collect();
        let state = if providers
            .iter()
            .all(|provider| provider.state == ProviderState::Missing)
        {
            RegistryState::Empty
        } else if providers
            .iter()
            .all(|provider| provider.state == ProviderState::Ok)
        {
            RegistryState::Ok
        } else {
            RegistryState::Stale
        };
        RegistryStatus {
            state,
            reason: self.problem.clone(),
            providers,
        }
    }
}
