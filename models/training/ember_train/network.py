"""The detector network: a backbone, the neck and heads of YOLOX, in any width, dense or depthwise.

Modules are declared in the order in which they run, so that the n-th convolution here is the n-th `Conv`
node of an exported file: that is how weights are carried over.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Conv, CrossStage, Shape, spatial
from .csp import CspBackbone
from .lite import LITE, LiteBackbone

STRIDES = (8, 16, 32)

NANO = Shape()
SHAPES = {
    "nano": NANO,
    "wide": Shape(width=0.5),  # the nano doubled; grows from its weights
    "dense": Shape(depthwise=False, activation="hardswish"),  # for int8; from scratch
    # Of pretrained features; `graft` makes their start.
    **{name: Shape(width=0.25 if name == "slim" else 0.5, backbone=name) for name in LITE},
}


class Head(nn.Module):
    """Predictions at one stride: what it is and where it is go separate ways."""

    def __init__(self, shape: Shape, c_in: int, channels: int):
        super().__init__()
        self.stem = Conv(shape, c_in, channels, 1)
        self.class_tower = nn.Sequential(*[spatial(shape, channels, channels) for _ in range(2)])
        self.classes = nn.Conv2d(channels, shape.classes, 1)
        self.box_tower = nn.Sequential(*[spatial(shape, channels, channels) for _ in range(2)])
        self.boxes = nn.Conv2d(channels, 4, 1)
        self.objectness = nn.Conv2d(channels, 1, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        classes = self.classes(self.class_tower(x))
        where = self.box_tower(x)
        return torch.cat((self.boxes(where), self.objectness(where), classes), 1)


class Detector(nn.Module):
    """Pixels (N, 3, H, W; BGR 0..255) to logits (N, anchors, 4 + 1 + classes)."""

    def __init__(self, shape: Shape = NANO):
        super().__init__()
        self.shape = shape
        c2, c3, c4 = shape.channels
        few = max(1, round(3 * shape.depth))
        self.backbone = CspBackbone(shape) if shape.backbone == "csp" else LiteBackbone(shape)
        self.narrow5 = Conv(shape, c4, c3, 1)
        self.merge4 = CrossStage(shape, 2 * c3, c3, few, False)
        self.narrow4 = Conv(shape, c3, c2, 1)
        self.merge3 = CrossStage(shape, 2 * c2, c2, few, False)
        self.down3 = spatial(shape, c2, c2, 2)
        self.out4 = CrossStage(shape, 2 * c2, c3, few, False)
        self.down4 = spatial(shape, c3, c3, 2)
        self.out5 = CrossStage(shape, 2 * c3, c4, few, False)
        self.heads = nn.ModuleList(Head(shape, channels, c2) for channels in (c2, c3, c4))
        self.frozen = 0

    def freeze(self, stages: int) -> None:
        """Keeps the stem (1) and what follows down to stride 4 (2) as they are: most of the pixels, least to learn."""
        self.frozen = stages
        for part in self.backbone.early[:stages]:
            part.requires_grad_(False)

    def maps(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What the backbone gives at each stride."""
        for at, part in enumerate(self.backbone.early):
            with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen <= at):
                x = part(x)
        return self.backbone.late(x)

    def levels(self, x: Tensor) -> list[Tensor]:
        """Logits per stride, still as maps (N, 5 + classes, h, w)."""
        s3, s4, s5 = self.maps(x)
        n5 = self.narrow5(s5)
        n4 = self.narrow4(self.merge4(torch.cat((F.interpolate(n5, scale_factor=2, mode="nearest"), s4), 1)))
        p3 = self.merge3(torch.cat((F.interpolate(n4, scale_factor=2, mode="nearest"), s3), 1))
        p4 = self.out4(torch.cat((self.down3(p3), n4), 1))
        p5 = self.out5(torch.cat((self.down4(p4), n5), 1))
        return [head(p) for head, p in zip(self.heads, (p3, p4, p5))]

    def forward(self, x: Tensor) -> Tensor:
        return flatten(self.levels(x))


def mixed_precision(device: torch.device) -> torch.autocast:
    """bfloat16 where the device computes in it; a CPU without such instructions is several times slower with it."""
    fit = device.type != "cpu" or torch.ops.mkldnn._is_mkldnn_bf16_supported()
    return torch.autocast(device.type, torch.bfloat16, enabled=fit)


def flatten(levels: list[Tensor]) -> Tensor:
    return torch.cat([level.flatten(2) for level in levels], 2).permute(0, 2, 1)


def grid(height: int, width: int, device: torch.device | str = "cpu") -> tuple[Tensor, Tensor]:
    """Cell corners in cells (anchors, 2) and strides (anchors, 1), in the order of `flatten`."""
    cells, strides = [], []
    for stride in STRIDES:
        h, w = height // stride, width // stride
        y, x = torch.meshgrid(torch.arange(h, device=device), torch.arange(w, device=device), indexing="ij")
        cells.append(torch.stack((x, y), -1).reshape(-1, 2).float())
        strides.append(torch.full((h * w, 1), float(stride), device=device))
    return torch.cat(cells), torch.cat(strides)


class Decoded(nn.Module):
    """What ships: centre x, y, width, height in input pixels, objectness, class scores."""

    def __init__(self, detector: Detector, height: int, width: int):
        super().__init__()
        self.detector = detector
        cells, strides = grid(height, width)
        self.register_buffer("cells", cells[None])
        self.register_buffer("strides", strides[None])

    def forward(self, images: Tensor) -> Tensor:
        y = self.detector(images)
        centre = (y[..., :2] + self.cells) * self.strides
        size = torch.exp(y[..., 2:4]) * self.strides
        return torch.cat((centre, size, torch.sigmoid(y[..., 4:])), -1)
