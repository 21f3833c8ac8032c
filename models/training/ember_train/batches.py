"""Batches by number: the same number gives the same batch, whatever ran before. Resuming needs that."""

import numpy as np
import torch
from torch.utils.data import Dataset

from .assign import Targets
from .canvas import Composer, Mix, Sample
from .loss import Batch


class Batches(Dataset):
    """Batch `step` of process `rank`. `plan(step)` says mix, height and width; `taught` whether teachers will look."""

    def __init__(self, composer: Composer, plan, size: int, rank: int, seed: int, first: int, last: int, taught: bool = False):
        self.composer, self.plan, self.size = composer, plan, size
        self.rank, self.seed, self.first, self.last, self.taught = rank, seed, first, last, taught

    def __len__(self) -> int:
        return self.last - self.first

    def __getitem__(self, at: int) -> Batch:
        step = self.first + at
        mix, height, width = self.plan(step)
        samples = [self.composer.compose(np.random.default_rng((self.seed, step, self.rank, i)), mix, height, width)
                   for i in range(self.size)]
        return collate(samples, self.taught)


def collate(samples: list[Sample], taught: bool = False) -> Batch:
    pixels = _stacked([s.pixels for s in samples])
    clear = _stacked([s.clear for s in samples]) if taught else None
    count = max(len(s.boxes) for s in samples)
    boxes = np.zeros((len(samples), count, 5), np.float32)
    exists = np.zeros((len(samples), count), bool)
    for b, sample in enumerate(samples):
        boxes[b, : len(sample.boxes)] = sample.boxes
        exists[b, : len(sample.boxes)] = True
    boxes = torch.from_numpy(boxes)
    targets = Targets(boxes[..., 0].long(), boxes[..., 1:], torch.from_numpy(exists))
    return Batch(pixels, clear, targets, _regions([s.unlabelled for s in samples]), _regions([s.calm for s in samples]))


def _stacked(pictures: list[np.ndarray]) -> torch.Tensor:
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def _regions(own: list[np.ndarray]) -> torch.Tensor:
    """Those of each sample as (B, R, 4), filled up with regions that have no area, which contain no point."""
    filled = np.zeros((len(own), max(map(len, own)), 4), np.float32)
    for b, some in enumerate(own):
        filled[b, : len(some)] = some
    return torch.from_numpy(filled)
