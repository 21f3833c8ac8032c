//! A report as a page to print, in Chinese and English. It needs nothing from the network.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::flow::incident::{Milestone, RejectReason};
use crate::store::{AreaFigures, GroupBy, PeriodReport};

const STYLE: &str = "body{font:14px/1.5 system-ui,'Noto Sans SC','Microsoft YaHei',sans-serif;margin:2em;color:#111}\
h1{font-size:20px}h2{font-size:16px;margin-top:1.6em}table{border-collapse:collapse;width:100%}\
th,td{border:1px solid #999;padding:3px 6px;text-align:right}th:first-child,td:first-child{text-align:left}\
th{background:#eee;font-weight:600}p.small{color:#555;font-size:12px}\
@media print{body{margin:0}table{page-break-inside:auto}tr{page-break-inside:avoid}}";

/// Returns the page; `now` is when it was made.
pub(super) fn of_report(
    report: &PeriodReport,
    zone: &TimeZone,
    now: Timestamp,
) -> Result<String, std::fmt::Error> {
    let mut page = String::new();
    let from = zone.to_datetime(report.from);
    let until = zone.to_datetime(report.until);
    let profiles = if report.profiles.is_empty() {
        "—".to_owned()
    } else {
        escaped(&report.profiles.join(", "))
    };
    write!(
        page,
        "<!doctype html>\n<html lang=\"zh-CN\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>火点报告 Fire report</title>\
         <style>{STYLE}</style></head><body>\n\
         <h1>火点报告 <span lang=\"en\">Fire report</span></h1>\n\
         <p>统计时段 Period: {} — {} · 时限方案 Deadlines: {profiles} · 生成 Made: {}</p>\n",
        written(from),
        written(until),
        written(zone.to_datetime(now)),
    )?;
    totals(&mut page, report)?;
    ranking(&mut page, report)?;
    milestones(&mut page, &report.total)?;
    milestones_by_area(&mut page, report)?;
    reasons(&mut page, report)?;
    page.push_str(
        "<p class=\"small\">查实率 = 查实 ÷ (查实 + 误报),由人工或规则判定,不等于模型精度;未核另列。演练和并案不计入推送。\
         <br><span lang=\"en\">Confirmation rate = confirmed ÷ (confirmed + rejected), as judged by people or rules; it is \
         not the precision of the model. Unjudged incidents are a figure of their own. Drills and merged incidents are \
         not among the pushed.</span></p>\n</body></html>\n",
    );
    Ok(page)
}

fn written(at: jiff::civil::DateTime) -> String {
    format!(
        "{:04}-{:02}-{:02} {:02}:{:02}",
        at.year(),
        at.month(),
        at.day(),
        at.hour(),
        at.minute()
    )
}

fn totals(page: &mut String, report: &PeriodReport) -> std::fmt::Result {
    page.push_str("<h2>合计 <span lang=\"en\">Totals</span></h2>\n<table><tr><th></th><th>本期 This period</th><th>上期 Before</th><th>增减 Change</th></tr>\n");
    let (now, before) = (&report.total, &report.before);
    for (name, now, before) in [
        ("推送 Pushed", now.pushed, before.pushed),
        ("查实 Confirmed", now.confirmed, before.confirmed),
        ("误报 Rejected", now.rejected, before.rejected),
        ("未核 Unjudged", now.unjudged, before.unjudged),
        ("超时 Overdue", now.overdue, before.overdue),
        ("复燃 Re-opened", now.reopened, before.reopened),
        ("未结 Open", now.open, before.open),
        ("迟报 Late", now.late, before.late),
        ("并案 Merged", now.merged, before.merged),
        ("演练 Drills", now.drills, before.drills),
    ] {
        let change = match now as i64 - before as i64 {
            0 => "0".to_owned(),
            change => format!("{change:+}"),
        };
        let percent = if before > 0 {
            format!(" ({:+.0} %)", (now as f64 / before as f64 - 1.0) * 100.0)
        } else {
            String::new()
        };
        writeln!(
            page,
            "<tr><td>{name}</td><td>{now}</td><td>{before}</td><td>{change}{percent}</td></tr>"
        )?;
    }
    writeln!(
        page,
        "<tr><td>查实率 Confirmation rate</td><td>{}</td><td>{}</td><td></td></tr></table>",
        percent(now.confirmation_rate()),
        percent(before.confirmation_rate())
    )
}

const fn kind_of_area(group_by: GroupBy) -> &'static str {
    match group_by {
        GroupBy::District => "区 District",
        GroupBy::Township => "乡镇 Township",
        GroupBy::Village => "村 Village",
        GroupBy::Cell => "网格 Cell",
        GroupBy::Source => "来源 Source",
    }
}

fn name_of(area: &AreaFigures) -> String {
    if area.name.is_empty() {
        "未定位 unplaced".to_owned()
    } else {
        escaped(&area.name)
    }
}

fn ranking(page: &mut String, report: &PeriodReport) -> std::fmt::Result {
    let what = kind_of_area(report.group_by);
    write!(
        page,
        "<h2>排名 <span lang=\"en\">Ranking</span></h2>\n<table><tr><th>{what}</th><th>推送 Pushed</th>\
         <th>查实 Confirmed</th><th>误报 Rejected</th><th>未核 Unjudged</th><th>查实率 Rate</th><th>超时 Overdue</th>\
         <th>复燃 Re-opened</th></tr>\n"
    )?;
    for area in &report.areas {
        writeln!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            name_of(area),
            area.pushed,
            area.confirmed,
            area.rejected,
            area.unjudged,
            percent(area.confirmation_rate()),
            area.overdue,
            area.reopened
        )?;
    }
    page.push_str("</table>\n");
    Ok(())
}

fn milestones(page: &mut String, total: &AreaFigures) -> std::fmt::Result {
    page.push_str(
        "<h2>时限 <span lang=\"en\">Milestones</span></h2>\n<table><tr><th></th><th>达成 Reached</th>\
         <th>中位数 Median (s)</th><th>P90 (s)</th><th>按时 In time</th><th>超时 Overdue</th>\
         <th>达标率 Compliance</th></tr>\n",
    );
    for milestone in Milestone::ALL {
        let Some(figures) = total.milestones.get(&milestone) else {
            continue;
        };
        let seconds =
            |seconds: Option<f64>| seconds.map_or("—".to_owned(), |seconds| format!("{seconds:.0}"));
        writeln!(
            page,
            "<tr><td>{} {}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>",
            milestone.name_zh(),
            milestone.name(),
            figures.reached,
            seconds(figures.median_s),
            seconds(figures.p90_s),
            figures.in_time,
            figures.overdue,
            percent(figures.compliance())
        )?;
    }
    page.push_str("</table>\n");
    Ok(())
}

/// How fast each area was: median and P90 in seconds, and the share in time.
fn milestones_by_area(page: &mut String, report: &PeriodReport) -> std::fmt::Result {
    let reached: Vec<Milestone> = Milestone::ALL
        .into_iter()
        .filter(|milestone| report.total.milestones.contains_key(milestone))
        .collect();
    write!(
        page,
        "<h2>各单位时限 <span lang=\"en\">Milestones by area (median / P90 s · in time)</span></h2>\n<table><tr><th>{}</th>",
        kind_of_area(report.group_by)
    )?;
    for milestone in &reached {
        write!(page, "<th>{} {}</th>", milestone.name_zh(), milestone.name())?;
    }
    page.push_str("</tr>\n");
    let seconds = |seconds: Option<f64>| seconds.map_or("—".to_owned(), |seconds| format!("{seconds:.0}"));
    for area in &report.areas {
        write!(page, "<tr><td>{}</td>", name_of(area))?;
        for milestone in &reached {
            let figures = area.milestones.get(milestone).copied().unwrap_or_default();
            write!(
                page,
                "<td>{} / {} · {}</td>",
                seconds(figures.median_s),
                seconds(figures.p90_s),
                percent(figures.compliance())
            )?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
    Ok(())
}

/// Why incidents were rejected, by area and in all; reasons that nobody gave have no column.
fn reasons(page: &mut String, report: &PeriodReport) -> std::fmt::Result {
    let count = |area: &AreaFigures, reason| area.rejected_by_reason.get(&reason).copied().unwrap_or(0);
    let given: Vec<RejectReason> = RejectReason::ALL
        .into_iter()
        .filter(|reason| count(&report.total, *reason) > 0)
        .collect();
    page.push_str("<h2>误报原因 <span lang=\"en\">Reasons of rejection</span></h2>\n");
    if given.is_empty() {
        page.push_str("<p>无 None</p>\n");
        return Ok(());
    }
    write!(page, "<table><tr><th>{}</th>", kind_of_area(report.group_by))?;
    for reason in &given {
        write!(page, "<th>{} {}</th>", reason.name_zh(), reason.name())?;
    }
    page.push_str("</tr>\n");
    let total = AreaFigures {
        name: "合计 total".to_owned(),
        ..report.total.clone()
    };
    for area in report.areas.iter().chain([&total]) {
        write!(page, "<tr><td>{}</td>", name_of(area))?;
        for reason in &given {
            write!(page, "<td>{}</td>", count(area, *reason))?;
        }
        page.push_str("</tr>\n");
    }
    page.push_str("</table>\n");
    Ok(())
}

fn percent(share: Option<f64>) -> String {
    share.map_or("—".to_owned(), |share| format!("{:.1} %", share * 100.0))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}
