//! Settings of connections to MCP servers.

use std::net::IpAddr;
use std::time::Duration;

use super::{AuthMode, ConfigError, Settings, refused, seconds, size, whole};
use crate::outbound::EgressPolicy;

/// The setting that lists the permitted command lines.
pub(crate) const STDIO_ALLOW: &str = "LLMRING_MCP_STDIO_ALLOW";
/// The setting that decides where callers may connect.
pub(crate) const EGRESS: &str = "LLMRING_MCP_EGRESS";
/// The setting that limits one message of a server.
pub(crate) const MAX_MESSAGE_BYTES: &str = "LLMRING_MCP_MAX_MESSAGE_BYTES";
/// The setting that limits what a server sends unasked.
pub(crate) const MAX_NOTIFICATIONS: &str = "LLMRING_MCP_MAX_NOTIFICATIONS";
/// The setting that limits the pages of one list.
pub(crate) const MAX_PAGES: &str = "LLMRING_MCP_MAX_PAGES";
/// The setting that limits the entries of one list.
pub(crate) const MAX_DEFINITIONS: &str = "LLMRING_MCP_MAX_DEFINITIONS";
/// The setting that limits all lists of a server together.
pub(crate) const MAX_DISCOVERY_BYTES: &str = "LLMRING_MCP_MAX_DISCOVERY_BYTES";

/// Connections to MCP servers.
#[derive(Clone, Debug)]
pub struct McpConfig {
    /// Command lines that may be started, split into words: exactly these, arguments included.
    pub stdio_allow: Vec<Vec<String>>,
    /// Where HTTP sessions may connect.
    pub egress: EgressPolicy,
    /// Most sessions open at once.
    pub max_sessions: usize,
    /// Most sessions of one project open at once.
    pub max_project_sessions: usize,
    /// How long a session stays open unused.
    pub idle_timeout: Duration,
    /// Longest time to connect and agree on a protocol version.
    pub connect_timeout: Duration,
    /// Longest time for all lists of a server.
    pub discovery_timeout: Duration,
    /// Longest pause before a server that failed is tried again.
    pub max_backoff: Duration,
    /// Most requests under way in one session.
    pub max_calls: usize,
    /// Most requests waiting for one of those.
    pub call_queue: usize,
    /// Largest message from a server.
    pub max_message_bytes: usize,
    /// Most notifications and requests from a server, per second; ten seconds' worth may come at once.
    pub max_notifications: u32,
    /// Most pages of one list.
    pub max_pages: usize,
    /// Most entries of one list.
    pub max_items: usize,
    /// Most bytes of all lists of a server together.
    pub max_discovery_bytes: usize,
}

impl McpConfig {
    /// Whether callers may reach loopback and private networks.
    pub fn reaches_private_networks(&self) -> bool {
        self.egress != EgressPolicy::Public
    }

    /// What native sessions are permitted, in words: `stdio: node server.js`, `http: private networks and the internet`.
    pub fn permissions(&self) -> Vec<String> {
        let commands = self
            .stdio_allow
            .iter()
            .map(|words| format!("stdio: {}", shell_words::join(words)));
        let networks = match self.egress {
            EgressPolicy::Operator | EgressPolicy::Private => "http: private networks and the internet",
            EgressPolicy::Public => "http: the internet",
        };
        commands.chain([networks.to_owned()]).collect()
    }
}

pub(super) fn mcp(settings: &Settings, host: IpAddr, auth_mode: AuthMode) -> Result<McpConfig, ConfigError> {
    Ok(McpConfig {
        stdio_allow: command_lines(settings)?,
        egress: match settings.get(EGRESS) {
            Some("private") => EgressPolicy::Private,
            Some("public") => EgressPolicy::Public,
            None if host.is_loopback() || auth_mode == AuthMode::Strict => EgressPolicy::Private,
            None => EgressPolicy::Public,
            Some(other) => return Err(refused(EGRESS, other, "`private` or `public`")),
        },
        max_sessions: size(settings, "LLMRING_MCP_MAX_SESSIONS", 1, 100_000)?,
        max_project_sessions: size(settings, "LLMRING_MCP_MAX_PROJECT_SESSIONS", 1, 100_000)?,
        idle_timeout: seconds(settings, "LLMRING_MCP_IDLE_TIMEOUT", 1)?,
        connect_timeout: seconds(settings, "LLMRING_MCP_CONNECT_TIMEOUT", 1)?,
        discovery_timeout: seconds(settings, "LLMRING_MCP_DISCOVERY_TIMEOUT", 1)?,
        max_backoff: seconds(settings, "LLMRING_MCP_MAX_BACKOFF", 0)?,
        max_calls: size(settings, "LLMRING_MCP_MAX_CALLS", 1, 10_000)?,
        call_queue: size(settings, "LLMRING_MCP_CALL_QUEUE", 0, 10_000)?,
        max_message_bytes: size(settings, MAX_MESSAGE_BYTES, 1024, 1 << 30)?,
        max_notifications: u32::try_from(whole(settings, MAX_NOTIFICATIONS, 1, 1_000_000)?)
            .unwrap_or(u32::MAX),
        max_pages: size(settings, MAX_PAGES, 1, 1_000_000)?,
        max_items: size(settings, MAX_DEFINITIONS, 1, 1_000_000)?,
        max_discovery_bytes: size(settings, MAX_DISCOVERY_BYTES, 1024, 1 << 32)?,
    })
}

/// One command line a line, or separated by semicolons; each split as a POSIX shell splits words.
fn command_lines(settings: &Settings) -> Result<Vec<Vec<String>>, ConfigError> {
    settings
        .get(STDIO_ALLOW)
        .unwrap_or_default()
        .split(['\n', ';'])
        .map(str::trim)
        .filter(|line| !line.is_empty())
        .map(|line| {
            shell_words::split(line).map_err(|error| ConfigError {
                variable: STDIO_ALLOW,
                problem: format!("has a command line that cannot be split into words ({error})"),
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Config;

    fn mcp(variables: &[(&'static str, &str)]) -> Result<McpConfig, String> {
        Config::from_settings(&Settings::from_pairs(variables))
            .map(|config| config.mcp)
            .map_err(|error| error.to_string())
    }

    #[test]
    fn permitted_command_lines_are_words() {
        let allow = mcp(&[(
            STDIO_ALLOW,
            "python3 'my server.py' --x=1 ; npx -y thing\n/bin/other\n",
        )])
        .expect("command lines")
        .stdio_allow;
        assert_eq!(
            allow,
            [
                vec!["python3", "my server.py", "--x=1"],
                vec!["npx", "-y", "thing"],
                vec!["/bin/other"]
            ]
        );
        assert!(mcp(&[]).expect("defaults").stdio_allow.is_empty());
        let error = mcp(&[(STDIO_ALLOW, "echo 'unfinished")]).expect_err("a quote");
        assert!(error.starts_with(STDIO_ALLOW), "{error}");
    }

    #[test]
    fn private_networks_are_for_callers_whom_the_operator_knows() {
        for (variables, expected) in [
            (vec![], EgressPolicy::Public),
            (vec![("LLMRING_HOST", "127.0.0.1")], EgressPolicy::Private),
            (vec![("LLMRING_HOST", "::1")], EgressPolicy::Private),
            (vec![("LLMRING_AUTH_MODE", "strict")], EgressPolicy::Private),
            (
                vec![("LLMRING_AUTH_MODE", "strict"), (EGRESS, "public")],
                EgressPolicy::Public,
            ),
            (vec![(EGRESS, "private")], EgressPolicy::Private),
        ] {
            assert_eq!(
                mcp(&variables).expect("a policy").egress,
                expected,
                "{variables:?}"
            );
        }
        let error = mcp(&[(EGRESS, "everywhere")]).expect_err("unknown");
        assert!(error.starts_with(EGRESS), "{error}");
    }
}
