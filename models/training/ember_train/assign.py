"""SimOTA for a whole batch at once: which anchors answer for which box.

No loop over pictures: on a GPU the loop, not the network, is what training waits for.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

CENTRE_RADIUS = 1.5  # in cells
CANDIDATES = 10
FAR, NEVER = 1e5, 1e9


@dataclass
class Targets:
    """Boxes of a batch, padded to the longest list: class (B, N), corners (B, N, 4), exists (B, N)."""

    classes: Tensor
    corners: Tensor
    exists: Tensor


@dataclass
class Assignment:
    """Per anchor (B, A): whether it answers for a box, for which, and how well it overlaps now."""

    positive: Tensor
    box: Tensor
    overlap: Tensor


def overlaps(boxes: Tensor, anchors: Tensor) -> Tensor:
    """IoU of (B, N, 4) with (B, A, 4), corners: (B, N, A)."""
    low = torch.maximum(boxes[:, :, None, :2], anchors[:, None, :, :2])
    high = torch.minimum(boxes[:, :, None, 2:], anchors[:, None, :, 2:])
    shared = (high - low).clamp(min=0).prod(-1)
    own = (boxes[..., 2:] - boxes[..., :2]).prod(-1)
    theirs = (anchors[..., 2:] - anchors[..., :2]).prod(-1)
    return shared / (own[:, :, None] + theirs[:, None] - shared + 1e-7)


@torch.no_grad()
def assign(targets: Targets, corners: Tensor, scores: Tensor, centres: Tensor, strides: Tensor) -> Assignment:
    """`corners` (B, A, 4) as predicted, `scores` (B, A, 1 + classes) after the sigmoid."""
    batch, count = targets.classes.shape
    anchors = corners.shape[1]
    if count == 0:
        nothing = torch.zeros(batch, anchors, device=corners.device)
        return Assignment(nothing.bool(), nothing.long(), nothing)
    g = targets.corners[:, :, None]
    inside = ((centres > g[..., :2]) & (centres < g[..., 2:])).all(-1)
    middle = (g[..., :2] + g[..., 2:]) / 2
    near = ((centres - middle).abs() < CENTRE_RADIUS * strides).all(-1)
    exists = targets.exists[:, :, None]
    candidate = ((inside | near) & exists).any(1)

    iou = overlaps(targets.corners, corners) * candidate[:, None] * exists
    score = (scores[..., :1] * scores[..., 1:]).sqrt().clamp(1e-6, 1 - 1e-6)
    against = -torch.log(1 - score)
    # Cross-entropy against a one-hot class, per class, then looked up per box.
    per_class = against.sum(-1, keepdim=True) - against - torch.log(score)
    wanted = targets.classes[:, :, None].expand(-1, -1, anchors)
    cost = per_class.transpose(1, 2).gather(1, wanted) - 3 * torch.log(iou + 1e-8)
    cost = cost + FAR * ~(inside & near)
    cost = torch.where(candidate[:, None] & exists, cost, cost.new_tensor(NEVER))

    k = min(CANDIDATES, anchors)
    how_many = iou.topk(k, 2).values.sum(2).int().clamp(min=1)
    cheapest, which = cost.topk(k, 2, largest=False)
    taken = (torch.arange(k, device=cost.device) < how_many[:, :, None]) & (cheapest < NEVER)
    match = torch.zeros_like(cost, dtype=torch.bool).scatter_(2, which, taken)
    # An anchor that two boxes want goes to the one that it costs least.
    box = torch.where(match, cost, cost.new_tensor(2 * NEVER)).argmin(1)
    positive = match.any(1)
    overlap = iou.gather(1, box[:, None])[:, 0] * positive
    return Assignment(positive, box, overlap)
