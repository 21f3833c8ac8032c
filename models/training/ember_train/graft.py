"""A trained neck and heads on another backbone: laterals that give what the old backbone gave, as nearly as linear maps can."""

import torch

from .fit import Sums, rows, train_pictures
from .network import Detector
from .pack import Store


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
    for pixels in train_pictures(store, pictures, size, seed):
        donor.maps(pixels)
        detector.maps(pixels)
        for fit in fits:
            fit.sums.add(fit.features, fit.targets)
    return [fit.settle() for fit in fits]


class _Fit:
    """One lateral and what it shall give."""

    def __init__(self, layer, wanted):
        self.layer, self.sums = layer, Sums()
        self.features = self.targets = None
        self.hooks = [layer.conv.register_forward_pre_hook(self._keep_features), wanted.conv.register_forward_hook(self._keep_targets)]

    def _keep_features(self, _module, inputs) -> None:
        self.features = rows(inputs[0])

    def _keep_targets(self, _module, _inputs, out) -> None:
        self.targets = rows(out)

    def settle(self) -> float:
        for hook in self.hooks:
            hook.remove()
        sums = self.sums
        solved = torch.linalg.solve(sums.ridged(), sums.xy)
        self.layer.conv.weight.copy_(solved[:-1].T[..., None, None])
        self.layer.conv.bias.copy_(solved[-1])
        left = sums.yy - 2 * (solved * sums.xy).sum(0) + (solved * (sums.xx @ solved)).sum(0)
        return 1 - float(left.sum() / sums.spread())
