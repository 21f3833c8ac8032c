"""Chooses the scores above which a detection counts, from val, by a stated rule.

The rule: each duty has a share of burning pictures that must raise at least one detection. Of all
pairs (flame, smoke) of thresholds that keep it, take the pair under which the fewest pictures
without fire raise one; of equals, the pair with the higher recall.

What a miss costs sets the share. On watch and patrol, many frames of the same fire follow, and a
false alarm costs the operator's trust: .85 of single pictures is enough. On alarm duty a verifier
or a person looks again, and a missed fire costs most: .92.
"""

import numpy as np

RECALL_WANTED = {"patrol": 0.85, "watch": 0.85, "alarm": 0.92}
STEPS = np.arange(0.05, 0.81, 0.01).round(2)


def outcome(burning: np.ndarray, calm: np.ndarray, flame: float, smoke: float) -> tuple[float, float]:
    """Recall over burning pictures and share of calm ones that alarm, from top scores (n, 2)."""
    return (float(((burning[:, 0] >= flame) | (burning[:, 1] >= smoke)).mean()),
            float(((calm[:, 0] >= flame) | (calm[:, 1] >= smoke)).mean()))


def choose(burning: np.ndarray, calm: np.ndarray, recall_wanted: float) -> dict:
    best = None
    for flame in STEPS:
        for smoke in STEPS:
            recall, alarms = outcome(burning, calm, flame, smoke)
            key = (recall < recall_wanted, alarms if recall >= recall_wanted else -recall, -recall)
            if best is None or key < best[0]:
                best = (key, dict(flame=float(flame), smoke=float(smoke), recall=recall, false_alarms=alarms))
    return best[1]
