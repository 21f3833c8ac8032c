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
    """Pixels (B, 3, H, W), targets, and regions (B, R, 4; corners) in which smoke is not labelled."""

    pixels: Tensor
    targets: Targets
    unlabelled: Tensor

    def to(self, device: torch.device) -> "Batch":
        t = self.targets
        return Batch(self.pixels.to(device, non_blocking=True),
                     Targets(t.classes.to(device), t.corners.to(device), t.exists.to(device)), self.unlabelled.to(device))


@dataclass
class Parts:
    """The loss and what it is made of, as a log line wants it."""

    total: Tensor
    box: float
    objectness: float
    classes: float
    positives: int


def loss_of(logits: Tensor, batch: Batch) -> Parts:
    """`logits` (B, A, 5 + classes) in fp32."""
    height, width = batch.pixels.shape[2:]
    cells, strides = grid(height, width, logits.device)
    middle = (logits[..., :2] + cells) * strides
    size = torch.exp(logits[..., 2:4].clamp(max=8)) * strides
    corners = torch.cat((middle - size / 2, middle + size / 2), -1)
    centres = (cells + 0.5) * strides
    targets = batch.targets
    scores = torch.sigmoid(logits[..., 4:].detach())
    found = assign(targets, corners.detach(), scores, centres, strides)

    blind = within(batch.unlabelled, centres)
    # Background that the network takes for smoke may well be smoke there: no lesson from it.
    unsure = blind & (scores[..., 1 + SMOKE] > scores[..., 1:].where(_others(scores), scores.new_tensor(-1.0)).amax(-1)) & ~found.positive
    objectness = F.binary_cross_entropy_with_logits(logits[..., 4], found.positive.float(), reduction="none")
    positives = max(1, int(found.positive.sum()))
    objectness = (objectness * ~unsure).sum() / positives
    if not found.positive.any():
        return Parts(objectness + logits.sum() * 0, 0.0, float(objectness.detach()), 0.0, 0)

    where, anchor = found.positive.nonzero(as_tuple=True)
    box = found.box[where, anchor]
    wanted = targets.corners[where, box]
    iou = _pairwise(corners[where, anchor], wanted)
    boxes = BOX_WEIGHT * (1 - iou**2).sum() / positives
    soft = F.one_hot(targets.classes[where, box], scores.shape[-1] - 1) * found.overlap[where, anchor][:, None]
    classes = F.binary_cross_entropy_with_logits(logits[where, anchor, 5:], soft, reduction="none")
    seen = torch.ones_like(classes)
    seen[blind[where, anchor], SMOKE] = 0
    classes = (classes * seen).sum() / positives
    return Parts(boxes + objectness + classes, float(boxes.detach()), float(objectness.detach()), float(classes.detach()), positives)


def within(regions: Tensor, points: Tensor) -> Tensor:
    """Whether each point (A, 2) lies in any of the regions (B, R, 4): (B, A)."""
    r = regions[:, :, None]
    return ((points >= r[..., :2]) & (points < r[..., 2:])).all(-1).any(1)


def _others(scores: Tensor) -> Tensor:
    """Which class columns are not smoke."""
    mask = torch.ones(scores.shape[-1] - 1, dtype=torch.bool, device=scores.device)
    mask[SMOKE] = False
    return mask


def _pairwise(a: Tensor, b: Tensor) -> Tensor:
    shared = (torch.minimum(a[:, 2:], b[:, 2:]) - torch.maximum(a[:, :2], b[:, :2])).clamp(min=0).prod(-1)
    areas = (a[:, 2:] - a[:, :2]).prod(-1) + (b[:, 2:] - b[:, :2]).prod(-1)
    return shared / (areas - shared + 1e-7)
