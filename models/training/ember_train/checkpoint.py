"""Checkpoints: written whole or not at all, so that a run may die at any moment."""

import json
from pathlib import Path

import torch

from .norm import folded
from .plan import Plan
from .problems import BadInput, Problem


def save(folder: Path, step: int, detector, ema: dict, optimiser, plan: Plan) -> None:
    unfinished = folder / "last.part"
    torch.save(dict(step=step, model=detector.state_dict(), ema=ema, optimiser=optimiser.state_dict(), plan=plan.as_dict()), unfinished)
    unfinished.replace(folder / "last.pt")


def load(folder: Path) -> dict | None:
    path = folder / "last.pt"
    return torch.load(path, map_location="cpu", weights_only=True) if path.exists() else None


def keep_weights(folder: Path, name: str, ema: dict) -> Path:
    """Writes averaged weights alone, as `evaluate` and `export` read them."""
    path = folder / f"{name}.pt"
    torch.save({k: v.clone() for k, v in folded(ema).items()}, path)
    return path


def settle_plan(folder: Path, plan: Plan, resumed: bool) -> None:
    """Writes plan.json. A resumed run may be made longer, not otherwise different."""
    path = folder / "plan.json"
    if resumed and path.exists():
        before = Plan.from_dict(json.loads(path.read_text())).as_dict()
        after = json.loads(json.dumps(plan.as_dict()))
        before = json.loads(json.dumps(before))
        free = ("steps", "hold", "processes", "threads", "without_mosaic")
        other = [k for k in after if k not in free and after[k] != before[k]]
        if other:
            raise BadInput([Problem(path, 0, f"the run was started with other {other}; use another --out")])
    path.write_text(json.dumps(plan.as_dict(), indent=1))
