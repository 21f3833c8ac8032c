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
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use clap::Parser;

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

/// A child that is killed when dropped.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

impl Process {
    fn proc(&self, file: &str) -> String {
        std::fs::read_to_string(format!("/proc/{}/{file}", self.0.id())).unwrap_or_default()
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
        let folder = format!("/proc/{}/task", self.0.id());
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

fn rendered(program: &Path) -> PathBuf {
    let folder = std::env::temp_dir().join("emberwatch-bench");
    let clip = folder.join("capacity.mp4");
    if !clip.is_file() {
        println!("rendering a scene (once)");
        let status = Command::new(program)
            .args([
                "simulate",
                "--scene",
                "tower",
                "--size",
                "1920x1080",
                "--fps",
                "25",
            ])
            .args(["--seconds", "12", "--fire", "none", "--name", "capacity", "--out"])
            .arg(&folder)
            .stdout(Stdio::null())
            .status()
            .expect("the program starts");
        assert!(status.success(), "the scene could not be rendered");
    }
    clip
}

fn serve(program: &Path, clip: &Path, count: usize) -> (Process, Vec<String>) {
    let mut child = Command::new(program)
        .arg("serve")
        .arg(format!("{}=cam", clip.display()))
        .args(["--port", "0", "--copies", &count.to_string()])
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program starts");
    let lines = BufReader::new(child.stdout.take().expect("the output is piped")).lines();
    let addresses = lines
        .map_while(Result::ok)
        .take_while(|line| line != "ready")
        .collect();
    (Process(child), addresses)
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

fn metrics(address: &str) -> String {
    let ask = || -> std::io::Result<String> {
        let mut stream = TcpStream::connect(address)?;
        write!(
            stream,
            "GET /metrics HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n"
        )?;
        let mut text = String::new();
        stream.read_to_string(&mut text)?;
        Ok(text)
    };
    ask().unwrap_or_default()
}

/// Returns a metric of every source, in the order of the page.
fn all(page: &str, name: &str, label: &str) -> Vec<f64> {
    page.lines()
        .filter(|line| line.starts_with(name) && line.contains(label))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect()
}

fn inferred(page: &str) -> Vec<f64> {
    all(page, "emberwatch_frames_total", "fate=\"inferred\"")
}

fn row(args: &Args, clip: &Path, count: usize) -> f64 {
    let folder = tempfile::tempdir().expect("a folder");
    let (server, addresses) = serve(&args.program, clip, count);
    assert_eq!(addresses.len(), count, "the server did not start");
    let path = folder.path().join("pipeline.toml");
    std::fs::write(&path, pipeline(&addresses, &args.duty)).expect("the pipeline file is written");
    let began = Instant::now();
    let mut child = Command::new(&args.program)
        .args(["--log", "warn", "run"])
        .arg(&path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("the output is piped"))
        .read_line(&mut line)
        .expect("the service speaks");
    let service = Process(child);
    let address = line
        .trim()
        .strip_prefix("listening on http://")
        .unwrap_or_else(|| panic!("the service did not start: {line}"))
        .to_owned();
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
        server.cpu_s(),
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
        (server.cpu_s() - fed) / passed,
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
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, name)| name.trim());
    println!(
        "{name}, {} cores, load before {}; {} at {}, {} s a row; the server runs on the same cores",
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        load.trim(),
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
