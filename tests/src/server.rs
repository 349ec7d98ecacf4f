//! The server's process.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::python::finish;
use crate::{Actor, DEADLINE, FIXTURE, Finished, RegistryFixture, TestDatabase, eventually};

/// Log lines shown when a test fails.
const SHOWN_LINES: usize = 40;

/// How to start the server. The environment is empty but for what is set here.
#[derive(Clone, Debug)]
pub struct ServerBuilder {
    settings: BTreeMap<String, String>,
    directory: Arc<TempDir>,
}

/// A running server. It is killed when this goes away.
#[derive(Debug)]
pub struct Server {
    child: Child,
    address: String,
    log: Log,
    builder: ServerBuilder,
}

/// What a process wrote to standard error, line by line.
#[derive(Clone, Debug, Default)]
pub struct Log {
    lines: Arc<Mutex<Vec<String>>>,
    has_ended: Arc<AtomicBool>,
}

/// The server's binary, which cargo puts beside the directory of the test's own.
///
/// # Panics
///
/// When it was not built.
pub fn program() -> PathBuf {
    let test = std::env::current_exe().expect("the path of the test itself");
    let profile = test
        .parent()
        .and_then(Path::parent)
        .expect("the directory of the build profile");
    let program = profile.join("llmring-server");
    assert!(
        program.exists(),
        "{} is not there: run `cargo build --workspace` first",
        program.display()
    );
    program
}

impl Server {
    /// A server on this database, with the prices of [`FIXTURE`].
    pub fn on(db: &TestDatabase) -> ServerBuilder {
        let mut builder = Self::without_settings();
        builder.settings.extend(
            db.settings()
                .into_iter()
                .map(|(variable, value)| (variable.to_owned(), value)),
        );
        builder
            .with("LLMRING_HOST", "127.0.0.1")
            .with("LLMRING_PORT", "0")
            .with("LLMRING_LOG_FORMAT", "json")
            .with("LLMRING_REGISTRY_BASE_URL", &format!("file://{FIXTURE}/"))
    }

    /// A server that is told nothing, in an empty directory.
    pub fn without_settings() -> ServerBuilder {
        ServerBuilder {
            settings: BTreeMap::new(),
            directory: Arc::new(tempfile::tempdir().expect("a temporary directory")),
        }
    }

    /// Somebody with a key of their own; the same name has the same key on every server.
    pub fn actor(&self, name: &str) -> Actor {
        self.actor_with_key(&format!("{name}-key-4f1d0c9a7e"))
    }

    /// Somebody with this key.
    pub fn actor_with_key(&self, key: &str) -> Actor {
        Actor::new(self.url(), Some(key.to_owned()))
    }

    /// Somebody without a key.
    pub fn anybody(&self) -> Actor {
        Actor::new(self.url(), None)
    }

    /// `http://127.0.0.1:PORT`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `127.0.0.1:PORT`.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// What it has logged so far.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Asks it to stop (SIGTERM).
    pub fn terminate(&self) {
        let pid = i32::try_from(self.child.id())
            .ok()
            .and_then(Pid::from_raw)
            .expect("a process id");
        kill_process(pid, Signal::TERM).expect("a signal sent");
    }

    /// Waits for its end.
    pub async fn ended(&mut self) -> ExitStatus {
        let child = &mut self.child;
        let status = eventually("the server's end", async || {
            child.try_wait().expect("the server's status")
        })
        .await;
        // Its last words may still be on the way.
        eventually("the end of the server's log", async || {
            self.log.has_ended.load(Ordering::Acquire).then_some(())
        })
        .await;
        status
    }

    /// Ends it at once (SIGKILL).
    pub async fn kill(&mut self) {
        self.child.kill().expect("a signal sent");
        self.ended().await;
    }

    /// Stops it gracefully and starts another on the same database in the same directory.
    pub async fn restart(mut self) -> Self {
        self.terminate();
        let status = self.ended().await;
        assert!(status.success(), "{status}: {}", self.log.tail());
        self.builder.clone().start().await
    }

    /// Kills it and starts another on the same database in the same directory.
    pub async fn crash_and_restart(mut self) -> Self {
        self.kill().await;
        self.builder.clone().start().await
    }

    /// Waits for the first answer of `/health` for which this holds.
    pub async fn healthy_when(&self, what: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let anybody = self.anybody();
        eventually(what, async || {
            let answer = anybody
                .try_send(anybody.request(reqwest::Method::GET, "/health"))
                .await?;
            let body = answer.json();
            condition(&body).then_some(body)
        })
        .await
    }

    /// Waits until the price registry has been read.
    pub async fn has_prices(&self) {
        let anybody = self.anybody();
        eventually("prices", async || {
            let answer = anybody.get("/registry").await;
            let known = answer.status == 200
                && answer.json()["models"]
                    .as_object()
                    .is_some_and(|models| !models.is_empty());
            known.then_some(())
        })
        .await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("the server's log ends:\n{}", self.log.tail());
        }
        // Both fail only when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl ServerBuilder {
    /// Sets an environment variable.
    #[must_use]
    pub fn with(mut self, variable: &str, value: &str) -> Self {
        self.settings.insert(variable.to_owned(), value.to_owned());
        self
    }

    /// Does not set an environment variable after all.
    #[must_use]
    pub fn without(mut self, variable: &str) -> Self {
        self.settings.remove(variable);
        self
    }

    /// Takes prices from here.
    #[must_use]
    pub fn with_registry(self, registry: &RegistryFixture) -> Self {
        self.with("LLMRING_REGISTRY_BASE_URL", &registry.url())
    }

    /// The directory in which it works.
    pub fn directory(&self) -> &Path {
        self.directory.path()
    }

    /// Starts it and waits until it listens.
    ///
    /// # Panics
    ///
    /// When it ends before that.
    pub async fn start(self) -> Server {
        let mut child = self
            .command(&[])
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{}: {error}", program().display()));
        let log = Log::of(child.stderr.take().expect("standard error"));
        let address = eventually("the server to listen", async || {
            if let Some(status) = child.try_wait().expect("the server's status") {
                panic!("the server ended with {status}:\n{}", log.tail());
            }
            log.address()
        })
        .await;
        Server {
            child,
            address,
            log,
            builder: self,
        }
    }

    /// Starts it, asserts that it refuses to run, and returns what it said.
    pub async fn refuses_to_start(self) -> String {
        let finished = self.run(&[]).await;
        assert!(!finished.status.success(), "{finished:?}");
        finished.stderr
    }

    /// Runs a command such as `["keys", "list"]` to its end.
    pub async fn run(&self, arguments: &[&str]) -> Finished {
        self.run_with_input(arguments, "").await
    }

    /// As [`ServerBuilder::run`], with text on standard input.
    pub async fn run_with_input(&self, arguments: &[&str], input: &str) -> Finished {
        finish(self.command(arguments), input, DEADLINE).await
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(program());
        command
            .args(arguments)
            .env_clear()
            .envs(&self.settings)
            .current_dir(self.directory.path())
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        command
    }
}

impl Log {
    fn of(stream: impl Read + Send + 'static) -> Self {
        let log = Self::default();
        let reading = log.clone();
        std::thread::spawn(move || {
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                reading.lines.lock().expect("the log").push(line);
            }
            reading.has_ended.store(true, Ordering::Release);
        });
        log
    }

    /// All of it.
    pub fn text(&self) -> String {
        self.lines.lock().expect("the log").join("\n")
    }

    /// All lines that are JSON objects.
    pub fn entries(&self) -> Vec<Value> {
        let lines = self.lines.lock().expect("the log");
        lines
            .iter()
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect()
    }

    /// Waits for a line whose message contains this.
    pub async fn says(&self, message: &str) -> Value {
        eventually(&format!("the log to say {message:?}"), async || {
            let entries = self.entries();
            entries.into_iter().find(|entry| {
                entry["fields"]["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(message))
            })
        })
        .await
    }

    fn address(&self) -> Option<String> {
        self.entries().iter().find_map(|entry| {
            let fields = &entry["fields"];
            (fields["message"] == "listening")
                .then(|| fields["address"].as_str().expect("an address").to_owned())
        })
    }

    fn tail(&self) -> String {
        let lines = self.lines.lock().expect("the log");
        lines[lines.len().saturating_sub(SHOWN_LINES)..].join("\n")
    }
}
