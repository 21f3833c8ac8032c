"""What every network of the family is built of: convolutions with their activation, and blocks of them.

Batch norm is left out because the weights that we start from have it folded in; `norm` puts it in while a network trains.
"""

from dataclasses import asdict, dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn


@dataclass(frozen=True)
class Shape:
    """What distinguishes one network of the family from another."""

    width: float = 0.25
    depth: float = 1 / 3
    depthwise: bool = True
    activation: str = "silu"
    classes: int = 2
    backbone: str = "csp"  # or the name of an EfficientNet-Lite (`lite.LITE`)

    @property
    def channels(self) -> tuple[int, int, int]:
        """Of the maps at strides 8, 16 and 32."""
        c = round(64 * self.width)
        return 4 * c, 8 * c, 16 * c

    def as_dict(self) -> dict:
        return asdict(self)


ACTIVATIONS = {"silu": F.silu, "hardswish": F.hardswish, "relu": F.relu, "relu6": F.relu6, "none": lambda x: x}


class Conv(nn.Module):
    """Convolution and activation; between them, while it trains, a norm (`norm.put_in`)."""

    def __init__(self, shape: Shape, c_in: int, c_out: int, kernel: int, stride: int = 1, groups: int = 1):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, kernel, stride, kernel // 2, groups=groups)
        self.norm: nn.Module | None = None
        self.activation = ACTIVATIONS[shape.activation]

    def forward(self, x: Tensor) -> Tensor:
        x = self._convolve(x)
        return self.activation(x if self.norm is None else self.norm(x))

    def _convolve(self, x: Tensor) -> Tensor:
        uneven = self.conv.groups > 1 and (self.conv.stride[0] > 1 or self.conv.kernel_size[0] > 3)
        if uneven and x.device.type == "cpu" and torch.is_grad_enabled():
            # Their gradients take a CPU three to eighteen times as long in bfloat16 as in float32.
            with torch.autocast("cpu", enabled=False):
                return self.conv(x.float())
        return self.conv(x)


def spatial(shape: Shape, c_in: int, c_out: int, stride: int = 1) -> nn.Module:
    """A 3x3 convolution, or its depthwise and pointwise pair."""
    if not shape.depthwise:
        return Conv(shape, c_in, c_out, 3, stride)
    return nn.Sequential(Conv(shape, c_in, c_in, 3, stride, groups=c_in), Conv(shape, c_in, c_out, 1))


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


class Backbone(nn.Module):
    """A stem and stages 2 to 5, which whoever inherits declares: pixels to maps of strides 8, 16 and 32."""

    stem: nn.Module
    stage2: nn.Module
    stage3: nn.Module
    stage4: nn.Module
    stage5: nn.Module

    @property
    def early(self) -> tuple[nn.Module, nn.Module]:
        """What leads to stride 4."""
        return self.stem, self.stage2

    def late(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """From stride 4 to the three maps."""
        s3 = self.stage3(x)
        s4 = self.stage4(s3)
        return s3, s4, self.stage5(s4)
