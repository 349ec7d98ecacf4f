//! The table of settings and where their values come from.

use std::collections::HashMap;

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Setting {
    /// The environment variable; the flag is the same name in kebab case without the prefix.
    pub variable: &'static str,
    /// What stands for the value in `--help`.
    pub value: &'static str,
    /// The value when none is given.
    pub default: Option<&'static str>,
    /// One sentence.
    pub help: &'static str,
}

impl Setting {
    /// `LLMRING_DATABASE_URL` → `database-url`.
    pub fn flag(&self) -> String {
        self.variable
            .trim_start_matches("LLMRING_")
            .to_ascii_lowercase()
            .replace('_', "-")
    }
}

const fn setting(
    variable: &'static str,
    value: &'static str,
    default: Option<&'static str>,
    help: &'static str,
) -> Setting {
    Setting {
        variable,
        value,
        default,
        help,
    }
}

/// Every setting, in the order in which `--help` and the README list them.
pub const SETTINGS: &[Setting] = &[
    setting("LLMRING_HOST", "ADDRESS", Some("0.0.0.0"), "Address to listen on"),
    setting(
        "LLMRING_PORT",
        "PORT",
        Some("8000"),
        "Port to listen on; 0 takes a free one",
    ),
    setting(
        "LLMRING_LOG",
        "FILTER",
        Some("info,poem=warn,rmcp=error,sea_orm_migration=warn,sqlx=warn"),
        "What to log: a level, or directives such as `info,llmring_server=debug`",
    ),
    setting(
        "LLMRING_LOG_FORMAT",
        "FORMAT",
        Some("text"),
        "How to log: `text` or `json`",
    ),
    setting(
        "LLMRING_DATABASE_URL",
        "URL",
        Some("sqlite://llmring.db"),
        "sqlite://FILE or postgres://USER:PASSWORD@HOST/DATABASE",
    ),
    setting(
        "LLMRING_DATABASE_SCHEMA",
        "NAME",
        Some("llmring"),
        "PostgreSQL schema of the server's own tables",
    ),
    setting(
        "LLMRING_DATABASE_MCP_SCHEMA",
        "NAME",
        Some("mcp_client"),
        "PostgreSQL schema of the MCP tables",
    ),
    setting(
        "LLMRING_DATABASE_POOL_SIZE",
        "COUNT",
        Some("20"),
        "Database connections",
    ),
    setting(
        "LLMRING_DATABASE_POOL_OVERFLOW",
        "COUNT",
        Some("10"),
        "Database connections beyond the pool size when all are busy",
    ),
    setting(
        "LLMRING_REDIS_URL",
        "URL",
        None,
        "Redis for caching between replicas; without it the cache is this process's memory",
    ),
    setting(
        "LLMRING_REDIS_TIMEOUT_MS",
        "MILLISECONDS",
        Some("50"),
        "Longest wait for Redis before going on without it",
    ),
    setting(
        "LLMRING_CACHE_TTL",
        "SECONDS",
        Some("3600"),
        "How long registry files are good before a refresh",
    ),
    setting(
        "LLMRING_CACHE_BYTES",
        "BYTES",
        Some("16777216"),
        "Most memory for cached registry files",
    ),
    setting(
        "LLMRING_AUTH_MODE",
        "MODE",
        Some("open"),
        "`open`: any key opens its own project; `strict`: only keys made with `keys create`",
    ),
    setting(
        "LLMRING_KEY_CACHE_TTL",
        "SECONDS",
        Some("5"),
        "How long a checked key is remembered; a revoked key works for at most this long",
    ),
    setting(
        "LLMRING_RECEIPTS_PRIVATE_KEY_B64",
        "KEY",
        None,
        "Ed25519 key that signs receipts, base64url; `receipts keygen` makes one",
    ),
    setting(
        "LLMRING_RECEIPTS_PUBLIC_KEY_B64",
        "KEY",
        None,
        "Its public key, base64url; derived from the private key when absent",
    ),
    setting(
        "LLMRING_RECEIPTS_KEY_ID",
        "ID",
        Some("default"),
        "The name under which receipts and the published keys mention it",
    ),
    setting(
        "LLMRING_RECEIPTS_OTHER_KEYS",
        "JWKS",
        None,
        "Retired and upcoming public keys: a JSON array as `/receipts/public-keys.json` publishes it",
    ),
    setting(
        "LLMRING_CORS_ORIGINS",
        "ORIGINS",
        Some("http://localhost:5173,http://localhost:5174,*"),
        "Comma-separated origins that browsers may call from; `*` is any",
    ),
    setting(
        "LLMRING_REGISTRY_BASE_URL",
        "URL",
        Some("https://llmring.github.io/registry/"),
        "Where model prices come from: http, https or file",
    ),
    setting(
        "LLMRING_REGISTRY_TIMEOUT",
        "SECONDS",
        Some("10"),
        "Longest wait for one registry file",
    ),
    setting(
        "LLMRING_REGISTRY_MAX_BYTES",
        "BYTES",
        Some("16777216"),
        "Largest registry file accepted",
    ),
    setting(
        "LLMRING_MAX_BODY_BYTES",
        "BYTES",
        Some("10485760"),
        "Largest request body",
    ),
    setting(
        "LLMRING_MAX_IMPORT_BYTES",
        "BYTES",
        Some("134217728"),
        "Largest file of a conversation that is imported; it is in memory while it is stored",
    ),
    setting(
        "LLMRING_MAX_METADATA_BYTES",
        "BYTES",
        Some("65536"),
        "Largest `metadata` of one usage row",
    ),
    setting(
        "LLMRING_REQUEST_TIMEOUT",
        "SECONDS",
        Some("30"),
        "Longest time for one request",
    ),
    setting(
        "LLMRING_SHUTDOWN_TIMEOUT",
        "SECONDS",
        Some("30"),
        "Longest wait for accepted requests when stopping",
    ),
    setting(
        "LLMRING_LEDGER_QUEUE",
        "COUNT",
        Some("8192"),
        "Usage logs waiting to be written before 503 is answered",
    ),
    setting(
        "LLMRING_LEDGER_BATCH",
        "COUNT",
        Some("512"),
        "Most usage rows in one transaction (a batch request may be larger)",
    ),
    setting(
        "LLMRING_IDEMPOTENCY_DAYS",
        "DAYS",
        Some("7"),
        "How long an Idempotency-Key is remembered",
    ),
    setting(
        "LLMRING_ENABLE_CONVERSATION_TRACKING",
        "BOOLEAN",
        Some("true"),
        "Whether conversations are recorded; when `false`, what would record one is refused",
    ),
    setting(
        "LLMRING_MESSAGE_LOGGING_LEVEL",
        "LEVEL",
        Some("full"),
        "What is kept of messages: `full`, `metadata` (hash and counts, no content) or `none`",
    ),
    setting(
        "LLMRING_MESSAGE_RETENTION_DAYS",
        "DAYS",
        Some("30"),
        "From what age on messages are old",
    ),
    setting(
        "LLMRING_MESSAGE_RETENTION",
        "MODE",
        Some("manual"),
        "`manual`: old messages are deleted when asked for; `auto`: by themselves as well",
    ),
    setting(
        "LLMRING_SECRET_KEY",
        "KEY",
        None,
        "Encrypts the secrets of MCP servers: 32 bytes, base64url; `secrets keygen` makes one; on SQLite kept beside the file when absent",
    ),
    setting(
        "LLMRING_SECRET_KEY_PREVIOUS",
        "KEYS",
        None,
        "Comma-separated keys before it: they decrypt until `secrets rotate` has run",
    ),
    setting(
        "LLMRING_MCP_PIN_TOOLS",
        "BOOLEAN",
        Some("false"),
        "Whether a tool whose definition changed is refused until it is approved",
    ),
    setting(
        "LLMRING_MCP_MAX_DEFINITIONS",
        "COUNT",
        Some("10000"),
        "Most tools of one MCP server, most resources, templates, prompts",
    ),
    setting(
        "LLMRING_MCP_MAX_DEFINITION_BYTES",
        "BYTES",
        Some("262144"),
        "Largest definition of a tool, resource or prompt",
    ),
    setting(
        "LLMRING_MCP_STDIO_ALLOW",
        "COMMANDS",
        None,
        "Command lines that MCP servers over stdio may be started with, exactly, arguments included: one a line, or separated by `;`",
    ),
    setting(
        "LLMRING_MCP_EGRESS",
        "POLICY",
        None,
        "Where MCP servers over HTTP may be: `public` (the internet only) or `private` (loopback and private networks too); without it `private` when listening on loopback or in strict mode, else `public`; link-local and cloud metadata addresses never",
    ),
    setting(
        "LLMRING_MCP_CALL_TIMEOUT",
        "SECONDS",
        Some("60"),
        "Longest time for one call of an MCP server, connecting included",
    ),
    setting(
        "LLMRING_MCP_SCHEMA_TIMEOUT",
        "SECONDS",
        Some("2"),
        "Longest time to check a tool's arguments, and its result, against its schemas",
    ),
    setting(
        "LLMRING_MCP_MAX_SESSIONS",
        "COUNT",
        Some("256"),
        "MCP sessions open at once; an idle one is closed for a new one",
    ),
    setting(
        "LLMRING_MCP_MAX_PROJECT_SESSIONS",
        "COUNT",
        Some("64"),
        "MCP sessions of one project open at once",
    ),
    setting(
        "LLMRING_MCP_IDLE_TIMEOUT",
        "SECONDS",
        Some("300"),
        "How long an MCP session stays open unused",
    ),
    setting(
        "LLMRING_MCP_CONNECT_TIMEOUT",
        "SECONDS",
        Some("20"),
        "Longest time to connect to an MCP server and agree on a protocol version",
    ),
    setting(
        "LLMRING_MCP_DISCOVERY_TIMEOUT",
        "SECONDS",
        Some("30"),
        "Longest time to read all lists of an MCP server",
    ),
    setting(
        "LLMRING_MCP_MAX_BACKOFF",
        "SECONDS",
        Some("30"),
        "Longest pause before an MCP server that failed is tried again",
    ),
    setting(
        "LLMRING_MCP_MAX_CALLS",
        "COUNT",
        Some("64"),
        "Requests under way in one MCP session",
    ),
    setting(
        "LLMRING_MCP_CALL_QUEUE",
        "COUNT",
        Some("64"),
        "Requests that wait for one of those before 429 is answered",
    ),
    setting(
        "LLMRING_MCP_MAX_MESSAGE_BYTES",
        "BYTES",
        Some("16777216"),
        "Largest message accepted from an MCP server",
    ),
    setting(
        "LLMRING_MCP_MAX_NOTIFICATIONS",
        "COUNT",
        Some("1000"),
        "Notifications and requests accepted from an MCP server per second, ten seconds' worth at once; one that sends more is disconnected",
    ),
    setting(
        "LLMRING_MCP_MAX_PAGES",
        "COUNT",
        Some("100"),
        "Pages read of one list of an MCP server",
    ),
    setting(
        "LLMRING_MCP_MAX_DISCOVERY_BYTES",
        "BYTES",
        Some("67108864"),
        "Most bytes of all lists of an MCP server together",
    ),
];

/// Where values come from: the value of a setting, if this source has one.
pub type Source<'a> = &'a dyn Fn(&Setting) -> Option<String>;

/// Values by variable name, empty ones left out. Some are secrets, so this prints nothing of itself.
#[derive(Clone, Default)]
pub struct Settings(HashMap<&'static str, String>);

impl Settings {
    /// Asks `source` for each setting, in the order given: the first source that has a non-empty value wins.
    pub fn from_sources(sources: &[Source<'_>]) -> Self {
        let values = SETTINGS.iter().filter_map(|setting| {
            sources
                .iter()
                .find_map(|source| source(setting).filter(|value| !value.is_empty()))
                .map(|value| (setting.variable, value))
        });
        Self(values.collect())
    }

    /// Exactly these values, for programs that mount the server and for tests.
    ///
    /// # Panics
    ///
    /// When a name is not a setting.
    pub fn from_pairs(pairs: &[(&'static str, &str)]) -> Self {
        for (variable, _) in pairs {
            assert!(
                SETTINGS.iter().any(|setting| setting.variable == *variable),
                "{variable} is not a setting"
            );
        }
        Self::from_sources(&[&|setting| {
            pairs
                .iter()
                .find(|(variable, _)| *variable == setting.variable)
                .map(|(_, value)| (*value).to_owned())
        }])
    }

    /// The value given, else the default, else `None`.
    pub fn get(&self, variable: &'static str) -> Option<&str> {
        self.0.get(variable).map(String::as_str).or_else(|| {
            SETTINGS
                .iter()
                .find(|setting| setting.variable == variable)
                .and_then(|setting| setting.default)
        })
    }

    /// As [`Settings::get`], for settings that have a default.
    ///
    /// # Panics
    ///
    /// When the setting has no default: a mistake in the table.
    pub(super) fn required(&self, variable: &'static str) -> &str {
        match self.get(variable) {
            Some(value) => value,
            None => panic!("{variable} has no default"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_readme_lists_every_setting() {
        let table: String = SETTINGS
            .iter()
            .map(|setting| {
                let default = setting
                    .default
                    .map_or_else(|| "none".to_owned(), |default| format!("`{default}`"));
                format!("| `{}` | {default} | {} |\n", setting.variable, setting.help)
            })
            .collect();
        let readme = include_str!("../../../README.md");
        let listed = readme
            .split_once("<!-- settings -->\n")
            .and_then(|(_, rest)| rest.split_once("<!-- /settings -->"))
            .map(|(listed, _)| listed);
        let expected = format!("| variable | default | meaning |\n|---|---|---|\n{table}");
        assert_eq!(
            listed,
            Some(expected.as_str()),
            "README.md should have:\n{expected}"
        );
    }
}
