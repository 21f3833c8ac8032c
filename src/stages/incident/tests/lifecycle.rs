//! The life cycle: what people and the dispatch system may do, and what they are told when they may not.

use super::scene::{FIELD, act, at, book, field, report, snapshot};
use crate::flow::event::EventType;
use crate::flow::incident::{
    Actor, ActorKind, GridCell, IncidentId, Milestone, RejectReason, ReturnReason, State, TransitionKind,
};
use crate::stages::incident::{Act, Action, IncidentBook, IncidentConfig, Refusal};

fn suspected(config: IncidentConfig) -> (IncidentBook, IncidentId) {
    let mut book = book(config);
    let mut first = report("tower-1", 1, FIELD, 0, 5);
    first.evidence = vec![snapshot("first.jpg", 1)];
    let id = book.process(&first, at(6))[0].incident.id;
    (book, id)
}

#[test]
fn an_incident_goes_from_suspected_to_closed_with_an_event_each() {
    let (mut book, id) = suspected(IncidentConfig::default());
    let steps = [
        (Action::Confirm, State::Confirmed, EventType::Confirmed),
        (
            Action::Dispatch {
                team: Some("一队".to_owned()),
            },
            State::Dispatched,
            EventType::Dispatched,
        ),
        (Action::Accept, State::Accepted, EventType::Accepted),
        (Action::Arrive, State::OnScene, EventType::OnScene),
        (Action::Extinguish, State::Extinguished, EventType::Extinguished),
        (Action::Close, State::Closed, EventType::Closed),
    ];
    let mut before = State::Suspected;
    for (number, (action, state, event)) in steps.into_iter().enumerate() {
        let seconds = 60 * (number as i64 + 1);
        let changes = act(&mut book, id, action, seconds).expect("the life cycle allows it");
        let [change] = changes.as_slice() else {
            panic!("one change each");
        };
        assert_eq!(change.incident.state, state);
        assert_eq!(change.events[0].kind, event);
        assert_eq!(change.transition.from, Some(before));
        assert_eq!(change.transition.at, at(seconds));
        assert_eq!(change.transition.actor.kind, ActorKind::Person);
        assert_eq!(change.incident.revision, number as u64 + 2);
        before = state;
    }
    let incident = book.incident(id).expect("it is known");
    assert_eq!(incident.reached(Milestone::Responded), Some(at(180)));
    assert_eq!(incident.reached(Milestone::Extinguished), Some(at(300)));
    assert_eq!(
        incident.grid.as_ref().and_then(|grid| grid.team.as_deref()),
        Some("一队")
    );
}

#[test]
fn an_illegal_step_is_refused_and_changes_nothing() {
    let (mut book, id) = suspected(IncidentConfig::default());
    for action in [
        Action::Accept,
        Action::Arrive,
        Action::Close,
        Action::Reopen,
        Action::Extinguish,
    ] {
        let refusal = act(&mut book, id, action, 60).expect_err("nobody confirmed it");
        assert!(matches!(refusal, Refusal::IllegalStep { .. }), "{refusal}");
        assert_eq!(refusal.status(), 409);
    }
    assert_eq!(book.incident(id).expect("it is known").revision, 1);
}

#[test]
fn acknowledgements_that_come_twice_or_out_of_order_change_nothing() {
    let (mut book, id) = suspected(IncidentConfig::default());
    act(&mut book, id, Action::Confirm, 10).expect("it is suspected");
    act(&mut book, id, Action::Dispatch { team: None }, 20).expect("it is confirmed");
    // The team reports from the scene; that it had accepted comes later.
    act(&mut book, id, Action::Arrive, 30).expect("a step may be left out");
    let revision = book.incident(id).expect("it is known").revision;
    assert!(act(&mut book, id, Action::Arrive, 40).expect("twice").is_empty());
    let refusal = act(&mut book, id, Action::Accept, 50).expect_err("out of order");
    assert!(refusal.to_string().contains("on_scene"), "{refusal}");
    let unknown = IncidentId::new(uuid::Uuid::nil());
    let refusal = act(&mut book, unknown, Action::Accept, 50).expect_err("unknown");
    assert_eq!(refusal.status(), 404);
    let incident = book.incident(id).expect("it is known");
    assert_eq!(incident.revision, revision);
    assert_eq!(
        incident.reached(Milestone::Responded),
        Some(at(30)),
        "being there implies it"
    );
}

#[test]
fn a_stale_revision_is_refused() {
    let (mut book, id) = suspected(IncidentConfig::default());
    let mut confirm = Act::new(id, Actor::person("李"), Action::Confirm);
    confirm.expected_revision = Some(1);
    book.process(&report("tower-2", 1, field(5.0, 0.0), 6, 9), at(10));
    let refusal = book.propose(&confirm, at(20)).expect_err("it has changed");
    assert!(matches!(
        refusal,
        Refusal::Stale {
            expected: 1,
            found: 2,
            ..
        }
    ));
    assert_eq!(refusal.status(), 412);
}

#[test]
fn words_from_outside_are_checked() {
    let (mut book, id) = suspected(IncidentConfig::default());
    let confirm = Act::new(id, Actor::person("李"), Action::Confirm);
    let bad = [
        Act {
            note: Some("长".repeat(2_001)),
            ..confirm.clone()
        },
        Act {
            actor: Actor::person(" "),
            ..confirm.clone()
        },
        Act {
            evidence: vec!["../../etc/passwd".to_owned()],
            ..confirm.clone()
        },
        Act {
            at: Some(at(-1)),
            ..confirm.clone()
        },
        Act {
            at: Some(at(1_000)),
            ..confirm.clone()
        },
        Act {
            place: Some(crate::flow::pose::Wgs84 {
                lat: f64::NAN,
                lon: 0.0,
            }),
            ..confirm.clone()
        },
    ];
    for act in bad {
        let refusal = book.propose(&act, at(60)).expect_err("it makes no sense");
        assert!(matches!(refusal, Refusal::Invalid(_)), "{refusal}");
    }
    let words = serde_json::from_str::<Action>(r#"{"action":"explode"}"#);
    assert!(
        words
            .expect_err("no such action")
            .to_string()
            .contains("extinguish")
    );
}

#[test]
fn a_disputed_incident_is_decided_and_dispatched_again_with_its_clock_running() {
    let (mut book, id) = suspected(IncidentConfig::default());
    act(&mut book, id, Action::Confirm, 10).expect("it is suspected");
    act(&mut book, id, Action::Dispatch { team: None }, 20).expect("it is confirmed");
    act(&mut book, id, Action::Accept, 40).expect("it is dispatched");
    let returned = act(
        &mut book,
        id,
        Action::Return {
            reason: ReturnReason::DisputedArea,
        },
        50,
    )
    .expect("a team may give it back");
    let feature = returned[0].events[0].incident().expect("an incident");
    assert_eq!(feature.properties.state, State::Returned);
    assert_eq!(feature.properties.return_reason, Some(ReturnReason::DisputedArea));
    assert_eq!(
        returned[0].incident.reached(Milestone::Responded),
        None,
        "nobody responds now"
    );
    let cell = GridCell {
        township: Some("苏家作乡".to_owned()),
        ..GridCell::default()
    };
    let assigned = act(&mut book, id, Action::Assign { grid: cell.clone() }, 60).expect("it is open");
    assert_eq!(assigned[0].transition.kind, TransitionKind::Assigned);
    act(&mut book, id, Action::Dispatch { team: None }, 70).expect("again");
    act(&mut book, id, Action::Accept, 80).expect("the right team");
    let incident = book.incident(id).expect("it is known");
    assert_eq!(
        incident.grid,
        Some(cell),
        "no better point moves what a person decided"
    );
    assert_eq!(incident.reached(Milestone::Responded), Some(at(80)));
    assert_eq!(incident.return_reason, None);
}

#[test]
fn a_checklist_must_be_done_before_closing_where_that_is_the_rule() {
    let config: IncidentConfig = toml::from_str(
        r#"
        close_needs_checklist = true
        [[checklist]]
        name = "photo"
        title = "现场照片"
        needs_evidence = true
        [[checklist]]
        name = "person"
        title = "责任人"
        "#,
    )
    .expect("the configuration is sound");
    let (mut book, id) = suspected(config);
    act(&mut book, id, Action::Confirm, 10).expect("it is suspected");
    act(&mut book, id, Action::Extinguish, 100).expect("it is confirmed");
    let refusal = act(&mut book, id, Action::Close, 110).expect_err("nothing is ticked");
    assert!(refusal.to_string().contains("photo, person"), "{refusal}");
    let tick = |item: &str| Action::Check {
        item: item.to_owned(),
    };
    assert!(
        act(&mut book, id, tick("photo"), 120).is_err(),
        "it needs evidence"
    );
    assert!(
        act(&mut book, id, tick("badge"), 120).is_err(),
        "there is no such item"
    );
    let mut shown = Act::new(id, Actor::dispatch("wechat"), tick("photo"));
    shown.evidence = vec![snapshot("first.jpg", 1).sha256];
    let changes = book.propose(&shown, at(130)).expect("the file is known");
    book.apply(&changes);
    act(&mut book, id, tick("person"), 140).expect("it is open");
    assert!(act(&mut book, id, tick("person"), 150).expect("twice").is_empty());
    act(&mut book, id, Action::Close, 160).expect("everything is ticked");
}

#[test]
fn a_rule_confirms_at_night_what_a_person_must_confirm_by_day() {
    let config: IncidentConfig = toml::from_str(
        r#"
        [[confirm]]
        name = "night towers"
        sources = ["tower-*"]
        mount = "fixed"
        min_score = 0.6
        min_seen_s = 10
        between = "20:00-06:00"
        "#,
    )
    .expect("the configuration is sound");
    let mut book = book(config);
    let day = book.process(&report("tower-1", 1, FIELD, 0, 30), at(31));
    assert_eq!(day[0].incident.state, State::Suspected);
    let night = 11 * 3_600;
    let short = book.process(
        &report("tower-1", 2, field(900.0, 0.0), night, night + 5),
        at(night + 6),
    );
    assert_eq!(short.len(), 1, "five seconds are not enough");
    let long = book.process(
        &report("tower-1", 2, field(900.0, 0.0), night, night + 12),
        at(night + 13),
    );
    let confirmed = long.last().expect("it was confirmed");
    assert_eq!(confirmed.incident.state, State::Confirmed);
    assert_eq!(confirmed.transition.actor, Actor::rule("night towers"));
    let drone = book.process(
        &report("drone-1", 3, field(-900.0, 0.0), night, night + 60),
        at(night + 61),
    );
    assert_eq!(
        drone[0].incident.state,
        State::Suspected,
        "the rule is for towers"
    );
}

#[test]
fn the_reason_of_a_rejection_is_kept() {
    let (mut book, id) = suspected(IncidentConfig::default());
    let changes = act(
        &mut book,
        id,
        Action::Reject {
            reason: RejectReason::Dust,
        },
        60,
    )
    .expect("it is suspected");
    assert_eq!(changes[0].transition.reject_reason, Some(RejectReason::Dust));
    assert_eq!(changes[0].events[0].kind, EventType::Rejected);
    let again = act(&mut book, id, Action::Reopen, 90).expect("a person may be wrong");
    assert_eq!(again[0].incident.state, State::Confirmed);
    assert_eq!(again[0].transition.kind, TransitionKind::Reopened);
}
