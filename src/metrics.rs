//! Prometheus text, and what is known of the sources as JSON.

#![cfg(feature = "video")]

mod dispatch;

use std::fmt::Write as _;
use std::sync::atomic::Ordering;

use crate::flow::source::SourceState;
use crate::pipeline::shared::Shared;

pub use dispatch::render_dispatch;

/// Writes a metric's head.
fn head(text: &mut String, name: &str, kind: &str, help: &str) {
    let _written = write!(text, "# HELP {name} {help}\n# TYPE {name} {kind}\n");
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', " ")
}

/// Returns resident memory of this process in bytes, by kind, as Linux tells it.
fn memory() -> Vec<(&'static str, u64)> {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    [
        ("anonymous", "RssAnon:"),
        ("file", "RssFile:"),
        ("shared", "RssShmem:"),
    ]
    .into_iter()
    .filter_map(|(kind, key)| {
        let line = status.lines().find(|line| line.starts_with(key))?;
        let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
        Some((kind, kib * 1024))
    })
    .collect()
}

/// Writes all metrics.
#[must_use]
pub fn render(shared: &Shared) -> String {
    let mut text = String::new();
    let views = shared.views();
    head(
        &mut text,
        "emberwatch_source_state",
        "gauge",
        "1 for the state that a source is in",
    );
    for (id, view) in &views {
        for state in SourceState::ALL {
            let value = u8::from(view.state == state);
            let _written = writeln!(
                text,
                "emberwatch_source_state{{source=\"{}\",state=\"{state}\"}} {value}",
                escaped(id.as_str())
            );
        }
    }
    head(
        &mut text,
        "emberwatch_frames_total",
        "counter",
        "frames by source and what became of them",
    );
    for (id, view) in &views {
        let (frames, ingest) = (&view.gauges.frames, view.gauges.ingest.snapshot());
        for (fate, count) in [
            ("received", ingest.packets),
            ("undecoded", ingest.undecoded),
            ("decoded", ingest.decoded),
            ("damaged", ingest.damaged),
            ("skipped", frames.skipped()),
            ("lost_stale", frames.stale() + ingest.stale),
            ("lost_overtaken", ingest.overtaken),
            ("lost_behind", ingest.behind),
            ("inferred", view.gauges.inferred.load(Ordering::Relaxed)),
        ] {
            let _written = writeln!(
                text,
                "emberwatch_frames_total{{source=\"{}\",fate=\"{fate}\"}} {count}",
                escaped(id.as_str())
            );
        }
    }
    head(
        &mut text,
        "emberwatch_frame_age_seconds",
        "gauge",
        "age of recent frames when they were judged",
    );
    for (id, view) in &views {
        let ages = view.gauges.ages.quantiles([0.5, 0.95, 0.99]);
        for (quantile, age) in ["0.5", "0.95", "0.99"].into_iter().zip(ages) {
            let _written = writeln!(
                text,
                "emberwatch_frame_age_seconds{{source=\"{}\",quantile=\"{quantile}\"}} {:.4}",
                escaped(id.as_str()),
                age.as_secs_f64()
            );
        }
    }
    head(
        &mut text,
        "emberwatch_reconnects_total",
        "counter",
        "connections that failed, by reason",
    );
    for (id, view) in &views {
        for (reason, count) in view.gauges.ingest.snapshot().failures {
            let _written = writeln!(
                text,
                "emberwatch_reconnects_total{{source=\"{}\",reason=\"{reason}\"}} {count}",
                escaped(id.as_str())
            );
        }
    }
    head(
        &mut text,
        "emberwatch_clock_offset_seconds",
        "gauge",
        "seconds to add to a camera's time to get ours, by its sender reports",
    );
    for (id, view) in &views {
        if let Some(offset_ms) = view.gauges.ingest.snapshot().clock_offset_ms {
            let _written = writeln!(
                text,
                "emberwatch_clock_offset_seconds{{source=\"{}\"}} {:.3}",
                escaped(id.as_str()),
                offset_ms as f64 / 1e3
            );
        }
    }
    head(
        &mut text,
        "emberwatch_duty",
        "gauge",
        "1 for the level at which a source is watched",
    );
    head(
        &mut text,
        "emberwatch_duty_moves_total",
        "counter",
        "moves between duty levels",
    );
    for (id, view) in &views {
        let (source, duty) = (escaped(id.as_str()), view.gauges.duty.effective());
        let _written = writeln!(text, "emberwatch_duty{{source=\"{source}\",duty=\"{duty}\"}} 1");
        let _written = writeln!(
            text,
            "emberwatch_duty_moves_total{{source=\"{source}\"}} {}",
            view.duty_moves
        );
    }
    head(
        &mut text,
        "emberwatch_admission_step",
        "gauge",
        "how much gives way because the machine is full: 0 nothing, 1 to 3 patrol, 4 to 6 watch too",
    );
    let _written = writeln!(text, "emberwatch_admission_step {}", shared.thinning.step());
    head(
        &mut text,
        "emberwatch_stage_cpu_seconds_total",
        "counter",
        "CPU time of each stage's thread",
    );
    head(
        &mut text,
        "emberwatch_stage_items_total",
        "counter",
        "items that each stage took",
    );
    head(
        &mut text,
        "emberwatch_stage_failures_total",
        "counter",
        "items that failed in each stage",
    );
    for (name, stats) in shared.board.stages() {
        let name = escaped(&name);
        let _written = writeln!(
            text,
            "emberwatch_stage_cpu_seconds_total{{stage=\"{name}\"}} {:.3}\n\
             emberwatch_stage_items_total{{stage=\"{name}\"}} {}\n\
             emberwatch_stage_failures_total{{stage=\"{name}\"}} {}",
            stats.cpu_used().as_secs_f64(),
            stats.items(),
            stats.failures()
        );
    }
    head(&mut text, "emberwatch_queue_depth", "gauge", "items in each link");
    head(
        &mut text,
        "emberwatch_queue_blocked_seconds_total",
        "counter",
        "how long senders waited for each link",
    );
    for link in shared.board.links() {
        let name = escaped(link.name());
        let _written = writeln!(
            text,
            "emberwatch_queue_depth{{link=\"{name}\"}} {}\nemberwatch_queue_blocked_seconds_total{{link=\"{name}\"}} {:.3}",
            link.depth(),
            link.blocked().as_secs_f64()
        );
    }
    head(
        &mut text,
        "emberwatch_resident_bytes",
        "gauge",
        "resident memory by kind",
    );
    for (kind, bytes) in memory() {
        let _written = writeln!(text, "emberwatch_resident_bytes{{kind=\"{kind}\"}} {bytes}");
    }
    text
}

/// Returns what is known of every source.
#[must_use]
pub fn sources(shared: &Shared) -> serde_json::Value {
    let views = shared.views();
    let list: Vec<serde_json::Value> = views
        .iter()
        .map(|(id, view)| {
            serde_json::json!({
                "id": id.as_str(),
                "state": view.state.name(),
                "since": view.since.to_string(),
                "detail": view.detail,
                "duty": view.gauges.duty.effective().name(),
                "decoder": view.decoder,
                "clock_offset_s": view.gauges.ingest.snapshot().clock_offset_ms.map(|offset_ms| offset_ms as f64 / 1e3),
                "inferred": view.gauges.inferred.load(Ordering::Relaxed),
            })
        })
        .collect();
    serde_json::Value::Array(list)
}
