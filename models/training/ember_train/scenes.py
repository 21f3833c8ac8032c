"""Rendered scenes as training pictures: frames of `emberwatch simulate` with the boxes of its truth files.

Plumes over farmland that no photo set shows from this far, and what only looks like them. For training alone: figures on
rendered pictures say little about real ones, and the seeds from 1000 on belong to `cargo bench --bench scenes`.
"""

import csv
import json
import subprocess
import tempfile
from pathlib import Path

import cv2

from . import CLASSES
from .dataset import COLUMNS
from .problems import BadInput, Problem

BURNING = ("drone", "orbit", "tower")
LOOKALIKES = ("lookalike-steam", "lookalike-dust", "lookalike-red-roof", "lookalike-cloud-shadow", "lookalike-steam",
              "lookalike-fog", "lookalike-dust", "lookalike-headlights", "lookalike-sunset", "lookalike-steam",
              "lookalike-greenhouse")
LOOKALIKES_OF_A_SEED = 3
# One of them in each seed, at dusk: what the models took for fire longest.
STUBBORN = ("lookalike-steam", "lookalike-dust")
WEATHERS = ("clear", "haze", "dusk", "clear", "haze", "night")
SIZES = (0.3, 0.6, 1.0, 2.0, 0.45)
FIRST_SEED_OF_THE_BENCH = 1000
SECONDS, FPS, WIDTH, HEIGHT = 16.0, 0.75, 960, 540
# A box whose thing is hidden further teaches a box that nobody can see.
LEAST_VISIBLE = 0.3


def write_scenes(program: Path, out: Path, seeds: int, first: int = 1) -> int:
    """Renders each seed's scenes and writes images, labels and manifest; returns the number of pictures."""
    if first + seeds > FIRST_SEED_OF_THE_BENCH:
        raise BadInput([Problem(out, 0, f"seeds from {FIRST_SEED_OF_THE_BENCH} on are kept for measuring; "
                                        f"asked for {first} to {first + seeds - 1}")])
    for folder in ("images", "labels"):
        (out / folder).mkdir(parents=True, exist_ok=True)
    rows = []
    for seed in range(first, first + seeds):
        for kind, options in _scenes_of(seed):
            rows += _frames_of(program, out, kind, seed, options)
    with (out / "manifest.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        writer.writerows(rows)
    return len(rows)


def _scenes_of(seed: int) -> list[tuple[str, list[str]]]:
    # By kind: one that comes twice in a seed is rendered once.
    scenes = {}
    for turn, kind in enumerate(BURNING):
        weather = WEATHERS[(seed + turn) % len(WEATHERS)]
        scenes[kind] = ["--weather", weather, "--fire-size", str(SIZES[(seed + turn) % len(SIZES)]), "--fire-start", "1"]
    for turn in range(LOOKALIKES_OF_A_SEED):
        number = LOOKALIKES_OF_A_SEED * seed + turn
        kind = LOOKALIKES[number % len(LOOKALIKES)]
        weather = (None, "haze", "dusk")[number // len(LOOKALIKES) % 3]
        of_its_own = weather is None or kind in ("lookalike-headlights", "lookalike-sunset")
        scenes[kind] = [] if of_its_own else ["--weather", weather]
    scenes[STUBBORN[seed % len(STUBBORN)]] = ["--weather", "dusk"]
    return list(scenes.items())


def _frames_of(program: Path, out: Path, kind: str, seed: int, options: list[str]) -> list[tuple]:
    name, rows = f"{kind}-{seed:03}", []
    with tempfile.TemporaryDirectory() as scratch:
        command = [str(program), "simulate", "--scene", kind, "--seed", str(seed), "--seconds", str(SECONDS), "--fps", str(FPS),
                   "--size", f"{WIDTH}x{HEIGHT}", "--name", name, "--out", scratch, *options]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise BadInput([Problem(program, 0, f"could not render {name}: {done.stderr.strip()}")])
        video = cv2.VideoCapture(str(Path(scratch) / f"{name}.mp4"))
        for line in (Path(scratch) / f"{name}.truth.jsonl").read_text().splitlines():
            truth = json.loads(line)
            is_there, pixels = video.read()
            if not is_there:
                raise BadInput([Problem(program, 0, f"{name} has fewer frames than its truth tells of")])
            labels = [_label(box) for box in truth["boxes"] if box["visible_fraction"] >= LEAST_VISIBLE]
            picture = f"{name}-{truth['frame']:02}"
            cv2.imwrite(str(out / "images" / f"{picture}.jpg"), pixels, [cv2.IMWRITE_JPEG_QUALITY, 92])
            (out / "labels" / f"{picture}.txt").write_text("".join(f"{line}\n" for line in labels))
            flames = sum(line.startswith("0") for line in labels)
            source = "rendered" if kind in BURNING else "rendered_lookalike"
            rows.append((picture, "train", source, WIDTH, HEIGHT, 1, flames, len(labels) - flames, name))
    return rows


def _label(box: dict) -> str:
    x0, y0, x1, y1 = box["box"]
    kind = CLASSES.index(box["class"])
    return (f"{kind} {(x0 + x1) / 2 / WIDTH:.5f} {(y0 + y1) / 2 / HEIGHT:.5f} "
            f"{(x1 - x0) / WIDTH:.5f} {(y1 - y0) / HEIGHT:.5f}")
