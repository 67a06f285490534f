"""A user's own arrays in the forms that people have them: labels of any kind, other names and types, channels first."""

import json
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from suite.data import classes, content, datasets, mending, pixels
from suite.errors import DataError, SpecError
from suite.inputs import examples
from suite.spec import loading
from suite.spec.resolved import Spec

Array = NDArray[Any]
SPEC: dict[str, Any] = {
    "name": "own",
    "model": [{"layer": "flatten"}, {"layer": "dense", "units": 3}],
    "optimizer": {"name": "adam"},
    "batch_size": 4,
    "epochs": 1,
}


def images(count: int, *shape: int) -> Array:
    return np.random.default_rng(count).integers(0, 256, (count, *(shape or (8, 8))), np.uint8)


def written(folder: Path, name: str = "own", **changed: Any) -> Path:
    """A file of 12 + 6 images of three classes."""
    arrays = {
        "train_images": images(12),
        "train_labels": np.arange(12) % 3,
        "test_images": images(6),
        "test_labels": np.arange(6) % 3,
    } | changed
    path = folder / f"{name}.npz"
    np.savez(path, **{key: value for key, value in arrays.items() if value is not None})
    return path


def spec(path: Path, **fields: Any) -> Spec:
    file = path.with_suffix(".yaml")
    file.write_text(json.dumps({**SPEC, "dataset": f"npz:{path}", **fields}))
    return loading.load(file, datasets.describe)[0]


def hot(labels: Array, columns: int = 3) -> Array:
    return np.eye(columns, dtype=np.uint8)[labels]


TWELVE, SIX = np.arange(12) % 3, np.arange(6) % 3


def each(names: list[Any]) -> tuple[Array, Array]:
    """Three labels in turn, in both parts."""
    return np.array(names)[TWELVE], np.array(names)[SIX]


FORMS: dict[str, tuple[Array, Array, str, tuple[str, ...]]] = {
    "from one": (TWELVE + 1, SIX + 1, "whole numbers from 1 to 3", ("1", "2", "3")),
    "below 0": (TWELVE - 1, SIX - 1, "whole numbers from -1 to 1", ("-1", "0", "1")),
    "minus one and one": (TWELVE // 2 * 2 - 1, SIX // 2 * 2 - 1, "whole numbers -1, 1", ("-1", "1")),
    "left out": (*each([3, 7, 200]), "whole numbers 3, 7, 200", ("3", "7", "200")),
    "left out, one": (*each([0, 1, 3]), "whole numbers 0, 1, 3", ("0", "1", "3")),
    "large": (*each([np.uint64(2**64 - 3 + i) for i in range(3)]), "18446744073709551615", ("18446744073709551613",)),
    "of two types": (TWELVE.astype(np.uint64) + 5, SIX.astype(np.int64) + 5, "from 5 to 7", ("5", "6", "7")),
    "a column": (TWELVE[:, None], SIX[:, None], "of shape (12, 1)", ("0", "1", "2")),
    "a column of the test alone": (TWELVE, SIX[:, None], "of shape (6, 1)", ("0", "1", "2")),
    "whole floats": (TWELVE.astype(np.float32), SIX.astype(np.float32), "float32 numbers", ("0", "1", "2")),
    "truth values": (TWELVE > 0, SIX > 0, "truth values", ("0", "1")),
    "one-hot": (hot(TWELVE), hot(SIX), "one-hot rows of shape (12, 3)", ("0", "1", "2")),
    "one-hot floats": (hot(TWELVE).astype(float), hot(SIX).astype(float), "one-hot rows", ("0", "1", "2")),
    "one-hot, one that nobody has": (hot(TWELVE, 5), hot(SIX, 5), "one-hot rows", ("0", "1", "2", "3", "4")),
    "texts": (*each(["cat", "ape", "dog"]), "texts: ape, cat, dog", ("ape", "cat", "dog")),
    "bytes": (*each([b"b", b"a", b"c"]), "texts: a, b, c", ("a", "b", "c")),
}  # fmt: skip


@pytest.mark.parametrize("form", FORMS)
def test_labels_that_are_no_classes_are_told_and_mapped_when_asked(form: str, tmp_path: Path) -> None:
    train, test, are, names = FORMS[form]
    path = written(tmp_path, train_labels=train, test_labels=test)
    facts = datasets.describe(f"npz:{path}")
    units = [{"layer": "flatten"}, {"layer": "dense", "units": facts.classes}]
    with pytest.raises(SpecError) as caught:
        spec(path, model=units)
    told = str(caught.value)
    assert f"{path.with_suffix('.yaml')}: dataset: the labels of npz:{path} are " in told
    assert are in told
    assert "State `labels: map`" in told
    assert "units" not in told
    made = spec(path, model=units, labels="map")
    assert made.data.class_names
    assert made.data.class_names[: len(names)] == names
    loaded = datasets.load(f"npz:{path}")
    for mine, given in ((loaded.train_labels, train), (loaded.test_labels, test)):
        assert mine.dtype == np.int64
        flat = given.argmax(axis=1) if given.ndim == 2 and given.shape[1] > 1 else given.reshape(-1)
        back = [made.data.class_names[number] for number in mine]
        assert back == [each.decode() if isinstance(each, bytes) else str(int(each) if form == "truth values" or
                        form == "whole floats" else each) for each in flat.tolist()]  # fmt: skip


def test_classes_from_0_need_no_mapping_and_may_ask_for_it(tmp_path: Path) -> None:
    path = written(tmp_path)
    plain, mapped = spec(path), spec(path, labels="map")
    assert plain.data == mapped.data
    assert plain.data.class_names is None
    assert plain.digest != mapped.digest
    assert plain.computation == mapped.computation


def test_a_mapping_belongs_to_the_digest_of_the_data(tmp_path: Path) -> None:
    one = datasets.describe(f"npz:{written(tmp_path, 'one')}")
    two = datasets.describe(f"npz:{written(tmp_path, 'two', train_labels=TWELVE + 1, test_labels=SIX + 1)}")
    assert one.digest != two.digest
    assert one.train_counts == two.train_counts == (4, 4, 4)


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        (TWELVE / 2, SIX / 2, r"train_labels: is float64 that is not whole, 0 to 1: such a number is no class"),
        (np.full(12, np.nan), SIX, "train_labels: is float64 that is not whole: such"),
        (hot(TWELVE) * 2, hot(SIX), r"train_labels: is numbers of shape \(12, 3\), expected one class to an image"),
        (hot(TWELVE) | hot((TWELVE + 1) % 3), hot(SIX), "or none\n  The suite has no multi-label"),
        (np.zeros((12, 3), int), hot(SIX), "train_labels: holds rows of 0 to 0 ones"),
        (np.array(["a", "b", "c"])[TWELVE], SIX, "test_labels: is whole numbers, train_labels texts"),
        (np.array(["a", "", "c"])[TWELVE], np.array(["a", "", "c"])[SIX], "train_labels: holds texts that are empty"),
        (np.array(["a", "x" * 65, "c"])[TWELVE], np.array(["a"] * 6), "train_labels: holds texts .* over 64 letters"),
        (np.array(["a", "\x1b[1m", "c"])[TWELVE], np.array(["a"] * 6), "not to be printed"),
        (np.array([b"a", b"\xff", b"c"])[TWELVE], np.array([b"a"] * 6), "train_labels: holds texts that are not UTF-8"),
        (TWELVE[:11], SIX, "train_labels: has 11 labels for 12 images"),
    ],
)  # fmt: skip
def test_labels_that_can_be_no_classes_are_refused(train: Array, test: Array, told: str, tmp_path: Path) -> None:
    path = written(tmp_path, train_labels=train, test_labels=test)
    with pytest.raises(DataError, match=told):
        datasets.describe(f"npz:{path}")


def test_very_many_labels_are_not_mapped(tmp_path: Path) -> None:
    many = np.arange(1002) * 2
    with pytest.raises(DataError, match="which is 1,002 different ones; at most 1,000 are mapped"):
        classes.read(many, many, "own.npz")
    assert classes.read(np.arange(classes.MOST), np.arange(3), "own.npz").classes == classes.MOST
    with pytest.raises(DataError, match="65,537 different labels"):
        classes.read(np.arange(classes.MOST + 1), np.arange(3), "own.npz")


def test_a_class_of_the_test_alone_is_named(tmp_path: Path) -> None:
    path = written(tmp_path, test_labels=np.array([0, 1, 2, 3, 3, 1]))
    four = [{"layer": "flatten"}, {"layer": "dense", "units": 4}]
    said = "class 3 occurs in the test alone, in 2 of its 6 images: nothing can learn what no training image shows."
    assert spec(path, model=four).cautions == (f"Of npz:own.npz {said}",)
    with pytest.raises(SpecError, match=r"class 3 occurs in the test alone, .* Let its last dense layer have 4 units"):
        spec(path)
    named = written(tmp_path, "named", train_labels=TWELVE + 1, test_labels=np.array([1, 2, 3, 9, 9, 8]))
    five = [{"layer": "flatten"}, {"layer": "dense", "units": 5}]
    (told,) = spec(named, model=five, labels="map").cautions
    assert "classes 8, 9 occur in the test alone, in 3 of its 6 images" in told
    anomaly = {"kind": "anomaly", "normal": [1, 2, 3]}
    rebuilt = [{"layer": "flatten"}, {"layer": "dense", "units": 64}]
    fields = {"model": rebuilt, "labels": "map", "task": anomaly, "target": "input", "loss": "mean_squared_error"}
    assert spec(named, **fields).cautions == ()


def test_normal_classes_are_named_as_the_data_have_them(tmp_path: Path) -> None:
    names = np.array(["cat", "ape", "dog"])
    path = written(tmp_path, train_labels=names[TWELVE], test_labels=names[SIX])
    fields: dict[str, Any] = {
        "model": [{"layer": "flatten"}, {"layer": "dense", "units": 64}],
        "labels": "map", "target": "input", "loss": "mean_squared_error",
    }  # fmt: skip
    made = spec(path, **fields, task={"kind": "anomaly", "normal": ["dog", "cat"]})
    assert (made.trained_classes, made.usable_images) == ((1, 2), 8)
    held = examples.Examples(made, 0, datasets.load(f"npz:{path}"))
    assert set(held.labels("train").tolist()) == {1, 2}
    with pytest.raises(SpecError, match=r"some, not all, of the classes ape to dog\n  There are: ape, cat, dog."):
        spec(path, **fields, task={"kind": "anomaly", "normal": ["dgo"]})
    with pytest.raises(SpecError, match=r"task.normal\[0\]: must be a class as the labels have it"):
        spec(path, **fields, task={"kind": "anomaly", "normal": [1.5]})
    numbered = written(tmp_path, "numbered", train_labels=TWELVE - 7, test_labels=SIX - 7)
    assert spec(numbered, **fields, task={"kind": "anomaly", "normal": [-7]}).trained_classes == (0,)


@pytest.mark.parametrize(
    ("fields", "wanted"),
    [
        ({}, [0, 1, 2]),
        ({"target": "one_hot", "loss": "mean_squared_error"}, np.eye(3).tolist()),
        ({"target": "boxes", "loss": "detection", "task": {"kind": "detection", "canvas": 9},
          "model": [{"layer": "flatten"}, {"layer": "dense", "units": 7}]}, None),
    ],
)  # fmt: skip
def test_every_target_is_made_of_the_mapped_classes(fields: dict[str, Any], wanted: Any, tmp_path: Path) -> None:
    path = written(tmp_path, train_labels=TWELVE * 10 + 5, test_labels=SIX * 10 + 5)
    held = examples.Examples(spec(path, labels="map", **fields), 0, datasets.load(f"npz:{path}"))
    targets = held.split("test").targets
    if wanted is None:
        assert targets[:3, 0].tolist() == [0, 1, 2]
    else:
        assert targets[:3].tolist() == wanted


@pytest.mark.parametrize("names", mending.SAME)
def test_the_names_of_keras_are_taken_and_nothing_is_lost(names: tuple[str, ...], tmp_path: Path) -> None:
    plain = datasets.describe(f"npz:{written(tmp_path)}")
    four = np.load(tmp_path / "own.npz")
    path = tmp_path / "other.npz"
    np.savez(path, **dict(zip(names, (four[name] for name in content.NAMES), strict=True)))
    assert datasets.describe(f"npz:{path}").digest == plain.digest


def commands(told: str) -> list[str]:
    """The commands that a message offers."""
    found = []
    for part in told.split("python -c ")[1:]:
        code = shlex.split(part.partition("'")[1] + part.partition("'")[2].partition("'")[0] + "'")[0]
        found.append(code)
    return found


def mended(path: Path, which: int = 0) -> Path:
    """What is refused is mended by the command in the message."""
    with pytest.raises(DataError) as caught:
        datasets.describe(f"npz:{path}")
    code = commands(caught.value.way_out)[which]
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
    return path.with_name(f"{path.stem}-parity.npz")


def medmnist(folder: Path) -> Path:
    return written(folder, train_labels=TWELVE[:, None], test_labels=SIX[:, None], val_images=images(5),
                   val_labels=(np.arange(5) % 3)[:, None])  # fmt: skip


def test_a_third_part_is_told_and_either_way_works(tmp_path: Path) -> None:
    path = medmnist(tmp_path)
    joined = datasets.load(f"npz:{mended(path)}")
    assert (joined.facts.train, joined.facts.test, joined.facts.labels_are) == (17, 6, None)
    np.testing.assert_array_equal(joined.train_images[12:, ..., 0], images(5))
    left_out = datasets.load(f"npz:{mended(path, 1)}")
    assert (left_out.facts.train, left_out.facts.test) == (12, 6)


def test_names_that_can_be_guessed_are_mended_and_others_are_not(tmp_path: Path) -> None:
    four = dict(np.load(written(tmp_path)))
    guessed = tmp_path / "it's guessed.npz"
    np.savez(guessed, **dict(zip(("training-data", "train_y", "testX", "test_target"), four.values(), strict=True)))
    with pytest.raises(DataError, match="must hold exactly train_images"):
        datasets.describe(f"npz:{guessed}")
    plain = tmp_path / "plain.npz"
    np.savez(plain, **dict(zip(("training-data", "train_y", "test_x", "test_target"), four.values(), strict=True)))
    assert datasets.describe(f"npz:{mended(plain)}").digest == datasets.describe(f"npz:{tmp_path / 'own.npz'}").digest
    unnamed = tmp_path / "unnamed.npz"
    np.savez(unnamed, *four.values())
    with pytest.raises(DataError, match=r"it holds arr_0, arr_1, arr_2, arr_3\n  Write it with numpy.savez"):
        datasets.describe(f"npz:{unnamed}")


BYTES = images(12), images(6)
ODD: dict[str, tuple[Any, str, bool]] = {
    "floats that were bytes": (
        lambda a: a.astype(np.float32) / 255,
        "without loss: they were bytes; `input_range: [0",
        True,
    ),
    "whole floats": (lambda a: a.astype(np.float64), "without loss: they were bytes", True),
    "centred floats": (lambda a: (a / 127.5 - 1).astype(np.float32), "`input_range: [-1, 1]`", True),
    "wide bytes": (lambda a: a.astype(np.int64), "This makes bytes of them, without loss", True),
    "16 bits that were 8": (lambda a: a.astype(np.uint16) * 257, "0 to 65535, without loss: they were bytes", True),
    "signed bytes": (
        lambda a: (a.astype(np.int16) - 128).astype(np.int8),
        "moves them to 0 to 255, without loss",
        True,
    ),
    "floats": (lambda a: (a + 0.3) / 256, "of which 256 levels stay", False),
    "floats to 255": (lambda a: a * 0.99, "of which 256 levels stay", False),
    "16 bits": (lambda a: a.astype(np.uint16) * 256 + 7, "of which 256 levels of 65,536 stay", False),
    "12 bits": (lambda a: a.astype(np.uint16) * 16 + 7, "of values 0 to 4095", False),
}


@pytest.mark.parametrize("form", ODD)
def test_pixels_of_another_type_are_refused_with_the_way_to_bytes_and_what_it_loses(form: str, tmp_path: Path) -> None:
    make, told, exact = ODD[form]
    path = written(tmp_path, train_images=make(BYTES[0]), test_images=make(BYTES[1]))
    with pytest.raises(DataError) as caught:
        datasets.describe(f"npz:{path}")
    assert told in caught.value.way_out
    got = datasets.load(f"npz:{mended(path)}").train_images[..., 0].astype(int)
    assert np.abs(got - BYTES[0]).max() <= (0 if exact else 3)


def test_pixels_that_nobody_can_map_are_refused_without_a_guess(tmp_path: Path) -> None:
    for number, (make, told) in enumerate(
        [
            (lambda a: (a - 128.0) / 40, "look normalised. Write the bytes"),
            (lambda a: a / 40, "look normalised. Write the bytes"),
            (lambda a: np.where(a > 250, np.nan, a / 255), "no finite numbers"),
            (lambda a: a.astype(np.int32) - 5000, "no byte for each"),
            (lambda a: a.astype(np.int32) * 10**6, "no byte for each"),
        ]
    ):
        path = written(tmp_path, f"odd-{number}", train_images=make(BYTES[0]), test_images=make(BYTES[1]))
        with pytest.raises(DataError) as caught:
            datasets.describe(f"npz:{path}")
        assert told in caught.value.way_out
        assert "python -c" not in caught.value.way_out


def test_black_and_white_becomes_0_and_255(tmp_path: Path) -> None:
    path = written(tmp_path, train_images=BYTES[0] > 99, test_images=BYTES[1] > 99)
    got = datasets.load(f"npz:{mended(path)}").train_images
    np.testing.assert_array_equal(got[..., 0], np.where(BYTES[0] > 99, 255, 0))


FIRST = [
    (3, 8, 8), (1, 28, 28), (3, 32, 32), (3, 224, 224), (3, 480, 640), (1, 64, 400), (3, 20, 64), (4, 64, 64),
    (1, 32, 20),
]  # fmt: skip
LAST = [
    (3, 3, 3), (1, 28, 1), (28, 28, 1), (8, 8, 8), (3, 8, 3), (3, 32, 1), (1, 128, 9), (1, 512, 12), (3, 3, 8),
    (4, 8, 8), (4, 64, 3), (3, 100, 7), (2, 8, 8), (1, 1, 30), (1, 3, 30), (32, 32, 3), (5, 8, 8), (3, 224, 4),
]  # fmt: skip


@pytest.mark.parametrize("shape", FIRST)
def test_channels_first_are_seen_where_nothing_else_can_be_meant(shape: tuple[int, int, int]) -> None:
    assert pixels.channels_first((100, *shape))


@pytest.mark.parametrize("shape", LAST)
def test_what_may_be_channels_last_is_taken_so(shape: tuple[int, int, int]) -> None:
    assert not pixels.channels_first((100, *shape))


@pytest.mark.parametrize("shape", [(3, 8, 8), (1, 8, 8), (3, 8, 12)])
def test_channels_first_are_refused_with_the_transposition(shape: tuple[int, ...], tmp_path: Path) -> None:
    given = images(12, *shape)
    path = written(tmp_path, train_images=given, test_images=images(6, *shape))
    with pytest.raises(DataError, match=rf"is of shape \(12, {shape[0]}, .* expected uint8") as caught:
        datasets.describe(f"npz:{path}")
    assert f"{shape[1]} x {shape[2]} pixels, channels first" in caught.value.way_out
    np.testing.assert_array_equal(datasets.load(f"npz:{mended(path)}").train_images, given.transpose(0, 2, 3, 1))


def test_a_row_of_three_by_32_is_a_grey_image(tmp_path: Path) -> None:
    path = written(tmp_path, train_images=images(12, 3, 32), test_images=images(6, 3, 32))
    assert datasets.describe(f"npz:{path}").image_shape == (3, 32, 1)


def test_two_troubles_are_mended_by_one_command(tmp_path: Path) -> None:
    given = images(12, 3, 8, 8)
    changed = {"train_images": given / 255, "test_images": images(6, 3, 8, 8) / 255, "train_labels": TWELVE[:, None],
               "test_labels": SIX[:, None]}  # fmt: skip
    loaded = datasets.load(f"npz:{mended(written(tmp_path, **changed))}")
    np.testing.assert_array_equal(loaded.train_images, given.transpose(0, 2, 3, 1))
    assert loaded.facts.labels_are is None


def test_flat_rows_and_images_last_are_told_with_the_way_to_images(tmp_path: Path) -> None:
    flat = written(tmp_path, "flat", train_images=BYTES[0].reshape(12, -1), test_images=BYTES[1].reshape(6, -1))
    np.testing.assert_array_equal(datasets.load(f"npz:{mended(flat)}").train_images[..., 0], BYTES[0])
    colour = images(12, 3, 8, 8), images(6, 3, 8, 8)
    planes = written(tmp_path, "planes", train_images=colour[0].reshape(12, -1), test_images=colour[1].reshape(6, -1))
    np.testing.assert_array_equal(datasets.load(f"npz:{mended(planes)}").train_images, colour[0].transpose(0, 2, 3, 1))
    table = written(tmp_path, "table", train_images=images(12, 7), test_images=images(6, 7))
    assert datasets.describe(f"npz:{mended(table)}").image_shape == (1, 7, 1)
    matlab = [one.transpose(2, 3, 1, 0) for one in colour]
    last = written(tmp_path, "last", train_images=matlab[0], test_images=matlab[1])
    np.testing.assert_array_equal(datasets.load(f"npz:{mended(last)}").train_images, colour[0].transpose(0, 2, 3, 1))
