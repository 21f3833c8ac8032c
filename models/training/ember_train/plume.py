"""Renders smoke plumes and flames, and cuts flames out of pictures: blue, green, red, alpha.

They are pasted over scenes on which nothing burns (`composite.py`), so that the box is exact and
plumes of a fraction of a percent of the picture, which no photo set has, become common.
"""

import cv2
import numpy as np

Rng = np.random.Generator


def turbulence(rng: Rng, height: int, width: int, coarse: float = 3.0, octaves: int = 5) -> np.ndarray:
    """Fractal noise, 0 to 1. `coarse` is the number of lumps across the width."""
    field, strength, total = np.zeros((height, width), np.float32), 1.0, 0.0
    cells = coarse
    for _ in range(octaves):
        shape = (max(2, round(cells * height / width) + 1), max(2, round(cells) + 1))
        if max(shape) > max(height, width):
            break
        lumps = rng.random(shape, dtype=np.float32)
        field += strength * cv2.resize(lumps, (width, height), interpolation=cv2.INTER_CUBIC)
        total += strength
        strength *= 0.55
        cells *= 2
    field /= total
    low, high = np.percentile(field, (2, 98))
    return np.clip((field - low) / (high - low + 1e-6), 0, 1)


def _smooth(x: np.ndarray, low: float, high: float) -> np.ndarray:
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def _cropped(picture: np.ndarray, least: float = 0.08) -> np.ndarray | None:
    """Cuts to where alpha exceeds `least`, so that the picture's edge is the box."""
    seen = picture[..., 3] > least * 255
    rows, columns = np.flatnonzero(seen.any(1)), np.flatnonzero(seen.any(0))
    if len(rows) < 12 or len(columns) < 8:
        return None
    return np.ascontiguousarray(picture[rows[0]:rows[-1] + 1, columns[0]:columns[-1] + 1])


# Base greys, from steam to burning tyres; the straw tint is what damp fields give.
_TINTS = (((225, 222, 220), 0.40), ((175, 172, 170), 0.30), ((120, 118, 118), 0.10),
          ((60, 60, 62), 0.10), ((165, 190, 205), 0.10))


def render_smoke(rng: Rng, height: int = 176) -> np.ndarray:
    """One plume, its foot at the bottom. Returns uint8 (h, w, 4), cut to what is visible."""
    while True:
        kind = rng.choice(4, p=(0.35, 0.35, 0.15, 0.15))  # column, drifting, ground layer, wisp
        aspect = (rng.uniform(0.5, 0.9), rng.uniform(1.0, 2.2), rng.uniform(2.0, 3.5), rng.uniform(0.4, 1.4))[kind]
        width = int(height * aspect)
        up = np.linspace(1, 0, height, dtype=np.float32)[:, None]
        across = np.linspace(-1, 1, width, dtype=np.float32)[None]
        side = rng.choice((-1, 1))
        lean = (rng.uniform(0, 0.35), rng.uniform(0.8, 1.5), rng.uniform(0.9, 1.5), rng.uniform(0, 1.0))[kind] * side
        foot = -0.5 * lean + rng.uniform(-0.1, 0.1)
        sway = cv2.resize(rng.standard_normal((6, 1)).astype(np.float32), (1, height), interpolation=cv2.INTER_CUBIC)
        centre = foot + lean * up ** rng.uniform(0.6, 1.8) + 0.06 * sway * up
        narrow = rng.uniform(0.02, 0.10)
        wide = (rng.uniform(0.3, 0.75), rng.uniform(0.2, 0.6), rng.uniform(0.3, 0.6), rng.uniform(0.06, 0.16))[kind]
        radius = narrow + (wide - narrow) * up ** rng.uniform(0.5, 1.3)
        if kind == 2:
            radius = np.maximum(radius, rng.uniform(0.2, 0.5))
            up = np.clip(up * rng.uniform(1.0, 1.6), 0, 1)
        lumps = turbulence(rng, height, width, rng.uniform(3, 7))
        billow = turbulence(rng, height, width, rng.uniform(5, 12))
        distance = np.abs(across - centre + (lumps - 0.5) * radius * rng.uniform(0.6, 1.6)) / radius
        thinning = np.clip((1 - up) / rng.uniform(0.15, 0.9), 0, 1) ** rng.uniform(0.4, 1.2)
        density = np.exp(-distance**2 * rng.uniform(1.5, 3)) * thinning
        density *= 0.25 + 0.75 * _smooth(billow, rng.uniform(0, 0.3) * float(kind != 3) + 0.1, rng.uniform(0.55, 0.95))
        # Foot and edges of the drawing must fade, or a straight cut teaches the network edges.
        density *= _smooth(1 - np.abs(across), 0, 0.12) * _smooth(np.linspace(1, 0, height)[:, None], 0, 0.02)
        density = density.astype(np.float32)
        alpha = 1 - np.exp(-rng.uniform(1.5, 6) * density)
        # Light from one side; from behind, the core is darker than the rim.
        light = cv2.Sobel(cv2.GaussianBlur(density, (0, 0), 3), cv2.CV_32F, 1, 0) * rng.choice((-1, 1))
        light += cv2.Sobel(cv2.GaussianBlur(density, (0, 0), 3), cv2.CV_32F, 0, 1)
        shade = 1 + rng.uniform(0.2, 1.1) * np.clip(light, -0.3, 0.3) + rng.uniform(0.05, 0.35) * (billow - 0.5)
        if rng.random() < 0.3:
            shade -= rng.uniform(0.1, 0.45) * _smooth(density, 0.2, 0.9)
        tint = np.array(_TINTS[rng.choice(len(_TINTS), p=[w for _, w in _TINTS])][0], np.float32)
        tint = tint * rng.uniform(0.85, 1.12) + rng.uniform(-6, 6, 3)
        colour = np.clip(tint * shade[..., None], 0, 255)
        cut = _cropped(np.dstack((colour, 255 * alpha)).astype(np.uint8))
        if cut is not None and cut[..., 3].max() > 60:
            return cut


_FIRE = np.array([(10, 15, 90), (15, 45, 190), (20, 110, 245), (70, 190, 255), (170, 240, 255), (235, 252, 255)], np.float32)


def render_flame(rng: Rng, height: int = 112) -> np.ndarray:
    """One fire of a few tongues, glowing. Returns uint8 (h, w, 4), cut to what is visible."""
    while True:
        width = int(height * rng.uniform(0.5, 2.5))
        up = np.linspace(1, 0, height, dtype=np.float32)[:, None]
        across = np.linspace(0, width / height, width, dtype=np.float32)[None]
        lumps = turbulence(rng, height, width, rng.uniform(3, 8))
        lean = rng.uniform(-0.5, 0.5)
        heat = np.zeros((height, width), np.float32)
        for _ in range(rng.integers(1, 3 + int(3 * width / height))):
            tall, broad = rng.uniform(0.35, 0.95), rng.uniform(0.05, 0.2)
            at = rng.uniform(0.15, 0.85) * width / height
            level = np.clip(up / tall, 0, 1)
            away = np.abs(across - at - lean * up**1.5 + (lumps - 0.5) * 0.35 * up) / (broad * (1.02 - level) ** 0.7 + 1e-3)
            heat = np.maximum(heat, np.clip(1 - away**2, 0, 1) * (1 - 0.6 * level) * (up < tall))
        heat *= 0.45 + 0.75 * turbulence(rng, height, width, rng.uniform(6, 14))
        heat = cv2.GaussianBlur(heat.astype(np.float32), (0, 0), rng.uniform(0.8, 1.8))
        heat = np.clip(heat * rng.uniform(1.0, 1.7), 0, 1)
        step = heat * (len(_FIRE) - 1.001)
        low = step.astype(int)
        share = (step - low)[..., None]
        colour = _FIRE[low] * (1 - share) + _FIRE[low + 1] * share
        cut = _cropped(np.dstack((colour, 255 * _smooth(heat, 0.05, 0.4))).astype(np.uint8), 0.3)
        if cut is not None and (cut[..., 3] > 128).mean() > 0.12:
            return cut


def cut_flame(pixels: np.ndarray, box: np.ndarray, longest: int = 128) -> np.ndarray | None:
    """A flame out of a picture: bright and red enough is flame. None where that does not separate it."""
    height, width = pixels.shape[:2]
    _, cx, cy, w, h = box
    x0, x1 = int(max(0, (cx - w / 2) * width)), int(min(width, (cx + w / 2) * width))
    y0, y1 = int(max(0, (cy - h / 2) * height)), int(min(height, (cy + h / 2) * height))
    if min(x1 - x0, y1 - y0) < 24:
        return None
    crop = pixels[y0:y1, x0:x1].astype(np.float32) / 255
    blue, red = crop[..., 0], crop[..., 2]
    bright = crop.max(2)
    hot = _smooth(bright, 0.5, 0.8) * _smooth(red - 0.8 * blue, 0.12, 0.35)
    hot = cv2.GaussianBlur(hot, (0, 0), 1.0)
    edge = np.concatenate((hot[0], hot[:, 0], hot[:, -1]))
    if not 0.12 < (hot > 0.5).mean() < 0.75 or (edge > 0.4).mean() > 0.15:
        return None
    cut = _cropped(np.dstack((crop * 255, hot * 255)).astype(np.uint8), 0.3)
    if cut is None:
        return None
    scale = longest / max(cut.shape[:2])
    return cut if scale >= 1 else cv2.resize(cut, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
