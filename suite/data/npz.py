"""The user's own data: ``npz:PATH``, a NumPy .npz file with exactly these four arrays.

    train_images, test_images   uint8, (images, height, width) or (images, height, width, channels)
    train_labels, test_labels   any integer type, (images,), classes counted from 0

Images of both sets have one shape, values count as 0..255, and there are as many classes as the largest label says.
PATH is taken from the folder of the file that names it, or of a command from the current one; ``~`` is the home.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from suite import paths
from suite.data import npy
from suite.data.content import NAMES, Arrays, Decoded, canonical, content_of, counts, digest
from suite.errors import DataError
from suite.spec import DatasetFacts

PREFIX = paths.NPZ
LIMIT = 16 << 30  # bytes that the four arrays may announce together
_CLASSES = 1 << 16
# The standard library's reader has no single exception for an archive that is damaged, encrypted or made up.
_MALFORMED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, KeyError, IndexError, NotImplementedError, OverflowError, RuntimeError, ValueError),
)
_WAY_OUT = (
    "Write it with numpy.savez(PATH, train_images=..., train_labels=..., test_images=..., test_labels=...): "
    "images uint8 (n, height, width[, channels]), labels integers (n,) from 0."
)


def path_of(name: str) -> Path:
    """The file that ``npz:PATH`` names, absolute; a relative PATH is taken from the current folder."""
    return paths.absolute(name.removeprefix(PREFIX))


def read(name: str) -> Arrays:
    """Read ``npz:PATH`` whole.  Raises DataError with the file, the array and what was expected."""
    path = path_of(name)
    try:
        paths.check_regular(path)
        with zipfile.ZipFile(path) as archive:
            arrays = _members(archive, path)
    except FileNotFoundError as error:
        what = f"is a link to {path.readlink()}, which is not there" if path.is_symlink() else "there is no such file"
        raise DataError(what, where=str(path), way_out=f"{paths.way_out()} {_WAY_OUT}") from error
    except MemoryError as error:
        raise DataError("does not fit into memory", where=str(path)) from error
    except _MALFORMED as error:
        raise DataError(f"is not a whole .npz file ({error})", where=str(path), way_out=_WAY_OUT) from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot be read ({reason})", where=str(path), way_out=paths.way_out()) from error
    return _checked(paths.label(name), path, arrays)


def _members(archive: zipfile.ZipFile, path: Path) -> Decoded:
    entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}
    if sorted(entries) != sorted(NAMES) or len(archive.infolist()) != len(NAMES):
        found = ", ".join(sorted(entries)) or "nothing"
        raise DataError(f"must hold exactly {', '.join(NAMES)}; it holds {found}", where=str(path), way_out=_WAY_OUT)
    arrays, announced = {}, 0
    for name in NAMES:
        where = f"{path}: {name}"
        with archive.open(entries[name]) as stream:
            header = npy.read_header(stream, where)
            _check_header(name, header, where)
            announced += header.bytes
            if announced > LIMIT:
                raise DataError(f"brings the arrays over {LIMIT >> 30} GiB, the most there may be", where=where)
            if header.bytes > entries[name].file_size:
                raise DataError(f"announces {header.bytes:,} bytes of values but is shorter", where=where)
            arrays[name] = npy.read_values(stream, header, where)
    return arrays


def _check_header(name: str, header: npy.Header, where: str) -> None:
    if name.endswith("images"):
        fits = header.dtype == np.uint8 and len(header.shape) in (3, 4)
        expected = "uint8 of shape (n, height, width) or (n, height, width, channels)"
    else:
        fits = header.dtype.kind in "iu" and len(header.shape) == 1
        expected = "integers of shape (n,)"
    if not fits or 0 in header.shape:
        found = f"{header.dtype} of shape {header.shape}"
        raise DataError(f"is {found}, expected {expected}", where=where, way_out=_WAY_OUT)


def _checked(name: str, path: Path, arrays: Decoded) -> Arrays:
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        if len(images) != len(labels):
            raise DataError(
                f"has {len(labels)} labels for {len(images)} images", where=f"{path}: {part}_labels", way_out=_WAY_OUT
            )
        if labels.min() < 0 or labels.max() >= _CLASSES:
            raise DataError(
                f"runs from {labels.min()} to {labels.max()}, expected classes from 0 to at most {_CLASSES - 1}",
                where=f"{path}: {part}_labels",
                way_out=_WAY_OUT,
            )
    train_images, train_labels = canonical(arrays["train_images"], arrays["train_labels"])
    test_images, test_labels = canonical(arrays["test_images"], arrays["test_labels"])
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"has images of shape {test_images.shape[1:]}, train_images of {train_images.shape[1:]}",
            where=f"{path}: test_images",
            way_out=_WAY_OUT,
        )
    four: Decoded = dict(zip(NAMES, (train_images, train_labels, test_images, test_labels), strict=True))
    classes = 1 + max(int(np.max(labels)) for labels in (train_labels, test_labels))
    facts = DatasetFacts(
        name=name,
        image_shape=train_images.shape[1:],
        classes=classes,
        train=len(train_images),
        test=len(test_images),
        max_value=255,
        digest=digest({key: content_of(array) for key, array in four.items()}),
        train_counts=counts(train_labels, classes),
    )
    return Arrays(train_images, train_labels, test_images, test_labels, facts, origin=str(path))
