"""A trained backbone with fewer filtered channels: those go whose loss the rest can best make up for.

Each inverted block ends in a linear layer, a least-squares fit of its output to its filtered channels. What the fit loses
without a channel, the others fitted anew, is the square of its weights over its place on the diagonal of the inverse
moments (Hassibi and Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", 1992). Channels go one
by one, the cheapest first.
"""

import torch
from torch import Tensor

from .fit import Sums, rows, train_pictures
from .lite import Inverted, LiteBackbone
from .pack import Store


@torch.no_grad()
def slim(backbone: LiteBackbone, donor: LiteBackbone, store: Store, pictures: int, size: int = 416, seed: int = 0) -> list[float]:
    """Fills `backbone`, except its laterals, from `donor`, whose blocks filter more channels. Returns, per block, the share
    of its output's variance that is lost."""
    donor.eval()
    backbone.stem.load_state_dict(donor.stem.state_dict())
    pairs = [_Pair(ours, theirs) for ours, theirs in zip(_blocks(backbone), _blocks(donor), strict=True)]
    for pixels in train_pictures(store, pictures, size, seed):
        for part in donor.early:
            pixels = part(pixels)
        donor.late(pixels)
    return [pair.settle() for pair in pairs]


def _blocks(backbone: LiteBackbone) -> list[Inverted]:
    return [m for m in backbone.modules() if isinstance(m, Inverted)]


class _Pair:
    """A block and the one that it is cut from."""

    def __init__(self, ours: Inverted, theirs: Inverted):
        self.ours, self.theirs = ours, theirs
        self.layer, self.output = Sums(), Sums()
        self.hooks = [theirs.narrow.conv.register_forward_hook(lambda _, inputs, out: self.layer.add(rows(inputs[0]), rows(out))),
                      theirs.register_forward_hook(lambda _, inputs, out: self.output.add(rows(out)[:, :0], rows(out)))]

    def settle(self) -> float:
        for hook in self.hooks:
            hook.remove()
        narrow = self.ours.narrow.conv
        if isinstance(self.ours.widen, torch.nn.Identity) and not isinstance(self.theirs.widen, torch.nn.Identity):
            # It has none of the channels that were filtered: it begins by adding nothing.
            narrow.weight.zero_()
            narrow.bias.zero_()
            return float(self.layer.spread() / self.output.spread())
        kept, weights, bias, lost = cheapest(self.layer.ridged(), self.layer.xy, narrow.in_channels)
        narrow.weight.copy_(weights.T[..., None, None])
        narrow.bias.copy_(bias)
        for ours, theirs in ((self.ours.widen, self.theirs.widen), (self.ours.spatial, self.theirs.spatial)):
            if not isinstance(ours, torch.nn.Identity):
                ours.conv.weight.copy_(theirs.conv.weight[kept])
                ours.conv.bias.copy_(theirs.conv.bias[kept])
        return lost / float(self.output.spread())


def cheapest(xx: Tensor, xy: Tensor, keep: int) -> tuple[Tensor, Tensor, Tensor, float]:
    """`xx` (n + 1, n + 1) and `xy` (n + 1, outputs): summed products of n channels and a constant, the last. Returns the
    `keep` channels that stay, their weights (keep, outputs), the bias, and the squared error that the cut adds."""
    inverse = torch.linalg.inv(xx)
    weights = inverse @ xy
    gone = torch.zeros(len(xx), dtype=torch.bool)
    lost = 0.0
    for _ in range(len(xx) - 1 - keep):
        price = weights.square().sum(1) / inverse.diagonal()
        price[gone] = torch.inf
        at = int(price[:-1].argmin())
        lost += float(price[at])
        column = inverse[:, at] / inverse[at, at]
        weights = weights - torch.outer(column, weights[at])
        inverse = inverse - torch.outer(column, inverse[at])
        inverse[at, at] = 1  # its row and column are zero now
        gone[at] = True
    kept = (~gone[:-1]).nonzero()[:, 0]
    return kept, weights[kept].float(), weights[-1].float(), lost
