"""Faults of a dataset are named with file and line."""

import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from ember_train.dataset import join, read_dataset
from ember_train.pack import Store, write_pack
from ember_train.problems import BadInput
from ember_train.scenes import write_scenes


def fault_of(folder) -> str:
    with pytest.raises(BadInput) as caught:
        read_dataset(folder)
    return str(caught.value)


def test_a_sound_set_is_read_whole(toy):
    dataset = read_dataset(toy)
    assert len(dataset.pictures) == 24 and not dataset.warnings
    assert len(dataset.split("val")) == 9


@pytest.mark.parametrize("line, words", [
    ("2 0.5 0.5 0.1 0.1", "class 2 is unknown"),
    ("0 0.98 0.5 0.2 0.1", "box leaves the picture"),
    ("0 0.5 0.5 0.1", "has 4 numbers"),
    ("0 0.5 0.5 0.0 0.1", "box has no area"),
    ("0 0.5 nan 0.1 0.1", "not finite"),
    ("flame 0.5 0.5 0.1 0.1", "is not five numbers"),
])
def test_a_bad_label_names_file_and_line(toy, line, words):
    path = toy / "labels" / "p01.txt"
    path.write_text(path.read_text() + line + "\n")
    message = fault_of(toy)
    assert f"{path}:3: " in message and words in message


def test_a_missing_label_file_is_a_fault(toy):
    (toy / "labels" / "p04.txt").unlink()
    assert f"{toy / 'labels' / 'p04.txt'}: is missing" in fault_of(toy)


def test_a_manifest_that_counts_otherwise_is_a_fault(toy):
    (toy / "labels" / "p01.txt").write_text("")
    assert "manifest.csv:3: flames says 1, labels/p01.txt holds 0" in fault_of(toy)


def test_a_manifest_row_without_picture_is_a_fault(toy):
    (toy / "images" / "p05.jpg").unlink()
    assert "manifest.csv:7: names 'p05'" in fault_of(toy)


def test_a_picture_outside_the_manifest_is_a_fault(toy):
    cv2.imwrite(str(toy / "images" / "stray.jpg"), np.zeros((8, 8, 3), np.uint8))
    assert "stray.jpg: is in images/ and not in manifest.csv" in fault_of(toy)


def test_classes_in_the_wrong_order_are_a_fault(toy):
    (toy / "data.yaml").write_text("train: images\nnames: [smoke, flame]\n")
    assert "data.yaml:2: classes are ['smoke', 'flame']" in fault_of(toy)


def test_an_empty_folder_is_a_fault(tmp_path):
    (tmp_path / "images").mkdir()
    assert "holds no picture" in fault_of(tmp_path)
    assert "is no dataset" in fault_of(tmp_path / "images")


def test_a_cluster_in_two_splits_is_reported(toy):
    manifest = toy / "manifest.csv"
    manifest.write_text("".join(line.rsplit(",", 1)[0] + ",7\n" if line.startswith(("p00", "p03")) else line
                                for line in manifest.read_text().splitlines(keepends=True)))
    assert "cluster 7 is in ['train', 'val']" in str(read_dataset(toy).warnings[0])


@pytest.mark.parametrize("write, words", [
    (lambda path: path.write_bytes(b"no picture"), "cannot be decoded"),
    (lambda path: path.write_bytes(cv2.imencode(".png", np.zeros((96, 128, 3), np.uint16))[1].tobytes()), "has 16 bits a sample"),
    (lambda path: cv2.imwrite(str(path), np.zeros((9, 9, 3), np.uint8)), "manifest says 128x96"),
])
def test_a_picture_that_cannot_be_used_is_a_fault(toy, tmp_path, write, words):
    path = toy / "images" / "p02.jpg"
    write(path)
    with pytest.raises(BadInput) as caught:
        write_pack(read_dataset(toy), tmp_path / "pack", 128)
    assert f"{path}: " in str(caught.value) and words in str(caught.value)


def test_equal_pictures_across_splits_are_reported(toy, tmp_path):
    for folder, ending in (("images", "jpg"), ("labels", "txt")):
        (toy / folder / f"p03.{ending}").write_bytes((toy / folder / f"p00.{ending}").read_bytes())
    dataset = read_dataset(toy)
    write_pack(dataset, tmp_path / "pack", 128)
    assert any("equals p00.jpg of the val split" in str(w) for w in dataset.warnings)


def test_a_pack_gives_back_pixels_and_boxes(toy, tmp_path):
    dataset = read_dataset(toy)
    write_pack(dataset, tmp_path / "pack", 64)
    store = Store(tmp_path / "pack")
    assert store.pixels(1).shape == (48, 64, 3)
    assert np.allclose(store.boxes(1), dataset.pictures[1].boxes)


def test_a_plain_yolo_folder_takes_its_splits_from_folders(toy):
    (toy / "manifest.csv").unlink()
    for kind in ("images", "labels"):
        (toy / kind / "val").mkdir()
        for path in sorted((toy / kind).glob("p0[0-3].*")):
            path.rename(toy / kind / "val" / path.name)
    dataset = read_dataset(toy)
    assert len(dataset.split("val")) == 4 and len(dataset.split("train")) == 20


def test_two_sets_are_packed_together(toy, tmp_path):
    joined = join([read_dataset(toy), read_dataset(toy)])
    assert write_pack(joined, tmp_path / "pack", 128)["pictures"] == 48
    assert len(Store(tmp_path / "pack").entries) == 48


def test_the_seeds_that_measure_are_not_trained_on(tmp_path):
    with pytest.raises(BadInput, match="kept for measuring"):
        write_scenes(tmp_path / "emberwatch", tmp_path, seeds=10, first=995)


def test_rendered_scenes_are_a_sound_set(tmp_path):
    program = Path(os.environ.get("EMBERWATCH_PROGRAM", "../../target/release/emberwatch"))
    if not program.exists():
        pytest.skip("no emberwatch program: set EMBERWATCH_PROGRAM")
    count = write_scenes(program, tmp_path, seeds=1)
    dataset = read_dataset(tmp_path)
    assert len(dataset.pictures) == count == 84
    burning = [p for p in dataset.pictures if p.source == "rendered"]
    assert any(len(p.boxes) for p in burning)
    assert not any(len(p.boxes) for p in dataset.pictures if p.source == "rendered_lookalike")
