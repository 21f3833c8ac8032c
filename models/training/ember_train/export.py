"""Weights to ONNX files, checked against the network and timed."""

import copy
import time
import warnings
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch

from .csp import CspBackbone, Folded
from .lite import uneven_pads
from .network import STRIDES, Decoded, Detector
from .problems import BadInput, Problem

OPSET = 17
TOLERANCE_BOX, TOLERANCE_SCORE = 0.05, 1e-3


def export(detector: Detector, path: Path, height: int, width: int) -> float:
    """Writes one file for one input size, batch free. Returns the greatest difference of a score."""
    model = Decoded(_folded(detector.eval()), height, width).eval()
    example = torch.rand(2, 3, height, width) * 255
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")
        torch.onnx.export(model, (example,), str(path), input_names=["images"], output_names=["dets"], opset_version=OPSET,
                          dynamic_axes={"images": {0: "n"}, "dets": {0: "n"}}, dynamo=False)
    _pad_in_convolutions(path)
    _say_output_shape(path, height, width, detector.shape.classes)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    worst = 0.0
    for count in (1, 3):
        pixels = torch.rand(count, 3, height, width) * 255
        with torch.no_grad():
            ours = model(pixels).numpy()
        apart = np.abs(session.run(None, {"images": pixels.numpy()})[0] - ours)
        # Boxes grow with exp: compare them relative to their size.
        box = float((apart[..., :4] / (1 + ours[..., 2:4].max(-1, keepdims=True))).max())
        worst = max(worst, float(apart[..., 4:].max()))
        if box > TOLERANCE_BOX or worst > TOLERANCE_SCORE:
            raise BadInput([Problem(path, 0, f"exported file differs from the network by {box:.2g} (boxes), {worst:.2g} (scores)")])
    return worst


def _folded(detector: Detector) -> Detector:
    """The same detector with a stem that reads pixels in place: a copy, since training goes on with the original."""
    copied = copy.deepcopy(detector)
    if isinstance(copied.backbone, CspBackbone):
        copied.backbone.stem = Folded(copied.backbone.stem)
    return copied


def _pad_in_convolutions(path: Path) -> None:
    """Lets each convolution add the uneven zeros that PyTorch can only put in beforehand.

    ONNX Runtime spends a seventh of the time of an EfficientNet-Lite on such copies and on reordering channels for them.
    """
    model = onnx.load(str(path))
    nodes = model.graph.node
    padded = {node.output[0]: node for node in nodes if node.op_type == "Pad"}
    for node in nodes:
        if node.op_type == "Conv" and node.input[0] in padded:
            settings = {a.name: a for a in node.attribute}
            before, after = uneven_pads(settings["kernel_shape"].ints[0], settings["strides"].ints[0])
            settings["pads"].ints[:] = (before, before, after, after)
            node.input[0] = padded[node.input[0]].input[0]
    while unread := _unread(model):
        for node in unread:
            nodes.remove(node)
    onnx.save(model, str(path))


def _unread(model: onnx.ModelProto) -> list[onnx.NodeProto]:
    read = {name for node in model.graph.node for name in node.input} | {o.name for o in model.graph.output}
    return [node for node in model.graph.node if not read.intersection(node.output)]


def _say_output_shape(path: Path, height: int, width: int, classes: int) -> None:
    """The exporter leaves the last two dimensions open; a reader should see them before running."""
    model = onnx.load(str(path))
    shape = model.graph.output[0].type.tensor_type.shape
    for dimension, size in zip(shape.dim[1:], (sum((height // s) * (width // s) for s in STRIDES), 5 + classes)):
        dimension.dim_value = size
    onnx.checker.check_model(model)
    onnx.save(model, str(path))


def milliseconds(path: Path, rounds: int = 60) -> float:
    """Median CPU time of one frame on one thread, of three tries the least disturbed: other work may run beside it."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    shape = session.get_inputs()[0].shape
    pixels = np.random.default_rng(0).uniform(0, 255, (1, *shape[1:])).astype(np.float32)
    medians = []
    for _ in range(3):
        spent = []
        for _ in range(rounds):
            start = time.process_time()
            session.run(None, {"images": pixels})
            spent.append(time.process_time() - start)
        medians.append(float(np.median(spent)))
    return 1000 * min(medians)
