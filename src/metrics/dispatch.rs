//! Metrics of incidents and their delivery: what waits, what was lost to a sink, what was kept quiet.

use std::fmt::Write as _;

use super::{escaped, head};
use crate::stages::incident::{IncidentDesk, Quiet};
use crate::stages::publish::SinkReport;

/// Writes the metrics of the desk and its sinks.
#[must_use]
pub fn render_dispatch(desk: &IncidentDesk, sinks: &[SinkReport]) -> String {
    let mut text = String::new();
    let (unsaved, refused) = desk.backlog();
    head(
        &mut text,
        "emberwatch_unsaved_steps",
        "gauge",
        "steps of incidents that wait in memory because the store cannot be written; anything but 0 wants a look at the disk",
    );
    let _written = writeln!(text, "emberwatch_unsaved_steps {unsaved}");
    head(
        &mut text,
        "emberwatch_refused_reports_total",
        "counter",
        "reports that were turned away because too much waits in memory",
    );
    let _written = writeln!(text, "emberwatch_refused_reports_total {refused}");
    head(
        &mut text,
        "emberwatch_quiet_reports_total",
        "counter",
        "reports that made no incident, by reason",
    );
    for (why, count) in desk.quieted() {
        let _written = writeln!(
            text,
            "emberwatch_quiet_reports_total{{reason=\"{}\"}} {count}",
            word(why)
        );
    }
    head(
        &mut text,
        "emberwatch_sink_events_total",
        "counter",
        "events of each sink since the start, by what became of them; `failed` counts attempts",
    );
    for sink in sinks {
        for (outcome, count) in [
            ("delivered", sink.delivered),
            ("failed", sink.failed),
            ("dead", sink.dead),
            ("filtered", sink.filtered),
        ] {
            let _written = writeln!(
                text,
                "emberwatch_sink_events_total{{sink=\"{}\",outcome=\"{outcome}\"}} {count}",
                escaped(&sink.name)
            );
        }
    }
    head(
        &mut text,
        "emberwatch_sink_down",
        "gauge",
        "1 while a sink cannot be reached",
    );
    for sink in sinks {
        let _written = writeln!(
            text,
            "emberwatch_sink_down{{sink=\"{}\"}} {}",
            escaped(&sink.name),
            u8::from(sink.is_down)
        );
    }
    text
}

const fn word(why: Quiet) -> &'static str {
    match why {
        Quiet::Senseless => "senseless",
        Quiet::Masked => "masked",
        Quiet::Zone => "quiet_zone",
        Quiet::Dismissed => "dismissed",
        Quiet::Smouldering => "smouldering",
    }
}
