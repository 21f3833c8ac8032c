"""A trained detector that teaches another."""

import numpy as np
import torch
from ember_train import canvas, train
from ember_train.batches import collate
from ember_train.canvas import Sample
from ember_train.distil import lesson, told
from ember_train.network import NANO, Detector
from ember_train.plan import Plan
from test_end_to_end import run


def test_nothing_is_to_be_learned_where_both_agree():
    torch.manual_seed(6)
    teacher = torch.randn(2, 84, 7)
    pupil = teacher.clone().requires_grad_()
    value = lesson(pupil, teacher, 64, 64)
    value.backward()
    assert value.abs() < 1e-4 and pupil.grad.abs().max() < 1e-4


def test_a_pupil_comes_to_say_what_its_teacher_says():
    torch.manual_seed(7)
    teacher = torch.randn(1, 84, 7)
    teacher[..., 2:4] += 1.5  # large enough for boxes to overlap: apart, an overlap has no slope
    pupil = (teacher + 0.4 * torch.randn(1, 84, 7)).requires_grad_()
    first = lesson(pupil, teacher, 64, 64).item()
    learns = torch.optim.Adam([pupil], 0.01)
    for _ in range(300):
        learns.zero_grad()
        value = lesson(pupil, teacher, 64, 64)
        value.backward()
        learns.step()
    sure = torch.sigmoid(teacher[..., 4]) > 0.5
    assert value < 0.02 * first
    assert (pupil[..., 4:] - teacher[..., 4:])[sure].abs().max() < 0.3 and (pupil[..., :4] - teacher[..., :4])[sure].abs().max() < 0.3


def test_a_teacher_is_overruled_where_nothing_burns():
    torch.manual_seed(9)
    teacher = Detector(NANO).eval()
    fire, none, whole, half = [[0, 8, 8, 40, 40]], [], [[0, 0, 64, 64]], [[0, 0, 32, 64]]

    def sample(boxes, unlabelled, calm):
        arrays = (np.array(some, np.float32).reshape(-1, side) for some, side in ((boxes, 5), (unlabelled, 4), (calm, 4)))
        return Sample(*(np.full((64, 64, 3), grey, np.uint8) for grey in (90, 140)), *arrays)

    batch = collate([sample(fire, none, half), sample(none, none, whole), sample(none, whole, none), sample(none, none, none)])
    assert batch.clear is None and batch.pixels.unique().tolist() == [90]
    clear = torch.full_like(batch.pixels, 140).float()
    burning, calm, *heard = torch.sigmoid(told([teacher], clear, batch)[..., 4])
    own = torch.sigmoid(teacher(clear)[..., 4].detach())[0]
    left = torch.cat([torch.arange(8 * 8) % 8 < 4, torch.arange(4 * 4) % 4 < 2, torch.arange(2 * 2) % 2 < 1])
    assert own.min() > 1e-3 and calm.max() < 1e-4
    assert burning[left].max() < 1e-4 and torch.allclose(burning[~left], own[~left], atol=1e-2)
    # Smoke may be there without a label, and a fire whose box was cut off too far.
    assert all(torch.allclose(said, own, atol=1e-2) for said in heard)


def test_teachers_look_at_the_picture_before_it_was_spoiled(toy, tmp_path, monkeypatch):
    torch.save(Detector(NANO).state_dict(), tmp_path / "teacher.pt")
    run("data", toy, "--pack", tmp_path / "pack", "--longest", 128)
    plan = Plan(shape="nano", steps=1, batch=2, processes=1, input=128, bank=0, teacher="nano")
    seen = []

    def listen(teachers, clear, batch):
        seen.append((clear, batch))
        return told(teachers, clear, batch)

    monkeypatch.setattr(train, "told", listen)
    monkeypatch.setattr(canvas, "take_again", lambda rng, pixels: pixels // 2)
    train.train(train.Run(tmp_path / "pack", tmp_path / "run", None, "cpu", teachers=(tmp_path / "teacher.pt",)), plan)
    ((clear, batch),) = seen
    assert torch.equal(clear, batch.clear.float()) and torch.equal(batch.pixels, batch.clear // 2)


def test_training_with_a_teacher_runs_and_an_unknown_shape_is_refused(toy, tmp_path):
    torch.manual_seed(8)
    torch.save(Detector(NANO).state_dict(), tmp_path / "teacher.pt")
    pack = tmp_path / "pack"
    run("data", toy, "--pack", pack, "--longest", 128)
    settings = ("train", "--pack", pack, "--processes", 1, "--batch", 2, "--steps", 2, "--bank", 0, "--input", 128)
    alone, taught = tmp_path / "alone", tmp_path / "taught"
    run(*settings, "--out", alone)
    run(*settings, "--out", taught, "--teacher", tmp_path / "teacher.pt")
    first, second = (torch.load(folder / "final.pt", weights_only=True) for folder in (alone, taught))
    assert any(not torch.equal(first[k], second[k]) for k in first)
    # Two that say the same say it as one does.
    run(*settings, "--out", tmp_path / "twice", "--teacher", tmp_path / "teacher.pt", tmp_path / "teacher.pt")
    third = torch.load(tmp_path / "twice" / "final.pt", weights_only=True)
    assert all(torch.allclose(second[k], third[k], atol=1e-5) for k in second)
    assert "no shape giant" in run(*settings, "--out", tmp_path / "x", "--shape", "giant", fails=True)
    assert "weights are missing" in run(*settings, "--out", tmp_path / "y", "--teacher", tmp_path / "none.pt", fails=True)
