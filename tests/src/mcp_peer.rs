//! Real MCP servers: `@modelcontextprotocol/server-everything` from npm, and one made with the Python SDK.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{DEADLINE, eventually};

/// A running MCP server, or how to start one. It goes away with this.
#[derive(Debug)]
pub struct McpPeer {
    url: String,
    child: Option<Child>,
    directory: TempDir,
}

impl McpPeer {
    /// `tests/python/mcp_server.py` over Streamable HTTP.
    pub async fn python_http() -> Self {
        Self::python_http_on_port(0).await
    }

    /// As [`McpPeer::python_http`], on a port of the caller's choice.
    pub async fn python_http_on_port(port: u16) -> Self {
        let directory = temporary();
        let mut command = Command::new(interpreter());
        command
            .arg(script())
            .arg("http")
            .env("MCP_SERVER_JOURNAL", journal_in(directory.path()))
            .env("MCP_SERVER_PORT", port.to_string())
            .stderr(Stdio::null());
        let (child, lines) = start(command, ReadFrom::Stdout);
        let url = first_line(lines, |line| line.starts_with("http://").then(|| line.to_owned())).await;
        Self {
            url,
            child: Some(child),
            directory,
        }
    }

    /// The URL of `tests/python/mcp_server.py` over stdio, a command line for `LLMRING_MCP_STDIO_ALLOW` too.
    pub fn python_stdio() -> Self {
        let directory = temporary();
        let url = format!(
            "env MCP_SERVER_JOURNAL={} {} {} stdio",
            journal_in(directory.path()).display(),
            interpreter(),
            script()
        );
        Self {
            url,
            child: None,
            directory,
        }
    }

    /// server-everything over stdio, as a command line.
    pub fn everything_stdio() -> Self {
        Self {
            url: format!("node {} stdio", everything()),
            child: None,
            directory: temporary(),
        }
    }

    /// server-everything over Streamable HTTP.
    pub async fn everything_http() -> Self {
        let port = free_port();
        let mut command = Command::new("node");
        command
            .args([everything().as_str(), "streamableHttp"])
            .env_clear()
            .env("PATH", variable("PATH"))
            .env("PORT", port.to_string())
            .stdout(Stdio::null());
        let (child, lines) = start(command, ReadFrom::Stderr);
        first_line(lines, |line| line.contains("listening").then_some(())).await;
        Self {
            url: format!("http://127.0.0.1:{port}/mcp"),
            child: Some(child),
            directory: temporary(),
        }
    }

    /// What a server row's `url` says.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The port in the URL.
    pub fn port(&self) -> u16 {
        let url: url::Url = self.url.parse().expect("a URL");
        url.port().expect("a port")
    }

    /// What the Python server's tools did, a line for each call, oldest first.
    pub fn journal(&self) -> Vec<String> {
        let text = std::fs::read_to_string(journal_in(self.directory.path())).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// The journal's path, which the command line or the environment of the Python server names.
    pub fn journal_path(&self) -> String {
        journal_in(self.directory.path()).display().to_string()
    }

    /// Waits until the journal says so.
    pub async fn journal_says(&self, line: &str) {
        eventually(&format!("the line `{line}` in the peer's journal"), async || {
            self.journal().iter().any(|said| said == line).then_some(())
        })
        .await;
    }

    /// Ends it at once.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

impl Drop for McpPeer {
    fn drop(&mut self) {
        self.kill();
    }
}

enum ReadFrom {
    Stdout,
    Stderr,
}

type Lines = tokio::sync::mpsc::UnboundedReceiver<String>;

/// The child and what it writes. It is read to its end, so that the child never waits for a reader.
fn start(mut command: Command, from: ReadFrom) -> (Child, Lines) {
    // Standard input stays open as long as this lives: a peer whose test was killed ends as well.
    command.stdin(Stdio::piped());
    match from {
        ReadFrom::Stdout => command.stdout(Stdio::piped()),
        ReadFrom::Stderr => command.stderr(Stdio::piped()),
    };
    let mut child = command
        .spawn()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let output: Box<dyn std::io::Read + Send> = match from {
        ReadFrom::Stdout => Box::new(child.stdout.take().expect("standard output")),
        ReadFrom::Stderr => Box::new(child.stderr.take().expect("standard error")),
    };
    let (sender, lines) = tokio::sync::mpsc::unbounded_channel();
    std::thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            // Nobody listens after the first lines.
            let _ = sender.send(line);
        }
    });
    (child, lines)
}

async fn first_line<T>(mut lines: Lines, wanted: impl Fn(&str) -> Option<T>) -> T {
    let search = async {
        let mut seen = Vec::new();
        while let Some(line) = lines.recv().await {
            if let Some(found) = wanted(&line) {
                return found;
            }
            seen.push(line);
        }
        panic!("the MCP server ended: {seen:#?}");
    };
    tokio::time::timeout(DEADLINE, search)
        .await
        .expect("a line of the MCP server in time")
}

fn temporary() -> TempDir {
    tempfile::tempdir().expect("a temporary directory")
}

fn journal_in(directory: &Path) -> PathBuf {
    directory.join("journal")
}

fn script() -> &'static str {
    concat!(env!("CARGO_MANIFEST_DIR"), "/python/mcp_server.py")
}

fn interpreter() -> String {
    variable("LLMRING_TEST_PYTHON")
}

fn everything() -> String {
    format!(
        "{}/@modelcontextprotocol/server-everything/dist/index.js",
        variable("LLMRING_TEST_NODE_MODULES")
    )
}

fn variable(name: &str) -> String {
    std::env::var(name).unwrap_or_else(|_| panic!("{name} is not set: run `make test`"))
}

/// A port that was free a moment ago, for programs that cannot take one themselves.
fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0")
        .and_then(|listener| listener.local_addr())
        .expect("a free port")
        .port()
}
