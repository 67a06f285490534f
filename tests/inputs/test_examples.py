"""The examples that each task makes of small arrays: what is in them, and that chance is the same for everyone."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.data import datasets
from suite.data.content import Arrays
from suite.errors import DataError
from suite.inputs import examples, initial
from suite.inputs.examples import Examples
from suite.spec import loading
from suite.spec.dataset import DatasetFacts
from suite.spec.recipe import Augmentation
from suite.spec.resolved import Spec
from suite.spec.tasks import detection, embedding
from tests.support import own

MakeSpec = Callable[..., Spec]
WORDS = 50
RANDOM = np.random.default_rng(0)


def arrays(facts: DatasetFacts, seed: int = 0) -> Arrays:
    """Random images or words of these facts."""
    random = np.random.default_rng(seed)

    def part(count: int) -> tuple[Any, Any]:
        kind = np.uint16 if facts.tokens else np.uint8
        pixels = random.integers(0, facts.max_value + 1, (count, *facts.image_shape)).astype(kind)
        return pixels, random.integers(1 if facts.tokens else 0, facts.classes, count)

    return Arrays(*part(facts.train), *part(facts.test), facts=facts, origin="made")


def facts(shape: tuple[int, ...] = (6, 5, 2), classes: int = 10, train: int = 300, test: int = 80) -> DatasetFacts:
    return DatasetFacts(
        name="made", image_shape=shape, classes=classes, train=train, test=test,
        max_value=classes - 1 if len(shape) == 1 else 255, digest="sha256:made",
    )  # fmt: skip


TEXT = facts((8,), WORDS)


def model(units: int, *layers: dict[str, Any]) -> list[dict[str, Any]]:
    return [*(layers or [{"layer": "flatten"}]), {"layer": "dense", "units": units}]


@pytest.fixture
def cbow(make_spec: MakeSpec) -> MakeSpec:
    def make(
        window: int = 2, negatives: int = 0, vocabulary: int = WORDS, data: DatasetFacts = TEXT, **more: Any
    ) -> Spec:
        size = {"vocabulary": vocabulary, "units": 4}
        layers = model(vocabulary, {"layer": "embedding", **size})
        drawing = {"model": [{"layer": "sampled_scores", "context": 2 * window, **size}], "target": "first"}
        changes = {**drawing, "loss": "sigmoid_cross_entropy"} if negatives else {"model": layers}
        task = {"kind": "embedding", "window": window, "negatives": negatives}
        return make_spec(data=TEXT, task=task, **{**changes, **more})

    return make


def test_every_image_is_in_one_split(make_spec: MakeSpec) -> None:
    spec = make_spec(data=facts(), validation_fraction=0.2)
    made = arrays(spec.data)
    held = Examples(spec, 0, made)
    assert (held.names, held.learnt, held.renewed) == (("train", "validation", "test"), "train", False)
    assert not held.drawn
    assert [held.count(name) for name in held.names] == [240, 60, 80]
    train, test = held.split("train"), held.split("test")
    both = np.concatenate([train.images, held.split("validation").images])
    assert sorted(map(bytes, both)) == sorted(map(bytes, initial.images(spec, made.train_images)))
    assert (test.images == initial.images(spec, made.test_images)).all()
    assert test.targets.tolist() == test.labels.tolist() == made.test_labels.tolist()
    assert {held.judged(name) for name in held.names} == {None}
    assert Examples(make_spec(data=facts()), 0, made).names == ("train", "test")


def test_other_data_than_those_planned_with_are_refused(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    made = arrays(facts())
    changed = replace(made, facts=made.facts.model_copy(update={"digest": "sha256:other"}))
    monkeypatch.setattr(datasets, "load", lambda _: changed)
    examples._arrays.cache_clear()
    with pytest.raises(DataError, match="not the data set that the run was planned with"):
        examples.of(make_spec(data=facts()), 0)
    examples._arrays.cache_clear()


def test_ones_own_data_that_changed_or_went_since_the_plan_are_told_in_words(tmp_path: Path) -> None:
    path = own.arrays(tmp_path / "data" / "own.npz")
    (spec,) = loading.load(own.spec(tmp_path / "base.yaml"), datasets.describe)
    own.arrays(path, seed=1)
    examples._arrays.cache_clear()
    examples._kept.clear()  # of the same data, which another test may have had
    with pytest.raises(DataError, match=r"its digest is .*, the plan's is ") as caught:
        examples.of(spec, 0)
    assert spec.data.digest.removeprefix("sha256:")[:12] in caught.value.what
    assert (caught.value.where, "plans anew" in caught.value.way_out) == (str(path), True)
    path.unlink()
    examples._arrays.cache_clear()
    with pytest.raises(DataError, match="no such file, though it could be read when the run was planned") as caught:
        examples.of(spec, 0)
    assert caught.value.where == str(path)


def test_an_anomaly_detector_is_trained_and_validated_on_normal_images_alone(make_spec: MakeSpec) -> None:
    made = arrays(facts())
    counted = made.facts.model_copy(
        update={"train_counts": tuple(np.bincount(made.train_labels, minlength=10).tolist())}
    )
    made = replace(made, facts=counted)
    spec = make_spec(
        data=counted, target="input", loss="mean_squared_error", model=model(60), validation_fraction=0.25,
        task={"kind": "anomaly", "normal": [3, 1, 4]},
    )  # fmt: skip
    held = Examples(spec, 0, made)
    labels = {name: held.labels(name).tolist() for name in held.names}
    assert {*labels["train"], *labels["validation"]} == {1, 3, 4}
    assert len(labels["train"]) == spec.train_images
    assert len(labels["validation"]) == spec.validation_images
    normal = np.isin(made.train_labels, [1, 3, 4])
    both = np.concatenate([held.split("train").images, held.split("validation").images])
    assert sorted(map(bytes, both)) == sorted(map(bytes, initial.images(spec, made.train_images[normal])))
    assert labels["test"] == made.test_labels.tolist()
    train = held.split("train")
    assert (train.targets == train.images.reshape(len(train.images), 60)).all()


def test_targets_come_in_parts_as_they_are_whole(make_spec: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    made = arrays(facts())
    monkeypatch.setattr(examples, "PART", 700)
    detecting = {"kind": "detection", "canvas": 9}
    for spec, size in (
        (make_spec(data=facts()), 70),
        (make_spec(data=facts(), target="input", loss="mean_squared_error", model=model(60)), 11),
        (make_spec(data=facts(), target="one_hot", loss="mean_squared_error"), 70),
        (make_spec(data=facts(), target="boxes", loss="detection", model=model(14), task=detecting), 50),
    ):
        held = Examples(spec, 0, made)
        whole, parts = held.split("test"), list(held.parts("test"))
        assert len(parts[0][1]) == size
        assert [part.start for part, _, _ in parts] == list(range(0, 80, size))
        assert (np.concatenate([targets for _, targets, _ in parts]) == whole.targets).all()
        assert parts[0][1].dtype == whole.targets.dtype
        assert np.concatenate([labels for _, _, labels in parts]).tolist() == whole.labels.tolist()


@pytest.mark.parametrize("window", [1, 3, 4])
def test_the_inner_words_are_the_context(cbow: MakeSpec, window: int) -> None:
    spec = cbow(window)
    made = arrays(TEXT)
    split = Examples(spec, 0, made).split("test")
    assert split.images.dtype == np.int32
    assert split.images.tolist() == made.test_images[:, 4 - window : 4 + window].tolist()
    assert split.targets.tolist() == made.test_labels.tolist()


def test_the_first_examples_of_a_split_are_those_of_the_whole_as_it_is_judged(make_spec: MakeSpec) -> None:
    held = Examples(make_spec(data=facts(), augmentation={"flip": True}), 0, arrays(facts()))
    some, whole = held.some("train", 3), held.split("train")
    assert len(some.images) == 3
    assert (some.images == whole.images[:3]).all()
    assert (some.labels == whole.labels[:3]).all()


def test_words_to_be_classified_stay_words(make_spec: MakeSpec) -> None:
    layers = model(WORDS, {"layer": "embedding", "vocabulary": WORDS, "units": 4})
    spec, made = make_spec(data=TEXT, model=layers), arrays(TEXT)
    inputs = Examples(spec, 0, made).split("test").images
    assert inputs.dtype == np.int32
    assert np.array_equal(inputs, made.test_images)


def test_the_true_word_stands_first_among_those_drawn(cbow: MakeSpec) -> None:
    spec = cbow(2, 5)
    made = arrays(TEXT)
    held = Examples(spec, 7, made)
    assert held.renewed
    for name in ("train", "test"):
        split = held.split(name)
        assert (split.images.dtype, split.images.shape[1]) == (np.int32, 10)
        assert (split.images[:, 4] == held.labels(name)).all()
        assert not (split.images[:, 5:] == split.images[:, 4:5]).any()
        assert split.targets.tolist() == [[1, 0, 0, 0, 0, 0]] * len(split.images)
        assert split.targets.dtype == np.float32
        assert (split.images[:, 5:] > 0).all(), "word 0 is never a class, and so never drawn"


def test_words_are_drawn_anew_in_each_epoch_and_once_to_be_judged(cbow: MakeSpec) -> None:
    spec, made = cbow(2, 5), arrays(TEXT)
    held, other = Examples(spec, 7, made), Examples(spec, 8, made)
    drawn = {(seed, epoch): h.split("train", epoch).images[:, 5:].tobytes()
             for seed, h in ((7, held), (8, other)) for epoch in (0, 1, None)}  # fmt: skip
    assert drawn[7, None] == drawn[8, None]
    assert len(set(drawn.values())) == 5
    assert (held.split("test").images == other.split("test").images).all()
    again = Examples(spec, 7, made).split("train", 1).images[:, 5:].tobytes()
    assert again == drawn[7, 1]


def test_words_are_drawn_by_their_counts_to_the_power_of_three_quarters() -> None:
    counts = np.array([0, 1, 16, 81, 256])
    weights = np.rint(1024 * counts**0.75).astype(np.int64)
    drawn = embedding.drawn_words(np.full(40_000, 2), 5, weights, initial.stream(0, "test"))
    found = np.bincount(drawn.ravel(), minlength=5) / drawn.size
    expected = np.array([0, 1, 0, 27, 64]) / 92
    assert found[0] == found[2] == 0
    assert np.abs(found - expected).max() < 4 * np.sqrt(0.25 / drawn.size)


def test_each_word_but_the_true_one_can_be_drawn_at_either_end() -> None:
    """Two words, so that every draw is forced."""
    words = np.array([1, 2] * 50)
    drawn = embedding.drawn_words(words, 3, np.array([0, 5, 7, 0]), initial.stream(0, "test"))
    assert (drawn == 3 - words[:, None]).all()


def test_a_text_of_one_word_has_no_other_to_draw(cbow: MakeSpec) -> None:
    made = arrays(TEXT)
    with pytest.raises(DataError, match="no other word"):
        Examples(cbow(2, 5), 0, replace(made, train_labels=np.ones_like(made.train_labels)))


def test_where_outputs_are_wide_a_sample_stands_for_each_split(cbow: MakeSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(examples, "WIDE", WORDS - 1)
    monkeypatch.setattr(examples, "JUDGED", 50)
    spec, made = cbow(2, validation_fraction=0.1), arrays(TEXT)
    held = Examples(spec, 0, made)
    assert held.names == ("train", "validation", "test", "sample")
    assert [held.count(name) for name in held.names] == [270, 30, 50, 50]
    assert [held.judged(name) for name in held.names] == [None, None, 50, 50]
    assert held.learnt == "sample"
    sample, train, test = (held.split(name) for name in ("sample", "train", "test"))
    known = {bytes(row): label for row, label in zip(train.images, train.labels, strict=True)}
    assert all(known[bytes(row)] == label for row, label in zip(sample.images, sample.labels, strict=True))
    assert len({bytes(row) for row in sample.images}) == 50
    whole = [*map(bytes, made.test_images[:, 2:6].astype(np.int32))]
    places = [whole.index(bytes(row)) for row in test.images]
    assert places == sorted(places)
    assert places != list(range(50)), "not the first ones"
    assert (Examples(spec, 3, made).split("test").images == test.images).all()


def test_an_object_lies_whole_on_its_canvas_and_its_box_is_around_its_light(make_spec: MakeSpec) -> None:
    made = arrays(facts())
    made.test_images[:, 0], made.test_images[:, :, -1] = 0, 0  # a dark first row and last column
    made.test_images[0] = 0
    spec = make_spec(
        data=facts(), target="boxes", loss="detection", model=model(14), task={"kind": "detection", "canvas": 9},
        validation_fraction=0.2,
    )  # fmt: skip
    held = Examples(spec, 0, made)
    test = held.split("test")
    assert test.images.shape == (80, 9, 9, 2)
    assert (test.targets.shape, test.targets.dtype) == ((80, 5), np.float32)
    assert test.targets[:, 0].tolist() == made.test_labels.tolist()
    places = set()
    for image, (_, x, y, width, height), pixels in zip(test.images, test.targets, made.test_images, strict=True):
        left, top = round(float(x) * 9), round(float(y) * 9)
        places.add((left, top))
        if not pixels.any():
            assert (width, height) == (0, 0)
            continue
        assert (round(float(width) * 9), round(float(height) * 9)) == (4, 5)
        whole = np.zeros((9, 9, 2), np.uint8)
        whole[top - 1 : top + 5, left : left + 5] = pixels
        assert (image == initial.images(spec, whole[None])[0]).all()
    assert len(places) > 10
    assert (Examples(spec, 5, made).split("test").images == test.images).all()
    plain = Examples(spec.replace(validation_fraction=0.0), 0, made).split("train")
    moved = {bytes(image): bytes(box) for image, box in zip(plain.images, plain.targets, strict=True)}
    for name in ("train", "validation"):
        split = held.split(name)
        for image, box in zip(split.images, split.targets, strict=True):
            assert moved[bytes(image)] == bytes(box), "an image keeps its place, whichever split it falls into"


def test_a_box_follows_its_pixels_by_hand() -> None:
    pixels = np.zeros((1, 3, 4, 1), np.uint8)
    pixels[0, 1, 1:3] = 7
    assert detection.bounds(pixels, np.array([[2, 5]]), 10).tolist() == [[0.6, 0.3, 0.2, 0.1]]


def test_a_crop_shifts_an_image_over_black_by_no_more_than_is_asked() -> None:
    pixels = RANDOM.integers(1, 256, (400, 6, 5, 3)).astype(np.uint8)
    found = examples.augmented(pixels, Augmentation(crop=2), initial.stream(0, "test"))
    padded = np.pad(pixels, ((0, 0), (2, 2), (2, 2), (0, 0)))
    places = set()
    for image, whole in zip(found, padded, strict=True):
        here = [(t, l) for t in range(5) for l in range(5) if (whole[t : t + 6, l : l + 5] == image).all()]  # noqa: E741
        assert len(here) == 1
        places.add(here[0])
    assert len(places) == 25
    assert found.flags.c_contiguous


def test_about_half_of_the_images_are_mirrored() -> None:
    pixels = RANDOM.integers(1, 256, (400, 6, 5, 3)).astype(np.uint8)
    found = examples.augmented(pixels, Augmentation(flip=True), initial.stream(0, "test"))
    turned = (found == pixels[:, :, ::-1]).all(axis=(1, 2, 3))
    assert (turned | (found == pixels).all(axis=(1, 2, 3))).all()
    assert 150 < turned.sum() < 250


def test_augmentation_is_of_the_training_images_alone_and_another_in_each_epoch(make_spec: MakeSpec) -> None:
    spec = make_spec(data=facts(), augmentation={"crop": 1, "flip": True}, validation_fraction=0.2)
    plain = make_spec(data=facts(), validation_fraction=0.2)
    held, other, bare = (Examples(*each, arrays(facts())) for each in ((spec, 0), (spec, 1), (plain, 0)))
    assert held.renewed
    assert held.drawn
    for name in held.names:
        assert (held.split(name).images == bare.split(name).images).all()
    made = {h.split("train", epoch).images.tobytes() for h in (held, other) for epoch in (0, 1)}
    assert len(made) == 4
    assert held.split("train", 1).images.tobytes() in made
    assert (held.split("train", 1).labels == bare.split("train").labels).all()
