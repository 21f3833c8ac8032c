"""Every command, on the toy set."""

import csv
import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from ember_train import canvas
from ember_train.canvas import Composer, Mix, bare_surface
from ember_train.composite import Bank, ignite, make_bank
from ember_train.manifest import verify
from ember_train.pack import Store
from ember_train.photo import CHANCES, SPOILED, take_again
from ember_train.plan import Plan
from ember_train.plume import render_flame, render_smoke
from ember_train.problems import BadInput

HERE = Path(__file__).parent.parent


def run(*words, fails=False):
    done = subprocess.run([sys.executable, "-m", "ember_train", *map(str, words)], cwd=HERE, capture_output=True, text=True)
    assert (done.returncode != 0) == fails, done.stderr
    return done.stderr if fails else done.stdout


def test_data_train_resume_export_evaluate_and_manifest(toy, tmp_path):
    pack, out, model = tmp_path / "pack", tmp_path / "run", tmp_path / "model"
    assert "24 pictures" in run("data", toy, "--pack", pack, "--longest", 128)
    settings = ("--pack", pack, "--out", out, "--processes", 1, "--batch", 2, "--steps", 8, "--warm-up", 2, "--bank", 7, "--averaging", 0.5)
    run("train", *settings, "--until", 5)
    assert torch.load(out / "last.pt", weights_only=True)["step"] == 5 and not (out / "final.pt").exists()
    run("train", *settings)
    assert torch.load(out / "last.pt", weights_only=True)["step"] == 8
    with (out / "log.csv").open() as file:
        assert list(csv.DictReader(file))[-1]["step"] == "8"
    assert "another --out" in run("train", *settings, "--rate", 0.5, fails=True)
    run("export", out / "final.pt", "--name", "toy", "--out", model, "--sizes", "128x96", "128x128")
    assert Path(run("plot", out).strip()).stat().st_size > 1000
    files = [model / "toy-128x96.onnx", model / "toy-128x128.onnx"]
    assert "toy-128x96-int8.onnx" in run("quantise", files[0], model / "toy-128x96-int8.onnx", "--pack", pack, "--pictures", 2)
    kinds = [node.op_type for node in onnx.load(model / "toy-128x96-int8.onnx").graph.node]
    assert "QuantizeLinear" in kinds and "DequantizeLinear" in kinds
    assert "| flame | all | 6 |" in run("evaluate", *files, "--pack", pack, "--out", tmp_path / "report")
    rows = run("evaluate", *files, "--pack", pack, "--spoiled", "--out", tmp_path / "report").strip().splitlines()
    assert (tmp_path / "report" / "spoiled.md").read_text().strip().splitlines() == rows
    assert len(rows) == 2 + 1 + len(SPOILED) and all(row.count("|") == 10 for row in rows), rows
    run("manifest", *files, "--report", tmp_path / "report" / "report.json", "--version", "0.0.1", "--origin", "a toy set", "--duty", "watch")
    run("evaluate", *files, "--pack", pack, "--quick", "--out", tmp_path / "quick")
    message = run("manifest", *files, "--report", tmp_path / "quick" / "report.json", "--version", "0.0.1", "--origin", "a toy set", fails=True)
    assert "no mAP50-95" in message and "--quick" in message and "Traceback" not in message, message
    manifest = tomllib.loads((model / "model.toml").read_text())
    assert [v["width"] for v in manifest["variant"]] == [128, 128]
    assert manifest["class"][1]["name"] == "smoke" and 0 < manifest["class"][1]["threshold"]["watch"] < 1
    files[0].write_bytes(files[0].read_bytes() + b"\0")
    with pytest.raises(BadInput, match=r"model.toml:\d+: toy-128x96.onnx has sha256"):
        verify(model / "model.toml")


def test_a_resumed_run_ends_as_an_unbroken_one(toy, tmp_path):
    pack = tmp_path / "pack"
    run("data", toy, "--pack", pack, "--longest", 128)
    settings = ("--pack", pack, "--processes", 1, "--batch", 2, "--steps", 4, "--warm-up", 2, "--bank", 7)
    run("train", *settings, "--out", tmp_path / "whole")
    run("train", *settings, "--out", tmp_path / "broken", "--until", 2)
    run("train", *settings, "--out", tmp_path / "broken")
    whole, broken = (torch.load(tmp_path / name / "final.pt", weights_only=True) for name in ("whole", "broken"))
    assert all(torch.allclose(whole[k], broken[k], atol=1e-5) for k in whole)


def test_the_data_command_lists_every_fault(toy, tmp_path):
    (toy / "labels" / "p01.txt").write_text("7 0.5 0.5 0.1 0.1\n")
    (toy / "labels" / "p02.txt").unlink()
    message = run("data", toy, "--pack", tmp_path / "pack", fails=True)
    assert "p01.txt:1: class 7" in message and "p02.txt: is missing" in message


def test_sizes_of_the_manifest_are_numbers_or_unknown(toy, tmp_path):
    manifest = toy / "manifest.csv"
    rows = manifest.read_text().replace("p01,val,toy,128,96", "p01,val,toy,,").replace("p02,val,toy,128", "p02,val,toy,wide")
    manifest.write_text(rows)
    message = run("data", toy, "--pack", tmp_path / "pack", fails=True)
    assert "manifest.csv:4: width and height 'wide', '96'" in message and "manifest.csv:3" not in message


def test_a_source_without_a_share_is_drawn_like_the_others(toy, tmp_path):
    manifest = toy / "manifest.csv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line.replace(",toy,", ",liuzifan," if at % 2 else ",tower-1,") for at, line in enumerate(lines)))
    run("data", toy, "--pack", tmp_path / "pack", "--longest", 128)
    composer = Composer(Store(tmp_path / "pack"), None)
    sizes = {source: len(pool) for source, pool in composer.by_source.items()}
    for mix in (Mix(), Mix(sources=(("elsewhere", 1.0),))):
        shares = dict(zip(*composer.shares(mix)))
        assert set(shares) == {"liuzifan", "tower-1"} and abs(sum(shares.values()) - 1) < 1e-9
        assert abs(shares["tower-1"] * sizes["liuzifan"] - shares["liuzifan"] * sizes["tower-1"]) < 1e-9
    assert dict(zip(*composer.shares(Mix(sources=(("liuzifan", 0.5), ("tower-1", 0.0)))))) == {"liuzifan": 1.0, "tower-1": 0.0}
    assert Mix(mosaic=0.0, zoomed_out=0.0).without_mosaic().mosaic == 0.0


def test_every_process_draws_the_same_of_many_sources(toy, tmp_path):
    manifest = toy / "manifest.csv"
    lines = manifest.read_text().splitlines()
    manifest.write_text("\n".join(line.replace(",toy,", f",tower-{at % 5},") for at, line in enumerate(lines)))
    run("data", toy, "--pack", tmp_path / "pack", "--longest", 128)
    ask = ("import sys, pathlib; from ember_train.canvas import Composer, Mix; from ember_train.pack import Store;"
           "print(Composer(Store(pathlib.Path(sys.argv[1])), None).shares(Mix())[0])")
    said = {subprocess.run([sys.executable, "-c", ask, tmp_path / "pack"], cwd=HERE, capture_output=True, text=True, check=True,
                           env=os.environ | {"PYTHONHASHSEED": str(seed)}).stdout for seed in range(4)}
    assert said == {str([f"tower-{k}" for k in range(5)]) + "\n"}


def test_what_is_calm_on_a_canvas(toy, tmp_path):
    for name in ("p00", "p01"):  # a calm and a burning one whose smoke is not labelled
        rows = (toy / "manifest.csv").read_text()
        (toy / "manifest.csv").write_text("\n".join(row.replace(",128,96,1,", ",128,96,0,") if row.startswith(name) else row for row in rows.splitlines()))
    run("data", toy, "--pack", tmp_path / "pack", "--longest", 128)
    store = Store(tmp_path / "pack")
    for entry in store.entries:
        entry["split"] = "train"
    composer = Composer(store, None)

    def drawn(seed, **mix):
        return composer.compose(np.random.default_rng(seed), Mix(ignite=0, zoomed_out=0, **mix), 96, 128)

    samples = [drawn(seed, negatives=1, mosaic=0) for seed in range(60)]
    whole = [[0, 0, 128, 96]]
    assert all((s.calm.tolist(), s.unlabelled.tolist()) in ((whole, []), ([], whole)) for s in samples)
    assert 40 < sum(len(s.calm) for s in samples) < 60
    tiles = [drawn(seed, negatives=1, mosaic=1) for seed in range(10)]
    assert all(len(s.calm) + len(s.unlabelled) == 4 for s in tiles) and sum(len(s.calm) for s in tiles) > 25
    assert all(len(drawn(seed, negatives=0, mosaic=1).calm) == 0 for seed in range(10))


def test_calm_pictures_are_mined_by_other_weights_and_weights_averaged(toy, tmp_path):
    pack = tmp_path / "pack"
    run("data", toy, "--pack", pack, "--longest", 128)
    settings = ("train", "--pack", pack, "--processes", 1, "--batch", 2, "--steps", 1, "--bank", 0)
    run(*settings, "--out", tmp_path / "a", "--seed", 1)
    assert not (tmp_path / "a" / "hardness.json").exists()
    run(*settings, "--out", tmp_path / "b", "--seed", 2, "--mine-by", tmp_path / "a" / "final.pt")
    assert len(json.loads((tmp_path / "b" / "hardness.json").read_text())) == 5
    for wrong, words in (("none.pt", "weights are missing"), ("coco.onnx", "COCO weights know no fire")):
        assert words in run(*settings, "--out", tmp_path / "c", "--mine-by", tmp_path / wrong, fails=True)
    assert "found 'b', expected name=share" in run(*settings, "--out", tmp_path / "c", "--sources", "a=0.5,b", fails=True)
    message = run(*settings, "--out", tmp_path / "d", "--sources", "toy=0", fails=True)
    assert message.strip() == f"{pack}: --sources gives the share 0 to every source of burning train pictures (toy (10 pictures))"
    assert not (tmp_path / "d").exists()
    run(*settings, "--out", tmp_path / "e", "--sources", "toy=0", "--negatives", 1)
    run("average", tmp_path / "a" / "final.pt", tmp_path / "b" / "final.pt", "--share", 0.7, "--out", tmp_path / "mean.pt")
    first, second, mean = (torch.load(tmp_path / at, weights_only=True) for at in ("a/final.pt", "b/final.pt", "mean.pt"))
    assert all(torch.allclose(0.7 * first[k] + 0.3 * second[k], mean[k], atol=1e-6) for k in mean)
    assert any(not torch.equal(first[k], second[k]) for k in mean)
    assert "expected 0 to 1" in run("average", tmp_path / "a" / "final.pt", tmp_path / "mean.pt", "--share", 7, "--out", tmp_path / "x.pt", fails=True)


def test_the_same_number_gives_the_same_sample(toy, tmp_path, monkeypatch):
    run("data", toy, "--pack", tmp_path / "pack", "--longest", 128)
    store = Store(tmp_path / "pack")
    composer = Composer(store, make_bank(store, 7))
    first, again = (composer.compose(np.random.default_rng((1, 2)), Mix(), 96, 128) for _ in range(2))
    assert np.array_equal(first.pixels, again.pixels) and np.array_equal(first.boxes, again.boxes)
    # What the teachers see is the same canvas before air, lens, sensor and link had their way.
    spoiled = [composer.compose(np.random.default_rng((1, n)), Mix(), 96, 128) for n in range(20)]
    monkeypatch.setattr(canvas, "take_again", lambda rng, pixels: pixels)
    clear = [composer.compose(np.random.default_rng((1, n)), Mix(), 96, 128) for n in range(20)]
    assert all(np.array_equal(s.clear, c.pixels) for s, c in zip(spoiled, clear))
    assert 0 < sum(np.array_equal(s.pixels, s.clear) for s in spoiled) < 20


def test_what_a_camera_does_to_a_picture_spoils_a_copy():
    pixels = np.random.default_rng(3).integers(0, 200, (48, 64, 3)).astype(np.uint8)
    kept = pixels.copy()
    for seed in range(60):
        again = take_again(np.random.default_rng(seed), pixels)
        assert again.shape == pixels.shape and again.dtype == np.uint8 and np.array_equal(pixels, kept)
    for fault, _ in CHANCES:
        assert not np.array_equal(fault(np.random.default_rng(5), pixels), pixels), fault
    for name, spoil in SPOILED.items():
        spoiled = spoil(pixels)
        assert spoiled.shape == pixels.shape and not np.array_equal(spoiled, pixels), name
        assert np.ptp(spoiled.astype(int), axis=2).max() == 0 or "night" not in name
    # Night mode: what shines burns out, and a flame is brighter than asphalt as bright to the eye.
    night = SPOILED["night mode (grey)"]
    white, flame, asphalt = (night(np.full((8, 8, 3), colour, np.uint8)) for colour in ((250, 250, 250), (20, 90, 200), (110, 110, 110)))
    assert white.min() == 255 and flame.mean() > 1.2 * asphalt.mean()


def test_a_bare_surface_is_a_part_of_a_calm_picture_and_burns_nowhere(toy, tmp_path):
    rng = np.random.default_rng(6)
    numbered = np.arange(90 * 160 * 3, dtype=np.int32).reshape(90, 160, 3)
    for _ in range(40):
        part = bare_surface(rng, numbered)
        y, x = divmod(int(part[0, 0, 0]) // 3, 160)
        assert np.array_equal(part, numbered[y:y + part.shape[0], x:x + part.shape[1]])
        assert 8 <= part.shape[0] <= 27 and 8 <= part.shape[1] <= 48

    run("data", toy, "--pack", tmp_path / "pack", "--longest", 128)
    composer = Composer(Store(tmp_path / "pack"), None)
    pixels, boxes, labelled = composer.draw(rng, Mix(negatives=1.0, ignite=0.0, bare=1.0))
    assert len(boxes) == 0 and labelled and max(pixels.shape[:2]) < 0.31 * 128
    # Of what burns, nothing is cut away.
    pixels, boxes, _ = composer.draw(rng, Mix(negatives=0.0, bare=1.0))
    assert len(boxes) and max(pixels.shape[:2]) == 128
    assert Plan.from_dict({"mix": {"mosaic": 0.1}}).mix.bare == 0.0


def test_a_pasted_plume_lies_in_its_box():
    rng = np.random.default_rng(4)
    bank = Bank([render_smoke(rng) for _ in range(3)], [render_flame(rng) for _ in range(3)])
    for _ in range(20):
        calm = np.full((120, 160, 3), (90, 60, 40), np.uint8)
        pixels, boxes = ignite(rng, bank, calm)
        changed = np.abs(pixels.astype(int) - calm).max(2) > 60
        for kind, cx, cy, w, h in boxes:
            x0, x1 = int((cx - w / 2) * 160) - 2, int((cx + w / 2) * 160) + 3
            y0, y1 = int((cy - h / 2) * 120) - 2, int((cy + h / 2) * 120) + 3
            changed[max(0, y0):y1, max(0, x0):x1] = False
        assert not changed.any()
