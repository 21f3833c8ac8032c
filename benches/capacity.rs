//! How many live streams one machine carries: N real RTSP streams from a server of their own, watched by the service.
//!
//! `cargo bench --bench capacity -- --duty watch --streams 1,8,14 --seconds 60`. A row is carried when the worst source's
//! frame age (95th percentile, at the verdict) is below 1 s and every source got at least 95 % of the looks asked for.
//! `step` is how far the service has slowed its sources to fit the machine; on a clip with a fire in it (`--clip`) all
//! sources rise to alarm and do what they can. `slope` is how fast the service's memory grew over the later three quarters
//! of the time; an hour of it is a soak: `--streams 4 --seconds 3600`. `--threads` shows what each kind of thread used.

#![expect(clippy::print_stdout, reason = "a bench prints its table")]
#![expect(clippy::disallowed_methods, reason = "a bench waits and measures")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use clap::Parser;

mod rig;

use rig::{Process, all, inferred, machine, metrics, rendered, serve, start};

#[derive(Debug, Parser)]
struct Args {
    /// How hard the streams are watched: watch (five looks a second) or patrol (each key frame).
    #[arg(long, default_value = "watch")]
    duty: String,
    /// How many streams, one row each.
    #[arg(long, value_delimiter = ',', default_value = "1,4,8")]
    streams: Vec<usize>,
    /// How long each row is measured, in seconds.
    #[arg(long, default_value_t = 20.0)]
    seconds: f64,
    /// How long the service runs before that.
    #[arg(long, default_value_t = 10.0)]
    warm_up: f64,
    /// What each camera sends; without it 12 s of 1920x1080 at 25 frames a second are rendered.
    #[arg(long)]
    clip: Option<PathBuf>,
    /// Which program; for comparing two builds.
    #[arg(long, default_value = env!("CARGO_BIN_EXE_emberwatch"))]
    program: PathBuf,
    /// Shows the CPU time of the service's threads, by the end of their names.
    #[arg(long)]
    threads: bool,
    /// Given by `cargo bench`.
    #[arg(long, hide = true)]
    bench: bool,
}

/// What a process used so far.
struct Usage(u32);

impl Usage {
    fn of(process: &Process) -> Self {
        Self(process.0.id())
    }

    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0)).unwrap_or_default()
    }

    /// Returns the CPU seconds used so far, of all threads.
    fn cpu_s(&self) -> f64 {
        let text = self.proc("stat");
        let after_name = text.rsplit_once(')').map_or("", |(_, rest)| rest);
        ticks(after_name) / 100.0
    }

    /// Returns the CPU seconds of its threads that run now, by the end of their names: `cam7/track` counts as `track`.
    fn thread_cpu_s(&self) -> BTreeMap<String, f64> {
        let mut spent = BTreeMap::new();
        let folder = format!("/proc/{}/task", self.0);
        for task in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            let text = std::fs::read_to_string(task.path().join("stat")).unwrap_or_default();
            let Some((name, rest)) = text.split_once('(').and_then(|(_, named)| named.rsplit_once(')'))
            else {
                continue;
            };
            let kind = name.rsplit('/').next().unwrap_or(name);
            let kind = kind.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == ':');
            *spent.entry(kind.to_owned()).or_insert(0.0) += ticks(rest) / 100.0;
        }
        spent
    }

    /// Returns the anonymous resident memory in MiB.
    fn resident_mib(&self) -> f64 {
        self.proc("status")
            .lines()
            .find_map(|line| {
                line.strip_prefix("RssAnon:")?
                    .split_whitespace()
                    .next()?
                    .parse()
                    .ok()
            })
            .map_or(0.0, |kib: f64| kib / 1024.0)
    }
}

/// Returns the clock ticks in user and system mode of a `stat` line, from behind the name on.
fn ticks(after_name: &str) -> f64 {
    after_name
        .split_whitespace()
        .skip(11)
        .take(2)
        .filter_map(|field| field.parse::<f64>().ok())
        .sum()
}

/// Returns the slope of the points' regression line.
fn slope(points: &[(f64, f64)]) -> f64 {
    let count = points.len() as f64;
    let mean = points.iter().fold((0.0, 0.0), |sum, point| {
        (sum.0 + point.0 / count, sum.1 + point.1 / count)
    });
    let (mut across, mut along) = (0.0, 0.0);
    for (x, y) in points {
        across += (x - mean.0) * (y - mean.1);
        along += (x - mean.0).powi(2);
    }
    if along > 0.0 { across / along } else { f64::NAN }
}

fn pipeline(addresses: &[String], duty: &str) -> String {
    let mut text = String::from(
        "[console]\nlisten = \"127.0.0.1:0\"\n\n[service]\nquiet_s = 5.0\n\n[[sink]]\nname = \"events\"\n\
         to = { kind = \"json_lines\", path = \"events.jsonl\" }\n",
    );
    for (number, address) in addresses.iter().enumerate() {
        let _written = write!(
            text,
            "\n[[source]]\nid = \"cam{number}\"\nurl = \"{address}\"\nkind = \"live\"\nmount = \"fixed\"\nduty = \"{duty}\"\nrate = 5.0\n"
        );
    }
    text
}

fn row(args: &Args, clip: &Path, count: usize) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, addresses) = serve(&args.program, clip, count, 0);
    assert_eq!(addresses.len(), count, "the server did not start");
    let path = folder.path().join("pipeline.toml");
    std::fs::write(&path, pipeline(&addresses, &args.duty)).expect("the pipeline file is written");
    let began = Instant::now();
    let (process, address) = start(&args.program, &path);
    let (service, feeding) = (Usage::of(&process), Usage::of(&server));
    while !inferred(&metrics(&address)).iter().any(|&count| count > 0.0) {
        assert!(
            began.elapsed() < Duration::from_mins(1),
            "nothing was inferred in a minute"
        );
        std::thread::sleep(Duration::from_millis(20));
    }
    let first_s = began.elapsed().as_secs_f64();
    std::thread::sleep(Duration::from_secs_f64(args.warm_up + count as f64 * 0.1));
    let (before, from, cpu, fed, resident, threads) = (
        inferred(&metrics(&address)),
        Instant::now(),
        service.cpu_s(),
        feeding.cpu_s(),
        service.resident_mib(),
        service.thread_cpu_s(),
    );
    let mut memory = Vec::new();
    while from.elapsed().as_secs_f64() < args.seconds {
        std::thread::sleep(Duration::from_secs_f64((args.seconds / 20.0).min(30.0)));
        memory.push((from.elapsed().as_secs_f64() / 3600.0, service.resident_mib()));
    }
    let page = metrics(&address);
    let passed = from.elapsed().as_secs_f64();
    let asked = if args.duty == "patrol" {
        passed / 2.0
    } else {
        passed * 5.0
    };
    // A look that falls just outside the time is no failure.
    let shares: Vec<f64> = inferred(&page)
        .iter()
        .zip(&before)
        .map(|(after, before)| (after - before) / (asked - 1.0).max(1.0))
        .collect();
    let least = shares.iter().copied().fold(f64::INFINITY, f64::min).min(1.0);
    let mean = shares.iter().map(|share| share.min(1.0)).sum::<f64>() / shares.len().max(1) as f64;
    let age = all(&page, "emberwatch_frame_age_seconds", "quantile=\"0.95\"")
        .into_iter()
        .fold(0.0, f64::max);
    let lost: f64 = all(&page, "emberwatch_frames_total", "fate=\"lost_").iter().sum();
    let step = all(&page, "emberwatch_admission_step", "")
        .into_iter()
        .fold(0.0, f64::max);
    let after = service.resident_mib();
    let is_carried = least >= 0.95 && age < 1.0 && shares.len() == count;
    println!(
        "{count:>7}  {:>6.2}  {:>6.3}  {:>6.2}  {mean:>5.3}  {least:>5.3}  {lost:>6.0}  {step:>4.0}  {:>6.2}  {:>6.2}  {after:>8.1}  {:>8.1}  {:>8.1}  {}",
        first_s,
        age,
        shares.len() as f64,
        (service.cpu_s() - cpu) / passed,
        (feeding.cpu_s() - fed) / passed,
        after - resident,
        slope(&memory[memory.len() / 4..]),
        if is_carried { "carried" } else { "not carried" }
    );
    if args.threads {
        let mut spent: Vec<(String, f64)> = service
            .thread_cpu_s()
            .into_iter()
            .map(|(kind, after)| {
                let before = threads.get(&kind).copied().unwrap_or(0.0);
                (kind, (after - before) / passed)
            })
            .collect();
        spent.sort_by(|a, b| b.1.total_cmp(&a.1));
        for (kind, cores) in spent.iter().take(16) {
            println!("         {cores:>6.3} cores  {kind}");
        }
    }
    after
}

fn main() {
    let args = Args::parse();
    let clip = args.clip.clone().unwrap_or_else(|| rendered(&args.program));
    println!(
        "{}; {} at {}, {} s a row; the server runs on the same cores",
        machine(),
        clip.display(),
        args.duty,
        args.seconds
    );
    println!(
        "streams  first_s  p95_age  seen  mean  least    lost  step   cores  server  rss_MiB  grown_MiB  MiB/hour"
    );
    let mut memory = Vec::new();
    for &count in &args.streams {
        memory.push((count as f64, row(&args, &clip, count)));
    }
    if let (Some(first), Some(last)) = (memory.first(), memory.last())
        && last.0 > first.0
    {
        println!(
            "memory per further stream: {:.1} MiB (anonymous, {} to {} streams)",
            (last.1 - first.1) / (last.0 - first.0),
            first.0,
            last.0
        );
    }
}
