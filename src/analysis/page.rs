//! `report.html`: one page without anything from elsewhere, in Chinese and English.

use std::fmt::Write as _;

use super::flight::Flight;
use super::records::TrackRecord;
use super::summary::{InputSummary, Summary};
use crate::flow::detection::Class;
use crate::flow::track::{Decision, Reason};

/// What the page shows of one recording.
#[derive(Clone, Debug, Default)]
pub struct PageInput {
    /// The figures.
    pub summary: InputSummary,
    /// Every track, in the order in which they began.
    pub tracks: Vec<TrackRecord>,
    /// Pictures of the alerts: caption and JPEG bytes.
    pub pictures: Vec<(String, Vec<u8>)>,
    /// Best score in each second of the recording: second, class, score.
    pub scores: Vec<(f64, Class, f64)>,
    /// Where the camera was and where the fires are.
    pub flight: Flight,
}

const STYLE: &str = "body{font:15px/1.5 system-ui,'Noto Sans CJK SC','Microsoft YaHei',sans-serif;margin:0 auto;\
max-width:1100px;padding:24px;color:#1c1f23;background:#fff}h1{font-size:24px;margin:0 0 4px}h2{font-size:18px;\
margin:36px 0 8px;word-break:break-all}p.note{color:#5c6670;margin:0 0 16px}table{border-collapse:collapse;width:100%;\
margin:8px 0 16px}th,td{text-align:left;padding:5px 10px;border-bottom:1px solid #e3e6ea;vertical-align:top}th{font-weight:\
600;color:#5c6670;font-size:13px}.fire{color:#b42318;font-weight:600}.none{color:#1a7f4b;font-weight:600}.error{color:\
#b42318}figure{display:inline-block;margin:0 12px 12px 0;max-width:520px}figure img{max-width:100%;border:1px solid #ccd}\
figcaption{font-size:13px;color:#5c6670}svg{width:100%;height:auto;background:#f7f8fa;border:1px solid #e3e6ea}";

/// Replaces what HTML would read as markup.
fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

/// Writes seconds as minutes and seconds.
fn clock(seconds: f64) -> String {
    let whole = seconds.max(0.0);
    format!("{:02}:{:04.1}", (whole / 60.0) as u64, whole % 60.0)
}

const fn class_words(class: Class) -> &'static str {
    match class {
        Class::Flame => "明火 flame",
        Class::Smoke => "烟雾 smoke",
    }
}

const fn colour(class: Class) -> &'static str {
    match class {
        Class::Flame => "#d92d20",
        Class::Smoke => "#475467",
    }
}

/// Says in Chinese and English why a verdict is what it is.
#[must_use]
pub fn reason_words(reason: &Reason) -> String {
    match reason {
        Reason::Persistent {
            seen,
            frames,
            seconds,
        } => {
            format!(
                "{seconds:.1} 秒内 {frames} 帧中见到 {seen} 帧 / seen in {seen} of {frames} frames over {seconds:.1} s"
            )
        }
        Reason::TooShort { seconds, needed_s } => {
            format!(
                "只见到 {seconds:.1} 秒，需 {needed_s:.1} 秒 / seen for {seconds:.1} s, {needed_s:.1} s are needed"
            )
        }
        Reason::TooRare { share, needed } => format!(
            "出现比例 {:.0}%，需 {:.0}% / in {:.0} % of the frames, {:.0} % are needed",
            share * 100.0,
            needed * 100.0,
            share * 100.0,
            needed * 100.0
        ),
        Reason::TooWeak { score, needed } => {
            format!("置信度 {score:.2}，需 {needed:.2} / mean score {score:.2}, {needed:.2} is needed")
        }
        Reason::Lifeless { .. } => {
            "不闪烁、不增长、不飘动 / neither flickers nor grows nor drifts".to_owned()
        }
        Reason::Travels { speed, .. } => {
            format!("像车辆一样移动 / travels like a vehicle ({speed:.1} box sizes a second)")
        }
        Reason::Masked { mask } => format!("在屏蔽区内 / inside the mask {mask}"),
        Reason::KnownSource { name } => format!("已知热源 / known source {name}"),
        Reason::Ended => "未及判定即消失 / gone before it could be judged".to_owned(),
    }
}

/// Draws scores over time, with the alerts as marks.
fn timeline(input: &PageInput) -> String {
    let duration = input.summary.duration_s.max(1.0);
    let x = |second: f64| 40.0 + 940.0 * (second / duration).clamp(0.0, 1.0);
    let y = |score: f64| 110.0 - 100.0 * score.clamp(0.0, 1.0);
    let mut svg = String::from("<svg viewBox=\"0 0 1000 140\" role=\"img\">");
    for step in 0..=4_u8 {
        let score = f64::from(step) / 4.0;
        let _written = write!(
            svg,
            "<line x1=\"40\" x2=\"980\" y1=\"{0:.1}\" y2=\"{0:.1}\" stroke=\"#e3e6ea\"/>\
             <text x=\"34\" y=\"{1:.1}\" font-size=\"10\" text-anchor=\"end\" fill=\"#5c6670\">{score:.2}</text>",
            y(score),
            y(score) + 3.0
        );
    }
    for step in 0..=8_u8 {
        let second = duration * f64::from(step) / 8.0;
        let _written = write!(
            svg,
            "<text x=\"{:.1}\" y=\"130\" font-size=\"10\" text-anchor=\"middle\" fill=\"#5c6670\">{}</text>",
            x(second),
            clock(second)
        );
    }
    for (second, class, score) in &input.scores {
        let _written = write!(
            svg,
            "<circle cx=\"{:.1}\" cy=\"{:.1}\" r=\"2\" fill=\"{}\"/>",
            x(*second),
            y(*score),
            colour(*class)
        );
    }
    for alert in input.tracks.iter().filter_map(|track| track.alert_s) {
        let _written = write!(
            svg,
            "<line x1=\"{0:.1}\" x2=\"{0:.1}\" y1=\"6\" y2=\"110\" stroke=\"#b42318\" stroke-width=\"2\"/>",
            x(alert)
        );
    }
    svg.push_str("</svg>");
    svg
}

fn section(page: &mut String, input: &PageInput) {
    use base64::Engine as _;
    let summary = &input.summary;
    let _written = write!(page, "<h2>{}</h2>", escaped(&summary.path));
    if let Some(error) = &summary.error {
        let _written = write!(
            page,
            "<p class=\"error\">未能分析 / not analysed: {}</p>",
            escaped(error)
        );
        if summary.frames_in == 0 {
            return;
        }
    }
    let verdict = match summary.first_alert_s {
        Some(second) => format!(
            "<span class=\"fire\">发现火情 fire found</span>, {} (火点 incidents: {})",
            clock(second),
            summary.incidents
        ),
        None => "<span class=\"none\">未发现火情 no fire found</span>".to_owned(),
    };
    let _written = write!(
        page,
        "<p>{verdict}<br>时长 length {} · 帧 frames {} · 已检 inferred {} · 按设定跳过 skipped on purpose {} · \
         丢失 lost {}</p>{}",
        clock(summary.duration_s),
        summary.frames_in,
        summary.frames_inferred,
        summary.frames_skipped,
        summary.frames_lost,
        timeline(input)
    );
    if let Some(told) = &summary.time_calibration {
        let _written = write!(
            page,
            "<p>遥测时差 telemetry offset {:+.2} s ± {:.2} s · 相关 correlation {:.2} · 距今 age {:.0} s</p>",
            told.found.offset_s, told.found.sigma_s, told.found.quality, told.age_s
        );
    }
    page.push_str(&super::map::map(&input.flight));
    for (caption, jpeg) in &input.pictures {
        let _written = write!(
            page,
            "<figure><img alt=\"{0}\" src=\"data:image/jpeg;base64,{1}\"><figcaption>{0}</figcaption></figure>",
            escaped(caption),
            base64::engine::general_purpose::STANDARD.encode(jpeg)
        );
    }
    if input.tracks.is_empty() {
        return;
    }
    page.push_str(
        "<table><tr><th>目标 track</th><th>类别 class</th><th>起止 from–to</th><th>判定 verdict</th>\
         <th>置信度 score</th><th>理由 reason</th></tr>",
    );
    for track in &input.tracks {
        let verdict = match track.decision {
            Decision::Fire => "<span class=\"fire\">火情 fire</span>",
            Decision::Refused => "排除 refused",
            Decision::Undecided => "未定 undecided",
        };
        let _written = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{}–{}</td><td>{verdict}</td><td>{:.2}</td><td>{}</td></tr>",
            track.track,
            class_words(track.class),
            clock(track.first_s),
            clock(track.last_s),
            track.score,
            escaped(&reason_words(&track.reason))
        );
    }
    page.push_str("</table>");
}

/// Writes the page.
#[must_use]
pub fn page(summary: &Summary, inputs: &[PageInput]) -> String {
    let mut page = format!(
        "<!doctype html><html lang=\"zh-CN\"><head><meta charset=\"utf-8\"><meta name=\"viewport\" \
         content=\"width=device-width\"><title>Emberwatch 分析报告 report</title><style>{STYLE}</style></head><body>\
         <h1>视频火情分析报告 <small>Fire report</small></h1><p class=\"note\">Emberwatch {} · 模型 model {} {} \
         ({}…) · 用时 took {:.1} s · CPU {:.1} s</p>",
        escaped(&summary.version),
        escaped(&summary.model.name),
        escaped(&summary.model.version),
        summary.model.sha256.get(..12).unwrap_or_default(),
        summary.wall_s,
        summary.cpu_s
    );
    page.push_str(
        "<table><tr><th>录像 recording</th><th>时长 length</th><th>首次告警 first alert</th><th>火点 incidents</th></tr>",
    );
    for input in inputs {
        let alert = match (&input.summary.error, input.summary.first_alert_s) {
            (_, Some(second)) => format!("<span class=\"fire\">{}</span>", clock(second)),
            (Some(_), None) => "<span class=\"error\">未能分析 not analysed</span>".to_owned(),
            (None, None) => "–".to_owned(),
        };
        let _written = write!(
            page,
            "<tr><td>{}</td><td>{}</td><td>{alert}</td><td>{}</td></tr>",
            escaped(&input.summary.path),
            clock(input.summary.duration_s),
            input.summary.incidents
        );
    }
    page.push_str("</table>");
    for input in inputs {
        section(&mut page, input);
    }
    page.push_str("</body></html>\n");
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::analysis::summary::SummaryModel;

    #[test]
    fn the_page_holds_everything_and_fetches_nothing() {
        let summary = Summary {
            version: "0.1.0".into(),
            model: SummaryModel {
                name: "m".into(),
                version: "1".into(),
                sha256: "ab".repeat(32),
            },
            wall_s: 1.0,
            cpu_s: 2.0,
            inputs: Vec::new(),
        };
        let input = PageInput {
            summary: InputSummary {
                path: "<script>.mp4".into(),
                frames_in: 10,
                duration_s: 75.0,
                first_alert_s: Some(61.5),
                incidents: 1,
                ..Default::default()
            },
            pictures: vec![("a & b".into(), vec![1, 2, 3])],
            scores: vec![(60.0, Class::Smoke, 0.5)],
            tracks: Vec::new(),
            ..Default::default()
        };
        let text = page(&summary, &[input]);
        assert!(text.contains("&lt;script&gt;.mp4") && !text.contains("<script>"));
        assert!(text.contains("01:01.5") && text.contains("data:image/jpeg;base64,AQID"));
        assert!(!text.contains("http://") && !text.contains("https://"));
    }
}
