//! Incidents, their history, evidence, retention and the audit.

use super::sample::{at, change, file, folder, id, incident, moved, open, opened};
use crate::flow::incident::{Actor, State};
use crate::store::{
    Area, AuditEntry, ErrorKind, IncidentFilter, RememberedAnswer, RetentionPolicy, SinkStart, Store,
};

const HASH_OF_ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn a_change_is_written_whole_or_not_at_all() {
    let folder = folder();
    let store = open(&folder);
    store
        .register_sink("webhook", SinkStart::Now, at(0))
        .expect("it is new");
    let first = opened(1, 0);
    let mut stale = moved(&first.incident, State::Confirmed, 10);
    stale.incident.revision = 5;
    stale.transition.revision = 5;
    let error = store
        .commit(&[first.clone(), stale], at(10))
        .expect_err("revision 5 does not follow 1");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(error.revisions(), Some((4, Some(1))));
    assert_eq!(store.incident(id(1)).expect("reading works"), None);
    assert!(store.history(id(1)).expect("reading works").is_empty());
    assert!(
        store
            .pending("webhook", 10, at(10))
            .expect("reading works")
            .is_empty()
    );
    store
        .commit(std::slice::from_ref(&first), at(10))
        .expect("it is new");
    assert_eq!(
        store.incident(id(1)).expect("reading works"),
        Some(first.incident.clone())
    );
    let again = store.commit(&[first], at(11)).expect_err("it exists");
    assert_eq!(again.kind(), ErrorKind::Conflict);
}

#[test]
fn a_change_of_an_unknown_incident_is_not_found() {
    let folder = folder();
    let store = open(&folder);
    let error = store
        .commit(&[moved(&incident(9, 0), State::Confirmed, 10)], at(10))
        .expect_err("nobody opened it");
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[test]
fn lists_are_filtered_by_area_and_state_and_go_on_where_they_ended() {
    let folder = folder();
    let store = open(&folder);
    for number in 0..25 {
        let mut fresh = incident(number, number as i64);
        if number % 2 == 1 {
            fresh.grid.as_mut().expect("it has a cell").township = Some("阳庙镇".to_owned());
        }
        let first = change(fresh, None);
        let second = moved(&first.incident, State::Confirmed, 100);
        let changes = if number < 20 {
            vec![first, second]
        } else {
            vec![first]
        };
        store.commit(&changes, at(100)).expect("it is new");
    }
    let mut filter = IncidentFilter {
        states: vec![State::Confirmed],
        area: Area {
            township: Some("阳庙镇".to_owned()),
            ..Area::default()
        },
        limit: 4,
        ..IncidentFilter::default()
    };
    let mut seen = Vec::new();
    loop {
        let page = store.incidents(&filter).expect("reading works");
        seen.extend(page.incidents.iter().map(|incident| incident.id));
        assert!(page.incidents.iter().all(|incident| filter.area.holds(incident)));
        match page.next {
            Some(mark) => filter.after = Some(mark),
            None => break,
        }
    }
    let expected: Vec<_> = (0..20).rev().filter(|number| number % 2 == 1).map(id).collect();
    assert_eq!(seen, expected, "newest first, each once");
    let counts = store.counts_by_state().expect("reading works");
    assert!(counts.contains(&(State::Confirmed, 20)) && counts.contains(&(State::Suspected, 5)));
    // A name with a quote in it is a name.
    filter.area.township = Some("x' OR '1'='1".to_owned());
    filter.after = None;
    assert!(
        store
            .incidents(&filter)
            .expect("reading works")
            .incidents
            .is_empty()
    );
}

#[test]
fn evidence_names_from_outside_never_become_paths() {
    let folder = folder();
    let store = open(&folder);
    let mut first = opened(1, 0);
    first.evidence = vec![file("a-1.jpg", HASH_OF_ABC, 3)];
    store.commit(&[first], at(0)).expect("it is new");
    assert!(store.evidence("a-1.jpg").expect("reading works").is_some());
    for name in [
        "../emberwatch.sqlite3",
        "/etc/passwd",
        "a-1.jpg/..",
        "..",
        "",
        ".hidden",
        "a\\b",
        "a\0b",
        "a%2fb",
    ] {
        assert_eq!(store.evidence(name).expect("reading works"), None, "{name:?}");
    }
    let mut second = opened(2, 0);
    second.evidence = vec![file("../x.jpg", HASH_OF_ABC, 3)];
    assert_eq!(
        store.commit(&[second], at(0)).expect_err("no file name").kind(),
        ErrorKind::Invalid
    );
    let mut third = opened(3, 0);
    third.evidence = vec![file("a-1.jpg", &"11".repeat(32), 3)];
    let error = store
        .commit(&[third], at(0))
        .expect_err("another file under that name");
    assert!(error.to_string().contains("another SHA-256"), "{error}");
}

#[test]
fn retention_deletes_what_is_over_its_time_and_writes_it_down() {
    let folder = folder();
    let store = open(&folder);
    let write =
        |name: &str| std::fs::write(store.evidence_folder().join(name), b"abc").expect("it is written");
    let day = 86_400;
    // Unconfirmed for 40 days; the same under hold; confirmed and over for 40 days; still open.
    for (number, name) in [(1, "old.jpg"), (2, "held.jpg"), (3, "case.jpg")] {
        let mut fresh = incident(number, 0);
        fresh.legal_hold = number == 2;
        let mut first = change(fresh, None);
        first.evidence = vec![file(name, HASH_OF_ABC, 3)];
        write(name);
        store.commit(&[first], at(0)).expect("it is new");
    }
    let confirmed = moved(&incident(3, 0), State::Confirmed, 60);
    let ended = moved(&confirmed.incident, State::Extinguished, 600);
    store.commit(&[confirmed, ended], at(600)).expect("they follow");
    let policy = RetentionPolicy::default();
    let now = at(40 * day);
    let summary = store.enforce_retention(&policy, now).expect("it is written");
    assert_eq!((summary.files, summary.bytes, summary.stuck), (1, 3, 0));
    let there = |name: &str| {
        store
            .evidence_folder()
            .join(name)
            .try_exists()
            .expect("it can be looked at")
    };
    assert!(!there("old.jpg") && there("held.jpg") && there("case.jpg"));
    let log = store.deletions().expect("reading works");
    assert_eq!(log.len(), 1);
    assert_eq!(
        log[0][1..],
        ["old.jpg", HASH_OF_ABC, &id(1).to_string(), "unconfirmed"].map(String::from)
    );
    let kept = store
        .evidence("old.jpg")
        .expect("reading works")
        .expect("the index keeps it");
    assert_eq!(kept.deleted_at, Some(now));
    assert!(store.incident(id(1)).expect("reading works").is_some());
    assert_eq!(store.enforce_retention(&policy, now).expect("again").files, 0);
    let later = store
        .enforce_retention(&policy, at(800 * day))
        .expect("it is written");
    assert_eq!(later.files, 1, "the confirmed one after two years");
    assert!(store.verify(true).expect("reading works").findings.is_empty());
}

#[test]
fn the_audit_and_the_history_cannot_be_rewritten() {
    let folder = folder();
    let store = open(&folder);
    store.commit(&[opened(1, 0)], at(0)).expect("it is new");
    for number in 0..3 {
        let entry = AuditEntry {
            at: at(number),
            actor: Actor::person("李"),
            action: "read_evidence".to_owned(),
            subject: "a.jpg".to_owned(),
            done: true,
            detail: None,
        };
        store.audit(&entry).expect("it is written");
    }
    assert_eq!(store.audit_after(1, 10).expect("reading works").len(), 2);
    let raw = rusqlite::Connection::open(folder.path().join("emberwatch.sqlite3")).expect("it opens");
    for sql in [
        "UPDATE transitions SET body = '{}'",
        "DELETE FROM transitions",
        "UPDATE audit SET at = 0",
        "DELETE FROM audit",
    ] {
        let error = raw.execute(sql, []).expect_err("append-only");
        assert!(error.to_string().contains("append-only"), "{error}");
    }
}

#[test]
fn a_line_that_was_changed_behind_our_back_is_found() {
    let folder = folder();
    let store = open(&folder);
    for number in 1..=3 {
        store.commit(&[opened(number, 0)], at(0)).expect("it is new");
    }
    let head = store.verify(false).expect("reading works");
    assert_eq!(
        (head.incidents, head.history_lines, head.findings.len()),
        (3, 3, 0)
    );
    let raw = rusqlite::Connection::open(folder.path().join("emberwatch.sqlite3")).expect("it opens");
    raw.execute_batch(
        "DROP TRIGGER transitions_stay;
         UPDATE transitions SET body = replace(body, 'emberwatch', 'somebody') WHERE seq = 2;",
    )
    .expect("who has the file can do that");
    let summary = store.verify(false).expect("reading works");
    assert_eq!(summary.history_lines, 1);
    assert_eq!(summary.findings.len(), 1);
    assert!(
        summary.findings[0].problem.contains("line 2"),
        "{:?}",
        summary.findings
    );
    raw.execute_batch(
        "DROP TRIGGER transitions_are_kept;
         DELETE FROM transitions WHERE seq = 3;
         UPDATE incidents SET state = 'closed' WHERE id LIKE '%1';",
    )
    .expect("who has the file can do that");
    assert_eq!(store.verify(false).expect("reading works").findings.len(), 4);
}

#[test]
fn an_evidence_file_that_was_changed_or_lost_is_found() {
    let folder = folder();
    let store = open(&folder);
    let mut first = opened(1, 0);
    first.evidence = vec![file("kept.jpg", HASH_OF_ABC, 3), file("lost.jpg", HASH_OF_ABC, 3)];
    store.commit(&[first], at(0)).expect("it is new");
    std::fs::write(store.evidence_folder().join("kept.jpg"), b"abc").expect("it is written");
    let summary = store.verify(true).expect("reading works");
    assert_eq!((summary.evidence_files, summary.findings.len()), (1, 1));
    std::fs::write(store.evidence_folder().join("kept.jpg"), b"abd").expect("it is written");
    assert_eq!(store.verify(true).expect("reading works").findings.len(), 2);
}

#[test]
fn a_backup_is_a_data_folder_and_never_overwrites_one() {
    let folder = folder();
    let store = open(&folder);
    let mut first = opened(1, 0);
    first.evidence = vec![file("a.jpg", HASH_OF_ABC, 3)];
    std::fs::write(store.evidence_folder().join("a.jpg"), b"abc").expect("it is written");
    store.commit(&[first.clone()], at(0)).expect("it is new");
    let target = folder.path().join("backup");
    let summary = store.backup(&target, true).expect("the folder is new");
    assert_eq!(summary.evidence_files, 1);
    assert!(summary.verified.findings.is_empty());
    store
        .commit(&[moved(&first.incident, State::Confirmed, 10)], at(10))
        .expect("it follows");
    let copy = Store::open(&target).expect("it is a data folder");
    assert_eq!(copy.incident(id(1)).expect("reading works"), Some(first.incident));
    let error = store.backup(&target, true).expect_err("there is one already");
    assert_eq!(error.kind(), ErrorKind::Invalid);
}

#[test]
fn an_export_is_text_with_sums_that_fit() {
    let folder = folder();
    let store = open(&folder);
    store
        .commit(&[opened(1, 0), opened(2, 1)], at(1))
        .expect("they are new");
    let target = folder.path().join("export");
    let summary = store.export(&target).expect("the folder is new");
    let lines: Vec<_> = summary
        .files
        .iter()
        .map(|(name, lines, _)| (name.as_str(), *lines))
        .collect();
    assert!(lines.contains(&("incidents.jsonl", 2)) && lines.contains(&("history.jsonl", 2)));
    let text = std::fs::read_to_string(target.join("incidents.jsonl")).expect("it was written");
    for line in text.lines() {
        serde_json::from_str::<crate::flow::incident::Incident>(line).expect("an incident a line");
    }
    let sums = std::fs::read_to_string(target.join("SHA256SUMS")).expect("it was written");
    assert_eq!(sums.lines().count(), 6);
    assert!(sums.contains(&summary.files[0].2));
}

#[test]
fn an_answer_is_remembered_for_a_day() {
    let folder = folder();
    let store = open(&folder);
    let answer = RememberedAnswer {
        fingerprint: "POST /x 00".to_owned(),
        status: 200,
        body: "{}".to_owned(),
        at: at(0),
    };
    store.remember_answer("key-1", &answer).expect("it is written");
    assert_eq!(
        store
            .remembered_answer("key-1", at(3_600))
            .expect("reading works"),
        Some(answer.clone())
    );
    assert_eq!(
        store
            .remembered_answer("key-1", at(90_000))
            .expect("reading works"),
        None
    );
    let later = RememberedAnswer {
        at: at(90_000),
        ..answer
    };
    store.remember_answer("key-2", &later).expect("it is written");
    assert_eq!(
        store
            .remembered_answer("key-2", at(90_000))
            .expect("reading works"),
        Some(later)
    );
}

#[test]
fn settled_events_are_removed_and_waiting_ones_never() {
    let folder = folder();
    let store = open(&folder);
    store
        .register_sink("webhook", SinkStart::Now, at(0))
        .expect("it is new");
    store
        .commit(&[opened(1, 0), opened(2, 0), opened(3, 0)], at(0))
        .expect("they are new");
    store.delivered("webhook", &[1], at(1)).expect("it is pending");
    store
        .dead_letter("webhook", 2, "400", at(1))
        .expect("it is pending");
    let summary = store
        .enforce_retention(&RetentionPolicy::default(), at(60 * 86_400))
        .expect("it is written");
    assert_eq!(summary.events, 1);
    let left: Vec<_> = store
        .events_after(0, 10)
        .expect("reading works")
        .iter()
        .map(|event| event.seq)
        .collect();
    assert_eq!(left, [2, 3]);
}
