"""`python -m ember_train data|train|evaluate|export|quantise`: one command for each step."""

import argparse
import os
import sys
from pathlib import Path

from .problems import BadInput


def main() -> int:
    parser = argparse.ArgumentParser(prog="ember_train", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    _scenes(commands.add_parser("scenes", help="render scenes as a dataset of training pictures"))
    _data(commands.add_parser("data", help="check datasets and pack them"))
    _graft(commands.add_parser("graft", help="put the neck and heads of a trained detector on a pretrained backbone"))
    _slim(commands.add_parser("slim", help="cut a trained lite0 down and put the neck and heads of a trained nano on it"))
    _train(commands.add_parser("train", help="train or resume"))
    _average(commands.add_parser("average", help="write the weighted mean of two weights of one shape"))
    _evaluate(commands.add_parser("evaluate", help="measure exported models on a split"))
    _export(commands.add_parser("export", help="write ONNX files from weights"))
    _quantise(commands.add_parser("quantise", help="write an int8 file"))
    _manifest(commands.add_parser("manifest", help="write model.toml from files and a report"))
    _plot(commands.add_parser("plot", help="draw the curves of a run"))
    arguments = parser.parse_args()
    try:
        arguments.act(arguments)
    except BadInput as error:
        print(error, file=sys.stderr)
        return 2
    return 0


def _scenes(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--program", type=Path, default=Path("../../target/release/emberwatch"))
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seeds", type=int, default=40)
    parser.add_argument("--first", type=int, default=1, help="the first seed")
    parser.set_defaults(act=_act_scenes)


def _act_scenes(a) -> None:
    from .scenes import write_scenes

    print(f"{write_scenes(a.program, a.out, a.seeds, a.first)} pictures in {a.out}")


def _data(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", nargs="*", default=[os.environ.get("EMBERWATCH_DATASET")],
                        help="folders; their pictures are packed together (default: EMBERWATCH_DATASET)")
    parser.add_argument("--pack", type=Path, default=Path("work/pack"))
    parser.add_argument("--longest", type=int, default=416)
    parser.set_defaults(act=_act_data)


def _act_data(a) -> None:
    from .dataset import join, read_dataset
    from .pack import write_pack
    from .problems import Problem

    if not all(a.dataset):
        raise BadInput([Problem(Path("."), 0, "which dataset? give a folder or set EMBERWATCH_DATASET")])
    dataset = join([read_dataset(Path(folder)) for folder in a.dataset])
    counts = write_pack(dataset, a.pack, a.longest)
    for warning in dataset.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    print(f"{counts['pictures']} pictures in {counts['parts']} parts under {a.pack}")


def _graft(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backbone", type=Path, help="weights of an EfficientNet-Lite (efficientnet-liteN-*.pth)")
    parser.add_argument("--shape", default="lite0")
    _fit(parser, "weights of a trained detector as wide, or of a nano, which is doubled")
    parser.set_defaults(act=_act_graft)


def _fit(parser: argparse.ArgumentParser, donor: str) -> None:
    parser.add_argument("--donor", type=Path, required=True, help=donor)
    parser.add_argument("--pack", type=Path, default=Path("work/pack"))
    parser.add_argument("--pictures", type=int, default=480, help="train pictures over which layers are fitted")
    parser.add_argument("--out", type=Path, required=True)


def _act_graft(a) -> None:
    import torch

    from .graft import graft
    from .lite import HIDDEN, LITE, load_imagenet
    from .network import SHAPES, Detector
    from .pack import Store
    from .problems import Problem
    from .weights import donor_for

    whole = [name for name in LITE if name not in HIDDEN]
    if a.shape not in whole:
        raise BadInput([Problem(a.out, 0, f"--shape {a.shape} has no such backbone; known are {', '.join(whole)}")])
    detector = Detector(SHAPES[a.shape])
    load_imagenet(detector.backbone, a.backbone)
    shares = graft(detector, donor_for(SHAPES[a.shape], a.donor), Store(a.pack), a.pictures)
    torch.save(detector.state_dict(), a.out)
    print(f"{a.out}: of what the old backbone gave {', '.join(f'{s:.2f}' for s in shares)} is explained at strides 8, 16, 32")


def _slim(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("weights", type=Path, help="of a trained detector of shape lite0")
    _fit(parser, "weights of a trained detector of shape nano or slim")
    parser.set_defaults(act=_act_slim)


def _act_slim(a) -> None:
    import torch

    from .graft import graft
    from .network import SHAPES, Detector
    from .pack import Store
    from .slim import slim
    from .weights import donor_for, from_any

    shape = SHAPES["slim"]
    large, donor, store = from_any(a.weights, SHAPES["lite0"]), donor_for(shape, a.donor), Store(a.pack)
    detector = Detector(shape)
    lost = slim(detector.backbone, large.backbone, store, a.pictures)
    shares = graft(detector, donor, store, a.pictures)
    torch.save(detector.state_dict(), a.out)
    print(f"{a.out}: of {len(lost)} blocks the worst loses {max(lost):.3f} of its variance; "
          f"of what the old backbone gave {', '.join(f'{s:.2f}' for s in shares)} is explained at strides 8, 16, 32")


def _train(parser: argparse.ArgumentParser) -> None:
    from .plan import Plan

    parser.add_argument("--pack", type=Path, default=Path("work/pack"))
    parser.add_argument("--out", type=Path, required=True, help="folder of the run; if it holds a checkpoint, the run goes on")
    parser.add_argument("--weights", type=Path, help="COCO weights (.onnx) or weights of ours (.pt); none: from scratch")
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--workers", type=int, default=0, help="processes that compose samples (for a GPU)")
    parser.add_argument("--port", type=int, default=29531)
    parser.add_argument("--keep-every", type=int, default=0, help="keep averaged weights every so many steps")
    parser.add_argument("--until", type=int, default=0, help="stop at this step of the plan; the run can go on later")
    defaults = Plan()
    for name, value in defaults.as_dict().items():
        if name not in ("mix", "mine", "norm", "teacher", "shape"):
            parser.add_argument("--" + name.replace("_", "-"), type=type(value), default=value)
    _shape(parser)
    parser.add_argument("--teacher", type=Path, nargs="+", default=[], help="weights of trained detectors that teach beside the labels, with one voice")
    parser.add_argument("--no-mine", dest="mine", action="store_false", help="draw all calm pictures alike")
    parser.add_argument("--mine-by", type=Path, help="weights (.pt) that say which calm pictures fool a detector; default: those it starts from")
    parser.add_argument("--no-norm", dest="norm", action="store_false")
    for name in ("negatives", "ignite", "bare", "lookalike", "mosaic", "zoomed_out"):
        parser.add_argument("--" + name.replace("_", "-"), type=float, default=getattr(defaults.mix, name))
    parser.add_argument("--sources", help="name=share,name=share; what has no share is drawn as often as the pictures of what has one, name=0 not at all")
    parser.set_defaults(act=_act_train)


def _act_train(a) -> None:
    from .canvas import Mix
    from .plan import Plan
    from .problems import Problem
    from .train import Run, train
    from .weights import known, shape_of

    if a.mine_by and a.mine_by.suffix == ".onnx":
        raise BadInput([Problem(a.mine_by, 0, "COCO weights know no fire; --mine-by wants weights (.pt) of a trained detector")])
    if a.mine_by:
        shape_of(a.mine_by)
    sources = _shares(a.sources) if a.sources else Mix().sources
    mix = Mix(a.negatives, sources, a.ignite, a.bare, a.lookalike, a.mosaic, a.zoomed_out)
    names = [n for n in Plan().as_dict() if n not in ("mix", "teacher", "shape")]
    plan = Plan(**{n: getattr(a, n) for n in names}, shape=known(a.shape, a.weights), teacher="+".join(map(shape_of, a.teacher)), mix=mix)
    train(Run(a.pack, a.out, a.weights, a.device, a.port, a.keep_every, a.workers, a.until, tuple(a.teacher), a.mine_by), plan)


def _shares(text: str) -> tuple[tuple[str, float], ...]:
    from .problems import Problem

    shares = []
    for part in text.split(","):
        name, _, share = part.partition("=")
        if not name or not share.replace(".", "", 1).isdecimal():
            raise BadInput([Problem(Path("."), 0, f"--sources: found {part!r}, expected name=share such as tower-1=0.2")])
        shares.append((name, float(share)))
    return tuple(shares)


def _average(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--share", type=float, default=0.5, help="of the first")
    parser.add_argument("--out", type=Path, required=True)
    parser.set_defaults(act=_act_average)


def _act_average(a) -> None:
    import torch

    from .weights import average

    torch.save(average(a.first, a.second, a.share), a.out)


def _evaluate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("models", nargs="+", type=Path, help="ONNX files of one model, or weights (.pt)")
    parser.add_argument("--pack", type=Path, default=Path("work/pack"))
    parser.add_argument("--split", default="val")
    _shape(parser)
    parser.add_argument("--out", type=Path)
    parser.add_argument("--quick", action="store_true", help="mAP50 only, no intervals")
    kinds = parser.add_mutually_exclusive_group()
    kinds.add_argument("--ignited", action="store_true", help="the split's calm scenes with rendered fires instead")
    kinds.add_argument("--spoiled", action="store_true", help="a table of the split through faults of cameras and links in turn, such as night mode")
    parser.set_defaults(act=_act_evaluate)


def _act_evaluate(a) -> None:
    import tempfile

    from .evaluate import evaluate, evaluate_ignited, evaluate_spoiled, spoiled_table, table, write_report
    from .pack import Store
    from .predict import Model

    with tempfile.TemporaryDirectory() as scratch:
        models = [_exported(path, a.shape, Path(scratch)) if path.suffix == ".pt" else path for path in a.models]
        if a.spoiled:
            text = spoiled_table(evaluate_spoiled(Store(a.pack), Model(models), a.split))
            print(text)
            if a.out:
                a.out.mkdir(parents=True, exist_ok=True)
                (a.out / "spoiled.md").write_text(text)
            return
        measure = evaluate_ignited if a.ignited else evaluate
        report = measure(Store(a.pack), Model(models), a.split, quick=a.quick)
    print(table(report))
    if a.out:
        write_report(report, a.out)


def _shape(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--shape", default="", help="of the network; default: what the weights fit, nano without weights")


def _exported(weights: Path, shape: str, folder: Path) -> Path:
    from .export import export
    from .network import SHAPES
    from .weights import from_any, known

    path = folder / f"{weights.stem}.onnx"
    export(from_any(weights, SHAPES[known(shape, weights)]), path, 416, 416)
    return path


def _export(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("weights", type=Path)
    _shape(parser)
    parser.add_argument("--name", default="fire-smoke-nano")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", nargs="+", default=["416x256", "416x416"], help="WIDTHxHEIGHT; the first is the default")
    parser.set_defaults(act=_act_export)


def _act_export(a) -> None:
    from .export import export, milliseconds
    from .network import SHAPES
    from .predict import size_of
    from .weights import from_any, known

    a.out.mkdir(parents=True, exist_ok=True)
    detector = from_any(a.weights, SHAPES[known(a.shape, a.weights)])
    for size in a.sizes:
        path = a.out / f"{a.name}-{size}.onnx"
        worst = export(detector, path, *size_of(size))
        print(f"{path}: scores within {worst:.1g} of the network, {milliseconds(path):.1f} ms a frame on one thread")


def _quantise(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--pack", type=Path, default=Path("work/pack"))
    parser.add_argument("--pictures", type=int, default=32, help="train pictures to calibrate on")
    parser.add_argument("--keep-first", type=int, default=9, help="convolutions that stay fp32")
    parser.set_defaults(act=_act_quantise)


def _act_quantise(a) -> None:
    from .export import milliseconds
    from .pack import Store
    from .quantise import quantise

    quantise(a.source, a.target, Store(a.pack), a.pictures, a.keep_first)
    print(f"{a.source.name} {milliseconds(a.source):.1f} ms, {a.target.name} {milliseconds(a.target):.1f} ms a frame on one thread")


def _manifest(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("files", nargs="+", type=Path, help="ONNX files in one folder; the first is the default")
    parser.add_argument("--report", type=Path, required=True, help="report.json of `evaluate` for these files")
    parser.add_argument("--version", required=True)
    parser.add_argument("--origin", required=True, help="base weights, pictures, and their licences")
    parser.add_argument("--licence", default="Apache-2.0")
    parser.add_argument("--description", default="Finds flame and smoke in a single frame.")
    parser.add_argument("--duty", nargs="+", default=["patrol", "watch"])
    parser.set_defaults(act=_act_manifest)


def _act_manifest(a) -> None:
    import json

    from .export import milliseconds
    from .manifest import write_manifest

    name = a.files[0].stem.rsplit("-", 1)[0]
    facts = dict(name=name, version=a.version, description=a.description, licence=a.licence, origin=a.origin, duty=a.duty)
    files = []
    for path in a.files:
        width, height = (int(n) for n in path.stem.removesuffix("-int8").rsplit("-", 1)[1].split("x"))
        files.append((path.name, "int8" if path.stem.endswith("-int8") else "fp32", width, height, milliseconds(path)))
    print(write_manifest(a.files[0].parent, facts, files, json.loads(a.report.read_text())))


def _plot(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run", type=Path)
    parser.set_defaults(act=_act_plot)


def _act_plot(a) -> None:
    from .plots import plot_log

    print(plot_log(a.run))


if __name__ == "__main__":
    sys.exit(main())
