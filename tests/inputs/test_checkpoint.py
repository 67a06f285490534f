"""Weights on disk: what is written comes back, and what comes from anywhere else is refused."""

import json
import struct
from pathlib import Path

import numpy as np
import pytest

from suite.data import store
from suite.errors import DataError, ResultError
from suite.inputs import checkpoint, initial

HELD = {
    "dense_1/kernel": np.arange(6, dtype=np.float32).reshape(2, 3),
    "dense_1/bias": np.array([0.5, -0.0, 1e-40], np.float32),
    "batch_norm_1/moving_mean": np.array([1 / 3]),
}
SHAPES = {name: value.shape for name, value in HELD.items()}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    file = tmp_path / "weights" / "some.safetensors"
    checkpoint.write(file, HELD)
    return file


def test_what_is_written_comes_back_to_the_bit(path: Path) -> None:
    assert checkpoint.shapes(path) == SHAPES
    found = checkpoint.read(path, SHAPES, initial.fingerprint(HELD))
    assert initial.fingerprint(found) == initial.fingerprint(HELD)


def test_a_transposed_array_is_written_as_it_reads(tmp_path: Path) -> None:
    turned = {"a/kernel": HELD["dense_1/kernel"].T, "b": HELD["dense_1/kernel"][:, ::2]}
    checkpoint.write(tmp_path / "t", turned)
    found = checkpoint.read(tmp_path / "t", {"a/kernel": (3, 2), "b": (2, 2)})
    assert all((found[name] == turned[name]).all() for name in turned)


def test_a_part_may_be_taken_of_a_file_that_holds_more(path: Path) -> None:
    bias = {"dense_1/bias": (3,)}
    assert list(checkpoint.read(path, bias, alone=False)) == ["dense_1/bias"]
    with pytest.raises(ResultError, match="which is not in the model"):
        checkpoint.read(path, bias)


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({**SHAPES, "dense_2/kernel": (1,)}, "lacks dense_2/kernel"),
        ({**SHAPES, "dense_1/kernel": (3, 2)}, r"dense_1/kernel is of shape \(2, 3\), expected \(3, 2\)"),
    ],
)
def test_a_tensor_that_is_missing_or_misshapen_is_named(path: Path, wanted: dict[str, tuple[int, ...]], sentence: str):
    with pytest.raises(ResultError, match=sentence) as caught:
        checkpoint.read(path, wanted)
    assert caught.value.where == str(path)


def test_other_weights_than_those_recorded_are_refused(path: Path) -> None:
    checkpoint.write(path, {**HELD, "dense_1/bias": np.zeros(3, np.float32)})
    with pytest.raises(ResultError, match="the weights that it was recorded with"):
        checkpoint.read(path, SHAPES, initial.fingerprint(HELD))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_what_is_not_finite_is_refused(path: Path, wrong: float) -> None:
    checkpoint.write(path, {**HELD, "dense_1/bias": np.array([0, wrong, 0], np.float32)})
    with pytest.raises(ResultError, match="dense_1/bias is not finite"):
        checkpoint.read(path, SHAPES)


def test_another_type_is_refused(path: Path) -> None:
    checkpoint.write(path, {"dense_1/bias": np.zeros(3, np.int64)})
    with pytest.raises(ResultError, match="neither float32 nor float64"):
        checkpoint.read(path, {"dense_1/bias": (3,)})


def header(fields: object, values: bytes = b"") -> bytes:
    text = json.dumps(fields).encode()
    return struct.pack("<Q", len(text)) + text + values


HOSTILE = {
    "empty": b"",
    "text": b"not weights at all, but long enough",
    "huge header": struct.pack("<Q", 2**63) + b"{}",
    "no object": header([1, 2]),
    "beyond the end": header({"dense_1/bias": {"dtype": "F32", "shape": [3], "data_offsets": [0, 1 << 40]}}),
    "shape and size at odds": header(
        {"dense_1/bias": {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 12]}}, bytes(12)
    ),
    "overlapping": header(
        {n: {"dtype": "F32", "shape": [3], "data_offsets": [0, 12]} for n in ("dense_1/bias", "x")}, bytes(12)
    ),
    "pickle": b"\x80\x04\x95",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_file_that_is_none_is_refused_by_name(tmp_path: Path, name: str) -> None:
    path = tmp_path / "hostile"
    path.write_bytes(HOSTILE[name])
    with pytest.raises(ResultError, match="is no safetensors file") as caught:
        checkpoint.read(path, {"dense_1/bias": (3,)})
    assert caught.value.where == str(path)
    with pytest.raises(ResultError, match="cannot be read"):
        checkpoint.shapes(tmp_path / "absent")


def test_a_truncated_file_is_refused(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(ResultError):
        checkpoint.read(path, SHAPES)


def test_imported_weights_lie_beside_the_data_and_a_name_leads_nowhere_else(
    path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(store, "root", lambda: tmp_path)
    assert checkpoint.imported("some") == path
    with pytest.raises(DataError, match="no such file") as caught:
        checkpoint.imported("other")
    assert "suite weights import" in caught.value.way_out
    for name in ("../weights/some", "/etc/passwd", "", "a/b", "."):
        with pytest.raises(DataError, match="is no name for weights"):
            checkpoint.imported(name)
