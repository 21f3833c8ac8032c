"""Least squares between what layers take and what they shall give, over train pictures."""

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .letterbox import letterbox
from .pack import Store

RIDGE = 1e-3  # of the mean square of an input


class Sums:
    """Products of inputs (and a constant 1 in the last place) with each other and with outputs, summed over rows."""

    def __init__(self):
        self.xx = self.xy = self.yy = self.y = 0.0
        self.count = 0

    def add(self, x: Tensor, y: Tensor) -> None:
        """`x` (rows, inputs) and `y` (rows, outputs)."""
        x = torch.cat((x, x.new_ones(len(x), 1)), 1)
        self.xx, self.xy = self.xx + (x.T @ x).double(), self.xy + (x.T @ y).double()
        self.yy, self.y, self.count = self.yy + y.square().sum(0).double(), self.y + y.sum(0).double(), self.count + len(x)

    def ridged(self) -> Tensor:
        """`xx` with a little on the diagonal, so that inputs that say the same do no harm."""
        ridge = torch.full((len(self.xx),), RIDGE * float(self.xx.diagonal()[:-1].mean()), dtype=torch.float64)
        ridge[-1] = 0
        return self.xx + torch.diag(ridge)

    def spread(self) -> Tensor:
        """Squared distance of the outputs from their mean, summed."""
        return (self.yy - self.y.square() / self.count).sum()


def rows(maps: Tensor) -> Tensor:
    """(N, C, H, W) as one row a place."""
    return maps.permute(0, 2, 3, 1).flatten(0, 2)


def train_pictures(store: Store, count: int, size: int, seed: int, batch: int = 8) -> Iterator[Tensor]:
    """Chosen by chance, as the network takes them."""
    chosen = np.random.default_rng(seed).permutation(store.of_split("train"))[:count]
    for at in range(0, len(chosen), batch):
        pixels = np.stack([letterbox(store.pixels(int(i)), size, size)[0] for i in chosen[at:at + batch]])
        yield torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
