//! `llmring-server keys create|list|revoke|adopt`.

use std::io::BufRead;

use chrono::{DateTime, Days, SecondsFormat, Utc};
use clap::{Arg, ArgAction, ArgMatches, Command, value_parser};
use llmring_server::Config;
use llmring_server::clock::Clock;
use llmring_server::keys::{Keys, ManagedKey, NewKey};
use llmring_server::storage::Storage;
use uuid::Uuid;

use super::Outcome;

pub(super) fn command() -> Command {
    let project = Arg::new("project")
        .long("project")
        .value_name("NAME")
        .required(true)
        .help("The project's name");
    let expires = Arg::new("expires-in-days")
        .long("expires-in-days")
        .value_name("DAYS")
        .value_parser(value_parser!(u64).range(1..=36_500))
        .help("Refuse the key after this many days; never when absent");
    Command::new("keys")
        .about("Make, show and revoke API keys")
        .subcommand_required(true)
        .subcommand(
            Command::new("create")
                .about("Make a key for a project, and the project when there is none; the key is shown once")
                .arg(project.clone())
                .arg(expires.clone()),
        )
        .subcommand(Command::new("list").about("Show all keys, newest first, without the keys themselves"))
        .subcommand(
            Command::new("revoke").about("Refuse a key from now on").arg(
                Arg::new("id")
                    .value_name("ID")
                    .required(true)
                    .value_parser(value_parser!(Uuid))
                    .help("The key's id, from `keys list`"),
            ),
        )
        .subcommand(
            Command::new("adopt")
                .about("Name the project of an open-mode key, read from standard input, and make a managed key for it")
                .arg(project)
                .arg(expires)
                .arg(
                    Arg::new("keep")
                        .long("keep")
                        .action(ArgAction::SetTrue)
                        .help("Let the open-mode key itself go on working in strict mode"),
                ),
        )
}

pub(super) async fn run(arguments: &ArgMatches, config: Config) -> Outcome {
    let storage = Storage::connect(&config.database).await?;
    storage.migrate_up().await?;
    let clock = Clock::system();
    let now = clock.now();
    let keys = Keys::new(storage.clone(), clock, config.auth_mode, config.key_cache_ttl);
    match arguments.subcommand() {
        Some(("create", arguments)) => {
            let key = keys
                .create(project(arguments)?, expiry(arguments, now), rand::random())
                .await?;
            show_new(&key);
        }
        Some(("adopt", arguments)) => {
            let open_key = read_key()?;
            let key = keys
                .adopt(
                    &open_key,
                    project(arguments)?,
                    arguments.get_flag("keep"),
                    expiry(arguments, now),
                    rand::random(),
                )
                .await?;
            show_new(&key);
        }
        Some(("revoke", arguments)) => {
            let id = arguments.get_one::<Uuid>("id").copied().unwrap_or_default();
            show(&keys.revoke(id).await?, now);
        }
        _ => {
            for key in keys.list().await? {
                show(&key, now);
            }
        }
    }
    storage.close().await?;
    Ok(())
}

fn project(arguments: &ArgMatches) -> Result<&str, String> {
    let name = arguments
        .get_one::<String>("project")
        .map_or("", String::as_str)
        .trim();
    let plain = (1..=255).contains(&name.chars().count()) && !name.chars().any(char::is_control);
    plain
        .then_some(name)
        .ok_or_else(|| "--project must be 1 to 255 printable characters".to_owned())
}

fn expiry(arguments: &ArgMatches, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
    let days = arguments.get_one::<u64>("expires-in-days")?;
    now.checked_add_days(Days::new(*days))
}

/// From standard input, so that it appears in no list of processes and in no shell's history.
fn read_key() -> Result<String, Box<dyn std::error::Error>> {
    let mut line = String::new();
    std::io::stdin().lock().read_line(&mut line)?;
    let key = line.trim();
    if key.is_empty() || key.chars().count() > 255 || key.contains(char::is_whitespace) {
        return Err("standard input must hold one key of 1 to 255 characters without white space".into());
    }
    Ok(key.to_owned())
}

/// The key alone on standard output, so that it can be piped; the rest beside it.
fn show_new(new: &NewKey) {
    println!("{}", new.secret);
    eprintln!(
        "key {} of project {:?} ({}), shown this once",
        new.key.id, new.key.project, new.key.project_id
    );
}

fn show(key: &ManagedKey, now: DateTime<Utc>) {
    let time = |instant: DateTime<Utc>| instant.to_rfc3339_opts(SecondsFormat::Secs, true);
    let standing = match (key.revoked_at, key.expires_at) {
        (Some(revoked), _) => format!("revoked {}", time(revoked)),
        (None, Some(expiry)) if expiry <= now => format!("expired {}", time(expiry)),
        (None, Some(expiry)) => format!("expires {}", time(expiry)),
        (None, None) => "active".to_owned(),
    };
    println!(
        "{}  {}…  {}  created {}  {standing}",
        key.id,
        key.prefix,
        key.project,
        time(key.created_at)
    );
}
