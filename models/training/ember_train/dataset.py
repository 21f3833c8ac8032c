"""Reads a folder of labelled pictures: YOLO labels, with or without a manifest.

With `manifest.csv` (name, split, source, width, height, smoke_labelled, flames, smokes,
cluster) the manifest decides what belongs to the set. Without it, every file in `images/`
does, and `images/train`, `images/val` (labels alike) give the split.
"""

import csv
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

from . import CLASSES
from .problems import BadInput, Problem

PICTURE_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp", ".webp")
COLUMNS = ("name", "split", "source", "width", "height", "smoke_labelled", "flames", "smokes", "cluster")
# A label written with five decimals may stick out by half a unit of the last one.
EDGE_TOLERANCE = 1e-3


@dataclass
class Picture:
    """One picture and its boxes: rows of class, centre x, centre y, width, height, all 0..1."""

    name: str
    path: Path
    split: str
    source: str
    smoke_labelled: bool
    boxes: np.ndarray
    cluster: str = ""
    width: int = 0
    height: int = 0


@dataclass
class Dataset:
    """The pictures of a folder, and what is odd about them without being fatal."""

    folder: Path
    pictures: list[Picture]
    warnings: list[Problem] = field(default_factory=list)

    def split(self, name: str) -> list[Picture]:
        return [p for p in self.pictures if p.split == name]


def read_dataset(folder: Path) -> Dataset:
    """Reads labels and manifest (not the pixels). Raises `BadInput` with every fault found."""
    folder = Path(folder)
    if not (folder / "images").is_dir():
        raise BadInput([Problem(folder, 0, "is no dataset: a folder `images` was expected in it")])
    problems: list[Problem] = []
    _check_class_order(folder, problems)
    manifest = folder / "manifest.csv"
    pictures = _from_manifest(folder, manifest, problems) if manifest.exists() else _from_folders(folder, problems)
    if not pictures and not problems:
        problems.append(Problem(folder / "images", 0, "holds no picture"))
    if problems:
        raise BadInput(problems)
    return Dataset(folder, pictures, _across_splits(manifest if manifest.exists() else folder, pictures))


def join(datasets: list[Dataset]) -> Dataset:
    """Puts datasets together; the first gives its folder."""
    return Dataset(datasets[0].folder, [p for d in datasets for p in d.pictures], [w for d in datasets for w in d.warnings])


def read_labels(path: Path, problems: list[Problem]) -> np.ndarray:
    """Reads one YOLO label file; faults are appended to `problems`, the good rows returned."""
    rows = []
    try:
        text = path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        problems.append(Problem(path, 0, f"label file cannot be read: {error}"))
        return np.zeros((0, 5), np.float32)
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip():
            continue
        try:
            row = [float(word) for word in line.split()]
        except ValueError:
            problems.append(Problem(path, number, f"is not five numbers: {line!r}"))
            continue
        fault = _row_fault(row)
        if fault:
            problems.append(Problem(path, number, fault))
        else:
            rows.append(row)
    return np.array(rows, np.float32).reshape(-1, 5)


def _row_fault(row: list[float]) -> str | None:
    if len(row) != 5:
        return f"has {len(row)} numbers, expected 5: class, centre x, centre y, width, height"
    if not np.isfinite(row).all():
        return f"holds a number that is not finite: {row}"
    kind, cx, cy, w, h = row
    if kind not in (0, 1):
        return f"class {kind:g} is unknown, expected 0 (flame) or 1 (smoke)"
    if w <= 0 or h <= 0:
        return f"box has no area: width {w:g}, height {h:g}"
    low, high = min(cx - w / 2, cy - h / 2), max(cx + w / 2, cy + h / 2)
    if low < -EDGE_TOLERANCE or high > 1 + EDGE_TOLERANCE:
        return f"box leaves the picture: spans {low:.4f} to {high:.4f}, expected 0 to 1"
    return None


def _check_class_order(folder: Path, problems: list[Problem]) -> None:
    """A `classes.txt` or a `names` line of `data.yaml` must say flame (or fire), then smoke."""
    for path in (folder / "classes.txt", folder / "data.yaml"):
        if not path.exists():
            continue
        lines = path.read_text().splitlines()
        if path.suffix == ".txt":
            number, names = 1, [line.strip() for line in lines if line.strip()]
        else:
            number, names = _yaml_names(lines)
        wanted = [n.lower() for n in names]
        if names and (wanted[:1] not in (["flame"], ["fire"]) or wanted[1:] != ["smoke"]):
            problems.append(Problem(path, number, f"classes are {names}, expected {list(CLASSES)} in this order"))


def _yaml_names(lines: list[str]) -> tuple[int, list[str]]:
    for number, line in enumerate(lines, 1):
        if not line.startswith("names:"):
            continue
        inline = line.split(":", 1)[1].strip().strip("[]{}")
        if inline:
            words = [w.split(":")[-1] for w in inline.split(",")]
        else:
            words = []
            for later in lines[number:]:
                if not later.startswith((" ", "-")):
                    break
                words.append(later.strip().lstrip("-").split(":")[-1])
        return number, [w.strip().strip("'\"") for w in words]
    return 0, []


def _from_manifest(folder: Path, manifest: Path, problems: list[Problem]) -> list[Picture]:
    pictures, seen = [], {}
    endings = {p.stem: p for p in (folder / "images").iterdir() if p.suffix.lower() in PICTURE_ENDINGS}
    with manifest.open(newline="") as file:
        rows = csv.DictReader(file)
        missing = [c for c in COLUMNS[:6] if c not in (rows.fieldnames or ())]
        if missing:
            problems.append(Problem(manifest, 1, f"lacks the columns {missing}"))
            return []
        for row in rows:
            at = rows.line_num
            name = Path(row["name"]).stem if row["name"].lower().endswith(PICTURE_ENDINGS) else row["name"]
            if name in seen:
                problems.append(Problem(manifest, at, f"names {name!r} again, first on line {seen[name]}"))
                continue
            seen[name] = at
            if name not in endings:
                problems.append(Problem(manifest, at, f"names {name!r}, which has no picture in images/"))
                continue
            if row["split"] not in ("train", "val", "test"):
                problems.append(Problem(manifest, at, f"split {row['split']!r}, expected train, val or test"))
                continue
            if row["smoke_labelled"] not in ("0", "1"):
                problems.append(Problem(manifest, at, f"smoke_labelled {row['smoke_labelled']!r}, expected 0 or 1"))
                continue
            size = [row[side] or "0" for side in ("width", "height")]
            if not all(side.isascii() and side.isdigit() for side in size):
                problems.append(Problem(manifest, at, f"width and height {row['width']!r}, {row['height']!r}, expected pixels, or nothing where unknown"))
                continue
            boxes = _labels_of(folder / "labels" / f"{name}.txt", problems)
            for column, kind in (("flames", 0), ("smokes", 1)):
                found = int((boxes[:, 0] == kind).sum())
                if row.get(column) not in (None, "", str(found)):
                    problems.append(Problem(manifest, at, f"{column} says {row[column]}, labels/{name}.txt holds {found}"))
            pictures.append(Picture(name, endings[name], row["split"], row["source"], row["smoke_labelled"] == "1",
                                    boxes, row.get("cluster", ""), *map(int, size)))
    for name in sorted(set(endings) - set(seen)):
        problems.append(Problem(endings[name], 0, "is in images/ and not in manifest.csv"))
    return pictures


def _from_folders(folder: Path, problems: list[Problem]) -> list[Picture]:
    pictures = []
    for path in sorted((folder / "images").rglob("*")):
        if path.suffix.lower() not in PICTURE_ENDINGS:
            continue
        inside = path.relative_to(folder / "images")
        split = inside.parts[0] if len(inside.parts) > 1 and inside.parts[0] in ("train", "val", "test") else "train"
        boxes = _labels_of((folder / "labels" / inside).with_suffix(".txt"), problems)
        pictures.append(Picture(str(inside.with_suffix("")), path, split, folder.name, True, boxes))
    return pictures


def _labels_of(path: Path, problems: list[Problem]) -> np.ndarray:
    if path.exists():
        return read_labels(path, problems)
    problems.append(Problem(path, 0, "is missing; a picture on which nothing burns has an empty label file"))
    return np.zeros((0, 5), np.float32)


def _across_splits(where: Path, pictures: list[Picture]) -> list[Problem]:
    """Clusters of near-duplicates that sit in two splits: val figures would flatter."""
    splits = defaultdict(set)
    for picture in pictures:
        if picture.cluster:
            splits[picture.cluster].add(picture.split)
    return [Problem(where, 0, f"cluster {c} is in {sorted(s)}: val would flatter")
            for c, s in splits.items() if len(s) > 1]


def read_pixels(picture: Picture, problems: list[Problem]) -> np.ndarray | None:
    """Decodes to 8-bit BGR, or appends why that is impossible."""
    pixels = cv2.imread(str(picture.path), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        problems.append(Problem(picture.path, 0, "picture cannot be decoded"))
        return None
    if pixels.dtype != np.uint8:
        problems.append(Problem(picture.path, 0, f"picture has {pixels.dtype.itemsize * 8} bits a sample, expected 8"))
        return None
    if picture.width and (pixels.shape[1], pixels.shape[0]) != (picture.width, picture.height):
        problems.append(Problem(picture.path, 0, f"picture is {pixels.shape[1]}x{pixels.shape[0]}, "
                                                 f"manifest says {picture.width}x{picture.height}"))
        return None
    if pixels.ndim == 2:
        return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR)
    return cv2.cvtColor(pixels, cv2.COLOR_BGRA2BGR) if pixels.shape[2] == 4 else pixels
