//! Dates, time zones and the periods that statistics are grouped by.

use std::str::FromStr;

use chrono::{
    DateTime, Datelike, Days, Duration, Months, NaiveDate, NaiveDateTime, NaiveTime, TimeZone, Utc,
};
use chrono_tz::Tz;

use crate::error::{Result, Violation};

/// The default range, counted back from its end.
const DEFAULT_RANGE: Duration = Duration::days(30);

/// A date or an instant, as a caller writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DateBound {
    /// A plain date: a day of the request's time zone.
    Day(NaiveDate),
    /// An instant; without an offset it is UTC.
    Instant(DateTime<Utc>),
}

impl FromStr for DateBound {
    type Err = &'static str;

    /// RFC 3339, with the offset and the time optional. A `+` that a query string turned into a space is understood.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        const EXPECTED: &str = "expected a date (2026-01-31) or an RFC 3339 time (2026-01-31T12:00:00Z)";
        let text = text.trim();
        if let Ok(day) = NaiveDate::parse_from_str(text, "%Y-%m-%d") {
            return in_range(day.year()).map(|()| Self::Day(day));
        }
        let repaired;
        let text = match text.as_bytes() {
            [.., b' ', _, _, b':', _, _] if text.is_ascii() && text.len() > 20 => {
                let (time, offset) = text.split_at(text.len() - 6);
                repaired = format!("{time}+{}", offset.trim_start());
                repaired.as_str()
            }
            _ => text,
        };
        let instant = match DateTime::parse_from_rfc3339(text) {
            Ok(instant) => instant.with_timezone(&Utc),
            Err(_) => ["%Y-%m-%dT%H:%M:%S%.f", "%Y-%m-%d %H:%M:%S%.f", "%Y-%m-%dT%H:%M"]
                .iter()
                .find_map(|format| NaiveDateTime::parse_from_str(text, format).ok())
                .ok_or(EXPECTED)?
                .and_utc(),
        };
        in_range(instant.year()).map(|()| Self::Instant(instant))
    }
}

/// Both databases and all arithmetic on dates agree within these years.
fn in_range(year: i32) -> Result<(), &'static str> {
    if (1..=9998).contains(&year) {
        Ok(())
    } else {
        Err("must be between the years 1 and 9998")
    }
}

/// Instants from `start` up to, but not including, `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DateRange {
    /// The first instant.
    pub start: DateTime<Utc>,
    /// The first instant after.
    pub end: DateTime<Utc>,
}

impl DateRange {
    /// `end` includes the day, or the instant, that it names. Without an end the range is open; without a start it begins 30 days
    /// before its end, or before `now`.
    ///
    /// # Errors
    ///
    /// A start after the end.
    pub fn new(
        start: Option<DateBound>,
        end: Option<DateBound>,
        zone: Zone,
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let until = match end {
            Some(DateBound::Day(day)) => zone.midnight(day + Days::new(1)),
            Some(DateBound::Instant(instant)) => instant + Duration::microseconds(1),
            // A replica's clock may be ahead of this one's.
            None => now + Duration::days(1),
        };
        let from = match start {
            Some(DateBound::Day(day)) => zone.midnight(day),
            Some(DateBound::Instant(instant)) => instant,
            None if end.is_some() => until - DEFAULT_RANGE,
            None => now - DEFAULT_RANGE,
        };
        if from >= until {
            return Err(Violation::query("start_date", "must not be after end_date").into());
        }
        Ok(Self {
            start: from,
            end: until,
        })
    }
}

/// A time zone of the IANA database.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Zone(Tz);

impl Zone {
    /// Coordinated universal time.
    pub const UTC: Self = Self(Tz::UTC);

    /// The first instant of a day. Where clocks are put forward at midnight, that is later than 00:00.
    fn midnight(self, day: NaiveDate) -> DateTime<Utc> {
        let midnight = day.and_time(NaiveTime::MIN);
        // No zone has ever skipped more than a day; a quarter of an hour is the finest step of any present-day change.
        (0..=100)
            .find_map(|quarters| {
                let candidate = midnight + Duration::minutes(15 * quarters);
                self.0.from_local_datetime(&candidate).earliest()
            })
            .map_or_else(|| midnight.and_utc(), |instant| instant.with_timezone(&Utc))
    }

    /// The day on which `instant` falls.
    fn day_of(self, instant: DateTime<Utc>) -> NaiveDate {
        instant.with_timezone(&self.0).date_naive()
    }
}

impl FromStr for Zone {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse()
            .map(Self)
            .map_err(|_| "is not a time zone of the IANA database, such as Europe/Berlin")
    }
}

/// The periods of `by_day`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grouping {
    /// Days.
    Day,
    /// Weeks, from Monday.
    Week,
    /// Calendar months.
    Month,
}

/// One period of a range; at the range's edges only the part inside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Period {
    /// The period's first day, even when the range begins later.
    pub(super) first_day: NaiveDate,
    pub(super) start: DateTime<Utc>,
    pub(super) end: DateTime<Utc>,
}

impl Grouping {
    fn first_day(self, day: NaiveDate) -> NaiveDate {
        match self {
            Self::Day => day,
            Self::Week => day - Days::new(u64::from(day.weekday().num_days_from_monday())),
            Self::Month => day - Days::new(u64::from(day.day0())),
        }
    }

    fn next(self, first_day: NaiveDate) -> NaiveDate {
        match self {
            Self::Day => first_day + Days::new(1),
            Self::Week => first_day + Days::new(7),
            Self::Month => first_day + Months::new(1),
        }
    }

    /// The periods that make up `range`, oldest first, without gap or overlap.
    pub(super) fn periods(self, range: DateRange, zone: Zone) -> Vec<Period> {
        let mut periods = Vec::new();
        let mut first_day = self.first_day(zone.day_of(range.start));
        let mut start = range.start;
        while start < range.end {
            let next = self.next(first_day);
            let end = zone.midnight(next).min(range.end);
            if start < end {
                periods.push(Period {
                    first_day,
                    start,
                    end,
                });
                start = end;
            }
            first_day = next;
        }
        periods
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        name.parse().expect("a zone")
    }

    fn instant(text: &str) -> DateTime<Utc> {
        match text.parse().expect("a time") {
            DateBound::Instant(instant) => instant,
            DateBound::Day(day) => day.and_time(NaiveTime::MIN).and_utc(),
        }
    }

    #[test]
    fn times_are_read_as_people_write_them() {
        let expected = instant("2026-03-01T12:00:00Z");
        for text in [
            "2026-03-01T12:00:00",
            "2026-03-01 12:00:00",
            "2026-03-01T12:00",
            "2026-03-01T13:00:00+01:00",
            "2026-03-01T13:00:00 01:00",
            "2026-03-01T12:00:00.000Z",
        ] {
            assert_eq!(text.parse(), Ok(DateBound::Instant(expected)), "{text}");
        }
        for text in [
            "yesterday",
            "2026-02-30",
            "2026-13-01",
            "99999-01-01",
            "0000-01-01",
            "1700000000",
        ] {
            assert!(text.parse::<DateBound>().is_err(), "{text}");
        }
    }

    #[test]
    fn an_end_date_includes_its_day() {
        let day = Some("2026-03-01".parse().expect("a date"));
        let range = DateRange::new(day, day, zone("America/New_York"), Utc::now()).expect("a range");
        assert_eq!(range.start, instant("2026-03-01T05:00:00Z"));
        assert_eq!(range.end, instant("2026-03-02T05:00:00Z"));
    }

    #[test]
    fn a_start_after_the_end_is_refused() {
        let day = |text: &str| Some(text.parse().expect("a date"));
        let range = DateRange::new(day("2026-03-02"), day("2026-03-01"), Zone::UTC, Utc::now());
        assert!(range.is_err());
    }

    #[test]
    fn days_are_23_24_and_25_hours_long() {
        for (zone_name, from, hours) in [
            ("Europe/Berlin", "2026-03-28", [24, 23, 24]),
            ("Europe/Berlin", "2026-10-24", [24, 25, 24]),
            // Midnight itself is skipped there on 6 September 2026.
            ("America/Santiago", "2026-09-05", [24, 23, 24]),
        ] {
            let zone = zone(zone_name);
            let first: NaiveDate = from.parse().expect("a date");
            let range = DateRange {
                start: zone.midnight(first),
                end: zone.midnight(first + Days::new(3)),
            };
            let lengths: Vec<i64> = Grouping::Day
                .periods(range, zone)
                .iter()
                .map(|period| (period.end - period.start).num_hours())
                .collect();
            assert_eq!(lengths, hours, "{zone_name} {from}");
        }
    }

    #[test]
    fn periods_cover_the_range_without_gap_or_overlap() {
        let range = DateRange {
            start: instant("2025-12-30T22:17:03Z"),
            end: instant("2026-04-02T01:02:03Z"),
        };
        for grouping in [Grouping::Day, Grouping::Week, Grouping::Month] {
            for name in ["UTC", "Asia/Kathmandu", "Pacific/Apia", "America/St_Johns"] {
                let periods = grouping.periods(range, zone(name));
                assert_eq!(periods.first().map(|period| period.start), Some(range.start));
                assert_eq!(periods.last().map(|period| period.end), Some(range.end));
                for pair in periods.windows(2) {
                    assert_eq!(pair[0].end, pair[1].start);
                    assert!(pair[0].first_day < pair[1].first_day);
                }
            }
        }
    }

    #[test]
    fn weeks_begin_on_monday() {
        let sunday: NaiveDate = "2026-03-01".parse().expect("a date");
        assert_eq!(Grouping::Week.first_day(sunday).to_string(), "2026-02-23");
        assert_eq!(Grouping::Month.first_day(sunday).to_string(), "2026-03-01");
    }
}
