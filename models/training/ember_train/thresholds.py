"""Chooses the scores above which a detection counts, from val, by a stated rule.

The rule: each duty has a share of burning pictures that must raise at least one detection, and a share of those that show
smoke and no flame, because a fire is to be seen before it burns high. Of all pairs (flame, smoke) of thresholds that keep
both, take the one under which most burning pictures alarm, less the calm ones that do, each share of which weighs as
`FALSE_ALARM_WEIGHS` says; of equals, the one under which more pictures of smoke alone alarm.

What a miss costs sets the numbers. On watch and patrol, many frames of the same fire follow, and a false alarm costs the
operator's trust: .85 of single pictures are enough, .60 of those with smoke alone, and a hundredth more of calm pictures
must bring six hundredths more of burning ones. On alarm duty a verifier or a person looks again, and a missed fire costs
most: .92, .80 and three.
"""

import numpy as np

RECALL_WANTED = {"patrol": 0.85, "watch": 0.85, "alarm": 0.92}
SMOKE_WANTED = {"patrol": 0.60, "watch": 0.60, "alarm": 0.80}  # where smoke is alone
FALSE_ALARM_WEIGHS = {"patrol": 6.0, "watch": 6.0, "alarm": 3.0}
STEPS = np.arange(0.05, 0.81, 0.01).round(2)


def alarms(top: np.ndarray, flame: float, smoke: float) -> float:
    """Share of pictures that alarm, from top scores (n, 2); 1 where there are none."""
    return float(((top[:, 0] >= flame) | (top[:, 1] >= smoke)).mean()) if len(top) else 1.0


def choose(burning: np.ndarray, smoke_alone: np.ndarray, calm: np.ndarray, duty: str) -> dict:
    """Top scores (n, 2) of pictures that burn, of those among them with smoke alone, and of calm ones."""
    best = None
    for flame in STEPS:
        for smoke in STEPS:
            recall, early, false = (alarms(top, flame, smoke) for top in (burning, smoke_alone, calm))
            short = max(0.0, RECALL_WANTED[duty] - recall) + max(0.0, SMOKE_WANTED[duty] - early)
            key = (short, round(FALSE_ALARM_WEIGHS[duty] * false - recall, 9), -early)
            if best is None or key < best[0]:
                best = (key, dict(flame=float(flame), smoke=float(smoke), recall=recall, smoke_recall=early, false_alarms=false))
    return best[1]
