//! Time zones.

use jiff::{Timestamp, fmt::temporal::DateTimeParser, tz::TimeZone};
use llmring_plugin_sdk::{Error, Result};
use schemars::JsonSchema;
use serde::Serialize;

/// A time zone at one moment.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Zone {
    /// Its IANA name.
    pub(crate) zone: String,
    /// Its distance from UTC: `+01:00`.
    pub(crate) offset: String,
    /// What its clocks are said to show: `CET`.
    pub(crate) abbreviation: String,
    /// Whether daylight saving time is in effect.
    pub(crate) daylight_saving: bool,
    /// When the offset changes next (RFC 3339, UTC); absent when it is not going to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) next_change: Option<String>,
}

/// The time zone that the argument `argument` names; UTC when it names none.
pub(crate) fn of(argument: &str, name: Option<&str>) -> Result<TimeZone> {
    let Some(name) = name else {
        return Ok(TimeZone::UTC);
    };
    parse(name).ok_or_else(|| {
        Error::invalid(
            argument,
            format_args!("{name:?} is neither a time zone's name nor an offset"),
        )
    })
}

/// The names of all time zones, one a line.
pub(crate) fn names() -> String {
    let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
    names.join("\n")
}

/// The time zone of that name at `now`.
pub(crate) fn at(name: &str, now: Timestamp) -> Result<Zone> {
    let zone = parse(name).ok_or_else(|| Error::NotFound(format!("there is no time zone {name:?}")))?;
    let here = zone.to_offset_info(now);
    Ok(Zone {
        zone: self::name(&zone),
        offset: offset(here.offset()),
        abbreviation: here.abbreviation().to_owned(),
        daylight_saving: here.dst().is_dst(),
        next_change: zone
            .following(now)
            .next()
            .map(|change| change.timestamp().to_string()),
    })
}

/// A time zone's name, or else its offset.
pub(crate) fn name(zone: &TimeZone) -> String {
    match (zone.iana_name(), zone.to_fixed_offset()) {
        (Some(name), _) => name.to_owned(),
        (None, Ok(fixed)) => offset(fixed),
        (None, Err(_)) => "unknown".to_owned(),
    }
}

fn offset(offset: jiff::tz::Offset) -> String {
    Timestamp::UNIX_EPOCH
        .display_with_offset(offset)
        .to_string()
        .split_off("1970-01-01T00:00:00".len())
}

fn parse(name: &str) -> Option<TimeZone> {
    DateTimeParser::new().parse_time_zone(name.trim()).ok()
}
