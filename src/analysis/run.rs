//! Analyses recordings one after the other, each through the same stages as a live camera.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tracing::info;

use super::cases::{Cases, WantedClip};
use super::files::{OutputError, Outputs};
use super::flight::Flight;
use super::looks::FrameLook;
use super::page::PageInput;
use super::records::{FrameRecord, TrackBook, TrackRecord};
use super::summary::{InputSummary, rounded};
use crate::clock::Clock;
use crate::flow::detection::Class;
use crate::flow::source::{Duty, Mount, SourceId};
use crate::flow::track::{Decision, JudgedFrame, TrackId};
use crate::geo::{CameraModel, Terrain};
use crate::pipeline::exit::root_cause;
use crate::pipeline::inference::Inference;
use crate::pipeline::link::{Received, link};
use crate::pipeline::runner::Crew;
use crate::pipeline::source::{self, Notice, Outlets, SourcePlan};
use crate::pipeline::stats::Board;
use crate::pipeline::stop::Stop;
use crate::stages::ingest::{Location, MediaWindow, Opener, RecordedTotals, SourceSpec};
use crate::stages::sample::Rates;
use crate::stages::track::TrackSettings;
use crate::stages::verify::mask::Mask;
use crate::stages::verify::rules::VerifySettings;

/// How recordings are looked at.
#[derive(Clone, Debug)]
pub struct AnalysisSettings {
    /// Whether the cameras stood still; a recording says nothing of it.
    pub mount: Mount,
    /// How hard.
    pub duty: Duty,
    /// How many frames a second each level looks at.
    pub rates: Rates,
    /// What a track must show.
    pub verify: VerifySettings,
    /// Where nothing is reported.
    pub masks: Vec<Mask>,
    /// Which parts of the picture nobody may see.
    pub privacy: Vec<crate::stages::blank::Blank>,
    /// Threads of the decoder.
    pub decoder_threads: u32,
    /// The ground; none stands for level ground at take-off.
    pub ground: Option<Arc<Terrain>>,
    /// The lens, where the telemetry does not tell it.
    pub lens: Option<CameraModel>,
}

/// A detection at or above this score during a screening asks for a closer look at its surroundings.
const HINT: f32 = 0.2;
/// A closer look begins so long before the hint …
const BEFORE: Duration = Duration::from_secs(3);
/// … and ends so long after it.
const AFTER: Duration = Duration::from_secs(9);

/// What runs the analysis of one recording after the other.
pub struct Analyst<'a> {
    /// The shared model.
    pub inference: &'a Inference,
    /// Opens recordings.
    pub opener: Arc<dyn Opener>,
    /// Tells the time.
    pub clock: Arc<dyn Clock>,
    /// Ends the run early.
    pub stop: Stop,
    /// How recordings are looked at.
    pub settings: AnalysisSettings,
}

/// What one pass over a recording gave.
#[derive(Default)]
struct Pass {
    totals: Option<RecordedTotals>,
    error: Option<String>,
    inferred: u64,
    sampled_out: u64,
}

/// What is gathered of a recording over its passes.
#[derive(Default)]
struct Findings {
    book: TrackBook,
    tracks: Vec<TrackRecord>,
    alerts: Vec<(TrackId, f64)>,
    pictures: Vec<(String, Vec<u8>)>,
    scores: BTreeMap<(u64, Class), f64>,
    hints: Vec<f64>,
    cases: Option<Cases>,
}

/// Key frames further apart than this are no screening: all frames are read instead.
const SCREENING_BOUND: Duration = Duration::from_secs(30);

impl Analyst<'_> {
    /// Analyses one recording and writes what was found; `progress` is told media seconds and frames.
    pub fn analyse(
        &self,
        path: &Path,
        outputs: &mut Outputs,
        progress: &mut dyn FnMut(f64, u64),
    ) -> Result<PageInput, OutputError> {
        let shown = path.display().to_string();
        let mut summary = InputSummary {
            path: shown.clone(),
            ..InputSummary::default()
        };
        let mut findings = Findings::default();
        match super::files::sha256_of(path) {
            Ok(hash) => summary.sha256 = Some(hash),
            Err(error) => summary.error = Some(format!("cannot read {shown}: {error}")),
        }
        if summary.error.is_none() {
            // The ids of a recording's events follow from its bytes: the same recording gives the same events.
            let seed = summary
                .sha256
                .as_deref()
                .and_then(|hash| u64::from_str_radix(hash.get(..16)?, 16).ok());
            let mount = self.settings.mount;
            let evidence = outputs.folder().join("evidence");
            match Cases::new(
                path,
                outputs.recording(),
                &evidence,
                mount,
                seed.unwrap_or(0),
                self.settings.ground.clone(),
                self.settings.lens,
            ) {
                Ok(cases) => findings.cases = Some(cases),
                Err(why) => summary.error = Some(why),
            }
        }
        if summary.error.is_none() {
            self.look(path, &mut summary, &mut findings, outputs, progress)?;
        }
        findings
            .tracks
            .sort_by(|a, b| a.first_s.total_cmp(&b.first_s).then(a.track.cmp(&b.track)));
        for track in &findings.tracks {
            outputs.track(track)?;
        }
        let mut flight = Flight::default();
        if let Some(cases) = &findings.cases {
            summary.time_calibration = cases.calibration();
            flight = cases.flight.clone();
            summary.incidents = cases.incidents.len() as u64;
            for event in &cases.events {
                outputs.event(event)?;
            }
            for incident in cases.incidents.values() {
                outputs.place(incident);
                flight.fire(incident);
            }
            if !flight.is_empty() {
                outputs.flight(&flight);
            }
            self.cut_clips(path, cases, outputs);
        }
        summary.alerts = findings.alerts.len() as u64;
        summary.first_alert_s = findings.alerts.iter().map(|(_, second)| *second).reduce(f64::min);
        let scores = findings
            .scores
            .iter()
            .map(|((tenth, class), score)| (*tenth as f64 / 10.0, *class, *score));
        Ok(PageInput {
            scores: scores.collect(),
            summary,
            tracks: findings.tracks,
            pictures: findings.pictures,
            flight,
        })
    }

    fn look(
        &self,
        path: &Path,
        summary: &mut InputSummary,
        findings: &mut Findings,
        outputs: &mut Outputs,
        progress: &mut dyn FnMut(f64, u64),
    ) -> Result<(), OutputError> {
        let duty = self.settings.duty;
        let pass = self.pass(path, duty, None, findings, outputs, progress)?;
        let totals = pass.totals.unwrap_or_default();
        summary.frames_in = totals.frames_in;
        summary.frames_inferred = pass.inferred;
        summary.frames_skipped = totals.undecoded + pass.sampled_out;
        summary.frames_lost = totals
            .frames_in
            .saturating_sub(pass.inferred + summary.frames_skipped);
        summary.duration_s = rounded(totals.duration.as_secs_f64(), 3);
        summary.error = pass.error;
        if totals.is_cut_short() && summary.error.is_none() {
            let claimed = totals.claimed_duration.unwrap_or_default().as_secs_f64();
            summary.error = Some(format!(
                "{} ends after {:.1} s though its header says {claimed:.1} s: it is truncated or damaged; what is \
                 there was analysed",
                path.display(),
                totals.duration.as_secs_f64()
            ));
        }
        if duty == Duty::Patrol && !self.stop.is_requested() {
            for window in closer_looks(&findings.hints) {
                let mut closer = Findings {
                    cases: findings.cases.take(),
                    ..Findings::default()
                };
                let pass = self.pass(path, Duty::Watch, Some(window), &mut closer, outputs, progress)?;
                // Frames that were skipped at first and are now looked at count once.
                let further = pass.inferred.min(summary.frames_skipped);
                summary.frames_inferred += further;
                summary.frames_skipped -= further;
                findings.tracks.append(&mut closer.tracks);
                findings.alerts.append(&mut closer.alerts);
                findings.pictures.append(&mut closer.pictures);
                findings.scores.append(&mut closer.scores);
                findings.cases = closer.cases;
            }
        }
        Ok(())
    }

    /// Cuts the clips of alarms out of the recording, without transcoding; one that cannot be cut is logged.
    fn cut_clips(&self, path: &Path, cases: &Cases, outputs: &Outputs) {
        use crate::stages::evidence::clip::{cut_clip, located_clip};
        use crate::stages::evidence::recording::clip_of_recording;
        use crate::stages::evidence::ring::ClipLimits;
        let id = SourceId::new(path.display().to_string());
        let spec = Arc::new(SourceSpec::recorded(id, Location::File(PathBuf::from(path))));
        let stop = |wait: Duration| {
            if wait.is_zero() {
                self.stop.is_requested()
            } else {
                self.stop.wait_for(wait)
            }
        };
        if !self.settings.privacy.is_empty() {
            // Encoded video cannot be blanked.
            return;
        }
        let mut last = None;
        for WantedClip {
            name,
            alarm,
            captured,
        } in &cases.clips
        {
            let limits = ClipLimits::default();
            // One clip shows all that is alerted before it ends.
            if last.is_some_and(|until| *alarm < until) {
                continue;
            }
            last = Some(*alarm + limits.after);
            let opener = self.opener.as_ref();
            let clip = clip_of_recording(&spec, opener, self.clock.as_ref(), &stop, name, *alarm, &limits);
            let target = outputs.folder().join("evidence").join(name);
            let outcome = match clip {
                Ok(clip) => match cut_clip(&clip, &target) {
                    Ok(_written) => {
                        let before = clip.start().map_or(Duration::ZERO, |start| alarm.since(start));
                        let begins = captured.at - before;
                        cases
                            .poses
                            .as_ref()
                            .map_or(Ok(None), |poses| {
                                located_clip(&clip, &target, begins, poses.as_ref(), &cases.camera)
                            })
                            .map(|_path| ())
                            .map_err(|error| error.to_string())
                    }
                    Err(error) => Err(error.to_string()),
                },
                Err(error) => Err(error.to_string()),
            };
            if let Err(why) = outcome {
                tracing::warn!(clip = %target.display(), %why, "a clip could not be cut");
            }
        }
    }

    /// Runs one pass over a recording or a window of it.
    fn pass(
        &self,
        path: &Path,
        duty: Duty,
        window: Option<MediaWindow>,
        findings: &mut Findings,
        outputs: &mut Outputs,
        progress: &mut dyn FnMut(f64, u64),
    ) -> Result<Pass, OutputError> {
        let id = SourceId::new(path.display().to_string());
        let mut spec = SourceSpec::recorded(id, Location::File(PathBuf::from(path)));
        spec.decoder_threads = self.settings.decoder_threads;
        // Screening accepts key frames further apart than a live camera may have them, but not any distance.
        spec.key_frame_bound = SCREENING_BOUND;
        let plan = SourcePlan {
            spec: Arc::new(spec),
            mount: self.settings.mount,
            duty,
            rates: self.settings.rates,
            track: TrackSettings::default(),
            verify: self.settings.verify,
            masks: self.settings.masks.clone(),
            // A recording does not say at which preset it was made: only masks of every preset hold.
            turning: None,
            privacy: self.settings.privacy.clone(),
            window,
            thinning: Arc::default(),
        };
        let board = Board::default();
        let mut crew = Crew::new(board.clone(), self.stop.clone());
        let (judged, frames) = link::<JudgedFrame>("record", 2, Arc::clone(&self.clock));
        let (notices, news) = link::<Notice>("notices", 64, Arc::clone(&self.clock));
        let outlets = Outlets {
            judged: Box::new(move |frame| judged.send(frame).is_ok()),
            telemetry: Box::new(|_piece| {}),
            notices,
            tap: None,
            large: None,
        };
        let started = source::start(
            &mut crew,
            &board,
            self.inference,
            &plan,
            Arc::clone(&self.opener),
            &self.clock,
            outlets,
        );
        let gauges = match started {
            Ok(gauges) => gauges,
            Err(error) => {
                return Ok(Pass {
                    error: Some(format!("cannot start a thread: {error}")),
                    ..Pass::default()
                });
            }
        };
        let mut count = 0;
        let is_screening = duty == Duty::Patrol;
        while let Some(frame) = frames.receive() {
            count += 1;
            progress(frame.meta.pts.as_secs_f64(), count);
            if !is_screening && let Some(look) = FrameLook::of(&frame, plan.mount) {
                outputs.look(&look)?;
            }
            findings.take(frame, is_screening, outputs)?;
        }
        let endings = crew.join();
        let mut pass = Pass {
            inferred: gauges.inferred.load(Ordering::Relaxed),
            sampled_out: gauges.frames.skipped(),
            ..Pass::default()
        };
        while let Received::Item(notice) = news.receive_within(Duration::ZERO) {
            if let Notice::Ended(_, outcome) = notice {
                match outcome {
                    Ok(totals) => pass.totals = Some(totals),
                    Err(error) => pass.error = Some(error.to_string()),
                }
            }
        }
        if let Some(cause) = root_cause(&endings) {
            pass.error = Some(format!("{} {}", cause.thread, cause.exit));
        }
        if !is_screening {
            findings.tracks.extend(findings.book.close());
        }
        info!(path = %path.display(), frames = count, "a pass ended");
        Ok(pass)
    }
}

impl Findings {
    /// Takes in a judged frame.
    fn take(
        &mut self,
        frame: JudgedFrame,
        is_screening: bool,
        outputs: &mut Outputs,
    ) -> Result<(), OutputError> {
        let second = frame.meta.pts.as_secs_f64();
        if is_screening {
            if frame.detections.iter().any(|(seen, _)| seen.score >= HINT) {
                self.hints.push(second);
            }
        } else {
            self.tracks.extend(self.book.add(&frame));
        }
        if let Some(record) = FrameRecord::of(&frame) {
            outputs.frame(&record)?;
            for seen in &record.detections {
                let best = self
                    .scores
                    .entry(((second * 10.0) as u64, seen.class))
                    .or_default();
                *best = best.max(seen.score);
            }
        }
        outputs.annotate(&frame)?;
        if is_screening {
            return Ok(());
        }
        for (track, verdict) in &frame.tracks {
            if verdict.decision == Decision::Fire && !self.alerts.iter().any(|(id, _)| *id == track.id) {
                self.alerts.push((track.id, rounded(second, 3)));
            }
        }
        if let Some(cases) = &mut self.cases {
            for name in cases.take(frame) {
                if let Ok(jpeg) = std::fs::read(outputs.folder().join("evidence").join(&name)) {
                    self.pictures.push((format!("{name} · {second:.1} s"), jpeg));
                }
            }
        }
        Ok(())
    }
}

/// Joins the surroundings of hints into windows that do not overlap.
fn closer_looks(hints: &[f64]) -> Vec<MediaWindow> {
    use crate::flow::time::MediaTime;
    let mut windows: Vec<(f64, f64)> = Vec::new();
    for hint in hints {
        let (start, end) = ((hint - BEFORE.as_secs_f64()).max(0.0), hint + AFTER.as_secs_f64());
        match windows.last_mut() {
            Some(last) if start <= last.1 => last.1 = last.1.max(end),
            _ => windows.push((start, end)),
        }
    }
    windows
        .into_iter()
        .map(|(start, end)| MediaWindow {
            start: MediaTime::from_secs_f64(start),
            end: Some(MediaTime::from_secs_f64(end)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn surroundings_that_overlap_are_looked_at_once() {
        let looks: Vec<_> = closer_looks(&[1.0, 3.0, 40.0])
            .iter()
            .map(|window| (window.start.as_secs_f64(), window.end.unwrap().as_secs_f64()))
            .collect();
        assert_eq!(looks, [(0.0, 12.0), (37.0, 49.0)]);
    }
}
