"""The training loss: box overlap, objectness, class; blind where smoke carries no label."""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from . import SMOKE
from .assign import Targets, assign
from .network import grid

BOX_WEIGHT = 5.0


@dataclass
class Batch:
    """Pixels (B, 3, H, W), the same unspoiled for teachers where there are any, targets, and regions (B, R, 4; corners) in which smoke is not
    labelled, and in which nothing burns."""

    pixels: Tensor
    clear: Tensor | None
    targets: Targets
    unlabelled: Tensor
    calm: Tensor

    def to(self, device: torch.device) -> "Batch":
        return self._each(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        return self._each(Tensor.pin_memory)

    def _each(self, act) -> "Batch":
        t = self.targets
        return Batch(act(self.pixels), None if self.clear is None else act(self.clear), Targets(act(t.classes), act(t.corners), act(t.exists)), act(self.unlabelled), act(self.calm))


@dataclass
class Parts:
    """The loss and what it is made of, each a number on the device: reading one waits for the device."""

    total: Tensor
    box: Tensor
    objectness: Tensor
    classes: Tensor
    positives: Tensor


def loss_of(logits: Tensor, batch: Batch) -> Parts:
    """`logits` (B, A, 5 + classes) in fp32. Nothing here waits for the device."""
    height, width = batch.pixels.shape[2:]
    cells, strides = grid(height, width, logits.device)
    corners = corners_of(logits, height, width)
    centres = (cells + 0.5) * strides
    targets = batch.targets
    scores = torch.sigmoid(logits[..., 4:].detach())
    found = assign(targets, corners.detach(), scores, centres, strides)
    positives = found.positive.sum()
    share = 1 / positives.clamp(min=1)

    blind = within(batch.unlabelled, centres)
    # Background that the network takes for smoke may well be smoke there: no lesson from it.
    unsure = blind & (scores[..., 1 + SMOKE] > scores[..., 1:].where(_others(scores), scores.new_tensor(-1.0)).amax(-1)) & ~found.positive
    objectness = F.binary_cross_entropy_with_logits(logits[..., 4], found.positive.float(), reduction="none")
    objectness = (objectness * ~unsure).sum() * share
    if targets.classes.shape[1] == 0:
        none = logits.sum() * 0
        return Parts(objectness + none, none.detach(), objectness.detach(), none.detach(), positives)

    # Every anchor has a box here; those that answer for none are left out of the sums.
    wanted = targets.corners.gather(1, found.box[..., None].expand(-1, -1, 4))
    apart = torch.where(found.positive, 1 - overlap_of_pairs(corners, wanted) ** 2, 0)
    boxes = BOX_WEIGHT * apart.sum() * share
    soft = F.one_hot(targets.classes.gather(1, found.box), scores.shape[-1] - 1) * found.overlap[..., None]
    classes = F.binary_cross_entropy_with_logits(logits[..., 5:], soft, reduction="none")
    smoke = torch.arange(classes.shape[-1], device=classes.device) == SMOKE
    classes = torch.where(found.positive[..., None] & ~(blind[..., None] & smoke), classes, 0).sum() * share
    return Parts(boxes + objectness + classes, boxes.detach(), objectness.detach(), classes.detach(), positives)


def corners_of(logits: Tensor, height: int, width: int) -> Tensor:
    """The boxes (B, A, 4) that logits stand for, in pixels."""
    cells, strides = grid(height, width, logits.device)
    middle = (logits[..., :2] + cells) * strides
    size = torch.exp(logits[..., 2:4].clamp(max=8)) * strides
    return torch.cat((middle - size / 2, middle + size / 2), -1)


def within(regions: Tensor, points: Tensor) -> Tensor:
    """Whether each point (A, 2) lies in any of the regions (B, R, 4): (B, A)."""
    r = regions[:, :, None]
    return ((points >= r[..., :2]) & (points < r[..., 2:])).all(-1).any(1)


def _others(scores: Tensor) -> Tensor:
    """Which class columns are not smoke."""
    mask = torch.ones(scores.shape[-1] - 1, dtype=torch.bool, device=scores.device)
    mask[SMOKE] = False
    return mask


def overlap_of_pairs(a: Tensor, b: Tensor) -> Tensor:
    """IoU of each box of `a` with its own of `b`, both (..., 4)."""
    w, h = (torch.minimum(a[..., 2:], b[..., 2:]) - torch.maximum(a[..., :2], b[..., :2])).clamp(min=0).unbind(-1)
    shared = w * h
    (wa, ha), (wb, hb) = (a[..., 2:] - a[..., :2]).unbind(-1), (b[..., 2:] - b[..., :2]).unbind(-1)
    areas = wa * ha + wb * hb
    return shared / (areas - shared + 1e-7)
