//! The settings of the server row that the plugin was registered with. Each key has to be granted to be read.

use serde::de::DeserializeOwned;

use crate::{Error, Result, bindings::llmring::plugin::configuration};

/// The setting `key`, none when it is not set.
///
/// # Errors
/// [`Error::Denied`] when the key is not granted; [`Error::Failed`] when its value is no `T`.
pub fn get<T: DeserializeOwned>(key: &str) -> Result<Option<T>> {
    let Some(value) = configuration::get(key)? else {
        return Ok(None);
    };
    serde_json::from_str(&value)
        .map(Some)
        .map_err(|error| Error::failed(format_args!("the setting {key:?}: {error}")))
}

/// Whether the row has a secret, which the host adds to requests for the row's own origin.
///
/// # Errors
/// [`Error::Denied`] when the host does not tell.
pub fn has_secret() -> Result<bool> {
    Ok(configuration::has_secret()?)
}
