//! What a live source holds back and then sends at once: all of it is received, and a decoder that cannot follow skips to
//! now.

use std::sync::{Arc, Mutex};

use emberwatch::flow::packet::Packet;
use emberwatch::flow::source::Duty;
use emberwatch::stages::ingest::{DecoderChoice, PacketTap, SourceSpec};
use emberwatch::telemetry::klv::sei;
use nix::sys::signal::Signal;

use crate::faults::{Seen, Server, camera, watch, watch_tapped};
use crate::reading::make_clip;

/// Keeps the times that the pictures carry, in microseconds; none for one that carries none.
#[derive(Default)]
struct Times(Mutex<Vec<Option<u64>>>);

impl PacketTap for Times {
    fn packet(&self, packet: Packet) {
        self.0
            .lock()
            .unwrap()
            .push(sei::find(&packet.bytes).map(|time| time.time_us));
    }

    fn discontinuity(&self) {}
}

#[test]
fn what_a_pause_of_the_network_held_back_comes_all_at_once_and_is_all_taken() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    let file = scratch.path().join("a.mp4");
    if !make_clip(&file, 20, &["-bf", "3"]) {
        return;
    }
    let server = Server::start_with(&file, 0, &["--precision-time"], &[]);
    let times = Arc::new(Times::default());
    let counted = watch_tapped(
        camera(&server.address),
        Duty::Watch,
        Some(Arc::clone(&times) as Arc<dyn PacketTap>),
        |camera| {
            camera.frame(20.0);
            for _ in 0..3 {
                camera.clock_passes(0.5);
                server.signal(Signal::SIGSTOP);
                camera.clock_passes(0.7);
                server.signal(Signal::SIGCONT);
            }
            camera.clock_passes(1.0);
        },
    );
    let times = times.0.lock().unwrap();
    let mut stamped: Vec<u64> = times.iter().copied().flatten().collect();
    assert!(stamped.len() > 90, "{}", stamped.len());
    assert_eq!(stamped.len(), times.len(), "a packet lost its time: {counted:?}");
    stamped.sort_unstable();
    // The last ones came out of order.
    stamped.truncate(stamped.len() - 5);
    let longest_us = stamped.windows(2).map(|pair| pair[1] - pair[0]).max();
    assert!(
        longest_us < Some(50_000),
        "{longest_us:?} us are missing; {counted:?}"
    );
    assert_eq!((counted.damaged, counted.connections), (0, 1), "{counted:?}");
}

#[test]
fn a_decoder_that_falls_behind_leaves_packets_out_and_the_next_frame_says_how_many() {
    let scratch = tempfile::tempdir().expect("a temporary folder");
    // Too much for one thread when four seconds of it come at once.
    let more = ["-s", "3840x2160", "-preset", "ultrafast"];
    let file = scratch.path().join("a.mp4");
    if !make_clip(&file, 4, &more) {
        return;
    }
    let server = Server::start(&file, 0, None);
    let spec = SourceSpec {
        decoder: DecoderChoice::Software,
        ..camera(&server.address)
    };
    let mut told = 0;
    let counted = watch(spec, Duty::Watch, |camera| {
        camera.frame(20.0);
        camera.clock_passes(0.5);
        server.signal(Signal::SIGSTOP);
        camera.clock_passes(4.0);
        server.signal(Signal::SIGCONT);
        camera.wait("a frame that tells of a loss", 30.0, |seen| match seen {
            Seen::Frame { behind, .. } => {
                told += u64::from(*behind);
                (told > 0).then_some(())
            }
            Seen::State(..) => None,
        });
        camera.frame(5.0);
    });
    assert!(told <= counted.behind, "{told} of {counted:?}");
    assert_eq!(counted.connections, 1, "{counted:?}");
    // All that was not left out was decoded, but for what waits or is inside the decoder at the end.
    let given = counted.packets - counted.behind - counted.undecoded;
    assert!(
        counted.decoded <= given && counted.decoded + 60 > given,
        "{counted:?}"
    );
}
