//! Single values on the wire: exact money, token counts, times, free JSON objects.

use std::borrow::Cow;
use std::fmt;

use chrono::{DateTime, Datelike, SecondsFormat, Utc};
use entity::usd::Usd;
use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromJSON, ParseResult, ToJSON, Type};
use serde::de::{Error as _, Unexpected, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

/// Describes a type that serde reads and writes to the OpenAPI document.
macro_rules! scalar {
    ($type:ty, $schema:expr) => {
        impl Type for $type {
            const IS_REQUIRED: bool = true;
            type RawValueType = Self;
            type RawElementValueType = Self;

            fn name() -> Cow<'static, str> {
                stringify!($type).into()
            }

            fn schema_ref() -> MetaSchemaRef {
                MetaSchemaRef::Inline(Box::new($schema))
            }

            fn as_raw_value(&self) -> Option<&Self> {
                Some(self)
            }

            fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
                Box::new(std::iter::once(self))
            }
        }

        impl ParseFromJSON for $type {
            fn parse_from_json(value: Option<Value>) -> ParseResult<Self> {
                serde_json::from_value(value.unwrap_or_default()).map_err(ParseError::custom)
            }
        }

        impl ToJSON for $type {
            fn to_json(&self) -> Option<Value> {
                serde_json::to_value(self).ok()
            }
        }
    };
}

fn schema(ty: &'static str, description: &'static str) -> MetaSchema {
    MetaSchema {
        description: Some(description),
        ..MetaSchema::new(ty)
    }
}

/// US dollars: a JSON number with all its digits, never a binary float in between.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct Dollars(pub(crate) Usd);

scalar!(Dollars, schema("number", "US dollars, exact to 10⁻¹²."));

/// Most tokens of one class in one call. Sums of millions of rows stay within 64 bits.
pub(crate) const MAX_TOKENS: u64 = 1_000_000_000_000;

/// A number of tokens from 0 to [`MAX_TOKENS`]; null is 0, and 12.0 is 12.
#[derive(Clone, Copy, Debug, Default, Serialize)]
#[serde(transparent)]
pub(crate) struct Count(pub(crate) u64);

scalar!(
    Count,
    MetaSchema {
        minimum: Some(0.0),
        maximum: Some(MAX_TOKENS as f64),
        nullable: true,
        default: Some(Value::from(0)),
        ..MetaSchema::new_with_format("integer", "int64")
    }
);

impl<'de> Deserialize<'de> for Count {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(WholeNumber { round: false })?;
        if number > MAX_TOKENS {
            return Err(D::Error::custom(format_args!("must not be above {MAX_TOKENS}")));
        }
        Ok(Self(number))
    }
}

/// A duration in whole milliseconds; a fraction is rounded.
#[derive(Clone, Copy, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Milliseconds(pub(crate) i64);

scalar!(
    Milliseconds,
    MetaSchema {
        minimum: Some(0.0),
        ..schema("number", "Milliseconds; a fraction is rounded.")
    }
);

impl<'de> Deserialize<'de> for Milliseconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let number = deserializer.deserialize_any(WholeNumber { round: true })?;
        i64::try_from(number)
            .map(Self)
            .map_err(|_| D::Error::custom("is too large"))
    }
}

/// Reads a whole number that is not negative, also from a float that is one.
struct WholeNumber {
    /// Whether a fraction is rounded away rather than refused.
    round: bool,
}

impl Visitor<'_> for WholeNumber {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_unit<E: serde::de::Error>(self) -> Result<u64, E> {
        Ok(0)
    }

    fn visit_u64<E: serde::de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: serde::de::Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number).map_err(|_| E::custom("must not be negative"))
    }

    /// Floats above 2⁵³ are not exact and therefore no count (RFC 8259 section 6).
    fn visit_f64<E: serde::de::Error>(self, number: f64) -> Result<u64, E> {
        const MAX_EXACT: f64 = 9_007_199_254_740_992.0;
        let number = if self.round { number.round() } else { number };
        if number < 0.0 {
            return Err(E::custom("must not be negative"));
        }
        if number.fract() != 0.0 || number > MAX_EXACT {
            return Err(E::invalid_type(Unexpected::Float(number), &self));
        }
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "whole, not negative and below 2⁵³, as checked above"
        )]
        Ok(number as u64)
    }
}

/// An instant: RFC 3339 in UTC with `Z`, to the microsecond.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Timestamp(pub(crate) DateTime<Utc>);

scalar!(Timestamp, MetaSchema::new_with_format("string", "date-time"));

impl<'de> Deserialize<'de> for Timestamp {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let instant = DateTime::<Utc>::deserialize(deserializer)?;
        // An offset may take it across: RFC 3339 has no words for what is outside (section 1).
        if (0..=9999).contains(&instant.year()) {
            Ok(Self(instant))
        } else {
            Err(D::Error::custom("must be between the years 0 and 9999 in UTC"))
        }
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.to_rfc3339_opts(SecondsFormat::Micros, true))
    }
}

impl Serialize for Timestamp {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

/// A JSON object of the caller's, kept as the text it came as.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct JsonObject(Box<RawValue>);

scalar!(JsonObject, schema("object", "Any JSON object, kept as it came."));

impl JsonObject {
    /// Text that the server stored from a [`JsonObject`].
    pub(crate) fn from_stored(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// The text.
    pub(crate) fn get(&self) -> &str {
        self.0.get()
    }

    /// The text.
    pub(crate) fn into_text(self) -> String {
        Box::<str>::from(self.0).into_string()
    }
}

impl<'de> Deserialize<'de> for JsonObject {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if raw.get().starts_with('{') {
            Ok(Self(raw))
        } else {
            Err(D::Error::custom("must be an object"))
        }
    }
}

/// A JSON object of the caller's that holds secrets: nothing of it shows in `Debug`.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
pub(crate) struct SecretObject(JsonObject);

scalar!(
    SecretObject,
    schema(
        "object",
        "Any JSON object. Secrets in it are encrypted at rest and masked in answers."
    )
);

impl fmt::Debug for SecretObject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretObject(…)")
    }
}

impl SecretObject {
    /// The members.
    pub(crate) fn members(&self) -> serde_json::Result<serde_json::Map<String, Value>> {
        serde_json::from_str(self.0.get())
    }
}

/// Any JSON value, kept as the text it came as; null counts as absent.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct AnyJson(Box<RawValue>);

scalar!(
    AnyJson,
    MetaSchema {
        description: Some("Any JSON value, kept as it came."),
        ..MetaSchema::ANY
    }
);

impl AnyJson {
    /// A JSON string.
    pub(crate) fn from_text(text: &str) -> Self {
        // A text is always JSON.
        Self(serde_json::value::to_raw_value(text).unwrap_or_default())
    }

    /// A value read already.
    pub(crate) fn from_raw(raw: Box<RawValue>) -> Self {
        Self(raw)
    }

    /// The text that a JSON string means; `None` for other values.
    pub(crate) fn as_text(&self) -> Option<String> {
        serde_json::from_str(self.get()).ok()
    }

    /// Text that the server stored from an [`AnyJson`].
    pub(crate) fn from_stored(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// The text.
    pub(crate) fn get(&self) -> &str {
        self.0.get()
    }

    /// The text.
    pub(crate) fn into_text(self) -> String {
        Box::<str>::from(self.0).into_string()
    }
}

impl<'de> Deserialize<'de> for AnyJson {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Box::<RawValue>::deserialize(deserializer).map(Self)
    }
}

/// A JSON array of objects, kept as the text it came as.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct JsonObjects(Box<RawValue>);

scalar!(
    JsonObjects,
    MetaSchema {
        description: Some("A JSON array of objects, kept as it came."),
        items: Some(Box::new(MetaSchemaRef::Inline(Box::new(MetaSchema::new(
            "object"
        ))))),
        ..MetaSchema::new("array")
    }
);

impl JsonObjects {
    /// Text that the server stored from a [`JsonObjects`].
    pub(crate) fn from_stored(text: String) -> Result<Self, serde_json::Error> {
        RawValue::from_string(text).map(Self)
    }

    /// The text.
    pub(crate) fn into_text(self) -> String {
        Box::<str>::from(self.0).into_string()
    }

    /// The objects.
    pub(crate) fn values(&self) -> serde_json::Result<Vec<Value>> {
        serde_json::from_str(self.0.get())
    }

    /// Whether `text`, which is JSON, is an array of objects.
    pub(crate) fn describes(text: &str) -> bool {
        serde_json::from_str::<Vec<&RawValue>>(text)
            .is_ok_and(|items| items.iter().all(|item| item.get().starts_with('{')))
    }
}

impl<'de> Deserialize<'de> for JsonObjects {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        if Self::describes(raw.get()) {
            Ok(Self(raw))
        } else {
            Err(D::Error::custom("must be an array of objects"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_whole_and_not_negative() {
        let read = |text: &str| serde_json::from_str::<Count>(text).map(|count| count.0).ok();
        assert_eq!(read("12"), Some(12));
        assert_eq!(read("12.0"), Some(12));
        assert_eq!(read("null"), Some(0));
        assert_eq!(read("1000000000000"), Some(MAX_TOKENS));
        for text in [
            "-1",
            "12.5",
            "1000000000001",
            "9007199254740993",
            "1e30",
            "\"12\"",
            "true",
            "[1]",
        ] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    #[test]
    fn milliseconds_are_rounded() {
        let read = |text: &str| serde_json::from_str::<Milliseconds>(text).map(|ms| ms.0).ok();
        assert_eq!(read("12.5"), Some(13));
        assert_eq!(read("-3"), None);
    }

    #[test]
    fn times_carry_microseconds_and_z() {
        let instant = DateTime::from_timestamp(0, 0).expect("in range");
        let text = serde_json::to_string(&Timestamp(instant)).expect("text");
        assert_eq!(text, "\"1970-01-01T00:00:00.000000Z\"");
    }

    #[test]
    fn objects_keep_their_text() {
        let text = r#"{"b": 1.10,"a":{}}"#;
        let object: JsonObject = serde_json::from_str(text).expect("an object");
        assert_eq!(object.into_text(), text);
        assert!(serde_json::from_str::<JsonObject>("[1]").is_err());
    }
}
