"""The detector network: YOLOX without batch norm, in any width, dense or depthwise.

Batch norm is left out because the COCO weights that we start from have it folded in. Modules are
declared in the order in which they run, so that the n-th convolution here is the n-th `Conv`
node of an exported file: that is how weights are carried over.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDES = (8, 16, 32)


@dataclass(frozen=True)
class Shape:
    """What distinguishes one network of the family from another."""

    width: float = 0.25
    depth: float = 1 / 3
    depthwise: bool = True
    activation: str = "silu"
    classes: int = 2

    def as_dict(self) -> dict:
        return asdict(self)


NANO = Shape()
SHAPES = {
    "nano": NANO,
    "wide": Shape(width=0.5),  # the nano doubled; grows from its weights
    "dense": Shape(depthwise=False, activation="hardswish"),  # for int8; from scratch
}

ACTIVATIONS = {"silu": F.silu, "hardswish": F.hardswish, "relu": F.relu}


class Conv(nn.Module):
    """Convolution and activation; between them, while it trains, a norm (`norm.put_in`)."""

    def __init__(self, shape: Shape, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups)
        self.norm: nn.Module | None = None
        self.activation = ACTIVATIONS[shape.activation]

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv(x)
        return self.activation(x if self.norm is None else self.norm(x))


def spatial(shape: Shape, c_in: int, c_out: int, stride: int = 1) -> nn.Module:
    """A 3x3 convolution, or its depthwise and pointwise pair."""
    if not shape.depthwise:
        return Conv(shape, c_in, c_out, 3, stride)
    return nn.Sequential(Conv(shape, c_in, c_in, 3, stride, groups=c_in), Conv(shape, c_in, c_out, 1))


# The four pixels of a 2x2, (down, right), in the order of the COCO weights.
PHASES = ((0, 0), (1, 0), (0, 1), (1, 1))


class Focus(nn.Module):
    """Folds each 2x2 of pixels into channels, then a full 3x3 convolution."""

    def __init__(self, shape: Shape, c_out: int):
        super().__init__()
        self.conv = Conv(shape, 12, c_out, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(torch.cat([x[..., down::2, right::2] for down, right in PHASES], 1))


class Folded(nn.Module):
    """A trained `Focus` as one 6x6 convolution of stride 2: the same sums without twelve copied planes.

    ONNX Runtime spends a tenth of the nano's time on those slices.
    """

    def __init__(self, focus: Focus):
        super().__init__()
        old = focus.conv.conv
        self.conv = nn.Conv2d(3, old.out_channels, 6, 2, 2)
        weight = old.weight.detach()
        folded = weight.new_zeros(self.conv.weight.shape)
        for quarter, (down, right) in enumerate(PHASES):
            folded[:, :, down::2, right::2] = weight[:, 3 * quarter:3 * quarter + 3]
        self.conv.weight.data.copy_(folded)
        self.conv.bias.data.copy_(old.bias.detach())
        self.activation = focus.conv.activation

    def forward(self, x: Tensor) -> Tensor:
        return self.activation(self.conv(x))


class Bottleneck(nn.Module):
    def __init__(self, shape: Shape, channels: int, shortcut: bool):
        super().__init__()
        self.reduce = Conv(shape, channels, channels, 1)
        self.spatial = spatial(shape, channels, channels)
        self.shortcut = shortcut

    def forward(self, x: Tensor) -> Tensor:
        y = self.spatial(self.reduce(x))
        return x + y if self.shortcut else y


class CrossStage(nn.Module):
    """Half of the channels through bottlenecks, half around them."""

    def __init__(self, shape: Shape, c_in: int, c_out: int, repeats: int, shortcut: bool):
        super().__init__()
        half = c_out // 2
        self.through = Conv(shape, c_in, half, 1)
        self.around = Conv(shape, c_in, half, 1)
        self.blocks = nn.Sequential(*[Bottleneck(shape, half, shortcut) for _ in range(repeats)])
        self.join = Conv(shape, 2 * half, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        through, around = self.through(x), self.around(x)
        return self.join(torch.cat((self.blocks(through), around), 1))


class PyramidPool(nn.Module):
    def __init__(self, shape: Shape, c_in: int, c_out: int):
        super().__init__()
        self.reduce = Conv(shape, c_in, c_in // 2, 1)
        self.join = Conv(shape, c_in * 2, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        return self.join(torch.cat([x] + [F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13)], 1))


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
        c = round(64 * shape.width)
        c1, c2, c3, c4 = 2 * c, 4 * c, 8 * c, 16 * c
        few, many = max(1, round(3 * shape.depth)), max(1, round(9 * shape.depth))
        self.stem = Focus(shape, c)
        self.stage2 = nn.Sequential(spatial(shape, c, c1, 2), CrossStage(shape, c1, c1, few, True))
        self.stage3 = nn.Sequential(spatial(shape, c1, c2, 2), CrossStage(shape, c2, c2, many, True))
        self.stage4 = nn.Sequential(spatial(shape, c2, c3, 2), CrossStage(shape, c3, c3, many, True))
        self.stage5 = nn.Sequential(spatial(shape, c3, c4, 2), PyramidPool(shape, c4, c4),
                                    CrossStage(shape, c4, c4, few, False))
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
        """Keeps the stem (1) and stage 2 (2) as they are: most of the pixels, least to learn."""
        self.frozen = stages
        for part in (self.stem, self.stage2)[:stages]:
            part.requires_grad_(False)

    def backbone(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen < 1):
            x = self.stem(x)
        with torch.set_grad_enabled(torch.is_grad_enabled() and self.frozen < 2):
            x = self.stage2(x)
        s3 = self.stage3(x)
        s4 = self.stage4(s3)
        return s3, s4, self.stage5(s4)

    def levels(self, x: Tensor) -> list[Tensor]:
        """Logits per stride, still as maps (N, 5 + classes, h, w)."""
        s3, s4, s5 = self.backbone(x)
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
