"""Runs an exported model as the product does: letterbox, ONNX Runtime, score, NMS."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime

from . import CLASSES
from .letterbox import letterbox
from .problems import BadInput, Problem

NMS_IOU = 0.5
LEAST_SCORE = 0.01
MOST_PER_CLASS = 100


@dataclass
class Found:
    """Detections of one picture: class (n), score (n), corners (n, 4) in pixels of the picture."""

    classes: np.ndarray
    scores: np.ndarray
    corners: np.ndarray


class Model:
    """One or more files of the same weights; each picture goes to the one that shows it largest."""

    def __init__(self, paths: list[Path], threads: int = 1):
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        self.sessions = {}
        for path in paths:
            session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
            shape, out = session.get_inputs()[0].shape, session.get_outputs()[0].shape
            if len(shape) != 4 or shape[1] != 3 or not all(isinstance(n, int) for n in shape[2:]):
                raise BadInput([Problem(Path(path), 0, f"input is {shape}, expected N x 3 x height x width")])
            if isinstance(out[-1], int) and out[-1] != 5 + len(CLASSES):
                raise BadInput([Problem(Path(path), 0, f"output has {out[-1]} values an anchor, expected {5 + len(CLASSES)}: "
                                                       f"box, objectness and {list(CLASSES)}")])
            self.sessions[tuple(shape[2:])] = session

    def size_for(self, height: int, width: int) -> tuple[int, int]:
        """The input that shows the picture largest; of equals, the cheapest."""
        return max(self.sessions, key=lambda s: (round(min(s[0] / height, s[1] / width), 3), -s[0] * s[1]))

    def look(self, pixels: np.ndarray) -> Found:
        size = self.size_for(*pixels.shape[:2])
        canvas, scale = letterbox(pixels, *size)
        session = self.sessions[size]
        images = np.ascontiguousarray(canvas.transpose(2, 0, 1)[None], np.float32)
        (dets,) = session.run(None, {session.get_inputs()[0].name: images})
        return after(dets[0], scale, pixels.shape[0], pixels.shape[1])


def after(dets: np.ndarray, scale: float, height: int, width: int) -> Found:
    """Scores, NMS per class, and back to pixels of the picture."""
    scores = dets[:, 4:5] * dets[:, 5:]
    kept = []
    for kind in range(scores.shape[1]):
        some = np.flatnonzero(scores[:, kind] >= LEAST_SCORE)
        some = some[np.argsort(-scores[some, kind], kind="stable")[:400]]
        boxes = dets[some, :4]
        corners = np.concatenate((boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, :2] + boxes[:, 2:] / 2), 1) / scale
        corners[:, 0::2] = corners[:, 0::2].clip(0, width)
        corners[:, 1::2] = corners[:, 1::2].clip(0, height)
        best = suppress(corners)[:MOST_PER_CLASS]
        kept.append((np.full(len(best), kind), scores[some[best], kind], corners[best]))
    return Found(*(np.concatenate(column) for column in zip(*kept)))


def suppress(corners: np.ndarray, iou: float = NMS_IOU) -> np.ndarray:
    """Which of the boxes, best first, are not covered by a better one."""
    if not len(corners):
        return np.zeros(0, int)
    overlap = iou_of(corners, corners)
    alive = np.ones(len(corners), bool)
    for i in range(len(corners)):
        if alive[i]:
            alive[i + 1:] &= overlap[i, i + 1:] <= iou
    return np.flatnonzero(alive)


def iou_of(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """IoU of every box of `a` (n, 4) with every box of `b` (m, 4)."""
    low = np.maximum(a[:, None, :2], b[None, :, :2])
    high = np.minimum(a[:, None, 2:], b[None, :, 2:])
    shared = (high - low).clip(min=0).prod(-1)
    areas = (a[:, 2:] - a[:, :2]).prod(-1)[:, None] + (b[:, 2:] - b[:, :2]).prod(-1)[None]
    return shared / np.maximum(areas - shared, 1e-9)


def size_of(text: str) -> tuple[int, int]:
    """`416x256` (width x height) as (height, width)."""
    match = re.fullmatch(r"(\d+)x(\d+)", text)
    if not match or any(int(n) % 32 for n in match.groups()):
        raise BadInput([Problem(Path(text), 0, "is no input size: WIDTHxHEIGHT was expected, both multiples of 32")])
    return int(match[2]), int(match[1])
