//! The ways in that are not RTSP, each from a real sender as a child process.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use emberwatch::flow::source::{Duty, SourceState};
use emberwatch::flow::time::MediaTime;

use crate::faults::{Seen, camera, watch};
use crate::reading::make_clip;
use crate::servers::free_port;

/// A sender; killed when dropped.
struct Sender(Child);

impl Sender {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let child = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        Self(child)
    }

    /// Sends a clip again and again, at the pace of its pictures.
    fn ffmpeg(clip: &Path, arguments: &[&str]) -> Self {
        let clip = clip.to_str().unwrap();
        let mut all = vec!["-nostdin", "-re", "-stream_loop", "-1", "-i", clip, "-c", "copy"];
        all.extend(arguments);
        Self::start("ffmpeg", &all)
    }
}

impl Drop for Sender {
    fn drop(&mut self) {
        let _gone = self.0.kill();
        let _reaped = self.0.wait();
    }
}

fn clip(folder: &Path, name: &str) -> Option<PathBuf> {
    let path = folder.join(name);
    make_clip(&path, 4, &[]).then_some(path)
}

/// Frames come, their times grow past the seam of the sent loop, and the source is called live.
fn gives_frames(address: &str) {
    watch(camera(address), Duty::Watch, |camera| {
        camera.state(SourceState::Live, 40.0);
        let ((_, _, width), first_s) = camera.frame(20.0);
        assert_eq!(width, 320);
        println!("{address}: first frame {first_s:.2} s after it was live");
        let mut last = MediaTime::ZERO;
        let mut count = 0;
        camera.wait("six seconds of frames", 40.0, |seen| match seen {
            Seen::Frame { pts, .. } => {
                assert!(*pts > last, "{pts} after {last}");
                last = *pts;
                count += 1;
                (count >= 150).then_some(())
            }
            Seen::State(..) => None,
        });
    });
}

#[test]
fn mpeg_ts_over_udp_gives_frames() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(clip) = clip(scratch.path(), "a.mp4") else {
        return;
    };
    let address = format!("udp://127.0.0.1:{}", free_port());
    let _sender = Sender::ffmpeg(&clip, &["-f", "mpegts", &format!("{address}?pkt_size=1316")]);
    gives_frames(&address);
}

#[test]
fn srt_gives_frames() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(clip) = clip(scratch.path(), "a.ts") else {
        return;
    };
    let port = free_port();
    let source = format!("multifilesrc location={} loop=true", clip.display());
    let sink = format!("srtsink uri=srt://127.0.0.1:{port}?mode=listener wait-for-connection=true");
    let line = format!("{source} ! tsparse set-timestamps=true ! {sink} sync=true");
    let arguments: Vec<&str> = line.split(' ').collect();
    let _sender = Sender::start("gst-launch-1.0", &arguments);
    gives_frames(&format!("srt://127.0.0.1:{port}"));
}

#[test]
fn rtmp_gives_frames() {
    let scratch = tempfile::tempdir().unwrap();
    let module = "/usr/lib/nginx/modules/ngx_rtmp_module.so";
    if !Path::new(module).try_exists().unwrap_or(false) {
        println!("skipped: nginx with its RTMP module is not installed (libnginx-mod-rtmp)");
        return;
    }
    let Some(clip) = clip(scratch.path(), "a.mp4") else {
        return;
    };
    let (port, folder) = (free_port(), scratch.path());
    let settings = folder.join("nginx.conf");
    let text = format!(
        "load_module {module};\ndaemon off;\nmaster_process off;\npid {0}/nginx.pid;\nerror_log {0}/error.log;\n\
         events {{}}\nrtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; }} }} }}\n",
        folder.display()
    );
    std::fs::write(&settings, text).unwrap();
    let _server = Sender::start(
        "nginx",
        &["-c", settings.to_str().unwrap(), "-p", folder.to_str().unwrap()],
    );
    let address = format!("rtmp://127.0.0.1:{port}/live/drone");
    // The sender finds the server once it listens.
    let push = format!(
        "until ffmpeg -nostdin -loglevel quiet -re -stream_loop -1 -i '{}' -c copy -f flv {address}; do sleep 0.2; done",
        clip.display()
    );
    let _sender = Sender::start("sh", &["-c", &push]);
    gives_frames(&address);
}

#[test]
fn hls_gives_frames() {
    let scratch = tempfile::tempdir().unwrap();
    let Some(clip) = clip(scratch.path(), "a.mp4") else {
        return;
    };
    let folder = scratch.path().join("hls");
    std::fs::create_dir(&folder).unwrap();
    let playlist = folder.join("live.m3u8");
    let _sender = Sender::ffmpeg(
        &clip,
        &[
            "-f",
            "hls",
            "-hls_time",
            "1",
            "-hls_list_size",
            "6",
            "-hls_flags",
            "delete_segments",
            playlist.to_str().unwrap(),
        ],
    );
    let port = free_port().to_string();
    let served = folder.to_str().unwrap();
    let _server = Sender::start(
        "python3",
        &[
            "-m",
            "http.server",
            &port,
            "--bind",
            "127.0.0.1",
            "--directory",
            served,
        ],
    );
    gives_frames(&format!("http://127.0.0.1:{port}/live.m3u8"));
}
