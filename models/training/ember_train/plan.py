"""What a run is: every number that decides its outcome, and the plan of its steps."""

import math
from dataclasses import asdict, dataclass, field

import numpy as np

from .canvas import Mix

# Height and width as shares of the square input.
SMALL_CANVASES = ((0.77, 0.77), (0.62, 1.0), (0.54, 0.85))
CANVASES = ((1.0, 1.0), (0.85, 0.85), (0.62, 1.0), (0.69, 1.08))
LAST_CANVASES = ((1.0, 1.0), (0.62, 1.0))


@dataclass
class Plan:
    """Settings of a run, written beside its checkpoints."""

    shape: str = "nano"
    steps: int = 6000
    batch: int = 8  # per process
    processes: int = 2
    input: int = 416  # side of the square input, in pixels
    rate: float = 1e-3
    last_rate: float = 0.03  # of `rate`
    warm_up: int = 200
    hold: float = 0.0  # share of the steps at full rate before the cosine
    small_first: float = 0.35  # share of the steps on small canvases
    without_mosaic: float = 0.12  # last share of the steps
    weight_decay: float = 0.01
    clip: float = 10.0
    averaging: float = 0.9985
    freeze: int = 0
    norm: bool = True  # batch norm while it trains
    teacher: str = ""  # shapes of the detectors that teach beside the labels, joined by +
    taught: float = 0.5  # their share of the loss
    seed: int = 0
    threads: int = 1
    mine: bool = True
    bank: int = 700  # rendered plumes; 0: none are pasted
    mix: Mix = field(default_factory=Mix)

    def as_dict(self) -> dict:
        return asdict(self)

    @staticmethod
    def from_dict(values: dict) -> "Plan":
        mix = dict(values.pop("mix", {}))
        values.setdefault("norm", False)  # a run from before there were norms
        mix.setdefault("bare", 0.0)  # or bare surfaces
        if "sources" in mix:
            mix["sources"] = tuple((s, w) for s, w in mix["sources"])
        return Plan(**values, mix=Mix(**mix))

    def rate_at(self, step: int) -> float:
        """Warm-up, a stretch at full rate, then half a cosine down to `last_rate`."""
        done = step / self.steps
        falling = max(0.0, (done - self.hold) / max(1e-9, 1 - self.hold))
        level = self.last_rate + (1 - self.last_rate) * 0.5 * (1 + math.cos(math.pi * min(1.0, falling)))
        return self.rate * level * min(1.0, (step + 1) / max(1, self.warm_up))

    def sample_at(self, step: int) -> tuple[Mix, int, int]:
        """Mix, height and width of the step: the same in every process, so that none waits."""
        done = step / self.steps
        rng = np.random.default_rng((self.seed, step))
        if done >= 1 - self.without_mosaic:
            canvases, mix = LAST_CANVASES, self.mix.without_mosaic()
        else:
            canvases, mix = (SMALL_CANVASES if done < self.small_first else CANVASES), self.mix
        height, width = (max(32, 32 * round(self.input * share / 32)) for share in canvases[rng.integers(len(canvases))])
        return mix, height, width
