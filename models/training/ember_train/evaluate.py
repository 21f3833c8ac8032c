"""Measures exported models on a split and writes report.json, report.md and curves."""

import json
from collections import defaultdict
from pathlib import Path

import numpy as np

from . import CLASSES, SMOKE
from .canvas import WITHOUT_PLUMES
from .composite import ignite, make_bank
from .metrics import IOUS, SIZES, Truth, interval, match, proportion_interval
from .pack import Store
from .photo import SPOILED
from .predict import Found, Model
from .thresholds import RECALL_WANTED, choose


def truths_of(store: Store, split: str) -> list[tuple[int, Truth]]:
    truths = []
    for i in store.of_split(split):
        entry = store.entries[i]
        truths.append((i, _truth(store.boxes(i), entry["width"], entry["height"], entry["smoke_labelled"], entry["source"])))
    return truths


def _truth(boxes: np.ndarray, w: int, h: int, smoke_labelled: bool, source: str) -> Truth:
    corners = np.stack(((boxes[:, 1] - boxes[:, 3] / 2) * w, (boxes[:, 2] - boxes[:, 4] / 2) * h,
                        (boxes[:, 1] + boxes[:, 3] / 2) * w, (boxes[:, 2] + boxes[:, 4] / 2) * h), 1)
    return Truth(boxes[:, 0].astype(int), corners, float(w * h), smoke_labelled, source)


def evaluate(store: Store, model: Model, split: str, thresholds: dict | None = None, rounds: int = 300, quick: bool = False) -> dict:
    """All figures of a split. `thresholds` by duty; chosen here where none are given."""
    numbered = truths_of(store, split)
    truths = [t for _, t in numbered]
    founds = [model.look(store.pixels(i)) for i, _ in numbered]
    return report_of(truths, founds, thresholds, rounds, quick)


def evaluate_ignited(store: Store, model: Model, split: str, rounds: int = 300, quick: bool = False) -> dict:
    """Figures over the split's calm outdoor scenes with rendered fires put in, from a bank that training never draws.

    It says how distant, small plumes fare, of which the photo sets have none. It flatters: the
    renderer is the one that training uses.
    """
    bank = make_bank(store, 140, seed=990)
    truths, founds = [], []
    for i in store.of_split(split):
        if len(store.boxes(i)) or store.entries[i]["source"] in WITHOUT_PLUMES:
            continue
        pixels, boxes = ignite(np.random.default_rng((990, i)), bank, store.pixels(i))
        truths.append(_truth(boxes, *pixels.shape[1::-1], True, "ignited"))
        founds.append(model.look(pixels))
    return report_of(truths, founds, None, rounds, quick)


def evaluate_spoiled(store: Store, model: Model, split: str) -> dict:
    """Figures of a split as it is and through each fault of a camera or link, all at the thresholds of the first."""
    numbered = truths_of(store, split)
    truths = [t for _, t in numbered]
    reports, thresholds = {}, None
    for name, spoil in {"none": lambda pixels: pixels, **SPOILED}.items():
        founds = [model.look(spoil(np.asarray(store.pixels(i)))) for i, _ in numbered]
        reports[name] = report = report_of(truths, founds, thresholds, quick=True)
        thresholds = {duty: at["threshold"] for duty, at in report["duties"].items()}
    return reports


def report_of(truths: list[Truth], founds: list[Found], thresholds: dict | None = None, rounds: int = 300, quick: bool = False) -> dict:
    report = dict(pictures=len(truths), classes={})
    for kind, name in enumerate(CLASSES):
        # Where smoke carries no label, a smoke detection is neither right nor wrong.
        some = [i for i, t in enumerate(truths) if kind != SMOKE or t.smoke_labelled]
        report["classes"][name] = _class_report(kind, [truths[i] for i in some], [founds[i] for i in some], rounds, quick)
    top = np.array([[f.scores[f.classes == k].max(initial=0.0) for k in range(len(CLASSES))] for f in founds])
    burns = np.array([len(t.classes) > 0 for t in truths])
    smoulders = np.array([t.smoke_labelled and set(t.classes.tolist()) == {SMOKE} for t in truths])
    report["duties"] = {}
    if burns.any() and (~burns).any():
        for duty in RECALL_WANTED:
            pair = thresholds[duty] if thresholds else choose(top[burns], top[smoulders], top[~burns], duty)
            report["duties"][duty] = _at(pair, truths, founds, top, burns, smoulders)
        report["curve"] = _curve(top, burns)
    return report


def _class_report(kind: int, truths: list[Truth], founds: list[Found], rounds: int, quick: bool) -> dict:
    report = dict(boxes=int(sum((t.classes == kind).sum() for t in truths)))
    for size, span in SIZES.items():
        at50 = match(kind, span, 0.5, truths, founds)
        report[size] = dict(boxes=int(at50.wanted.sum()), map50=at50.average_precision())
        if not quick:
            report[size]["interval"] = interval(at50, rounds)
            rest = [match(kind, span, iou, truths, founds).average_precision() for iou in IOUS[1:]]
            report[size]["map50_95"] = float(np.mean([report[size]["map50"], *rest]))
        if quick:
            continue
        if size == "all":
            precision, recall = at50.precision_recall()
            every = max(1, len(precision) // 200)
            report["curve"] = [[round(float(x), 4) for x in row] for row in list(zip(at50.scores, precision, recall))[::every]]
    by_source = defaultdict(list)
    for i, truth in enumerate(truths):
        by_source[truth.source].append(i)
    report["sources"] = {}
    for source, some in sorted(by_source.items()):
        figure = match(kind, SIZES["all"], 0.5, [truths[i] for i in some], [founds[i] for i in some]).average_precision()
        if not np.isnan(figure):
            report["sources"][source] = figure
    return report


def _at(pair: dict, truths, founds, top, burns, smoulders) -> dict:
    """Everything at one pair of thresholds."""
    limits = np.array([pair[name] for name in CLASSES])
    alarms = (top >= limits).any(1)
    at = dict(threshold={name: pair[name] for name in CLASSES}, recall=float(alarms[burns].mean()), false_alarms=float(alarms[~burns].mean()),
              recall_interval=proportion_interval(alarms[burns]), false_alarms_interval=proportion_interval(alarms[~burns]), sources={}, classes={})
    at["smoke_recall"] = float(alarms[smoulders].mean()) if smoulders.any() else float("nan")
    sources = np.array([t.source for t in truths])
    for source in sorted(set(sources)):
        at["sources"][source] = float(alarms[sources == source].mean())
    for kind, name in enumerate(CLASSES):
        some = [i for i, t in enumerate(truths) if kind != SMOKE or t.smoke_labelled]
        m = match(kind, SIZES["all"], 0.5, [truths[i] for i in some], [founds[i] for i in some])
        kept = m.correct[m.scores >= limits[kind]]
        precision, recall = float(kept.mean()) if len(kept) else 0.0, float(kept.sum() / max(1, m.wanted.sum()))
        at["classes"][name] = dict(precision=precision, recall=recall, f1=2 * precision * recall / max(1e-9, precision + recall))
    return at


def _curve(top: np.ndarray, burns: np.ndarray) -> list:
    best = top.max(1)
    return [[float(t), float((best[burns] >= t).mean()), float((best[~burns] >= t).mean())] for t in np.arange(0.05, 0.81, 0.05).round(2)]


def table(report: dict) -> str:
    """The report as Markdown."""
    lines = ["| class | size | boxes | mAP50 | 95 % | mAP50-95 |", "|---|---|---|---|---|---|"]
    for name, c in report["classes"].items():
        for size in SIZES:
            s = c[size]
            low, high = s.get("interval", (float("nan"),) * 2)
            lines.append(f"| {name} | {size} | {s['boxes']} | {s['map50']:.3f} | {low:.3f} to {high:.3f} | {s.get('map50_95', float('nan')):.3f} |")
    lines += ["", "| mAP50 by source | " + " | ".join(CLASSES) + " |", "|---|" + "---|" * len(CLASSES)]
    for source in sorted({s for c in report["classes"].values() for s in c["sources"]}):
        cells = [f"{c['sources'][source]:.3f}" if source in c["sources"] else "–" for c in report["classes"].values()]
        lines.append(f"| {source} | " + " | ".join(cells) + " |")
    for duty, at in report["duties"].items():
        lines += ["", f"{duty}: flame {at['threshold']['flame']:.2f}, smoke {at['threshold']['smoke']:.2f}: "
                  f"{at['recall']:.3f} of burning pictures alarm ({at['recall_interval'][0]:.3f} to {at['recall_interval'][1]:.3f}), {at['smoke_recall']:.3f} of those with smoke alone, "
                  f"{100 * at['false_alarms']:.1f} % of calm ones ({100 * at['false_alarms_interval'][0]:.1f} to {100 * at['false_alarms_interval'][1]:.1f})"]
        for name, c in at["classes"].items():
            lines.append(f"{name}: precision {c['precision']:.3f}, recall {c['recall']:.3f}, F1 {c['f1']:.3f}")
        lines.append("pictures that alarm, by source: " + ", ".join(f"{s} {100 * v:.1f} %" for s, v in at["sources"].items()))
    return "\n".join(lines) + "\n"


def spoiled_table(reports: dict) -> str:
    """Reports by fault as Markdown; the shares are of pictures that alarm."""
    duties = [duty for duty in next(iter(reports.values()))["duties"] if duty != "patrol"]  # whose thresholds are those of watch
    shares = [f"{duty}: {of}" for duty in duties for of in ("burning", "smoke alone", "calm")]
    columns = ["fault", *(f"mAP50 {name}" for name in CLASSES), *shares]
    lines = ["| " + " | ".join(columns) + " |", "|" + "---|" * len(columns)]
    for name, report in reports.items():
        cells = [f"{c['all']['map50']:.3f}" for c in report["classes"].values()]
        cells += ["–" if np.isnan(at[key]) else f"{100 * at[key]:.1f} %" for at in map(report["duties"].get, duties) for key in ("recall", "smoke_recall", "false_alarms")]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def write_report(report: dict, out: Path) -> None:
    from .plots import plot_report

    out.mkdir(parents=True, exist_ok=True)
    (out / "report.json").write_text(json.dumps(report, indent=1))
    (out / "report.md").write_text(table(report))
    plot_report(report, out)
