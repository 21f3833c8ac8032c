//! More cameras than the machine can carry: what gives way, and what does not.

use std::fmt::Write as _;

use crate::analysis::has_runtime;
use crate::command_line::emberwatch;
use crate::faults::Server;
use crate::service::{Service, write_pipeline};

#[test]
fn patrol_gives_way_first_then_watch_and_a_camera_on_alarm_never() {
    let folder = tempfile::tempdir().unwrap();
    if !has_runtime() {
        return;
    }
    // Fields without a fire: what looks like one would put every camera on alarm.
    let rendered = emberwatch(&[
        "simulate",
        "--scene",
        "tower",
        "--fire",
        "none",
        "--size",
        "320x180",
        "--fps",
        "25",
        "--seconds",
        "4",
        "--name",
        "calm",
        "--out",
        folder.path().to_str().unwrap(),
    ]);
    assert!(rendered.status.success(), "{rendered:?}");
    let server = Server::start(&folder.path().join("calm.mp4"), 0, None);
    let names: Vec<String> = (0..16).map(|number| format!("watch{number}")).collect();
    let mut sources = vec![
        ("alarm", server.address.as_str(), "duty = \"alarm\""),
        ("patrol", server.address.as_str(), "duty = \"patrol\""),
    ];
    sources.extend(
        names
            .iter()
            .map(|name| (name.as_str(), server.address.as_str(), "rate = 25.0")),
    );
    write_pipeline(folder.path(), &sources);
    // One session of the model gives a couple of hundred looks a second; over four hundred are asked for.
    let path = folder.path().join("pipeline.toml");
    let mut text = std::fs::read_to_string(&path).unwrap();
    let _written = write!(text, "\n[model]\nsessions = 1\n");
    std::fs::write(&path, text).unwrap();
    let service = Service::start(folder.path());
    let step = |it: &Service| -> u32 {
        let page = it.get("/metrics").1;
        let line = page
            .lines()
            .find(|line| line.starts_with("emberwatch_admission_step "));
        line.and_then(|line| line.rsplit(' ').next()?.parse().ok())
            .unwrap_or(0)
    };
    let mut steps = vec![0];
    service.until("watch is slowed", |it| {
        let now = step(it);
        if steps.last() != Some(&now) {
            steps.push(now);
        }
        now >= 4
    });
    assert_eq!(
        steps,
        [0, 1, 2, 3, 4],
        "patrol gives way before watch: {:#?}",
        service.events()
    );
    let slowed = |it: &Service, source: &str| {
        it.events().iter().any(|event| {
            event["subject"] == source
                && event["data"]["detail"]
                    .as_str()
                    .is_some_and(|detail| detail.starts_with("takes one of"))
        })
    };
    service.until("both are told of", |it| {
        slowed(it, "patrol") && slowed(it, "watch0")
    });
    assert!(!slowed(&service, "alarm"), "{:?}", service.events());
    let looked_at = service.inferred("alarm");
    service.until("the one on alarm is looked at all the time", |it| {
        it.inferred("alarm") >= looked_at + 25.0
    });
}
