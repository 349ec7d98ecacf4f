//! Exact US dollars.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de, ser};
use serde_json::value::RawValue;

/// Decimal places that [`Usd`] keeps.
const DECIMALS: i64 = 12;
/// Pico-dollars in a dollar.
const PICOS_PER_USD: u128 = 1_000_000_000_000;
/// Pico-dollars in a micro-dollar.
const PICOS_PER_MICRO: i128 = 1_000_000;
const MICROS_PER_DOLLAR: i128 = 1_000_000;

/// An exact amount of US dollars: a count of pico-dollars (10⁻¹² USD), which may be negative.
///
/// As JSON it is a number with its exact digits, read and written as text and never through a binary float. In the
/// database it is two integer columns, whole micro-dollars and the remainder below, so that sums are plain integer SQL.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Usd(i128);

/// Why something is no amount.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UsdError {
    /// The text does not follow the grammar of JSON numbers (RFC 8259 section 6).
    #[error("not a number")]
    NotANumber,
    /// The amount is larger than can be kept.
    #[error("amount out of range")]
    OutOfRange,
}

impl Usd {
    /// No money.
    pub const ZERO: Self = Self(0);

    /// The amount of this many pico-dollars.
    #[must_use]
    pub const fn from_picos(picos: i128) -> Self {
        Self(picos)
    }

    /// The amount in pico-dollars.
    #[must_use]
    pub const fn picos(self) -> i128 {
        self.0
    }

    /// Whether the amount is below zero.
    #[must_use]
    pub const fn is_negative(self) -> bool {
        self.0 < 0
    }

    /// The sum, or `None` when it is out of range.
    #[must_use]
    pub const fn checked_add(self, other: Self) -> Option<Self> {
        match self.0.checked_add(other.0) {
            Some(picos) => Some(Self(picos)),
            None => None,
        }
    }

    /// The sum of all, or `None` when it, or a part of it on the way, is out of range.
    pub fn checked_sum(amounts: impl IntoIterator<Item = Self>) -> Option<Self> {
        amounts.into_iter().try_fold(Self::ZERO, Self::checked_add)
    }

    /// Reads a JSON number (RFC 8259 section 6), exponent included, exactly. What lies beyond the twelfth decimal is
    /// rounded half to even. Negative amounts are read too: whether they make sense is the caller's to say.
    ///
    /// # Errors
    /// [`UsdError::NotANumber`] for any other text, [`UsdError::OutOfRange`] beyond 10²⁶ dollars or so.
    pub fn parse(text: &str) -> Result<Self, UsdError> {
        let number = JsonNumber::split(text).ok_or(UsdError::NotANumber)?;
        let magnitude = number.magnitude_in_picos().ok_or(UsdError::OutOfRange)?;
        Ok(Self(if number.negative { -magnitude } else { magnitude }))
    }

    /// The amount as the database keeps it: whole micro-dollars, rounded down, and the remainder in pico-dollars
    /// (0..=999,999).
    ///
    /// # Errors
    /// [`UsdError::OutOfRange`] when the micro-dollars exceed 64 bits (about 9.2 × 10¹² dollars).
    pub fn to_columns(self) -> Result<(i64, i32), UsdError> {
        let micros = i64::try_from(self.0.div_euclid(PICOS_PER_MICRO)).map_err(|_| UsdError::OutOfRange)?;
        let picos = i32::try_from(self.0.rem_euclid(PICOS_PER_MICRO)).map_err(|_| UsdError::OutOfRange)?;
        Ok((micros, picos))
    }

    /// The amount that [`Usd::to_columns`] took apart.
    #[must_use]
    pub fn from_columns(micros: i64, picos: i32) -> Self {
        Self::from_sums(micros, i64::from(picos))
    }

    /// The amount whose columns were summed separately, so that the sum of remainders may exceed a micro-dollar.
    #[must_use]
    pub fn from_sums(micros: i64, picos: i64) -> Self {
        // 2⁶³ × 10⁶ + 2⁶³ is below 2¹²⁷: this cannot overflow.
        Self(i128::from(micros) * PICOS_PER_MICRO + i128::from(picos))
    }

    /// The amount of columns summed in three parts, none of which overflows: the micro-dollars' whole dollars
    /// (`cost_micros / 1000000`), what is left of them (`cost_micros % 1000000`), pico-dollars.
    #[must_use]
    pub fn from_split_sums(dollars: i64, micros: i64, picos: i64) -> Self {
        // 2⁶³ × 10¹² is below 2¹⁰⁴: this cannot overflow.
        let Self(rest) = Self::from_sums(micros, picos);
        Self(i128::from(dollars) * MICROS_PER_DOLLAR * PICOS_PER_MICRO + rest)
    }
}

/// A JSON number taken apart: `integer.fraction` × 10^`exponent`.
struct JsonNumber<'a> {
    negative: bool,
    integer: &'a [u8],
    fraction: &'a [u8],
    exponent: i64,
}

impl<'a> JsonNumber<'a> {
    fn split(text: &'a str) -> Option<Self> {
        let bytes = text.as_bytes();
        let (negative, rest) = match bytes.strip_prefix(b"-") {
            Some(rest) => (true, rest),
            None => (false, bytes),
        };
        let (integer, rest) = leading_digits(rest);
        if integer.is_empty() || (integer.len() > 1 && integer[0] == b'0') {
            return None;
        }
        let (fraction, rest) = match rest.strip_prefix(b".") {
            Some(rest) => {
                let (fraction, rest) = leading_digits(rest);
                if fraction.is_empty() {
                    return None;
                }
                (fraction, rest)
            }
            None => (&rest[..0], rest),
        };
        let exponent = match rest {
            [] => 0,
            [b'e' | b'E', rest @ ..] => {
                let (sign, rest) = match rest {
                    [b'-', rest @ ..] => (-1, rest),
                    [b'+', rest @ ..] => (1, rest),
                    rest => (1, rest),
                };
                let (digits, rest) = leading_digits(rest);
                if digits.is_empty() || !rest.is_empty() {
                    return None;
                }
                // An exponent beyond 64 bits means the same as the largest: far out of range, or far below a pico.
                sign * digits.iter().fold(0_i64, |value, digit| {
                    value.saturating_mul(10).saturating_add(i64::from(digit - b'0'))
                })
            }
            _ => return None,
        };
        Some(Self {
            negative,
            integer,
            fraction,
            exponent,
        })
    }

    /// The absolute value in pico-dollars, rounded half to even; `None` when it does not fit.
    fn magnitude_in_picos(&self) -> Option<i128> {
        let digits: Vec<u8> = self
            .integer
            .iter()
            .chain(self.fraction)
            .map(|digit| digit - b'0')
            .collect();
        let Some(first) = digits.iter().position(|digit| *digit != 0) else {
            return Some(0);
        };
        let end = digits
            .iter()
            .rposition(|digit| *digit != 0)
            .map_or(first, |last| last + 1);
        let dropped_zeros = i64::try_from(digits.len() - end).ok()?;
        let fraction_length = i64::try_from(self.fraction.len()).ok()?;
        let digits = &digits[first..end];
        // The value is `digits` × 10^`scale` pico-dollars, and `digits` begins and ends with one that is not 0.
        let scale = self
            .exponent
            .saturating_sub(fraction_length)
            .saturating_add(dropped_zeros + DECIMALS);

        let (kept, cut) = match usize::try_from(scale.min(0).unsigned_abs()) {
            Ok(places) if places <= digits.len() => digits.split_at(digits.len() - places),
            _ => return Some(0), // below a tenth of a pico-dollar
        };
        let whole = kept.iter().try_fold(0_i128, |value, digit| {
            value.checked_mul(10)?.checked_add(i128::from(*digit))
        })?;
        if scale > 0 {
            return whole.checked_mul(10_i128.checked_pow(u32::try_from(scale).ok()?)?);
        }
        let round_up = match cut {
            [5] => whole % 2 == 1,
            [first, ..] => *first >= 5,
            [] => false,
        };
        whole.checked_add(i128::from(round_up))
    }
}

fn leading_digits(bytes: &[u8]) -> (&[u8], &[u8]) {
    let end = bytes
        .iter()
        .position(|byte| !byte.is_ascii_digit())
        .unwrap_or(bytes.len());
    bytes.split_at(end)
}

/// A plain decimal: no exponent, no trailing zeros (`0`, `0.0000105`, `1000000`).
impl fmt::Display for Usd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        let (whole, fraction) = (magnitude / PICOS_PER_USD, magnitude % PICOS_PER_USD);
        let text = if fraction == 0 {
            whole.to_string()
        } else {
            format!("{whole}.{fraction:012}").trim_end_matches('0').to_owned()
        };
        f.pad_integral(!self.is_negative(), "", &text)
    }
}

impl FromStr for Usd {
    type Err = UsdError;

    fn from_str(text: &str) -> Result<Self, UsdError> {
        Self::parse(text)
    }
}

impl Serialize for Usd {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        RawValue::from_string(self.to_string())
            .map_err(ser::Error::custom)?
            .serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Usd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Self::parse(raw.get()).map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn parses_the_json_number_grammar_exactly() {
        for (text, picos) in [
            ("0", 0),
            ("-0", 0),
            ("0.0", 0),
            ("0e999999999999999999999", 0),
            ("1", 1_000_000_000_000),
            ("10", 10_000_000_000_000),
            ("-1.5", -1_500_000_000_000),
            ("0.0000105", 10_500_000),
            ("1.05E-5", 10_500_000),
            ("1.05e-05", 10_500_000),
            ("1e6", 1_000_000_000_000_000_000),
            ("1E+6", 1_000_000_000_000_000_000),
            ("1000000.00000001", 1_000_000_000_000_010_000),
            ("0.000000000001", 1),
            ("1e-12", 1),
            (
                "100000000000000000000000000",
                100_000_000_000_000_000_000_000_000_000_000_000_000,
            ),
            ("170141183460469231731687303.715884105727", i128::MAX),
            ("-170141183460469231731687303.715884105727", -i128::MAX),
        ] {
            assert_eq!(Usd::parse(text), Ok(Usd(picos)), "{text}");
        }
    }

    #[test]
    fn rounds_half_to_even_beyond_the_twelfth_decimal() {
        for (text, picos) in [
            ("0.0000000000005", 0),
            ("0.00000000000050", 0),
            ("0.00000000000050001", 1),
            ("0.0000000000015", 2),
            ("0.0000000000025", 2),
            ("0.0000000000035", 4),
            ("-0.0000000000015", -2),
            ("-0.0000000000005", 0),
            ("0.00000000000149999999999999999999999999", 1),
            ("0.9999999999995", 1_000_000_000_000),
            ("0.00000000000009", 0),
            ("9e-13", 1),
            ("9e-14", 0),
            ("9e-99999999999999999999", 0),
        ] {
            assert_eq!(Usd::parse(text), Ok(Usd(picos)), "{text}");
        }
    }

    #[test]
    fn refuses_what_is_no_json_number() {
        for text in [
            "", "-", "+1", ".5", "1.", "01", "-01", "1e", "1e+", "1.e3", "1 ", " 1", "1_000", "0x10", "NaN",
            "Infinity", "null", "true", "\"1\"", "1,5", "1e5.5", "--1", "١",
        ] {
            assert_eq!(Usd::parse(text), Err(UsdError::NotANumber), "{text}");
        }
    }

    #[test]
    fn refuses_what_does_not_fit() {
        for text in [
            "170141183460469231731687303.715884105728",
            "170141183460469231731687303.7158841057275",
            "1e27",
            "1e300",
            "-1e300",
            "1e99999999999999999999",
            &"9".repeat(100_000),
        ] {
            assert_eq!(Usd::parse(text), Err(UsdError::OutOfRange));
        }
    }

    #[test]
    fn shows_a_plain_decimal() {
        for (picos, text) in [
            (0, "0"),
            (1, "0.000000000001"),
            (10_500_000, "0.0000105"),
            (-1_500_000_000_000, "-1.5"),
            (1_000_000_000_000_000_000, "1000000"),
            (i128::MIN, "-170141183460469231731687303.715884105728"),
        ] {
            assert_eq!(Usd(picos).to_string(), text);
        }
        assert_eq!(format!("{:>8}", Usd(-1_500_000_000_000)), "    -1.5");
    }

    #[test]
    fn columns_round_down_and_refuse_what_64_bits_cannot_hold() {
        assert_eq!(
            Usd(1_000_000_000_000_000_000).to_columns(),
            Ok((1_000_000_000_000, 0))
        );
        assert_eq!(Usd(10_500_001).to_columns(), Ok((10, 500_001)));
        assert_eq!(Usd(-1).to_columns(), Ok((-1, 999_999)));
        let largest = Usd::from_columns(i64::MAX, 999_999);
        assert_eq!(largest.to_columns(), Ok((i64::MAX, 999_999)));
        assert_eq!(
            largest.checked_add(Usd(1)).unwrap().to_columns(),
            Err(UsdError::OutOfRange)
        );
        assert_eq!(Usd::from_columns(i64::MIN, 0).to_columns(), Ok((i64::MIN, 0)));
    }

    #[test]
    fn a_million_dollars_and_a_hundredth_of_a_micro_dollar_add_up() {
        let sum = Usd::checked_sum([Usd::parse("1000000").unwrap(), Usd::parse("0.00000001").unwrap()]);
        assert_eq!(sum.unwrap().to_string(), "1000000.00000001");
        assert_eq!(Usd::checked_sum([Usd(i128::MAX), Usd(1)]), None);
    }

    #[derive(Debug, PartialEq, Deserialize, Serialize)]
    struct Invoice {
        total: Usd,
        #[serde(default)]
        discount: Option<Usd>,
        #[serde(default)]
        lines: Vec<Usd>,
    }

    fn read(text: &str) -> Result<Invoice, serde_path_to_error::Error<serde_json::Error>> {
        serde_path_to_error::deserialize(&mut serde_json::Deserializer::from_str(text))
    }

    #[test]
    fn is_a_json_number_with_its_exact_digits() {
        let text = r#"{"total":1000000.000000000001,"discount":null,"lines":[0.1,-2,1e-12]}"#;
        let invoice = read(text).unwrap();
        assert_eq!(invoice.total, Usd(1_000_000_000_000_000_001));
        assert_eq!(invoice.discount, None);
        assert_eq!(
            invoice.lines,
            [Usd(100_000_000_000), Usd(-2_000_000_000_000), Usd(1)]
        );
        assert_eq!(
            serde_json::to_string(&invoice).unwrap(),
            r#"{"total":1000000.000000000001,"discount":null,"lines":[0.1,-2,0.000000000001]}"#
        );
        assert_eq!(
            read(r#"{"total":1,"discount":0.5}"#).unwrap().discount,
            Some(Usd(500_000_000_000))
        );
        let padded: Usd = serde_json::from_str("  1.5\n").unwrap();
        assert_eq!(padded, Usd(1_500_000_000_000));
        let from_value: Usd = serde_json::from_value(serde_json::json!(0.25)).unwrap();
        assert_eq!(from_value, Usd(250_000_000_000));
    }

    #[test]
    fn other_json_is_refused_where_it_stands() {
        for (text, path, message) in [
            (r#"{"total":"1"}"#, "total", "not a number"),
            (r#"{"total":null}"#, "total", "not a number"),
            (r#"{"total":{"a":1}}"#, "total", "not a number"),
            (r#"{"total":1e40}"#, "total", "amount out of range"),
            (r#"{"total":1,"discount":true}"#, "discount", "not a number"),
            (r#"{"total":1,"lines":[1,[]]}"#, "lines[1]", "not a number"),
        ] {
            let error = read(text).unwrap_err();
            assert_eq!(error.path().to_string(), path, "{text}");
            assert!(error.inner().to_string().starts_with(message), "{text}: {error}");
        }
    }

    proptest! {
        #[test]
        fn text_and_json_round_trip(picos: i128) {
            let amount = Usd(picos);
            if picos != i128::MIN {
                prop_assert_eq!(Usd::parse(&amount.to_string()), Ok(amount));
                let json = serde_json::to_string(&amount).unwrap();
                prop_assert_eq!(serde_json::from_str::<Usd>(&json).unwrap(), amount);
            }
        }

        #[test]
        fn columns_round_trip_and_sums_of_columns_are_sums(
            amounts in prop::collection::vec(-1_000_000_000_000_000_000_i128..1_000_000_000_000_000_000, 0..50),
        ) {
            let (mut micros, mut picos) = (0_i64, 0_i64);
            for amount in amounts.iter().copied().map(Usd) {
                let columns = amount.to_columns().unwrap();
                prop_assert!((0..1_000_000).contains(&columns.1));
                prop_assert_eq!(Usd::from_columns(columns.0, columns.1), amount);
                micros += columns.0;
                picos += i64::from(columns.1);
            }
            prop_assert_eq!(Usd::from_sums(micros, picos), Usd(amounts.iter().sum()));
        }

        #[test]
        fn the_exponent_only_moves_the_point(mantissa in 0..1_000_000_000_u64, places in 0..6_usize) {
            let plain = format!("{mantissa}{}", "0".repeat(places));
            prop_assert_eq!(Usd::parse(&format!("{mantissa}e{places}")), Usd::parse(&plain));
            let divided = format!("{}.{:0places$}", mantissa / 10_u64.pow(places as u32), mantissa % 10_u64.pow(places as u32), places = places.max(1));
            if places > 0 {
                prop_assert_eq!(Usd::parse(&format!("{mantissa}e-{places}")), Usd::parse(&divided));
            }
        }

        #[test]
        fn rounding_is_to_the_nearest_and_ties_to_even(picos in 0..1_000_000_000_000_000_u64, beyond in 0..1000_u32) {
            let text = format!("{}.{:012}{beyond:03}", picos / 1_000_000_000_000, picos % 1_000_000_000_000);
            let up = beyond > 500 || (beyond == 500 && picos % 2 == 1);
            prop_assert_eq!(Usd::parse(&text), Ok(Usd(i128::from(picos) + i128::from(up))));
        }

        #[test]
        fn any_text_is_an_amount_or_a_typed_error(text in "[-+0-9eE. ]{0,40}") {
            let is_json = serde_json::from_str::<&RawValue>(&text).is_ok_and(|raw| raw.get() == text);
            prop_assert_eq!(Usd::parse(&text) != Err(UsdError::NotANumber), is_json);
        }
    }
}
