//! Points in time.

use jiff::{Span, Timestamp, ZonedDateTime, civil, tz::TimeZone};
use llmring_plugin_sdk::{Error, Result};
use schemars::JsonSchema;
use serde::Serialize;

use crate::zone;

/// A point in time, as a clock and a calendar in one time zone show it.
#[derive(Debug, PartialEq, Eq, Serialize, JsonSchema)]
pub(crate) struct Moment {
    /// RFC 3339 with the zone's offset.
    pub(crate) time: String,
    /// The time zone's IANA name, or its offset.
    pub(crate) zone: String,
    /// The same in UTC.
    pub(crate) utc: String,
    /// Seconds since 1970-01-01T00:00:00Z.
    pub(crate) unix: i64,
    /// The English name.
    pub(crate) weekday: String,
    /// From 1.
    pub(crate) day_of_year: i16,
    /// The week by ISO 8601: `2026-W13`.
    pub(crate) iso_week: String,
    /// Whether daylight saving time is in effect.
    pub(crate) daylight_saving: bool,
}

impl From<ZonedDateTime> for Moment {
    fn from(zoned: ZonedDateTime) -> Self {
        let week = zoned.date().iso_week_date();
        let timestamp = zoned.timestamp();
        Self {
            time: timestamp.display_with_offset(zoned.offset()).to_string(),
            zone: zone::name(zoned.time_zone()),
            utc: timestamp.to_string(),
            unix: timestamp.as_second(),
            weekday: zoned.strftime("%A").to_string(),
            day_of_year: zoned.day_of_year(),
            iso_week: format!("{:04}-W{:02}", week.year(), week.week()),
            daylight_saving: zoned.time_zone().to_offset_info(timestamp).dst().is_dst(),
        }
    }
}

pub(crate) fn now(zone: Option<&str>) -> Result<Moment> {
    Ok(Timestamp::now().to_zoned_datetime(zone::of("zone", zone)?).into())
}

pub(crate) fn convert(time: &str, to: &str, from: Option<&str>) -> Result<Moment> {
    let from = from.map(|from| zone::of("from", Some(from))).transpose()?;
    let to = zone::of("to", Some(to))?;
    Ok(parse("time", time, from.as_ref())?.with_time_zone(to).into())
}

pub(crate) fn add(time: &str, duration: &str, zone: Option<&str>) -> Result<Moment> {
    let zone = zone::of("zone", zone)?;
    let duration: Span = duration
        .parse()
        .map_err(|error| Error::invalid("duration", error))?;
    let start = parse("time", time, Some(&zone))?.with_time_zone(zone);
    Ok(start.checked_add(duration)?.into())
}

/// Reads the argument `name`: a time with an offset or a time zone of its own, or a local one in `zone`.
pub(crate) fn parse(name: &str, time: &str, zone: Option<&TimeZone>) -> Result<ZonedDateTime> {
    let time = time.trim();
    if let Ok(zoned) = time.parse::<ZonedDateTime>() {
        return Ok(zoned);
    }
    if let Ok(timestamp) = time.parse::<Timestamp>() {
        return Ok(timestamp.to_zoned_datetime(TimeZone::UTC));
    }
    let local: civil::DateTime = time.parse().map_err(|error| Error::invalid(name, error))?;
    let zone =
        zone.ok_or_else(|| Error::invalid(name, "it is a local time, and nothing says of which time zone"))?;
    Ok(local.to_zoned_datetime(zone.clone())?)
}
