//! Reads one source on the thread that calls: a live one for ever, a recorded one to its end.

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use tracing::{info, warn};

use super::error::{IngestError, IngestErrorKind};
use super::health::{LumaGrid, Sight, SightMonitor};
use super::reader::{Decoded, Opener, Read, Reader, ReaderCounts, Telemetry};
use super::spec::OpenRequest;
use super::stats::IngestStats;
use super::supervisor::{StateChange, Supervisor, Verdict};
use super::told::Told;
use crate::clock::Clock;
use crate::flow::frame::{Frame, FrameMeta, Gap};
use crate::flow::source::SourceState;
use crate::flow::time::{MediaTime, MonotonicTime};
use crate::telemetry::clock_offset::ClockOffset;

/// How long one look at a reader may take, which bounds how late a stop is seen.
const LOOK: Duration = Duration::from_millis(100);

/// How often a lost server is asked whether it is back.
const RING_EVERY: Duration = Duration::from_millis(500);

/// Frames whose time does not grow are placed this much after the one before.
const SMALLEST_STEP: Duration = Duration::from_millis(1);

/// What ingest hands on.
#[derive(Debug)]
pub enum Ingested {
    /// A decoded frame.
    Frame(Frame),
    /// Telemetry from a track beside the video.
    Telemetry(Telemetry),
    /// The source's state changed.
    State(StateChange),
    /// The stream is read by this decoder.
    Decoder(String),
    /// The camera's clock is off by more than it may be, or no longer is.
    Clock(ClockOffset),
    /// Patrol fell back to watch (true) because key frames are too far apart, or returned to patrol (false).
    FallsBack(bool),
}

/// What the driver is given by whoever runs its thread.
pub struct Surroundings<'a> {
    /// Tells the time.
    pub clock: &'a dyn Clock,
    /// Waits up to a duration and says whether to stop; a duration of zero only asks.
    pub stop: &'a dyn Fn(Duration) -> bool,
    /// Where to count.
    pub stats: &'a IngestStats,
}

/// What a recording came to.
#[derive(Clone, Debug, Default)]
pub struct RecordedTotals {
    /// Encoded pictures in the recording, or in the window asked for.
    pub frames_in: u64,
    /// Of those, handed on as frames.
    pub delivered: u64,
    /// Of those, left undecoded on purpose (patrol).
    pub undecoded: u64,
    /// Of those, so broken that no picture came of them.
    pub unreadable: u64,
    /// Of those delivered, flagged as damaged by the decoder.
    pub damaged: u64,
    /// Of those delivered, given a new time because theirs did not grow.
    pub retimed: u64,
    /// From the first frame to the end of the last.
    pub duration: Duration,
    /// How long the container says the recording is, where it does.
    pub claimed_duration: Option<Duration>,
    /// Whether it was read to its end; false after a stop.
    pub is_complete: bool,
    /// What ended the reading before the end, after some frames had been delivered.
    pub broken_by: Option<Arc<IngestError>>,
}

impl RecordedTotals {
    /// Says whether the recording ends more than a second before its container says.
    #[must_use]
    pub fn is_cut_short(&self) -> bool {
        self.is_complete
            && self
                .claimed_duration
                .is_some_and(|claimed| claimed > self.duration + Duration::from_secs(1) + claimed / 50)
    }
}

/// Gives frames their place in the source: number, growing media time, gap.
struct Numbering {
    next: u64,
    last_pts: Option<MediaTime>,
    step: Duration,
    gap: Gap,
}

impl Numbering {
    const fn new() -> Self {
        Self {
            next: 0,
            last_pts: None,
            step: Duration::from_millis(40),
            gap: Gap {
                behind: 0,
                overtaken: 0,
                stale: 0,
                skipped: 0,
            },
        }
    }

    /// Returns the frame and whether its time had to be corrected.
    fn number(&mut self, request: &OpenRequest, decoded: Decoded) -> (Frame, bool) {
        self.gap.add(decoded.gap);
        let (pts, is_retimed) = match (decoded.pts, self.last_pts) {
            (Some(pts), Some(last)) if pts <= last => (last + SMALLEST_STEP, true),
            (Some(pts), _) => (pts, false),
            (None, Some(last)) => (last + self.step, true),
            (None, None) => (request.origin, true),
        };
        if let (Some(last), false) = (self.last_pts, is_retimed) {
            self.step = pts.since(last);
        }
        self.last_pts = Some(pts);
        let meta = FrameMeta {
            source: request.spec.id.clone(),
            sequence: self.next,
            pts,
            captured: decoded.captured,
            arrived: decoded.arrived,
            is_key: decoded.is_key,
            gap: std::mem::take(&mut self.gap),
            duty: decoded.duty,
        };
        self.next += 1;
        (
            Frame {
                meta,
                picture: decoded.picture,
            },
            is_retimed,
        )
    }
}

/// Reads a recording from its beginning (or the window's) to its end. Nothing is lost: a slow `emit` slows the reading.
pub fn run_recorded(
    request: &OpenRequest,
    opener: &dyn Opener,
    around: &Surroundings<'_>,
    emit: &mut dyn FnMut(Ingested) -> ControlFlow<()>,
) -> Result<RecordedTotals, IngestError> {
    around.stats.connecting();
    let outcome = read_recorded(request, opener, around, emit);
    if let Err(error) = &outcome {
        around.stats.failed(error.kind());
    }
    outcome
}

fn read_recorded(
    request: &OpenRequest,
    opener: &dyn Opener,
    around: &Surroundings<'_>,
    emit: &mut dyn FnMut(Ingested) -> ControlFlow<()>,
) -> Result<RecordedTotals, IngestError> {
    let mut reader = opener.open(request)?;
    let mut numbering = Numbering::new();
    let mut totals = RecordedTotals::default();
    let mut counts = ReaderCounts::default();
    let mut progress = around.clock.monotonic();
    let mut first_pts = None;
    let mut told = Told::default();
    let mut undecoded_seen = 0;
    loop {
        if (around.stop)(Duration::ZERO) {
            break;
        }
        let flow = match reader.read(LOOK) {
            Read::Frame(decoded) => {
                progress = around.clock.monotonic();
                told.look(reader.as_ref(), around.stats, emit);
                let (frame, is_retimed) = numbering.number(request, decoded);
                first_pts.get_or_insert(frame.meta.pts);
                totals.delivered += 1;
                totals.retimed += u64::from(is_retimed);
                if is_retimed {
                    around.stats.retimed();
                }
                let flow = emit(Ingested::Frame(frame));
                progress = around.clock.monotonic().max(progress);
                flow
            }
            Read::Telemetry(telemetry) => emit(Ingested::Telemetry(telemetry)),
            Read::Nothing => {
                let seen = reader.counts();
                if seen.packets > undecoded_seen {
                    undecoded_seen = seen.packets;
                    progress = around.clock.monotonic();
                }
                let silent_for = around.clock.monotonic().since(progress);
                if seen.packets == 0 && silent_for >= request.spec.deadlines.first_packet {
                    return Err(IngestError::new(
                        IngestErrorKind::NotMedia,
                        &request.location().to_string(),
                        format!(
                            "no picture came out of it within {:?}",
                            request.spec.deadlines.first_packet
                        ),
                    ));
                }
                if silent_for >= request.spec.deadlines.recorded_progress {
                    return Err(IngestError::new(
                        IngestErrorKind::Hung,
                        &request.location().to_string(),
                        format!("nothing came for {:?}", request.spec.deadlines.recorded_progress),
                    ));
                }
                ControlFlow::Continue(())
            }
            Read::Ended => {
                totals.is_complete = true;
                ControlFlow::Break(())
            }
            Read::Failed(error) if totals.delivered == 0 => return Err(error),
            Read::Failed(error) => {
                totals.broken_by = Some(Arc::new(error));
                ControlFlow::Break(())
            }
        };
        let now = reader.counts();
        around.stats.advance(&counts, &now);
        counts = now;
        if flow.is_break() {
            break;
        }
    }
    totals.frames_in = counts.packets;
    totals.undecoded = counts.undecoded;
    totals.damaged = counts.damaged;
    totals.unreadable = if totals.is_complete && request.window.is_none() {
        counts.packets.saturating_sub(counts.undecoded + totals.delivered)
    } else {
        0
    };
    totals.claimed_duration = counts.claimed_duration;
    if let (Some(first), Some(last)) = (first_pts, numbering.last_pts) {
        totals.duration = last.since(first) + numbering.step;
    }
    if request.evidence_only {
        totals.unreadable = 0;
        return Ok(totals);
    }
    if totals.is_complete && counts.packets == 0 && request.window.is_none() {
        return Err(IngestError::new(
            IngestErrorKind::Truncated,
            &request.location().to_string(),
            "it ends before its first picture",
        ));
    }
    if totals.is_complete && totals.delivered == 0 && counts.packets > 0 && counts.undecoded < counts.packets
    {
        return Err(IngestError::new(
            IngestErrorKind::Undecodable,
            &request.location().to_string(),
            format!("none of its {} pictures could be decoded", counts.packets),
        ));
    }
    Ok(totals)
}

/// Reads a live source until told to stop: opens, supervises, tears down and opens anew, for ever.
pub fn run_live(
    request: &OpenRequest,
    opener: &dyn Opener,
    around: &Surroundings<'_>,
    emit: &mut dyn FnMut(Ingested) -> ControlFlow<()>,
) {
    let spec = &request.spec;
    let now = around.clock.monotonic();
    let seed = spec
        .id
        .as_str()
        .bytes()
        .fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
            (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
        });
    let mut live = Live {
        request: request.clone(),
        supervisor: Supervisor::new(spec.deadlines, !request.evidence_only, seed, now),
        sight: SightMonitor::new(spec.frozen_after, spec.covered_after),
        numbering: Numbering::new(),
        last_frame_at: now,
        told: Told::default(),
        fell_back: false,
    };
    loop {
        let started = around.clock.monotonic();
        live.supervisor.opening(started);
        live.sight.reset();
        live.place_in_media_time(started);
        around.stats.connecting();
        let outcome = match opener.open(&live.request) {
            Ok(mut reader) => {
                let outcome = live.watch(reader.as_mut(), around, emit);
                // Closed before the wait, so that a camera with one seat does not find us in it.
                drop(reader);
                outcome
            }
            Err(error) => ControlFlow::Continue(error),
        };
        let ControlFlow::Continue(error) = outcome else {
            return;
        };
        around.stats.failed(error.kind());
        let now = around.clock.monotonic();
        let (wait, change) = live.supervisor.failed(error.kind(), now);
        if change.is_some() {
            warn!(source = %spec.id, wait_s = wait.as_secs_f64(), %error, "source lost");
        } else if live.supervisor.failures().is_power_of_two() {
            warn!(source = %spec.id, failures = live.supervisor.failures(), %error, "source still away");
        }
        if report(change, emit).is_break()
            || wait_for_server(&live.request, opener, around, error.kind(), wait)
        {
            return;
        }
    }
}

/// Waits before the next attempt; returns true to stop. A server that was away and answers again ends the wait; one that
/// answers all the time and is of no use does not, or it would be asked without pause.
fn wait_for_server(
    request: &OpenRequest,
    opener: &dyn Opener,
    around: &Surroundings<'_>,
    kind: IngestErrorKind,
    wait: Duration,
) -> bool {
    let mut doorbell = if kind == IngestErrorKind::Unauthorised {
        None
    } else {
        opener.doorbell(request)
    };
    let started = around.clock.monotonic();
    let mut was_away = false;
    loop {
        let remaining = wait.saturating_sub(around.clock.monotonic().since(started));
        if remaining.is_zero() {
            return (around.stop)(Duration::ZERO);
        }
        if let Some(doorbell) = &mut doorbell {
            let is_answered = doorbell.is_answered();
            if is_answered && was_away {
                info!(source = %request.spec.id, "server answers again");
                return (around.stop)(Duration::ZERO);
            }
            was_away |= !is_answered;
        }
        if (around.stop)(if doorbell.is_some() {
            remaining.min(RING_EVERY)
        } else {
            remaining
        }) {
            return true;
        }
    }
}

/// A live source over all its connections.
struct Live {
    request: OpenRequest,
    supervisor: Supervisor,
    sight: SightMonitor,
    numbering: Numbering,
    last_frame_at: MonotonicTime,
    told: Told,
    fell_back: bool,
}

impl Live {
    /// Puts the start of the next connection where media time would be by now, had the stream gone on.
    fn place_in_media_time(&mut self, now: MonotonicTime) {
        if let Some(last) = self.numbering.last_pts {
            self.request.origin = last + now.since(self.last_frame_at).max(SMALLEST_STEP);
            if let Some(tap) = &self.request.tap {
                tap.discontinuity();
            }
        }
    }

    /// Reads one connection; gives the error that ended it, or breaks to stop.
    fn watch(
        &mut self,
        reader: &mut dyn Reader,
        around: &Surroundings<'_>,
        emit: &mut dyn FnMut(Ingested) -> ControlFlow<()>,
    ) -> ControlFlow<(), IngestError> {
        let location = self.request.location().to_string();
        let mut counts = ReaderCounts::default();
        loop {
            if (around.stop)(Duration::ZERO) {
                return ControlFlow::Break(());
            }
            let read = reader.read(LOOK);
            let seen = reader.counts();
            around.stats.advance(&counts, &seen);
            counts = seen;
            report(
                self.supervisor
                    .packets(counts.packets, counts.given(), counts.last_packet),
                emit,
            )?;
            match read {
                Read::Frame(decoded) => {
                    self.told.look(reader, around.stats, emit);
                    self.frame(decoded, around, emit)?;
                }
                Read::Telemetry(telemetry) => emit(Ingested::Telemetry(telemetry))?,
                Read::Nothing => {
                    let (verdict, change) = self.supervisor.silence(around.clock.monotonic());
                    report(change, emit)?;
                    if let Verdict::Rebuild(kind) = verdict {
                        return ControlFlow::Continue(IngestError::new(
                            kind,
                            &location,
                            silence_in_words(kind),
                        ));
                    }
                }
                Read::Ended => {
                    return ControlFlow::Continue(IngestError::new(
                        IngestErrorKind::Lost,
                        &location,
                        "the live stream ended",
                    ));
                }
                Read::Failed(error) => return ControlFlow::Continue(error),
            }
        }
    }

    fn frame(
        &mut self,
        decoded: Decoded,
        around: &Surroundings<'_>,
        emit: &mut dyn FnMut(Ingested) -> ControlFlow<()>,
    ) -> ControlFlow<()> {
        let now = around.clock.monotonic();
        let sight = if self.sight.wants(decoded.is_key, now) {
            self.sight.look(LumaGrid::of(&decoded.picture), now)
        } else {
            match self.supervisor.state() {
                SourceState::Frozen => Sight::Frozen,
                SourceState::Covered => Sight::Covered,
                _ => Sight::Clear,
            }
        };
        report(self.supervisor.frame(sight, now), emit)?;
        let falls_back = self.request.duty.falls_back();
        if falls_back != self.fell_back {
            self.fell_back = falls_back;
            emit(Ingested::FallsBack(falls_back))?;
        }
        if now.since(decoded.arrived) > self.request.spec.max_staleness {
            around.stats.lost(decoded.gap.overtaken, 1);
            self.numbering.gap.add(decoded.gap);
            self.numbering.gap.add(Gap {
                stale: 1,
                ..Gap::default()
            });
            return ControlFlow::Continue(());
        }
        around.stats.lost(decoded.gap.overtaken, 0);
        let (frame, is_retimed) = self.numbering.number(&self.request, decoded);
        if is_retimed {
            around.stats.retimed();
        }
        self.last_frame_at = frame.meta.arrived;
        emit(Ingested::Frame(frame))
    }
}

fn silence_in_words(kind: IngestErrorKind) -> &'static str {
    match kind {
        IngestErrorKind::Undecodable => "packets arrive and no picture comes of them",
        _ => "no packet arrives",
    }
}

fn report(change: Option<StateChange>, emit: &mut dyn FnMut(Ingested) -> ControlFlow<()>) -> ControlFlow<()> {
    change.map_or(ControlFlow::Continue(()), |change| emit(Ingested::State(change)))
}
