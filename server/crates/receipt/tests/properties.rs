//! What holds for every receipt and every text.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use llmring_receipt::{
    KeyRing, Receipt, SigningKey, canonical,
    json::{self, MAX_INTEGER, Problem},
};
use proptest::{collection, prelude::*, sample};
use serde_json::{Map, Value, json};

fn ring() -> KeyRing {
    KeyRing::new("test", Some(SigningKey::from_seed(&[1; 32])), None, vec![]).unwrap()
}

/// Any text, and often characters on which encodings, escapes and sort orders differ.
fn any_text() -> impl Strategy<Value = String> {
    let tricky = sample::select(vec![
        '\u{0}', '\r', '"', '\\', '/', '\u{7f}', '\u{80}', 'é', '€', '\u{2028}', '\u{fb33}', '😀',
    ]);
    collection::vec(prop_oneof![tricky, any::<char>()], 0..6)
        .prop_map(|characters| characters.into_iter().collect())
}

fn any_number() -> impl Strategy<Value = Value> {
    let bound = i64::try_from(MAX_INTEGER).unwrap();
    prop_oneof![
        (-bound..=bound).prop_map(Value::from),
        (-100..100i64).prop_map(Value::from),
        any::<f64>()
            .prop_filter("finite", |double| double.is_finite())
            .prop_map(Value::from),
        (-1000..1000i32).prop_map(|thousandths| Value::from(f64::from(thousandths) / 1000.0)),
    ]
}

fn any_value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any_number(),
        any_text().prop_map(Value::from)
    ];
    leaf.prop_recursive(4, 32, 5, |inner| {
        prop_oneof![
            collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            collection::vec((any_text(), inner), 0..5)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    })
}

/// Members of a receipt, with some that nobody knows.
fn any_members() -> impl Strategy<Value = Map<String, Value>> {
    let unknown = collection::vec((any_text(), any_value()), 0..5);
    (0..1000u64, 0..1000u64, any_text(), unknown).prop_map(|(input, output, calculation, unknown)| {
        let mut members: Map<String, Value> = unknown.into_iter().collect();
        let Value::Object(known) = json!({
            "id": "rcpt_1", "timestamp": "2026-07-01T12:00:00Z", "model": "m", "alias": "a", "tags": ["x", "y"],
            "tokens": {"input": input, "output": output, "cached_input": 0},
            "cost": {"amount": "0.25", "calculation": calculation},
        }) else {
            unreachable!("an object")
        };
        members.extend(known);
        members
    })
}

/// Every value of the tree, by its JSON Pointer.
fn pointers(value: &Value, here: &str, all: &mut Vec<String>) {
    all.push(here.to_owned());
    match value {
        Value::Object(members) => {
            for (name, inner) in members {
                let name = name.replace('~', "~0").replace('/', "~1");
                pointers(inner, &format!("{here}/{name}"), all);
            }
        }
        Value::Array(items) => {
            for (index, inner) in items.iter().enumerate() {
                pointers(inner, &format!("{here}/{index}"), all);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

#[derive(Debug, Clone)]
enum Change {
    Replace(Value),
    Add(String, Value),
    Remove(sample::Index),
    Rename(sample::Index, String),
}

fn any_change() -> impl Strategy<Value = Change> {
    prop_oneof![
        3 => any_value().prop_map(Change::Replace),
        1 => (any_text(), any_value()).prop_map(|(name, value)| Change::Add(name, value)),
        1 => any::<sample::Index>().prop_map(Change::Remove),
        1 => (any::<sample::Index>(), any_text()).prop_map(|(index, name)| Change::Rename(index, name)),
    ]
}

fn apply(change: Change, target: &mut Value) {
    match (change, target) {
        (Change::Add(name, value), Value::Object(members)) => drop(members.insert(name, value)),
        (Change::Add(_, value), Value::Array(items)) => items.push(value),
        (Change::Remove(index), Value::Object(members)) if !members.is_empty() => {
            let name = members.keys().nth(index.index(members.len())).unwrap().clone();
            members.remove(&name);
        }
        (Change::Remove(index), Value::Array(items)) if !items.is_empty() => {
            drop(items.remove(index.index(items.len())))
        }
        (Change::Rename(index, new), Value::Object(members)) if !members.is_empty() => {
            let name = members.keys().nth(index.index(members.len())).unwrap().clone();
            let value = members.remove(&name).unwrap();
            members.insert(new, value);
        }
        (Change::Replace(value) | Change::Add(_, value), target) => *target = value,
        (Change::Remove(_) | Change::Rename(..), target) => *target = json!("changed"),
    }
}

/// Writes a value with members in another order, other white space and other escapes.
fn rewritten(value: &Value, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    let mut space = |out: &mut String| {
        out.push_str(["", "", " ", "\n\t", "\r\n"][usize::from(choices.next().unwrap()) % 5])
    };
    space(out);
    match value {
        Value::Null | Value::Bool(_) | Value::Number(_) => out.push_str(&value.to_string()),
        Value::String(text) => rewrite_text(text, choices, out),
        Value::Array(items) => {
            out.push('[');
            for (index, item) in items.iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                rewritten(item, choices, out);
            }
            out.push(']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members
                .iter()
                .map(|member| (choices.next().unwrap(), member))
                .collect();
            members.sort_by_key(|(choice, _)| *choice);
            out.push('{');
            for (index, (_, (name, inner))) in members.into_iter().enumerate() {
                if index > 0 {
                    out.push(',');
                }
                rewrite_text(name, choices, out);
                out.push(':');
                rewritten(inner, choices, out);
            }
            out.push('}');
        }
    }
    out.push_str(["", " ", "\n"][usize::from(choices.next().unwrap()) % 3]);
}

fn rewrite_text(text: &str, choices: &mut impl Iterator<Item = u8>, out: &mut String) {
    out.push('"');
    for character in text.chars() {
        let must_escape = character < ' ' || character == '"' || character == '\\';
        match choices.next().unwrap() % 3 {
            0 if !must_escape => out.push(character),
            1 => character
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| out.push_str(&format!("\\u{unit:04X}"))),
            _ => character
                .encode_utf16(&mut [0; 2])
                .iter()
                .for_each(|unit| out.push_str(&format!("\\u{unit:04x}"))),
        }
    }
    out.push('"');
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_change_to_any_member_makes_verification_fail(
        members in any_members(),
        place in any::<sample::Index>(),
        change in any_change(),
    ) {
        let receipt = ring().sign(members).unwrap();
        prop_assert!(ring().verify(&receipt).is_ok());

        let original = Value::Object(receipt.members().clone());
        let mut places = Vec::new();
        pointers(&original, "", &mut places);
        let mut changed = original.clone();
        apply(change, changed.pointer_mut(&places[place.index(places.len())]).unwrap());
        prop_assume!(canonical::of_value(&changed).unwrap() != canonical::of_value(&original).unwrap());

        let accepted = Receipt::from_slice(changed.to_string().as_bytes())
            .is_ok_and(|receipt| ring().verify(&receipt).is_ok());
        prop_assert!(!accepted, "{changed}");
    }

    /// What is left unchanged by a byte that differs is what the receipt says: white space, an escape, `1.0` for `1`.
    #[test]
    fn a_changed_byte_makes_verification_fail_or_changes_nothing(
        members in any_members(),
        place in any::<sample::Index>(),
        byte in any::<u8>(),
    ) {
        let receipt = ring().sign(members).unwrap();
        let mut text = receipt.as_str().as_bytes().to_vec();
        let at = place.index(text.len());
        text[at] = byte;
        if let Ok(changed) = Receipt::from_slice(&text) && ring().verify(&changed).is_ok() {
            prop_assert_eq!(changed.signing_payload(), receipt.signing_payload());
            prop_assert_eq!(changed.signature(), receipt.signature());
        }
    }

    #[test]
    fn the_canonical_form_is_independent_of_order_white_space_and_escapes(
        value in any_value(),
        choices in collection::vec(any::<u8>(), 64),
    ) {
        let mut text = String::new();
        rewritten(&value, &mut choices.into_iter().cycle(), &mut text);
        prop_assert_eq!(canonical::of_text(text.as_bytes()).unwrap(), canonical::of_value(&value).unwrap());
    }

    #[test]
    fn what_is_written_is_read_back(value in any_value()) {
        prop_assert_eq!(json::read(value.to_string().as_bytes()).unwrap(), value.clone());
        let pretty = serde_json::to_string_pretty(&value).unwrap();
        prop_assert_eq!(json::read(pretty.as_bytes()).unwrap(), value);
    }

    #[test]
    fn a_receipt_that_is_read_signs_to_the_same_text(members in any_members()) {
        let receipt = ring().sign(members).unwrap();
        let again = Receipt::from_slice(receipt.as_str().as_bytes()).unwrap();
        prop_assert_eq!(&again, &receipt);
        let mut members = again.members().clone();
        members.remove("signature");
        prop_assert_eq!(ring().sign(members).unwrap().into_string(), receipt.into_string());
    }

    /// The strict reader accepts a part of what serde_json accepts, with the same meaning.
    #[test]
    fn the_reader_is_serde_json_with_fewer_texts(
        parts in collection::vec(
            sample::select(vec![
                "{", "}", "[", "]", ",", ":", " ", "\"a\"", "\"b\"", "\"", "\\", "\\u00e9", "\\ud83d", "\\ude00", "é", "-",
                "0", "1", "12", ".", ".5", "e", "E+2", "e400", "e-400", "9007199254740993", "null", "true", "fals", "NaN",
                "\n", "\u{1}",
            ]),
            0..12,
        ),
    ) {
        let text = parts.concat();
        let ours = json::read(text.as_bytes());
        match (ours, serde_json::from_str::<Value>(&text)) {
            (Ok(ours), Ok(theirs)) => prop_assert_eq!(ours, theirs),
            (Ok(_), Err(error)) => prop_assert!(false, "only serde_json refuses {text:?}: {error}"),
            (Err(error), Ok(_)) => prop_assert!(
                matches!(
                    error.problem(),
                    Problem::DuplicateMember | Problem::InexactInteger | Problem::OutOfRange | Problem::ReservedMember
                ),
                "{text:?}: {error}"
            ),
            (Err(_), Err(_)) => {}
        }
    }
}
