"""Metrics against scikit-learn where it has them, and against a plain loop or a case worked by hand elsewhere."""

import numpy as np
import pytest

from suite.spec.dataset import DatasetFacts
from suite.spec.tasks import anomaly, classification, detection, embedding

metrics = pytest.importorskip("sklearn.metrics")


@pytest.fixture
def random():
    return np.random.default_rng(7)


def scores_with_ties(random, count=400):
    return np.round(random.normal(size=count), 1), random.random(count) < 0.3


def test_the_confusion_matrix_is_scikit_learns(random):
    labels, outputs = random.integers(0, 7, 500), random.normal(size=(500, 7)).astype(np.float32)
    found = classification.classified(labels, outputs)
    assert np.array_equal(found.confusion, metrics.confusion_matrix(labels, outputs.argmax(axis=1)))


def test_a_confusion_matrix_has_a_row_for_a_class_that_never_comes():
    found = classification.classified(np.array([0, 2]), np.eye(4)[[0, 0]])
    assert found.confusion == ((1, 0, 0, 0), (0, 0, 0, 0), (1, 0, 0, 0), (0, 0, 0, 0))


def test_outputs_that_are_no_numbers_and_very_many_classes_have_no_matrix():
    assert classification.classified(np.zeros(2, int), np.full((2, 3), np.nan)) is None
    assert classification.classified(np.zeros(2, int), np.zeros((2, classification.MOST_CLASSES + 1))) is None


def test_auroc_is_scikit_learns_with_ties(random):
    scores, positive = scores_with_ties(random)
    assert len(np.unique(scores)) < len(scores)
    assert anomaly.auroc(scores, positive) == pytest.approx(metrics.roc_auc_score(positive, scores), abs=1e-12)


def test_average_precision_is_scikit_learns_with_ties(random):
    scores, positive = scores_with_ties(random)
    wanted = metrics.average_precision_score(positive, scores)
    assert anomaly.average_precision(scores, positive) == pytest.approx(wanted, abs=1e-12)


def test_a_curve_over_one_kind_alone_has_no_value():
    scores = np.arange(3.0)
    assert anomaly.auroc(scores, np.zeros(3, bool)) is None
    assert anomaly.auroc(scores, np.ones(3, bool)) is None
    assert anomaly.average_precision(scores, np.zeros(3, bool)) is None


def test_anomalies_are_those_above_the_quantile_of_the_training_errors(random):
    labels = random.integers(0, 10, 1000)
    errors = random.gamma(2.0, size=1000) + 2.0 * (labels == 9)
    train = random.gamma(2.0, size=2000)
    found = anomaly.sorted_out(tuple(range(9)), 0.9, train, errors, labels)
    truth, raised = labels == 9, errors > np.quantile(train, 0.9)
    assert found.threshold == np.quantile(train, 0.9)
    assert found.precision == pytest.approx(metrics.precision_score(truth, raised), abs=1e-12)
    assert found.recall == pytest.approx(metrics.recall_score(truth, raised), abs=1e-12)
    assert found.auroc == pytest.approx(metrics.roc_auc_score(truth, errors), abs=1e-12)
    assert (sum(found.normal), sum(found.anomalous)) == (int((~truth).sum()), int(truth.sum()))
    assert found.normal[0] == int((~truth & (errors < found.edges[1])).sum())
    assert found.edges[-1] == np.quantile(errors, anomaly.REACH) < errors.max()


def test_errors_that_are_no_numbers_leave_everything_unknown():
    found = anomaly.sorted_out((0,), 0.95, np.ones(3), np.array([1.0, np.nan]), np.array([0, 1]))
    assert (found.auroc, found.threshold, found.normal) == (None, None, ())


def test_the_error_of_a_reconstruction_is_its_mean_square(random):
    one, other = random.random((3, 4, 4, 1)), random.random((3, 4, 4, 1))
    wanted = [metrics.mean_squared_error(a.ravel(), b.ravel()) for a, b in zip(one, other, strict=True)]
    assert anomaly.reconstruction_errors(one, other) == pytest.approx(wanted, abs=1e-15)


WORDS = ("<other>", "king", "man", "queen", "woman", "sea")
VECTORS = np.array([[9, 9, 9], [1, 1, 0], [0, 1, 0], [1, 0, 1], [0, 0, 1], [-1, 0, -0.1]], np.float32)


def asked(make_spec, task):
    model = [{"layer": "embedding", "vocabulary": 6, "units": 3}, {"layer": "dense", "units": 6}]
    facts = {"name": "words", "image_shape": (8,), "classes": 6, "train": 20, "test": 5, "max_value": 5}
    facts = DatasetFacts(**facts, digest="sha256:0")
    return make_spec(facts, model=model, task={"kind": "embedding", "window": 2, **task})


def test_neighbours_are_nearest_by_angle_and_never_the_word_itself_or_the_one_for_all_others(make_spec):
    spec = asked(make_spec, {"neighbours": ["king", "ship"]})
    found = embedding.embedded(spec.task, VECTORS, WORDS)
    king, ship = found.neighbours
    cosine = metrics.pairwise.cosine_similarity(VECTORS[1:2], VECTORS)[0]
    assert [near.word for near in king.near] == [WORDS[i] for i in np.argsort(-cosine) if i > 1]
    assert king.near[0].cosine == pytest.approx(float(cosine[2]))
    assert (ship.word, ship.near) == ("ship", ())


def test_an_analogy_is_solved_by_the_vectors_difference(make_spec):
    questions = [["man", "king", "woman", "queen"], ["man", "king", "woman", "sea"], ["man", "king", "woman", "ship"]]
    found = embedding.embedded(asked(make_spec, {"analogies": questions}).task, VECTORS, WORDS)
    assert [(a.rank, a.first) for a in found.analogies] == [(1, "queen"), (2, "queen"), (None, None)]


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_vectors_that_are_not_finite_have_no_neighbours(make_spec, value):
    spec = asked(make_spec, {"neighbours": ["king"], "analogies": [["man", "king", "woman", "queen"]]})
    for rows in (np.full_like(VECTORS, value), np.where(np.arange(len(VECTORS))[:, None] == 2, value, VECTORS)):
        found = embedding.embedded(spec.task, rows, WORDS)
        assert (found.neighbours, found.analogies) == ((), ())


def test_boxes_overlap_as_worked_by_hand():
    one = np.array([[0, 0, 2, 2], [0, 0, 1, 1], [0, 0, 1, 1], [0, 0, -1, 1], [0, 0, 0, 0]], float)
    other = np.array([[1, 1, 2, 2], [0, 0, 1, 1], [2, 2, 1, 1], [0, 0, 1, 1], [0, 0, 0, 0]], float)
    assert detection.iou(one, other) == pytest.approx([1 / 7, 1, 0, 0, 0])


def test_average_precision_of_detections_as_worked_by_hand():
    """Ranked hit, miss, hit of three objects: precision 1 up to recall 1/3, then 2/3 up to 2/3, then nothing."""
    found = detection.interpolated_precision(np.array([0.5, 0.9, 0.7]), np.array([True, True, False]), 3)
    assert found == pytest.approx(1 / 3 + 2 / 3 / 3)
    assert detection.interpolated_precision(np.array([]), np.array([], bool), 3) == 0


def by_a_plain_loop(outputs, targets):
    """Mean over classes of the area under the interpolated curve, point after point."""
    precisions = []
    for label in sorted({int(t[0]) for t in targets}):
        ranked = []
        for output, target in zip(outputs, targets, strict=True):
            if output[:-4].argmax() != label:
                continue
            share = np.exp(output[:-4]) / np.exp(output[:-4]).sum()
            x = [max(output[-4], target[1]), min(output[-4] + output[-2], target[1] + target[3])]
            y = [max(output[-3], target[2]), min(output[-3] + output[-1], target[2] + target[4])]
            shared = max(x[1] - x[0], 0) * max(y[1] - y[0], 0)
            union = output[-2] * output[-1] + target[3] * target[4] - shared
            ranked.append((-share.max(), int(target[0]) == label and shared / union >= 0.5))
        ranked.sort(key=lambda pair: pair[0])
        objects = sum(int(t[0]) == label for t in targets)
        points, hits = [], 0
        for rank, (_, hit) in enumerate(ranked, start=1):
            hits += hit
            points.append((hits / objects, hits / rank))
        area, before = 0.0, 0.0
        for i, (recall, _) in enumerate(points):
            area += (recall - before) * max(p for _, p in points[i:])
            before = recall
        precisions.append(area)
    return sum(precisions) / len(precisions)


def test_detections_are_judged_as_a_plain_loop_does(random):
    corners, sides = random.random((60, 2)) * 0.5, 0.2 + random.random((60, 2)) * 0.3
    targets = np.column_stack([random.integers(0, 3, 60), corners, sides])
    outputs = np.column_stack([random.normal(size=(60, 3)), targets[:, 1:] + random.normal(size=(60, 4)) * 0.03])
    outputs[np.arange(60), targets[:, 0].astype(int)] += 1.5
    outputs[:, -2:] = np.abs(outputs[:, -2:])
    found = detection.located(outputs, targets)
    assert 0.2 < found.ap50 < 0.95
    assert found.ap50 == pytest.approx(by_a_plain_loop(outputs, targets), abs=1e-12)
    assert found.accuracy == pytest.approx((outputs[:, :3].argmax(axis=1) == targets[:, 0]).mean())
    assert detection.located(np.full((1, 7), np.inf), targets[:1]).ap50 is None
