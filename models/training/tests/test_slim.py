"""A backbone cut down, and the least squares behind it."""

from itertools import combinations

import pytest
import torch
from ember_train.fit import Sums
from ember_train.network import SHAPES, Detector
from ember_train.slim import cheapest
from test_end_to_end import run


def squared_error(x, y, channels) -> float:
    x = torch.cat((x[:, channels], torch.ones(len(x), 1)), 1).double()
    return float((x @ torch.linalg.lstsq(x, y.double()).solution - y).square().sum())


def test_the_channels_that_the_rest_can_replace_go_first():
    torch.manual_seed(3)
    own = torch.randn(400, 4)
    # The fifth says what the first two say, the sixth next to nothing.
    x = torch.cat((own, own[:, :1] - own[:, 1:2], 0.01 * torch.randn(400, 1)), 1)
    y = x @ torch.randn(6, 3) + 0.1 * torch.randn(400, 3) + 2
    sums = Sums()
    sums.add(x, y)
    for keep in (5, 4, 3):
        kept, weights, bias, lost = cheapest(sums.ridged(), sums.xy, keep)
        best = min(squared_error(x, y, list(some)) for some in combinations(range(6), keep))
        ours = float((x[:, kept] @ weights + bias - y).square().sum())
        assert 5 not in kept.tolist() and ours < 1.02 * best + 0.05
        assert lost == pytest.approx(ours - squared_error(x, y, list(range(6))), rel=0.05, abs=1)


def test_nothing_is_lost_where_nothing_goes():
    torch.manual_seed(4)
    x = torch.randn(100, 5)
    weights = torch.randn(5, 2)
    sums = Sums()
    sums.add(x, x @ weights + 1)
    kept, found, bias, lost = cheapest(sums.xx, sums.xy, 5)
    assert kept.tolist() == [0, 1, 2, 3, 4] and lost == 0
    assert torch.allclose(found, weights, atol=1e-4) and torch.allclose(bias, torch.ones(2), atol=1e-4)


def test_a_slim_start_is_cut_from_a_lite0_and_trains_and_exports(toy, tmp_path):
    torch.manual_seed(6)
    small, nano = Detector(SHAPES["lite0"]), Detector(SHAPES["nano"])
    torch.save(small.state_dict(), tmp_path / "small.pt")
    torch.save(nano.state_dict(), tmp_path / "nano.pt")
    pack, start = tmp_path / "pack", tmp_path / "start.pt"
    run("data", toy, "--pack", pack, "--longest", 128)
    slim = ("slim", tmp_path / "small.pt", "--donor", tmp_path / "nano.pt", "--pack", pack, "--out", start)
    assert "none.pt: weights are missing" in run("slim", tmp_path / "none.pt", *slim[2:], fails=True)
    assert "nano.pt" in run("slim", tmp_path / "nano.pt", *slim[2:], fails=True)
    assert "shape lite0: its neck and heads do not fit" in run(*slim[:3], tmp_path / "small.pt", *slim[4:], fails=True)
    assert "of 16 blocks" in run(*slim)
    cut = torch.load(start, weights_only=True)
    assert all(torch.equal(cut[k], v) for k, v in nano.state_dict().items() if not k.startswith("backbone."))
    assert torch.equal(cut["backbone.stem.conv.conv.weight"], small.state_dict()["backbone.stem.conv.conv.weight"])
    assert not cut["backbone.stage4.1.2.narrow.conv.weight"].any(), "no widening layer: it adds nothing at first"
    filtered = small.state_dict()["backbone.stage5.0.1.spatial.conv.weight"].flatten(1)
    for channel in cut["backbone.stage5.0.1.spatial.conv.weight"].flatten(1):
        assert (filtered == channel).all(1).sum() == 1, "each channel that stays is one of the donor's"
    run("train", "--weights", start, "--pack", pack, "--out", tmp_path / "run", "--processes", 1, "--batch", 2,
        "--steps", 2, "--bank", 0, "--freeze", 1, "--input", 128)
    run("export", tmp_path / "run" / "final.pt", "--name", "toy", "--out", tmp_path / "model", "--sizes", "128x96")
    assert (tmp_path / "model" / "toy-128x96.onnx").exists()
    # What was cut can be cut and taught again: its neck fits a new start.
    assert "of 16 blocks" in run(*slim[:3], tmp_path / "run" / "final.pt", *slim[4:])
