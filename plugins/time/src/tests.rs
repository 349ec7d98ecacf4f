#![expect(clippy::unwrap_used, reason = "tests")]

use llmring_plugin_sdk::Error;

use crate::{
    moment::{add, convert, now},
    span::{Unit, between, total},
    zone,
};

#[track_caller]
fn argument(answer: Result<impl std::fmt::Debug, Error>) -> String {
    match answer.unwrap_err() {
        Error::InvalidArgument { path, .. } => path,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_present_is_told_in_a_zone() {
    let here = now(Some("Asia/Kolkata")).unwrap();
    assert!(here.time.ends_with("+05:30"), "{here:?}");
    assert_eq!(here.zone, "Asia/Kolkata");
    assert_eq!(now(None).unwrap().zone, "UTC");
}

#[test]
fn times_are_converted() {
    let berlin = convert("2026-07-01T12:00:00Z", "Europe/Berlin", None).unwrap();
    assert_eq!(berlin.time, "2026-07-01T14:00:00+02:00");
    assert_eq!(
        (berlin.weekday.as_str(), berlin.iso_week.as_str()),
        ("Wednesday", "2026-W27")
    );
    assert!(berlin.daylight_saving);
    assert_eq!((berlin.unix, berlin.day_of_year), (1_782_907_200, 182));

    let tokyo = convert("2026-07-01T09:00", "Asia/Tokyo", Some("America/New_York")).unwrap();
    assert_eq!(tokyo.time, "2026-07-01T22:00:00+09:00");
    assert_eq!(
        convert("2026-07-01T09:00-04:00", "+05:45", None).unwrap().time,
        "2026-07-01T18:45:00+05:45"
    );
    assert_eq!(
        convert("2027-01-01", "UTC", Some("UTC")).unwrap().iso_week,
        "2026-W53"
    );
}

#[test]
fn a_calendar_day_keeps_the_time_of_day_and_24_hours_do_not() {
    // The clocks in Berlin went forward on 2026-03-29.
    let day = add("2026-03-28T12:00", "P1D", Some("Europe/Berlin")).unwrap();
    assert_eq!(day.time, "2026-03-29T12:00:00+02:00");
    let hours = add("2026-03-28T12:00", "PT24H", Some("Europe/Berlin")).unwrap();
    assert_eq!(hours.time, "2026-03-29T13:00:00+02:00");
    assert_eq!(
        add("2024-01-31T00:00Z", "P1M", None).unwrap().time,
        "2024-02-29T00:00:00+00:00"
    );
    assert_eq!(
        add("2024-02-29T00:00Z", "-P1Y", None).unwrap().time,
        "2023-02-28T00:00:00+00:00"
    );
}

#[test]
fn differences_are_counted_in_the_unit_asked_for() {
    let months = between("2024-01-31T00:00Z", "2025-03-01T06:00Z", Unit::Year, None).unwrap();
    assert_eq!(months.duration, "P1Y1M1DT6H");
    assert_eq!(months.seconds, 395.0 * 86_400.0 + 6.0 * 3_600.0);
    let hours = between(
        "2026-03-29T00:00",
        "2026-03-30T00:00",
        Unit::Hour,
        Some("Europe/Berlin"),
    )
    .unwrap();
    assert_eq!(
        (hours.duration.as_str(), hours.readable.as_str()),
        ("PT23H", "23h")
    );
    assert_eq!(
        between("2026-01-02T00:00Z", "2026-01-01T00:00Z", Unit::Day, None)
            .unwrap()
            .duration,
        "-P1D"
    );
}

#[test]
fn durations_have_a_length() {
    assert_eq!(total("P1DT12H", Unit::Hour, None).unwrap().total, 36.0);
    assert_eq!(
        total("P1M", Unit::Day, Some("2024-02-01T00:00Z")).unwrap().total,
        29.0
    );
    assert_eq!(argument(total("P1M", Unit::Day, None)), "/relative_to");
    assert_eq!(argument(total("P60D", Unit::Month, None)), "/relative_to");
}

#[test]
fn what_is_wrong_is_named() {
    assert_eq!(argument(now(Some("Mars/Olympus"))), "/zone");
    assert_eq!(argument(convert("yesterday", "UTC", None)), "/time");
    assert_eq!(argument(convert("2026-07-01T09:00", "UTC", None)), "/time");
    assert_eq!(argument(add("2026-07-01T09:00Z", "a while", None)), "/duration");
    assert!(matches!(
        add("9999-06-01T00:00Z", "P1Y", None).unwrap_err(),
        Error::Failed(_)
    ));
}

#[test]
fn zones_are_described() {
    let zone = zone::at("Europe/Berlin", "2026-01-15T00:00:00Z".parse().unwrap()).unwrap();
    assert_eq!(
        (
            zone.offset.as_str(),
            zone.abbreviation.as_str(),
            zone.daylight_saving
        ),
        ("+01:00", "CET", false)
    );
    assert_eq!(zone.next_change.as_deref(), Some("2026-03-29T01:00:00Z"));
    assert_eq!(
        zone::at("UTC", "2026-01-15T00:00:00Z".parse().unwrap())
            .unwrap()
            .next_change,
        None
    );
    assert!(matches!(
        zone::at("Nowhere", jiff::Timestamp::UNIX_EPOCH).unwrap_err(),
        Error::NotFound(_)
    ));
    assert!(
        zone::names()
            .lines()
            .any(|name| name == "America/Argentina/Buenos_Aires")
    );
}
