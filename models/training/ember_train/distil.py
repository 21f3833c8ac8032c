"""Lessons from a trained detector of another shape: its boxes and scores of the same scene, instead of labels.

Labels cut one fire into boxes as somebody pleased; what a trained network says of it is at least consistent, and says
what smoke looks like where smoke has no labels. Teachers look before haze, blur, noise or night mode spoil a picture, so
that the pupil learns to see in spite of these what they see without. Where nothing burns the labels are right, and the
pictures that a teacher takes for fire are those that training draws most: there it is overruled.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from .loss import BOX_WEIGHT, Batch, corners_of, overlap_of_pairs, within
from .network import Detector, grid, mixed_precision

SURE = 0.02  # anchors of lesser objectness say nothing of boxes and classes
NOTHING = -12.0  # the logit of what is surely not there


@torch.no_grad()
def told(teachers: list[Detector], clear: Tensor, batch: Batch) -> Tensor:
    """What the teachers say of each anchor of the unspoiled pictures, with one voice, in fp32; nothing where nothing burns."""
    cells, strides = grid(*clear.shape[2:], clear.device)
    calm = within(batch.calm, (cells + 0.5) * strides)
    asked = ~calm.all(1)
    said = clear.new_full((len(clear), len(cells), 5 + teachers[0].shape.classes), NOTHING)
    if asked.any():
        some = clear[asked].contiguous(memory_format=torch.channels_last)
        with mixed_precision(clear.device):
            said[asked] = torch.stack([teacher(some).float() for teacher in teachers]).mean(0)
    said[..., 4].masked_fill_(calm, NOTHING)
    return said


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
