"""Composes one training sample: which pictures, at what scale, where on the canvas."""

from dataclasses import dataclass

import cv2
import numpy as np

from .composite import Bank, add_lookalike, ignite
from .pack import Store
from .photo import take_again, vary_colour
from .plume import Rng
from .problems import BadInput, Problem

PADDING = 114
# A box stays when this share of it is inside, and it is at least so many pixels wide and high.
LEAST_VISIBLE, LEAST_PIXELS = 0.25, 3.0


@dataclass
class Mix:
    """Chances by which samples are drawn. `sources` are shares of the burning pictures; a source without one is drawn as
    often, picture by picture, as those that have one."""

    negatives: float = 0.30
    sources: tuple[tuple[str, float], ...] = (("liuzifan", 0.54), ("biplab", 0.28), ("xiapinquan", 0.17), ("limjong", 0.01), ("rendered", 0.15))
    ignite: float = 0.35  # of the negatives, but for those of WITHOUT_PLUMES
    bare: float = 0.15  # of the negatives that stay negative, a part of them enlarged until only a surface is left
    lookalike: float = 0.12  # of the rest
    mosaic: float = 0.37
    zoomed_out: float = 0.16

    def without_mosaic(self) -> "Mix":
        """Of the last phase: hardly any."""
        return Mix(self.negatives, self.sources, self.ignite, self.bare, self.lookalike, min(self.mosaic, 0.10), min(self.zoomed_out, 0.06))


# Sources over whose calm pictures no plume is pasted: rooms and streets at night, and scenes that have fires of their own.
WITHOUT_PLUMES = ("none_cair_normal", "rendered", "rendered_lookalike")


@dataclass
class Sample:
    """Canvas (uint8 BGR), the same before air, lens, sensor and link spoiled it (or itself where they did not), boxes (class, x0, y0, x1, y1 in pixels),
    regions without smoke labels, regions where nothing burns."""

    pixels: np.ndarray
    clear: np.ndarray
    boxes: np.ndarray
    unlabelled: np.ndarray
    calm: np.ndarray


class Composer:
    """Draws samples from the store. Pure in (store, bank, mix, rng)."""

    def __init__(self, store: Store, bank: Bank | None, hardness: dict[int, float] | None = None):
        self.store, self.bank = store, bank
        train = store.of_split("train")
        entries = store.entries
        self.negatives = np.array([i for i in train if not len(store.boxes(i))], int)
        burning = [i for i in train if len(store.boxes(i))]
        self.by_source = {s: [i for i in burning if entries[i]["source"] == s] for s in sorted({entries[i]["source"] for i in burning})}
        # A negative that fools the network now is drawn up to ten times as often as one that does not.
        hard = np.array([0.1 + (hardness or {}).get(int(i), 0.0) for i in self.negatives])
        self.negative_odds = np.cumsum(hard / hard.sum()) if len(hard) else hard

    def shares(self, mix: Mix) -> tuple[list[str], np.ndarray]:
        """The sources of burning pictures, and how often each is drawn."""
        named = {s: w for s, w in mix.sources if s in self.by_source}
        pictures = sum(len(self.by_source[s]) for s, w in named.items() if w)
        each = sum(named.values()) / pictures if pictures else 1.0
        weights = named | {s: each * len(pool) for s, pool in self.by_source.items() if s not in named}
        total = sum(weights.values())
        if not total:
            found = ", ".join(f"{s} ({len(pool)} pictures)" for s, pool in self.by_source.items())
            raise BadInput([Problem(self.store.folder, 0, f"--sources gives the share 0 to every source of burning train pictures ({found})" if found
                                    else "holds no burning train picture, expected some, or --negatives 1")])
        return list(weights), np.array(list(weights.values())) / total

    def check(self, mix: Mix) -> None:
        """Refuses a mix for which there is nothing to draw."""
        if mix.negatives < 1 or not len(self.negatives):
            self.shares(mix)

    def draw(self, rng: Rng, mix: Mix) -> tuple[np.ndarray, np.ndarray, bool]:
        """One picture: pixels, boxes (relative), whether its smoke is labelled."""
        entries = self.store.entries
        if len(self.negatives) and rng.random() < mix.negatives:
            i = int(self.negatives[min(np.searchsorted(self.negative_odds, rng.random()), len(self.negatives) - 1)])
            pixels, labelled = self.store.pixels(i), entries[i]["smoke_labelled"]
            if self.bank and rng.random() < mix.ignite:
                # Where plumes go, ease of the scene does not matter: drawn evenly.
                j = int(self.negatives[rng.integers(len(self.negatives))])
                if entries[j]["source"] not in WITHOUT_PLUMES:
                    return *ignite(rng, self.bank, self.store.pixels(j)), entries[j]["smoke_labelled"]
            if rng.random() < mix.bare:
                return bare_surface(rng, pixels), np.zeros((0, 5), np.float32), labelled
            if rng.random() < mix.lookalike:
                pixels = add_lookalike(rng, pixels)
            return pixels, np.zeros((0, 5), np.float32), labelled
        sources, shares = self.shares(mix)
        pool = self.by_source[sources[rng.choice(len(sources), p=shares)]]
        i = pool[rng.integers(len(pool))]
        return self.store.pixels(i), self.store.boxes(i), entries[i]["smoke_labelled"]

    def compose(self, rng: Rng, mix: Mix, height: int, width: int) -> Sample:
        canvas = np.full((height, width, 3), PADDING, np.uint8)
        draw = rng.random()
        if draw < mix.mosaic:
            x, y = int(width * rng.uniform(0.3, 0.7)), int(height * rng.uniform(0.3, 0.7))
            cells = ((0, 0, x, y), (x, 0, width, y), (0, y, x, height), (x, y, width, height))
        elif draw < mix.mosaic + mix.zoomed_out:
            xs = np.linspace(0, width, 4 if width < 1.4 * height else 5).astype(int)
            ys = np.linspace(0, height, 4).astype(int)
            cells = [(a, c, b, d) for c, d in zip(ys, ys[1:]) for a, b in zip(xs, xs[1:])]
        else:
            cells = ((0, 0, width, height),)
        boxes, unlabelled, calm = [], [], []
        for cell in cells:
            pixels, own, labelled = self.draw(rng, mix)
            boxes.append(place(rng, canvas, cell, pixels, own, alone=len(cells) == 1))
            if not labelled:
                unlabelled.append(cell)
            elif not len(own):
                calm.append(cell)
        regions = (np.array(cells, np.float32).reshape(-1, 4) for cells in (unlabelled, calm))
        return Sample(take_again(rng, canvas), canvas, np.concatenate(boxes), *regions)


def bare_surface(rng: Rng, pixels: np.ndarray) -> np.ndarray:
    """A small part of a calm picture: asphalt, snow, water, a wall or sky fills the view, as it does below a drone."""
    height, width = pixels.shape[:2]
    share = np.exp(rng.uniform(np.log(0.05), np.log(0.3)))
    h, w = max(8, round(height * share)), max(8, round(width * share))
    top, left = int(rng.integers(height - h + 1)), int(rng.integers(width - w + 1))
    return pixels[top:top + h, left:left + w]


def place(rng: Rng, canvas: np.ndarray, cell: tuple, pixels: np.ndarray, boxes: np.ndarray, alone: bool) -> np.ndarray:
    """Draws a picture into a cell, scaled, stretched, mirrored; returns its boxes on the canvas."""
    x0, y0, x1, y1 = cell
    cell_w, cell_h = x1 - x0, y1 - y0
    height, width = pixels.shape[:2]
    stretch = np.exp(rng.uniform(-0.15, 0.15))
    if width == height and rng.random() < 0.5:
        # Many square pictures are wide ones that somebody squeezed.
        stretch *= np.exp(rng.uniform(0, 0.28))
    fit, cover = min(cell_w / width, cell_h / height), max(cell_w / width, cell_h / height)
    draw = rng.random()
    if alone and draw < 0.65:
        scale = fit * (1.0 if draw < 0.3 else rng.uniform(0.5, 1.0))
    elif not alone and draw < 0.25:
        scale = fit * rng.uniform(0.8, 1.0)
    else:
        scale = cover * rng.uniform(1.0, 1.6)
    across, down = scale * stretch, scale / stretch
    new_w, new_h = width * across, height * down
    left = rng.uniform(min(0, cell_w - new_w), max(0, cell_w - new_w))
    top = rng.uniform(min(0, cell_h - new_h), max(0, cell_h - new_h))
    if alone and rng.random() < 0.3:
        # Where the shipped letterbox puts it.
        left, top = min(left, 0), min(top, 0)
    mirrored = rng.random() < 0.5
    matrix = np.array([[-across if mirrored else across, 0, left + (new_w if mirrored else 0)], [0, down, top]], np.float32)
    drawn = cv2.warpAffine(pixels, matrix, (cell_w, cell_h), flags=cv2.INTER_AREA if scale < 0.6 else cv2.INTER_LINEAR,
                           borderMode=cv2.BORDER_CONSTANT, borderValue=(PADDING,) * 3)
    canvas[y0:y1, x0:x1] = vary_colour(rng, drawn)
    if not len(boxes):
        return boxes
    cx = 1 - boxes[:, 1] if mirrored else boxes[:, 1]
    full = np.stack((boxes[:, 0], (cx - boxes[:, 3] / 2) * new_w + left, (boxes[:, 2] - boxes[:, 4] / 2) * new_h + top,
                     (cx + boxes[:, 3] / 2) * new_w + left, (boxes[:, 2] + boxes[:, 4] / 2) * new_h + top), 1)
    seen = full.copy()
    seen[:, 1::2] = seen[:, 1::2].clip(0, cell_w)
    seen[:, 2::2] = seen[:, 2::2].clip(0, cell_h)
    w, h = seen[:, 3] - seen[:, 1], seen[:, 4] - seen[:, 2]
    whole = (full[:, 3] - full[:, 1]) * (full[:, 4] - full[:, 2])
    keep = (w * h > LEAST_VISIBLE * whole) & (w > LEAST_PIXELS) & (h > LEAST_PIXELS)
    seen[:, 1::2] += x0
    seen[:, 2::2] += y0
    return seen[keep].astype(np.float32)
