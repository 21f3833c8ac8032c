"""Writes and checks model.toml, which the product reads."""

import hashlib
import json
import tomllib
from pathlib import Path

from . import CLASSES
from .predict import NMS_IOU
from .problems import BadInput, Problem
from .thresholds import FALSE_ALARM_WEIGHS, RECALL_WANTED, SMOKE_WANTED


def write_manifest(folder: Path, facts: dict, files: list[tuple[str, str, int, int, float]], report: dict) -> Path:
    """`files`: name, precision, width, height, ms. `facts`: name, version, description, licence, origin, duty."""
    if not report["duties"]:
        raise BadInput([Problem(folder, 0, "the report has no thresholds: they are chosen on a split that holds both burning and calm pictures")])
    if any("map50_95" not in figures["all"] for figures in report["classes"].values()):
        raise BadInput([Problem(folder, 0, "the report has no mAP50-95: it is one of `evaluate --quick`; run it without")])
    lines = ["schema = 1"]
    lines += [f"{key} = {json.dumps(facts[key], ensure_ascii=False)}" for key in ("name", "version", "description", "licence", "origin", "duty")]
    for file, precision, width, height, ms in files:
        lines += ["", "[[variant]]", f'file = "{file}"', f'sha256 = "{digest(folder / file)}"', f'precision = "{precision}"',
                  f"width = {width}", f"height = {height}", f"cpu_ms = {ms:.1f}"]
    lines += ["", "[input]", 'name = "images"', 'layout = "NCHW"', 'colour = "BGR"', "scale = 1.0", "mean = [0.0, 0.0, 0.0]",
              "std = [1.0, 1.0, 1.0]", "padding = 114", 'anchor = "top-left"', "dynamic_batch = true"]
    lines += ["", "[head]", 'kind = "yolox-decoded"', 'output = "dets"', f"nms_iou = {NMS_IOU}"]
    lines += ["", "# Rule: of the threshold pairs under which these shares of the burning val pictures, and of those with smoke",
              "# alone, alarm, the one with the most such pictures less so many times the share of calm ones that alarm",
              "# (models/training, thresholds.py).",
              "# " + ", ".join(f"{duty} {share:.2f}, {SMOKE_WANTED[duty]:.2f}, {FALSE_ALARM_WEIGHS[duty]:.0f}" for duty, share in RECALL_WANTED.items())]
    for kind, name in enumerate(CLASSES):
        lines += ["", "[[class]]", f"id = {kind}", f'name = "{name}"', "[class.threshold]"]
        lines += [f"{duty} = {report['duties'][duty]['threshold'][name]:.2f}" for duty in RECALL_WANTED]
    lines += ["", "[quality]"]
    for name in CLASSES:
        figures = report["classes"][name]["all"]
        # A class without a box in the split has no figure.
        lines += [f"{key}_{name} = {figures[key]:.3f}" for key in ("map50", "map50_95") if figures[key] == figures[key]]
    for duty in RECALL_WANTED:
        at = report["duties"][duty]
        lines += [f"recall_{duty} = {at['recall']:.3f}", f"false_alarms_{duty} = {at['false_alarms']:.3f}"]
    path = folder / "model.toml"
    path.write_text("\n".join(lines) + "\n")
    verify(path)
    return path


def verify(path: Path) -> dict:
    """Checks that files, hashes, sizes and classes fit. Raises `BadInput` with line numbers."""
    text = path.read_text()
    try:
        manifest = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise BadInput([Problem(path, 0, f"is no TOML: {error}")]) from error
    problems = []

    def line_of(part: str) -> int:
        return next((n for n, line in enumerate(text.splitlines(), 1) if part in line), 0)

    names = [c["name"] for c in manifest.get("class", [])]
    if names != list(CLASSES):
        problems.append(Problem(path, line_of("[[class]]"), f"classes are {names}, expected {list(CLASSES)}"))
    for variant in manifest.get("variant", []):
        file, at = path.parent / variant["file"], line_of(variant["file"])
        if not file.exists():
            problems.append(Problem(path, at, f"names {variant['file']}, which is not beside it"))
        elif digest(file) != variant["sha256"]:
            problems.append(Problem(path, line_of(variant["sha256"]), f"{variant['file']} has sha256 {digest(file)}, not the one written here"))
        else:
            problems += [Problem(path, at, fault) for fault in _shape_faults(file, variant)]
    if not manifest.get("variant"):
        problems.append(Problem(path, 0, "names no [[variant]]"))
    if problems:
        raise BadInput(problems)
    return manifest


def _shape_faults(file: Path, variant: dict) -> list[str]:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])
    height, width = session.get_inputs()[0].shape[2:]
    if (height, width) != (variant["height"], variant["width"]):
        return [f"{variant['file']} takes {width}x{height}, the manifest says {variant['width']}x{variant['height']}"]
    return []


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
