//! Times of day, calendar days and places, as rules and zones name them.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use jiff::civil::{Date, Time, Weekday};
use jiff::tz::{Offset, TimeZone};
use serde::{Deserialize, Serialize};

use super::plane::distance_m;
use crate::flow::pose::Wgs84;

/// A span of the day, written `18:00-06:00`; it may run over midnight. The end is not part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(try_from = "String", into = "String")]
#[schemars(with = "String")]
pub struct TimeWindow {
    from: Time,
    until: Time,
}

impl TimeWindow {
    /// Returns whether a time of day lies in it.
    #[must_use]
    pub fn holds(&self, time: Time) -> bool {
        if self.from <= self.until {
            self.from <= time && time < self.until
        } else {
            time >= self.from || time < self.until
        }
    }

    fn runs_over_midnight(self) -> bool {
        self.from > self.until
    }
}

impl FromStr for TimeWindow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let problem = || format!("{text:?} is no span of the day, write it as \"18:00-06:00\"");
        let (from, until) = text.split_once('-').ok_or_else(problem)?;
        let time = |text: &str| -> Option<Time> {
            let (hour, minute) = text.trim().split_once(':')?;
            Time::new(hour.parse().ok()?, minute.parse().ok()?, 0, 0).ok()
        };
        Ok(Self {
            from: time(from).ok_or_else(problem)?,
            until: time(until).ok_or_else(problem)?,
        })
    }
}

impl TryFrom<String> for TimeWindow {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<TimeWindow> for String {
    fn from(window: TimeWindow) -> Self {
        window.to_string()
    }
}

impl fmt::Display for TimeWindow {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            formatter,
            "{:02}:{:02}-{:02}:{:02}",
            self.from.hour(),
            self.from.minute(),
            self.until.hour(),
            self.until.minute()
        )
    }
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
#[expect(missing_docs, reason = "the days are known")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Day {
    const fn weekday(self) -> Weekday {
        match self {
            Self::Monday => Weekday::Monday,
            Self::Tuesday => Weekday::Tuesday,
            Self::Wednesday => Weekday::Wednesday,
            Self::Thursday => Weekday::Thursday,
            Self::Friday => Weekday::Friday,
            Self::Saturday => Weekday::Saturday,
            Self::Sunday => Weekday::Sunday,
        }
    }
}

/// When something holds; every part that is given must match.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Schedule {
    /// The first day, as `2026-04-03`.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub from: Option<Date>,
    /// The last day.
    #[schemars(with = "Option<String>", extend("format" = "date"))]
    pub until: Option<Date>,
    /// The days of the week; empty for all.
    pub days: Vec<Day>,
    /// The span of the day. One that runs over midnight belongs to the day it began on.
    pub between: Option<TimeWindow>,
}

impl Schedule {
    /// Returns whether it holds at a moment in the zone's civil time.
    #[must_use]
    pub fn holds(&self, at: Timestamp, zone: &TimeZone) -> bool {
        let civil = zone.to_datetime(at);
        let mut date = civil.date();
        if let Some(window) = self.between {
            if !window.holds(civil.time()) {
                return false;
            }
            if window.runs_over_midnight() && civil.time() < window.until {
                date = date.yesterday().unwrap_or(date);
            }
        }
        self.from.is_none_or(|from| from <= date)
            && self.until.is_none_or(|until| date <= until)
            && (self.days.is_empty() || self.days.iter().any(|day| day.weekday() == date.weekday()))
    }
}

/// A place on the ground.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, schemars::JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Zone {
    /// A circle.
    Circle {
        /// The centre's latitude, in degrees WGS 84.
        lat: f64,
        /// The centre's longitude, in degrees WGS 84.
        lon: f64,
        /// Its radius, in metres.
        radius_m: f64,
    },
    /// A polygon of corners `[latitude, longitude]` in degrees WGS 84; it need not be closed.
    Polygon(Vec<[f64; 2]>),
}

impl Zone {
    /// Returns what is wrong with it.
    pub(super) fn check(&self) -> Result<(), String> {
        let is_place = |lat: f64, lon: f64| (-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon);
        match self {
            Self::Circle { lat, lon, radius_m } => {
                if !is_place(*lat, *lon) {
                    return Err(format!("circle: {lat}, {lon} is no place, latitude comes first"));
                }
                if !(radius_m.is_finite() && *radius_m > 0.0) {
                    return Err(format!("circle.radius_m: {radius_m} is no positive number"));
                }
            }
            Self::Polygon(corners) => {
                if corners.len() < 3 {
                    return Err(format!(
                        "polygon: has {} corners, needs three or more",
                        corners.len()
                    ));
                }
                if let Some([lat, lon]) = corners.iter().find(|[lat, lon]| !is_place(*lat, *lon)) {
                    return Err(format!("polygon: {lat}, {lon} is no place, latitude comes first"));
                }
            }
        }
        Ok(())
    }

    /// Returns whether a point lies in it.
    #[must_use]
    pub fn holds(&self, point: Wgs84) -> bool {
        match self {
            Self::Circle { lat, lon, radius_m } => {
                distance_m(Wgs84 { lat: *lat, lon: *lon }, point) <= *radius_m
            }
            Self::Polygon(corners) => polygon_holds(corners, [point.lat, point.lon]),
        }
    }
}

/// Returns whether a point lies in a polygon, by counting the edges that a ray crosses.
pub(super) fn polygon_holds(corners: &[[f64; 2]], [x, y]: [f64; 2]) -> bool {
    let mut is_inside = false;
    let mut previous = corners.last();
    for corner in corners {
        if let Some(&[px, py]) = previous {
            let [cx, cy] = *corner;
            if (cy > y) != (py > y) && x < (px - cx) * (y - cy) / (py - cy) + cx {
                is_inside = !is_inside;
            }
        }
        previous = Some(corner);
    }
    is_inside
}

/// Reads a time zone: an offset such as `+08:00`, or a name that the system's time zone database knows.
pub(super) fn time_zone(text: &str) -> Result<TimeZone, String> {
    let problem = || {
        format!(
            "{text:?} is no time zone, write an offset such as \"+08:00\" or a name such as \"Asia/Shanghai\""
        )
    };
    if let Some(rest) = text.strip_prefix(['+', '-']) {
        let (hours, minutes) = rest.split_once(':').ok_or_else(problem)?;
        let hours: i32 = hours
            .parse()
            .ok()
            .filter(|hours| (0..=14).contains(hours))
            .ok_or_else(problem)?;
        let minutes: i32 = minutes
            .parse()
            .ok()
            .filter(|minutes| (0..60).contains(minutes))
            .ok_or_else(problem)?;
        let seconds = (hours * 60 + minutes) * 60 * if text.starts_with('-') { -1 } else { 1 };
        return Offset::from_seconds(seconds)
            .map(TimeZone::fixed)
            .map_err(|error| format!("{}: {error}", problem()));
    }
    TimeZone::get(text).map_err(|error| format!("{}: {error}", problem()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().expect("a time")
    }

    #[test]
    fn a_span_over_midnight_holds_on_both_sides_of_it() {
        let window: TimeWindow = "18:00-06:00".parse().expect("a span");
        assert!(window.holds(Time::constant(23, 0, 0, 0)));
        assert!(window.holds(Time::constant(5, 59, 0, 0)));
        assert!(!window.holds(Time::constant(6, 0, 0, 0)));
        assert_eq!(window.to_string().parse(), Ok(window));
        assert!("25:00-06:00".parse::<TimeWindow>().is_err());
    }

    #[test]
    fn a_night_belongs_to_the_day_it_began_on() {
        let zone = time_zone("+08:00").expect("an offset");
        let schedule = Schedule {
            until: Some(Date::constant(2026, 4, 5)),
            between: Some("20:00-02:00".parse().expect("a span")),
            ..Schedule::default()
        };
        assert!(
            schedule.holds(at("2026-04-05T17:30:00Z"), &zone),
            "01:30 of the 6th"
        );
        assert!(
            !schedule.holds(at("2026-04-06T13:00:00Z"), &zone),
            "21:00 of the 6th"
        );
    }

    #[test]
    fn a_polygon_holds_what_lies_in_it() {
        let zone = Zone::Polygon(vec![[35.0, 113.0], [35.0, 114.0], [36.0, 114.0], [36.0, 113.0]]);
        assert!(zone.holds(Wgs84 {
            lat: 35.5,
            lon: 113.5
        }));
        assert!(!zone.holds(Wgs84 {
            lat: 36.5,
            lon: 113.5
        }));
        assert!(
            Zone::Polygon(vec![[113.0, 35.0]; 3]).check().is_err(),
            "longitude first"
        );
    }

    #[test]
    fn an_unknown_time_zone_is_answered_with_an_example() {
        let problem = time_zone("Mars/Olympus").expect_err("no such zone");
        assert!(problem.contains("+08:00"), "{problem}");
    }
}
