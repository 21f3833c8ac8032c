//! Opens sources with GStreamer: one pipeline per source, pulled from the thread that reads.

use std::sync::{Arc, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use jiff::Timestamp;

use super::chain::{self, Chain};
use super::container::{Index, index_of};
use super::doorbell::RtspDoorbell;
use super::error::{IngestError, IngestErrorKind};
use super::fault;
use super::location::Location;
use super::picture::picture_of;
use super::reader::{Decoded, Doorbell, Opener, Read, Reader, ReaderCounts, Telemetry, TelemetryKind};
use super::senderclock::{ARRIVAL_SIGMA_S, CameraClock, REPORT_SIGMA_S, STAMP_SIGMA_S};
use super::spec::{MediaWindow, OpenRequest};
use super::state::{change_state, shut_down};
use super::wire::{Wire, stream_time};
use crate::clock::Clock;
use crate::flow::frame::Gap;
use crate::flow::source::Liveness;
use crate::flow::time::{CaptureClock, CaptureTime, MediaTime, MonotonicTime};
use crate::telemetry::clock_offset::ClockOffset;
use crate::telemetry::klv::sei::PictureTime;

/// How long one wait on the sink may take before the bus is looked at.
const SLICE: Duration = Duration::from_millis(100);

/// How often sender reports are read.
const REPORTS_EVERY: Duration = Duration::from_secs(1);

/// Opens sources with GStreamer.
pub struct GstOpener {
    clock: Arc<dyn Clock>,
}

impl GstOpener {
    /// Loads the library.
    pub fn new(clock: Arc<dyn Clock>) -> Result<Self, IngestError> {
        gst::init().map_err(|error| {
            IngestError::new(IngestErrorKind::PluginMissing, "", "GStreamer cannot be loaded")
                .caused_by(error)
        })?;
        prefer_sound_demuxers();
        Ok(Self { clock })
    }
}

/// Leaves HLS to the older of the library's two demuxers: with the newer one, closing a stream ends the whole process
/// (GStreamer 1.22 clears a mutex that is still locked, and `GLib` aborts).
fn prefer_sound_demuxers() {
    for name in ["hlsdemux2", "dashdemux2", "mssdemux2"] {
        if let Some(factory) = gst::ElementFactory::find(name) {
            factory.set_rank(gst::Rank::NONE);
        }
    }
}

impl Opener for GstOpener {
    fn open(&self, request: &OpenRequest) -> Result<Box<dyn Reader>, IngestError> {
        let location = request.location().to_string();
        if let Location::File(path) = request.location() {
            check_file(path, &location)?;
        }
        let wire = Arc::new(Wire::new(request.clone(), Arc::clone(&self.clock)));
        let chain = chain::build(request, &wire)?;
        // Made first, so that the pipeline is shut down by its drop whatever goes wrong from here on.
        let mut reader = GstReader {
            chain,
            wire,
            location,
            deadline: request.spec.deadlines.state_change,
            reports_read: None,
            camera_clock: CameraClock::default(),
            claimed_duration: None,
            telemetry_seen: false,
        };
        match request.window {
            None => reader.change_state(gst::State::Playing)?,
            Some(window) => reader.play_window(window)?,
        }
        Ok(Box::new(reader))
    }

    fn doorbell(&self, request: &OpenRequest) -> Option<Box<dyn Doorbell>> {
        match request.location() {
            Location::Rtsp(address) => Some(Box::new(RtspDoorbell::new(address)?)),
            _ => None,
        }
    }
}

/// Finds what is wrong with a file before a pipeline is built for it: the library's words for these are poor.
fn check_file(path: &std::path::Path, location: &str) -> Result<(), IngestError> {
    let metadata = std::fs::metadata(path).map_err(|error| {
        let (kind, detail) = match error.kind() {
            std::io::ErrorKind::NotFound => (IngestErrorKind::NotFound, "it does not exist"),
            _ => (IngestErrorKind::Unreadable, "it cannot be read"),
        };
        IngestError::new(kind, location, detail).caused_by(error)
    })?;
    if metadata.is_dir() {
        return Err(IngestError::new(
            IngestErrorKind::BadLocation,
            location,
            "it is a folder, expected a file",
        ));
    }
    if metadata.is_file() && metadata.len() == 0 {
        return Err(IngestError::new(IngestErrorKind::Empty, location, "it is empty"));
    }
    let unreadable = |error: std::io::Error| {
        IngestError::new(IngestErrorKind::Unreadable, location, "it cannot be opened").caused_by(error)
    };
    let mut file = std::fs::File::open(path).map_err(unreadable)?;
    if metadata.is_file() && index_of(&mut file).map_err(unreadable)? == Index::Missing {
        return Err(IngestError::new(
            IngestErrorKind::Truncated,
            location,
            "its index is missing, as after a recording that was cut off",
        ));
    }
    Ok(())
}

/// An open source.
struct GstReader {
    chain: Chain,
    wire: Arc<Wire>,
    location: String,
    deadline: Duration,
    reports_read: Option<MonotonicTime>,
    camera_clock: CameraClock,
    claimed_duration: Option<Duration>,
    telemetry_seen: bool,
}

impl GstReader {
    fn change_state(&self, state: gst::State) -> Result<(), IngestError> {
        let changed = change_state(&self.chain.pipeline, state, self.deadline, &self.location);
        // What the streams refused says more than the state that could not be reached.
        changed.map_err(|error| self.wire.take_refusal().unwrap_or(error))
    }

    /// Seeks before playing, so that nothing outside the window comes out.
    fn play_window(&mut self, window: MediaWindow) -> Result<(), IngestError> {
        self.change_state(gst::State::Paused)?;
        let pipeline = &self.chain.pipeline;
        let deadline = gst::ClockTime::try_from(self.deadline).unwrap_or(gst::ClockTime::from_seconds(5));
        let (prerolled, state, _) = pipeline.state(deadline);
        if let Some(refusal) = self.wire.take_refusal() {
            return Err(refusal);
        }
        if prerolled.is_err() || state != gst::State::Paused {
            return Err(fault::first_on_bus(pipeline, &self.location).unwrap_or_else(|| {
                IngestError::new(
                    IngestErrorKind::Hung,
                    &self.location,
                    "its first picture did not come in time",
                )
            }));
        }
        let time = |at: MediaTime| gst::ClockTime::from_nseconds(u64::try_from(at.as_nanos()).unwrap_or(0));
        let (stop_type, stop) = match window.end {
            Some(end) => (gst::SeekType::Set, Some(time(end))),
            None => (gst::SeekType::None, None),
        };
        pipeline
            .seek(
                1.0,
                gst::SeekFlags::FLUSH | gst::SeekFlags::ACCURATE,
                gst::SeekType::Set,
                time(window.start),
                stop_type,
                stop,
            )
            .map_err(|error| {
                IngestError::new(
                    IngestErrorKind::Other,
                    &self.location,
                    "it cannot be read from the middle",
                )
                .caused_by(error)
            })?;
        self.change_state(gst::State::Playing)
    }

    fn pull(&self, timeout: Duration) -> Option<gst::Sample> {
        self.chain
            .frames
            .try_pull_sample(gst::ClockTime::try_from(timeout).unwrap_or(gst::ClockTime::ZERO))
    }

    fn decoded(&mut self, sample: &gst::Sample) -> Option<Decoded> {
        let buffer = sample.buffer()?;
        let (reached, overtaken) = self.wire.pulled(buffer);
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let pts = buffer.pts().and_then(|pts| self.wire.place(segment, pts));
        let now = self.wire.clock.monotonic();
        let arrived = reached.map_or(now, |reached| reached.arrived);
        let (skipped, behind) = reached.map_or((0, 0), |reached| (reached.skipped, reached.behind));
        let stamp = reached.and_then(|reached| reached.stamp);
        Some(Decoded {
            picture: picture_of(sample)?,
            pts,
            captured: self.captured(buffer.pts(), stamp, segment, now, arrived),
            arrived,
            is_key: reached.is_some_and(|reached| reached.is_key),
            gap: Gap {
                behind,
                overtaken,
                stale: 0,
                skipped,
            },
            duty: self.wire.request.duty.effective(),
        })
    }

    fn captured(
        &mut self,
        pts: Option<gst::ClockTime>,
        stamp: Option<PictureTime>,
        segment: &gst::FormattedSegment<gst::ClockTime>,
        now: MonotonicTime,
        arrived: MonotonicTime,
    ) -> Option<CaptureTime> {
        // A clock that was set by nothing says less than any other; what it says is left to the telemetry.
        let stamp = stamp
            .filter(|stamp| stamp.locked)
            .and_then(|stamp| Timestamp::from_microsecond(i64::try_from(stamp.time_us).ok()?).ok());
        if self.wire.request.spec.liveness == Liveness::Recorded {
            if let Some(at) = stamp {
                return Some(CaptureTime {
                    at,
                    clock: CaptureClock::Klv,
                    sigma_s: STAMP_SIGMA_S,
                });
            }
            let offset = jiff::SignedDuration::from_nanos(stream_time(segment, pts?)?);
            let at = self.wire.created()?.checked_add(offset).ok()?;
            // Containers count whole seconds, and some recorders write the time of closing the file.
            return Some(CaptureTime {
                at,
                clock: CaptureClock::Container,
                sigma_s: 1.0,
            });
        }
        let is_rtsp = matches!(self.wire.request.location(), Location::Rtsp(_));
        if is_rtsp
            && self
                .reports_read
                .is_none_or(|read| now.since(read) >= REPORTS_EVERY)
        {
            self.reports_read = Some(now);
            self.chain.sender.refresh();
        }
        let latency = if is_rtsp {
            self.wire.request.spec.latency
        } else {
            Duration::ZERO
        };
        let arrived_at = self
            .wire
            .clock
            .wall()
            .checked_sub(now.since(arrived) + latency)
            .ok()?;
        let stamped = stamp.map(|at| CaptureTime {
            at,
            clock: CaptureClock::Klv,
            sigma_s: STAMP_SIGMA_S,
        });
        let reported = || {
            let at = pts.and_then(|pts| self.chain.sender.taken_at(pts))?;
            Some(CaptureTime {
                at,
                clock: CaptureClock::RtcpSenderReport,
                sigma_s: REPORT_SIGMA_S,
            })
        };
        if let Some(claimed) = stamped.or_else(reported) {
            return Some(self.camera_clock.taken(claimed, now, arrived_at));
        }
        Some(CaptureTime {
            at: arrived_at,
            clock: CaptureClock::Arrival,
            sigma_s: ARRIVAL_SIGMA_S,
        })
    }

    fn telemetry(&mut self) -> Option<Telemetry> {
        let sinks = self
            .chain
            .telemetry
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.telemetry_seen = !sinks.is_empty();
        sinks.iter().find_map(|(kind, sink)| {
            let sample = sink.try_pull_sample(gst::ClockTime::ZERO)?;
            self.piece(*kind, &sample)
        })
    }

    fn piece(&self, kind: TelemetryKind, sample: &gst::Sample) -> Option<Telemetry> {
        let buffer = sample.buffer()?;
        let segment = sample.segment()?.downcast_ref::<gst::ClockTime>()?;
        let pts = self.wire.place(segment, buffer.pts().or_else(|| buffer.dts())?)?;
        let bytes = Arc::from(buffer.map_readable().ok()?.as_slice());
        Some(Telemetry {
            kind,
            bytes,
            pts,
            arrived: self.wire.clock.monotonic(),
        })
    }

    /// Returns the end or the failure that the bus knows of.
    fn verdict_of_bus(&self) -> Option<Read> {
        if let Some(refusal) = self.wire.take_refusal() {
            return Some(Read::Failed(refusal));
        }
        let bus = self.chain.pipeline.bus()?;
        std::iter::from_fn(|| bus.pop()).find_map(|message| self.verdict_of(&message))
    }

    /// Waits for what the bus has to say, where no frames are expected.
    fn wait_for_bus(&self, timeout: Duration) -> Read {
        if let Some(verdict) = self.verdict_of_bus() {
            return verdict;
        }
        let timeout = gst::ClockTime::try_from(timeout).unwrap_or(gst::ClockTime::ZERO);
        let verdicts = [
            gst::MessageType::Error,
            gst::MessageType::Eos,
            gst::MessageType::StreamCollection,
        ];
        let message = self
            .chain
            .pipeline
            .bus()
            .and_then(|bus| bus.timed_pop_filtered(timeout, &verdicts));
        message
            .and_then(|message| self.verdict_of(&message))
            .unwrap_or(Read::Nothing)
    }

    fn verdict_of(&self, message: &gst::Message) -> Option<Read> {
        match message.view() {
            gst::MessageView::Error(error) => {
                // An element that stopped because its stream was refused says so in vaguer words.
                let refusal = self.wire.take_refusal();
                Some(Read::Failed(
                    refusal.unwrap_or_else(|| fault::from_message(error, &self.location)),
                ))
            }
            gst::MessageView::Eos(_) => Some(Read::Ended),
            // The parser says what streams it found, and says nothing else when there is no picture among them.
            gst::MessageView::StreamCollection(found) => {
                let has_video = found
                    .stream_collection()
                    .iter()
                    .any(|stream| stream.stream_type().contains(gst::StreamType::VIDEO));
                (!has_video && !self.wire.has_video()).then(|| {
                    let detail = "it has no picture, only sound or data";
                    Read::Failed(IngestError::new(IngestErrorKind::NoVideo, &self.location, detail))
                })
            }
            _ => None,
        }
    }
}

impl Reader for GstReader {
    fn read(&mut self, timeout: Duration) -> Read {
        if self.wire.request.evidence_only {
            return self.wait_for_bus(timeout);
        }
        let mut remaining = timeout;
        loop {
            if let Some(refusal) = self.wire.take_refusal() {
                return Read::Failed(refusal);
            }
            if let Some(telemetry) = self.telemetry() {
                return Read::Telemetry(telemetry);
            }
            // Frames that are there come before the news that no more will.
            let slice = remaining.min(SLICE);
            if let Some(sample) = self.pull(slice) {
                if self.claimed_duration.is_none() && self.wire.request.spec.liveness == Liveness::Recorded {
                    let claimed = self.chain.pipeline.query_duration::<gst::ClockTime>();
                    self.claimed_duration = Some(claimed.map_or(Duration::ZERO, Duration::from));
                }
                match self.decoded(&sample) {
                    Some(decoded) => return Read::Frame(decoded),
                    None => continue,
                }
            }
            if self.chain.frames.is_eos() {
                return self
                    .verdict_of_bus()
                    .filter(|read| matches!(read, Read::Failed(_)))
                    .unwrap_or(Read::Ended);
            }
            if let Some(verdict) = self.verdict_of_bus() {
                return verdict;
            }
            remaining = remaining.saturating_sub(slice);
            if remaining.is_zero() {
                return Read::Nothing;
            }
        }
    }

    fn counts(&self) -> ReaderCounts {
        let claimed_duration = self.claimed_duration.filter(|claimed| !claimed.is_zero());
        ReaderCounts {
            claimed_duration,
            ..self.wire.counts()
        }
    }

    fn decoder(&self) -> Option<String> {
        self.wire.decoder()
    }

    fn clock_offset(&self) -> Option<ClockOffset> {
        self.camera_clock.offset()
    }
}

impl Drop for GstReader {
    fn drop(&mut self) {
        shut_down(&self.chain.pipeline, self.deadline, &self.location);
    }
}
