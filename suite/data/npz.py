"""The user's own data: ``npz:PATH``, a NumPy .npz file with exactly these four arrays.

    train_images, test_images   uint8, (images, height, width) or (images, height, width, channels)
    train_labels, test_labels   any integer type, (images,), classes 0 to n - 1

Images of both sets have one shape, and values count as 0..255.  Keras' names for the four (``x_train``, ...) do as
well.  Labels of another form are mapped to classes in sorted order, and the facts say so (``suite.data.classes``): a
spec must ask for that.  Images of another type or order are refused with the way to mend them (``suite.data.pixels``).
PATH is taken from the folder of the file that names it, or of a command from the current one; ``~`` is the home.
"""

from __future__ import annotations

import lzma
import struct
import zipfile
import zlib
from pathlib import Path

from suite.data import classes, mending, npy, pixels
from suite.data.content import NAMES, Arrays, Decoded, canonical, content_of, counts, digest
from suite.errors import DataError
from suite.spec import paths
from suite.spec.dataset import DatasetFacts

PREFIX = paths.NPZ
LIMIT = 16 << 30  # bytes that the four arrays may announce together
# The standard library's reader has no single exception for an archive that is damaged, encrypted or made up.
_MALFORMED = (
    *(zipfile.BadZipFile, zlib.error, lzma.LZMAError, struct.error),
    *(EOFError, KeyError, IndexError, NotImplementedError, OverflowError, RuntimeError, ValueError),
)
_TYPES = {"images": "buif", "labels": "buifUS"}
_EXPECTED = {
    "images": "uint8 of shape (n, height, width) or (n, height, width, channels)",
    "labels": "integers of shape (n,)",
}


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
        raise DataError(what, where=str(path), way_out=f"{paths.way_out()} {mending.WRITE}") from error
    except MemoryError as error:
        raise DataError("does not fit into memory", where=str(path)) from error
    except _MALFORMED as error:
        raise DataError(f"is not a whole .npz file ({error})", where=str(path), way_out=mending.WRITE) from error
    except OSError as error:
        reason = error.strerror or error
        raise DataError(f"cannot be read ({reason})", where=str(path), way_out=paths.way_out()) from error
    return _checked(paths.label(name), path, arrays)


def _members(archive: zipfile.ZipFile, path: Path) -> tuple[Decoded, dict[str, str]]:
    """The four arrays as they stand in the file, and what each is called there."""
    entries = {entry.filename.removesuffix(".npy"): entry for entry in archive.infolist()}

    def narrow(name: str) -> bool:
        with archive.open(entries[name]) as stream:
            return npy.read_header(stream, f"{path}: {name}").shape[1:] == (1,)

    names = mending.roles([entry.filename.removesuffix(".npy") for entry in archive.infolist()], path, narrow)
    arrays, announced = {}, 0
    for role, name in names.items():
        where = f"{path}: {name}"
        with archive.open(entries[name]) as stream:
            header = npy.read_header(stream, where)
            if 0 in header.shape or not header.shape or header.dtype.kind not in _TYPES[role.partition("_")[2]]:
                expected = f"expected {_EXPECTED[role.partition('_')[2]]}"
                found = f"{header.dtype} of shape {header.shape}"
                raise DataError(f"is {found}, {expected}", where=where, way_out=mending.WRITE)
            announced += header.bytes
            if announced > LIMIT:
                raise DataError(f"brings the arrays over {LIMIT >> 30} GiB, the most there may be", where=where)
            if header.bytes > entries[name].file_size:
                raise DataError(f"announces {header.bytes:,} bytes of values but is shorter", where=where)
            arrays[role] = npy.read_values(stream, header, where)
    return arrays, names


def _checked(name: str, path: Path, found: tuple[Decoded, dict[str, str]]) -> Arrays:
    arrays, names = found
    _refuse_odd_images(path, arrays, names)
    for part in ("train", "test"):
        images, labels = arrays[f"{part}_images"], arrays[f"{part}_labels"]
        if len(images) != len(labels):
            where = f"{path}: {names[f'{part}_labels']}"
            raise DataError(f"has {len(labels)} labels for {len(images)} images", where=where, way_out=mending.WRITE)
    told = classes.read(arrays["train_labels"], arrays["test_labels"], str(path))
    train_images, train_labels = canonical(arrays["train_images"], told.train)
    test_images, test_labels = canonical(arrays["test_images"], told.test)
    if train_images.shape[1:] != test_images.shape[1:]:
        raise DataError(
            f"has images of shape {test_images.shape[1:]}, train_images of {train_images.shape[1:]}",
            where=f"{path}: {names['test_images']}",
            way_out=mending.WRITE,
        )
    four: Decoded = dict(zip(NAMES, (train_images, train_labels, test_images, test_labels), strict=True))
    facts = DatasetFacts(
        name=name,
        image_shape=train_images.shape[1:],
        classes=told.classes,
        train=len(train_images),
        test=len(test_images),
        max_value=255,
        digest=digest({key: content_of(array) for key, array in four.items()}, told.names),
        train_counts=counts(train_labels, told.classes),
        test_counts=counts(test_labels, told.classes),
        class_names=told.names,
        labels_are=told.are,
    )
    return Arrays(train_images, train_labels, test_images, test_labels, facts, origin=str(path))


def _refuse_odd_images(path: Path, arrays: Decoded, names: dict[str, str]) -> None:
    """Raise DataError for images that are no bytes or in another order, with the command that mends all of it."""
    told: list[str] = []
    whats: list[str] = []
    mended = {role: mending.array(name) for role, name in names.items()}
    images = {part: arrays[f"{part}_images"] for part in ("train", "test")}
    labels = {part: len(arrays[f"{part}_labels"]) for part in images}
    for trouble in pixels.troubles(images, labels):
        whats.append(trouble.what)
        told.append(trouble.told)
        for part in images:
            mended[f"{part}_images"] = trouble.mended.format(mended[f"{part}_images"]) if trouble.mended else ""
    if not whats:
        return
    way_out = " ".join(filter(None, told)) or mending.WRITE
    if all(mended.values()):
        for part in ("train", "test"):
            if arrays[f"{part}_labels"].shape[1:] == (1,):
                mended[f"{part}_labels"] += "[:, 0]"
        way_out += f" {mending.command(path, mended)}"
    what = f"is {', '.join(whats)}, expected {_EXPECTED['images']}"
    raise DataError(what, where=f"{path}: {names['train_images']}", way_out=way_out)
