//! Joins RTP times, which pass on a pad, with sender reports, which the RTP session keeps.

use std::sync::{Arc, Mutex, PoisonError};

use gstreamer as gst;
use gstreamer::prelude::*;
use jiff::Timestamp;

use super::SenderReport;

/// What joins the buffer times of one RTP stream with the camera's clock.
#[derive(Default)]
pub(crate) struct SenderClock {
    seen: Mutex<Seen>,
}

#[derive(Default)]
struct Seen {
    manager: Option<gst::glib::WeakRef<gst::Element>>,
    clock_rate: u32,
    last: Option<RtpTime>,
    report: Option<SenderReport>,
}

#[derive(Clone, Copy)]
struct RtpTime {
    ssrc: u32,
    rtp: u32,
    pts: gst::ClockTime,
}

impl SenderClock {
    /// Remembers the RTP manager of a source as soon as it makes one.
    pub(crate) fn follow_manager(self: &Arc<Self>, source: &gst::Element) {
        let clock = Arc::clone(self);
        source.connect("new-manager", false, move |values| {
            let manager = values.get(1)?.get::<gst::Element>().ok()?;
            clock.lock().manager = Some(manager.downgrade());
            None
        });
    }

    /// Watches the RTP packets that enter a depayloader.
    pub(crate) fn follow_packets(self: &Arc<Self>, pad: &gst::Pad, clock_rate: u32) {
        self.lock().clock_rate = clock_rate;
        let clock = Arc::clone(self);
        pad.add_probe(
            gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            move |_, passing| {
                let first = match &passing.data {
                    Some(gst::PadProbeData::Buffer(buffer)) => Some(buffer.as_ref()),
                    Some(gst::PadProbeData::BufferList(list)) => list.get(0),
                    _ => None,
                };
                if let Some(time) = first.and_then(rtp_time_of) {
                    clock.lock().last = Some(time);
                }
                gst::PadProbeReturn::Ok
            },
        );
    }

    /// Reads the newest sender report; cheap enough for once a second, not for each frame.
    pub(crate) fn refresh(&self) {
        let (manager, ssrc) = {
            let seen = self.lock();
            let Some(manager) = seen.manager.as_ref().and_then(gst::glib::WeakRef::upgrade) else {
                return;
            };
            let Some(last) = seen.last else { return };
            (manager, last.ssrc)
        };
        // Sessions are numbered from 0 in the order of the streams; a camera has few.
        for session in 0_u32..8 {
            let Some(session) =
                manager.emit_by_name::<Option<gst::glib::Object>>("get-internal-session", &[&session])
            else {
                return;
            };
            if let Some(report) = report_of(&session, ssrc) {
                self.lock().report = Some(report);
                return;
            }
        }
    }

    /// Returns when the picture with this buffer time was taken by the camera's clock.
    pub(crate) fn taken_at(&self, pts: gst::ClockTime) -> Option<Timestamp> {
        let seen = self.lock();
        let (last, report) = (seen.last?, seen.report?);
        let known = report.taken_at(last.rtp, seen.clock_rate)?;
        drop(seen);
        let ahead = i64::try_from(pts.nseconds())
            .ok()?
            .checked_sub(i64::try_from(last.pts.nseconds()).ok()?)?;
        known.checked_add(jiff::SignedDuration::from_nanos(ahead)).ok()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn rtp_time_of(buffer: &gst::BufferRef) -> Option<RtpTime> {
    let pts = buffer.pts()?;
    let mut header = [0_u8; 12];
    buffer.copy_to_slice(0, &mut header).ok()?;
    let word =
        |at: usize| -> Option<u32> { Some(u32::from_be_bytes(header.get(at..at + 4)?.try_into().ok()?)) };
    (header[0] >> 6 == 2).then_some(())?;
    Some(RtpTime {
        ssrc: word(8)?,
        rtp: word(4)?,
        pts,
    })
}

fn report_of(session: &gst::glib::Object, ssrc: u32) -> Option<SenderReport> {
    session.find_property("stats")?;
    let stats = session.property::<gst::Structure>("stats");
    let sources = stats.get::<gst::glib::ValueArray>("source-stats").ok()?;
    sources
        .iter()
        .filter_map(|value| value.get::<gst::Structure>().ok())
        .find_map(|source| {
            let is_ours = source.get::<u32>("ssrc").ok()? == ssrc && source.get::<bool>("have-sr").ok()?;
            is_ours.then_some(())?;
            Some(SenderReport {
                ntp: source.get::<u64>("sr-ntptime").ok()?,
                rtp: source.get::<u32>("sr-rtptime").ok()?,
            })
        })
}
