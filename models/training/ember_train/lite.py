"""EfficientNet-Lite as the backbone: features that ImageNet taught, ReLU6, no squeeze and excitation.

Blocks and scaling after the paper (Tan and Le, arXiv:1905.11946, table 1) and the Lite variant of its authors, which
scales neither the stem nor the repeats of the first and last stage.
"""

import math
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Backbone, Conv, Shape
from .problems import BadInput, Problem

# Width and depth coefficients.
LITE = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2), "slim": (1.0, 1.0)}
# Filtered channels per block where they are fewer than the expansion says (`slim.py` chooses which stay). A block that
# filters as many as come in has no widening layer: the last of stride 16 here.
HIDDEN = {"slim": (32, 64, 64, 128, 96, 240, 160, 112, 368, 128, 112, 432, 176, 160, 160, 224)}
# Repeats, kernel, stride of the first, expansion, channels.
STAGES = ((1, 3, 1, 1, 16), (2, 3, 2, 6, 24), (2, 5, 2, 6, 40), (3, 3, 2, 6, 80), (3, 5, 1, 6, 112), (4, 5, 2, 6, 192), (1, 3, 1, 6, 320))
STEM = 32
EPSILON = 1e-3  # of the batch norms in the published weights
MEAN, DEVIATION = 127.0, 128.0  # of the pixels they were trained on


class LiteConv(Conv):
    """A convolution that pads as TensorFlow does: where a stride leaves an odd number, one more below and right."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1, linear: bool = False):
        super().__init__(Shape(activation="none" if linear else "relu6"), c_in, c_out, kernel, stride, groups)
        self.pads = uneven_pads(kernel, stride) * 2 if stride > 1 else None
        if self.pads:
            self.conv.padding = (0, 0)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pads) if self.pads else x)


def uneven_pads(kernel: int, stride: int) -> tuple[int, int]:
    """Zeros before and after, such that an even side is divided by the stride."""
    odd = kernel - stride
    return odd // 2, odd - odd // 2


class Inverted(nn.Module):
    """Widens, filters each channel, narrows; added to what came in where the shapes agree."""

    def __init__(self, c_in: int, c_out: int, kernel: int, stride: int, wide: int):
        super().__init__()
        self.widen = LiteConv(c_in, wide, 1) if wide != c_in else nn.Identity()
        self.spatial = LiteConv(wide, wide, kernel, stride, groups=wide)
        self.narrow = LiteConv(wide, c_out, 1, linear=True)
        self.shortcut = stride == 1 and c_in == c_out

    def forward(self, x: Tensor) -> Tensor:
        y = self.narrow(self.spatial(self.widen(x)))
        return x + y if self.shortcut else y


class Stem(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv = LiteConv(3, STEM, 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv((x - MEAN) / DEVIATION)


class LiteBackbone(Backbone):
    """Pixels (BGR 0..255) to maps of strides 8, 16 and 32, with the channels of `Shape.channels`."""

    def __init__(self, shape: Shape):
        super().__init__()
        width, depth = LITE[shape.backbone]
        self.stem = Stem()
        hidden = iter(HIDDEN.get(shape.backbone, ()))
        stages, c_in, widths = [], STEM, []
        for at, (repeats, kernel, stride, expansion, channels) in enumerate(STAGES):
            c_out = _rounded(channels * width)
            if 0 < at < len(STAGES) - 1:
                repeats = math.ceil(repeats * depth)
            blocks = []
            for i in range(repeats):
                blocks.append(Inverted(c_in, c_out, kernel, stride if i == 0 else 1, next(hidden, c_in * expansion)))
                c_in = c_out
            stages.append(nn.Sequential(*blocks))
            widths.append(c_out)
        self.stage2 = nn.Sequential(*stages[:2])
        self.stage3, self.stage4, self.stage5 = stages[2], nn.Sequential(*stages[3:5]), nn.Sequential(*stages[5:])
        self.lateral3, self.lateral4, self.lateral5 = (Conv(shape, widths[i], c, 1) for i, c in zip((2, 4, 6), shape.channels))

    def late(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        s3, s4, s5 = super().late(x)
        return self.lateral3(s3), self.lateral4(s4), self.lateral5(s5)

    def last_layers(self) -> tuple[Conv, Conv, Conv]:
        """The layers that give the three maps."""
        return self.lateral3, self.lateral4, self.lateral5


def _rounded(channels: float) -> int:
    """To a multiple of eight, and not below nine tenths."""
    near = max(8, int(channels + 4) // 8 * 8)
    return near + 8 if near < 0.9 * channels else near


@torch.no_grad()
def load_imagenet(backbone: LiteBackbone, path: Path) -> None:
    """Weights as `efficientnet-liteN-*.pth` has them: n-th convolution to n-th convolution, its batch norm folded in."""
    if not path.exists():
        raise BadInput([Problem(path, 0, "weights of the backbone are missing")])
    state = torch.load(path, map_location="cpu", weights_only=True)
    ours = [m for part in (*backbone.early, backbone.stage3, backbone.stage4, backbone.stage5) for m in part.modules() if isinstance(m, LiteConv)]
    theirs = [name.removesuffix(".weight") for name, tensor in state.items() if tensor.ndim == 4]
    # The last one belongs to the classifier.
    if len(theirs) != len(ours) + 1:
        raise BadInput([Problem(path, 0, f"has {len(theirs)} convolutions, expected {len(ours) + 1}: the file of another EfficientNet-Lite?")])
    norms = [name.removesuffix(".running_mean") for name in state if name.endswith(".running_mean")]
    for layer, conv, norm in zip(ours, theirs, norms):
        weight = state[f"{conv}.weight"]
        if weight.shape != layer.conv.weight.shape:
            raise BadInput([Problem(path, 0, f"{conv}: weight is {tuple(weight.shape)}, expected {tuple(layer.conv.weight.shape)}")])
        scale = state[f"{norm}.weight"] / (state[f"{norm}.running_var"] + EPSILON).sqrt()
        if layer is backbone.stem.conv:
            weight = weight.flip(1)  # the file's pixels are RGB
        layer.conv.weight.copy_(weight * scale[:, None, None, None])
        layer.conv.bias.copy_(state[f"{norm}.bias"] - state[f"{norm}.running_mean"] * scale)
