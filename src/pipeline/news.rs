//! What is told of sources: their states, their duty, and mounts that have turned; and the desk that takes reports.

use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::exit::Exit;
use super::link::{LinkReceiver, LinkSender, Received};
use super::mount_watch::{MountWatch, MountWatchSettings};
use super::shared::Shared;
use super::source::Notice;
use crate::clock::Clock;
use crate::flow::event::{EventMaker, SourceStatus};
use crate::flow::report::TrackReport;
use crate::flow::source::{SourceId, SourceState};
use crate::flow::track::JudgedFrame;
use crate::geo::moved::MountCheck;
use crate::stages::incident::{Ids, IncidentDesk};

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Tells the news when a camera has turned.
pub(super) struct MountTeller {
    watch: MountWatch,
    id: SourceId,
    notices: LinkSender<Notice>,
    clock: Arc<dyn Clock>,
}

impl MountTeller {
    pub(super) fn new(
        settings: MountWatchSettings,
        id: &SourceId,
        notices: &LinkSender<Notice>,
        clock: &Arc<dyn Clock>,
    ) -> Self {
        Self {
            watch: MountWatch::new(settings),
            id: id.clone(),
            notices: notices.clone(),
            clock: Arc::clone(clock),
        }
    }

    pub(super) fn look(&mut self, frame: &JudgedFrame) {
        match self.watch.look(&frame.picture, self.clock.wall()) {
            Ok(Some(check)) => {
                // News that nobody takes any more means that the service is leaving.
                let _is_told = self.notices.send(Notice::Mount(self.id.clone(), check));
            }
            Ok(None) => {}
            Err(why) => warn!(source = %self.id, %why, "the reference picture of the mount cannot be kept"),
        }
    }
}

/// Takes reports to the desk and looks at deadlines every second.
pub(super) fn keep_desk(
    desk: &IncidentDesk,
    reports: &LinkReceiver<TrackReport>,
    mut count: impl FnMut(),
) -> Exit {
    loop {
        match reports.receive_within(TICK) {
            Received::Item(report) => {
                count();
                match desk.report(&report) {
                    Ok(changes) => {
                        for change in &changes {
                            info!(incident = %change.incident.id, state = ?change.incident.state, "incident changed");
                        }
                    }
                    Err(why) => error!(source = %report.source, %why, "an incident could not be written yet"),
                }
            }
            Received::Nothing => {}
            Received::Closed => return Exit::Drained,
        }
        if let Err(why) = desk.tick() {
            warn!(%why, "deadlines could not be looked at");
        }
    }
}

/// Notes the states of sources and tells them to the world.
pub(super) fn tell_news(
    news: &LinkReceiver<Notice>,
    shared: &Shared,
    desk: &IncidentDesk,
    maker: &EventMaker,
) -> Exit {
    let mut ids = Ids::random();
    let mut tell = |status: SourceStatus| {
        let now = shared.clock.wall();
        if let Some(event) = maker.source(ids.next(now), status)
            && let Err(why) = desk.store().enqueue(&event, now)
        {
            error!(%why, "news of a source could not be written to the outbox");
        }
    };
    let state_of = |id: &SourceId| {
        let views = shared.views();
        views.get(id).map_or(SourceState::Live, |view| view.state)
    };
    while let Some(notice) = news.receive() {
        let now = shared.clock.wall();
        match notice {
            Notice::State(id, change) => {
                let detail = change.reason.map(|reason| reason.name().to_owned());
                info!(source = %id, from = %change.from, to = %change.to, ?detail, "source changed");
                shared.update(&id, |view| {
                    view.state = change.to;
                    view.since = now;
                    view.detail.clone_from(&detail);
                });
                tell(SourceStatus {
                    source: id,
                    state: change.to,
                    since: now,
                    detail,
                    duty: None,
                });
            }
            Notice::Duty(id, level) => {
                info!(source = %id, duty = %level, "duty level moved");
                tell(SourceStatus {
                    state: state_of(&id),
                    source: id,
                    since: now,
                    detail: None,
                    duty: Some(level),
                });
            }
            Notice::Thinned(id, duty, one_of) => {
                tell(SourceStatus {
                    state: state_of(&id),
                    source: id,
                    since: now,
                    detail: Some(format!("one of {one_of} looks is taken")),
                    duty: Some(duty),
                });
            }
            Notice::Mount(id, check) => {
                let detail = match check {
                    MountCheck::InPlace(shift) => {
                        info!(source = %id, ?shift, "the camera looks where its calibration says");
                        continue;
                    }
                    MountCheck::Unknown => {
                        info!(source = %id, "too dark or foggy to say where the camera looks");
                        continue;
                    }
                    MountCheck::Moved(shift) => format!(
                        "the picture is shifted by {:.0} px to the right and {:.0} px down (of {} blocks, {:.0} % agree)",
                        shift.right_px,
                        shift.down_px,
                        shift.blocks,
                        shift.agreement * 100.0
                    ),
                    MountCheck::Lost => "nothing of the reference picture is found again".to_owned(),
                };
                warn!(source = %id, %detail, "the camera no longer looks where its calibration says: calibrate it again");
                shared.update(&id, |view| {
                    view.state = SourceState::Moved;
                    view.since = now;
                    view.detail = Some(detail.clone());
                });
                tell(SourceStatus {
                    source: id,
                    state: SourceState::Moved,
                    since: now,
                    detail: Some(detail),
                    duty: None,
                });
            }
            Notice::Decoder(id, decoder) => {
                info!(source = %id, %decoder, "decoder in use");
                shared.update(&id, |view| view.decoder = Some(decoder));
            }
            Notice::FallsBack(id, is_far) => {
                warn!(source = %id, falls_back = is_far, "key frames are too far apart for patrol");
            }
            Notice::Ended(id, outcome) => {
                let detail = match outcome {
                    Ok(totals) => format!("{} frames", totals.frames_in),
                    Err(why) => {
                        error!(source = %id, %why, "a recording could not be read");
                        why.to_string()
                    }
                };
                shared.update(&id, |view| {
                    view.state = SourceState::Ended;
                    view.since = now;
                    view.detail = Some(detail);
                });
            }
        }
    }
    Exit::Drained
}
