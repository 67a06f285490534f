"""Reading what others wrote: IDX, CIFAR-10 in two layouts, CIFAR-100, archives, and the user's own .npz."""

from __future__ import annotations

import gzip
import io
import json
import math
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from suite.data import datasets, decode, npy, npz, unpack
from suite.data.content import NAMES
from suite.data.registry import Format
from suite.errors import DataError

quick = settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
headers = st.builds(
    lambda magic, lengths, rest: magic + b"".join(n.to_bytes(4, "big") for n in lengths) + rest,
    st.binary(min_size=3, max_size=3)
    .map(lambda b: b"\0\0\x08" if b[0] % 2 else b)
    .flatmap(lambda magic: st.integers(0, 255).map(lambda axes: magic + bytes([axes % 6]))),
    st.lists(st.sampled_from([0, 1, 2, 3, 2**31, 2**32 - 1]), max_size=5),
    st.binary(max_size=40),
)


T = TypeVar("T")


def unless_refused(read: Callable[[], T], where: str) -> T | None:
    """What ``read`` returns, or None if it raises a DataError that says where; any other exception fails the test."""
    try:
        return read()
    except DataError as error:
        refused = error
    assert refused.where.startswith(where)
    return None


@quick
@given(st.one_of(st.binary(max_size=64), headers))
def test_any_bytes_are_an_idx_array_or_a_data_error(blob: bytes) -> None:
    array = unless_refused(lambda: decode.idx(blob, "file"), "file")
    assert array is None or array.nbytes + 4 + 4 * array.ndim == len(blob)


@quick
@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.randoms(use_true_random=False))
def test_an_idx_file_gives_its_values_in_order(shape: list[int], random: Any) -> None:
    values = random.randbytes(math.prod(shape))
    blob = bytes((0, 0, 8, len(shape))) + b"".join(n.to_bytes(4, "big") for n in shape) + values
    array = decode.idx(blob, "file")
    assert array.shape == tuple(shape)
    assert array.tobytes() == values
    for wrong in (blob[:-1], blob + b"\0"):
        with pytest.raises(DataError, match="announces shape"):
            decode.idx(wrong, "file")


def cifar(folder: Path, per_file: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """Write the same random images in both of CIFAR-10's layouts; images (6 * per_file, 32, 32, 3), labels."""
    random = np.random.default_rng(7)
    images = random.integers(0, 256, (6 * per_file, 32, 32, 3), np.uint8)
    labels = random.integers(0, 10, 6 * per_file, np.uint8)
    batches = list(zip(np.split(images, 6), np.split(labels, 6), strict=True))
    for (pictures, classes), png, binary in zip(
        batches, Format.CIFAR_PNG.value, Format.CIFAR_BINARY.value, strict=False
    ):
        Image.fromarray(pictures.reshape(per_file, 1024, 3)).save(folder / png)
        planes = pictures.transpose(0, 3, 1, 2).reshape(per_file, -1)
        (folder / binary).write_bytes(np.concatenate([classes[:, None], planes], axis=1).tobytes())
    train, test = labels[: 5 * per_file], labels[5 * per_file :]
    (folder / "train_lables.json").write_text(json.dumps(train.tolist()))
    (folder / "test_lables.json").write_text(json.dumps(test.tolist()))
    return images, labels


def test_both_layouts_of_cifar10_give_the_same_arrays(tmp_path: Path) -> None:
    images, labels = cifar(tmp_path)
    from_png, from_binary = (decode.decode(each, tmp_path) for each in (Format.CIFAR_PNG, Format.CIFAR_BINARY))
    for name in NAMES:
        np.testing.assert_array_equal(from_png[name], from_binary[name])
        assert from_png[name].dtype == from_binary[name].dtype
    np.testing.assert_array_equal(from_png["train_images"], images[:15])
    np.testing.assert_array_equal(from_png["test_labels"], labels[15:])


@pytest.mark.parametrize("length", [0, 3072, 3074])
def test_a_binary_cifar_file_of_a_broken_length_is_refused(length: int) -> None:
    with pytest.raises(DataError, match="no multiple of 3,073"):
        decode.cifar_rows(bytes(length), "data_batch_1.bin")


def test_the_fine_label_of_cifar100_is_the_class(tmp_path: Path) -> None:
    """Coarse label, fine label, then the three planes: as the format's own page tells it."""
    random = np.random.default_rng(7)
    images = random.integers(0, 256, (7, 32, 32, 3), np.uint8)
    coarse, fine = random.integers(0, 20, 7, np.uint8), random.integers(20, 100, 7, np.uint8)
    rows = [bytes([coarse[i], fine[i]]) + b"".join(images[i, :, :, c].tobytes() for c in range(3)) for i in range(7)]
    (tmp_path / "train.bin").write_bytes(b"".join(rows[:5]))
    (tmp_path / "test.bin").write_bytes(b"".join(rows[5:]))
    arrays = decode.decode(Format.CIFAR100_BINARY, tmp_path)
    np.testing.assert_array_equal(np.concatenate([arrays["train_images"], arrays["test_images"]]), images)
    np.testing.assert_array_equal(np.concatenate([arrays["train_labels"], arrays["test_labels"]]), fine)
    (tmp_path / "test.bin").write_bytes(b"".join(rows)[:-1])
    with pytest.raises(DataError, match=r"test\.bin: holds 21,517 bytes, which is no multiple of 3,074"):
        decode.decode(Format.CIFAR100_BINARY, tmp_path)


@pytest.mark.parametrize(
    ("size", "mode"), [((1023, 2), "RGB"), ((1024, 2), "L"), ((1024, 10_001), "RGB"), ((1024, 100_000), "1")]
)
def test_a_picture_of_another_size_or_mode_is_refused_before_it_is_decoded(
    size: tuple[int, int], mode: str, tmp_path: Path
) -> None:
    Image.new(mode, size).save(tmp_path / "a.png")
    with pytest.raises(DataError, match=r"a\.png: (is a picture of|is not a whole PNG)"):
        decode.cifar_png(tmp_path / "a.png")


@quick
@given(place=st.integers(0, 400), byte=st.integers(0, 255), cut=st.booleans())
def test_a_damaged_picture_is_an_array_or_a_data_error(place: int, byte: int, cut: bool, tmp_path: Path) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (1024, 2), (1, 2, 3)).save(stream, "PNG")
    blob = bytearray(stream.getvalue())
    place %= len(blob)
    blob[place:] = b"" if cut else bytes([byte]) + blob[place + 1 :]
    (tmp_path / "a.png").write_bytes(blob)
    images = unless_refused(lambda: decode.cifar_png(tmp_path / "a.png"), "a.png")
    assert images is None or images.shape[1:] == (32, 32, 3)


@pytest.mark.parametrize(
    "text", ["", "{}", "[1, 2", "[256]", "[-1]", "[1.0]", "[true]", "[" * 100_000, "[1" + "0" * 5000 + "]"]
)
def test_labels_that_are_no_list_of_small_integers_are_refused(text: str) -> None:
    with pytest.raises(DataError, match=r"labels\.json: is not"):
        decode.json_labels(text.encode(), "labels.json")


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, io.BytesIO]:
    info = tarfile.TarInfo(name)
    info.size, info.type, info.linkname = len(content), kind, "/etc/passwd"
    return info, io.BytesIO(content)


def test_an_archive_cannot_write_outside_nor_make_links(tmp_path: Path) -> None:
    inside = tmp_path / "a" / "b"
    inside.mkdir(parents=True)
    with tarfile.open(inside / "x.tgz", "w:gz") as archive:
        archive.addfile(*member("package/wanted", kind=tarfile.SYMTYPE))
        archive.addfile(*member("../../evil", b"evil"))
        archive.addfile(*member("../../wanted", b"values"))
    unpack.unpack(inside, ["wanted"])
    assert (inside / "wanted").read_bytes() == b"values"
    assert not (inside / "wanted").is_symlink()
    assert sorted(path.name for path in tmp_path.rglob("*") if path.is_file()) == ["wanted", "x.tgz"]


@pytest.mark.parametrize("packed", ["tar", "gzip"])
def test_a_file_that_unpacks_without_end_is_refused(
    packed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(unpack, "LIMIT", 1 << 20)
    if packed == "tar":
        with tarfile.open(tmp_path / "x.tgz", "w:gz") as archive:
            archive.addfile(*member("wanted", bytes((1 << 20) + 1)))
    else:
        (tmp_path / "wanted.gz").write_bytes(gzip.compress(bytes((1 << 20) + 1)))
    with pytest.raises(DataError, match="is larger than 1 MiB"):
        unpack.unpack(tmp_path, ["wanted"])


@pytest.mark.parametrize("keep", [0, 1, 20, 60, 100])
def test_a_truncated_archive_is_named(keep: int, tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as archive:
        archive.addfile(*member("wanted", np.random.default_rng(1).bytes(5000)))
    (tmp_path / "x.tgz").write_bytes((tmp_path / "x.tgz").read_bytes()[:keep])
    with pytest.raises(DataError, match=r"x\.tgz: is damaged or cut short"):
        unpack.unpack(tmp_path, ["wanted"])


def test_a_wanted_file_that_an_archive_lacks_is_named(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tgz", "w:gz") as archive:
        archive.addfile(*member("other", b"1"))
    with pytest.raises(DataError, match="wanted: is missing"):
        unpack.unpack(tmp_path, ["wanted"])


def four(**changed: Any) -> dict[str, Any]:
    arrays = {
        "train_images": np.arange(4 * 2 * 3, dtype=np.uint8).reshape(4, 2, 3),
        "train_labels": np.array([0, 1, 2, 1], np.int32),
        "test_images": np.zeros((2, 2, 3), np.uint8),
        "test_labels": np.array([1, 0], np.int32),
    } | changed
    return {name: array for name, array in arrays.items() if array is not None}


@pytest.mark.parametrize("compressed", [False, True])
@pytest.mark.parametrize("channels", [None, 1, 3])
@pytest.mark.parametrize("labels", ["u1", "<i2", ">i4", "u8"])
def test_a_file_of_ones_own_is_described_and_loaded(
    compressed: bool, channels: int | None, labels: str, tmp_path: Path
) -> None:
    random = np.random.default_rng(3)
    tail = () if channels is None else (channels,)
    arrays = {
        "train_images": np.asfortranarray(random.integers(0, 256, (5, 4, 3, *tail), np.uint8)),
        "train_labels": np.array([0, 1, 2, 1, 3]).astype(labels),
        "test_images": random.integers(0, 256, (2, 4, 3, *tail), np.uint8),
        "test_labels": np.array([1, 0]).astype(labels),
    }
    path = tmp_path / "own.npz"
    (np.savez_compressed if compressed else np.savez)(path, **arrays)
    loaded = datasets.load(f"npz:{path}")
    assert loaded.facts == datasets.describe(f"npz:{path}")
    assert loaded.facts.image_shape == (4, 3, channels or 1)
    assert (loaded.facts.classes, loaded.facts.train, loaded.facts.test, loaded.facts.max_value) == (4, 5, 2, 255)
    assert (loaded.facts.train_counts, loaded.facts.test_counts) == ((1, 2, 1, 1), (1, 1, 0, 0))
    assert (loaded.facts.labels_are, loaded.facts.class_names) == (None, None)
    np.testing.assert_array_equal(loaded.train_images.reshape(arrays["train_images"].shape), arrays["train_images"])
    np.testing.assert_array_equal(loaded.train_labels, arrays["train_labels"])
    assert loaded.train_labels.dtype == np.dtype("<i8")
    assert loaded.train_images.flags.c_contiguous
    assert datasets.fetch(f"npz:{path}") == path


def test_the_digest_of_a_file_of_ones_own_is_that_of_its_values(tmp_path: Path) -> None:
    np.savez(tmp_path / "a.npz", **four())
    np.savez_compressed(tmp_path / "b.npz", **four(train_labels=np.array([0, 1, 2, 1], np.uint8)))
    np.savez(tmp_path / "c.npz", **four(test_labels=np.array([0, 1])))
    a, b, c = (datasets.describe(f"npz:{tmp_path / name}.npz").digest for name in "abc")
    assert a == b
    assert a != c


@pytest.mark.parametrize(("largest", "counted"), [(999, 1000), (1000, None)])
def test_images_of_more_than_a_thousand_classes_are_not_counted(
    largest: int, counted: int | None, tmp_path: Path
) -> None:
    classes = np.arange(largest + 1)
    images = np.zeros((len(classes), 2, 3), np.uint8)
    np.savez(tmp_path / "own.npz", **four(train_images=images, train_labels=classes))
    counts = datasets.describe(f"npz:{tmp_path / 'own.npz'}").train_counts
    assert (counts and len(counts)) == counted


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"test_labels": None}, "must hold exactly train_images"),
        ({"more": np.zeros(1)}, "must hold exactly"),
        (
            {"train_images": np.zeros((4, 2, 3), np.float32)},
            r"train_images: is float32 in training and uint8 in test, 0 to 0, expected uint8",
        ),
        ({"train_images": np.zeros((4, 6), np.uint8)}, r"train_images: is of shape \(4, 6\), expected uint8"),
        ({"train_images": np.zeros((0, 2, 3), np.uint8)}, "train_images: is uint8 of shape"),
        ({"train_images": np.zeros((4, 3, 3), np.uint8)}, r"test_images: has images of shape \(2, 3, 1\)"),
        ({"train_labels": np.zeros(4, complex)}, "train_labels: is complex128 of shape .* expected integers"),
        ({"train_labels": np.zeros((4, 1, 1), int)}, r"train_labels: is int64 of shape \(4, 1, 1\), expected whole"),
        ({"train_labels": np.zeros(3, int)}, "train_labels: has 3 labels for 4 images"),
        ({"train_labels": np.array([0, 1, None, 2])}, "train_labels: holds Python objects"),
    ],
)
def test_what_is_wrong_with_a_file_of_ones_own_is_told(changed: dict[str, Any], told: str, tmp_path: Path) -> None:
    path = tmp_path / "own.npz"
    np.savez(path, **four(**changed))
    with pytest.raises(DataError, match=told) as caught:
        datasets.describe(f"npz:{path}")
    assert caught.value.where.startswith(str(path))


@pytest.mark.parametrize("name", ["npz:", "npz:nowhere.npz", "npz:/", "npz:~nobody-of-that-name/x.npz"])
def test_a_path_that_is_no_file_is_told(name: str) -> None:
    with pytest.raises(DataError):
        datasets.describe(name)


def hostile(path: Path, announced: str) -> str:
    """A .npz whose images announce another shape than they hold."""
    np.savez(path, **four())
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = f"{{'descr': '|u1', 'fortran_order': False, 'shape': {announced}, }}".ljust(117) + "\n"
    members["train_images.npy"] = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode() + bytes(24)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return f"npz:{path}"


@pytest.mark.parametrize(
    ("announced", "told"),
    [
        ("(4, 2, 3000)", "announces 24,000 bytes of values but is shorter"),
        ("(4, 2, 2)", "announces 16 bytes of values but holds more"),
        ("(1000000, 1000000, 1000000)", "over 16 GiB"),
        ("(-4, 2, 3)", "announces shape"),
        ("[" * 50 + "]" * 50, "is not an array in NumPy's"),
        ("__import__('os')", "is not an array in NumPy's"),
    ],
)
def test_a_header_that_lies_is_refused_before_anything_is_allocated(announced: str, told: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=told):
        datasets.load(hostile(tmp_path / "own.npz", announced))


@quick
@given(where=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans(), compressed=st.booleans())
def test_a_damaged_npz_loads_or_is_a_data_error(
    where: float, byte: int, cut: bool, compressed: bool, tmp_path: Path
) -> None:
    path = tmp_path / "own.npz"
    (np.savez_compressed if compressed else np.savez)(path, **four())
    blob = bytearray(path.read_bytes())
    place = int(where * len(blob))
    blob[place:] = b"" if cut else bytes([byte]) + blob[place + 1 :]
    path.write_bytes(blob)
    arrays = unless_refused(lambda: npz.read(f"npz:{path}"), str(path))
    assert arrays is None or arrays.facts.train == 4


@quick
@given(
    st.binary(max_size=200), st.sampled_from([b"", b"\x93NUMPY\x01\x00", b"\x93NUMPY\x02\x00", b"\x93NUMPY\x03\x00"])
)
def test_any_bytes_are_an_npy_header_or_a_data_error(blob: bytes, magic: bytes) -> None:
    length = b"" if not magic else len(blob).to_bytes(2 if magic[6] == 1 else 4, "little")
    header = unless_refused(lambda: npy.read_header(io.BytesIO(magic + length + blob), "file"), "file")
    assert header is None or header.bytes >= 0
