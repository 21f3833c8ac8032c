"""Pictures of figures: training curves from log.csv, precision against recall from a report."""

import csv
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402  (the backend must be chosen first)


def plot_log(folder: Path) -> Path:
    """Draws log.csv of a run into curves.png."""
    with (folder / "log.csv").open() as file:
        rows = [{k: float(v) for k, v in row.items()} for row in csv.DictReader(file)]
    figure, (losses, rates) = plt.subplots(2, 1, figsize=(8, 7), sharex=True)
    for name in ("loss", "box", "objectness", "class"):
        losses.plot([r["samples"] for r in rows], [r[name] for r in rows], label=name)
    losses.legend()
    losses.set_ylabel("loss")
    rates.plot([r["samples"] for r in rows], [r["rate"] for r in rows], color="tab:red")
    rates.set_ylabel("learning rate")
    rates.set_xlabel("samples")
    path = folder / "curves.png"
    figure.savefig(path, dpi=90)
    plt.close(figure)
    return path


def plot_report(report: dict, out: Path) -> None:
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 4.5))
    for name, c in report["classes"].items():
        if "curve" in c:
            left.plot([r[2] for r in c["curve"]], [r[1] for r in c["curve"]], label=f"{name} {c['all']['map50']:.3f}")
    left.set(xlabel="recall", ylabel="precision", xlim=(0, 1), ylim=(0, 1), title="boxes, IoU 0.5")
    left.legend()
    if "curve" in report:
        right.plot([100 * r[2] for r in report["curve"]], [r[1] for r in report["curve"]], marker=".")
        right.set(xlabel="calm pictures that alarm, %", ylabel="burning pictures that alarm", title="pictures, any class")
    figure.tight_layout()
    figure.savefig(out / "curves.png", dpi=90)
    plt.close(figure)
