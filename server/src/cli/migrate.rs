//! `llmring-server migrate up|down|status`.

use clap::{Arg, ArgMatches, Command, value_parser};
use llmring_server::Config;
use llmring_server::storage::Storage;

use super::Outcome;

pub(super) fn command() -> Command {
    Command::new("migrate")
        .about("Change or show the database schema")
        .subcommand_required(true)
        .subcommand(Command::new("up").about("Apply all pending steps, as the server does at its start"))
        .subcommand(
            Command::new("down")
                .about("Take back the last steps, with the rows in the tables they made")
                .arg(
                    Arg::new("steps")
                        .long("steps")
                        .value_name("COUNT")
                        .value_parser(value_parser!(u32).range(1..))
                        .default_value("1")
                        .help("How many"),
                ),
        )
        .subcommand(
            Command::new("status").about("Show the steps, and the settings that make a commit durable"),
        )
}

pub(super) async fn run(arguments: &ArgMatches, config: Config) -> Outcome {
    let storage = Storage::connect(&config.database).await?;
    match arguments.subcommand() {
        Some(("up", _)) => storage.migrate_up().await?,
        Some(("down", arguments)) => {
            let steps = arguments.get_one::<u32>("steps").copied().unwrap_or(1);
            storage.migrate_down(steps).await?;
        }
        _ => {}
    }
    for step in storage.migration_steps().await? {
        println!(
            "{} {}",
            if step.applied { "applied" } else { "pending" },
            step.name
        );
    }
    println!("durability {}", storage.durability().await?);
    storage.close().await?;
    Ok(())
}
