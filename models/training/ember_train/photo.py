"""What cameras, air and links do to a picture. All 8-bit BGR, shape kept."""

import cv2
import numpy as np

from .plume import Rng


def vary_colour(rng: Rng, pixels: np.ndarray) -> np.ndarray:
    """Hue, saturation and value. The hue moves little: colour is the signal."""
    hue, saturation, value = rng.uniform(-1, 1, 3) * rng.integers(0, 2, 3) * (7, 50, 50)
    if hue == saturation == value == 0:
        return pixels
    steps = np.arange(256)
    h, s, v = cv2.split(cv2.cvtColor(pixels, cv2.COLOR_BGR2HSV))
    h = cv2.LUT(h, ((steps + hue) % 180).astype(np.uint8))
    s = cv2.LUT(s, np.clip(steps * (1 + saturation / 100), 0, 255).astype(np.uint8))
    v = cv2.LUT(v, np.clip(steps * (1 + value / 140) + value / 4, 0, 255).astype(np.uint8))
    return cv2.cvtColor(cv2.merge((h, s, v)), cv2.COLOR_HSV2BGR)


def compress(rng: Rng, pixels: np.ndarray) -> np.ndarray:
    return _jpeg(pixels, int(rng.integers(12, 75)))


def _jpeg(pixels: np.ndarray, quality: int) -> np.ndarray:
    return cv2.imdecode(cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1], cv2.IMREAD_COLOR)


def blur(rng: Rng, pixels: np.ndarray) -> np.ndarray:
    """Out of focus, or moved in one direction."""
    if rng.random() < 0.6:
        return cv2.GaussianBlur(pixels, (0, 0), rng.uniform(0.5, 2.0))
    length = int(rng.integers(3, 7))
    kernel = np.zeros((length, length), np.float32)
    if rng.random() < 0.7:
        kernel[length // 2] = 1 / length
    else:
        np.fill_diagonal(kernel, 1 / length)
    return cv2.filter2D(pixels, -1, kernel)


def add_noise(rng: Rng, pixels: np.ndarray) -> np.ndarray:
    return _noise(rng, pixels, rng.uniform(4, 25))


def _noise(rng: Rng, pixels: np.ndarray, deviation: float) -> np.ndarray:
    """Sensor noise; half of its variance is shared by the channels."""
    height, width = pixels.shape[:2]
    # A tile of noise rolled into place costs a quarter of fresh noise over the whole picture.
    tile = rng.normal(0, deviation / np.sqrt(2), (height // 2 + 1, width // 2 + 1, 3)).astype(np.float32)
    noise = np.tile(tile + tile.mean(2, keepdims=True), (2, 2, 1))[:height, :width]
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def add_haze(rng: Rng, pixels: np.ndarray) -> np.ndarray:
    """Air light, thicker towards the top, where a camera looks farther."""
    top, bottom = rng.uniform(0.1, 0.5), rng.uniform(0.0, 0.2)
    return _haze(pixels, top, bottom, rng.uniform(140, 225) + rng.uniform(-10, 10, 3))


def _haze(pixels: np.ndarray, top: float, bottom: float, air: np.ndarray | float) -> np.ndarray:
    share = np.linspace(top, bottom, pixels.shape[0], dtype=np.float32)[:, None, None]
    return (pixels * (1 - share) + np.float32(air) * share).astype(np.uint8)


def darken(rng: Rng, pixels: np.ndarray) -> np.ndarray:
    """Dusk and night: mid-tones sink, what shines stays."""
    return _dusk(pixels, rng.uniform(1.4, 2.8))


def _dusk(pixels: np.ndarray, gamma: float) -> np.ndarray:
    return cv2.LUT(pixels, (255 * (np.arange(256) / 255) ** gamma).astype(np.uint8))


def shift_white(rng: Rng, pixels: np.ndarray) -> np.ndarray:
    gains = rng.uniform(0.9, 1.1, 3)
    table = np.clip(np.arange(256)[:, None] * gains, 0, 255).astype(np.uint8)
    return cv2.LUT(pixels, table[:, None])


def see_infrared(rng: Rng, pixels: np.ndarray) -> np.ndarray:
    """The night mode of a camera: its infrared filter swings away, colour and then shades are lost, gain and noise rise.

    Red, often, stands for the near infrared, in which a flame is brightest; so is foliage, which a photo cannot tell:
    there it is green instead that counts most.
    """
    if rng.random() < 0.4:
        pixels = add_noise(rng, pixels)
    return _grey(pixels, rng.uniform(0.0, 0.2), rng.uniform(0.1, 0.7), rng.uniform(1.0, 1.5))


def _grey(pixels: np.ndarray, blue: float, green: float, gain: float) -> np.ndarray:
    weights = np.array([[blue, green, 1 - blue - green]], np.float32) * gain
    return cv2.cvtColor(cv2.transform(pixels, weights), cv2.COLOR_GRAY2BGR)


CHANCES = ((shift_white, 0.15), (add_haze, 0.10), (darken, 0.10), (blur, 0.15), (add_noise, 0.16), (see_infrared, 0.12), (compress, 0.22))


def take_again(rng: Rng, pixels: np.ndarray) -> np.ndarray:
    """Runs the faults in the order in which they happen: light, lens, sensor, what the camera makes of it, link. Never
    writes to `pixels`; returns them where nothing befell them."""
    for fault, chance in CHANCES:
        if rng.random() < chance:
            pixels = fault(rng, pixels)
    return pixels


# Faults at one strength: how a model fares on what another camera would have made of the same scenes.
SPOILED = {
    "night mode (grey)": lambda pixels: _grey(pixels, 0.1, 0.25, 1.2),
    "night mode, noise of 14": lambda pixels: _grey(_noise(np.random.default_rng(14), pixels, 14), 0.1, 0.25, 1.2),
    "dusk (gamma 2)": lambda pixels: _dusk(pixels, 2.0),
    "haze of 40 %": lambda pixels: _haze(pixels, 0.4, 0.4, 215.0),
    "out of focus by 1.5 pixels": lambda pixels: cv2.GaussianBlur(pixels, (0, 0), 1.5),
    "noise of 14": lambda pixels: _noise(np.random.default_rng(14), pixels, 14),
    "JPEG quality 20": lambda pixels: _jpeg(pixels, 20),
}
