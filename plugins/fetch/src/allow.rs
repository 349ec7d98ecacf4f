//! Which pages may be fetched.

use llmring_plugin_sdk::{Error, Result, http};
use serde::Deserialize;

/// The hosts that the configuration permits: `example.com` (at the scheme's own port), `example.com:8443`, `*.example.com`
/// (every name below it), `*` (every host at its scheme's own port). Nothing is permitted where nothing is listed.
#[derive(Debug, Default, Deserialize)]
#[serde(transparent)]
pub(crate) struct AllowList(Vec<String>);

impl AllowList {
    /// # Errors
    /// [`Error::Denied`] when the page's host is not permitted, [`Error::InvalidArgument`] when it is no page's URL.
    pub(crate) fn check(&self, url: &str) -> Result<()> {
        let origin = http::origin(url).map_err(|error| Error::invalid("url", error))?;
        let host = origin.split_once("://").map_or(origin.as_str(), |(_, host)| host);
        if self
            .0
            .iter()
            .any(|pattern| matches(&pattern.to_ascii_lowercase(), host))
        {
            return Ok(());
        }
        Err(Error::Denied(format!(
            "the setting `allow` of this server does not list {host}"
        )))
    }
}

/// `host` has a port unless it is the scheme's own.
fn matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix('*') {
        Some("") => host.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']')),
        Some(parent) => parent.starts_with('.') && host.len() > parent.len() && host.ends_with(parent),
        None => pattern == host,
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn permits(pattern: &str, url: &str) -> bool {
        match AllowList(vec![pattern.to_owned()]).check(url) {
            Ok(()) => true,
            Err(Error::Denied(_)) => false,
            Err(other) => panic!("{other:?}"),
        }
    }

    #[test]
    fn hosts_are_permitted_by_name_and_port() {
        assert!(permits("example.com", "https://EXAMPLE.com:443/x"));
        assert!(permits("Example.com", "http://example.com"));
        assert!(!permits("example.com", "https://example.com:8443/"));
        assert!(permits("example.com:8443", "https://example.com:8443/"));
        assert!(!permits("example.com", "https://sub.example.com/"));
        assert!(!permits("example.com", "https://example.com.evil.example/"));
        assert!(!permits("example.com", "https://example.com@evil.example/"));
    }

    #[test]
    fn stars_stand_for_names_below_and_for_everything() {
        assert!(permits("*.example.com", "https://a.b.example.com/"));
        assert!(!permits("*.example.com", "https://example.com/"));
        assert!(!permits("*.example.com", "https://notexample.com/"));
        assert!(!permits("*example.com", "https://notexample.com/"));
        assert!(permits("*", "https://anything.example/"));
        assert!(permits("*", "http://[::1]/"));
        assert!(!permits("*", "http://[::1]:6379/"));
        assert!(!permits("*", "http://anything.example:6379/"));
    }

    #[test]
    fn nothing_is_permitted_unless_listed() {
        assert!(matches!(
            AllowList::default().check("https://example.com/").unwrap_err(),
            Error::Denied(_)
        ));
        for url in ["file:///etc/passwd", "example.com", "https://"] {
            let error = AllowList(vec!["*".to_owned()]).check(url).unwrap_err();
            assert!(matches!(error, Error::InvalidArgument { .. }), "{url}: {error:?}");
        }
    }
}
