"""Figures agree with pycocotools, and thresholds follow the rule."""

import contextlib
import io

import numpy as np
import pytest
from ember_train.evaluate import report_of
from ember_train.metrics import SIZES, Truth, interval, match
from ember_train.predict import Found, suppress
from ember_train.thresholds import choose

SIDE = 200


def scene(rng):
    """Boxes of all sizes on a square picture, and detections that miss, jitter and invent."""
    count = int(rng.integers(0, 6))
    low = rng.uniform(0, 0.7, (count, 2)) * SIDE
    size = np.exp(rng.uniform(np.log(0.04), np.log(0.5), (count, 2))) * SIDE
    corners = np.concatenate((low, np.minimum(low + size, SIDE)), 1)
    classes = rng.integers(0, 2, count)
    truth = Truth(classes, corners, SIDE * SIDE, True, "toy")
    kept = rng.random(count) < 0.8
    near = corners[kept] + rng.normal(0, 0.06, (kept.sum(), 4)) * np.tile(corners[kept, 2:] - corners[kept, :2], 2)
    extra = rng.uniform(0, 0.6, (4, 2)) * SIDE
    extra = np.concatenate((extra, extra + rng.uniform(5, 70, (4, 2))), 1)
    found = np.concatenate((near, extra))
    scores = np.concatenate((rng.uniform(0.2, 1, len(near)), rng.uniform(0, 0.7, 4)))
    return truth, Found(np.concatenate((classes[kept], rng.integers(0, 2, 4))), scores, found)


@pytest.fixture(scope="module")
def scenes():
    rng = np.random.default_rng(3)
    return [list(column) for column in zip(*(scene(rng) for _ in range(120)))]


def coco_figures(truths, founds, kind):
    """mAP50 and mAP50-95 per size, with the same shares of the picture as areas."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    def xywh(c):
        return [float(c[0]), float(c[1]), float(c[2] - c[0]), float(c[3] - c[1])]

    boxes = [dict(id=0, image_id=i, category_id=int(k), bbox=xywh(c), area=xywh(c)[2] * xywh(c)[3], iscrowd=0)
             for i, t in enumerate(truths) for k, c in zip(t.classes, t.corners)]
    for n, box in enumerate(boxes):
        box["id"] = n + 1
    with contextlib.redirect_stdout(io.StringIO()):
        coco = COCO()
        coco.dataset = dict(images=[dict(id=i) for i in range(len(truths))], annotations=boxes, categories=[dict(id=0), dict(id=1)])
        coco.createIndex()
        found = coco.loadRes([dict(image_id=i, category_id=int(k), bbox=xywh(c), score=float(s))
                              for i, f in enumerate(founds) for k, s, c in zip(f.classes, f.scores, f.corners)])
        run = COCOeval(coco, found, "bbox")
        run.params.catIds = [kind]
        run.params.areaRng = [[low * SIDE**2, high * SIDE**2] for low, high in SIZES.values()]
        run.params.areaRngLbl = list(SIZES)
        run.evaluate()
        run.accumulate()
    precision = run.eval["precision"][:, :, 0, :, -1]  # IoU, recall, size
    return {size: (precision[0, :, s].mean(), precision[:, :, s].mean()) for s, size in enumerate(SIZES)}


@pytest.mark.parametrize("kind", (0, 1))
def test_average_precision_agrees_with_pycocotools(scenes, kind):
    truths, founds = scenes
    theirs = coco_figures(truths, founds, kind)
    name = ("flame", "smoke")[kind]
    ours = report_of(truths, founds, rounds=2)["classes"][name]
    for size in SIZES:
        assert ours[size]["map50"] == pytest.approx(theirs[size][0], abs=0.002), size
        assert ours[size]["map50_95"] == pytest.approx(theirs[size][1], abs=0.002), size


def test_an_interval_holds_the_figure(scenes):
    matched = match(0, SIZES["all"], 0.5, *scenes)
    low, high = interval(matched, 100)
    assert low < matched.average_precision() < high


def test_unlabelled_smoke_counts_neither_way(scenes):
    truths, founds = scenes
    before = report_of(truths, founds, quick=True)["classes"]["smoke"]["all"]
    blind = Truth(np.zeros(0, int), np.zeros((0, 4)), SIDE**2, False, "toy")
    shouting = Found(np.array([1]), np.array([0.99]), np.array([[0.0, 0, 50, 50]]))
    after = report_of(truths + [blind], founds + [shouting], quick=True)["classes"]["smoke"]["all"]
    assert before == after


def test_suppression_keeps_the_better_of_two():
    boxes = np.array([[0, 0, 10, 10], [1, 0, 10, 10], [20, 20, 30, 30]], float)
    assert suppress(boxes).tolist() == [0, 2]


def test_thresholds_keep_the_recall_and_then_the_calm():
    burning = np.array([[0.9, 0]] * 18 + [[0, 0.5]] * 2 + [[0.3, 0]])
    calm = np.array([[0.55, 0], [0, 0.2], [0, 0], [0, 0]])
    # The last fire would cost a quarter of the calm pictures.
    pair = choose(burning, burning[:0], calm, "watch")
    assert pair["recall"] == 20 / 21 and pair["false_alarms"] == 0
    assert 0.55 < pair["flame"] <= 0.9 and 0.2 < pair["smoke"] <= 0.5


def test_a_false_alarm_is_worth_many_fires():
    burning, few = np.array([[0.9, 0]] * 90 + [[0.3, 0]] * 10), np.array([[0.9, 0]] * 95 + [[0.3, 0]] * 5)
    calm = np.array([[0.4, 0]] + [[0, 0]] * 99)
    # One calm picture in a hundred for ten fires in a hundred: yes; for five: no on watch, yes on alarm.
    assert choose(burning, burning[:0], calm, "watch")["recall"] == 1
    assert choose(few, burning[:0], calm, "watch")["recall"] == 0.95
    assert choose(few, burning[:0], calm, "alarm")["recall"] == 1


def test_thresholds_see_smoke_where_it_is_alone():
    smoke_alone = np.array([[0, 0.3], [0, 0.6]])
    burning = np.concatenate((np.array([[0.9, 0]] * 38), smoke_alone))
    calm = np.array([[0, 0.35], [0, 0], [0, 0]])
    assert choose(burning, smoke_alone[1:], calm, "watch")["false_alarms"] == 0
    strict = choose(burning, smoke_alone, calm, "watch")
    assert strict["smoke"] <= 0.3 and strict["smoke_recall"] == 1 and strict["false_alarms"] == 1 / 3
