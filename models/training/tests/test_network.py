"""The network, its weights and its assignment."""

import numpy as np
import torch
from ember_train import norm
from ember_train.assign import Targets, assign
from ember_train.batches import collate
from ember_train.blocks import Shape
from ember_train.canvas import Sample
from ember_train.loss import loss_of
from ember_train.csp import Focus, Folded
from ember_train.network import NANO, SHAPES, Detector, grid
from ember_train.weights import convolutions, difference_to_onnx, doubled, load_onnx


class _Raw(torch.nn.Module):
    """As the COCO file is: boxes undecoded, scores after the sigmoid."""

    def __init__(self, detector):
        super().__init__()
        self.detector = detector

    def forward(self, images):
        y = self.detector(images)
        return torch.cat((y[..., :4], torch.sigmoid(y[..., 4:])), -1)


def test_the_nano_has_the_published_size():
    assert sum(p.numel() for p in Detector(NANO).parameters()) == 889_253
    assert len(convolutions(Detector(NANO))) == 113


def test_a_folded_stem_computes_the_same():
    torch.manual_seed(1)
    focus = Focus(NANO, 16)
    for height, width in ((64, 96), (32, 32)):
        pixels = torch.rand(2, 3, height, width) * 255
        assert torch.allclose(focus(pixels), Folded(focus)(pixels), atol=1e-3)


def test_weights_read_from_onnx_equal_onnx_runtime(tmp_path):
    torch.manual_seed(0)
    first = Detector(Shape(classes=80)).eval()
    path = tmp_path / "raw.onnx"
    torch.onnx.export(_Raw(first), (torch.rand(1, 3, 96, 96),), str(path), input_names=["images"], opset_version=17, dynamo=False)
    second = Detector(Shape(classes=80))
    load_onnx(second, path)
    boxes, scores = difference_to_onnx(second, path, 96)
    assert boxes < 1e-3 and scores < 1e-4


def test_every_shape_runs_and_gives_one_row_an_anchor():
    for shape in SHAPES.values():
        assert Detector(shape)(torch.zeros(1, 3, 64, 96)).shape == (1, 8 * 12 + 4 * 6 + 2 * 3, 7)


def test_a_doubled_network_computes_the_same():
    torch.manual_seed(2)
    narrow, pixels = Detector(NANO).eval(), torch.rand(1, 3, 64, 64) * 255
    wide = doubled(narrow).eval()
    with torch.no_grad():
        assert torch.allclose(narrow(pixels), wide(pixels), atol=1e-3, rtol=1e-3)
    assert sum(p.numel() for p in wide.parameters()) > 3 * 889_253


def test_frozen_stages_get_no_gradient():
    detector = Detector(NANO)
    detector.freeze(2)
    detector(torch.rand(1, 3, 64, 64)).sum().backward()
    assert all(p.grad is None for p in detector.backbone.stage2.parameters())
    assert all(p.grad is not None for p in detector.backbone.stage3.parameters())


def test_norms_change_nothing_where_they_are_put_in_and_folded_away_again():
    torch.manual_seed(3)
    detector = Detector(NANO)
    detector.freeze(2)
    for conv in convolutions(detector):
        torch.nn.init.normal_(conv.bias, 0, 0.1)
    batches = [torch.rand(2, 3, 64, 96) * 255 for _ in range(3)]
    with torch.no_grad():
        before = detector(batches[0])
        norm.put_in(detector)
        norm.measure(detector, batches)
        assert torch.allclose(detector.eval()(batches[0]), before, atol=1e-4)
        frozen = {*detector.backbone.stem.modules(), *detector.backbone.stage2.modules()}
        assert norm.normed(detector) and frozen.isdisjoint(norm.normed(detector))
    # Trained, so that what is folded differs from what was put in.
    detector.train()
    learns = torch.optim.SGD([p for p in detector.parameters() if p.requires_grad], 0.1)
    for pixels in batches:
        detector(pixels).square().mean().backward()
        learns.step()
    plain = Detector(NANO).eval()
    plain.load_state_dict(norm.folded(detector.state_dict()))
    with torch.no_grad():
        trained = detector.eval()(batches[0])
        assert torch.allclose(plain(batches[0]), trained, atol=1e-4)
        assert not torch.allclose(before, trained, atol=1e-2)


def sample(boxes, unlabelled=()):
    return Sample(*[np.zeros((64, 64, 3), np.uint8)] * 2, np.array(boxes, np.float32).reshape(-1, 5), np.array(unlabelled, np.float32).reshape(-1, 4), np.zeros((0, 4), np.float32))


def test_an_anchor_answers_for_at_most_one_box_and_every_box_has_one():
    batch = collate([sample([(0, 8, 8, 40, 40), (1, 10, 10, 44, 44)]), sample([])])
    torch.manual_seed(0)
    cells, strides = grid(64, 64)
    middle = (cells + 0.5) * strides
    corners = torch.cat((middle - strides, middle + strides), -1).expand(2, -1, -1)
    found = assign(batch.targets, corners, torch.rand(2, len(cells), 3), middle, strides)
    assert not found.positive[1].any()
    assert set(found.box[0][found.positive[0]].tolist()) == {0, 1}


def test_a_batch_of_pictures_is_assigned_as_each_alone():
    samples = [sample([(0, 4, 4, 30, 36)]), sample([(1, 20, 8, 60, 60), (0, 2, 40, 20, 62), (0, 22, 10, 40, 30)])]
    torch.manual_seed(1)
    cells, strides = grid(64, 64)
    middle = (cells + 0.5) * strides
    half = torch.rand(2, len(cells), 2) * 20 + 4
    corners, scores = torch.cat((middle - half, middle + half), -1), torch.rand(2, len(cells), 3)
    both = assign(collate(samples).targets, corners, scores, middle, strides)
    for b, one in enumerate(samples):
        alone = assign(collate([one]).targets, corners[b:b + 1], scores[b:b + 1], middle, strides)
        assert torch.equal(both.positive[b], alone.positive[0])
        assert torch.equal(both.box[b][both.positive[b]], alone.box[0][alone.positive[0]])


def test_no_smoke_is_learned_where_smoke_is_not_labelled():
    logits = torch.zeros(1, 84, 7)
    logits[..., 6] = 1.0  # every anchor says smoke
    logits.requires_grad_()
    everywhere = (0, 0, 64, 64)
    loss_of(logits, collate([sample([(0, 16, 16, 48, 48)], [everywhere])])).total.backward()
    assert (logits.grad[..., 6] == 0).all()
    background = logits.grad[0, :, 5] == 0
    assert (logits.grad[0, background, 4] == 0).all(), "background that looks like smoke must not be pushed down"
    logits.grad = None
    loss_of(logits, collate([sample([(0, 16, 16, 48, 48)])])).total.backward()
    assert (logits.grad[0, background, 4] > 0).all()


def test_a_picture_without_boxes_teaches_only_objectness():
    logits = torch.zeros(1, 84, 7, requires_grad=True)
    parts = loss_of(logits, collate([sample([])]))
    parts.total.backward()
    assert parts.positives == 0 and (logits.grad[..., 4] > 0).all() and (logits.grad[..., 5:] == 0).all()


def test_the_targets_pad_to_the_longest_list():
    targets = collate([sample([(1, 0, 0, 8, 8)]), sample([])]).targets
    assert isinstance(targets, Targets) and targets.exists.tolist() == [[True], [False]]
