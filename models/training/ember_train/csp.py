"""The backbone of YOLOX: cross-stage blocks after a stem that folds pixels into channels."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Backbone, Conv, CrossStage, Shape, spatial

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


class PyramidPool(nn.Module):
    def __init__(self, shape: Shape, c_in: int, c_out: int):
        super().__init__()
        self.reduce = Conv(shape, c_in, c_in // 2, 1)
        self.join = Conv(shape, c_in * 2, c_out, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = self.reduce(x)
        return self.join(torch.cat([x] + [F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13)], 1))


class CspBackbone(Backbone):
    """Pixels to maps of strides 8, 16 and 32, with the channels of `Shape.channels`."""

    def __init__(self, shape: Shape):
        super().__init__()
        c2, c3, c4 = shape.channels
        c, c1 = c2 // 4, c2 // 2
        few, many = max(1, round(3 * shape.depth)), max(1, round(9 * shape.depth))
        self.stem = Focus(shape, c)
        self.stage2 = nn.Sequential(spatial(shape, c, c1, 2), CrossStage(shape, c1, c1, few, True))
        self.stage3 = nn.Sequential(spatial(shape, c1, c2, 2), CrossStage(shape, c2, c2, many, True))
        self.stage4 = nn.Sequential(spatial(shape, c2, c3, 2), CrossStage(shape, c3, c3, many, True))
        self.stage5 = nn.Sequential(spatial(shape, c3, c4, 2), PyramidPool(shape, c4, c4),
                                    CrossStage(shape, c4, c4, few, False))

    def last_layers(self) -> tuple[Conv, Conv, Conv]:
        """The layers that give the three maps."""
        return self.stage3[-1].join, self.stage4[-1].join, self.stage5[-1].join
