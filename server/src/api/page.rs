//! Query parameters that several resources share.

use std::borrow::Cow;

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use poem_openapi::types::{ParseError, ParseFromParameter, ParseResult, Type};
use uuid::Uuid;

use crate::usage::{DateBound, Zone};

/// A text parameter that parses into a domain type.
macro_rules! text_parameter {
    ($(#[$doc:meta])* $name:ident($inner:ty), $description:literal) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name(pub(crate) $inner);

        impl Type for $name {
            const IS_REQUIRED: bool = true;
            type RawValueType = Self;
            type RawElementValueType = Self;

            fn name() -> Cow<'static, str> {
                "string".into()
            }

            fn schema_ref() -> MetaSchemaRef {
                MetaSchemaRef::Inline(Box::new(MetaSchema {
                    description: Some($description),
                    ..MetaSchema::new("string")
                }))
            }

            fn as_raw_value(&self) -> Option<&Self> {
                Some(self)
            }

            fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
                Box::new(std::iter::once(self))
            }
        }

        impl ParseFromParameter for $name {
            fn parse_from_parameter(value: &str) -> ParseResult<Self> {
                value.parse().map(Self).map_err(ParseError::custom)
            }
        }
    };
}

text_parameter!(
    /// A day or an instant.
    DateParam(DateBound),
    "A date (`2026-01-31`) or an RFC 3339 time; without an offset it is UTC."
);

text_parameter!(
    /// A time zone.
    ZoneParam(Zone),
    "A name of the IANA time zone database, such as `Europe/Berlin`."
);

text_parameter!(
    /// An id. Its format is not declared: an empty parameter counts as absent.
    IdParam(Uuid),
    "A UUID."
);
