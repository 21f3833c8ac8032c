"""Lessons from a trained detector of another shape: its boxes and scores of the same pixels, instead of labels.

Labels cut one fire into boxes as somebody pleased; what a trained network says of it is at least consistent, and says
what smoke looks like where smoke has no labels.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .loss import BOX_WEIGHT, corners_of, overlap_of_pairs

SURE = 0.02  # anchors of lesser objectness say nothing of boxes and classes


def lesson(logits: Tensor, teacher: Tensor, height: int, width: int) -> Tensor:
    """Both (B, A, 5 + classes) in fp32. Zero, in value and slope, where the two agree."""
    wanted = torch.sigmoid(teacher[..., 4:])
    objectness = wanted[..., 0]
    weight = torch.where(objectness > SURE, objectness, 0)
    share = 1 / weight.sum().clamp(min=1)
    apart = 1 - overlap_of_pairs(corners_of(logits, height, width), corners_of(teacher, height, width)) ** 2
    boxes = BOX_WEIGHT * (apart * weight).sum()
    scores = _surplus(logits[..., 4:], teacher[..., 4:])
    return share * (boxes + scores[..., 0].sum() + (scores[..., 1:] * weight[..., None]).sum())


def _surplus(logits: Tensor, teacher: Tensor) -> Tensor:
    """Cross-entropy against the teacher's probabilities, less what the teacher itself would have."""
    wanted = torch.sigmoid(teacher)
    own = F.binary_cross_entropy_with_logits(teacher, wanted, reduction="none")
    return F.binary_cross_entropy_with_logits(logits, wanted, reduction="none") - own
