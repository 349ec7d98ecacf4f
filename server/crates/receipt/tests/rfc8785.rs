//! The canonical form, against the vectors of RFC 8785 and of its authors.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use llmring_receipt::canonical;
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};

fn canonical(text: &str) -> String {
    String::from_utf8(canonical::of_text(text.as_bytes()).unwrap()).unwrap()
}

fn canonical_number(number: f64) -> String {
    String::from_utf8(canonical::of_value(&json!(number)).unwrap()).unwrap()
}

macro_rules! published_vectors {
    ($($name:ident)*) => {$(
        #[test]
        fn $name() {
            let name = stringify!($name);
            let input = include_str!(concat!("fixtures/jcs/input/", stringify!($name), ".json"));
            let output = include_str!(concat!("fixtures/jcs/output/", stringify!($name), ".json"));
            assert_eq!(canonical(input), output, "{name}");
            assert_eq!(canonical(output), output, "the canonical form of {name} is its own");
        }
    )*};
}

published_vectors!(arrays french structures unicode values weird);

#[test]
fn section_3_2_2_and_3_2_4_example() {
    let input = r#"{
       "numbers": [333333333.33333329, 1E30, 4.50,
                   2e-3, 0.000000000000000000000000001],
       "string": "\u20ac$\u000F\u000aA'\u0042\u0022\u005c\\\"\/",
       "literals": [null, true, false]
     }"#;
    let bytes = "
        7b 22 6c 69 74 65 72 61 6c 73 22 3a 5b 6e 75 6c 6c 2c 74 72
        75 65 2c 66 61 6c 73 65 5d 2c 22 6e 75 6d 62 65 72 73 22 3a
        5b 33 33 33 33 33 33 33 33 33 2e 33 33 33 33 33 33 33 2c 31
        65 2b 33 30 2c 34 2e 35 2c 30 2e 30 30 32 2c 31 65 2d 32 37
        5d 2c 22 73 74 72 69 6e 67 22 3a 22 e2 82 ac 24 5c 75 30 30
        30 66 5c 6e 41 27 42 5c 22 5c 5c 5c 5c 5c 22 2f 22 7d";
    let expected: String = bytes.split_whitespace().collect();
    assert_eq!(hex::encode(canonical(input)), expected);
}

#[test]
fn section_3_2_3_members_sort_by_utf_16_code_units() {
    let input = r#"{
      "\u20ac": "Euro Sign",
      "\r": "Carriage Return",
      "\ufb33": "Hebrew Letter Dalet With Dagesh",
      "1": "One",
      "\ud83d\ude00": "Emoji: Grinning Face",
      "\u0080": "Control",
      "\u00f6": "Latin Small Letter O With Diaeresis"
    }"#;
    let form = canonical(input);
    let order = [
        "Carriage Return",
        "One",
        "Control",
        "Latin Small Letter O With Diaeresis",
        "Euro Sign",
        "Emoji: Grinning Face",
        "Hebrew Letter Dalet With Dagesh",
    ];
    let places: Vec<usize> = order.iter().map(|name| form.find(name).unwrap()).collect();
    assert!(places.is_sorted(), "{form}");
}

#[test]
fn appendix_b_numbers() {
    for (bits, expected) in [
        (0x0000000000000000, "0"),
        (0x8000000000000000, "0"),
        (0x0000000000000001, "5e-324"),
        (0x8000000000000001, "-5e-324"),
        (0x7fefffffffffffff, "1.7976931348623157e+308"),
        (0xffefffffffffffff, "-1.7976931348623157e+308"),
        (0x4340000000000000, "9007199254740992"),
        (0xc340000000000000, "-9007199254740992"),
        (0x4430000000000000, "295147905179352830000"),
        (0x44b52d02c7e14af5, "9.999999999999997e+22"),
        (0x44b52d02c7e14af6, "1e+23"),
        (0x44b52d02c7e14af7, "1.0000000000000001e+23"),
        (0x444b1ae4d6e2ef4e, "999999999999999700000"),
        (0x444b1ae4d6e2ef4f, "999999999999999900000"),
        (0x444b1ae4d6e2ef50, "1e+21"),
        (0x3eb0c6f7a0b5ed8c, "9.999999999999997e-7"),
        (0x3eb0c6f7a0b5ed8d, "0.000001"),
        (0x41b3de4355555553, "333333333.3333332"),
        (0x41b3de4355555554, "333333333.33333325"),
        (0x41b3de4355555555, "333333333.3333333"),
        (0x41b3de4355555556, "333333333.3333334"),
        (0x41b3de4355555557, "333333333.33333343"),
        (0xbecbf647612f3696, "-0.0000033333333333333333"),
        (0x43143ff3c1cb0959, "1424953923781206.2"),
    ] {
        assert_eq!(canonical_number(f64::from_bits(bits)), expected, "{bits:016x}");
    }
}

#[test]
fn numbers_as_they_are_written() {
    for (literal, expected) in [
        ("1.0", "1"),
        ("-0", "0"),
        ("-0.0", "0"),
        ("1e3", "1000"),
        ("1e22", "1e+22"),
        ("1e20", "100000000000000000000"),
        ("0.1", "0.1"),
        ("0.12345678901234567890", "0.12345678901234568"),
        ("9007199254740991", "9007199254740991"),
        ("9007199254740992.0", "9007199254740992"),
        ("9007199254740993.0", "9007199254740992"),
    ] {
        assert_eq!(canonical(literal), expected, "{literal}");
    }
}

#[test]
fn a_value_from_elsewhere_is_refused_as_its_text_would_be() {
    for value in [
        json!(9_007_199_254_740_992_u64),
        json!(u64::MAX),
        json!(i64::MIN),
        json!({"a": [{"$serde_json::private::RawValue": "1"}]}),
        (0..65).fold(Value::Null, |inner, _| json!([inner])),
    ] {
        assert!(canonical::of_value(&value).is_err(), "{value}");
    }
}

/// The deterministic sequence of doubles of the authors' `testdata/README.md`: some chosen ones, 2000 from the first
/// normal one on, then SHA-256 of the last 32 bytes again and again, taken as four doubles, zero and infinite ones left
/// out. A line is the bits in hexadecimal, a comma, the canonical form.
#[test]
fn the_published_digest_of_10_000_numbers() {
    #[rustfmt::skip]
    const POSITIVE_THEN_MIRRORED: [u64; 50] = [
        0x446696695dbd1cc3, 0x443211ede4974a35, 0x43fce97ca0f21056, 0x43c7213080c1a6ac, 0x439280f39a348556,
        0x435d9b1f5d20d557, 0x4327af4c4a80aaac, 0x42f2f2a36ecd5556, 0x42be51057e155558, 0x428840d131aaaaac,
        0x4253670dc1555557, 0x421f0b4935555557, 0x41e8d5d42aaaaaac, 0x41b3de4355555556, 0x417fca0555555556,
        0x41496e6aaaaaaaab, 0x4114585555555555, 0x40e046aaaaaaaaab, 0x40aa0aaaaaaaaaaa, 0x4074d55555555555,
        0x4040aaaaaaaaaaab, 0x400aaaaaaaaaaaab, 0x3fd5555555555555, 0x3fa1111111111111, 0x3f6b4e81b4e81b4f,
        0x3f35d867c3ece2a5, 0x3f0179ec9cbd821e, 0x3ecbf647612f3696, 0x3e965e9f80f29212, 0x3e61e54c672874db,
        0x3e2ca213d840baf8, 0x3df6e80fe033c8c6, 0x3dc2533fe68fd3d2, 0x3d8d51ffd74c861c, 0x3d5774ccac3d3817,
        0x3d22c3d6f030f9ac, 0x3cee0624b3818f79, 0x3cb804ea293472c7, 0x3c833721ba905bd3, 0x3c4ebe9c5db3c61e,
        0x3c18987d17c304e5, 0x3be3ad30dfcf371d, 0x3baf7b816618582f, 0x3b792f9ab81379bf, 0x3b442615600f9499,
        0x3b101e77800c76e1, 0x3ad9ca58cce0be35, 0x3aa4a1e0a3e6fe90, 0x3a708180831f320d, 0x3a3a68cd9e985016,
    ];
    #[rustfmt::skip]
    const CHOSEN: [u64; 64] = [
        0x4024000000000000, 0x4014000000000000, 0x3fe0000000000000, 0x3fa999999999999a,
        0x3f747ae147ae147b, 0x3f40624dd2f1a9fc, 0x3f0a36e2eb1c432d, 0x3ed4f8b588e368f1,
        0x3ea0c6f7a0b5ed8d, 0x3e6ad7f29abcaf48, 0x3e35798ee2308c3a, 0x3ed539223589fa95,
        0x3ed4ff26cd5a7781, 0x3ed4f95a762283ff, 0x3ed4f8c60703520c, 0x3ed4f8b72f19cd0d,
        0x3ed4f8b5b31c0c8d, 0x3ed4f8b58d1c461a, 0x3ed4f8b5894f7f0e, 0x3ed4f8b588ee37f3,
        0x3ed4f8b588e47da4, 0x3ed4f8b588e3849c, 0x3ed4f8b588e36bb5, 0x3ed4f8b588e36937,
        0x3ed4f8b588e368f8, 0x3ed4f8b588e368f1, 0x3ff0000000000000, 0xbff0000000000000,
        0xbfeffffffffffffa, 0xbfeffffffffffffb, 0x3feffffffffffffa, 0x3feffffffffffffb,
        0x3feffffffffffffc, 0x3feffffffffffffe, 0xbfefffffffffffff, 0xbfefffffffffffff,
        0x3fefffffffffffff, 0x3fefffffffffffff, 0x3fd3333333333332, 0x3fd3333333333333,
        0x3fd3333333333334, 0x0010000000000000, 0x000ffffffffffffd, 0x000fffffffffffff,
        0x7fefffffffffffff, 0xffefffffffffffff, 0x4340000000000000, 0xc340000000000000,
        0x4430000000000000, 0x44b52d02c7e14af5, 0x44b52d02c7e14af6, 0x44b52d02c7e14af7,
        0x444b1ae4d6e2ef4e, 0x444b1ae4d6e2ef4f, 0x444b1ae4d6e2ef50, 0x3eb0c6f7a0b5ed8c,
        0x3eb0c6f7a0b5ed8d, 0x41b3de4355555553, 0x41b3de4355555554, 0x41b3de4355555555,
        0x41b3de4355555556, 0x41b3de4355555557, 0xbecbf647612f3696, 0x43143ff3c1cb0959,
    ];
    const SIGN: u64 = 1 << 63;
    let zeros_and_smallest = [0, SIGN, 1, SIGN | 1];
    let mirrored = POSITIVE_THEN_MIRRORED.map(|bits| SIGN | bits);
    let serial = (0..2000).map(|index| 0x0010_0000_0000_0000 + index);

    let mut block = [0; 32];
    let random = std::iter::repeat_with(move || {
        block = Sha256::digest(block).into();
        block
    })
    .flat_map(|block| {
        block
            .chunks(8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
            .collect::<Vec<_>>()
    })
    .filter(|bits| f64::from_bits(*bits).is_finite() && f64::from_bits(*bits) != 0.0);

    let numbers = zeros_and_smallest
        .into_iter()
        .chain(mirrored)
        .chain(POSITIVE_THEN_MIRRORED)
        .chain(CHOSEN)
        .chain(serial)
        .chain(random);
    let mut digest = Sha256::new();
    for (index, bits) in (1..=10_000).zip(numbers) {
        digest.update(format!("{bits:x},{}\n", canonical_number(f64::from_bits(bits))));
        if index == 1_000 {
            let expected = "be18b62b6f69cdab33a7e0dae0d9cfa869fda80ddc712221570f9f40a5878687";
            assert_eq!(hex::encode(digest.clone().finalize()), expected);
        }
    }
    let expected = "b9f7a8e75ef22a835685a52ccba7f7d6bdc99e34b010992cbc5864cd12be6892";
    assert_eq!(hex::encode(digest.finalize()), expected);
}
