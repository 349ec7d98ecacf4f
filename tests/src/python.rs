//! Programs that run to their end, Python's above all.

use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use tokio::io::AsyncWriteExt;

/// How a program ended.
#[derive(Debug)]
pub struct Finished {
    /// Its status.
    pub status: ExitStatus,
    /// What it wrote.
    pub stdout: String,
    /// What it wrote there.
    pub stderr: String,
}

impl Finished {
    /// This, which must be a success.
    #[track_caller]
    pub fn succeeded(self) -> Self {
        assert!(
            self.status.success(),
            "{}\n{}\n{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self
    }
}

/// Runs the Python of `make test` with these arguments. Scripts of `tests/python` are found by their names; what is run leaves its
/// files in a directory that goes away.
///
/// # Panics
///
/// When there is none, or when it takes longer than `deadline`.
pub async fn python(arguments: &[&str], environment: &[(&str, &str)], deadline: Duration) -> Finished {
    run(arguments, environment, "", deadline).await
}

/// As [`python`], with text on standard input.
pub async fn python_with_input(arguments: &[&str], input: &str, deadline: Duration) -> Finished {
    run(arguments, &[], input, deadline).await
}

async fn run(arguments: &[&str], environment: &[(&str, &str)], input: &str, deadline: Duration) -> Finished {
    let interpreter = std::env::var("LLMRING_TEST_PYTHON").unwrap_or_else(|_| {
        panic!(
            "LLMRING_TEST_PYTHON is not set: run `make test`, or set it to a Python with tests/python/requirements.txt"
        )
    });
    let directory = tempfile::tempdir().expect("a temporary directory");
    let scripts = concat!(env!("CARGO_MANIFEST_DIR"), "/python");
    let arguments = arguments.iter().map(|argument| {
        if argument.ends_with(".py") {
            format!("{scripts}/{argument}")
        } else {
            (*argument).to_owned()
        }
    });
    let mut command = Command::new(interpreter);
    command
        .args(arguments)
        .env_clear()
        .env("PATH", std::env::var("PATH").unwrap_or_default())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env("PYTHONUNBUFFERED", "1")
        .env("HOME", directory.path())
        .envs(environment.iter().copied())
        .current_dir(directory.path());
    finish(command, input, deadline).await
}

pub(crate) async fn finish(mut command: Command, input: &str, deadline: Duration) -> Finished {
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let shown = format!("{command:?}");
    let mut command = tokio::process::Command::from(command);
    let mut child = command
        .kill_on_drop(true)
        .spawn()
        .unwrap_or_else(|error| panic!("{shown}: {error}"));
    let mut stdin = child.stdin.take().expect("standard input");
    // A program may end without reading.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    let output = tokio::time::timeout(deadline, child.wait_with_output())
        .await
        .unwrap_or_else(|_| panic!("{shown} did not end within {deadline:?}"))
        .expect("the program's output");
    Finished {
        status: output.status,
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    }
}
