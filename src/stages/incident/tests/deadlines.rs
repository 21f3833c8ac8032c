//! Reminders, overdue deadlines and escalation.

use super::scene::{FIELD, act, at, book, report};
use crate::flow::event::EventType;
use crate::flow::incident::{GridLevel, Milestone, Notice, NoticeKind, State};
use crate::stages::incident::{Action, IncidentBook, IncidentConfig};
use crate::store::Change;

fn notices(changes: &[Change]) -> Vec<(EventType, Notice)> {
    changes
        .iter()
        .flat_map(|change| &change.events)
        .filter_map(|event| Some((event.kind, event.incident()?.properties.notice?)))
        .collect()
}

/// Lets every second pass up to and with `until`; returns the second and kind of each notice.
fn pass(book: &mut IncidentBook, from: i64, until: i64) -> Vec<(i64, NoticeKind, Milestone, GridLevel)> {
    let mut seen = Vec::new();
    for second in from..=until {
        for (_, notice) in notices(&book.tick(at(second))) {
            seen.push((second, notice.kind, notice.milestone, notice.level));
        }
    }
    seen
}

#[test]
fn an_unanswered_fire_is_reminded_of_then_overdue_then_goes_up_the_grid() {
    let mut book = book(IncidentConfig::default());
    book.process(&report("tower-1", 1, FIELD, 0, 5), at(6));
    let seen = pass(&mut book, 7, 1_000);
    assert_eq!(
        seen,
        [
            (
                240,
                NoticeKind::Reminder,
                Milestone::Responded,
                GridLevel::Village
            ),
            (300, NoticeKind::Overdue, Milestone::Responded, GridLevel::Village),
            (
                600,
                NoticeKind::Escalation,
                Milestone::Responded,
                GridLevel::Township
            ),
            (
                900,
                NoticeKind::Escalation,
                Milestone::Responded,
                GridLevel::District
            ),
        ]
    );
}

#[test]
fn a_reminder_is_an_update_and_a_missed_deadline_an_overdue_event() {
    let mut book = book(IncidentConfig::default());
    book.process(&report("tower-1", 1, FIELD, 0, 5), at(6));
    let reminder = notices(&book.tick(at(241)));
    assert_eq!(
        (reminder[0].0, reminder[0].1.remaining_s),
        (EventType::Updated, 59)
    );
    let overdue = notices(&book.tick(at(302)));
    assert_eq!((overdue[0].0, overdue[0].1.remaining_s), (EventType::Overdue, -2));
    assert!(notices(&book.tick(at(302))).is_empty(), "nothing is said twice");
}

#[test]
fn a_fire_that_is_dealt_with_in_time_is_left_alone() {
    let mut book = book(IncidentConfig::default());
    let id = book.process(&report("tower-1", 1, FIELD, 0, 5), at(6))[0]
        .incident
        .id;
    act(&mut book, id, Action::Confirm, 60).expect("it is suspected");
    act(&mut book, id, Action::Dispatch { team: None }, 70).expect("it is confirmed");
    act(&mut book, id, Action::Accept, 200).expect("it is dispatched");
    act(&mut book, id, Action::Extinguish, 1_500).expect("it is accepted");
    assert!(pass(&mut book, 1_501, 4_000).is_empty());
}

#[test]
fn a_rejected_incident_has_no_deadlines() {
    let mut book = book(IncidentConfig::default());
    let id = book.process(&report("tower-1", 1, FIELD, 0, 5), at(6))[0]
        .incident
        .id;
    let reason = crate::flow::incident::RejectReason::Fog;
    act(&mut book, id, Action::Reject { reason }, 60).expect("it is suspected");
    assert!(pass(&mut book, 61, 2_000).is_empty());
}

#[test]
fn after_a_long_stop_everything_that_passed_is_said_once_in_order() {
    let mut book = book(IncidentConfig::default());
    book.process(&report("tower-1", 1, FIELD, 0, 5), at(6));
    let seen = notices(&book.tick(at(7_200)));
    let kinds: Vec<_> = seen
        .iter()
        .map(|(_, notice)| (notice.milestone, notice.level))
        .collect();
    assert_eq!(
        kinds,
        [
            (Milestone::Responded, GridLevel::Village),
            (Milestone::Responded, GridLevel::Township),
            (Milestone::Responded, GridLevel::District),
            (Milestone::Extinguished, GridLevel::Village),
            (Milestone::Extinguished, GridLevel::Township),
            (Milestone::Extinguished, GridLevel::District),
        ]
    );
}

#[test]
fn another_profile_has_other_deadlines_and_another_meaning_of_responded() {
    let config: IncidentConfig = toml::from_str(
        r#"
        profile = "dancheng"
        [[profiles]]
        name = "dancheng"
        title = "接警15-30分钟内到位"
        escalate_every_s = 600
        [[profiles.milestones]]
        milestone = "responded"
        limit_s = 900
        reached_by = "on_scene"
        "#,
    )
    .expect("the configuration is sound");
    config.check().expect("the configuration is sound");
    let mut book = book(config);
    let id = book.process(&report("tower-1", 1, FIELD, 0, 5), at(6))[0]
        .incident
        .id;
    act(&mut book, id, Action::Confirm, 60).expect("it is suspected");
    act(&mut book, id, Action::Dispatch { team: None }, 70).expect("it is confirmed");
    act(&mut book, id, Action::Accept, 80).expect("it is dispatched");
    assert_eq!(
        pass(&mut book, 81, 901),
        [(900, NoticeKind::Overdue, Milestone::Responded, GridLevel::Village)]
    );
    act(&mut book, id, Action::Arrive, 950).expect("it is accepted");
    let incident = book.incident(id).expect("it is known");
    assert_eq!(incident.state, State::OnScene);
    assert!(incident.sla.as_ref().is_some_and(|sla| sla.next().is_none()));
}

#[test]
fn the_shipped_profiles_say_what_they_are_known_for() {
    let config = IncidentConfig::default();
    let limits = |name: &str| -> Vec<u32> {
        config
            .profiles
            .iter()
            .find(|profile| profile.name == name)
            .expect("it ships")
            .milestones
            .iter()
            .map(|limit| limit.limit_s)
            .collect()
    };
    assert_eq!(limits("1530"), [60, 300, 1_800]);
    assert_eq!(limits("235"), [120, 180, 300]);
}

#[test]
fn every_problem_of_a_configuration_is_said_at_once() {
    let config: IncidentConfig = toml::from_str(
        r#"
        time_zone = "Mars/Olympus"
        gate = -1.0
        profile = "2530"
        [[quiet]]
        name = "turned round"
        zone = { polygon = [[113.2, 35.1], [113.3, 35.1], [113.3, 35.2]] }
        [[confirm]]
        name = "too sure"
        min_score = 1.5
        "#,
    )
    .expect("it is well-formed");
    let problems = config.check().expect_err("nearly everything is wrong").0;
    assert_eq!(problems.len(), 5, "{problems:?}");
    assert!(
        problems
            .iter()
            .any(|problem| problem.starts_with("profile:") && problem.contains("1530"))
    );
    assert!(
        toml::from_str::<IncidentConfig>("gaet = 3.0").is_err(),
        "a misspelt setting"
    );
}

#[test]
fn the_example_that_ships_is_sound() {
    let text = include_str!(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/deploy/incidents.example.toml"
    ));
    let config: IncidentConfig = toml::from_str(text).expect("it is well-formed");
    config.check().expect("it is sound");
    assert_eq!(config.checklist.len(), 5);
    // Its profiles are the ones that hold without a file.
    assert_eq!(
        config
            .profiles
            .iter()
            .map(|profile| profile.milestones.len())
            .collect::<Vec<_>>(),
        IncidentConfig::default()
            .profiles
            .iter()
            .map(|profile| profile.milestones.len())
            .collect::<Vec<_>>(),
    );
    let kept: IncidentConfig =
        serde_json::from_str(&serde_json::to_string(&config).expect("it can be written")).expect("and read");
    assert_eq!(kept, config, "the store keeps it as it is");
}
