//! What is told of sources: their states, their duty, and mounts that have turned; and the desk that takes reports.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use tracing::{error, info, warn};

use super::exit::Exit;
use super::link::{LinkReceiver, LinkSender, Received, link};
use super::mount_watch::{MountWatch, MountWatchSettings};
use super::runner::Crew;
use super::shared::Shared;
use super::source::Notice;
use crate::clock::Clock;
use crate::flow::event::{Event, SourceStatus};
use crate::flow::frame::Picture;
use crate::flow::report::TrackReport;
use crate::flow::source::{SourceId, SourceState};
use crate::flow::time::MonotonicTime;
use crate::flow::track::JudgedFrame;
use crate::geo::moved::MountCheck;
use crate::stages::event_maker::EventMaker;
use crate::stages::incident::{Ids, IncidentDesk};
use crate::store::Store;

/// How much news waits while the store cannot be written; about 1 KiB each.
const MOST_NEWS: usize = 10_000;
/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);

/// How often a picture is offered to the check of the mount, which looks at one an hour at most.
const MOUNT_EVERY: Duration = Duration::from_mins(1);

/// Hands pictures to the thread that tells when a camera has turned: the check costs a tenth of a second and writes a
/// file, for which no frame should wait.
pub(super) struct MountTeller {
    pictures: LinkSender<Picture>,
    offered: Option<MonotonicTime>,
}

impl MountTeller {
    /// Starts the thread `<source>/mount`; it ends when the teller is dropped.
    pub(super) fn start(
        crew: &mut Crew,
        settings: MountWatchSettings,
        id: &SourceId,
        notices: &LinkSender<Notice>,
        clock: &Arc<dyn Clock>,
    ) -> std::io::Result<Self> {
        // One picture waits (3.1 MB at 1080p, shared with the stages that have it too).
        let (pictures, offered) = link::<Picture>(format!("{id}/mount"), 1, Arc::clone(clock));
        let (id, notices, clock) = (id.clone(), notices.clone(), Arc::clone(clock));
        crew.spawn(format!("{id}/mount"), move |_, stats| {
            let mut watch = MountWatch::new(settings);
            while let Some(picture) = offered.receive() {
                stats.item();
                match watch.look(&picture, clock.wall()) {
                    Ok(Some(check)) => {
                        // News that nobody takes any more means that the service is leaving.
                        let _is_told = notices.send(Notice::Mount(id.clone(), check));
                    }
                    Ok(None) => {}
                    Err(why) => {
                        warn!(source = %id, %why, "the reference picture of the mount cannot be kept");
                    }
                }
            }
            Exit::Drained
        })?;
        Ok(Self {
            pictures,
            offered: None,
        })
    }

    /// Offers a frame's picture, once a minute.
    pub(super) fn look(&mut self, frame: &JudgedFrame) {
        let now = frame.meta.arrived;
        if self
            .offered
            .is_some_and(|offered| now.since(offered) < MOUNT_EVERY)
        {
            return;
        }
        self.offered = Some(now);
        // The thread has a minute for each: a link that is closed belongs to a source that is leaving.
        let _is_taken = self.pictures.send(frame.picture.clone());
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

/// Puts news of sources into the outbox; what the store cannot take now waits here, in order.
struct Teller<'a> {
    store: &'a Store,
    maker: &'a EventMaker,
    clock: &'a dyn Clock,
    ids: Ids,
    waiting: VecDeque<Event>,
}

impl Teller<'_> {
    fn tell(&mut self, status: SourceStatus) {
        let id = self.ids.next(self.clock.wall());
        self.waiting.extend(self.maker.source(id, status));
        if self.waiting.len() > MOST_NEWS
            && let Some(lost) = self.waiting.pop_front()
        {
            error!(source = %lost.subject, kind = %lost.kind, "news of a source is lost: the store has not taken any for long");
        }
        self.flush();
    }

    fn flush(&mut self) {
        while let Some(event) = self.waiting.front() {
            match self.store.enqueue(event, self.clock.wall()) {
                Ok(()) => {}
                Err(why) if why.is_retryable() => {
                    warn!(%why, waiting = self.waiting.len(), "news of sources wait: the outbox cannot be written");
                    return;
                }
                Err(why) => error!(%why, "news of a source could not be written to the outbox"),
            }
            self.waiting.pop_front();
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
    let mut teller = Teller {
        store: desk.store(),
        maker,
        clock: shared.clock.as_ref(),
        ids: Ids::random(),
        waiting: VecDeque::new(),
    };
    let state_of = |id: &SourceId| {
        let views = shared.views();
        views.get(id).map_or(SourceState::Live, |view| view.state)
    };
    loop {
        let notice = match news.receive_within(TICK) {
            Received::Item(notice) => notice,
            Received::Nothing => {
                teller.flush();
                continue;
            }
            Received::Closed => break,
        };
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
                teller.tell(SourceStatus {
                    source: id,
                    state: change.to,
                    since: now,
                    detail,
                    duty: None,
                    clock_offset_s: None,
                });
            }
            Notice::Duty(id, level) => {
                info!(source = %id, duty = %level, "duty level moved");
                teller.tell(SourceStatus {
                    state: state_of(&id),
                    source: id,
                    since: now,
                    detail: None,
                    duty: Some(level),
                    clock_offset_s: None,
                });
            }
            Notice::Thinned(id, duty, looks) => {
                teller.tell(SourceStatus {
                    state: state_of(&id),
                    source: id,
                    since: now,
                    detail: Some(format!("takes {looks}")),
                    duty: Some(duty),
                    clock_offset_s: None,
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
                teller.tell(SourceStatus {
                    source: id,
                    state: SourceState::Moved,
                    since: now,
                    detail: Some(detail),
                    duty: None,
                    clock_offset_s: None,
                });
            }
            Notice::Decoder(id, decoder) => {
                info!(source = %id, %decoder, "decoder in use");
                shared.update(&id, |view| view.decoder = Some(decoder));
            }
            Notice::Clock(id, offset) => {
                let detail = if offset.alarm {
                    warn!(
                        source = %id,
                        offset_s = offset.offset_s,
                        "the camera's clock is wrong, or its pictures are long under way: set its clock by NTP"
                    );
                    format!(
                        "the camera's clock and ours differ by {:.1} s: set its clock by NTP; until then the time of \
                         arrival counts",
                        offset.offset_s
                    )
                } else {
                    info!(source = %id, offset_s = offset.offset_s, "the camera's clock is right again");
                    "the camera's clock is right again".to_owned()
                };
                teller.tell(SourceStatus {
                    state: state_of(&id),
                    source: id,
                    since: now,
                    detail: Some(detail),
                    duty: None,
                    clock_offset_s: Some(offset.offset_s),
                });
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
    teller.flush();
    Exit::Drained
}
