//! `llmring-server receipts keygen|verify|audit`.

use std::io::Read;

use clap::{Arg, ArgMatches, Command};
use llmring_server::Config;
use llmring_server::clock::Clock;
use llmring_server::receipts::{Receipts, fetch_public_keys};
use llmring_server::storage::Storage;
use receipt::{KeyRing, PublicKey, Receipt, SigningKey, Window, read_key_set};
use url::Url;

use super::Outcome;

pub(super) fn command() -> Command {
    Command::new("receipts")
        .about("Make receipt keys, verify a receipt, check all stored ones")
        .subcommand_required(true)
        .subcommand(
            Command::new("keygen")
                .about("Make a signing key and print its settings; the private key is shown once, and stored nowhere")
                .arg(
                    Arg::new("key-id")
                        .long("key-id")
                        .value_name("ID")
                        .default_value("default")
                        .help("The key's name: receipts mention it, and no two keys may share it"),
                ),
        )
        .subcommand(
            Command::new("verify")
                .about("Verify a receipt without a server; the exit code is 0 when it is genuine, else 1")
                .arg(
                    Arg::new("file")
                        .value_name("FILE")
                        .required(true)
                        .help("The receipt, JSON; - is standard input"),
                )
                .arg(
                    Arg::new("keys")
                        .long("keys")
                        .value_name("FILE|URL")
                        .required(true)
                        .help("The public keys, as /receipts/public-keys.json publishes them"),
                ),
        )
        .subcommand(
            Command::new("audit")
                .about("Check every stored receipt and its links; the exit code is 0 when all are as they were stored"),
        )
}

/// The commands that need neither settings nor a database; `None` for the others.
pub(super) fn run_alone(arguments: &ArgMatches) -> Option<Outcome> {
    match arguments.subcommand() {
        Some(("keygen", arguments)) => Some(keygen(text(arguments, "key-id"))),
        Some(("verify", arguments)) => Some(verify(text(arguments, "file"), text(arguments, "keys"))),
        _ => None,
    }
}

pub(super) async fn run(config: Config) -> Outcome {
    let storage = Storage::connect(&config.database).await?;
    // An audit changes nothing, least of all evidence.
    storage.require_current().await?;
    let receipts = Receipts::new(storage.clone(), Clock::system(), config.receipt_keys);
    let audit = receipts.audit(|fault| println!("{fault}")).await?;
    storage.close().await?;
    println!("{} receipts checked, {} faults", audit.receipts, audit.faults);
    if audit.certified_elsewhere > 0 {
        let count = audit.certified_elsewhere;
        println!(
            "{count} of them certify usage logs that are not linked here: they should be receipts of another server"
        );
    }
    if audit.faults == 0 {
        Ok(())
    } else {
        Err("stored receipts are damaged or were tampered with".into())
    }
}

fn text<'a>(arguments: &'a ArgMatches, name: &str) -> &'a str {
    arguments.get_one::<String>(name).map_or("", String::as_str)
}

/// The settings alone on standard output, so that they can be appended to a file; the rest beside them.
fn keygen(key_id: &str) -> Outcome {
    let signing = SigningKey::from_seed(&rand::random());
    let verifying = signing.verifying_key();
    let public = PublicKey::new(key_id, verifying, Window::ALWAYS)
        .ok_or("--key-id must be 1 to 255 characters, none of them a control character")?;
    println!("LLMRING_RECEIPTS_PRIVATE_KEY_B64={}", *signing.to_base64url());
    println!("LLMRING_RECEIPTS_PUBLIC_KEY_B64={}", verifying.to_base64url());
    println!("LLMRING_RECEIPTS_KEY_ID={key_id}");
    eprintln!(
        "To publish it before it signs or after it was retired, add to LLMRING_RECEIPTS_OTHER_KEYS: {}",
        serde_json::to_string(&public)?
    );
    Ok(())
}

fn verify(file: &str, keys: &str) -> Outcome {
    let keys = tokio::runtime::Runtime::new()?.block_on(key_set(keys))?;
    let ring = KeyRing::new("", None, None, keys)?;
    let receipt = Receipt::from_slice(&read(file)?)?;
    let key = ring
        .verify(&receipt)
        .map_err(|rejection| format!("the receipt is not genuine: {rejection}"))?;
    println!("genuine: {:?}, signed with the key {:?}", receipt.id(), key.id());
    Ok(())
}

/// From a web server when it looks like one's address, else from a file.
async fn key_set(place: &str) -> Result<Vec<PublicKey>, Box<dyn std::error::Error>> {
    match Url::parse(place) {
        Ok(url) if matches!(url.scheme(), "http" | "https") => Ok(fetch_public_keys(&url).await?),
        _ => Ok(read_key_set(&read(place)?)?),
    }
}

fn read(file: &str) -> Result<Vec<u8>, String> {
    if file == "-" {
        let mut text = Vec::new();
        let read = std::io::stdin().read_to_end(&mut text);
        return read
            .map(|_| text)
            .map_err(|error| format!("standard input: {error}"));
    }
    std::fs::read(file).map_err(|error| format!("{file}: {error}"))
}
