"""A toy set: flames are orange discs, smoke is grey discs. Enough to run every step on it."""

import csv
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="skipped: torch is not installed (models/training/requirements.txt)")
import cv2
import numpy as np

sys.path.insert(0, str(Path(__file__).parent.parent))

COLOURS = {0: (30, 130, 250), 1: (170, 170, 170)}


def draw(rng: np.random.Generator, burning: bool) -> tuple[np.ndarray, list]:
    pixels = rng.integers(20, 90, (96, 128, 3)).astype(np.uint8)
    rows = []
    for kind in (0, 1) if burning else ():
        radius = int(rng.integers(8, 20))
        x, y = int(rng.integers(radius, 128 - radius)), int(rng.integers(radius, 96 - radius))
        cv2.circle(pixels, (x, y), radius, COLOURS[kind], -1)
        rows.append((kind, x / 128, y / 96, 2 * radius / 128, 2 * radius / 96))
    return pixels, rows


@pytest.fixture
def toy(tmp_path) -> Path:
    """A dataset folder with manifest: 24 pictures, a third of them calm, a third for val."""
    folder = tmp_path / "toy"
    (folder / "images").mkdir(parents=True)
    (folder / "labels").mkdir()
    rng = np.random.default_rng(0)
    with (folder / "manifest.csv").open("w", newline="") as file:
        table = csv.writer(file)
        table.writerow("name,split,source,width,height,smoke_labelled,flames,smokes,cluster".split(","))
        for i in range(24):
            pixels, rows = draw(rng, i % 3 > 0)
            cv2.imwrite(str(folder / "images" / f"p{i:02}.jpg"), pixels)
            (folder / "labels" / f"p{i:02}.txt").write_text("".join(f"{k} {x:.5f} {y:.5f} {w:.5f} {h:.5f}\n" for k, x, y, w, h in rows))
            table.writerow((f"p{i:02}", "val" if i % 8 < 3 else "train", "toy", 128, 96, 1, len(rows) // 2, len(rows) // 2, i))
    return folder
