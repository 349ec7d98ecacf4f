//! Date and time: the present in a time zone, conversion, arithmetic and durations by ISO 8601, with the IANA time zone
//! database built in.

mod moment;
mod span;
#[cfg(test)]
mod tests;
mod zone;

use llmring_plugin_sdk::{Json, Result, plugin, resource, tool};

use self::{
    moment::Moment,
    span::{Difference, Total, Unit},
    zone::Zone,
};

/// The present date and time in a time zone.
#[tool(title = "Present time", read_only, open_world = false)]
fn now(
    /// An IANA name (`Europe/Berlin`) or an offset (`+02:00`); UTC when not given.
    zone: Option<String>,
) -> Result<Json<Moment>> {
    moment::now(zone.as_deref()).map(Json)
}

/// Converts a date and time to another time zone.
#[tool(
    title = "Convert between time zones",
    read_only,
    idempotent,
    open_world = false
)]
fn convert(
    /// ISO 8601: `2026-03-29T14:30:00+02:00`, `2026-03-29T12:30:00Z`, or a local time such as `2026-03-29T14:30`.
    time: String,
    /// The time zone to convert to: an IANA name or an offset.
    to: String,
    /// The time zone of a local time.
    from: Option<String>,
) -> Result<Json<Moment>> {
    moment::convert(&time, &to, from.as_deref()).map(Json)
}

/// Adds a duration to a date and time. Years to days are counted on the calendar of the time zone, so that a day across
/// a change of the clocks keeps the time of day; hours and less are exact.
#[tool(title = "Add a duration", read_only, idempotent, open_world = false)]
fn add(
    /// ISO 8601, as for `convert`.
    time: String,
    /// An ISO 8601 duration: `P1M`, `PT36H`; `-P1D` goes back.
    duration: String,
    /// The time zone to count in, and of a local time; UTC when not given.
    zone: Option<String>,
) -> Result<Json<Moment>> {
    moment::add(&time, &duration, zone.as_deref()).map(Json)
}

/// The duration from one date and time to another.
#[tool(title = "Difference of two times", read_only, idempotent, open_world = false)]
fn between(
    /// ISO 8601, as for `convert`.
    start: String,
    /// ISO 8601, as for `convert`.
    end: String,
    /// The largest unit of the answer; `day` when not given.
    largest_unit: Option<Unit>,
    /// The time zone to count in, and of local times; UTC when not given.
    zone: Option<String>,
) -> Result<Json<Difference>> {
    span::between(&start, &end, largest_unit.unwrap_or(Unit::Day), zone.as_deref()).map(Json)
}

/// A duration as one number of a unit: how many hours `P1DT12H` has.
#[tool(title = "Duration in one unit", read_only, idempotent, open_world = false)]
fn total(
    /// An ISO 8601 duration.
    duration: String,
    unit: Unit,
    /// Where the duration begins, ISO 8601 with a time zone or an offset. Years and months have no length without; days have 24
    /// hours.
    relative_to: Option<String>,
) -> Result<Json<Total>> {
    span::total(&duration, unit, relative_to.as_deref()).map(Json)
}

/// The names of all time zones, one a line.
#[resource(uri = "time://zones", title = "Time zones")]
fn zones() -> Result<String> {
    Ok(zone::names())
}

/// A time zone now: its offset, and when that changes next.
#[resource(uri = "time://zones/{+zone}", title = "Time zone")]
fn zone_now(name: String) -> Result<Json<Zone>> {
    zone::at(&name, jiff::Timestamp::now()).map(Json)
}

plugin! {
    tools: [now, convert, add, between, total],
    resources: [zones, zone_now],
}
