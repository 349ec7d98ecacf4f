//! What the operator grants a plugin, and whether that covers what the plugin is about to do.

use serde::Deserialize;
use url::{Host, Origin, Url};

use crate::{LimitChanges, LoadError, Manifest, Permissions};

/// What the operator grants one plugin. The default grants nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grants {
    permissions: Permissions,
    limits: LimitChanges,
    hosts: Vec<HostPattern>,
}

/// The file `<name>.toml` in the folder of plugins: [`Permissions`]' members and `[limits]`.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct GrantsFile {
    #[serde(default)]
    hosts: Vec<String>,
    #[serde(default)]
    endpoint: bool,
    #[serde(default)]
    configuration: Vec<String>,
    #[serde(default)]
    limits: LimitChanges,
}

impl Grants {
    /// Grants these things and these limits.
    ///
    /// # Errors
    /// A host is not a pattern.
    pub fn new(permissions: Permissions, limits: LimitChanges) -> Result<Self, LoadError> {
        let hosts = permissions
            .hosts
            .iter()
            .map(|host| HostPattern::parse(host))
            .collect::<Result<_, _>>();
        Ok(Self {
            hosts: hosts.map_err(LoadError::Grants)?,
            permissions,
            limits,
        })
    }

    /// Reads the text of a file of grants.
    ///
    /// # Errors
    /// What is wrong with it, with line and column where it is not TOML.
    pub fn parse(text: &str) -> Result<Self, LoadError> {
        let GrantsFile {
            hosts,
            endpoint,
            configuration,
            limits,
        } = toml::from_str(text)
            .map_err(|error| LoadError::Grants(error.to_string().trim_end().to_owned()))?;
        Self::new(
            Permissions {
                hosts,
                endpoint,
                configuration,
            },
            limits,
        )
    }

    /// What a transport is granted when the operator says nothing: the origin of the server row's own URL.
    #[must_use]
    pub fn endpoint() -> Self {
        Self {
            permissions: Permissions {
                endpoint: true,
                ..Permissions::default()
            },
            ..Self::default()
        }
    }

    /// What is granted.
    #[must_use]
    pub fn permissions(&self) -> &Permissions {
        &self.permissions
    }

    /// The limits that are granted in the place of the server's.
    #[must_use]
    pub fn limits(&self) -> &LimitChanges {
        &self.limits
    }

    /// What `manifest` asks for and these grants do not give.
    #[must_use]
    pub fn lacking(&self, manifest: &Manifest) -> Permissions {
        let given = |granted: &[String], asked: &String| granted.iter().any(|g| g == asked || g == "*");
        let Permissions {
            hosts,
            endpoint,
            configuration,
        } = &manifest.asks;
        Permissions {
            hosts: hosts
                .iter()
                .filter(|asked| {
                    !given(&self.permissions.hosts, asked) && !self.hosts.iter().any(|g| g.covers(asked))
                })
                .cloned()
                .collect(),
            endpoint: *endpoint && !self.permissions.endpoint,
            configuration: configuration
                .iter()
                .filter(|asked| !given(&self.permissions.configuration, asked))
                .cloned()
                .collect(),
        }
    }

    /// Whether a request to `url` is granted, for a server row whose own URL is `endpoint`.
    ///
    /// # Errors
    /// The line that would grant it.
    pub(crate) fn check_url(&self, url: &Url, endpoint: Option<&Url>) -> Result<(), String> {
        let own = endpoint.is_some_and(|endpoint| same_origin(endpoint, url));
        if own && self.permissions.endpoint || self.hosts.iter().any(|host| host.matches(url)) {
            return Ok(());
        }
        Err(match (own, url.host_str()) {
            (true, _) => "endpoint = true".to_owned(),
            (false, Some(host)) => match url.port() {
                Some(port) => format!("hosts = [\"{host}:{port}\"]"),
                None => format!("hosts = [\"{host}\"]"),
            },
            (false, None) => "hosts = [\"…\"]".to_owned(),
        })
    }

    /// Whether reading the setting `key` is granted.
    ///
    /// # Errors
    /// The line that would grant it.
    pub(crate) fn check_configuration(&self, key: &str) -> Result<(), String> {
        let granted = &self.permissions.configuration;
        if granted.iter().any(|granted| granted == key || granted == "*") {
            return Ok(());
        }
        Err(format!("configuration = [{key:?}]"))
    }
}

/// Whether two URLs have the same scheme, host and port; `ws` counts as `http` and `wss` as `https`.
fn same_origin(one: &Url, other: &Url) -> bool {
    let origin = |url: &Url| match url.origin() {
        Origin::Tuple(scheme, host, port) => {
            let scheme = match scheme.as_str() {
                "ws" => "http".to_owned(),
                "wss" => "https".to_owned(),
                _ => scheme,
            };
            Some((scheme, host, port))
        }
        Origin::Opaque(_) => None,
    };
    origin(one).is_some() && origin(one) == origin(other)
}

/// A host in a list of permitted ones; see [`Permissions::hosts`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HostPattern {
    host: HostPart,
    port: PortPart,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum HostPart {
    Any,
    Below(String),
    Exactly(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum PortPart {
    Any,
    /// That of the request's scheme.
    Default,
    Exactly(u16),
}

impl HostPattern {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!("{text:?} is not a host: write `api.example.com`, `*.example.com`, `host:8443` or `*`")
        };
        // An IPv6 address is in brackets, and its colons are not a port's.
        let (host, port) = match text.rsplit_once(':') {
            Some((host, port)) if !port.contains(']') => (host, Some(port)),
            _ => (text, None),
        };
        let port = match port {
            None => PortPart::Default,
            Some("*") => PortPart::Any,
            Some(port) => PortPart::Exactly(port.parse().map_err(|_| wrong())?),
        };
        let name = |name: &str| {
            Host::parse(name)
                .map(|host| host.to_string())
                .map_err(|_| wrong())
        };
        let host = match host.strip_prefix("*.") {
            _ if host == "*" => HostPart::Any,
            Some(parent) => HostPart::Below(name(parent)?),
            None => HostPart::Exactly(name(host)?),
        };
        Ok(Self { host, port })
    }

    fn matches(&self, url: &Url) -> bool {
        let Some(host) = url.host_str() else { return false };
        self.matches_host(host)
            && match self.port {
                PortPart::Any => true,
                PortPart::Default => url.port().is_none(),
                PortPart::Exactly(port) => url.port_or_known_default() == Some(port),
            }
    }

    fn matches_host(&self, host: &str) -> bool {
        match &self.host {
            HostPart::Any => true,
            HostPart::Exactly(name) => name == host,
            HostPart::Below(parent) => host
                .strip_suffix(parent)
                .is_some_and(|rest| rest.len() > 1 && rest.ends_with('.')),
        }
    }

    /// Whether everything that the pattern `asked` permits is permitted by this one too.
    fn covers(&self, asked: &str) -> bool {
        let Ok(asked) = Self::parse(asked) else {
            return false;
        };
        let host = match (&self.host, &asked.host) {
            (HostPart::Any, _) => true,
            (HostPart::Below(_), HostPart::Exactly(name)) => self.matches_host(name),
            (HostPart::Below(parent), HostPart::Below(name)) => parent == name || self.matches_host(name),
            (granted, asked) => granted == asked,
        };
        host && (self.port == PortPart::Any || self.port == asked.port)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    fn permits(grant: &str, url: &str) -> bool {
        let grants = Grants::parse(&format!("hosts = [{grant:?}]")).unwrap();
        grants.check_url(&Url::parse(url).unwrap(), None).is_ok()
    }

    #[test]
    fn a_host_pattern_permits_what_it_says_and_no_more() {
        for (grant, url, expected) in [
            ("api.example.com", "https://api.example.com/x", true),
            ("API.example.com", "https://api.example.com/x", true),
            ("api.example.com", "http://api.example.com/", true),
            ("api.example.com", "https://api.example.com:8443/", false),
            ("api.example.com:8443", "https://api.example.com:8443/", true),
            ("api.example.com:443", "https://api.example.com/", true),
            ("api.example.com:*", "https://api.example.com:1/", true),
            ("example.com", "https://api.example.com/", false),
            ("api.example.com", "https://api.example.com.evil.test/", false),
            ("*.example.com", "https://a.b.example.com/", true),
            ("*.example.com", "https://example.com/", false),
            ("*.example.com", "https://badexample.com/", false),
            ("*.example.com", "https://.example.com/", false),
            ("*", "https://anything.test/", true),
            ("*", "https://anything.test:9/", false),
            ("*:*", "https://anything.test:9/", true),
            ("127.0.0.1:80", "http://2130706433/", true),
            ("[::1]:8080", "http://[::1]:8080/", true),
            ("[::1]", "http://[::1]/", true),
            ("api.example.com", "https://api.example.com@evil.test/", false),
        ] {
            assert_eq!(permits(grant, url), expected, "{grant} for {url}");
        }
    }

    #[test]
    fn the_endpoint_is_an_origin_and_not_a_prefix() {
        let grants = Grants::endpoint();
        let endpoint = Url::parse("https://mcp.example.com/v1").unwrap();
        let check = |url: &str| grants.check_url(&Url::parse(url).unwrap(), Some(&endpoint));
        assert_eq!(check("https://mcp.example.com/other"), Ok(()));
        assert_eq!(check("wss://mcp.example.com/socket"), Ok(()));
        assert!(check("http://mcp.example.com/v1").is_err());
        assert!(check("https://mcp.example.com:444/v1").is_err());
        assert_eq!(
            check("https://other.example.com/").unwrap_err(),
            "hosts = [\"other.example.com\"]"
        );
        let none = Grants::default();
        assert_eq!(
            none.check_url(&endpoint, Some(&endpoint)).unwrap_err(),
            "endpoint = true"
        );
    }

    #[test]
    fn what_is_asked_and_not_granted_is_listed() {
        let manifest = Manifest::parse(
            "name = \"a\"\n[asks]\nhosts = [\"a.example\", \"x.b.example\", \"*\"]\nendpoint = true\nconfiguration = [\"k\"]",
        )
        .unwrap();
        let grants = Grants::parse("hosts = [\"a.example\", \"*.b.example\"]").unwrap();
        let lacking = grants.lacking(&manifest);
        assert_eq!(lacking.hosts, ["*"]);
        assert!(lacking.endpoint);
        assert_eq!(lacking.configuration, ["k"]);
        let all = Grants::parse("hosts = [\"*\"]\nendpoint = true\nconfiguration = [\"*\"]").unwrap();
        assert_eq!(all.lacking(&manifest), Permissions::default());
    }

    #[test]
    fn a_misspelt_grant_is_an_error() {
        assert!(
            Grants::parse("host = [\"a.example\"]")
                .unwrap_err()
                .to_string()
                .contains("host")
        );
    }
}
