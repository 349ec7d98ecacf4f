//! `auth_config`: how this server shows an MCP server who is asking. Its secrets are masked wherever it is shown.

use std::fmt;

use serde_json::{Map, Value};
use url::Url;

use super::peer::{Auth, Secret};
use crate::error::Violation;

/// What stands for a secret in answers. Sent back in the same place, it keeps the secret.
pub const MASK: &str = "********";

const MEMBER: &str = "auth_config";

/// The shapes that are used when connecting. Whatever else is stored and not used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Header,
    Basic,
    OauthClientCredentials,
}

impl Scheme {
    fn of(members: &Map<String, Value>) -> Option<Self> {
        match members.get("type")?.as_str()? {
            "bearer" => Some(Self::Bearer),
            "header" => Some(Self::Header),
            "basic" => Some(Self::Basic),
            "oauth_client_credentials" => Some(Self::OauthClientCredentials),
            _ => None,
        }
    }

    /// The members that hold no secret and are shown.
    fn shown(self) -> &'static [&'static str] {
        match self {
            Self::Bearer => &["type"],
            Self::Header => &["type", "name"],
            Self::Basic => &["type", "username"],
            Self::OauthClientCredentials => &["type", "token_url", "client_id", "scope", "resource"],
        }
    }

    fn required(self) -> &'static [&'static str] {
        match self {
            Self::Bearer => &["token"],
            Self::Header => &["name", "value"],
            Self::Basic => &["username", "password"],
            Self::OauthClientCredentials => &["token_url", "client_id", "client_secret"],
        }
    }

    fn optional(self) -> &'static [&'static str] {
        match self {
            Self::Bearer | Self::Header | Self::Basic => &[],
            Self::OauthClientCredentials => &["scope", "resource"],
        }
    }
}

/// An `auth_config` with its secrets in clear.
#[derive(Clone, PartialEq)]
pub struct AuthConfig(Map<String, Value>);

impl fmt::Debug for AuthConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AuthConfig(…)")
    }
}

impl AuthConfig {
    /// Any JSON object.
    pub fn new(members: Map<String, Value>) -> Self {
        Self(members)
    }

    /// JSON text of all of it, to be encrypted.
    pub(super) fn to_text(&self) -> String {
        Value::Object(self.0.clone()).to_string()
    }

    /// Whether there is anything to hide.
    pub fn has_secrets(&self) -> bool {
        self.masked() != self.0
    }

    /// What answers show: everything that may be a secret is [`MASK`]. Of a shape that is not known, every text and number may be.
    pub fn masked(&self) -> Map<String, Value> {
        let shown = Scheme::of(&self.0).map_or(&[][..], Scheme::shown);
        let members = self.0.iter().map(|(name, value)| {
            let value = match value {
                Value::String(_) if shown.contains(&name.as_str()) => value.clone(),
                value => masked(value),
            };
            (name.clone(), value)
        });
        members.collect()
    }

    /// This, with the secrets of `before` where a mask came back in their place.
    pub(super) fn restored(mut self, before: Option<&Self>) -> Result<Self, Vec<Violation>> {
        let shown = Scheme::of(&self.0).map_or(&[][..], Scheme::shown);
        let mut violations = Vec::new();
        for (name, value) in &mut self.0 {
            // A secret never becomes a member that is shown.
            let known = before
                .and_then(|before| before.0.get(name))
                .filter(|_| !shown.contains(&name.as_str()));
            restore(value, known, &mut vec![MEMBER, name], &mut violations);
        }
        if violations.is_empty() {
            Ok(self)
        } else {
            Err(violations)
        }
    }

    /// What keeps a known shape from being used.
    pub(super) fn violations(&self) -> Vec<Violation> {
        let Some(scheme) = Scheme::of(&self.0) else {
            return Vec::new();
        };
        let mut found = Vec::new();
        let mut refuse =
            |member: &str, message: &str| found.push(Violation::body(&[MEMBER, member], message));
        for member in scheme.required() {
            match self.0.get(*member) {
                Some(Value::String(text)) if !text.is_empty() => {}
                Some(Value::Null) | None => refuse(member, "is required by this type"),
                Some(_) => refuse(member, "must be a text that is not empty"),
            }
        }
        for member in scheme.optional() {
            if !matches!(self.0.get(*member), None | Some(Value::Null | Value::String(_))) {
                refuse(member, "must be a text");
            }
        }
        match scheme {
            Scheme::Basic if self.text("username").is_some_and(|name| name.contains(':')) => {
                refuse("username", "must not contain a colon (RFC 7617 section 2)");
            }
            Scheme::OauthClientCredentials => {
                if let Some(url) = self.text("token_url") {
                    match Url::parse(url) {
                        Ok(url) if !matches!(url.scheme(), "http" | "https") => {
                            refuse("token_url", "must be an http or https URL");
                        }
                        Ok(url) if url_secret(&url).is_some() => {
                            refuse("token_url", "must hold no password: it is shown");
                        }
                        Ok(_) => {}
                        Err(_) => refuse("token_url", "must be a URL"),
                    }
                }
            }
            Scheme::Basic | Scheme::Bearer | Scheme::Header => {}
        }
        found
    }

    /// How to show who is asking; `None` for shapes that are not used.
    pub fn auth(&self) -> Option<Auth> {
        let text = |member: &str| self.text(member).map(str::to_owned);
        let secret = |member: &str| self.text(member).map(Secret::new);
        Some(match Scheme::of(&self.0)? {
            Scheme::Bearer => Auth::Bearer(secret("token")?),
            Scheme::Header => Auth::Header {
                name: text("name")?,
                value: secret("value")?,
            },
            Scheme::Basic => Auth::Basic {
                username: text("username")?,
                password: secret("password")?,
            },
            Scheme::OauthClientCredentials => Auth::OauthClientCredentials {
                token_url: Url::parse(self.text("token_url")?).ok()?,
                client_id: text("client_id")?,
                client_secret: secret("client_secret")?,
                scope: text("scope"),
                resource: text("resource"),
            },
        })
    }

    fn text(&self, member: &str) -> Option<&str> {
        self.0.get(member)?.as_str()
    }
}

fn masked(value: &Value) -> Value {
    match value {
        Value::String(_) | Value::Number(_) => Value::from(MASK),
        Value::Array(items) => items.iter().map(masked).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, value)| (name.clone(), masked(value)))
            .collect(),
        Value::Null | Value::Bool(_) => value.clone(),
    }
}

fn restore(value: &mut Value, before: Option<&Value>, path: &mut Vec<&str>, violations: &mut Vec<Violation>) {
    match value {
        Value::String(text) if text == MASK => match before {
            Some(secret @ (Value::String(_) | Value::Number(_))) => *value = secret.clone(),
            _ => violations.push(Violation::body(
                path,
                "is a mask, and no secret is kept behind it",
            )),
        },
        Value::Array(items) => {
            for (index, item) in items.iter_mut().enumerate() {
                let before = before.and_then(|before| before.get(index));
                let index = index.to_string();
                let mut path = path.clone();
                path.push(&index);
                restore(item, before, &mut path, violations);
            }
        }
        Value::Object(members) => {
            for (name, member) in members {
                let before = before.and_then(|before| before.get(name));
                let mut path = path.clone();
                path.push(name);
                restore(member, before, &mut path, violations);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// Names of query parameters that hold secrets, without punctuation.
const SECRET_PARAMETERS: [&str; 22] = [
    "accesskey",
    "accesstoken",
    "apikey",
    "apitoken",
    "auth",
    "authorization",
    "authtoken",
    "bearer",
    "clientsecret",
    "credential",
    "credentials",
    "idtoken",
    "jwt",
    "key",
    "passwd",
    "password",
    "pwd",
    "refreshtoken",
    "secret",
    "secretkey",
    "token",
    "xapikey",
];

/// Where in a URL a secret is: its user information, or a query parameter of a usual name.
pub(super) fn url_secret(url: &Url) -> Option<&'static str> {
    if !url.username().is_empty() || url.password().is_some() {
        return Some("user information");
    }
    let has_secret = url.query_pairs().any(|(name, value)| {
        let plain: String = name
            .chars()
            .filter(char::is_ascii_alphanumeric)
            .map(|letter| letter.to_ascii_lowercase())
            .collect();
        !value.is_empty() && SECRET_PARAMETERS.contains(&plain.as_str())
    });
    has_secret.then_some("a query parameter")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn config(value: Value) -> AuthConfig {
        match value {
            Value::Object(members) => AuthConfig::new(members),
            other => panic!("{other} is no object"),
        }
    }

    #[test]
    fn what_may_be_a_secret_is_masked() {
        for (given, shown) in [
            (
                json!({"type": "bearer", "token": "s"}),
                json!({"type": "bearer", "token": MASK}),
            ),
            (
                json!({"type": "header", "name": "X-Key", "value": "s", "more": [1, true, {"a": "s"}]}),
                json!({"type": "header", "name": "X-Key", "value": MASK, "more": [MASK, true, {"a": MASK}]}),
            ),
            (
                json!({"type": "basic", "username": "ada", "password": "s"}),
                json!({"type": "basic", "username": "ada", "password": MASK}),
            ),
            (
                json!({"type": "oauth_client_credentials", "token_url": "https://a/t", "client_id": "c", "client_secret": "s"}),
                json!({"type": "oauth_client_credentials", "token_url": "https://a/t", "client_id": "c", "client_secret": MASK}),
            ),
            (
                json!({"type": "odd", "pin": 1234, "on": true}),
                json!({"type": MASK, "pin": MASK, "on": true}),
            ),
            (
                json!({"type": ["bearer"], "username": "s"}),
                json!({"type": [MASK], "username": MASK}),
            ),
        ] {
            let config = config(given);
            assert_eq!(Value::Object(config.masked()), shown);
            assert!(config.has_secrets());
            assert_eq!(format!("{config:?}"), "AuthConfig(…)");
            let back = AuthConfig::new(config.masked()).restored(Some(&config));
            assert_eq!(back.expect("what was shown"), config, "a mask keeps its secret");
        }
        assert!(!config(json!({})).has_secrets());
        assert!(!config(json!({"enabled": true})).has_secrets());
    }

    #[test]
    fn a_mask_brings_no_secret_to_another_place() {
        let before = config(json!({"type": "odd", "username": "hush", "list": ["a"]}));
        for (sent, place) in [
            (
                json!({"type": "basic", "username": MASK, "password": "p"}),
                "username",
            ),
            (json!({"type": "bearer", "token": MASK}), "token"),
            (json!({"list": ["b", MASK]}), "1"),
            (json!({"list": {"0": MASK}}), "0"),
        ] {
            let refused = config(sent).restored(Some(&before)).expect_err(place);
            assert_eq!(refused[0].at.last().map(String::as_str), Some(place));
        }
        assert!(config(json!({"token": MASK})).restored(None).is_err());
    }

    #[test]
    fn known_shapes_need_their_members() {
        for (sent, place) in [
            (json!({"type": "bearer"}), "token"),
            (json!({"type": "bearer", "token": ""}), "token"),
            (
                json!({"type": "basic", "username": "a:b", "password": "p"}),
                "username",
            ),
            (json!({"type": "header", "name": "X", "value": 1}), "value"),
            (
                json!({"type": "oauth_client_credentials", "token_url": "ftp://x", "client_id": "c", "client_secret": "s"}),
                "token_url",
            ),
            (
                json!({"type": "oauth_client_credentials", "token_url": "https://u:p@x", "client_id": "c", "client_secret": "s"}),
                "token_url",
            ),
        ] {
            let violations = config(sent).violations();
            assert_eq!(violations.len(), 1, "{violations:?}");
            assert_eq!(violations[0].at.last().map(String::as_str), Some(place));
        }
        assert_eq!(config(json!({"type": "odd"})).violations(), []);
        assert!(config(json!({"type": "odd", "token": "x"})).auth().is_none());
        let bearer = config(json!({"type": "bearer", "token": "x"})).auth();
        assert_eq!(bearer, Some(Auth::Bearer(Secret::new("x"))));
    }

    #[test]
    fn secrets_in_urls_are_found() {
        for (url, found) in [
            ("https://a.example/mcp?session=1", false),
            ("https://a.example/mcp?token=", false),
            ("https://ada:hush@a.example/", true),
            ("https://hush@a.example/", true),
            ("https://a.example/?Api-Key=hush", true),
            ("https://a.example/?x=1&access%5Ftoken=hush", true),
        ] {
            assert_eq!(
                url_secret(&Url::parse(url).expect("a URL")).is_some(),
                found,
                "{url}"
            );
        }
    }
}
