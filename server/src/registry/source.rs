//! Where the registry's files come from: a web server or a folder, and the shared cache in front of it.

use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::io::AsyncReadExt;
use url::Url;

use crate::cache::Cache;
use crate::clock::Clock;
use crate::outbound::{Outbound, OutboundError};

/// More providers than any registry has.
const MAX_PROVIDERS: usize = 256;
const MAX_NAME_LENGTH: usize = 64;

/// A registry to fetch from.
#[derive(Clone, Debug)]
pub(super) struct Source {
    base_url: Url,
    name: String,
    outbound: Outbound,
    cache: Cache,
    clock: Clock,
    ttl: Duration,
    max_bytes: u64,
}

/// A file's text and when the registry had it.
#[derive(Clone, Debug)]
pub(super) struct Fetched {
    pub(super) text: String,
    pub(super) at: DateTime<Utc>,
}

/// Why a file could not be fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum FetchError {
    /// The registry does not have it.
    #[error("the registry has no such file")]
    Absent,
    /// The web server did not deliver.
    #[error("{}", with_root_cause(.0))]
    Outbound(OutboundError),
    /// The file cannot be read.
    #[error("the file cannot be read: {0}")]
    File(#[from] io::Error),
    /// The file is larger than permitted.
    #[error("the file is larger than {0} bytes")]
    TooLarge(u64),
    /// Not UTF-8.
    #[error("the file is not UTF-8 text")]
    NotText,
    /// Fetched, and refused by whoever asked for it.
    #[error("{0}")]
    Malformed(String),
}

/// What the operator reads must say more than that a connection failed.
fn with_root_cause(error: &OutboundError) -> String {
    let mut root: Option<&dyn Error> = error.source();
    while let Some(deeper) = root.and_then(Error::source) {
        root = Some(deeper);
    }
    match root {
        Some(root) => format!("{error}: {root}"),
        None => error.to_string(),
    }
}

/// The providers that a manifest names.
#[derive(Debug, Deserialize)]
struct Manifest {
    providers: BTreeMap<String, IgnoredAny>,
}

impl Source {
    pub(super) fn new(
        base_url: &Url,
        outbound: Outbound,
        cache: Cache,
        clock: Clock,
        ttl: Duration,
        max_bytes: u64,
    ) -> Self {
        Self {
            base_url: base_url.clone(),
            name: without_credentials(base_url),
            outbound,
            cache,
            clock,
            ttl,
            max_bytes,
        }
    }

    /// The base URL without user and password.
    pub(super) fn name(&self) -> &str {
        &self.name
    }

    /// The providers that the registry has now, in alphabetical order, and since when that is known.
    pub(super) async fn providers(&self) -> Result<(Vec<String>, DateTime<Utc>), FetchError> {
        self.read("manifest.json", |fetched| {
            Ok((providers(&fetched.text)?, fetched.at))
        })
        .await
    }

    /// What `accept` makes of a file of the registry, at most as old as the time to live. Only files that it accepts are cached;
    /// a cached one that it does not accept is fetched again.
    pub(super) async fn read<T>(
        &self,
        path: &str,
        accept: impl Fn(&Fetched) -> Result<T, String>,
    ) -> Result<T, FetchError> {
        let key = format!("registry:{}{path}", self.name);
        let cached = self.cache.get(&key).await.and_then(Fetched::from_cached);
        if let Some(accepted) = cached.and_then(|cached| accept(&cached).ok()) {
            return Ok(accepted);
        }
        let bytes = self.fetch(path).await?;
        let text = String::from_utf8(bytes.into()).map_err(|_| FetchError::NotText)?;
        let fetched = Fetched {
            text,
            at: self.clock.now(),
        };
        let accepted = accept(&fetched).map_err(FetchError::Malformed)?;
        self.cache.put(&key, fetched.to_cached(), self.ttl).await;
        Ok(accepted)
    }

    async fn fetch(&self, path: &str) -> Result<Bytes, FetchError> {
        let Ok(url) = self.base_url.join(path) else {
            return Err(FetchError::Absent);
        };
        if url.scheme() == "file" {
            return self.read_file(&url).await;
        }
        match self.outbound.fetch(&url, self.max_bytes).await {
            Ok(bytes) => Ok(bytes),
            Err(error) if error.is_absence() => Err(FetchError::Absent),
            Err(error) => Err(FetchError::Outbound(error)),
        }
    }

    async fn read_file(&self, url: &Url) -> Result<Bytes, FetchError> {
        let path = url.to_file_path().map_err(|()| FetchError::Absent)?;
        let file = match tokio::fs::File::open(path).await {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(FetchError::Absent),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(self.max_bytes.saturating_add(1))
            .read_to_end(&mut bytes)
            .await?;
        if bytes.len() as u64 > self.max_bytes {
            return Err(FetchError::TooLarge(self.max_bytes));
        }
        Ok(bytes.into())
    }
}

/// The instant in microseconds before the text, so that a copy of a copy is no younger than it.
impl Fetched {
    fn to_cached(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(8 + self.text.len());
        bytes.put_i64(self.at.timestamp_micros());
        bytes.put_slice(self.text.as_bytes());
        bytes.freeze()
    }

    fn from_cached(bytes: Bytes) -> Option<Self> {
        let (instant, text) = bytes.split_first_chunk::<8>()?;
        Some(Self {
            at: DateTime::from_timestamp_micros(i64::from_be_bytes(*instant))?,
            text: std::str::from_utf8(text).ok()?.to_owned(),
        })
    }
}

fn providers(text: &str) -> Result<Vec<String>, String> {
    let Manifest { providers } = serde_json::from_str(text).map_err(|error| error.to_string())?;
    if providers.is_empty() {
        return Err("the manifest names no provider".to_owned());
    }
    if providers.len() > MAX_PROVIDERS {
        return Err(format!("the manifest names more than {MAX_PROVIDERS} providers"));
    }
    match providers.keys().find(|name| !is_provider_name(name)) {
        Some(name) => Err(format!("the manifest names a provider {name:?}")),
        None => Ok(providers.into_keys().collect()),
    }
}

/// A name that becomes one segment of a path, whatever it says.
fn is_provider_name(name: &str) -> bool {
    name.len() <= MAX_NAME_LENGTH
        && name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.'))
}

fn without_credentials(url: &Url) -> String {
    let mut url = url.clone();
    // These fail for URLs that can have no credentials.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn provider_names_cannot_leave_their_folder() {
        for name in ["openai", "x-ai", "meta_llama", "01.ai", "a..b"] {
            assert!(is_provider_name(name), "{name}");
        }
        for name in [
            "",
            ".",
            "..",
            "../x",
            "a/b",
            "a\\b",
            "a:b",
            "a%2fb",
            "ä",
            "a b",
            "-a",
            "?",
            "#",
            &"a".repeat(65),
        ] {
            assert!(!is_provider_name(name), "{name}");
        }
    }

    #[test]
    fn manifests() {
        let names = providers(r#"{"version": "x", "providers": {"b": {}, "a": {"file": "ignored"}}}"#);
        assert_eq!(names.expect("two"), ["a", "b"]);
        for text in [
            "",
            "[]",
            "{}",
            r#"{"providers": []}"#,
            r#"{"providers": {}}"#,
            r#"{"providers": {"..": {}}}"#,
        ] {
            assert!(providers(text).is_err(), "{text}");
        }
    }

    #[tokio::test]
    async fn a_failed_connection_says_why_and_shows_no_password() {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0")
            .await
            .expect("a port");
        let address = listener.local_addr().expect("an address");
        drop(listener);
        let timeouts = crate::outbound::Timeouts::within(Duration::from_secs(5));
        let outbound = Outbound::new(crate::outbound::EgressPolicy::Operator, timeouts).expect("a client");
        let url = Url::parse(&format!("http://user:hush@{address}/")).expect("a URL");
        let error = outbound.fetch(&url, 100).await.expect_err("nobody listens");
        let text = FetchError::Outbound(error).to_string();
        assert!(
            text.starts_with("the connection failed: ") && text.contains("refused"),
            "{text}"
        );
        assert!(!text.contains("hush"), "{text}");
    }

    #[test]
    fn a_name_shows_no_password() {
        let url = Url::parse("https://user:hush@registry.example/a/").expect("a URL");
        assert_eq!(without_credentials(&url), "https://registry.example/a/");
        let url = Url::parse("file:///srv/registry/").expect("a URL");
        assert_eq!(without_credentials(&url), "file:///srv/registry/");
    }
}
