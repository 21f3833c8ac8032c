"""The EfficientNet-Lite backbone, its weights, and a neck and heads grafted on it."""

import onnx
import pytest
import torch
import torch.nn.functional as F
from ember_train.blocks import Shape
from ember_train.lite import LiteBackbone, load_imagenet
from ember_train.network import SHAPES, Detector
from ember_train.problems import BadInput
from test_end_to_end import run


def maps_of(backbone, pixels):
    for part in (*backbone.early, backbone.stage3, backbone.stage4, backbone.stage5):
        pixels = part(pixels)
    return pixels


def published(name: str, path):
    """An EfficientNet-Lite of the published implementation, its norms not neutral, and its weights as a file."""
    package = pytest.importorskip("efficientnet_lite_pytorch", reason="skipped: efficientnet-lite-pytorch is not installed (requirements.txt)")
    torch.manual_seed(4)
    network = package.EfficientNet.from_name(name, image_size=224).eval()
    for layer in network.modules():
        if isinstance(layer, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(layer.weight, 0.5, 1.5)
            torch.nn.init.normal_(layer.bias, 0, 0.3)
            torch.nn.init.normal_(layer.running_mean, 0, 0.1)
            torch.nn.init.uniform_(layer.running_var, 0.05, 0.5)
    torch.save(network.state_dict(), path)
    return network


@pytest.mark.parametrize("name", ["lite0", "lite1", "lite2"])
def test_the_backbone_computes_what_the_published_network_does(name, tmp_path):
    theirs = published(f"efficientnet-{name}", tmp_path / "lite.pth")
    ours = LiteBackbone(SHAPES[name]).eval()
    load_imagenet(ours, tmp_path / "lite.pth")
    pixels = torch.rand(1, 3, 224, 224) * 255
    with torch.no_grad():
        x = F.relu6(theirs._bn0(theirs._conv_stem((pixels.flip(1) - 127) / 128)))
        for block in theirs._blocks:
            x = block(x)
        found = maps_of(ours, pixels)
    assert x.abs().max() > 0.5 and torch.allclose(found, x, atol=1e-3, rtol=1e-3)


def test_weights_of_another_size_are_refused(tmp_path):
    published("efficientnet-lite2", tmp_path / "lite.pth")
    with pytest.raises(BadInput, match=r"lite.pth: has 6. convolutions, expected 4."):
        load_imagenet(LiteBackbone(Shape(width=0.5, backbone="lite0")), tmp_path / "lite.pth")


def test_a_graft_keeps_neck_and_heads_and_trains_and_exports(toy, tmp_path):
    published("efficientnet-lite0", tmp_path / "lite.pth")
    torch.manual_seed(5)
    donor = Detector(SHAPES["wide"])
    torch.save(donor.state_dict(), tmp_path / "donor.pt")
    pack, start = tmp_path / "pack", tmp_path / "start.pt"
    run("data", toy, "--pack", pack, "--longest", 128)
    graft = ("graft", tmp_path / "lite.pth", "--donor", tmp_path / "donor.pt", "--pack", pack, "--out", start)
    assert "known are lite0" in run(*graft, "--shape", "wide", fails=True)
    assert "none.pth: weights of the backbone are missing" in run("graft", tmp_path / "none.pth", *graft[2:], fails=True)
    said = run(*graft)
    shares = [float(word.strip(",")) for word in said.split() if word.startswith("0.")]
    assert len(shares) == 3 and all(share > 0.5 for share in shares), "noise and discs: most of it can be told"
    grafted = torch.load(start, weights_only=True)
    kept = [k for k in grafted if not k.startswith("backbone.")]
    assert kept and all(torch.equal(grafted[k], donor.state_dict()[k]) for k in kept)
    run("train", "--shape", "lite0", "--weights", start, "--pack", pack, "--out", tmp_path / "run", "--processes", 1, "--batch", 2,
        "--steps", 2, "--bank", 0, "--freeze", 2, "--input", 128)
    run("export", tmp_path / "run" / "final.pt", "--shape", "lite0", "--name", "toy", "--out", tmp_path / "model", "--sizes", "128x96")
    written = onnx.load(str(tmp_path / "model" / "toy-128x96.onnx"))
    uneven = [list(a.ints) for n in written.graph.node for a in n.attribute if a.name == "pads" and a.ints[0] < a.ints[-1]]
    assert len(uneven) == 5 and all(n.op_type != "Pad" for n in written.graph.node), "zeros are added by the convolutions"
