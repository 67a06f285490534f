"""What the reference answers: asked once, kept from whoever is compared with it, the same wherever an image recurs."""

import numpy as np
import pytest

from suite.gate import batch_size, reference_answers
from suite.gate.batch_size import epoch
from suite.gate.gate import examine
from suite.gate.reference_answers import ReferenceAnswers
from suite.results.identity import Verdict
from suite.runners.base import Threads
from suite.runners.reference.runner import Runner as Reference
from tests.faults.plant import Outputs, Planted, Wrapped
from tests.faults.specs import SPECS

THREADS = Threads(intra=1, inter=1)
KEY = "sha256:" + "0" * 64
NONE = frozenset()


@pytest.fixture
def runner():
    return Reference("cpu", THREADS, 0)


def counting(calls):
    """A Memory whose reference notes each call."""

    class Count(Wrapped):
        def train(self, order):
            calls.append(("train", self.precision))
            return self.inner.train(order)

        def predict(self, split, batch_size):
            calls.append(("predict", self.precision))
            return self.inner.predict(split, batch_size)

        def probe(self, images, targets):
            calls.append(("probe", self.precision))
            return self.inner.probe(images, targets)

    return ReferenceAnswers(lambda variants: Planted(Reference("cpu", THREADS, 0, variants=variants), program=Count))


def test_each_question_is_computed_once_for_all_modes(runner):
    calls = []
    memory = counting(calls)
    first = examine(SPECS["cnn"], runner, memory, "numpy", "float32", key=KEY)
    asked = list(calls)
    single, epochs, alone = 10, 2, 2 * 10
    assert asked.count(("train", "float64")) == single + epochs + alone
    assert asked.count(("train", "float32")) == epochs + alone
    assert asked.count(("predict", "float32")) == 3  # by the weights of the start, by others, behind an epoch
    assert examine(SPECS["cnn"], runner, memory, "numpy", "float32", key=KEY) == first
    assert calls == asked


def test_it_keeps_the_last_specs_and_variants_alone(runner):
    memory = ReferenceAnswers(lambda variants: Reference("cpu", THREADS, 0, variants=variants), 2)
    mlp, cnn = (memory.about(SPECS[name], NONE) for name in ("mlp", "cnn"))
    assert memory.about(SPECS["mlp"], NONE) is mlp
    assert memory.about(SPECS["cnn"], frozenset({"biased_running_variance"})) is not cnn
    assert memory.about(SPECS["mlp"], NONE) is not mlp


@pytest.mark.parametrize("name", ["cnn", "residual", "words"])
def test_who_writes_into_what_it_is_given_spoils_no_answer(name, runner):
    class Spoils(Wrapped):
        def load(self, state):
            self.inner.load(state)
            for held in (state.weights, *state.slots.values()):
                for value in held.values():
                    value[...] = 7

        def stage(self, split, images, targets):
            self.inner.stage(split, images.copy(), targets.copy())
            if split == "train":
                images[...] = 0
                targets[...] = 0

    memory = ReferenceAnswers(lambda variants: Reference("cpu", THREADS, 0, variants=variants))
    spoilt = examine(SPECS[name], Planted(runner, program=Spoils), memory, "numpy", "float32", key=KEY)
    assert spoilt.verdict is Verdict.IDENTICAL
    assert examine(SPECS[name], runner, memory, "numpy", "float32", key=KEY).verdict is Verdict.IDENTICAL


def test_a_model_whose_steps_are_dear_has_fewer_images_to_a_step_and_no_drift(runner, monkeypatch):
    memory = ReferenceAnswers(lambda variants: Reference("cpu", THREADS, 0, variants=variants))
    assert examine(SPECS["mlp"], runner, memory, "numpy", "float32", key=KEY).drift == 0.0
    monkeypatch.setattr(reference_answers, "EXACT_WORK", 0)
    dear = ReferenceAnswers(lambda variants: Reference("cpu", THREADS, 0, variants=variants))
    found = examine(SPECS["mlp"], runner, dear, "numpy", "float32", key=KEY)
    assert (found.verdict, found.drift) == (Verdict.IDENTICAL, None)
    assert len(dear.about(SPECS["mlp"], NONE).exact_batch[0]) == reference_answers.EXACT_FEWEST


class TestRecurring:
    """Models that are too large to be predicted by the reference for a whole split."""

    @pytest.fixture(autouse=True)
    def _large(self, monkeypatch):
        monkeypatch.setattr(batch_size, "TRAINED_WORK", 0)

    def test_the_split_is_the_specs_own_and_the_reference_predicts_each_image_once(self, runner):
        asked = reference_answers.Answers(SPECS["mlp"].without_dropout(), runner)
        given = asked.timed("float64", "queries", 0)
        few, all_ = sum(asked.epoch), sum(epoch(SPECS["mlp"]))
        outputs = given["prediction"]["outputs"]
        assert few < all_ == len(outputs)
        assert len(np.unique(outputs, axis=0)) <= few
        assert len(given["query of a batch"]["outputs"]) == SPECS["mlp"].batches[0]
        assert np.array_equal(given["query of 1"]["outputs"], outputs[:1])

    @pytest.mark.parametrize("row", [0, 11, -1])
    def test_each_row_of_a_prediction_counts(self, row, runner):
        class Off(Outputs):
            def predict(self, split, batch_size):
                outputs = self.inner.predict(split, batch_size).copy()
                outputs[row % len(outputs)] *= 1.01
                return outputs

        memory = ReferenceAnswers(lambda variants: Reference("cpu", THREADS, 0, variants=variants))
        found = examine(SPECS["mlp"], Planted(runner, program=Off), memory, "numpy", "float32", key=KEY)
        assert (found.divergence.section.endswith("prediction"), found.divergence.tensor) == (True, "outputs")

    def test_rows_in_another_order_are_no_prediction(self, runner):
        class Turned(Outputs):
            def predict(self, split, batch_size):
                return np.roll(self.inner.predict(split, batch_size), epoch(self.spec)[0], axis=0)

        memory = ReferenceAnswers(lambda variants: Reference("cpu", THREADS, 0, variants=variants))
        found = examine(SPECS["mlp"], Planted(runner, program=Turned), memory, "numpy", "float32", key=KEY)
        assert found.verdict is Verdict.UNPROVEN
