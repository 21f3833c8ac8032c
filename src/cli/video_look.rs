//! What `locate` must know of a video: its size, when a frame stands, and how the picture moves.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, bail};

use crate::clock::{Clock, SystemClock};
use crate::flow::source::{Duty, SourceId};
use crate::flow::time::MediaTime;
use crate::stages::ingest::{
    DutyControl, GstOpener, Location, MediaWindow, OpenRequest, Opener as _, Read, SourceSpec,
};
use crate::stages::track::motion::LumaGrid;
use crate::telemetry::calibrator::PictureMotion;

/// How long a video may give nothing.
const PATIENCE: Duration = Duration::from_secs(20);
/// So much of a video is looked at for its motion, in seconds.
const MOTION_S: f64 = 120.0;

/// What was seen of a video.
#[derive(Debug, Default)]
pub(crate) struct VideoLook {
    /// Width and height of its picture.
    pub size: (u32, u32),
    /// When the frame that was asked for stands, in seconds.
    pub frame_s: Option<f64>,
    /// How its picture moved, where that was asked for.
    pub motion: PictureMotion,
}

/// What is wanted of a video.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Wanted {
    /// When this frame stands, counted from 0.
    pub frame: Option<u64>,
    /// How the picture moves.
    pub motion: bool,
}

/// Looks at a video until everything that is wanted is known.
pub(crate) fn look(video: &Path, wanted: Wanted) -> anyhow::Result<VideoLook> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock::new());
    let opener = GstOpener::new(Arc::clone(&clock))?;
    let spec = SourceSpec::recorded(
        SourceId::new(video.display().to_string()),
        Location::File(video.to_owned()),
    );
    let request = OpenRequest {
        window: wanted.motion.then_some(MediaWindow {
            start: MediaTime::ZERO,
            end: Some(MediaTime::from_secs_f64(MOTION_S)),
        }),
        ..OpenRequest::new(Arc::new(spec), Arc::new(DutyControl::new(Duty::Alarm)))
    };
    let mut reader = opener
        .open(&request)
        .with_context(|| format!("cannot look at {}", video.display()))?;
    let mut seen = VideoLook::default();
    let (mut count, mut before, mut last_s) = (0_u64, None, 0.0);
    let mut heard = clock.monotonic();
    let mut step = || -> anyhow::Result<ControlFlow<()>> {
        let frame = match reader.read(Duration::from_millis(200)) {
            Read::Frame(frame) => frame,
            Read::Ended => return Ok(ControlFlow::Break(())),
            Read::Failed(error) => return Err(error.into()),
            Read::Nothing | Read::Telemetry(_) => {
                if clock.monotonic().since(heard) > PATIENCE {
                    bail!("{} gives no picture", video.display());
                }
                return Ok(ControlFlow::Continue(()));
            }
        };
        heard = clock.monotonic();
        seen.size = (frame.picture.width, frame.picture.height);
        // A frame without a time of its own stands where the one before it stood.
        let at_s = frame.pts.map_or(last_s, MediaTime::as_secs_f64);
        last_s = at_s;
        if wanted.motion {
            let grid = LumaGrid::of(&frame.picture);
            let right_px = before.as_ref().map_or(0.0, |before| grid.motion_since(before).dx);
            seen.motion.add(at_s, f64::from(right_px));
            before = Some(grid);
        }
        if wanted.frame == Some(count) {
            seen.frame_s = Some(at_s);
        }
        count += 1;
        let has_frame = wanted.frame.is_none_or(|wanted| count > wanted);
        Ok(if has_frame && !wanted.motion {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        })
    };
    while step()?.is_continue() {}
    if seen.size == (0, 0) {
        bail!("{} holds no picture", video.display());
    }
    if let (Some(frame), None) = (wanted.frame, seen.frame_s) {
        bail!(
            "{} has {count} frames: --frame {frame} lies outside, 0 to {} is expected",
            video.display(),
            count.saturating_sub(1)
        );
    }
    Ok(seen)
}
