//! Settings: one table that names them all, and the typed configuration they are checked into.
//!
//! A setting comes from a flag, else from the environment, else from a `.env` file, else it has its default. Present but empty
//! counts as absent. [`Config::from_settings`] is the only place that judges values; whatever it refuses names the variable.

mod mcp;
mod settings;

use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use receipt::{KeyRing, KeyRingError, SigningKey, VerifyingKey, read_key_set};
use url::Url;

use crate::mcp::secrets::{PREVIOUS_SECRET_KEYS, SECRET_KEY, SecretKey};

pub use mcp::McpConfig;
pub(crate) use mcp::{
    EGRESS, MAX_DEFINITIONS, MAX_DISCOVERY_BYTES, MAX_MESSAGE_BYTES, MAX_NOTIFICATIONS, MAX_PAGES,
    STDIO_ALLOW,
};
pub use settings::{SETTINGS, Setting, Settings, Source};

/// Longest retention of messages: a century.
pub const MAX_RETENTION_DAYS: u32 = 36_525;

/// Everything the server can be told, checked.
#[derive(Clone, Debug)]
pub struct Config {
    /// Address to listen on.
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one.
    pub port: u16,
    /// Where rows are kept.
    pub database: DatabaseConfig,
    /// Whose keys open projects.
    pub auth_mode: AuthMode,
    /// How long the answer to "is this key good" is remembered.
    pub key_cache_ttl: Duration,
    /// Caches.
    pub cache: CacheConfig,
    /// The price registry.
    pub registry: RegistryConfig,
    /// The usage ledger.
    pub ledger: LedgerConfig,
    /// Conversations.
    pub conversations: ConversationsConfig,
    /// Connections to MCP servers.
    pub mcp: McpConfig,
    /// Calls of their tools.
    pub execution: ExecutionConfig,
    /// The keys that sign and verify receipts.
    pub receipt_keys: KeyRing,
    /// The keys that encrypt the secrets of MCP servers.
    pub secrets: SecretsConfig,
    /// What MCP servers offer.
    pub definitions: DefinitionsConfig,
    /// HTTP limits.
    pub http: HttpConfig,
}

/// Where rows are kept.
#[derive(Clone, Debug)]
pub struct DatabaseConfig {
    /// Which database, and where.
    pub location: DatabaseLocation,
    /// PostgreSQL schema of the server's own tables.
    pub schema: String,
    /// PostgreSQL schema of the MCP tables.
    pub mcp_schema: String,
    /// Most connections open at once.
    pub max_connections: u32,
}

/// Which database, and where.
#[derive(Clone)]
pub enum DatabaseLocation {
    /// A file.
    Sqlite(PathBuf),
    /// A server's URL; it may hold a password.
    Postgres(String),
}

impl std::fmt::Debug for DatabaseLocation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Sqlite(path) => write!(f, "Sqlite({})", path.display()),
            Self::Postgres(_) => f.write_str("Postgres(…)"),
        }
    }
}

/// Whose keys open projects.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AuthMode {
    /// Any key opens a project of its own.
    Open,
    /// Only keys that the operator made.
    Strict,
}

/// Calls of MCP servers.
#[derive(Clone, Debug)]
pub struct ExecutionConfig {
    /// Longest time for one call, connecting included.
    pub timeout: Duration,
    /// Longest time to check one value against a schema.
    pub schema_timeout: Duration,
}

/// Caches.
#[derive(Clone)]
pub struct CacheConfig {
    /// A Redis server, shared by replicas; it may hold a password.
    pub redis_url: Option<String>,
    /// Longest wait for Redis, connecting included.
    pub redis_timeout: Duration,
    /// Most bytes kept in this process.
    pub memory_bytes: u64,
    /// How long cached registry files are good.
    pub ttl: Duration,
}

impl std::fmt::Debug for CacheConfig {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("CacheConfig")
            .field("redis", &self.redis_url.is_some())
            .field("redis_timeout", &self.redis_timeout)
            .field("memory_bytes", &self.memory_bytes)
            .field("ttl", &self.ttl)
            .finish()
    }
}

/// The price registry.
#[derive(Clone, Debug)]
pub struct RegistryConfig {
    /// `http`, `https` or `file`; ends with a slash.
    pub base_url: Url,
    /// Longest wait for one file.
    pub timeout: Duration,
    /// Largest file accepted.
    pub max_bytes: u64,
}

/// The usage ledger.
#[derive(Clone, Debug)]
pub struct LedgerConfig {
    /// Most requests waiting to be written.
    pub queue: usize,
    /// Most rows in one transaction.
    pub batch: usize,
    /// How long an idempotency key is remembered.
    pub idempotency_ttl: Duration,
    /// Largest `metadata` of one row, as JSON text.
    pub max_metadata_bytes: usize,
    /// How long one transaction may take: as long as a request.
    pub patience: Duration,
}

/// Conversations.
#[derive(Clone, Debug)]
pub struct ConversationsConfig {
    /// Whether they are recorded at all.
    pub tracking: bool,
    /// What is kept of messages.
    pub logging_level: LoggingLevel,
    /// From what age on messages are old, in days.
    pub retention_days: u32,
    /// Whether old messages are deleted without being asked.
    pub automatic_retention: bool,
}

/// What is kept of a message. Of two levels the lesser is the stricter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LoggingLevel {
    /// Nothing.
    None,
    /// Everything but what was said; of that the hash.
    Metadata,
    /// Everything.
    Full,
}

/// The keys that encrypt the secrets of MCP servers. On SQLite a file beside the database has another.
#[derive(Clone, Debug, Default)]
pub struct SecretsConfig {
    /// Encrypts and decrypts.
    pub current: Option<SecretKey>,
    /// Decrypt what was encrypted under them.
    pub previous: Vec<SecretKey>,
}

/// Definitions of tools, resources and prompts.
#[derive(Clone, Debug)]
pub struct DefinitionsConfig {
    /// Whether a tool that changed has to be approved before it is executed.
    pub pin_tools: bool,
    /// Most entries in each list of one server.
    pub max_count: usize,
    /// Largest definition, as JSON text.
    pub max_bytes: usize,
}

/// HTTP limits.
#[derive(Clone, Debug)]
pub struct HttpConfig {
    /// Largest request body.
    pub max_body_bytes: usize,
    /// Largest file with a conversation that is put back.
    pub max_import_bytes: usize,
    /// Longest time for one request.
    pub request_timeout: Duration,
    /// Longest wait for accepted requests when stopping.
    pub shutdown_timeout: Duration,
    /// Origins that browsers may call from; `*` is any.
    pub cors_origins: Vec<String>,
}

/// A setting that cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{variable} {problem}")]
pub struct ConfigError {
    /// The variable's name.
    pub variable: &'static str,
    /// What is wrong with it. Never a secret value.
    pub problem: String,
}

impl Config {
    /// The longest that a request may take because of an MCP server.
    pub(crate) fn servers_time(&self) -> Duration {
        self.mcp.connect_timeout + self.execution.timeout.max(self.mcp.discovery_timeout)
    }

    /// Checks every setting. The first that cannot be used is the error.
    pub fn from_settings(settings: &Settings) -> Result<Self, ConfigError> {
        let host = parse(settings, "LLMRING_HOST", "an IP address such as 0.0.0.0 or ::1")?;
        let auth_mode = match settings.required("LLMRING_AUTH_MODE") {
            "open" => AuthMode::Open,
            "strict" => AuthMode::Strict,
            other => return Err(refused("LLMRING_AUTH_MODE", other, "`open` or `strict`")),
        };
        Ok(Self {
            host,
            port: parse(settings, "LLMRING_PORT", "a port from 0 to 65535")?,
            database: database(settings)?,
            auth_mode,
            key_cache_ttl: seconds(settings, "LLMRING_KEY_CACHE_TTL", 0)?,
            cache: CacheConfig {
                redis_url: redis_url(settings)?,
                redis_timeout: Duration::from_millis(whole(settings, "LLMRING_REDIS_TIMEOUT_MS", 1, 10_000)?),
                memory_bytes: whole(settings, "LLMRING_CACHE_BYTES", 0, 1 << 40)?,
                ttl: seconds(settings, "LLMRING_CACHE_TTL", 1)?,
            },
            registry: RegistryConfig {
                base_url: registry_url(settings)?,
                timeout: seconds(settings, "LLMRING_REGISTRY_TIMEOUT", 1)?,
                max_bytes: whole(settings, "LLMRING_REGISTRY_MAX_BYTES", 1024, 1 << 32)?,
            },
            ledger: LedgerConfig {
                queue: size(settings, "LLMRING_LEDGER_QUEUE", 1, 10_000_000)?,
                batch: size(settings, "LLMRING_LEDGER_BATCH", 1, 1000)?,
                idempotency_ttl: Duration::from_secs(
                    86_400 * whole(settings, "LLMRING_IDEMPOTENCY_DAYS", 1, 3650)?,
                ),
                max_metadata_bytes: size(settings, "LLMRING_MAX_METADATA_BYTES", 2, 1 << 30)?,
                patience: seconds(settings, "LLMRING_REQUEST_TIMEOUT", 1)?,
            },
            conversations: conversations(settings)?,
            mcp: mcp::mcp(settings, host, auth_mode)?,
            execution: ExecutionConfig {
                timeout: seconds(settings, "LLMRING_MCP_CALL_TIMEOUT", 1)?,
                schema_timeout: seconds(settings, "LLMRING_MCP_SCHEMA_TIMEOUT", 1)?,
            },
            receipt_keys: receipt_keys(settings)?,
            secrets: secrets(settings)?,
            definitions: DefinitionsConfig {
                pin_tools: boolean(settings, "LLMRING_MCP_PIN_TOOLS")?,
                max_count: size(settings, "LLMRING_MCP_MAX_DEFINITIONS", 1, 1_000_000)?,
                max_bytes: size(settings, "LLMRING_MCP_MAX_DEFINITION_BYTES", 1024, 1 << 30)?,
            },
            http: HttpConfig {
                max_body_bytes: size(settings, "LLMRING_MAX_BODY_BYTES", 1024, 1 << 30)?,
                max_import_bytes: size(settings, "LLMRING_MAX_IMPORT_BYTES", 1024, 1 << 30)?,
                request_timeout: seconds(settings, "LLMRING_REQUEST_TIMEOUT", 1)?,
                shutdown_timeout: seconds(settings, "LLMRING_SHUTDOWN_TIMEOUT", 0)?,
                cors_origins: cors_origins(settings)?,
            },
        })
    }
}

fn refused(variable: &'static str, value: &str, expected: &str) -> ConfigError {
    ConfigError {
        variable,
        problem: format!("is {value:?}, expected {expected}"),
    }
}

fn parse<T: FromStr>(settings: &Settings, variable: &'static str, expected: &str) -> Result<T, ConfigError> {
    let value = settings.required(variable);
    value.parse().map_err(|_| refused(variable, value, expected))
}

fn whole(settings: &Settings, variable: &'static str, least: u64, most: u64) -> Result<u64, ConfigError> {
    let expected = format!("a whole number from {least} to {most}");
    let number: u64 = parse(settings, variable, &expected)?;
    if (least..=most).contains(&number) {
        Ok(number)
    } else {
        Err(refused(variable, settings.required(variable), &expected))
    }
}

fn size(settings: &Settings, variable: &'static str, least: u64, most: u64) -> Result<usize, ConfigError> {
    let number = whole(settings, variable, least, most)?;
    usize::try_from(number).map_err(|_| refused(variable, settings.required(variable), "a smaller number"))
}

fn seconds(settings: &Settings, variable: &'static str, least: u64) -> Result<Duration, ConfigError> {
    const A_YEAR: u64 = 31_536_000;
    Ok(Duration::from_secs(whole(settings, variable, least, A_YEAR)?))
}

fn database(settings: &Settings) -> Result<DatabaseConfig, ConfigError> {
    let schema = schema_name(settings, "LLMRING_DATABASE_SCHEMA")?;
    let mcp_schema = schema_name(settings, "LLMRING_DATABASE_MCP_SCHEMA")?;
    if schema == mcp_schema {
        return Err(ConfigError {
            variable: "LLMRING_DATABASE_MCP_SCHEMA",
            problem: format!("is {mcp_schema:?}, the same as LLMRING_DATABASE_SCHEMA, expected another name"),
        });
    }
    let pool = whole(settings, "LLMRING_DATABASE_POOL_SIZE", 1, 10_000)?;
    let overflow = whole(settings, "LLMRING_DATABASE_POOL_OVERFLOW", 0, 10_000)?;
    Ok(DatabaseConfig {
        location: database_location(settings.required("LLMRING_DATABASE_URL"))?,
        schema,
        mcp_schema,
        max_connections: u32::try_from(pool + overflow).unwrap_or(u32::MAX),
    })
}

/// The URL may hold a password, so a refusal shows only its scheme.
fn database_location(url: &str) -> Result<DatabaseLocation, ConfigError> {
    const VARIABLE: &str = "LLMRING_DATABASE_URL";
    let scheme = url.split(':').next().unwrap_or_default();
    match scheme {
        "sqlite" => {
            let path = &url["sqlite:".len()..];
            let path = path.strip_prefix("//").unwrap_or(path);
            let path = path.split('?').next().unwrap_or_default();
            if path.is_empty() || path == ":memory:" {
                return Err(ConfigError {
                    variable: VARIABLE,
                    problem: "names no SQLite file, expected sqlite://FILE".into(),
                });
            }
            Ok(DatabaseLocation::Sqlite(PathBuf::from(path)))
        }
        "postgres" | "postgresql" => match Url::parse(url) {
            Ok(_) => Ok(DatabaseLocation::Postgres(url.to_owned())),
            Err(error) => Err(ConfigError {
                variable: VARIABLE,
                problem: format!("is not a usable PostgreSQL URL ({error})"),
            }),
        },
        _ => Err(ConfigError {
            variable: VARIABLE,
            problem: "has an unknown scheme, expected sqlite://FILE or postgres://USER@HOST/DATABASE".into(),
        }),
    }
}

fn schema_name(settings: &Settings, variable: &'static str) -> Result<String, ConfigError> {
    let name = settings.required(variable);
    let plain = name.len() <= 63
        && name.starts_with(|first: char| first.is_ascii_lowercase() || first == '_')
        && name
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !plain || name.starts_with("pg_") {
        return Err(refused(
            variable,
            name,
            "a schema name of at most 63 lower-case letters, digits and underscores",
        ));
    }
    Ok(name.to_owned())
}

fn conversations(settings: &Settings) -> Result<ConversationsConfig, ConfigError> {
    const LEVEL: &str = "LLMRING_MESSAGE_LOGGING_LEVEL";
    const RETENTION: &str = "LLMRING_MESSAGE_RETENTION";
    const DAYS: &str = "LLMRING_MESSAGE_RETENTION_DAYS";
    let days = whole(settings, DAYS, 0, u64::from(MAX_RETENTION_DAYS))?;
    Ok(ConversationsConfig {
        tracking: boolean(settings, "LLMRING_ENABLE_CONVERSATION_TRACKING")?,
        logging_level: match settings.required(LEVEL) {
            "full" => LoggingLevel::Full,
            "metadata" => LoggingLevel::Metadata,
            "none" => LoggingLevel::None,
            other => return Err(refused(LEVEL, other, "`full`, `metadata` or `none`")),
        },
        retention_days: u32::try_from(days).unwrap_or(MAX_RETENTION_DAYS),
        automatic_retention: match settings.required(RETENTION) {
            "manual" => false,
            "auto" => true,
            other => return Err(refused(RETENTION, other, "`manual` or `auto`")),
        },
    })
}

fn boolean(settings: &Settings, variable: &'static str) -> Result<bool, ConfigError> {
    let value = settings.required(variable);
    match value.to_ascii_lowercase().as_str() {
        "true" | "1" | "yes" | "on" => Ok(true),
        "false" | "0" | "no" | "off" => Ok(false),
        _ => Err(refused(variable, value, "`true` or `false`")),
    }
}

fn redis_url(settings: &Settings) -> Result<Option<String>, ConfigError> {
    const VARIABLE: &str = "LLMRING_REDIS_URL";
    let Some(url) = settings.get(VARIABLE) else {
        return Ok(None);
    };
    let usable =
        Url::parse(url).is_ok_and(|url| matches!(url.scheme(), "redis" | "rediss" | "redis+unix" | "unix"));
    if usable {
        Ok(Some(url.to_owned()))
    } else {
        Err(ConfigError {
            variable: VARIABLE,
            problem: "is not a Redis URL, expected redis://HOST:PORT/DATABASE".into(),
        })
    }
}

fn registry_url(settings: &Settings) -> Result<Url, ConfigError> {
    const VARIABLE: &str = "LLMRING_REGISTRY_BASE_URL";
    let text = settings.required(VARIABLE);
    let mut url = Url::parse(text)
        .ok()
        .filter(|url| matches!(url.scheme(), "http" | "https" | "file"))
        .ok_or_else(|| ConfigError {
            variable: VARIABLE,
            problem: "is not usable, expected an http, https or file URL".into(),
        })?;
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    Ok(url)
}

/// No refusal shows a key: the reasons name places, not characters.
fn receipt_keys(settings: &Settings) -> Result<KeyRing, ConfigError> {
    const PRIVATE: &str = "LLMRING_RECEIPTS_PRIVATE_KEY_B64";
    const PUBLIC: &str = "LLMRING_RECEIPTS_PUBLIC_KEY_B64";
    const KEY_ID: &str = "LLMRING_RECEIPTS_KEY_ID";
    const OTHERS: &str = "LLMRING_RECEIPTS_OTHER_KEYS";
    fn unusable(variable: &'static str) -> impl Fn(&dyn std::fmt::Display) -> ConfigError {
        move |reason| ConfigError {
            variable,
            problem: format!("cannot be used: {reason}"),
        }
    }

    let signing = settings.get(PRIVATE).map(SigningKey::from_base64url).transpose();
    let signing = signing.map_err(|error| unusable(PRIVATE)(&error))?;
    let verifying = settings.get(PUBLIC).map(VerifyingKey::from_base64url).transpose();
    let verifying = verifying.map_err(|error| unusable(PUBLIC)(&error))?;
    let others = settings.get(OTHERS).map(|text| read_key_set(text.as_bytes()));
    let others = others.transpose().map_err(|error| unusable(OTHERS)(&error))?;
    KeyRing::new(
        settings.required(KEY_ID),
        signing,
        verifying,
        others.unwrap_or_default(),
    )
    .map_err(|error| match error {
        KeyRingError::KeyId => unusable(KEY_ID)(&error),
        KeyRingError::KeysDiffer => ConfigError {
            variable: PUBLIC,
            problem: format!("is not the public key of {PRIVATE}"),
        },
        KeyRingError::DuplicateId(_) => unusable(OTHERS)(&error),
    })
}

/// No refusal shows a key.
fn secrets(settings: &Settings) -> Result<SecretsConfig, ConfigError> {
    let key = |variable: &'static str, text: &str| {
        SecretKey::from_base64(text).map_err(|error| ConfigError {
            variable,
            problem: error.to_string(),
        })
    };
    let current = settings.get(SECRET_KEY).map(|text| key(SECRET_KEY, text));
    let previous = settings
        .get(PREVIOUS_SECRET_KEYS)
        .unwrap_or_default()
        .split([',', ' '])
        .filter(|text| !text.is_empty())
        .map(|text| key(PREVIOUS_SECRET_KEYS, text));
    Ok(SecretsConfig {
        current: current.transpose()?,
        previous: previous.collect::<Result<_, _>>()?,
    })
}

fn cors_origins(settings: &Settings) -> Result<Vec<String>, ConfigError> {
    const VARIABLE: &str = "LLMRING_CORS_ORIGINS";
    settings
        .get(VARIABLE)
        .unwrap_or_default()
        .split(',')
        .map(str::trim)
        .filter(|origin| !origin.is_empty())
        .map(|origin| {
            let canonical = Url::parse(origin).map(|url| url.origin().ascii_serialization());
            if origin == "*" || canonical.is_ok_and(|canonical| canonical == origin) {
                Ok(origin.to_owned())
            } else {
                // An origin with a password in it would otherwise be printed.
                let shown = origin.rsplit('@').next().unwrap_or_default();
                Err(refused(
                    VARIABLE,
                    shown,
                    "`*` or origins such as https://app.example.com",
                ))
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(variables: &[(&'static str, &str)]) -> Result<Config, String> {
        Config::from_settings(&Settings::from_pairs(variables)).map_err(|error| error.to_string())
    }

    #[test]
    fn defaults_are_usable() {
        let config = config(&[]).expect("the defaults");
        assert_eq!(config.port, 8000);
        assert!(matches!(config.database.location, DatabaseLocation::Sqlite(_)));
        assert!(config.cache.redis_url.is_none());
        assert!(config.receipt_keys.public_keys().is_empty());
    }

    // RFC 8032 section 7.1, tests 1 and 2.
    const SEED: &str = "nWGxne_9WmC6hEr0kuwsxERJxWl7MmkZcDusAxyuf2A";
    const PUBLIC: &str = "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo";
    const ANOTHER_PUBLIC: &str = "PUAXw-hDiVqStwqnTRt-vJyYLM8uxJaMwM1V8Sr0Zgw";

    #[test]
    fn a_public_key_is_derived_and_the_published_set_gives_its_window() {
        let others = format!(
            r#"[{{"kty":"OKP","crv":"Ed25519","kid":"now","x":"{PUBLIC}","not_before":"2026-01-01T00:00:00Z"}},
                {{"kty":"OKP","crv":"Ed25519","kid":"old","x":"{ANOTHER_PUBLIC}"}}]"#
        );
        let keys = config(&[
            ("LLMRING_RECEIPTS_PRIVATE_KEY_B64", SEED),
            ("LLMRING_RECEIPTS_KEY_ID", "now"),
            ("LLMRING_RECEIPTS_OTHER_KEYS", &others),
        ])
        .expect("keys")
        .receipt_keys;
        let ids: Vec<&str> = keys.public_keys().iter().map(receipt::PublicKey::id).collect();
        assert_eq!(ids, ["now", "old"]);
        let current = keys.current().expect("a current key");
        assert_eq!(current.key().to_base64url(), PUBLIC);
        assert!(current.window().not_before().is_some());
    }

    #[test]
    fn receipt_keys_that_do_not_belong_together_are_refused_without_being_shown() {
        const PRIVATE_KEY: &str = "LLMRING_RECEIPTS_PRIVATE_KEY_B64";
        const PUBLIC_KEY: &str = "LLMRING_RECEIPTS_PUBLIC_KEY_B64";
        const KEY_ID: &str = "LLMRING_RECEIPTS_KEY_ID";
        const OTHER_KEYS: &str = "LLMRING_RECEIPTS_OTHER_KEYS";
        let same_id = format!(r#"[{{"kty":"OKP","crv":"Ed25519","kid":"default","x":"{ANOTHER_PUBLIC}"}}]"#);
        let private = format!(r#"[{{"kty":"OKP","crv":"Ed25519","kid":"k","x":"{PUBLIC}","d":"{SEED}"}}]"#);
        for (variables, culprit) in [
            (vec![(PRIVATE_KEY, &SEED[..40])], PRIVATE_KEY),
            (
                vec![(PRIVATE_KEY, SEED), (PUBLIC_KEY, ANOTHER_PUBLIC)],
                PUBLIC_KEY,
            ),
            (vec![(PUBLIC_KEY, "AAAA")], PUBLIC_KEY),
            (vec![(PRIVATE_KEY, SEED), (KEY_ID, "two\nlines")], KEY_ID),
            (vec![(OTHER_KEYS, "[{}]")], OTHER_KEYS),
            (vec![(OTHER_KEYS, private.as_str())], OTHER_KEYS),
            (
                vec![(PRIVATE_KEY, SEED), (OTHER_KEYS, same_id.as_str())],
                OTHER_KEYS,
            ),
        ] {
            let error = config(&variables).expect_err(culprit);
            assert!(error.starts_with(culprit), "{error}");
            assert!(!error.contains(&SEED[..8]) && !error.contains('\n'), "{error}");
        }
        let config = config(&[(PRIVATE_KEY, SEED)]).expect("a key");
        assert!(!format!("{config:?}").contains(&SEED[..8]));
    }

    #[test]
    fn an_empty_value_counts_as_absent() {
        assert_eq!(config(&[("LLMRING_PORT", "")]).expect("the default").port, 8000);
    }

    #[test]
    fn each_refusal_names_its_variable() {
        for (variable, value) in [
            ("LLMRING_HOST", "localhost:1"),
            ("LLMRING_PORT", "65536"),
            ("LLMRING_DATABASE_URL", "mysql://root:hush@localhost/x"),
            ("LLMRING_DATABASE_URL", "sqlite://"),
            ("LLMRING_DATABASE_SCHEMA", "Robert'); DROP"),
            ("LLMRING_DATABASE_MCP_SCHEMA", "llmring"),
            ("LLMRING_DATABASE_POOL_SIZE", "0"),
            ("LLMRING_REDIS_URL", "http://:hush@localhost"),
            ("LLMRING_AUTH_MODE", "closed"),
            ("LLMRING_CACHE_TTL", "-1"),
            ("LLMRING_CORS_ORIGINS", "https://a.example/path"),
            ("LLMRING_REGISTRY_BASE_URL", "ftp://a.example/"),
            ("LLMRING_ENABLE_CONVERSATION_TRACKING", "perhaps"),
            ("LLMRING_MESSAGE_LOGGING_LEVEL", "some"),
            ("LLMRING_MESSAGE_RETENTION_DAYS", "-1"),
            ("LLMRING_MESSAGE_RETENTION", "sometimes"),
            ("LLMRING_SECRET_KEY", "hush"),
            ("LLMRING_SECRET_KEY_PREVIOUS", "hush,hush"),
            ("LLMRING_MCP_PIN_TOOLS", "perhaps"),
            ("LLMRING_MCP_MAX_DEFINITIONS", "0"),
            ("LLMRING_MCP_MAX_DEFINITION_BYTES", "1"),
        ] {
            let error = config(&[(variable, value)]).expect_err(variable);
            assert!(error.starts_with(variable), "{error}");
            assert!(!error.contains("hush"), "{error}");
        }
    }
}
