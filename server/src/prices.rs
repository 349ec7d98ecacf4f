//! What a call costs: token classes are made disjoint, then each is priced with the registry's exact decimals.
//!
//! Unknown is never zero and never wrong: whatever is missing, malformed or contradictory makes the call unpriced, with the
//! reason. What was used is kept in a [`PriceBasis`](crate::prices::PriceBasis), from which alone the amount can be recomputed to the
//! last digit.

mod basis;
mod decimal;
mod lookup;
#[cfg(test)]
mod tests;

use entity::usd::Usd;

use crate::registry::{Catalog, PriceList, Published};

pub use basis::{CostLine, MatchedBy, PriceBasis, RateLine, Tier, TokenClass};
pub use decimal::{Decimal, ParseDecimalError};

/// Token counts of one call, as its caller reports them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TokenCounts {
    /// Input tokens. Cache writes are never part of them.
    pub input: u64,
    /// Output tokens, reasoning included.
    pub output: u64,
    /// Input tokens read from the provider's cache.
    pub cached_input: u64,
    /// Tokens written to the provider's cache for five minutes.
    pub cache_write_5m: u64,
    /// Tokens written to the provider's cache for an hour.
    pub cache_write_1h: u64,
    /// Output tokens spent on reasoning.
    pub reasoning: u64,
    /// Whether `input` includes `cached_input`.
    pub input_includes_cached: bool,
}

/// What became of the question what a call costs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Priced {
    /// It has a price.
    Priced {
        /// Rounded once, half to even, to a pico-dollar.
        cost: Usd,
        /// How it came about.
        basis: PriceBasis,
    },
    /// It has none.
    Unpriced {
        /// What was found, and in `reason` what was not.
        basis: PriceBasis,
    },
}

/// Whether a provider's `input_tokens` include the cached ones when the caller does not say. Anthropic reports them apart;
/// the others include them. Case does not matter.
#[must_use]
pub fn input_includes_cached_default(provider: &str) -> bool {
    !provider.eq_ignore_ascii_case("anthropic")
}

/// What a call to `model` of `provider` with these counts costs by the prices of `catalog`.
#[must_use]
pub fn price(catalog: &Catalog, provider: &str, model: &str, counts: &TokenCounts) -> Priced {
    let mut basis = PriceBasis::default();
    match try_price(catalog, provider, model, counts, &mut basis) {
        Ok(cost) => Priced::Priced { cost, basis },
        Err(reason) => {
            basis.lines.clear();
            basis.reason = Some(reason);
            Priced::Unpriced { basis }
        }
    }
}

/// Fills `basis` as far as it gets; the error is the reason for which there is no price.
fn try_price(
    catalog: &Catalog,
    provider: &str,
    model: &str,
    counts: &TokenCounts,
    basis: &mut PriceBasis,
) -> Result<Usd, String> {
    let found = lookup::find(catalog, provider, model)?;
    basis.registry_version = found.file.version().map(ToString::to_string);
    basis.file_sha256 = Some(found.file.sha256().to_owned());
    basis.model_key = Some(found.model.key.clone());
    basis.matched_by = Some(found.by);

    let classes = Classes::of(counts)?;
    let prices = &found.model.prices;
    let tier = classes.tier(prices)?;
    basis.tier = Some(tier);

    let mut problems = Vec::new();
    for (token_class, tokens) in classes.in_order() {
        if tokens == 0 {
            continue;
        }
        match rate(prices, tier, token_class) {
            Ok(usd_per_million) => basis.lines.push(RateLine {
                token_class,
                tokens,
                usd_per_million,
            }),
            Err(problem) => problems.push(problem),
        }
    }
    if !problems.is_empty() {
        return Err(problems.join("; "));
    }
    basis
        .recompute()
        .ok_or_else(|| "the amount is too large to be exact".to_owned())
}

/// Token counts that do not overlap.
struct Classes {
    input: u64,
    cached_input: u64,
    cache_write_5m: u64,
    cache_write_1h: u64,
    output: u64,
    reasoning: u64,
}

impl Classes {
    fn of(counts: &TokenCounts) -> Result<Self, String> {
        let TokenCounts {
            input,
            output,
            cached_input,
            cache_write_5m,
            cache_write_1h,
            reasoning,
            input_includes_cached,
        } = *counts;
        let uncached = if input_includes_cached {
            input.checked_sub(cached_input).ok_or_else(|| {
                format!("{cached_input} cached input tokens contradict the {input} input tokens that should include them")
            })?
        } else {
            input
        };
        let other_output = output.checked_sub(reasoning).ok_or_else(|| {
            format!(
                "{reasoning} reasoning tokens contradict the {output} output tokens that should include them"
            )
        })?;
        Ok(Self {
            input: uncached,
            cached_input,
            cache_write_5m,
            cache_write_1h,
            output: other_output,
            reasoning,
        })
    }

    fn in_order(&self) -> [(TokenClass, u64); 6] {
        [
            (TokenClass::Input, self.input),
            (TokenClass::CachedInput, self.cached_input),
            (TokenClass::CacheWrite5m, self.cache_write_5m),
            (TokenClass::CacheWrite1h, self.cache_write_1h),
            (TokenClass::Output, self.output),
            (TokenClass::Reasoning, self.reasoning),
        ]
    }

    /// Which prices hold for the whole request, output included: its whole input decides, cached and written included.
    fn tier(&self, prices: &PriceList) -> Result<Tier, String> {
        let whole_input = [
            self.input,
            self.cached_input,
            self.cache_write_5m,
            self.cache_write_1h,
        ]
        .into_iter()
        .try_fold(0_u64, u64::checked_add)
        .ok_or("the input tokens are too many to count")?;
        if !prices.supports_long_context || whole_input == 0 {
            return Ok(Tier::Standard);
        }
        let threshold = match prices.long_context_threshold {
            Published::Number(number) => number.to_u64(),
            Published::Not | Published::Malformed => None,
        };
        match threshold {
            Some(threshold) if whole_input > threshold => Ok(Tier::LongContext),
            Some(_) => Ok(Tier::Standard),
            None => Err(
                "the model has long-context prices, but no usable threshold for them is published".to_owned(),
            ),
        }
    }
}

/// Dollars per million tokens of a class.
fn rate(prices: &PriceList, tier: Tier, class: TokenClass) -> Result<Decimal, String> {
    let needed = |published: Published, name: &str| match published {
        Published::Number(number) => Ok(number),
        Published::Not => Err(format!("no {name} price is published")),
        Published::Malformed => Err(format!("the published {name} price is not a number of 0 or more")),
    };
    // Published for ordinary requests only: large ones pay in the proportion of the price it belongs to.
    let scaled = |standard: Decimal, name: &str, (long, ordinary): (Published, Published), base: &str| {
        match tier {
            Tier::Standard => Ok(standard),
            Tier::LongContext => {
                let long = needed(long, &format!("long-context {base}"))?;
                let ordinary = needed(ordinary, base)?;
                standard.scaled_by(long, ordinary).ok_or_else(|| {
                format!("the long-context {name} price cannot be derived from the {base} prices {ordinary} and {long}")
            })
            }
        }
    };
    let by_input = (prices.input_long_context, prices.input);
    let by_output = (prices.output_long_context, prices.output);
    let of_input = |published: Published| {
        let name = class.name();
        scaled(needed(published, name)?, name, by_input, "input")
    };
    match (class, tier) {
        (TokenClass::Input, Tier::Standard) => needed(prices.input, "input"),
        (TokenClass::Input, Tier::LongContext) => needed(prices.input_long_context, "long-context input"),
        (TokenClass::CachedInput, _) => of_input(prices.cache_read.or(prices.cached_input)),
        (TokenClass::CacheWrite5m, _) => of_input(prices.cache_write_5m),
        (TokenClass::CacheWrite1h, _) => of_input(prices.cache_write_1h),
        (TokenClass::Output, Tier::Standard) => needed(prices.output, "output"),
        (TokenClass::Output, Tier::LongContext) => needed(prices.output_long_context, "long-context output"),
        (TokenClass::Reasoning, _) => match prices.output_thinking {
            Published::Not => rate(prices, tier, TokenClass::Output),
            thinking => scaled(needed(thinking, "reasoning")?, "reasoning", by_output, "output"),
        },
    }
}
