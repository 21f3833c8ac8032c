//! What benches of the whole service need: a server of streams, the service, and its metrics.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// A child that is killed when dropped.
pub(crate) struct Process(pub(crate) Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

/// Returns this machine in words, and what else it does.
pub(crate) fn machine() -> String {
    let load = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    let processor = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = processor
        .lines()
        .find_map(|line| line.strip_prefix("model name")?.split_once(':'))
        .map_or("unknown", |(_, name)| name.trim());
    format!(
        "{name}, {} cores, load before {}",
        std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
        load.trim()
    )
}

/// Returns a quiet tower scene of 12 s, 1920x1080 at 25 frames a second with key frames each 2 s; rendered once.
pub(crate) fn rendered(program: &Path) -> PathBuf {
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

/// Serves a clip under so many addresses; port 0 takes a free one.
pub(crate) fn serve(program: &Path, clip: &Path, count: usize, port: u16) -> (Process, Vec<String>) {
    let mut child = Command::new(program)
        .arg("serve")
        .arg(format!("{}=cam", clip.display()))
        .args(["--port", &port.to_string(), "--copies", &count.to_string()])
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

/// Starts the service on a pipeline file and returns it with the address of its interface.
pub(crate) fn start(program: &Path, pipeline: &Path) -> (Process, String) {
    let mut child = Command::new(program)
        .args(["--log", "warn", "run"])
        .arg(pipeline)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("the program starts");
    let mut line = String::new();
    BufReader::new(child.stdout.take().expect("the output is piped"))
        .read_line(&mut line)
        .expect("the service speaks");
    let address = line
        .trim()
        .strip_prefix("listening on http://")
        .unwrap_or_else(|| panic!("the service did not start: {line}"))
        .to_owned();
    (Process(child), address)
}

pub(crate) fn metrics(address: &str) -> String {
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
pub(crate) fn all(page: &str, name: &str, label: &str) -> Vec<f64> {
    page.lines()
        .filter(|line| line.starts_with(name) && line.contains(label))
        .filter_map(|line| line.rsplit(' ').next()?.parse().ok())
        .collect()
}

/// Returns how often the model looked at each source.
pub(crate) fn inferred(page: &str) -> Vec<f64> {
    all(page, "emberwatch_frames_total", "fate=\"inferred\"")
}
