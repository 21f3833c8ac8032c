//! Watches three places of a pipeline: where packets come out of the parser, where they are counted, tapped and gated;
//! where the decoder takes them; and in front of the sink, where frames are numbered so that each one lost is known.

use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use gstreamer as gst;
use gstreamer::prelude::*;
use jiff::Timestamp;

use super::super::duty::{KeyFrameGate, Verdict};
use super::super::error::{IngestError, IngestErrorKind};
use super::super::reader::ReaderCounts;
use super::super::spec::OpenRequest;
use super::passage::{Mark, Passage, Passed, Reached};
use crate::clock::Clock;
use crate::flow::packet::{Codec, Packet};
use crate::flow::source::Liveness;
use crate::flow::time::{MediaTime, MonotonicTime};
use crate::telemetry::klv::sei;

/// Under which name a packet carries its number through the decoder, which hands it on with the picture. Times do not
/// serve for that: a decoder changes those of a live stream with pictures out of order.
static NUMBER: LazyLock<gst::Caps> =
    LazyLock::new(|| gst::Caps::new_empty_simple("timestamp/x-emberwatch-packet"));

/// What the packets of a stream have in common, as long as their caps stay the same object.
struct Described {
    caps: gst::Caps,
    codec: Codec,
    media_type: Arc<str>,
}

impl Described {
    fn new(caps: gst::Caps) -> Option<Self> {
        let codec = match caps.structure(0)?.name().as_str() {
            "video/x-h264" => Codec::H264,
            "video/x-h265" => Codec::H265,
            other => Codec::Other(other.into()),
        };
        Some(Self {
            codec,
            media_type: caps.to_string().into(),
            caps,
        })
    }
}

/// What the thread in front of the decoder keeps from one packet to the next.
struct Gate {
    keys: KeyFrameGate,
    described: Option<Described>,
    /// Whether the last key frame said when it was taken: where it did not, the pictures after it are not searched.
    is_stamped: bool,
}

/// What one connection's threads share.
pub(crate) struct Wire {
    pub(crate) request: OpenRequest,
    pub(crate) clock: Arc<dyn Clock>,
    packets: AtomicU64,
    undecoded: AtomicU64,
    behind: AtomicU64,
    decoded: AtomicU64,
    damaged: AtomicU64,
    /// Left undecoded since the last packet that was not: on purpose, and because the decoder was behind.
    skipped: AtomicU32,
    skipped_behind: AtomicU32,
    /// Nothing more goes to the decoder: it would allocate what was refused.
    is_refused: AtomicBool,
    moving: Mutex<Moving>,
}

#[derive(Default)]
struct Moving {
    last_packet: Option<MonotonicTime>,
    /// What is added to the stream's own time, from the first packet on.
    shift: Option<i64>,
    passage: Passage,
    refusal: Option<IngestError>,
    created: Option<Timestamp>,
    decoder: Option<String>,
    has_video: bool,
}

impl Wire {
    pub(crate) fn new(request: OpenRequest, clock: Arc<dyn Clock>) -> Self {
        Self {
            request,
            clock,
            packets: AtomicU64::new(0),
            undecoded: AtomicU64::new(0),
            behind: AtomicU64::new(0),
            decoded: AtomicU64::new(0),
            damaged: AtomicU64::new(0),
            skipped: AtomicU32::new(0),
            skipped_behind: AtomicU32::new(0),
            is_refused: AtomicBool::new(false),
            moving: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Moving> {
        self.moving.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counts(&self) -> ReaderCounts {
        ReaderCounts {
            packets: self.packets.load(Ordering::Relaxed),
            undecoded: self.undecoded.load(Ordering::Relaxed),
            behind: self.behind.load(Ordering::Relaxed),
            decoded: self.decoded.load(Ordering::Relaxed),
            damaged: self.damaged.load(Ordering::Relaxed),
            last_packet: self.lock().last_packet,
            claimed_duration: None,
        }
    }

    /// Refuses the stream; the first refusal stands.
    pub(crate) fn refuse(&self, kind: IngestErrorKind, detail: impl Into<String>) {
        let error = IngestError::new(kind, &self.request.location().to_string(), detail);
        self.is_refused.store(true, Ordering::Relaxed);
        self.lock().refusal.get_or_insert(error);
    }

    pub(crate) fn take_refusal(&self) -> Option<IngestError> {
        self.lock().refusal.take()
    }

    /// Claims the place of the video; false where another stream has it already.
    pub(crate) fn claim_video(&self) -> bool {
        !std::mem::replace(&mut self.lock().has_video, true)
    }

    pub(crate) fn has_video(&self) -> bool {
        self.lock().has_video
    }

    pub(crate) fn set_decoder(&self, name: String) {
        self.lock().decoder = Some(name);
    }

    pub(crate) fn decoder(&self) -> Option<String> {
        self.lock().decoder.clone()
    }

    /// Returns when the container says that the recording began.
    pub(crate) fn created(&self) -> Option<Timestamp> {
        self.lock().created
    }

    /// Places a time of the library in media time: a recording keeps its own times, a live stream goes on from the
    /// request's origin.
    pub(crate) fn place(
        &self,
        segment: &gst::FormattedSegment<gst::ClockTime>,
        time: gst::ClockTime,
    ) -> Option<MediaTime> {
        let nanos = match self.request.spec.liveness {
            Liveness::Recorded => return Some(MediaTime::from_nanos(stream_time(segment, time)?)),
            Liveness::Live => signed(segment.to_running_time_full(time)?),
        };
        let origin = self.request.origin.as_nanos();
        let shift = *self.lock().shift.get_or_insert(origin.saturating_sub(nanos));
        Some(MediaTime::from_nanos(nanos.saturating_add(shift)))
    }

    /// Watches the packets on the pad where they come: in front of the queue to the decoder, of the decoder itself where
    /// there is no queue, or of nothing.
    pub(crate) fn watch_packets(self: &Arc<Self>, pad: &gst::Pad) {
        let wire = Arc::clone(self);
        let gate = Mutex::new(Gate {
            keys: KeyFrameGate::new(self.request.spec.key_frame_bound, self.request.spec.liveness),
            described: None,
            is_stamped: false,
        });
        let decodes = !self.request.evidence_only;
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM,
            move |pad, passing| {
                match &mut passing.data {
                    Some(gst::PadProbeData::Event(event)) => wire.event(event),
                    Some(gst::PadProbeData::Buffer(buffer)) => {
                        let mut gate = gate.lock().unwrap_or_else(PoisonError::into_inner);
                        if !wire.packet(pad, buffer, &mut gate, decodes) {
                            // Not Drop: the binding has taken the buffer already, and the library would free nothing, loudly.
                            return gst::PadProbeReturn::Handled;
                        }
                    }
                    _ => {}
                }
                gst::PadProbeReturn::Ok
            },
        );
    }

    /// Counts, taps and gates one packet; says whether it goes on to the decoder.
    fn packet(&self, pad: &gst::Pad, buffer: &mut gst::Buffer, gate: &mut Gate, decodes: bool) -> bool {
        if self.is_refused.load(Ordering::Relaxed) {
            return false;
        }
        let now = self.clock.monotonic();
        // Parsers send parameter sets on their own in some streams: they are no pictures.
        let is_header = buffer.flags().contains(gst::BufferFlags::HEADER) && buffer.pts().is_none();
        if !is_header {
            self.packets.fetch_add(1, Ordering::Relaxed);
        }
        let is_key = !buffer.flags().contains(gst::BufferFlags::DELTA_UNIT);
        let segment = pad
            .sticky_event::<gst::event::Segment>(0)
            .and_then(|event| event.segment().downcast_ref::<gst::ClockTime>().cloned());
        let place = |time: Option<gst::ClockTime>| self.place(segment.as_ref()?, time?);
        let pts = place(buffer.pts().or_else(|| buffer.dts()));
        if let (Some(tap), Some(pts)) = (&self.request.tap, pts)
            && let Some(packet) =
                packet_of(&mut gate.described, pad, buffer, pts, place(buffer.dts()), is_key)
        {
            tap.packet(packet);
        }
        let mut moving = self.lock();
        moving.last_packet = Some(now);
        if !decodes || is_header {
            return decodes;
        }
        let is_behind = moving.passage.is_behind(now, self.request.spec.max_staleness / 2);
        let waited = moving.passage.waited(now);
        drop(moving);
        if waited > self.request.spec.deadlines.undecodable {
            self.refuse(
                IngestErrorKind::Undecodable,
                format!("its decoder has taken nothing for {waited:?}"),
            );
            return false;
        }
        match gate.keys.judge(&self.request.duty, pts, is_key, is_behind) {
            Verdict::Decoded => {}
            Verdict::LeftOut => {
                self.undecoded.fetch_add(1, Ordering::Relaxed);
                self.skipped.fetch_add(1, Ordering::Relaxed);
                return false;
            }
            Verdict::Behind => {
                self.behind.fetch_add(1, Ordering::Relaxed);
                self.skipped_behind.fetch_add(1, Ordering::Relaxed);
                return false;
            }
        }
        let stamp = (is_key || gate.is_stamped)
            .then(|| sei::find(&buffer.map_readable().ok()?))
            .flatten();
        if is_key {
            gate.is_stamped = stamp.is_some();
        }
        let mut moving = self.lock();
        let number = moving.passage.admit(Passed {
            bytes: buffer.size(),
            is_key,
            arrived: now,
            skipped: self.skipped.swap(0, Ordering::Relaxed),
            behind: self.skipped_behind.swap(0, Ordering::Relaxed),
            stamp,
        });
        if !self.request.queues_packets() {
            moving.passage.take();
        }
        drop(moving);
        gst::ReferenceTimestampMeta::add(
            buffer.make_mut(),
            &NUMBER,
            gst::ClockTime::from_nseconds(number),
            gst::ClockTime::NONE,
        );
        true
    }

    /// Notes which packets the decoder takes from the queue before it.
    pub(crate) fn watch_taken(self: &Arc<Self>, pad: &gst::Pad) {
        let wire = Arc::clone(self);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, passing| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &passing.data
                && number_of(buffer).is_some()
            {
                wire.lock().passage.take();
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn event(&self, event: &gst::Event) {
        match event.view() {
            gst::EventView::Caps(caps) => self.check_size(caps.caps()),
            gst::EventView::Tag(tags) => {
                if let Some(time) = tags.tag().get::<gst::tags::DateTime>() {
                    let created = time
                        .get()
                        .to_g_date_time()
                        .ok()
                        .and_then(|time| Timestamp::from_second(time.to_unix()).ok());
                    // Recorders without a clock write 1904 or 1970.
                    let is_plausible = created.is_some_and(|created| created.as_second() > 946_684_800);
                    if is_plausible {
                        self.lock().created = created;
                    }
                }
            }
            _ => {}
        }
    }

    /// Refuses pictures that are too large before anybody allocates them.
    fn check_size(&self, caps: &gst::CapsRef) {
        let Some(structure) = caps.structure(0) else {
            return;
        };
        let side = |name: &str| {
            structure
                .get::<i32>(name)
                .ok()
                .and_then(|side| u32::try_from(side).ok())
        };
        let (Some(width), Some(height)) = (side("width"), side("height")) else {
            return;
        };
        let spec = &self.request.spec;
        let bytes = u64::from(width) * u64::from(height) * 3 / 2;
        if width > spec.max_side || height > spec.max_side {
            self.refuse(
                IngestErrorKind::TooLarge,
                format!(
                    "its pictures are {width}x{height}, expected at most {} pixels a side",
                    spec.max_side
                ),
            );
        } else if bytes > spec.max_picture_bytes {
            self.refuse(
                IngestErrorKind::TooLarge,
                format!(
                    "a picture of {width}x{height} takes {} MiB, expected at most {} MiB",
                    bytes >> 20,
                    spec.max_picture_bytes >> 20
                ),
            );
        }
    }

    /// Numbers the frames on the sink's pad, and offers the decoder to keep its own strides, which spares a copy.
    pub(crate) fn watch_frames(self: &Arc<Self>, pad: &gst::Pad) {
        let wire = Arc::clone(self);
        pad.add_probe(gst::PadProbeType::BUFFER, move |_, passing| {
            if let Some(gst::PadProbeData::Buffer(buffer)) = &passing.data {
                wire.frame(buffer);
            }
            gst::PadProbeReturn::Ok
        });
        pad.add_probe(gst::PadProbeType::QUERY_DOWNSTREAM, |_, passing| {
            if let Some(gst::PadProbeData::Query(query)) = &mut passing.data
                && let gst::QueryViewMut::Allocation(allocation) = query.view_mut()
            {
                allocation.add_allocation_meta::<gstreamer_video::VideoMeta>(None);
                return gst::PadProbeReturn::Handled;
            }
            gst::PadProbeReturn::Ok
        });
    }

    fn frame(&self, buffer: &gst::Buffer) {
        self.decoded.fetch_add(1, Ordering::Relaxed);
        if buffer.flags().contains(gst::BufferFlags::CORRUPTED) {
            self.damaged.fetch_add(1, Ordering::Relaxed);
        }
        let now = self.clock.monotonic();
        let number = number_of(buffer);
        let mut moving = self.lock();
        let passed = number.and_then(|number| moving.passage.leave(number));
        moving.passage.reach(Reached {
            mark: mark_of(buffer),
            is_key: passed.is_some_and(|passed| passed.is_key),
            arrived: passed.map_or(now, |passed| passed.arrived),
            skipped: passed.map_or(0, |passed| passed.skipped),
            behind: passed.map_or(0, |passed| passed.behind),
            stamp: passed.and_then(|passed| passed.stamp),
        });
    }

    /// Returns what is known of a pulled frame and how many before it were overtaken.
    pub(crate) fn pulled(&self, buffer: &gst::BufferRef) -> (Option<Reached>, u32) {
        self.lock().passage.pull(&mark_of(buffer))
    }
}

fn mark_of(buffer: &gst::BufferRef) -> Mark {
    Mark {
        address: buffer.as_ptr() as usize,
        number: number_of(buffer),
        pts: buffer.pts().map(gst::ClockTime::nseconds),
    }
}

/// Returns the number under which a packet, or the picture that came of it, is known.
fn number_of(buffer: &gst::BufferRef) -> Option<u64> {
    buffer
        .iter_meta::<gst::ReferenceTimestampMeta>()
        .find(|meta| meta.reference() == &**NUMBER)
        .map(|meta| meta.timestamp().nseconds())
}

fn packet_of(
    described: &mut Option<Described>,
    pad: &gst::Pad,
    buffer: &gst::Buffer,
    pts: MediaTime,
    dts: Option<MediaTime>,
    is_key: bool,
) -> Option<Packet> {
    let caps = pad.current_caps()?;
    // Written out once: words for each packet would cost more than all else that happens here.
    if described
        .as_ref()
        .is_none_or(|described| described.caps.as_ptr() != caps.as_ptr())
    {
        *described = Described::new(caps);
    }
    let Described {
        codec, media_type, ..
    } = described.as_ref()?;
    // Copied, because the memory below may be a whole network buffer that the ring would keep alive.
    let bytes = Arc::from(buffer.map_readable().ok()?.as_slice());
    let duration = buffer
        .duration()
        .map(|duration| Duration::from_nanos(duration.nseconds()));
    Some(Packet {
        bytes,
        pts,
        dts,
        duration,
        is_key,
        codec: codec.clone(),
        media_type: Arc::clone(media_type),
    })
}

/// Returns the position in a recording, in nanoseconds.
pub(crate) fn stream_time(
    segment: &gst::FormattedSegment<gst::ClockTime>,
    time: gst::ClockTime,
) -> Option<i64> {
    Some(signed(segment.to_stream_time_full(time)?))
}

fn signed(time: gst::Signed<gst::ClockTime>) -> i64 {
    match time {
        gst::Signed::Positive(time) => i64::try_from(time.nseconds()).unwrap_or(i64::MAX),
        gst::Signed::Negative(time) => i64::try_from(time.nseconds()).map_or(i64::MIN, |nanos| -nanos),
    }
}
