//! A report as a table that a spreadsheet opens: UTF-8 with a byte order mark, which Excel needs in Chinese, and no
//! cell that a spreadsheet would take for a formula.

use crate::flow::incident::{Milestone, RejectReason};
use crate::store::{AreaFigures, PeriodReport};

/// Returns the table.
pub(super) fn of_report(report: &PeriodReport) -> String {
    let mut text = String::from("\u{feff}");
    let mut header: Vec<String> = [
        "名称 name",
        "推送 pushed",
        "查实 confirmed",
        "误报 rejected",
        "未核 unjudged",
        "查实率 confirmation rate",
        "超时 overdue",
        "未结 open",
        "复燃 reopened",
        "迟报 late",
        "并案 merged",
        "演练 drills",
    ]
    .map(String::from)
    .to_vec();
    for reason in RejectReason::ALL {
        header.push(format!("误报:{} {}", reason.name_zh(), reason.name()));
    }
    for milestone in Milestone::ALL {
        let name = format!("{} {}", milestone.name_zh(), milestone.name());
        header.push(format!("{name} 中位数 median s"));
        header.push(format!("{name} p90 s"));
        header.push(format!("{name} 达标率 compliance"));
    }
    line(&mut text, &header);
    let mut total = report.total.clone();
    "合计 total".clone_into(&mut total.name);
    let mut before = report.before.clone();
    "上期 period before".clone_into(&mut before.name);
    for figures in report.areas.iter().chain([&total, &before]) {
        line(&mut text, &cells(figures));
    }
    text
}

fn cells(figures: &AreaFigures) -> Vec<String> {
    let share = |share: Option<f64>| share.map_or(String::new(), |share| format!("{share:.4}"));
    let seconds = |seconds: Option<f64>| seconds.map_or(String::new(), |seconds| format!("{seconds:.1}"));
    let mut cells = vec![
        if figures.name.is_empty() {
            "未定位 unplaced".to_owned()
        } else {
            figures.name.clone()
        },
        figures.pushed.to_string(),
        figures.confirmed.to_string(),
        figures.rejected.to_string(),
        figures.unjudged.to_string(),
        share(figures.confirmation_rate()),
        figures.overdue.to_string(),
        figures.open.to_string(),
        figures.reopened.to_string(),
        figures.late.to_string(),
        figures.merged.to_string(),
        figures.drills.to_string(),
    ];
    for reason in RejectReason::ALL {
        let count = figures.rejected_by_reason.get(&reason).copied().unwrap_or(0);
        cells.push(count.to_string());
    }
    for milestone in Milestone::ALL {
        let reached = figures.milestones.get(&milestone).copied().unwrap_or_default();
        cells.push(seconds(reached.median_s));
        cells.push(seconds(reached.p90_s));
        cells.push(share(reached.compliance()));
    }
    cells
}

fn line(text: &mut String, cells: &[String]) {
    let cells: Vec<String> = cells.iter().map(|cell| safe_cell(cell)).collect();
    text.push_str(&cells.join(","));
    text.push_str("\r\n");
}

/// Returns a cell that is a text and nothing else: a beginning that a spreadsheet would calculate gets an apostrophe,
/// and what would end the cell is quoted. Numbers of ours are never negative, so no minus is lost.
fn safe_cell(cell: &str) -> String {
    let cell: String = cell.chars().filter(|letter| *letter != '\0').collect();
    let first = cell
        .trim_start_matches([' ', '\u{3000}', '\u{a0}'])
        .chars()
        .next();
    let is_formula = matches!(
        first,
        Some('=' | '+' | '-' | '@' | '\t' | '\r' | '\n' | '＝' | '＋' | '－' | '＠')
    );
    let cell = if is_formula { format!("'{cell}") } else { cell };
    if cell.contains([',', '"', '\n', '\r', ';', '\t']) {
        format!("\"{}\"", cell.replace('"', "\"\""))
    } else {
        cell
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_village_with_the_name_of_a_formula_stays_a_name() {
        for evil in [
            "=1+1",
            "+cmd|' /C calc'!A0",
            "-2",
            "@SUM(A1)",
            "\t=1",
            " =1",
            "＝1",
        ] {
            let cell = safe_cell(evil);
            let bare = cell.trim_start_matches('"');
            assert!(bare.starts_with('\''), "{evil:?} became {cell:?}");
        }
        assert_eq!(safe_cell("苏家作乡"), "苏家作乡");
        assert_eq!(safe_cell("a,\"b\""), "\"a,\"\"b\"\"\"");
    }
}
