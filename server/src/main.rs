//! The program: reads settings, runs the server or one of the operator's commands.

mod cli;

use std::process::ExitCode;

/// A request makes a few dozen small allocations on one thread and frees many of them on another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    match cli::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("llmring-server: {error}");
            ExitCode::FAILURE
        }
    }
}
