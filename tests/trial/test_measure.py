"""How a cell is measured: where training starts, what is counted, what is kept.  No time is ever asserted."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest

from suite.data import datasets
from suite.inputs import examples, initial
from suite.meters import gpu
from suite.results.divergence import What
from suite.results.records import Scores, Training
from suite.runners.base import State, Threads
from suite.runners.null import runner as null
from suite.runners.reference import runner as reference
from suite.spec.loading import load
from suite.spec.recipe import EarlyStopping
from suite.spec.resolved import Spec
from suite.trial import measure
from suite.trial.measure import Measurement, Watch, train
from tests.support import runs

THREADS = Threads(intra=1, inter=1)
STATEFUL = """
name: stateful
dataset: digits
model: {mlp: {hidden: [8], dropout: 0.3, batch_norm: {}}}
optimizer: {name: adam}
batch_size: 64
epochs: 3
"""
HELD_OUT = runs.SPEC + "validation_fraction: 0.1\n"


@pytest.fixture
def read(tmp_path: Path) -> Callable[[str], Spec]:
    """A spec from YAML, its data fetched."""

    def make(text: str) -> Spec:
        path = tmp_path / f"{text.split()[1]}.yaml"
        path.write_text(text)
        datasets.fetch("digits")
        return load(path, datasets.describe)[0]

    return make


def work(runner: Any, spec: Spec, mode: str = "null", seed: int = 0, **fields: Any) -> measure.Work:
    return measure.Work(runner, spec, mode, "float32", seed, **fields)


def by_reference(spec: Spec, seed: int = 0, **profile: Any) -> Measurement:
    return measure.measure(
        work(reference.Runner("cpu", THREADS, seed), spec, "numpy", seed), runs.profile(**profile), 17
    )


def test_training_starts_where_the_spec_says_whatever_came_before(read: Callable[[str], Spec]) -> None:
    """Batch norm, dropout and Adam all remember; the final weights equal those of a loop that never warmed up."""
    spec = read(STATEFUL)
    program = reference.Runner("cpu", THREADS, 5).build(spec, "numpy", "float32")
    split = measure.splits(spec)["train"]
    program.stage("train", split.images, split.targets)
    program.load(State(initial.weights(spec, 5)))
    for epoch in range(2):
        program.train(initial.order(5, epoch, spec.train_images))
    bare = initial.fingerprint(program.state().weights)
    assert by_reference(spec, 5, epochs=2).training.weights == bare
    assert by_reference(spec, 6, epochs=2).training.weights != bare


def test_epochs_are_those_of_the_spec_up_to_the_cap(read: Callable[[str], Spec]) -> None:
    spec = read(runs.SPEC)
    for cap, epochs in ((None, 2), (1, 1), (9, 2)):
        taken = by_reference(spec, epochs=cap).training
        assert [epoch.images for epoch in taken.epochs] == [1437] * epochs
        assert (taken.stopped_early, taken.best_epoch, taken.validation) == (False, None, None)


def test_what_is_learnt_is_scored_on_every_split(read: Callable[[str], Spec]) -> None:
    taken = by_reference(read(HELD_OUT.replace("epochs: 2", "epochs: 8")), epochs=None)
    assert taken.training.test == taken.training.epochs[-1].test
    assert taken.training.validation == taken.training.epochs[-1].validation
    assert (taken.training.train.accuracy or 0) > 0.6
    assert (taken.training.test.accuracy or 0) > 0.6
    losses = [epoch.train_loss or 0 for epoch in taken.training.epochs]
    assert losses == sorted(losses, reverse=True)


def test_splits_hold_every_image_once(read: Callable[[str], Spec]) -> None:
    held = measure.splits(read(HELD_OUT))
    assert {name: len(split.images) for name, split in held.items()} == {"train": 1293, "validation": 144, "test": 360}
    arrays = datasets.load("digits")
    both = np.concatenate([held["train"].images, held["validation"].images]) * arrays.facts.max_value
    assert sorted(map(bytes, both.round().astype(np.uint8))) == sorted(map(bytes, arrays.train_images))
    assert held["test"].labels.tolist() == held["test"].targets.tolist() == arrays.test_labels.tolist()
    assert measure.splits(read(runs.SPEC)).keys() == {"train", "test"}


def test_digests_change_with_what_they_are_of(read: Callable[[str], Spec]) -> None:
    spec, other = read(runs.SPEC), read(runs.SPEC.replace("[8]", "[9]"))
    here = measure.digests(spec, 0)
    assert here == measure.digests(spec, 0)
    seeded, larger = measure.digests(spec, 1), measure.digests(other, 0)
    assert (seeded.spec, seeded.dataset) == (here.spec, here.dataset)
    assert seeded.weights != here.weights
    assert seeded.order != here.order
    assert larger.spec != here.spec
    assert larger.weights != here.weights
    assert (larger.dataset, larger.order) == (here.dataset, here.order)


class Recorder(null.Program):
    """What a program is asked for, call by call."""

    def __init__(self, spec: Spec) -> None:
        super().__init__(spec, "float32")
        self.asked: list[tuple[str, Any]] = []

    def load(self, state: State) -> None:
        self.asked.append(("load", state.step))
        super().load(state)

    def train(self, order: Any) -> float:
        self.asked.append(("train", len(order)))
        return super().train(order)

    def predict(self, split: str, batch_size: int) -> Any:
        self.asked.append(("predict", (split, batch_size)))
        return super().predict(split, batch_size)

    def infer(self, images: Any) -> Any:
        self.asked.append(("infer", images))
        return super().infer(images)


class Recording(null.Runner):
    warmup: ClassVar[Mapping[str, int]] = {"null": 3}

    def build(self, spec: Spec, mode: str, precision: Any) -> Recorder:
        self.program = Recorder(spec)
        return self.program


def test_everything_is_asked_in_order_and_every_sample_kept_with_the_warm_up_apart(
    read: Callable[[str], Spec],
) -> None:
    runner = Recording("cpu", THREADS, 0)
    profile = runs.profile(epochs=2, latency_samples=4, latency_batches=(1, 400), throughput_batches=(100, 256))
    taken = measure.measure(work(runner, read(runs.SPEC)), profile, 17)
    asked = runner.program.asked
    warm = [("train", 8 * 64 + 1437 % 64)] * 3
    epoch = [("train", 1437), ("predict", ("test", 500))]
    final = [("predict", ("train", 500)), ("predict", ("test", 500))]
    compiled = ("predict", ("test", 500))
    assert asked[:13] == [("load", 0), ("train", 64), *warm, compiled, ("load", 0), *epoch, *epoch, *final]
    assert [len(images) for kind, images in asked if kind == "infer"] == [1] * (3 * measure.WARMUP_QUERIES + 4)
    latency, training = taken.latency[0], taken.training
    assert [item.batch_size for item in taken.latency] == [1], "400 images are more than there are"
    assert (len(latency.warmup_ns), len(latency.samples_ns)) == (3 * measure.WARMUP_QUERIES, 4)
    assert (len(training.warmup_ns), len(training.epochs)) == (3, 2)
    assert [(item.batch_size, item.images) for item in taken.throughput] == [(100, 360), (256, 360)]
    for item in taken.throughput:
        calls = asked.count(("predict", ("test", item.batch_size)))
        assert (len(item.warmup_ns), calls) == (3, 3 + len(item.samples_ns))
    assert taken.memory.import_bytes == 17


class Noting(gpu.Meter):
    """Spans among the calls that a program is asked for."""

    def __init__(self, asked: list[tuple[str, Any]]) -> None:
        self.asked = asked

    @contextmanager
    def span(self, kind: Any, batch_size: int | None = None, images: int = 0) -> Iterator[gpu.Mark]:
        self.asked.append((kind, batch_size))
        mark = gpu.Mark(images)
        yield mark
        self.asked.append(("end", mark.images))


def test_spans_stand_around_what_is_timed_and_leave_the_warm_up_out(read: Callable[[str], Spec]) -> None:
    program = Recorder(read(runs.SPEC))
    runner = Recording("cpu", THREADS, 0)
    runner.build = lambda *_: program  # type: ignore[method-assign]
    profile = runs.profile(epochs=2, latency_samples=2, latency_batches=(3,), throughput_batches=(100,))
    measure.measure(work(runner, read(runs.SPEC)), profile, None, Noting(program.asked))
    kinds = [kind for kind, _ in program.asked]
    training, latency, throughput = (kinds.index(kind) for kind in ("training", "latency", "throughput"))
    assert program.asked[training] == ("training", 64)
    assert program.asked[training + 5] == ("end", 2 * 1437)
    assert kinds[training + 1 : training + 5] == ["train", "predict"] * 2
    assert kinds[latency:][:4] == ["latency", "infer", "infer", "end"]
    assert program.asked[latency + 3] == ("end", 2 * 3)
    passes = kinds[throughput:].count("predict")
    assert kinds[throughput:] == ["throughput", *["predict"] * passes, "end"]
    assert program.asked[-1] == ("end", 360 * passes)
    assert kinds[throughput - 3 : throughput] == ["predict"] * 3, "the warm-up comes before"


def test_queries_walk_through_the_images(read: Callable[[str], Spec]) -> None:
    program = Recorder(read(runs.SPEC))
    images = np.arange(7, dtype=np.float32).reshape(7, 1, 1, 1)
    taken = measure.latencies(program, images, 2, 4, 1)
    assert [value.ravel().tolist() for _, value in program.asked] == [[0, 1], [2, 3], [4, 5], [0, 1], [2, 3]]
    assert (taken.batch_size, len(taken.samples_ns), len(taken.warmup_ns)) == (2, 4, 1)


@pytest.mark.parametrize(("nanoseconds", "passes"), [(200_000_000, 5), (2_000_000_000, 3), (0, 7)])
def test_throughput_takes_as_many_passes_as_fill_its_span(
    read: Callable[[str], Spec], monkeypatch: pytest.MonkeyPatch, nanoseconds: int, passes: int
) -> None:
    """Three at the least, and not for ever where a pass takes no time."""
    monkeypatch.setattr(measure, "timed", lambda call, *arguments: (nanoseconds, call(*arguments)))
    monkeypatch.setattr(measure, "MOST_PASSES", 7)
    program = Recorder(read(runs.SPEC))
    program.stage("test", np.zeros((10, 8, 8, 1), np.float32), np.zeros(10, np.int32))
    taken = measure.throughputs(program, 10, 4, 1.0, 2)
    assert taken.samples_ns == (nanoseconds,) * passes
    assert taken.warmup_ns == (nanoseconds,) * 2
    assert program.asked == [("predict", ("test", 4))] * (2 + passes)


@pytest.mark.parametrize(
    ("images", "expected"),
    [(1437, 8 * 64 + 29), (64 * 20, 8 * 64), (64 * 3 + 5, 64 * 3 + 5), (40, 40)],
)
def test_a_warm_up_sees_every_batch_size_of_an_epoch(read: Callable[[str], Spec], images: int, expected: int) -> None:
    spec = read(runs.SPEC)
    smaller = spec.model_copy(update={"data": spec.data.model_copy(update={"train": images})})
    order = measure.warmup_order(smaller, 0)
    assert len(order) == expected
    assert len(set(order.tolist())) == expected
    assert order.flags.c_contiguous


def scores(loss: float | None, accuracy: float | None = None, penalty: float | None = 0.0) -> Scores:
    return Scores(loss=loss, penalty=penalty, accuracy=accuracy)


def watched(rule: EarlyStopping, *found: Scores) -> tuple[int, int | None]:
    """After how many epochs training stops, and which was the best."""
    watch = Watch(rule)
    for number, each in enumerate(found, 1):
        watch.improved(each)
        if watch.over:
            return number, watch.best_epoch
    return len(found) + 1, watch.best_epoch


def test_training_stops_when_patience_runs_out() -> None:
    falling = [scores(loss) for loss in (1.0, 0.8, 0.9, 0.85, 0.7)]
    assert watched(EarlyStopping(patience=1), *falling) == (3, 2)
    assert watched(EarlyStopping(patience=2), *falling) == (4, 2)
    assert watched(EarlyStopping(patience=3), *falling) == (6, 5)


def test_an_improvement_counts_only_beyond_min_delta() -> None:
    slow = [scores(loss) for loss in (1.0, 0.95, 0.9, 0.85)]
    assert watched(EarlyStopping(patience=2, min_delta=0.1), *slow) == (3, 1)
    assert watched(EarlyStopping(patience=3, min_delta=0.1), *slow) == (5, 4)


def test_accuracy_is_watched_upwards() -> None:
    rule = EarlyStopping(monitor="validation_accuracy", patience=2)
    assert watched(rule, *(scores(None, value) for value in (0.5, 0.9, 0.8, 0.7))) == (4, 2)


def test_the_loss_watched_includes_the_penalty() -> None:
    assert watched(EarlyStopping(patience=2), scores(1.0, penalty=0.0), scores(0.9, penalty=0.5)) == (3, 1)


def test_a_loss_that_is_no_number_is_never_the_best() -> None:
    nothing = scores(None)
    assert watched(EarlyStopping(patience=2), nothing, nothing, scores(1.0)) == (2, None)
    assert watched(EarlyStopping(patience=2), scores(1.0), nothing, scores(0.5), nothing) == (5, 3)


@pytest.mark.parametrize(("restore", "steps"), [(True, 2), (False, 4)])
def test_the_best_epochs_weights_come_back_if_the_spec_says_so(
    read: Callable[[str], Spec], monkeypatch: pytest.MonkeyPatch, restore: bool, steps: int
) -> None:
    class Counting(Recorder):
        """A program whose state counts its epochs."""

        def train(self, order: Any) -> float:
            self.load(State({}, {}, self.state().step + 1))
            return 0.0

    spec = read(HELD_OUT.replace("epochs: 2", "epochs: 9")).model_copy(
        update={"early_stopping": EarlyStopping(patience=2, restore_best=restore)}
    )
    losses = iter([1.0, 0.5, 0.6, 0.7])
    answers = {"validation": lambda: scores(next(losses)), "test": lambda: scores(0.0)}
    monkeypatch.setattr(measure, "evaluate", lambda program, spec, held, name, weights: answers[name]())
    program = Counting(spec)
    course = train(program, spec, 0, examples.of(spec, 0), None)
    assert (len(course.epochs), course.stopped_early, course.best_epoch) == (4, True, 2)
    assert course.diverged is None
    assert program.state().step == steps


class Diverging(Recorder):
    """A program that counts its epochs, and from some of them on gives what is not finite."""

    loss_from, outputs_from, weights_from = math.inf, math.inf, math.inf

    def train(self, order: Any) -> float:
        if len(order) > 1000:  # an epoch, not warm-up
            self.load(State(self.state().weights, {}, self.state().step + 1))
        return math.nan if self.state().step >= self.loss_from else 0.5

    def predict(self, split: str, batch_size: int) -> Any:
        outputs = super().predict(split, batch_size)
        return np.full_like(outputs, np.nan) if self.state().step >= self.outputs_from else outputs

    def state(self) -> State:
        held = super().state()
        lost = {name: np.full_like(value, np.inf) for name, value in held.weights.items()}
        return State(lost, {}, held.step) if held.step >= self.weights_from else held


def diverging(spec: Spec, **since: float) -> Training:
    """A training of ``spec`` whose loss, outputs or weights are not finite from an epoch on."""

    class Runner(null.Runner):
        def build(self, spec: Spec, mode: str, precision: Any) -> Recorder:
            program = Diverging(spec)
            for name, epoch in since.items():
                setattr(program, f"{name}_from", epoch)
            return program

    return measure.measure(work(Runner("cpu", THREADS, 0), spec), runs.profile(epochs=None)).training


def test_a_training_that_diverges_has_null_for_a_loss(read: Callable[[str], Spec]) -> None:
    taken = diverging(read(runs.SPEC), loss=1, outputs=1, weights=1)
    assert taken.epochs[0].train_loss is None
    assert taken.test == Scores(loss=None, penalty=0.0, accuracy=None)


@pytest.mark.parametrize(
    ("since", "told", "epochs"),
    [
        ({}, None, 4),
        ({"loss": 1, "outputs": 1, "weights": 1}, (1, What.TRAINING_LOSS, "weights"), 1),
        ({"loss": 4}, (4, What.TRAINING_LOSS, None), 4),
        ({"loss": 2}, (2, What.TRAINING_LOSS, None), 4),
        ({"weights": 3}, (3, What.WEIGHTS, "weights"), 3),
        ({"loss": 2, "weights": 3}, (2, What.TRAINING_LOSS, "weights"), 3),
        ({"outputs": 2}, (2, What.VALIDATION_LOSS, None), 4),
    ],
)
def test_what_is_not_finite_is_recorded_with_its_epoch_and_only_lost_weights_end_training(
    read: Callable[[str], Spec], since: dict[str, int], told: tuple[int, What, str] | None, epochs: int
) -> None:
    taken = diverging(read(HELD_OUT.replace("epochs: 2", "epochs: 4")), **since)
    found = taken.diverged
    assert (found and (found.epoch, found.what, found.ended)) == told
    assert (len(taken.epochs), taken.stopped_early) == (epochs, False)
    assert taken.weights.startswith("sha256:")


def test_a_test_loss_alone_can_diverge(read: Callable[[str], Spec]) -> None:
    found = diverging(read(runs.SPEC), outputs=2).diverged
    assert (found and (found.epoch, found.what)) == (2, What.TEST_LOSS)


@pytest.mark.parametrize("since", [{"loss": 1, "outputs": 1, "weights": 1}, {"outputs": 1}])
def test_early_stopping_that_ends_for_divergence_says_so(read: Callable[[str], Spec], since: dict[str, int]) -> None:
    """The spec's own rule ends it, patience and all, and there is no best epoch whose weights could come back."""
    spec = read(HELD_OUT.replace("epochs: 2", "epochs: 9"))
    spec = spec.replace(early_stopping=EarlyStopping(patience=2, restore_best=True))
    taken = diverging(spec, **since)
    assert (len(taken.epochs), taken.stopped_early, taken.best_epoch) == (2, True, None)
    assert taken.diverged
    assert (taken.diverged.epoch, taken.diverged.ended) == (1, "early stopping")


def test_the_best_epoch_before_divergence_comes_back_and_training_has_diverged(read: Callable[[str], Spec]) -> None:
    spec = read(HELD_OUT.replace("epochs: 2", "epochs: 9"))
    taken = diverging(
        spec.replace(early_stopping=EarlyStopping(patience=2, restore_best=True)), loss=2, outputs=2, weights=2
    )
    assert (len(taken.epochs), taken.best_epoch) == (3, 1)
    assert taken.test.loss is not None
    assert taken.diverged
    assert (taken.diverged.epoch, taken.diverged.ended) == (2, "early stopping")


def test_early_stopping_on_numbers_says_nothing_of_divergence(read: Callable[[str], Spec]) -> None:
    spec = read(HELD_OUT.replace("epochs: 2", "epochs: 9")).replace(early_stopping=EarlyStopping(patience=2))
    taken = diverging(spec)
    assert (taken.stopped_early, taken.best_epoch, taken.diverged) == (True, 1, None)
    lost = diverging(spec, loss=2)
    assert lost.diverged
    assert (lost.stopped_early, lost.diverged.ended) == (True, None), "what it watches was finite"


@pytest.mark.filterwarnings("ignore:overflow:RuntimeWarning", "ignore:invalid value:RuntimeWarning")
def test_running_statistics_count_among_the_weights(
    read: Callable[[str], Spec], monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = read(STATEFUL)
    assert by_reference(spec).training.diverged is None
    state = reference.Program.state

    def spoilt(self: reference.Program) -> State:
        held = state(self)
        held.weights["batch_norm_1/moving_variance"] = np.full(8, np.inf)
        return held

    assert "batch_norm_1/moving_variance" in spec.tensors
    monkeypatch.setattr(reference.Program, "state", spoilt)
    found = by_reference(spec, epochs=None).training
    assert found.diverged
    assert (found.diverged.epoch, found.diverged.what, len(found.epochs)) == (1, What.WEIGHTS, 1)


def test_the_compilers_cache_is_none_then_cold_then_warm(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    assert measure.compile_cache(kept=True) == "none"
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    assert measure.compile_cache(kept=True) == "cold"
    (tmp_path / "cache" / "a" / "b").mkdir(parents=True)
    assert measure.compile_cache(kept=True) == "warm"
    assert measure.compile_cache(kept=False) == "none"


AUGMENTED = runs.SPEC.replace("epochs: 2", "epochs: 3") + "augmentation: {crop: 1, flip: true}\n"


def test_where_each_epoch_has_its_own_images_they_are_staged_between_the_epochs(read: Callable[[str], Spec]) -> None:
    """Judged are the images as they are; with another seed they are others."""

    class Staging(Recorder):
        def stage(self, split: str, images: Any, targets: Any) -> None:
            self.asked.append(("stage", (split, initial.fingerprint({"": images}))))
            super().stage(split, images, targets)

    staged: dict[int, list[str]] = {}
    spec = read(AUGMENTED)
    for seed in (0, 1):
        program = Staging(spec)
        runner = Recording("cpu", THREADS, 0)
        runner.build = lambda *_, program=program: program  # type: ignore[method-assign, misc]
        measure.measure(work(runner, spec, "null", seed), runs.profile(epochs=None))
        kinds = [kind for kind, _ in program.asked]
        begin = kinds.index("train", kinds.index("predict"))
        assert kinds[begin:][:10] == ["train", "predict", "stage"] * 2 + ["train", "predict", "stage", "predict"]
        staged[seed] = [
            print_ for kind, (split, print_) in (a for a in program.asked if a[0] == "stage") if split == "train"
        ]
        held = examples.of(spec, seed)
        expected = [held.split("train", epoch).images for epoch in (0, 1, 2, None)]
        assert staged[seed] == [initial.fingerprint({"": images}) for images in expected]
    assert len({*staged[0], *staged[1]}) == 7


def test_a_stage_begins_with_what_it_inherits_and_the_rest_afresh(read: Callable[[str], Spec]) -> None:
    spec = read(STATEFUL + "starts_from: other\ninherits: [dense_1, batch_norm_1]\n")
    given = {name: np.full(t.shape, 0.25, np.float32) for name, t in spec.tensors.items()}
    own, begin = initial.weights(spec, 0), measure.start(spec, 0, given)
    assert {n for n in own if not (begin.weights[n] == own[n]).all()} == spec.inherited_names
    assert all((begin.weights[n] == 0.25).all() for n in spec.inherited_names)
    assert {value.dtype for value in begin.weights.values()} == {np.dtype(np.float64)}
    digests = measure.digests(spec, 0, given)
    assert digests.weights == initial.fingerprint(begin.weights) != measure.digests(spec, 0).weights
    kept: list[Any] = []
    frozen = spec.replace(frozen=("dense_1",))
    taken = measure.measure(
        work(reference.Runner("cpu", THREADS, 0), frozen, "numpy", inherited=given), runs.profile(), keep=kept.append
    )
    assert (kept[0]["dense_1/kernel"] == 0.25).all()
    assert not (kept[0]["batch_norm_1/gamma"] == 0.25).all()
    assert taken.training.weights == initial.fingerprint(kept[0])


def test_drawn_examples_have_a_fingerprint_and_the_data_sets_own_need_none(read: Callable[[str], Spec]) -> None:
    drawn = read(AUGMENTED)
    first, again, other = (by_reference(drawn, seed, epochs=1).training.examples for seed in (0, 0, 1))
    assert first == again != other
    split = examples.of(drawn, 0).split("train", 0)
    assert first == initial.fingerprint({"images": split.images, "targets": split.targets})
    assert by_reference(read(runs.SPEC), epochs=1).training.examples is None
