"""One recording, one model, every frame: this program beside others and beside the floors, in turn, on this machine.

    python -m venv .venv && .venv/bin/pip install -r benches/peers/requirements.txt
    cargo build --release && .venv/bin/python benches/peers/compare.py VIDEO [--repeats 3]

Each row is the median of the repeats; CPU time is of the whole process with its start, so take a clip of 20 s or more.
"""

import argparse
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
MODEL = ROOT / "models/fire-smoke-nano/fire-smoke-nano-416x256.onnx"


def timed(command: list[str]) -> tuple[float, float, int, str]:
    """Runs a command; returns wall seconds, CPU seconds, the most resident KiB and what it printed."""
    began = time.perf_counter()
    child = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    said = child.stdout.read()
    _, status, used = os.wait4(child.pid, 0)
    if status != 0:
        sys.exit(f"{' '.join(command)}: failed with status {status}")
    return time.perf_counter() - began, used.ru_utime + used.ru_stime, used.ru_maxrss, said


def emberwatch(program: str, video: str, more: list[str]) -> tuple[list[str], Path]:
    out = Path(tempfile.mkdtemp())
    return [program, "analyze", "--out", str(out), *more, video], out


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("video")
    parser.add_argument("--program", default=str(ROOT / "target/release/emberwatch"))
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--roboflow", help="the python of an environment with inference-cpu==1.8.3, for one more row")
    given = parser.parse_args()
    video = str(Path(given.video).resolve())
    script = [sys.executable, str(ROOT / "benches/peers/opencv_ort.py")]
    launch = f"filesrc location={video} ! parsebin ! avdec_h264 max-threads=1 ! fakesink sync=false"
    rows = {
        "floor: gst-launch to fakesink": lambda: timed(["gst-launch-1.0", "-q", *launch.split()]),
        "floor: bare session": lambda: timed([*script, "floor", video, str(MODEL)]),
        "OpenCV + ONNX Runtime, defaults": lambda: timed([*script, "serial", video, str(MODEL)]),
        "OpenCV + ONNX Runtime, tuned": lambda: timed([*script, "threaded", video, str(MODEL)]),
        "emberwatch analyze, every frame": lambda: timed(emberwatch(given.program, video, ["--rate", "0"])[0]),
        "emberwatch analyze, screening": lambda: timed(emberwatch(given.program, video, ["--duty", "patrol"])[0]),
    }
    if given.roboflow:
        peer = [given.roboflow, str(ROOT / "benches/peers/roboflow.py"), video, str(MODEL)]
        rows["Roboflow InferencePipeline, same session"] = lambda: timed(peer)
    command, out = emberwatch(given.program, video, ["--rate", "0"])
    timed(command)
    told = json.loads((out / "summary.json").read_text())["inputs"][0]
    frames, seconds = told["frames_in"], told["duration_s"]
    name = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    print(f"{name[1] if name else 'unknown'}, {os.cpu_count()} cores, load before {os.getloadavg()[0]:.2f}")
    print(f"{video}: {frames} frames, {seconds:.1f} s; every frame inferred: {told['frames_inferred'] == frames}")
    print(f"{'':42}{'wall s':>8}{'frames/s':>10}{'CPU ms/frame':>14}{'x real time':>13}{'most MiB':>10}")
    for title, row in rows.items():
        runs = [row() for _ in range(given.repeats)]
        wall, cpu = (statistics.median(run[at] for run in runs) for at in (0, 1))
        print(
            f"{title:42}{wall:8.2f}{frames / wall:10.1f}{cpu * 1000 / frames:14.2f}"
            f"{seconds / wall:13.1f}{max(run[2] for run in runs) / 1024:10.0f}",
            flush=True,
        )


if __name__ == "__main__":
    main()
