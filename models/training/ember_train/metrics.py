"""Average precision as COCO counts it (101 points), with confidence intervals over pictures.

Sizes are shares of the picture: tiny below 1 %, small 1 to 5 %, large above. As in COCO, a box of
another size is neither wanted nor wrong, and an unmatched detection of another size is not wrong.
"""

from dataclasses import dataclass

import numpy as np

from .predict import Found, iou_of

IOUS = tuple(np.linspace(0.5, 0.95, 10).round(2))
SIZES = {"all": (0.0, 1.01), "tiny": (0.0, 0.01), "small": (0.01, 0.05), "large": (0.05, 1.01)}
RECALLS = np.linspace(0, 1, 101)


@dataclass
class Truth:
    """What is on one picture: class (n), corners (n, 4) in pixels; and whether smoke is labelled."""

    classes: np.ndarray
    corners: np.ndarray
    area: float
    smoke_labelled: bool
    source: str


@dataclass
class Matched:
    """All detections of a class over a set, best first, against boxes of one size at one IoU."""

    scores: np.ndarray
    correct: np.ndarray
    picture: np.ndarray
    wanted: np.ndarray  # boxes per picture

    def precision_recall(self, weights: np.ndarray | None = None) -> tuple[np.ndarray, np.ndarray]:
        w = np.ones(len(self.wanted)) if weights is None else weights
        each = w[self.picture]
        right, wrong = np.cumsum(each * self.correct), np.cumsum(each * ~self.correct)
        total = (w * self.wanted).sum()
        return right / np.maximum(right + wrong, 1e-9), right / max(total, 1e-9)

    def average_precision(self, weights: np.ndarray | None = None) -> float:
        """nan where there is nothing to find."""
        total = self.wanted.sum() if weights is None else (weights * self.wanted).sum()
        if total == 0:
            return float("nan")
        if not len(self.scores):
            return 0.0
        precision, recall = self.precision_recall(weights)
        precision = np.maximum.accumulate(precision[::-1])[::-1]
        at = np.searchsorted(recall, RECALLS, side="left")
        return float(np.where(at < len(precision), precision[np.minimum(at, len(precision) - 1)], 0.0).mean())


def match(kind: int, size: tuple[float, float], iou: float, truths: list[Truth], founds: list[Found]) -> Matched:
    scores, correct, picture, wanted = [], [], [], np.zeros(len(truths), int)
    for i, (truth, found) in enumerate(zip(truths, founds)):
        boxes = truth.corners[truth.classes == kind]
        share = (boxes[:, 2:] - boxes[:, :2]).prod(1) / truth.area
        ignored = ~((share >= size[0]) & (share < size[1]))
        wanted[i] = (~ignored).sum()
        # Wanted boxes first: a detection settles for an ignored one only where it has no other.
        order = np.argsort(ignored, kind="stable")
        boxes, ignored = boxes[order], ignored[order]
        own = np.flatnonzero(found.classes == kind)
        own = own[np.argsort(-found.scores[own], kind="stable")]
        corners = found.corners[own]
        overlap = iou_of(corners, boxes)
        free = np.ones(len(boxes), bool)
        for d in range(len(own)):
            hit = _best(overlap[d], free, ignored, iou)
            if hit >= 0:
                free[hit] = False
                if ignored[hit]:
                    continue
            else:
                area = (corners[d, 2:] - corners[d, :2]).prod() / truth.area
                if not size[0] <= area < size[1]:
                    continue
            scores.append(found.scores[own[d]])
            correct.append(hit >= 0)
            picture.append(i)
    order = np.argsort(-np.array(scores), kind="stable")
    return Matched(np.array(scores)[order], np.array(correct, bool)[order], np.array(picture, int)[order], wanted)


def _best(overlap: np.ndarray, free: np.ndarray, ignored: np.ndarray, iou: float) -> int:
    for group in (~ignored, ignored):
        usable = free & group & (overlap >= min(iou, 1 - 1e-10))
        if usable.any():
            return int(np.where(usable, overlap, -1).argmax())
    return -1


def interval(matched: Matched, rounds: int = 300, seed: int = 0) -> tuple[float, float]:
    """95 % of the average precisions over sets drawn from these pictures with replacement."""
    rng = np.random.default_rng(seed)
    count = len(matched.wanted)
    drawn = [matched.average_precision(np.bincount(rng.integers(0, count, count), minlength=count).astype(float)) for _ in range(rounds)]
    return share_interval(np.array(drawn))


def share_interval(values: np.ndarray) -> tuple[float, float]:
    values = values[~np.isnan(values)]
    if not len(values):
        return float("nan"), float("nan")
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def proportion_interval(hits: np.ndarray, rounds: int = 1000, seed: int = 0) -> tuple[float, float]:
    """Bootstrap interval of a share of pictures."""
    if not len(hits):
        return float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    return share_interval(hits[rng.integers(0, len(hits), (rounds, len(hits)))].mean(1))
