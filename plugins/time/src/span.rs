//! Durations.

use jiff::{Span, SpanRelativeTo};
use llmring_plugin_sdk::{Error, Result};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{moment, zone};

/// A unit of time.
#[derive(Clone, Copy, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Unit {
    Year,
    Month,
    Week,
    Day,
    Hour,
    Minute,
    Second,
    Millisecond,
}

impl From<Unit> for jiff::Unit {
    fn from(unit: Unit) -> Self {
        match unit {
            Unit::Year => Self::Year,
            Unit::Month => Self::Month,
            Unit::Week => Self::Week,
            Unit::Day => Self::Day,
            Unit::Hour => Self::Hour,
            Unit::Minute => Self::Minute,
            Unit::Second => Self::Second,
            Unit::Millisecond => Self::Millisecond,
        }
    }
}

/// How far one time is from another.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Difference {
    /// ISO 8601: `P1M2DT3H`; negative (`-P1D`) when the end is before the start.
    pub(crate) duration: String,
    /// The same in words' abbreviations: `1mo 2d 3h`.
    pub(crate) readable: String,
    /// All of it in seconds.
    pub(crate) seconds: f64,
}

/// A duration in one unit.
#[derive(Debug, PartialEq, Serialize, JsonSchema)]
pub(crate) struct Total {
    pub(crate) total: f64,
}

pub(crate) fn between(start: &str, end: &str, largest: Unit, zone: Option<&str>) -> Result<Difference> {
    let zone = zone::of("zone", zone)?;
    let start = moment::parse("start", start, Some(&zone))?.with_time_zone(zone.clone());
    let end = moment::parse("end", end, Some(&zone))?.with_time_zone(zone);
    let span = start.until((jiff::Unit::from(largest), &end))?;
    Ok(Difference {
        duration: span.to_string(),
        readable: format!("{span:#}"),
        seconds: start.timestamp().duration_until(end.timestamp()).as_secs_f64(),
    })
}

pub(crate) fn total(duration: &str, unit: Unit, relative_to: Option<&str>) -> Result<Total> {
    let span: Span = duration
        .parse()
        .map_err(|error| Error::invalid("duration", error))?;
    let start = relative_to
        .map(|start| moment::parse("relative_to", start, None))
        .transpose()?;
    let unit = jiff::Unit::from(unit);
    let total = match &start {
        Some(start) => span.total((unit, start)),
        None => {
            let calendar = span.get_years() != 0 || span.get_months() != 0 || unit >= jiff::Unit::Month;
            if calendar {
                return Err(Error::invalid(
                    "relative_to",
                    "years and months have no length without a time to begin at",
                ));
            }
            span.total((unit, SpanRelativeTo::days_are_24_hours()))
        }
    };
    Ok(Total { total: total? })
}
