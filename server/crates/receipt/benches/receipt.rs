//! Canonicalise, sign and verify one receipt, per second on one core, beside plain serde_json.
//!
//! `tests/python/receipt_bench.py` does the same with rfc8785 and PyNaCl; `benches/receipts.sh` runs both.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use llmring_receipt::{KeyRing, Receipt, SigningKey, canonical, json};
use serde_json::Value;

const MEMBERS: &[u8] = include_bytes!("receipt.json");
const ROUND: Duration = Duration::from_millis(300);
const ROUNDS: usize = 5;

fn main() {
    let ring = KeyRing::new("test", Some(SigningKey::from_seed(&[1; 32])), None, vec![])
        .expect("the key makes a ring");
    let members = json::read_object(MEMBERS).expect("the members are strict JSON");
    let receipt = ring.sign(members.clone()).expect("the members are a receipt's");
    let text = receipt.as_str().as_bytes();
    let value = Value::Object(receipt.members().clone());
    let key = SigningKey::from_seed(&[1; 32]);
    let payload = receipt.signing_payload();
    let signature = key.sign(&payload);

    println!(
        "{:<44} {:>12}",
        format!("rust, a receipt of {} bytes", text.len()),
        "per second"
    );
    measure("serialise: serde_json", || serde_json::to_vec(black_box(&value)));
    measure("canonicalise: serde_jcs (RFC 8785)", || receipt.signing_payload());
    measure("read: serde_json", || {
        serde_json::from_slice::<Value>(black_box(text))
    });
    measure("read: strict", || json::read(black_box(text)));
    measure("read and canonicalise", || canonical::of_text(black_box(text)));
    measure("Ed25519 sign", || key.sign(black_box(&payload)));
    measure("Ed25519 verify (strict)", || {
        key.verifying_key().verify(black_box(&payload), &signature)
    });
    measure("sign a receipt, from members to text", || {
        ring.sign(black_box(&members).clone())
    });
    measure("verify a receipt, from text", || {
        Receipt::from_slice(black_box(text)).is_ok_and(|receipt| ring.verify(&receipt).is_ok())
    });
}

/// Prints the best of several rounds: what the machine can do when nothing disturbs it.
fn measure<T>(name: &str, operation: impl Fn() -> T) {
    let round = || {
        let start = Instant::now();
        let mut times = 0_u32;
        while start.elapsed() < ROUND {
            for _ in 0..16 {
                black_box(operation());
            }
            times += 16;
        }
        f64::from(times) / start.elapsed().as_secs_f64()
    };
    let best = (0..ROUNDS).map(|_| round()).fold(0.0, f64::max);
    println!("{name:<44} {best:>12.0}");
}
