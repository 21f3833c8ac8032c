"""The weights for fine-tuning that lie beside the shipped models are those of the shipped files."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from ember_train.manifest import verify
from ember_train.network import SHAPES, Decoded
from ember_train.weights import from_any, shape_of

MODELS = Path(__file__).parents[2]


@pytest.mark.parametrize("name", ("fire-smoke-nano", "fire-smoke-small"))
def test_weights_in_half_precision_give_what_the_onnx_files_give(name):
    folder = MODELS / name
    weights = folder / f"{name}.pt"
    detector = from_any(weights, SHAPES[shape_of(weights)]).eval()
    # Smooth, so that it looks like something: noise alone is far from any picture.
    y, x = np.mgrid[0:1:416j, 0:1:416j]
    pixels = np.stack([127 + 120 * np.sin(9 * x + 5 * y * k) for k in (1, 2, 3)])[None].astype(np.float32)
    for variant in verify(folder / "model.toml")["variant"]:
        height, width = variant["height"], variant["width"]
        part = np.ascontiguousarray(pixels[:, :, :height, :width])
        session = onnxruntime.InferenceSession(str(folder / variant["file"]), providers=["CPUExecutionProvider"])
        (shipped,) = session.run(None, {"images": part})
        with torch.no_grad():
            ours = Decoded(detector, height, width)(torch.from_numpy(part)).numpy()
        # The files hold single precision.
        assert np.abs(ours[..., 4:] - shipped[..., 4:]).max() < 0.01
        assert np.abs(ours[..., :4] - shipped[..., :4]).max() < 0.01 * 416
