"""Batch norm for training alone: put in where it changes nothing, folded back into the convolutions at the end.

The COCO weights that we start from come with theirs folded in. Without it steps of one rate are too long for some channels
and too short for others.
"""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from .blocks import Conv
from .network import Detector

EPSILON, MOMENTUM = 1e-3, 0.03


def normed(detector: Detector) -> list[Conv]:
    """The convolutions that train and that an activation follows."""
    return [m for m in detector.modules() if isinstance(m, Conv) and m.conv.weight.requires_grad]


def put_in(detector: Detector) -> None:
    """Batch norm after each convolution that trains: not yet measured, so for weights that are loaded next."""
    for layer in normed(detector):
        layer.norm = nn.BatchNorm2d(layer.conv.out_channels, EPSILON, MOMENTUM, device=layer.conv.weight.device)
        # The norm takes any mean away again: this bias has nothing to learn.
        layer.conv.bias.requires_grad_(False)


@torch.no_grad()
def measure(detector: Detector, batches: Iterable[Tensor]) -> None:
    """Sets each norm to what its convolution gives over these pixels, scale and shift so that the function stays the same."""
    sums = {}

    def add(layer: Conv):
        def hook(_module, _inputs, out):
            planes = out.float().transpose(0, 1).flatten(1)
            count, total, squares = sums.get(layer, (0, 0.0, 0.0))
            sums[layer] = (count + planes.shape[1], total + planes.double().sum(1), squares + planes.double().square().sum(1))
        return hook

    norms = {layer: layer.norm for layer in normed(detector)}
    hooks = [layer.conv.register_forward_hook(add(layer)) for layer in norms]
    for layer in norms:
        layer.norm = None
    for pixels in batches:
        detector(pixels)
    for hook in hooks:
        hook.remove()
    for layer, norm in norms.items():
        count, total, squares = sums[layer]
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        norm.running_mean.copy_(mean)
        norm.running_var.copy_(variance)
        norm.weight.copy_((variance + EPSILON).sqrt())
        norm.bias.copy_(mean)
        layer.norm = norm


def folded(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """The same function without norms, as weights and biases of the convolutions; a state without norms as it is."""
    out = {}
    for key, value in state.items():
        layer, _, rest = key.rpartition(".conv.")
        if ".norm." in key:
            continue
        if rest and f"{layer}.norm.weight" in state:
            scale = state[f"{layer}.norm.weight"] / (state[f"{layer}.norm.running_var"] + EPSILON).sqrt()
            if rest == "weight":
                value = value * scale[:, None, None, None]
            else:
                value = (value - state[f"{layer}.norm.running_mean"]) * scale + state[f"{layer}.norm.bias"]
        out[key] = value
    return out
