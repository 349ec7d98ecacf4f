//! The program: reads settings, runs the server or one of the operator's commands.

mod cli;

use std::process::ExitCode;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("llmring-server: {error}");
            ExitCode::FAILURE
        }
    }
}
