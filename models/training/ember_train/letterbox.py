"""The shipped preprocessing: scaled to fit, top left, grey 114 around."""

import cv2
import numpy as np

PADDING = 114


def letterbox(pixels: np.ndarray, height: int, width: int) -> tuple[np.ndarray, float]:
    """Returns the canvas (uint8, height x width x 3) and the scale from picture to canvas."""
    scale = min(height / pixels.shape[0], width / pixels.shape[1])
    h, w = max(1, round(pixels.shape[0] * scale)), max(1, round(pixels.shape[1] * scale))
    h, w = min(h, height), min(w, width)
    if (h, w) != pixels.shape[:2]:
        pixels = cv2.resize(pixels, (w, h), interpolation=cv2.INTER_LINEAR)
    canvas = np.full((height, width, 3), PADDING, np.uint8)
    canvas[:h, :w] = pixels
    return canvas, scale
