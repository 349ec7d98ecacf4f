//! Any bytes, read as a receipt and verified.

#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use llmring_receipt::{KeyRing, Receipt, SigningKey, canonical, json, read_key_set};
use serde_json::Value;

static RING: LazyLock<KeyRing> = LazyLock::new(|| {
    KeyRing::new("test", Some(SigningKey::from_seed(&[1; 32])), None, vec![])
        .expect("the key makes a ring")
});

fuzz_target!(|text: &[u8]| {
    let _ = read_key_set(text);
    match json::read(text) {
        Ok(value) => {
            assert_eq!(
                serde_json::from_slice::<Value>(text).expect("the strict reader accepts less"),
                value
            );
            let form = canonical::of_text(text).expect("what is read has a canonical form");
            assert_eq!(
                canonical::of_value(&value).expect("what is read has a canonical form"),
                form
            );
            let again: Value = serde_json::from_slice(&form).expect("the canonical form is JSON");
            assert_eq!(as_doubles(&again), as_doubles(&value));
        }
        Err(error) => drop(error.to_string()),
    }
    let Ok(receipt) = Receipt::from_slice(text) else {
        return;
    };
    assert_eq!(receipt.as_str().as_bytes(), text);

    // Only with the secret key can one make a receipt that verifies; signing the same members again must give the
    // very signature that was accepted.
    let mut members = receipt.members().clone();
    members.remove("signature");
    let verified = RING.verify(&receipt).is_ok();
    if receipt.key_id() == "test" {
        let ours = RING
            .sign(members)
            .expect("what a receipt says can be signed");
        assert_eq!(verified, ours.signature() == receipt.signature());
        assert!(RING.verify(&ours).is_ok());
        assert_eq!(
            Receipt::from_slice(ours.as_str().as_bytes()).expect("what is signed is read"),
            ours
        );
    } else {
        assert!(!verified);
    }
});

/// The value with every number as the double it is: the canonical form writes 1e20 without an exponent.
fn as_doubles(value: &Value) -> Value {
    match value {
        Value::Number(number) => number.as_f64().into(),
        Value::Array(items) => items.iter().map(as_doubles).collect(),
        Value::Object(members) => members
            .iter()
            .map(|(name, inner)| (name.clone(), as_doubles(inner)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::String(_) => value.clone(),
    }
}
