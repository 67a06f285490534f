"""Take the wanted files out of what a mirror sent: tar archives, Debian packages and gzip, within bounds.

Archives never choose a path: a wanted file is recognised by its bare name and written under that name.
"""

from __future__ import annotations

import gzip
import subprocess
import tarfile
import zlib
from collections.abc import Sequence
from pathlib import Path, PurePosixPath
from typing import IO, Protocol

from suite.errors import DataError

LIMIT = 256 << 20  # bytes that one file may have; the largest known has 47 million
_DAMAGED = (tarfile.TarError, gzip.BadGzipFile, zlib.error, EOFError)


class Readable(Protocol):
    """Whatever can be read in blocks."""

    def read(self, size: int, /) -> bytes:
        """At most ``size`` bytes; none at the end."""
        ...


def unpack(folder: Path, wanted: Sequence[str]) -> None:
    """Unpack every archive in ``folder`` until it holds all ``wanted`` files.  Raises DataError naming what is bad."""
    for archive in sorted(folder.glob("*.tgz")) + sorted(folder.glob("*.tar.gz")):
        with archive.open("rb") as stream:
            _untar(stream, archive.name, folder, wanted)
    for package in sorted(folder.glob("*.deb")):
        quiet = subprocess.DEVNULL
        with subprocess.Popen(["dpkg-deb", "--fsys-tarfile", package], stdout=subprocess.PIPE, stderr=quiet) as child:
            assert child.stdout is not None
            try:
                _untar(child.stdout, package.name, folder, wanted)
            finally:
                child.kill()  # it may still have more to say, which nobody wants
    for name in wanted:
        if not (folder / name).exists():
            _gunzip(folder, name)


def _untar(stream: IO[bytes], archive: str, folder: Path, wanted: Sequence[str]) -> None:
    missing = set(wanted)
    try:
        with tarfile.open(fileobj=stream, mode="r|*") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                if name.removesuffix(".gz") not in missing or not member.isfile():
                    continue
                content = tar.extractfile(member)
                assert content is not None
                with (folder / name).open("wb") as out:
                    _copy(content, out, f"{archive}: {name}")
                missing.remove(name.removesuffix(".gz"))
                if not missing:
                    return
    except _DAMAGED as error:
        raise DataError(f"is damaged or cut short ({error})", where=archive) from error


def _gunzip(folder: Path, name: str) -> None:
    packed = folder / f"{name}.gz"
    if not packed.exists():
        raise DataError("is missing from what this mirror sends", where=name)
    try:
        with gzip.open(packed) as content, (folder / name).open("wb") as out:
            _copy(content, out, packed.name)
    except _DAMAGED as error:
        raise DataError(f"is damaged or cut short ({error})", where=packed.name) from error


def _copy(source: Readable, target: IO[bytes], where: str) -> None:
    left = LIMIT
    while block := source.read(1 << 20):
        left -= len(block)
        if left < 0:
            raise DataError(f"is larger than {LIMIT >> 20} MiB", where=where)
        target.write(block)
