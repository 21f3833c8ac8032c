"""Finds the negatives that fool given weights, so that training sees those most."""

import numpy as np
import torch

from .letterbox import letterbox
from .network import Detector, mixed_precision
from .pack import Store


@torch.no_grad()
def hardness(detector: Detector, store: Store, device: torch.device, size: tuple[int, int] = (320, 320), batch: int = 16,
             share: tuple[int, int] = (0, 1)) -> dict[int, float]:
    """Highest score per negative train picture. `share` (k, n) takes every n-th, from the k-th."""
    detector = detector.eval()
    negatives = [i for i in store.of_split("train") if not len(store.boxes(i))][share[0]::share[1]]
    found = {}
    for at in range(0, len(negatives), batch):
        some = negatives[at:at + batch]
        pixels = np.stack([letterbox(store.pixels(i), *size)[0] for i in some])
        x = torch.from_numpy(pixels).permute(0, 3, 1, 2).to(device).float().contiguous(memory_format=torch.channels_last)
        with mixed_precision(device):
            y = detector(x).float()
        score = torch.sigmoid(y[..., 4]) * torch.sigmoid(y[..., 5:]).amax(-1)
        found.update(zip(some, score.amax(1).tolist()))
    detector.train()
    return found
