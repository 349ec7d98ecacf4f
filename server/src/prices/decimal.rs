//! Exact decimals that are not negative: rates, and the unrounded amounts that rates and counts make.

use std::fmt;
use std::str::FromStr;

use entity::usd::Usd;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

/// Decimal places of a [`Usd`].
const USD_DECIMALS: u32 = 12;
/// Decimal places kept of a quotient that has no last digit.
const QUOTIENT_DECIMALS: u32 = 12;

/// An exact decimal number, 0 or more: `mantissa` × 10⁻ˢᶜᵃˡᵉ, without trailing zeros. As JSON it is a string, so that no
/// reader takes it for a binary float.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Decimal {
    mantissa: u128,
    scale: u32,
}

/// The text is no decimal number of 0 or more, or has more than 38 digits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not an exact decimal number of 0 or more")]
pub struct ParseDecimalError;

impl Decimal {
    /// Nothing.
    pub const ZERO: Self = Self {
        mantissa: 0,
        scale: 0,
    };

    fn new(mut mantissa: u128, mut scale: u32) -> Self {
        while scale > 0 && mantissa.is_multiple_of(10) {
            mantissa /= 10;
            scale -= 1;
        }
        Self { mantissa, scale }
    }

    /// The number when it is whole and fits.
    #[must_use]
    pub fn to_u64(self) -> Option<u64> {
        if self.scale == 0 {
            u64::try_from(self.mantissa).ok()
        } else {
            None
        }
    }

    /// The exact sum, or `None` when it does not fit.
    #[must_use]
    pub fn checked_add(self, other: Self) -> Option<Self> {
        let scale = self.scale.max(other.scale);
        Some(Self::new(
            self.at_scale(scale)?.checked_add(other.at_scale(scale)?)?,
            scale,
        ))
    }

    /// What `tokens` cost at this many dollars per million: exact, in dollars; `None` when it does not fit.
    #[must_use]
    pub fn per_million(self, tokens: u64) -> Option<Self> {
        Some(Self::new(
            self.mantissa.checked_mul(u128::from(tokens))?,
            self.scale.checked_add(6)?,
        ))
    }

    /// `self` × `numerator` ÷ `denominator`: exact when the quotient ends, else rounded half to even to twelve decimals.
    /// `None` when `denominator` is 0 or the result does not fit.
    #[must_use]
    pub fn scaled_by(self, numerator: Self, denominator: Self) -> Option<Self> {
        if denominator.mantissa == 0 {
            return None;
        }
        let scale = self.scale + numerator.scale;
        let dividend = self.mantissa.checked_mul(numerator.mantissa)?;
        // The value is dividend × 10^denominator.scale ÷ (divisor × 10^scale), in lowest terms for its integers.
        let common = greatest_common_divisor(dividend, denominator.mantissa);
        let (dividend, divisor) = (dividend / common, denominator.mantissa / common);
        let (dividend, scale) = if denominator.scale > scale {
            (
                dividend.checked_mul(10_u128.checked_pow(denominator.scale - scale)?)?,
                0,
            )
        } else {
            (dividend, scale - denominator.scale)
        };
        match digits_to_end(divisor) {
            Some(digits) => {
                let mantissa = dividend.checked_mul(10_u128.checked_pow(digits)?)? / divisor;
                Some(Self::new(mantissa, scale + digits))
            }
            None => {
                let (dividend, divisor) = if scale > QUOTIENT_DECIMALS {
                    (
                        dividend,
                        divisor.checked_mul(10_u128.checked_pow(scale - QUOTIENT_DECIMALS)?)?,
                    )
                } else {
                    (
                        dividend.checked_mul(10_u128.checked_pow(QUOTIENT_DECIMALS - scale)?)?,
                        divisor,
                    )
                };
                Some(Self::new(
                    divide_half_to_even(dividend, divisor),
                    QUOTIENT_DECIMALS,
                ))
            }
        }
    }

    /// The number as an amount, rounded half to even to a pico-dollar; `None` when it does not fit.
    #[must_use]
    pub fn to_usd(self) -> Option<Usd> {
        let picos = if self.scale <= USD_DECIMALS {
            self.at_scale(USD_DECIMALS)?
        } else {
            match 10_u128.checked_pow(self.scale - USD_DECIMALS) {
                Some(divisor) => divide_half_to_even(self.mantissa, divisor),
                None => 0, // a mantissa of 128 bits over more than 10³⁸
            }
        };
        i128::try_from(picos).ok().map(Usd::from_picos)
    }

    fn at_scale(self, scale: u32) -> Option<u128> {
        self.mantissa
            .checked_mul(10_u128.checked_pow(scale - self.scale)?)
    }
}

fn divide_half_to_even(dividend: u128, divisor: u128) -> u128 {
    let (quotient, remainder) = (dividend / divisor, dividend % divisor);
    let round_up = match remainder.cmp(&(divisor - remainder)) {
        std::cmp::Ordering::Less => false,
        std::cmp::Ordering::Equal => !quotient.is_multiple_of(2),
        std::cmp::Ordering::Greater => true,
    };
    quotient + u128::from(round_up)
}

fn greatest_common_divisor(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// How many decimals 1 ÷ `divisor` has; `None` when it has no last one.
fn digits_to_end(mut divisor: u128) -> Option<u32> {
    let mut strip = |factor: u128| {
        let mut count = 0;
        while divisor.is_multiple_of(factor) {
            divisor /= factor;
            count += 1;
        }
        count
    };
    let digits = strip(2).max(strip(5));
    (divisor == 1).then_some(digits)
}

impl From<u64> for Decimal {
    fn from(number: u64) -> Self {
        Self {
            mantissa: u128::from(number),
            scale: 0,
        }
    }
}

/// Reads the text of a JSON number, exponent included.
impl FromStr for Decimal {
    type Err = ParseDecimalError;

    fn from_str(text: &str) -> Result<Self, ParseDecimalError> {
        let (number, exponent) = match text.split_once(['e', 'E']) {
            Some((number, exponent)) => (number, exponent.parse::<i32>().map_err(|_| ParseDecimalError)?),
            None => (text, 0),
        };
        let (integer, fraction) = number.split_once('.').unwrap_or((number, "0"));
        let all_digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
        if !all_digits(integer) || !all_digits(fraction) {
            return Err(ParseDecimalError);
        }
        let fraction = fraction.trim_end_matches('0');
        let mantissa: u128 = format!("{integer}{fraction}")
            .parse()
            .map_err(|_| ParseDecimalError)?;
        if mantissa == 0 {
            return Ok(Self::ZERO);
        }
        let fraction_length = i32::try_from(fraction.len()).map_err(|_| ParseDecimalError)?;
        let scale = fraction_length.checked_sub(exponent).ok_or(ParseDecimalError)?;
        let power_of_ten = |digits: i32| u32::try_from(digits).ok().filter(|digits| *digits <= 38);
        if scale >= 0 {
            Ok(Self::new(mantissa, power_of_ten(scale).ok_or(ParseDecimalError)?))
        } else {
            power_of_ten(-scale)
                .and_then(|digits| mantissa.checked_mul(10_u128.checked_pow(digits)?))
                .map(|mantissa| Self { mantissa, scale: 0 })
                .ok_or(ParseDecimalError)
        }
    }
}

/// Plain digits: no exponent, no trailing zeros.
impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scale = self.scale as usize;
        let digits = format!("{:0>width$}", self.mantissa, width = scale + 1);
        let (integer, fraction) = digits.split_at(digits.len() - scale);
        f.write_str(integer)?;
        if !fraction.is_empty() {
            write!(f, ".{fraction}")?;
        }
        Ok(())
    }
}

impl Serialize for Decimal {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Decimal {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decimal(text: &str) -> Decimal {
        text.parse().expect(text)
    }

    #[test]
    fn reads_json_numbers_exactly() {
        for (text, shown) in [
            ("0", "0"),
            ("0.0", "0"),
            ("15.0", "15"),
            ("0.075", "0.075"),
            ("0.07500000000000001", "0.07500000000000001"),
            ("7.5e-2", "0.075"),
            ("1E3", "1000"),
            ("1.5e+1", "15"),
            ("100", "100"),
            ("0e9", "0"),
        ] {
            assert_eq!(decimal(text).to_string(), shown, "{text}");
        }
        for text in [
            "",
            "-1",
            "-0",
            "1.",
            ".5",
            "NaN",
            "null",
            "\"1\"",
            "1e99",
            "1e-99",
            "1e99999999999",
            " 1",
        ] {
            assert_eq!(text.parse::<Decimal>(), Err(ParseDecimalError), "{text}");
        }
        assert_eq!("9".repeat(40).parse::<Decimal>(), Err(ParseDecimalError));
    }

    #[test]
    fn quotients_that_end_are_exact_and_others_round_half_to_even() {
        let scaled = |rate, numerator, denominator| {
            decimal(rate)
                .scaled_by(decimal(numerator), decimal(denominator))
                .map(|rate| rate.to_string())
        };
        assert_eq!(scaled("0.3", "6", "3").as_deref(), Some("0.6"));
        assert_eq!(scaled("3.75", "6.0", "3.0").as_deref(), Some("7.5"));
        assert_eq!(scaled("0.1", "1", "3").as_deref(), Some("0.033333333333"));
        assert_eq!(scaled("0.1", "2", "3").as_deref(), Some("0.066666666667"));
        assert_eq!(scaled("0.125", "1", "0.0008").as_deref(), Some("156.25"));
        assert_eq!(scaled("0.00000000000001", "1", "3").as_deref(), Some("0"));
        assert_eq!(scaled("0.1", "1", "4096").as_deref(), Some("0.0000244140625"));
        assert_eq!(scaled("0", "1", "3").as_deref(), Some("0"));
        assert_eq!(scaled("0.1", "1", "0"), None);
        assert_eq!(scaled("1e38", "1e38", "1"), None);
    }

    #[test]
    fn amounts_round_once_half_to_even_to_a_pico_dollar() {
        let picos = |rate, tokens| {
            decimal(rate)
                .per_million(tokens)
                .and_then(Decimal::to_usd)
                .map(Usd::picos)
        };
        assert_eq!(picos("0.15", 1), Some(150_000));
        assert_eq!(picos("0.0000005", 1), Some(0)); // half a pico-dollar, to even
        assert_eq!(picos("0.0000015", 1), Some(2)); // one and a half
        assert_eq!(picos("0.0000025", 1), Some(2)); // two and a half
        assert_eq!(picos("0.00000250000000001", 1), Some(3));
        assert_eq!(picos("1e-38", 1), Some(0));
        assert_eq!(
            picos("1e20", 1_000_000_000_000),
            Some(100_000_000_000_000_000_000_000_000_000_000_000_000)
        );
        assert_eq!(picos("1e27", 1_000_000_000_000), None);
    }

    #[test]
    fn sums_are_exact() {
        let sum = decimal("1000000").checked_add(decimal("0.00000000000000000001"));
        assert_eq!(
            sum.map(|sum| sum.to_string()).as_deref(),
            Some("1000000.00000000000000000001")
        );
        assert_eq!(decimal("1e38").checked_add(decimal("0.1")), None);
    }
}
