"""Pastes plumes and flames over scenes on which nothing burns, with exact boxes."""

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from . import FLAME, SMOKE
from .pack import Store
from .plume import Rng, cut_flame, render_flame, render_smoke


@dataclass
class Bank:
    """Plumes and flames drawn once, so that a training sample only scales and blends."""

    smoke: list[np.ndarray]
    flame: list[np.ndarray]


def make_bank(store: Store, smokes: int, seed: int = 0) -> Bank:
    """Renders a bank, or reads the one beside the pack. Cut-outs come from train pictures only."""
    flames, cuts = smokes * 2 // 7, smokes * 4 // 7
    path = Path(store.folder) / f"bank-{smokes}-{seed}.npz"
    if not path.exists():
        rng = np.random.default_rng(seed)
        smoke = [render_smoke(rng) for _ in range(smokes)]
        flame = [render_flame(rng) for _ in range(flames)]
        boxes = [(i, b) for i in store.of_split("train") for b in store.boxes(i) if b[0] == FLAME]
        taken = 0
        for at in rng.permutation(len(boxes)):
            if taken == cuts:
                break
            i, box = boxes[at]
            cut = cut_flame(store.pixels(i), box)
            if cut is not None:
                flame.append(cut)
                taken += 1
        unfinished = path.with_suffix(".part.npz")
        np.savez_compressed(unfinished, **{f"s{i}": p for i, p in enumerate(smoke)}, **{f"f{i}": p for i, p in enumerate(flame)})
        unfinished.replace(path)
    with np.load(path) as file:
        return Bank([file[k] for k in file if k[0] == "s"], [file[k] for k in file if k[0] == "f"])


class Scene:
    """A copy of a picture on which things are put; collects the boxes, in pixels."""

    def __init__(self, rng: Rng, pixels: np.ndarray):
        self.rng = rng
        self.pixels = pixels.copy()
        self.height, self.width = pixels.shape[:2]
        self.boxes: list[tuple[int, float, float, float, float]] = []
        small = cv2.resize(pixels, (32, 32), interpolation=cv2.INTER_AREA).astype(np.float32)
        self.bright = float(np.percentile(small.max(2), 90))
        self.air = small.reshape(-1, 3).mean(0)

    def put(self, kind: int, thing: np.ndarray, foot: tuple[float, float], height: float, *,
            opacity: float = 1.0, haze: float = 0.0, least: float = 0.18) -> bool:
        """Blends `thing` with its foot at (x, y). Returns whether enough of it shows to be labelled."""
        scale = height / thing.shape[0]
        size = (max(2, round(thing.shape[1] * scale)), max(2, round(height)))
        thing = cv2.resize(thing, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
        if self.rng.random() < 0.5:
            thing = thing[:, ::-1]
        x0, y0 = round(foot[0] - size[0] / 2), round(foot[1] - size[1])
        left, top = max(0, -x0), max(0, -y0)
        right, bottom = min(size[0], self.width - x0), min(size[1], self.height - y0)
        if right - left < 3 or bottom - top < 3:
            return False
        part = thing[top:bottom, left:right].astype(np.float32)
        colour, alpha = part[..., :3], part[..., 3:] / 255 * opacity
        if kind == SMOKE:
            colour = colour * np.clip(self.bright / 215, 0.25, 1.1)
        colour = colour * (1 - haze) + self.air * haze
        under = self.pixels[y0 + top:y0 + bottom, x0 + left:x0 + right]
        change = (colour - under) * alpha
        seen = alpha[..., 0] > least
        if not seen.any():
            return False
        # Smoke of the colour of what is behind it cannot be asked of anyone.
        if np.abs(change).mean(2)[seen].mean() < 18:
            return False
        rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
        under[:] = np.clip(under + change, 0, 255).astype(np.uint8)
        self.boxes.append((kind, x0 + left + columns[0], y0 + top + rows[0],
                           x0 + left + columns[-1] + 1, y0 + top + rows[-1] + 1))
        return True


def ignite(rng: Rng, bank: Bank, pixels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Sets a fire or two in the scene. Returns pixels and boxes (class, cx, cy, w, h; relative)."""
    scene = Scene(rng, pixels)
    area = scene.width * scene.height
    for _ in range(rng.choice((1, 2, 3), p=(0.7, 0.2, 0.1))):
        foot = (rng.uniform(0.05, 0.95) * scene.width, rng.uniform(0.35, 0.98) * scene.height)
        shows_smoke = rng.random() < 0.85
        height = 0.0
        if shows_smoke:
            plume = bank.smoke[rng.integers(len(bank.smoke))]
            # 0.15 % to 15 % of the picture, evenly in the logarithm.
            wanted = area * np.exp(rng.uniform(np.log(0.0015), np.log(0.15)))
            height = np.clip(np.sqrt(wanted * plume.shape[0] / plume.shape[1]), 7, 0.95 * foot[1] + 4)
            shows_smoke = scene.put(SMOKE, plume, foot, height, opacity=rng.uniform(0.55, 1.0) ** 0.7, haze=rng.uniform(0, 0.4))
        if rng.random() < (0.3 if shows_smoke else 1.0):
            tall = height * rng.uniform(0.08, 0.3) if shows_smoke else np.sqrt(area * np.exp(rng.uniform(np.log(0.0004), np.log(0.03))))
            for _ in range(rng.choice((1, 2, 4), p=(0.6, 0.25, 0.15))):
                fire = bank.flame[rng.integers(len(bank.flame))]
                at = (foot[0] + rng.normal() * 0.5 * tall, foot[1] + rng.normal() * 0.15 * tall)
                scene.put(FLAME, fire, at, np.clip(tall * rng.uniform(0.7, 1.3), 5, 100), opacity=rng.uniform(0.8, 1.0), haze=rng.uniform(0, 0.15), least=0.35)
    if rng.random() < 0.5:
        # Pasted things are sharper than the scene; the lens that took the scene is not.
        scene.pixels = cv2.GaussianBlur(scene.pixels, (3, 3), rng.uniform(0.3, 0.8))
    boxes = np.array([(k, (x0 + x1) / 2 / scene.width, (y0 + y1) / 2 / scene.height, (x1 - x0) / scene.width, (y1 - y0) / scene.height)
                      for k, x0, y0, x1, y1 in _merged_flames(scene.boxes)], np.float32)
    return scene.pixels, boxes.reshape(-1, 5)


def _merged_flames(boxes: list[tuple]) -> list[tuple]:
    """Flames that overlap are one flame: people draw one box around them."""
    smoke = [b for b in boxes if b[0] == SMOKE]
    flames: list[tuple] = []
    for box in (b for b in boxes if b[0] == FLAME):
        touching = [f for f in flames if f[1] < box[3] and box[1] < f[3] and f[2] < box[4] and box[2] < f[4]]
        flames = [f for f in flames if f not in touching]
        group = touching + [box]
        flames.append((FLAME, min(b[1] for b in group), min(b[2] for b in group), max(b[3] for b in group), max(b[4] for b in group)))
    return smoke + flames


def add_lookalike(rng: Rng, pixels: np.ndarray) -> np.ndarray:
    """Puts a lamp, a low sun or a bank of fog into the scene: bright, warm or grey, and no fire."""
    height, width = pixels.shape[:2]
    canvas = pixels.astype(np.float32)
    kind = rng.choice(3, p=(0.45, 0.25, 0.30))
    if kind < 2:
        lamps = rng.integers(1, 6) if kind == 0 else 1
        radius = rng.uniform(0.004, 0.02) if kind == 0 else rng.uniform(0.02, 0.06)
        warm = np.array((rng.uniform(60, 230), rng.uniform(170, 250), 255), np.float32)
        y, x = np.ogrid[:height, :width]
        for _ in range(lamps):
            cx, cy = rng.uniform(0, width), rng.uniform(0.05 if kind == 0 else 0.0, 0.95 if kind == 0 else 0.5) * height
            core = radius * width * rng.uniform(0.6, 1.4)
            away = ((x - cx) ** 2 + (y - cy) ** 2).astype(np.float32) / core**2
            glow = 1 / (1 + away**1.2)
            disc = np.exp(-(away**2))
            canvas += (255 - canvas) * (rng.uniform(0.4, 0.9) * glow[..., None]) * (warm / 255)
            canvas += (255 - canvas) * disc[..., None] * np.maximum(warm / 255, 0.8)
    else:
        # Fog lies in a flat layer, without a foot or a lean.
        line, thick = rng.uniform(0.3, 0.95), rng.uniform(0.04, 0.25)
        bank = np.exp(-(((np.linspace(0, 1, height) - line) / thick) ** 2)).astype(np.float32)[:, None, None]
        grey = np.full(3, rng.uniform(150, 225), np.float32) * np.clip(canvas.max() / 230, 0.4, 1)
        canvas += (grey - canvas) * bank * rng.uniform(0.3, 0.85)
    return np.clip(canvas, 0, 255).astype(np.uint8)
