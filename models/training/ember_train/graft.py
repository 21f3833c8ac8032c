"""A trained neck and heads on another backbone: laterals that give what the old backbone gave, as nearly as linear maps can."""

import numpy as np
import torch
from torch import Tensor

from .letterbox import letterbox
from .network import Detector
from .pack import Store

RIDGE = 1e-3  # of the mean square of a feature


@torch.no_grad()
def graft(detector: Detector, donor: Detector, store: Store, pictures: int, size: int = 416, seed: int = 0) -> list[float]:
    """Copies all but the backbone of `donor` and fits the laterals of `detector` to its maps, before the activation, by
    least squares over train pictures. Returns the share of the variance explained per stride."""
    own = detector.state_dict()
    own.update({k: v for k, v in donor.state_dict().items() if not k.startswith("backbone.")})
    detector.load_state_dict(own)
    detector.eval()
    donor.eval()
    fits = [_Fit(layer, wanted) for layer, wanted in zip(detector.backbone.last_layers(), donor.backbone.last_layers())]
    chosen = np.random.default_rng(seed).permutation(store.of_split("train"))[:pictures]
    for at in range(0, len(chosen), 8):
        pixels = np.stack([letterbox(store.pixels(int(i)), size, size)[0] for i in chosen[at:at + 8]])
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).float()
        donor.maps(x)
        detector.maps(x)
        for fit in fits:
            fit.add()
    return [fit.settle() for fit in fits]


class _Fit:
    """Sums for the normal equations of one lateral."""

    def __init__(self, layer, wanted):
        self.layer = layer
        self.features = self.targets = None
        self.hooks = [layer.conv.register_forward_pre_hook(self._keep_features), wanted.conv.register_forward_hook(self._keep_targets)]
        self.xx = self.xy = self.yy = self.y = 0.0
        self.count = 0

    def _keep_features(self, _module, inputs) -> None:
        self.features = _rows(inputs[0])

    def _keep_targets(self, _module, _inputs, out) -> None:
        self.targets = _rows(out)

    def add(self) -> None:
        x = torch.cat((self.features, self.features.new_ones(len(self.features), 1)), 1)
        y = self.targets
        self.xx, self.xy = self.xx + (x.T @ x).double(), self.xy + (x.T @ y).double()
        self.yy, self.y, self.count = self.yy + y.square().sum(0).double(), self.y + y.sum(0).double(), self.count + len(x)

    def settle(self) -> float:
        for hook in self.hooks:
            hook.remove()
        ridge = torch.full((len(self.xx),), RIDGE * float(self.xx.diagonal()[:-1].mean()), dtype=torch.float64)
        ridge[-1] = 0
        solved = torch.linalg.solve(self.xx + torch.diag(ridge), self.xy)
        self.layer.conv.weight.copy_(solved[:-1].T[..., None, None])
        self.layer.conv.bias.copy_(solved[-1])
        left = self.yy - 2 * (solved * self.xy).sum(0) + (solved * (self.xx @ solved)).sum(0)
        spread = self.yy - self.y.square() / self.count
        return 1 - float(left.sum() / spread.sum())


def _rows(maps: Tensor) -> Tensor:
    return maps.permute(0, 2, 3, 1).flatten(0, 2)
