//! The command line: `serve` (the default), `migrate`, `keys`, `receipts`, `secrets`, `openapi`.

mod keys;
mod migrate;
mod receipts;
mod secrets;
mod serve;

use std::collections::HashMap;
use std::error::Error;

use clap::{Arg, ArgMatches, Command};
use llmring_server::config::{SETTINGS, Setting};
use llmring_server::{App, Config, Settings};

type Outcome = Result<(), Box<dyn Error>>;

/// Runs the command that the arguments name.
pub(crate) fn run() -> Outcome {
    let matches = command().get_matches();
    let settings = settings(&matches)?;
    let (name, arguments) = matches.subcommand().unwrap_or(("serve", &matches));
    if name == "openapi" {
        println!("{}", App::openapi());
        return Ok(());
    }
    if name == "receipts"
        && let Some(outcome) = receipts::run_alone(arguments)
    {
        return outcome;
    }
    if name == "secrets"
        && let Some(outcome) = secrets::run_alone(arguments)
    {
        return outcome;
    }
    let config = Config::from_settings(&settings)?;
    llmring_server::telemetry::start_logging(&settings)?;
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        match name {
            "migrate" => migrate::run(arguments, config).await,
            "keys" => keys::run(arguments, config).await,
            "receipts" => receipts::run(config).await,
            "secrets" => secrets::run(config).await,
            _ => serve::run(config).await,
        }
    })
}

fn command() -> Command {
    Command::new("llmring-server")
        .version(env!("CARGO_PKG_VERSION"))
        .about("Self-hostable backend for LLM usage and costs")
        .after_help(
            "Without a command the server runs. Settings come from flags, then the environment, then a .env file in the \
             working directory.",
        )
        .args(SETTINGS.iter().map(flag))
        .subcommand(Command::new("serve").about("Run the server (the default)"))
        .subcommand(migrate::command())
        .subcommand(keys::command())
        .subcommand(receipts::command())
        .subcommand(secrets::command())
        .subcommand(Command::new("openapi").about("Print the OpenAPI document"))
}

fn flag(setting: &Setting) -> Arg {
    let default = setting
        .default
        .map(|default| format!(" [default: {default}]"))
        .unwrap_or_default();
    Arg::new(setting.variable)
        .long(setting.flag())
        .value_name(setting.value)
        .help(format!("{} [env: {}]{default}", setting.help, setting.variable))
        .global(true)
        .allow_hyphen_values(true)
}

/// Flags, then the environment, then `.env`.
fn settings(matches: &ArgMatches) -> Result<Settings, Box<dyn Error>> {
    let file: HashMap<String, String> = match dotenvy::from_path_iter(".env") {
        Ok(lines) => lines.collect::<Result<_, _>>().map_err(|error| match error {
            // The line itself may hold a password.
            dotenvy::Error::LineParse(_, at) => {
                format!("the file .env has a line that is not NAME=VALUE (at its character {at})")
            }
            error => format!("the file .env cannot be read: {error}"),
        })?,
        Err(error) if error.not_found() => HashMap::new(),
        Err(error) => return Err(format!("the file .env cannot be read: {error}").into()),
    };
    Ok(Settings::from_sources(&[
        &|setting| matches.get_one::<String>(setting.variable).cloned(),
        &|setting| std::env::var(setting.variable).ok(),
        &|setting| file.get(setting.variable).cloned(),
    ]))
}
