"""Where weights come from: COCO weights in an ONNX file, or a state of ours."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from .blocks import Shape
from .network import SHAPES, Detector
from .problems import BadInput, Problem


def convolutions(model: nn.Module) -> list[nn.Conv2d]:
    return [m for m in model.modules() if isinstance(m, nn.Conv2d)]


def load_onnx(detector: Detector, path: Path) -> None:
    """Copies the n-th `Conv` node of the file into the n-th convolution."""
    import onnx
    from onnx import numpy_helper

    graph = onnx.load(str(path)).graph
    constants = {i.name: numpy_helper.to_array(i) for i in graph.initializer}
    nodes = [n for n in graph.node if n.op_type == "Conv"]
    ours = convolutions(detector)
    if len(nodes) != len(ours):
        raise BadInput([Problem(path, 0, f"has {len(nodes)} convolutions, this network {len(ours)}")])
    for node, conv in zip(nodes, ours):
        weight, bias = (torch.from_numpy(np.array(constants[name])) for name in node.input[1:3])
        if weight.shape != conv.weight.shape:
            raise BadInput([Problem(path, 0, f"{node.name}: weight is {tuple(weight.shape)}, "
                                             f"expected {tuple(conv.weight.shape)}")])
        conv.weight.data.copy_(weight)
        conv.bias.data.copy_(bias)


def difference_to_onnx(detector: Detector, path: Path, size: int, seed: int = 0) -> tuple[float, float]:
    """Greatest absolute difference to ONNX Runtime, on raw boxes and on scores."""
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    pixels = np.random.default_rng(seed).uniform(0, 255, (1, 3, size, size)).astype(np.float32)
    (theirs,) = session.run(None, {session.get_inputs()[0].name: pixels})
    with torch.no_grad():
        ours = detector.eval()(torch.from_numpy(pixels))
    ours = torch.cat((ours[..., :4], torch.sigmoid(ours[..., 4:])), -1).numpy()
    apart = np.abs(ours - theirs)
    return float(apart[..., :4].max()), float(apart[..., 4:].max())


def from_coco(path: Path, shape: Shape) -> Detector:
    """Base weights, proven equal to ONNX Runtime, with new class and objectness predictions."""
    coco = Detector(Shape(**{**shape.as_dict(), "classes": 80}))
    load_onnx(coco, path)
    boxes, scores = difference_to_onnx(coco, path, 416)
    if boxes > 1e-3 or scores > 1e-3:
        raise BadInput([Problem(path, 0, f"network differs from ONNX Runtime by {boxes:.2g} (boxes), {scores:.2g} (scores)")])
    detector = Detector(shape)
    kept = {k: v for k, v in coco.state_dict().items() if v.shape == detector.state_dict()[k].shape}
    detector.load_state_dict(kept, strict=False)
    for head in detector.heads:
        nn.init.normal_(head.classes.weight, 0, 0.01)
        nn.init.normal_(head.objectness.weight, 0, 0.01)
        nn.init.constant_(head.classes.bias, -2.0)
        # A sigmoid of -4.6 is .01: most anchors see nothing.
        nn.init.constant_(head.objectness.bias, -4.6)
    return detector


def from_state(path: Path, shape: Shape) -> Detector:
    """A state dict of this network, under our names or any others in the same order."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("ema", state)
    detector = Detector(shape)
    own = detector.state_dict()
    faults = []
    if len(state) != len(own):
        faults.append(Problem(path, 0, f"holds {len(state)} tensors, this network {len(own)}"))
    else:
        faults = [Problem(path, 0, f"{k}: {tuple(v.shape)}, expected {tuple(w.shape)}")
                  for (k, v), w in zip(state.items(), own.values()) if v.shape != w.shape]
    if faults:
        raise BadInput(faults)
    detector.load_state_dict(dict(zip(own, (v.float() for v in state.values()))))
    return detector


def doubled(narrow: Detector, seed: int = 0) -> Detector:
    """A network of twice the width that computes the same: a larger sibling starts where this one is.

    Every channel becomes two neighbours, which commutes with concatenation; what reads a channel reads
    both, in shares that differ by chance, so that training can pull the twins apart.
    """
    generator = torch.Generator().manual_seed(seed)
    wide = Detector(Shape(**{**narrow.shape.as_dict(), "width": 2 * narrow.shape.width}))
    last = {id(layer) for head in wide.heads for layer in (head.classes, head.boxes, head.objectness)}
    for old, new in zip(convolutions(narrow), convolutions(wide)):
        weight, bias = old.weight.detach(), old.bias.detach()
        if old.groups == 1 and new.in_channels != old.in_channels:
            share = 0.5 + 0.15 * torch.randn((new.out_channels, *weight.shape[1:]), generator=generator)
            weight = weight if id(new) in last else weight.repeat_interleave(2, 0)
            weight = torch.stack((weight * share, weight * (1 - share)), 2).flatten(1, 2)
        else:
            weight = weight.repeat_interleave(2, 0)
        new.weight.data.copy_(weight)
        new.bias.data.copy_(bias if id(new) in last else bias.repeat_interleave(2, 0))
    return wide


def from_any(path: Path, shape: Shape) -> Detector:
    if not Path(path).exists():
        raise BadInput([Problem(Path(path), 0, "weights are missing")])
    if Path(path).suffix == ".onnx":
        return from_coco(path, shape)
    if shape == SHAPES["wide"] and shape_of(path) == "nano":
        return doubled(from_state(path, SHAPES["nano"]))
    return from_state(path, shape)


def shape_of(path: Path) -> str:
    """Name of the shape whose weights the file holds; COCO weights are the nano's."""
    if not Path(path).exists():
        raise BadInput([Problem(Path(path), 0, "weights are missing")])
    if Path(path).suffix == ".onnx":
        return "nano"
    state = torch.load(path, map_location="cpu", weights_only=True)
    sizes = [v.shape for v in state.get("ema", state).values()]
    with torch.device("meta"):
        for name, shape in SHAPES.items():
            if sizes == [v.shape for v in Detector(shape).state_dict().values()]:
                return name
    raise BadInput([Problem(Path(path), 0, f"holds {len(sizes)} tensors that fit none of the shapes {', '.join(SHAPES)}")])


def known(shape: str, path: Path | None) -> str:
    """The shape that was asked for, else that of the weights, else the nano."""
    if shape and shape not in SHAPES:
        raise BadInput([Problem(Path(path or "."), 0, f"there is no shape {shape}; known are {', '.join(SHAPES)}")])
    return shape or (shape_of(path) if path else "nano")


def average(first: Path, second: Path, share: float) -> dict[str, torch.Tensor]:
    """The state whose every weight is `share` of the first's and the rest of the second's."""
    shapes = [shape_of(path) for path in (first, second)]
    if shapes[0] != shapes[1]:
        raise BadInput([Problem(Path(second), 0, f"is of shape {shapes[1]}, {first} of shape {shapes[0]}: only like shapes have a mean")])
    if not 0 <= share <= 1:
        raise BadInput([Problem(Path(first), 0, f"--share {share}, expected 0 to 1")])
    a, b = (from_any(path, SHAPES[shapes[0]]).state_dict() for path in (first, second))
    return {k: share * a[k] + (1 - share) * b[k] for k in a}


def donor_for(shape: Shape, path: Path) -> Detector:
    """A trained detector whose neck and heads are those of the shape; a nano is doubled where that makes it fit."""
    name = shape_of(path)
    donor = SHAPES["wide"] if name == "nano" and shape.channels == SHAPES["wide"].channels else SHAPES[name]
    if donor.channels != shape.channels or donor.depthwise != shape.depthwise:
        raise BadInput([Problem(Path(path), 0, f"is of shape {name}: its neck and heads do not fit this backbone's channels {shape.channels}")])
    return from_any(path, donor)
