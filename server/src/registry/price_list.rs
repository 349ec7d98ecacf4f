//! What a model's tokens cost, as its provider's file publishes it.

use crate::prices::Decimal;

/// A model's prices, in US dollars per million tokens, and when the long-context ones apply.
#[derive(Clone, Debug, Default)]
pub struct PriceList {
    /// Input that is neither read from nor written to the provider's cache.
    pub input: Published,
    /// Output.
    pub output: Published,
    /// Output spent on reasoning, where it has a price of its own.
    pub output_thinking: Published,
    /// Input read from the cache, as some providers' files name it.
    pub cache_read: Published,
    /// Input read from the cache, as others name it.
    pub cached_input: Published,
    /// Input written to the cache for five minutes.
    pub cache_write_5m: Published,
    /// Input written to the cache for an hour.
    pub cache_write_1h: Published,
    /// Whether large requests have prices of their own.
    pub supports_long_context: bool,
    /// Tokens of input above which a request is large.
    pub long_context_threshold: Published,
    /// Input of a large request.
    pub input_long_context: Published,
    /// Output of a large request.
    pub output_long_context: Published,
}

/// A number that a file may publish.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Published {
    /// The file has no such member, or null.
    #[default]
    Not,
    /// The file has something there that is no number of 0 or more.
    Malformed,
    /// The exact number of the file.
    Number(Decimal),
}

/// The file has the member twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Repeated;

impl PriceList {
    /// The place of a member of the registry's schema, or `None` for one that is no price.
    pub(super) fn member(&mut self, name: &str) -> Option<Slot<'_>> {
        let place = match name {
            "dollars_per_million_tokens_input" => &mut self.input,
            "dollars_per_million_tokens_output" => &mut self.output,
            "dollars_per_million_tokens_output_thinking" => &mut self.output_thinking,
            "dollars_per_million_tokens_cache_read" => &mut self.cache_read,
            "dollars_per_million_tokens_cached_input" => &mut self.cached_input,
            "dollars_per_million_tokens_cache_write_5m" => &mut self.cache_write_5m,
            "dollars_per_million_tokens_cache_write_1h" => &mut self.cache_write_1h,
            "long_context_threshold_tokens" => &mut self.long_context_threshold,
            "dollars_per_million_tokens_input_long_context" => &mut self.input_long_context,
            "dollars_per_million_tokens_output_long_context" => &mut self.output_long_context,
            _ => return None,
        };
        Some(Slot(place))
    }
}

/// Where a member of the file goes.
pub(super) struct Slot<'a>(&'a mut Published);

impl Slot<'_> {
    /// Fills it with the JSON text of the member's value.
    pub(super) fn publish(self, json: &str) -> Result<(), Repeated> {
        if *self.0 != Published::Not {
            return Err(Repeated);
        }
        *self.0 = match json {
            "null" => Published::Not,
            number => number.parse().map_or(Published::Malformed, Published::Number),
        };
        Ok(())
    }
}

impl Published {
    /// This, or `other` when this is not published.
    #[must_use]
    pub fn or(self, other: Self) -> Self {
        match self {
            Self::Not => other,
            Self::Malformed | Self::Number(_) => self,
        }
    }
}
