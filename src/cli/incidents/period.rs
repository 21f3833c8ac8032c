//! `emberwatch incidents report`: the figures of a period as text, JSON, CSV or a page to print.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, ValueEnum};
use jiff::civil::Date;
use jiff::tz::TimeZone;
use jiff::{Timestamp, ToSpan};

use super::{csv, html};
use crate::clock::{Clock, SystemClock};
use crate::flow::incident::Milestone;
use crate::stages::incident::{IncidentConfig, kept_policy};
use crate::store::{GroupBy, PeriodReport, ReportQuery, Store};

/// Which period, by what, in which form.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// The length of the period.
    #[arg(long, value_enum, default_value_t = Period::Day)]
    period: Period,
    /// A day in the period, as 2026-06-05; today if left out.
    #[arg(long)]
    date: Option<Date>,
    /// The first moment, as 2026-06-05T17:00:00+08:00; instead of a period.
    #[arg(long, requires = "until", conflicts_with_all = ["period", "date"])]
    from: Option<Timestamp>,
    /// The first moment after the period.
    #[arg(long, requires = "from")]
    until: Option<Timestamp>,
    /// By what to rank.
    #[arg(long, value_enum, default_value_t = By::Township)]
    by: By,
    /// The time zone of the days; that of the installation if left out.
    #[arg(long)]
    time_zone: Option<String>,
    /// The form.
    #[arg(long, value_enum, default_value_t = Form::Text)]
    format: Form,
    /// Where to write; standard output if left out.
    #[arg(long, short)]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Period {
    Day,
    Week,
    /// Ten days (旬): the 1st to 10th, 11th to 20th, and the rest of a month.
    TenDays,
    Month,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum By {
    District,
    Township,
    Village,
    Cell,
    Source,
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum Form {
    Text,
    Json,
    Csv,
    Html,
}

impl From<By> for GroupBy {
    fn from(by: By) -> Self {
        match by {
            By::District => Self::District,
            By::Township => Self::Township,
            By::Village => Self::Village,
            By::Cell => Self::Cell,
            By::Source => Self::Source,
        }
    }
}

/// Runs the command.
pub(super) fn run(store: &Store, args: &ReportArgs) -> anyhow::Result<ExitCode> {
    let policy = kept_policy(store)?;
    let zone = IncidentConfig {
        time_zone: args.time_zone.clone().unwrap_or(policy.time_zone),
        ..IncidentConfig::default()
    }
    .zone()
    .map_err(anyhow::Error::msg)?;
    let now = SystemClock::new().wall();
    let (from, until) = match (args.from, args.until) {
        (Some(from), Some(until)) => (from, until),
        _ => bounds(
            args.period,
            args.date.unwrap_or_else(|| zone.to_datetime(now).date()),
            &zone,
        )?,
    };
    anyhow::ensure!(
        from < until,
        "the period ends at {until}, before it begins at {from}"
    );
    let report = store.period_report(&ReportQuery {
        from,
        until,
        group_by: args.by.into(),
        now,
    })?;
    let text = match args.format {
        Form::Text => text_of(&report, &zone),
        Form::Json => serde_json::to_string_pretty(&report)? + "\n",
        Form::Csv => csv::of_report(&report),
        Form::Html => html::of_report(&report, &zone, now)?,
    };
    match &args.output {
        Some(path) => {
            std::fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        None => print!("{text}"),
    }
    Ok(ExitCode::SUCCESS)
}

/// Returns the first moment of the period that holds a day, and the first after it.
fn bounds(period: Period, date: Date, zone: &TimeZone) -> anyhow::Result<(Timestamp, Timestamp)> {
    let (first, after) = match period {
        Period::Day => (date, date.tomorrow()?),
        Period::Week => {
            let back = date.weekday().to_monday_zero_offset();
            let first = date.checked_sub(i64::from(back).days())?;
            (first, first.checked_add(7.days())?)
        }
        Period::TenDays => {
            let day = match date.day() {
                1..=10 => 1,
                11..=20 => 11,
                _ => 21,
            };
            let first = Date::new(date.year(), date.month(), day)?;
            let after = if day == 21 {
                date.last_of_month().tomorrow()?
            } else {
                first.checked_add(10.days())?
            };
            (first, after)
        }
        Period::Month => (date.first_of_month(), date.last_of_month().tomorrow()?),
    };
    let moment = |date: Date| zone.to_timestamp(date.at(0, 0, 0, 0));
    Ok((moment(first)?, moment(after)?))
}

fn text_of(report: &PeriodReport, zone: &TimeZone) -> String {
    let mut lines = vec![format!(
        "{} — {}  时限方案 deadlines: {}",
        zone.to_datetime(report.from),
        zone.to_datetime(report.until),
        report.profiles.join(", ")
    )];
    let percent =
        |share: Option<f64>| share.map_or("—".to_owned(), |share| format!("{:.1} %", share * 100.0));
    let named = report.areas.iter().map(|area| (area.name.as_str(), area));
    for (name, area) in named.chain([("合计 total", &report.total)]) {
        let name = if name.is_empty() {
            "未定位 unplaced"
        } else {
            name
        };
        lines.push(format!(
            "{name}: 推送 pushed {}, 查实 confirmed {}, 误报 rejected {}, 未核 unjudged {}, 查实率 rate {}, 超时 overdue {}",
            area.pushed,
            area.confirmed,
            area.rejected,
            area.unjudged,
            percent(area.confirmation_rate()),
            area.overdue
        ));
    }
    for milestone in Milestone::ALL {
        let Some(figures) = report.total.milestones.get(&milestone) else {
            continue;
        };
        let seconds =
            |seconds: Option<f64>| seconds.map_or("—".to_owned(), |seconds| format!("{seconds:.0} s"));
        lines.push(format!(
            "{} {}: 中位数 median {}, P90 {}, 达标率 compliance {}",
            milestone.name_zh(),
            milestone.name(),
            seconds(figures.median_s),
            seconds(figures.p90_s),
            percent(figures.compliance())
        ));
    }
    for (reason, count) in &report.total.rejected_by_reason {
        lines.push(format!(
            "误报 rejected, {} {}: {count}",
            reason.name_zh(),
            reason.name()
        ));
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    fn days(period: Period, date: &str) -> (String, String) {
        let zone = TimeZone::fixed(jiff::tz::offset(8));
        let (from, until) = bounds(period, date.parse().expect("a date"), &zone).expect("within range");
        let day = |at: Timestamp| zone.to_datetime(at).date().to_string();
        (day(from), day(until))
    }

    #[test]
    fn periods_begin_and_end_where_people_count_them() {
        let pair = |from: &str, until: &str| (from.to_owned(), until.to_owned());
        assert_eq!(days(Period::Day, "2026-06-05"), pair("2026-06-05", "2026-06-06"));
        // The 5th of June 2026 is a Friday.
        assert_eq!(days(Period::Week, "2026-06-05"), pair("2026-06-01", "2026-06-08"));
        assert_eq!(
            days(Period::TenDays, "2026-06-05"),
            pair("2026-06-01", "2026-06-11")
        );
        assert_eq!(
            days(Period::TenDays, "2026-06-30"),
            pair("2026-06-21", "2026-07-01")
        );
        assert_eq!(
            days(Period::Month, "2026-12-05"),
            pair("2026-12-01", "2027-01-01")
        );
    }
}
