//! `llmring-server secrets keygen|rotate`.

use clap::{ArgMatches, Command};
use llmring_server::Config;
use llmring_server::clock::Clock;
use llmring_server::mcp::Mcp;
use llmring_server::mcp::secrets::{SECRET_KEY, SecretKey, SecretKeys};
use llmring_server::storage::Storage;

use super::Outcome;

pub(super) fn command() -> Command {
    Command::new("secrets")
        .about("Make a key that encrypts the secrets of MCP servers, or move all secrets to the current one")
        .subcommand_required(true)
        .subcommand(Command::new("keygen").about("Make a key and print its setting; it is stored nowhere"))
        .subcommand(Command::new("rotate").about(
            "Encrypt all stored secrets under LLMRING_SECRET_KEY; LLMRING_SECRET_KEY_PREVIOUS has the keys that decrypt them until then",
        ))
}

/// The command that needs neither settings nor a database; `None` for the other.
pub(super) fn run_alone(arguments: &ArgMatches) -> Option<Outcome> {
    (arguments.subcommand_name() == Some("keygen")).then(|| {
        println!("{SECRET_KEY}={}", *SecretKey::generate().to_base64url());
        Ok(())
    })
}

pub(super) async fn run(config: Config) -> Outcome {
    let storage = Storage::connect(&config.database).await?;
    storage.migrate_up().await?;
    let keys = SecretKeys::open(&config.secrets, &config.database.location)?;
    let mcp = Mcp::new(storage.clone(), Clock::system(), keys, &config.definitions);
    let rotation = mcp.rotate_secrets().await?;
    storage.close().await?;
    println!(
        "{} secrets were encrypted anew, {} were under the current key already",
        rotation.rotated, rotation.current
    );
    for (server, reason) in &rotation.unreadable {
        println!("the secrets of server {server} cannot be read: {reason}");
    }
    if rotation.unreadable.is_empty() {
        Ok(())
    } else {
        Err("secrets remain that no key opens".into())
    }
}
