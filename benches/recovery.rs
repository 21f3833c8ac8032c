//! How fast a camera is watched again when it comes back, and whether the others notice: two real RTSP servers, of which
//! one hangs (stopped, with its connections open) or is killed and started again at the same port.
//!
//! `cargo bench --bench recovery -- --repeats 3`. `back_s` is from the server's return to the next look of the model;
//! the goal is 2 s and one distance of key frames (2 s in this clip). `others_s` is the longest time without a look at the
//! other camera meanwhile, beside the longest in a calm time of the same length; looks are 0.2 s apart.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(clippy::disallowed_methods, reason = "a bench waits and measures")]

use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

mod rig;

use rig::{Process, all, inferred, machine, metrics, rendered, serve, start};

#[derive(Debug, Parser)]
struct Args {
    /// How long the server is away, in seconds, one row each for hanging and for killed.
    #[arg(long, value_delimiter = ',', default_value = "4,20")]
    away: Vec<f64>,
    /// How often each is done.
    #[arg(long, default_value_t = 3)]
    repeats: u32,
    /// Which program; for comparing two builds.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_emberwatch"))]
    program: PathBuf,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How often the service is asked how far it is.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// Watches the looks at both cameras.
struct Watch<'a> {
    address: &'a str,
    counts: Vec<f64>,
    last: Vec<Instant>,
    /// The longest time without a look, in seconds, of each camera.
    longest_s: Vec<f64>,
}

impl<'a> Watch<'a> {
    fn new(address: &'a str) -> Self {
        let counts = inferred(&metrics(address));
        Self {
            address,
            last: vec![Instant::now(); counts.len()],
            longest_s: vec![0.0; counts.len()],
            counts,
        }
    }

    /// Looks until a condition holds.
    fn until(&mut self, mut holds: impl FnMut(&Self) -> bool) {
        while !holds(self) {
            std::thread::sleep(LOOK_EVERY);
            let counts = inferred(&metrics(self.address));
            for (source, count) in counts.iter().enumerate() {
                self.longest_s[source] =
                    self.longest_s[source].max(self.last[source].elapsed().as_secs_f64());
                if *count > self.counts[source] {
                    self.last[source] = Instant::now();
                }
            }
            self.counts = counts;
        }
    }

    fn for_s(&mut self, seconds: f64) {
        let from = Instant::now();
        self.until(|_| from.elapsed().as_secs_f64() >= seconds);
    }
}

fn signal(process: &Process, signal: Signal) {
    let pid = i32::try_from(process.0.id()).expect("a process id");
    kill(Pid::from_raw(pid), signal).expect("the server can be signalled");
}

fn main() {
    let args = Args::parse();
    let clip = rendered(&args.program);
    println!("{}; {}", machine(), clip.display());
    let (mut weak, addresses) = serve(&args.program, &clip, 1, 0);
    let port: u16 = addresses[0]
        .trim_start_matches("rtsp://127.0.0.1:")
        .split('/')
        .next()
        .and_then(|port| port.parse().ok())
        .expect("the address has a port");
    let (_strong, others) = serve(&args.program, &clip, 1, 0);
    let folder = tempfile::tempdir().expect("a folder");
    let mut text = String::from("[console]\nlisten = \"127.0.0.1:0\"\n");
    for (name, address) in [("weak", &addresses[0]), ("strong", &others[0])] {
        let _written = write!(
            text,
            "\n[[source]]\nid = \"{name}\"\nurl = \"{address}\"\nkind = \"live\"\nmount = \"fixed\"\nrate = 5.0\n"
        );
    }
    let path = folder.path().join("pipeline.toml");
    std::fs::write(&path, text).expect("the pipeline file is written");
    let (_service, address) = start(&args.program, &path);
    while inferred(&metrics(&address))
        .iter()
        .filter(|count| **count > 0.0)
        .count()
        < 2
    {
        std::thread::sleep(LOOK_EVERY);
    }
    let sources = all(&metrics(&address), "emberwatch_frames_total", "fate=\"inferred\"").len();
    assert_eq!(sources, 2, "both cameras are watched");
    // The page shows sources in the order of their names.
    let (strong, weak_at) = (0, 1);
    println!("what      away_s  back_s  others_s  calm_s");
    for away_s in args.away {
        for is_killed in [false, true] {
            for _repeat in 0..args.repeats {
                let mut watch = Watch::new(&address);
                watch.for_s(away_s + 6.0);
                let calm_s = watch.longest_s[strong];
                let mut watch = Watch::new(&address);
                if is_killed {
                    drop(weak);
                    watch.for_s(away_s);
                    weak = serve(&args.program, &clip, 1, port).0;
                } else {
                    signal(&weak, Signal::SIGSTOP);
                    watch.for_s(away_s);
                    signal(&weak, Signal::SIGCONT);
                }
                let returned = Instant::now();
                let before = watch.counts[weak_at];
                watch.until(|watch| watch.counts[weak_at] > before);
                let back_s = returned.elapsed().as_secs_f64();
                watch.for_s(6.0);
                println!(
                    "{:<8}  {away_s:>6.0}  {back_s:>6.2}  {:>8.2}  {calm_s:>6.2}",
                    if is_killed { "killed" } else { "hanging" },
                    watch.longest_s[strong]
                );
            }
        }
    }
}
