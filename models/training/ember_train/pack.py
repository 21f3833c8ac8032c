"""The training store: JPEG parts that travel to a GPU machine, and one file of decoded pixels.

`write_pack` turns a dataset into `part-NNN.bin` (each below 56 MiB, JPEG files end to end) and
`index.json`. `Store` decodes the parts once into `pixels.u8`, which every training process maps.
"""

import hashlib
import json
import os
from pathlib import Path

import cv2
import numpy as np

from .dataset import Dataset, read_pixels
from .problems import BadInput, Problem

PART_BYTES = 56 * 2**20


def write_pack(dataset: Dataset, out: Path, longest: int, quality: int = 90) -> dict:
    """Writes parts and index; returns counts. Pictures above `longest` pixels shrink to it."""
    out.mkdir(parents=True, exist_ok=True)
    problems: list[Problem] = []
    index, part, seen = [], bytearray(), {}
    parts = 0
    for picture in dataset.pictures:
        pixels = read_pixels(picture, problems)
        if pixels is None:
            continue
        digest = hashlib.sha256(pixels.tobytes()).hexdigest()
        first = seen.setdefault(digest, picture)
        if first.split != picture.split:
            dataset.warnings.append(Problem(picture.path, 0, f"equals {first.path.name} of the {first.split} split"))
        pixels, jpeg = _shrunk(picture.path, pixels, longest, quality)
        if len(part) + len(jpeg) > PART_BYTES:
            (out / f"part-{parts:03}.bin").write_bytes(part)
            part, parts = bytearray(), parts + 1
        index.append(dict(name=picture.name, split=picture.split, source=picture.source,
                          smoke_labelled=picture.smoke_labelled, boxes=np.round(picture.boxes, 5).tolist(),
                          part=parts, offset=len(part), bytes=len(jpeg),
                          height=pixels.shape[0], width=pixels.shape[1]))
        part += jpeg
    if problems:
        raise BadInput(problems)
    (out / f"part-{parts:03}.bin").write_bytes(part)
    (out / "index.json").write_text(json.dumps(index))
    (out / "pixels.u8").unlink(missing_ok=True)
    return dict(pictures=len(index), parts=parts + 1)


def _shrunk(path: Path, pixels: np.ndarray, longest: int, quality: int) -> tuple[np.ndarray, bytes]:
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1 and path.suffix.lower() in (".jpg", ".jpeg"):
        # What was read may carry an EXIF turn or grey; only a file that decodes alike is kept as it is.
        raw = path.read_bytes()
        again = cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)
        if again is not None and again.shape == pixels.shape:
            return pixels, raw
    if scale < 1:
        size = (max(1, round(width * scale)), max(1, round(height * scale)))
        pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
    return pixels, cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()


class Store:
    """The packed pictures, decoded. Pixels are read-only views into a mapped file."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)
        path = self.folder / "index.json"
        if not path.exists():
            raise BadInput([Problem(path, 0, "is missing; run `python -m ember_train data` first")])
        self.entries = json.loads(path.read_text())
        sizes = np.array([e["height"] * e["width"] * 3 for e in self.entries], np.int64)
        self._offsets = np.concatenate(([0], np.cumsum(sizes)))
        self._boxes = [np.array(e["boxes"], np.float32).reshape(-1, 5) for e in self.entries]
        pixels = self.folder / "pixels.u8"
        if not pixels.exists() or pixels.stat().st_size != self._offsets[-1]:
            self._decode(pixels)
        self._pixels = np.memmap(pixels, np.uint8, "r")

    def _decode(self, pixels: Path) -> None:
        unfinished = pixels.with_suffix(f".{os.getpid()}")
        current, raw = -1, b""
        with unfinished.open("wb") as file:
            for entry in self.entries:
                if entry["part"] != current:
                    current = entry["part"]
                    raw = (self.folder / f"part-{current:03}.bin").read_bytes()
                jpeg = np.frombuffer(raw, np.uint8, entry["bytes"], entry["offset"])
                picture = cv2.imdecode(jpeg, cv2.IMREAD_COLOR)
                if picture is None or picture.shape[:2] != (entry["height"], entry["width"]):
                    raise BadInput([Problem(self.folder / f"part-{current:03}.bin", 0,
                                            f"{entry['name']} does not decode to the size in index.json")])
                file.write(picture.tobytes())
        unfinished.replace(pixels)

    def pixels(self, i: int) -> np.ndarray:
        entry = self.entries[i]
        flat = self._pixels[self._offsets[i]:self._offsets[i + 1]]
        return flat.reshape(entry["height"], entry["width"], 3)

    def boxes(self, i: int) -> np.ndarray:
        """Rows of class, centre x, centre y, width, height, relative."""
        return self._boxes[i]

    def of_split(self, split: str) -> list[int]:
        return [i for i, e in enumerate(self.entries) if e["split"] == split]
