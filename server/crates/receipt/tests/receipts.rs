//! Issuing, reading and verifying receipts.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use chrono::{DateTime, Utc};
use llmring_receipt::{
    BatchShare, BatchSummary, Cost, JwkProblem, KeyError, KeyRing, KeyRingError, KeySetError, PublicKey,
    Receipt, ReceiptError, ReceiptType, Rejection, SignError, SignatureError, SigningKey, StructureProblem,
    Tokens, UnsignedReceipt, VerifyingKey, Window, json::Problem, parse_instant, read_key_set, sign,
};
use serde_json::{Map, Value, json};

fn signing_key(byte: u8) -> SigningKey {
    SigningKey::from_seed(&[byte; 32])
}

fn public_key(byte: u8, id: &str, window: Window) -> PublicKey {
    PublicKey::new(id, signing_key(byte).verifying_key(), window).unwrap()
}

fn instant(text: &str) -> DateTime<Utc> {
    parse_instant(text).unwrap()
}

fn window(not_before: Option<&str>, not_after: Option<&str>) -> Window {
    Window::new(not_before.map(instant), not_after.map(instant)).unwrap()
}

fn ring(others: Vec<PublicKey>) -> KeyRing {
    KeyRing::new("current", Some(signing_key(1)), None, others).unwrap()
}

fn unsigned() -> UnsignedReceipt {
    UnsignedReceipt {
        id: "rcpt_0197".to_owned(),
        timestamp: instant("2026-07-01T12:00:00.5Z"),
        registry_version: Some("2026-06-30".to_owned()),
        provider: Some("openai".to_owned()),
        model: "gpt-4o-mini".to_owned(),
        alias: Some("summarizer".to_owned()),
        profile: Some("default".to_owned()),
        lock_digest: None,
        tokens: Tokens {
            input: 1000,
            output: 200,
            cached_input: 400,
        },
        cost: Cost {
            amount: "0.00024".to_owned(),
            calculation: "600 × $0.15/M + …".to_owned(),
        },
        receipt_type: None,
        description: None,
        tags: None,
        batch_summary: None,
    }
}

fn members() -> Map<String, Value> {
    unsigned().into_members()
}

/// The members of `receipt` with one changed, as text.
fn with(receipt: &Receipt, name: &str, value: Value) -> Receipt {
    let mut members = receipt.members().clone();
    members.insert(name.to_owned(), value);
    Receipt::from_slice(Value::Object(members).to_string().as_bytes()).unwrap()
}

#[test]
fn an_issued_receipt_has_one_text_and_verifies() {
    let receipt = ring(vec![]).sign(members()).unwrap();
    assert_eq!(
        receipt.as_str(),
        "{\"alias\":\"summarizer\",\
          \"cost\":{\"amount\":\"0.00024\",\"calculation\":\"600 × $0.15/M + …\"},\
          \"id\":\"rcpt_0197\",\"key_id\":\"current\",\"model\":\"gpt-4o-mini\",\"profile\":\"default\",\
          \"provider\":\"openai\",\"registry_version\":\"2026-06-30\",\
          \"signature\":\"ed25519:EAbmFPjc4vGUlbnd1jY42vfxnpUjns1FZt6E641R_jqfLhi_0DI3_U-g0eLx5Ky-0UQkj31NKWRwea4MAGEdCQ\",\
          \"timestamp\":\"2026-07-01T12:00:00.500000Z\",\
          \"tokens\":{\"cached_input\":400,\"input\":1000,\"output\":200}}"
    );
    assert_eq!(ring(vec![]).verify(&receipt).unwrap().id(), "current");
    assert_eq!((receipt.id(), receipt.key_id()), ("rcpt_0197", "current"));
    assert_eq!(receipt.timestamp(), unsigned().timestamp);
    assert_eq!(Receipt::from_slice(receipt.as_str().as_bytes()).unwrap(), receipt);
}

#[test]
fn a_batch_receipt_carries_its_summary() {
    let share = BatchShare {
        calls: 2,
        tokens: 1200,
        cost: "0.00024".to_owned(),
    };
    let batch = UnsignedReceipt {
        receipt_type: Some(ReceiptType::Batch),
        description: Some("June".to_owned()),
        tags: Some(vec!["team-a".to_owned()]),
        batch_summary: Some(BatchSummary {
            total_conversations: 1,
            total_calls: 2,
            total_tokens: 1200,
            total_cost: "0.00024".to_owned(),
            start_date: instant("2026-06-01T00:00:00Z"),
            end_date: instant("2026-06-30T23:59:59.999999Z"),
            by_model: [("openai:gpt-4o-mini".to_owned(), share)].into(),
            by_alias: [].into(),
            logs_sha256: "00".repeat(32),
            logs_count: 2,
        }),
        ..unsigned()
    };
    let receipt = ring(vec![]).sign(batch.into_members()).unwrap();
    ring(vec![]).verify(&receipt).unwrap();
    assert_eq!(receipt.text("receipt_type"), Some("batch"));
    assert_eq!(
        receipt.members()["batch_summary"],
        json!({
            "total_conversations": 1, "total_calls": 2, "total_tokens": 1200, "total_cost": "0.00024",
            "start_date": "2026-06-01T00:00:00.000000Z", "end_date": "2026-06-30T23:59:59.999999Z",
            "by_model": {"openai:gpt-4o-mini": {"calls": 2, "tokens": 1200, "cost": "0.00024"}}, "by_alias": {},
            "logs_sha256": "00".repeat(32), "logs_count": 2,
        })
    );
}

#[test]
fn unknown_members_are_kept_and_signed() {
    let mut unsigned = members();
    unsigned.insert(
        "x-team".to_owned(),
        json!({"\u{fb33}": [1e20, -0.0, 1.0], "😀": null}),
    );
    let receipt = ring(vec![]).sign(unsigned).unwrap();
    ring(vec![]).verify(&receipt).unwrap();
    assert_eq!(receipt.members()["x-team"]["😀"], Value::Null);
    let payload = String::from_utf8(receipt.signing_payload()).unwrap();
    assert!(
        payload.contains("\"x-team\":{\"😀\":null,\"\u{fb33}\":[100000000000000000000,0,1]}"),
        "{payload}"
    );
    // What travels keeps a float a float: written as an integer, 1e20 would be refused by strict readers.
    Receipt::from_slice(receipt.as_str().as_bytes()).unwrap();

    let altered = with(&receipt, "x-team", json!({}));
    assert_eq!(
        ring(vec![]).verify(&altered),
        Err(Rejection::BadSignature {
            key_id: "current".to_owned()
        })
    );
}

#[test]
fn the_text_is_kept_byte_for_byte() {
    let issued = ring(vec![]).sign(members()).unwrap();
    let spaced = format!(
        " {} \n",
        serde_json::to_string_pretty(issued.members())
            .unwrap()
            .replace("600 ", "\\u0036\\u00300 ")
    );
    let receipt = Receipt::from_slice(spaced.as_bytes()).unwrap();
    ring(vec![]).verify(&receipt).unwrap();
    assert_eq!(receipt.as_str(), spaced);
    assert_eq!(receipt.into_string(), spaced);
}

#[test]
fn what_cannot_be_carried_exactly_is_not_signed() {
    let refused = |name: &str, value: Value| {
        let mut unsigned = members();
        unsigned.insert(name.to_owned(), value);
        ring(vec![]).sign(unsigned).unwrap_err()
    };
    let SignError::Json(error) = refused("tokens", json!({"input": 9_007_199_254_740_993_u64, "output": 0}))
    else {
        panic!("an integer beyond 2^53 − 1 must be refused");
    };
    assert_eq!(error.problem(), &Problem::InexactInteger);
    assert_eq!(error.path().collect::<Vec<_>>(), ["tokens", "input"]);
    assert!(matches!(
        refused("x", json!({"$serde_json::private::Number": "1"})),
        SignError::Json(_)
    ));
    assert!(matches!(refused("model", json!("")), SignError::Structure(_)));
    assert_eq!(refused("signature", json!("ed25519:")), SignError::AlreadySigned);
    assert_eq!(
        refused("key_id", json!("other")),
        SignError::OtherKey("current".to_owned())
    );

    let mut unsigned = members();
    unsigned.insert("signature".to_owned(), Value::Null);
    unsigned.insert("key_id".to_owned(), Value::Null);
    assert_eq!(
        ring(vec![]).sign(unsigned).unwrap(),
        ring(vec![]).sign(members()).unwrap()
    );
    let verifying_only = KeyRing::new("current", None, Some(signing_key(1).verifying_key()), vec![]).unwrap();
    assert_eq!(verifying_only.sign(members()), Err(SignError::NoSigningKey));
    assert!(!verifying_only.can_sign());
}

#[test]
fn a_receipt_must_be_shaped_like_one() {
    let receipt = ring(vec![]).sign(members()).unwrap();
    let read = |change: &dyn Fn(&mut Map<String, Value>)| {
        let mut members = receipt.members().clone();
        change(&mut members);
        Receipt::from_slice(Value::Object(members).to_string().as_bytes())
    };
    let structure = |result: Result<Receipt, ReceiptError>| match result {
        Err(ReceiptError::Structure(error)) => error,
        other => panic!("{other:?}"),
    };
    for name in [
        "id",
        "timestamp",
        "model",
        "key_id",
        "signature",
        "tokens",
        "cost",
    ] {
        let missing = structure(read(&|members| drop(members.remove(name))));
        assert_eq!(
            (missing.member, missing.problem),
            (name, StructureProblem::Missing)
        );
        let null = structure(read(&|members| {
            drop(members.insert(name.to_owned(), Value::Null))
        }));
        assert_eq!(null.problem, StructureProblem::Missing);
        let wrong = structure(read(&|members| drop(members.insert(name.to_owned(), json!([])))));
        assert_eq!(wrong.member, name);
    }
    for (name, inner) in [("tokens", "input"), ("tokens", "output"), ("cost", "amount")] {
        let missing = structure(read(&|members| {
            drop(members[name].as_object_mut().unwrap().remove(inner))
        }));
        assert_eq!(missing.to_string(), format!("`{name}.{inner}` is missing"));
    }
    for (name, wrong) in [
        ("id", json!("")),
        ("id", json!("x".repeat(256))),
        ("id", json!("a\u{0}b")),
        ("timestamp", json!("yesterday")),
        ("timestamp", json!("2026-07-01")),
        ("timestamp", json!("2026-13-01T00:00:00Z")),
        ("timestamp", json!(1_780_000_000)),
        ("alias", json!(1)),
        ("provider", json!({})),
        ("description", json!(["x"])),
        ("receipt_type", json!("other")),
        ("registry_version", json!([])),
        ("tags", json!("x")),
        ("tags", json!(["x", 1])),
        ("batch_summary", json!("x")),
    ] {
        let error = structure(read(&|members| {
            drop(members.insert(name.to_owned(), wrong.clone()))
        }));
        assert_eq!(error.member, name, "{wrong}");
    }
    for (name, inner, wrong) in [
        ("tokens", "input", json!(-1)),
        ("tokens", "output", json!(1.5)),
        ("tokens", "cached_input", json!("1")),
        ("cost", "amount", json!(-0.1)),
        ("cost", "amount", json!("-0.1")),
        ("cost", "amount", json!("$1")),
        ("cost", "amount", json!("1.")),
        ("cost", "amount", json!(".1")),
        ("cost", "amount", json!("")),
        ("cost", "amount", json!("NaN")),
        ("cost", "calculation", json!(1)),
    ] {
        let error = structure(read(&|members| members[name][inner] = wrong.clone()));
        assert_eq!(error.member, format!("{name}.{inner}"), "{wrong}");
    }
    for (name, accepted) in [
        ("id", json!("é".repeat(255))),
        ("timestamp", json!("2026-07-01T12:00:00")),
        ("timestamp", json!("2026-07-01T14:00:00.123456+02:00")),
        ("cost", json!({"amount": 0.25, "calculation": null})),
        ("cost", json!({"amount": "1E-7"})),
        ("tokens", json!({"input": 1.0, "output": 0, "cached_input": null})),
        ("alias", Value::Null),
        ("registry_version", json!(12)),
    ] {
        assert!(
            read(&|members| drop(members.insert(name.to_owned(), accepted.clone()))).is_ok(),
            "{name} {accepted}"
        );
    }
    assert_eq!(
        Receipt::from_slice(br#"{"id":"a","id":"b"}"#)
            .unwrap_err()
            .to_string(),
        "the member occurs twice at /id (byte 10)"
    );
}

#[test]
fn every_rejection_says_why() {
    let ring = ring(vec![public_key(2, "other", Window::ALWAYS)]);
    let receipt = ring.sign(members()).unwrap();
    let rejected = |name: &str, value: &str| ring.verify(&with(&receipt, name, json!(value))).unwrap_err();

    assert_eq!(
        rejected("key_id", "unknown"),
        Rejection::UnknownKey {
            key_id: "unknown".to_owned()
        }
    );
    assert_eq!(
        rejected("key_id", "other"),
        Rejection::BadSignature {
            key_id: "other".to_owned()
        }
    );
    assert_eq!(
        rejected("model", "gpt-4o"),
        Rejection::BadSignature {
            key_id: "current".to_owned()
        }
    );
    let signature = receipt.signature().to_owned();
    for (text, reason) in [
        ("", SignatureError::NoAlgorithm),
        ("rsa:AAAA", SignatureError::OtherAlgorithm),
        ("ed25519:AAAA", SignatureError::Length(3)),
        (&format!("{signature}=="), SignatureError::Padded),
    ] {
        assert_eq!(rejected("signature", text), Rejection::MalformedSignature(reason));
    }
    assert_eq!(
        rejected(
            "signature",
            &signing_key(2).sign(&receipt.signing_payload()).to_string()
        ),
        Rejection::BadSignature {
            key_id: "current".to_owned()
        }
    );
    assert_eq!(
        rejected("signature", "rsa:").to_string(),
        "malformed signature: the algorithm is not ed25519"
    );
}

#[test]
fn a_malleated_signature_is_refused() {
    // s + L is the same scalar as s, and would make a second signature of the same receipt.
    const L: [u8; 32] = [
        0xed, 0xd3, 0xf5, 0x5c, 0x1a, 0x63, 0x12, 0x58, 0xd6, 0x9c, 0xf7, 0xa2, 0xde, 0xf9, 0xde, 0x14, 0, 0,
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x10,
    ];
    use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
    let receipt = ring(vec![]).sign(members()).unwrap();
    let mut bytes = URL_SAFE_NO_PAD
        .decode(receipt.signature().strip_prefix("ed25519:").unwrap())
        .unwrap();
    let mut carry = 0;
    for (byte, addend) in bytes[32..].iter_mut().zip(L) {
        let sum = u16::from(*byte) + u16::from(addend) + carry;
        *byte = sum.to_le_bytes()[0];
        carry = sum >> 8;
    }
    assert_eq!(carry, 0);
    let altered = with(
        &receipt,
        "signature",
        format!("ed25519:{}", URL_SAFE_NO_PAD.encode(bytes)).into(),
    );
    assert_eq!(
        ring(vec![]).verify(&altered),
        Err(Rejection::BadSignature {
            key_id: "current".to_owned()
        })
    );
}

#[test]
fn a_retired_key_verifies_the_receipts_of_its_time_and_no_others() {
    let retired = window(Some("2026-01-01T00:00:00Z"), Some("2026-07-01T12:00:00.5Z"));
    let ring = ring(vec![public_key(2, "retired", retired)]);
    let at = |timestamp: &str| {
        let unsigned = UnsignedReceipt {
            timestamp: instant(timestamp),
            ..unsigned()
        };
        ring.verify(&sign(unsigned.into_members(), &signing_key(2), "retired").unwrap())
            .map(PublicKey::id)
    };
    for inside in [
        "2026-01-01T00:00:00Z",
        "2026-03-01T00:00:00Z",
        "2026-07-01T14:00:00.5+02:00",
    ] {
        assert_eq!(at(inside), Ok("retired"), "{inside}");
    }
    for outside in ["2025-12-31T23:59:59.999999Z", "2026-07-01T12:00:00.500001Z"] {
        let rejection = at(outside).unwrap_err();
        assert_eq!(
            rejection.to_string(),
            format!(
                "the timestamp {outside} is outside the validity window of the key \"retired\" \
                 (from 2026-01-01T00:00:00.000000Z until 2026-07-01T12:00:00.500000Z)"
            )
        );
    }
}

#[test]
fn an_upcoming_key_is_published_before_it_signs() {
    let upcoming = window(Some("2027-01-01T00:00:00Z"), None);
    let before = ring(vec![public_key(2, "2027", upcoming)]);
    assert_eq!(before.current().map(PublicKey::id), Some("current"));
    assert_eq!(
        before.public_keys().iter().map(PublicKey::id).collect::<Vec<_>>(),
        ["current", "2027"]
    );

    // It becomes the current key, and keeps the window it was published with.
    let after = KeyRing::new("2027", Some(signing_key(2)), None, before.public_keys().to_vec()).unwrap();
    assert_eq!(
        after.public_keys().iter().map(PublicKey::id).collect::<Vec<_>>(),
        ["2027", "current"]
    );
    assert_eq!(
        after.sign(members()),
        Err(SignError::OutsideWindow {
            key_id: "2027".to_owned()
        })
    );
    let later = UnsignedReceipt {
        timestamp: instant("2027-01-01T00:00:00Z"),
        ..unsigned()
    };
    after.verify(&after.sign(later.into_members()).unwrap()).unwrap();
    after.verify(&before.sign(members()).unwrap()).unwrap();
}

#[test]
fn a_published_set_can_be_pasted_into_another_server() {
    let ring = ring(vec![
        public_key(2, "2025", window(None, Some("2025-12-31T23:59:59.999999Z"))),
        public_key(3, "2027", window(Some("2027-01-01T00:00:00Z"), None)),
    ]);
    let published = serde_json::to_string(ring.public_keys()).unwrap();
    assert_eq!(
        published,
        "[{\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"current\",\
           \"x\":\"iojj3XQJ8ZX9UtstPLpdcspnCb8dlBIb83SIAbQPb1w\"},\
          {\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"2025\",\
           \"x\":\"gTl3Dqh9F19Wo1Rmw0x-zMuNipG07jeiXfYPW4_Js5Q\",\"not_after\":\"2025-12-31T23:59:59.999999Z\"},\
          {\"kty\":\"OKP\",\"crv\":\"Ed25519\",\"kid\":\"2027\",\
           \"x\":\"7UkoxijRwsbq6QM4kFmVYSlZJzpcY_k2NsFGFKyHN9E\",\"not_before\":\"2027-01-01T00:00:00.000000Z\"}]"
    );
    let read = read_key_set(published.as_bytes()).unwrap();
    assert_eq!(read, ring.public_keys());
    assert_eq!(
        read_key_set(format!("{{\"keys\":{published}}}").as_bytes()).unwrap(),
        read
    );
    assert_eq!(
        read_key_set(serde_json::to_string(&read[1]).unwrap().as_bytes()).unwrap(),
        read[1..2]
    );
    assert_eq!(read_key_set(b"[]").unwrap(), []);

    let elsewhere = KeyRing::new("elsewhere", None, None, [read.clone(), read].concat()).unwrap();
    assert!(elsewhere.current().is_none());
    assert_eq!(elsewhere.public_keys(), ring.public_keys());
    elsewhere.verify(&ring.sign(members()).unwrap()).unwrap();
}

#[test]
fn a_key_set_is_refused_with_the_reason() {
    let x = signing_key(1).verifying_key().to_base64url();
    let problem = |change: Value| {
        let mut jwk = json!({"kty": "OKP", "crv": "Ed25519", "kid": "a", "x": x});
        jwk.as_object_mut()
            .unwrap()
            .extend(change.as_object().unwrap().clone());
        match read_key_set(json!([jwk]).to_string().as_bytes()) {
            Ok(keys) => panic!("{keys:?}"),
            Err(KeySetError::Key { index: 0, problem }) => problem,
            Err(other) => panic!("{other}"),
        }
    };
    for (name, wrong) in [
        ("kty", json!("EC")),
        ("crv", json!("X25519")),
        ("kid", json!("")),
        ("kid", json!(1)),
        ("x", Value::Null),
        ("use", json!("enc")),
        ("alg", json!("RS256")),
        ("not_before", json!(1_780_000_000)),
        ("not_after", json!("soon")),
    ] {
        assert!(
            matches!(problem(json!({name: wrong})), JwkProblem::Member(member, _) if member == name),
            "{name}"
        );
    }
    assert_eq!(problem(json!({"d": "secret"})), JwkProblem::Private);
    assert_eq!(
        problem(json!({"exp": 1_780_000_000})),
        JwkProblem::JwtWindow("exp")
    );
    assert_eq!(
        problem(json!({"x": "AAAA"})),
        JwkProblem::Key(KeyError::VerifyingLength(3))
    );
    assert!(matches!(
        problem(json!({"not_before": "2026-01-02T00:00:00Z", "not_after": "2026-01-01T00:00:00Z"})),
        JwkProblem::Window(_)
    ));
    assert_eq!(read_key_set(b"1").unwrap_err(), KeySetError::NotASet);
    assert_eq!(read_key_set(br#"{"keys":{}}"#).unwrap_err(), KeySetError::NotASet);
    assert!(matches!(read_key_set(b"[").unwrap_err(), KeySetError::Json(_)));
    assert_eq!(
        read_key_set(br#"[{"kty":"OKP","crv":"Ed25519","kid":"a","x":"!"}]"#)
            .unwrap_err()
            .to_string(),
        "key 0 of the set: `x`: the key is not base64url: byte 0 is not of the base64url alphabet"
    );
    let accepted =
        json!([{"kty":"OKP","crv":"Ed25519","kid":"a","x":x,"use":"sig","alg":"EdDSA","key_ops":["verify"]}]);
    assert_eq!(read_key_set(accepted.to_string().as_bytes()).unwrap().len(), 1);
}

#[test]
fn keys_that_contradict_each_other_make_no_ring() {
    let new = |id: &str, verifying: Option<VerifyingKey>, others: Vec<PublicKey>| {
        KeyRing::new(id, Some(signing_key(1)), verifying, others).map(|ring| ring.public_keys().len())
    };
    assert_eq!(new("a", Some(signing_key(1).verifying_key()), vec![]), Ok(1));
    assert_eq!(
        new("a", Some(signing_key(2).verifying_key()), vec![]),
        Err(KeyRingError::KeysDiffer)
    );
    assert_eq!(new("", None, vec![]), Err(KeyRingError::KeyId));
    assert_eq!(new("a\n", None, vec![]), Err(KeyRingError::KeyId));
    let duplicate = Err(KeyRingError::DuplicateId("a".to_owned()));
    assert_eq!(
        new("a", None, vec![public_key(2, "a", Window::ALWAYS)]),
        duplicate
    );
    let late = window(Some("2027-01-01T00:00:00Z"), None);
    let twice = vec![public_key(2, "a", Window::ALWAYS), public_key(2, "a", late)];
    assert_eq!(new("b", None, twice), duplicate);
}

#[test]
fn python_and_this_crate_sign_alike() {
    let fixture: Value = serde_json::from_str(include_str!("fixtures/python_signed.json")).unwrap();
    let public = VerifyingKey::from_base64url(fixture["public_key_b64"].as_str().unwrap()).unwrap();
    let ring = KeyRing::new("python", None, Some(public), vec![]).unwrap();

    let text = include_str!("fixtures/python_signed.json");
    let start = text.find("\"receipt\": ").unwrap() + "\"receipt\": ".len();
    let text = text[start..].trim_end().strip_suffix('}').unwrap();
    let receipt = Receipt::from_slice(text.as_bytes()).unwrap();
    assert_eq!(ring.verify(&receipt).map(PublicKey::id), Ok("python"));

    // Ed25519 is deterministic: the same key and the same RFC 8785 form make the same signature.
    let mut members = receipt.members().clone();
    members.remove("signature");
    let ours = sign(members, &signing_key(1), "python").unwrap();
    assert_eq!(ours.signature(), receipt.signature());

    for (name, value) in receipt.members() {
        let altered = match value {
            Value::String(text) => json!(format!("{text}x")),
            Value::Array(items) => json!([items, 1]),
            Value::Object(members) => json!({"x": members}),
            Value::Null | Value::Bool(_) | Value::Number(_) => {
                panic!("no such member in the fixture")
            }
        };
        let mut members = receipt.members().clone();
        members.insert(name.clone(), altered);
        let genuine = Receipt::from_slice(Value::Object(members).to_string().as_bytes())
            .is_ok_and(|receipt| ring.verify(&receipt).is_ok());
        assert!(!genuine, "{name}");
    }
}
