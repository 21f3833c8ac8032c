//! Finds MAVLink frames in bytes.

use mavlink::Message as _;

/// What lies between the frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// Nothing.
    Stream,
    /// Eight bytes before each frame: microseconds since 1970, when a ground station received it.
    Tlog,
}

/// A time that a `.tlog` can hold: 2000 to 2100, in microseconds.
const TLOG_TIMES_US: std::ops::Range<u64> = 946_684_800_000_000..4_102_444_800_000_000;

impl Framing {
    /// Tells a `.tlog` from bare frames by the time before its first good frame.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        let timed = next_frame(bytes, Self::Tlog, false).frame;
        if timed.is_some_and(|frame| frame.received_unix_s.is_some()) {
            Self::Tlog
        } else {
            Self::Stream
        }
    }
}

/// One frame whose checksum is right.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Frame<'bytes> {
    pub(super) system: u8,
    pub(super) id: u32,
    pub(super) payload: &'bytes [u8],
    /// All its bytes, the time before it included.
    pub(super) length: usize,
    pub(super) received_unix_s: Option<f64>,
}

/// The next frame and what was passed over to get there.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Found<'bytes> {
    pub(super) frame: Option<Frame<'bytes>>,
    pub(super) skipped: usize,
    pub(super) bad_checksums: u64,
}

enum Attempt<'bytes> {
    Good(Frame<'bytes>),
    Bad,
    Incomplete,
    NoFrame,
}

/// Looks for the next frame. Without one, `skipped` ends before bytes that may still become one, if more may come.
pub(super) fn next_frame(bytes: &[u8], framing: Framing, more_may_come: bool) -> Found<'_> {
    let header = if framing == Framing::Tlog { 8 } else { 0 };
    let mut bad_checksums = 0;
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| rest.len() > header) {
        match attempt(rest, header) {
            Attempt::Good(frame) => {
                return Found {
                    frame: Some(frame),
                    skipped: at,
                    bad_checksums,
                };
            }
            Attempt::Incomplete if more_may_come => break,
            Attempt::Bad => {
                bad_checksums += 1;
                at += 1;
            }
            Attempt::Incomplete | Attempt::NoFrame => at += 1,
        }
    }
    Found {
        frame: None,
        skipped: at,
        bad_checksums,
    }
}

fn attempt(bytes: &[u8], header: usize) -> Attempt<'_> {
    let Some((before, frame)) = bytes.split_at_checked(header) else {
        return Attempt::Incomplete;
    };
    let (signed, head, id, system) = match frame {
        [0xFD, _, incompatible, _, _, system, _, a, b, c, ..] => {
            // Any flag but the signature's changes the frame in a way that is not known here.
            if incompatible & !1 != 0 {
                return Attempt::NoFrame;
            }
            (
                *incompatible == 1,
                10,
                u32::from_le_bytes([*a, *b, *c, 0]),
                *system,
            )
        }
        [0xFE, _, _, system, _, id, ..] => (false, 6, u32::from(*id), *system),
        [0xFD | 0xFE, ..] => return Attempt::Incomplete,
        _ => return Attempt::NoFrame,
    };
    let length = usize::from(frame.get(1).copied().unwrap_or(0));
    let end = head + length + 2;
    let whole = end + if signed { 13 } else { 0 };
    let (Some(summed), Some(payload), Some(&[low, high])) = (
        frame.get(1..head + length),
        frame.get(head..head + length),
        frame.get(head + length..end),
    ) else {
        return Attempt::Incomplete;
    };
    if frame.len() < whole {
        return Attempt::Incomplete;
    }
    let extra = mavlink::dialects::common::MavMessage::extra_crc(id);
    if mavlink::calculate_crc(summed, extra) != u16::from_le_bytes([low, high]) {
        // A message of another dialect cannot be checked: it is passed over byte by byte like garbage.
        return if extra == 0 {
            Attempt::NoFrame
        } else {
            Attempt::Bad
        };
    }
    let received_unix_s = before
        .try_into()
        .ok()
        .map(u64::from_be_bytes)
        .filter(|time| TLOG_TIMES_US.contains(time))
        .map(|time| time as f64 / 1e6);
    Attempt::Good(Frame {
        system,
        id,
        payload,
        length: header + whole,
        received_unix_s,
    })
}
