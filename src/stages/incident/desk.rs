//! The desk: the book with the store behind it. One place where reports, people, the dispatch system and the clock meet.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::{SignedDuration, Timestamp};

use super::action::Act;
use super::book::{IncidentBook, Quiet};
use super::config::IncidentConfig;
use super::refusal::Refusal;
use crate::clock::Clock;
use crate::flow::incident::{Incident, IncidentId};
use crate::flow::report::TrackReport;
use crate::store::{Change, ErrorKind, Store, StoreError};

/// The most steps that wait in memory while the store cannot be written; about 10 KiB each.
const MOST_UNSAVED: usize = 10_000;
/// How often a step is tried again after another program changed the incident first.
const ATTEMPTS: usize = 3;
const DRILL: &str = "drill";
const POLICY: &str = "incident_policy";

/// What came of an act.
#[derive(Clone, Debug, PartialEq)]
pub struct Acted {
    /// The incident as it stands now.
    pub incident: Incident,
    /// Every incident that changed, the first among them; empty where it was already what was asked for.
    pub changed: Vec<Incident>,
}

struct Desk {
    book: IncidentBook,
    /// Steps of reports and of the clock that the store could not take yet, oldest first. What people did is never
    /// here: they are told that it was not done.
    unsaved: VecDeque<Vec<Change>>,
    unsaved_steps: usize,
    refused_reports: u64,
}

/// The incident stage with its store. Cheap to clone; every clone is the same desk.
///
/// A write happens under the desk's lock, on purpose: the order in which the book knows changes is the order in which
/// the store has them. A write takes about as long as the disk takes to sync.
#[derive(Clone)]
pub struct IncidentDesk {
    desk: Arc<Mutex<Desk>>,
    store: Store,
    clock: Arc<dyn Clock>,
}

impl IncidentDesk {
    /// Opens the desk: takes in every incident that is open, or ended so recently that its place is remembered.
    pub fn open(mut book: IncidentBook, store: Store, clock: Arc<dyn Clock>) -> Result<Self, StoreError> {
        load(&mut book, &store, clock.wall())?;
        keep_policy(book.config(), &store)?;
        Ok(Self {
            desk: Arc::new(Mutex::new(Desk {
                book,
                unsaved: VecDeque::new(),
                unsaved_steps: 0,
                refused_reports: 0,
            })),
            store,
            clock,
        })
    }

    /// Returns the store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Takes in a report. Detection goes on whatever the store does: where it cannot be written, the steps wait in
    /// memory, and the error says so (once for each report). What was returned as written is on the disk.
    pub fn report(&self, report: &TrackReport) -> Result<Vec<Change>, StoreError> {
        let now = self.clock.wall();
        let mut desk = self.lock();
        for _ in 0..ATTEMPTS {
            if desk.unsaved_steps >= MOST_UNSAVED {
                desk.flush(&self.store, now).inspect_err(|_| {
                    // The track goes on: it is reported again, and taken in once there is room.
                    desk.refused_reports += 1;
                })?;
            }
            let changes = desk.book.process(report, now);
            if changes.is_empty() {
                return Ok(changes);
            }
            match desk.save(&self.store, changes, now) {
                Saved::Done(changes) => return Ok(changes),
                Saved::Waits(error) => return Err(error),
                Saved::Again => {}
            }
        }
        Err(StoreError::new(
            ErrorKind::Conflict,
            "another program keeps changing the incident that a report belongs to",
        ))
    }

    /// Does what is due by now: reminders, overdue deadlines, escalation, updates that waited, steps that could not be
    /// written before, and a drill that another program began or ended. To be called about once a second.
    pub fn tick(&self) -> Result<Vec<Change>, StoreError> {
        let now = self.clock.wall();
        let mut desk = self.lock();
        desk.flush(&self.store, now)?;
        desk.book.set_drill(is_drill(&self.store)?);
        for _ in 0..ATTEMPTS {
            let changes = desk.book.tick(now);
            if changes.is_empty() {
                return Ok(changes);
            }
            match desk.save(&self.store, changes, now) {
                Saved::Done(changes) => return Ok(changes),
                Saved::Waits(error) => return Err(error),
                Saved::Again => {}
            }
        }
        Ok(Vec::new())
    }

    /// Does what a person or the dispatch system asks: done and on the disk when this returns, or refused and nothing
    /// was changed.
    pub fn act(&self, act: &Act) -> Result<Acted, Refusal> {
        let now = self.clock.wall();
        let mut desk = self.lock();
        desk.flush(&self.store, now)?;
        let mut refusal = None;
        for _ in 0..ATTEMPTS {
            desk.fetch(&self.store, act)?;
            let changes = desk.book.propose(act, now)?;
            match self.store.commit(&changes, now) {
                Ok(()) => {
                    desk.book.apply(&changes);
                    let incident = desk
                        .book
                        .incident(act.incident)
                        .cloned()
                        .ok_or(Refusal::UnknownIncident(act.incident))?;
                    return Ok(Acted {
                        incident,
                        changed: changes.into_iter().map(|change| change.incident).collect(),
                    });
                }
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    desk.reload(&self.store, &changes)?;
                    refusal = Some(error);
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(refusal.map_or(Refusal::UnknownIncident(act.incident), Refusal::Store))
    }

    /// Marks every incident that is opened from now on as part of a drill, or no longer; remembered over restarts, and
    /// seen by a program that runs on the same store within a second.
    pub fn set_drill(&self, is_drill: bool) -> Result<(), StoreError> {
        let mut desk = self.lock();
        self.store
            .set_setting(DRILL, if is_drill { "on" } else { "off" })?;
        desk.book.set_drill(is_drill);
        Ok(())
    }

    /// Returns whether a drill is on.
    #[must_use]
    pub fn is_drill(&self) -> bool {
        self.lock().book.is_drill()
    }

    /// Returns how many steps wait in memory because the store cannot be written, and how many reports were turned
    /// away because too many did.
    #[must_use]
    pub fn backlog(&self) -> (usize, u64) {
        let desk = self.lock();
        (desk.unsaved_steps, desk.refused_reports)
    }

    /// Returns how many reports made no incident, by reason.
    #[must_use]
    pub fn quieted(&self) -> Vec<(Quiet, u64)> {
        self.lock()
            .book
            .quieted()
            .iter()
            .map(|(why, count)| (*why, *count))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, Desk> {
        self.desk.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

enum Saved {
    Done(Vec<Change>),
    Waits(StoreError),
    /// Another program changed an incident first; the book has been brought up to date.
    Again,
}

impl Desk {
    /// Writes steps that the book has taken, or keeps them until they can be written.
    fn save(&mut self, store: &Store, changes: Vec<Change>, now: Timestamp) -> Saved {
        let result = self.flush(store, now).and_then(|()| store.commit(&changes, now));
        match result {
            Ok(()) => Saved::Done(changes),
            Err(error) if error.kind() == ErrorKind::Conflict => match self.reload(store, &changes) {
                Ok(()) => Saved::Again,
                Err(error) => Saved::Waits(error),
            },
            Err(error) if error.is_retryable() => {
                self.unsaved_steps += changes.len();
                self.unsaved.push_back(changes);
                Saved::Waits(error)
            }
            Err(error) => {
                // Waiting would not help; the book goes back to what the store has.
                match self.reload(store, &changes) {
                    Ok(()) => Saved::Waits(error),
                    Err(second) => Saved::Waits(second),
                }
            }
        }
    }

    /// Writes the steps that wait, oldest first.
    fn flush(&mut self, store: &Store, now: Timestamp) -> Result<(), StoreError> {
        while let Some(changes) = self.unsaved.front() {
            match store.commit(changes, now) {
                Ok(()) => {}
                Err(error) if error.kind() == ErrorKind::Conflict => {
                    // Another program changed these incidents meanwhile: what they say there holds, and what was seen
                    // in between comes again with the next report of the track.
                    let changes = changes.clone();
                    self.reload(store, &changes)?;
                }
                Err(error) => return Err(error),
            }
            if let Some(done) = self.unsaved.pop_front() {
                self.unsaved_steps = self.unsaved_steps.saturating_sub(done.len());
            }
        }
        Ok(())
    }

    /// Brings the incidents of these steps back to what the store has.
    fn reload(&mut self, store: &Store, changes: &[Change]) -> Result<(), StoreError> {
        for change in changes {
            self.reload_one(store, change.incident.id)?;
        }
        Ok(())
    }

    fn reload_one(&mut self, store: &Store, id: IncidentId) -> Result<(), StoreError> {
        match store.incident(id)? {
            Some(incident) => self.book.adopt(incident),
            None => self.book.forget(id),
        }
        Ok(())
    }

    /// Takes in the incidents of an act that the book does not know: long over, or made by another program. One that
    /// another program changed is read again.
    fn fetch(&mut self, store: &Store, act: &Act) -> Result<(), StoreError> {
        let mut ids = vec![act.incident];
        if let super::action::Action::Merge { into } = &act.action {
            ids.push(*into);
        }
        for id in ids {
            let Some(stored) = store.incident(id)? else {
                continue;
            };
            let is_newer = self
                .book
                .incident(id)
                .is_none_or(|known| known.revision != stored.revision);
            if is_newer {
                self.book.adopt(stored);
            }
        }
        Ok(())
    }
}

/// Returns the configuration of the program that opened a desk on this store last; the default where none did, or
/// where that was another version with settings that this one does not know.
pub fn kept_policy(store: &Store) -> Result<IncidentConfig, StoreError> {
    let Some(text) = store.setting(POLICY)? else {
        return Ok(IncidentConfig::default());
    };
    Ok(serde_json::from_str(&text).unwrap_or_else(|error| {
        tracing::warn!(%error, "the incident settings in the store are not of this version, the default is used");
        IncidentConfig::default()
    }))
}

/// Keeps the configuration beside the incidents: the command line acts by the same rules as the program that runs.
fn keep_policy(config: &IncidentConfig, store: &Store) -> Result<(), StoreError> {
    let text = serde_json::to_string(config)
        .map_err(|error| StoreError::json("keep the incident settings", error))?;
    if store.setting(POLICY)?.as_deref() == Some(text.as_str()) {
        return Ok(());
    }
    store.set_setting(POLICY, &text)
}

/// Fills a book from the store.
fn load(book: &mut IncidentBook, store: &Store, now: Timestamp) -> Result<(), StoreError> {
    let config = book.config();
    let kept_s = config.reopen_within_s.max(config.dismiss_for_s).min(1e9);
    let since = now
        .saturating_sub(SignedDuration::from_secs(kept_s as i64))
        .unwrap_or(Timestamp::MIN);
    for incident in store.living_incidents(since)? {
        book.adopt(incident);
    }
    book.set_drill(is_drill(store)?);
    Ok(())
}

fn is_drill(store: &Store) -> Result<bool, StoreError> {
    Ok(store.setting(DRILL)?.as_deref() == Some("on"))
}
