"""What a framework must offer to be measured and proven: a Runner that builds Programs.

A runner is a folder ``suite/runners/<token>/`` whose ``runner.py`` has a class ``Runner``.  Arrays cross the boundary
in canonical form only: NHWC images, dense kernels (in, out), convolution kernels (kh, kw, in, out), tensors by their
canonical names.
"""

from __future__ import annotations

import ast
import ctypes
import importlib
import uuid
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal, NamedTuple, Protocol, cast

import numpy as np
from numpy.typing import NDArray
from pydantic import PositiveInt

from suite.errors import MachineError
from suite.spec.differences import Difference
from suite.spec.precision import Array as Array
from suite.spec.precision import Precision as Precision
from suite.spec.resolved import Spec
from suite.spec.semantics import Variant
from suite.spec.spelling import hint, listed
from suite.spec.tensors import Frozen
from suite.spec.vocabulary.tables import Place

Weights = dict[str, Array]
Device = Literal["cpu", "cuda"]
InferenceOption = Literal["channels_last", "channels_first", "bfloat16", "int8_dynamic", "int8_static"]
"""One option of inference that changes speed and, some of them, the numbers: a memory format, or a narrower type."""

INSTRUMENT: Mapping[str, tuple[str, ...]] = {"null": ("null",)}
"""Measured in every round beside the others: what the instrument itself costs."""
HERE = Path(__file__).parent
SLOTS: Mapping[str, tuple[str, ...]] = {"sgd": ("velocity",), "adam": ("m", "v"), "rmsprop": ("square",)}
"""What each optimizer remembers per trainable tensor; sgd keeps a velocity only where it has a momentum."""


class Threads(Frozen):
    """``intra``: threads inside one operation; ``inter``: operations at once."""

    intra: PositiveInt
    inter: PositiveInt = 1


@dataclass(frozen=True)
class State:
    """All that training changes: weights with running statistics, optimizer slots by slot name, steps taken."""

    weights: Weights
    slots: dict[str, Weights] = field(default_factory=dict)
    step: int = 0


@dataclass(frozen=True)
class Probe:
    """One forward and backward pass over a batch, nothing updated: what the gate compares.

    ``loss`` is the mean data loss without the L2 penalty; ``gradients`` are those of the objective, penalty included,
    of ``spec.trainable`` alone; ``statistics`` are the running ones as they would be after this batch, of batch norms
    that are not frozen; ``outputs`` are those of evaluation.
    """

    training_outputs: Array
    outputs: Array
    loss: float
    gradients: Weights
    statistics: Weights


class Program(Protocol):
    """A spec built in one mode and precision.  Every call ends behind the device's barrier.

    Images are (n, h, w, c) in the type that the precision holds, already scaled, or int32 tokens (n, t) whatever the
    precision; targets are int32 labels (n,), floats of the outputs' shape, or class and box (n, 5) for the loss
    ``detection``.  Outputs, losses and states are in that type as well.
    Building, compiling and layout changes belong to construction or to the first call of a shape.
    """

    def load(self, state: State) -> None:
        """Take weights, slots and step; slots left out are zero.  Restarts the dropout stream."""
        ...

    def state(self) -> State:
        """Copies of what the program holds, in canonical form."""
        ...

    def stage(self, split: str, images: Array, targets: Array) -> None:
        """Make a split resident on the device; ``train`` is what training draws from."""
        ...

    def train(self, order: NDArray[np.int32]) -> float:
        """One optimizer step per ``batch_size`` indices of ``order`` into ``train``, the last batch ragged.

        Returns the mean data loss per image over the call, as seen before each step.
        """
        ...

    def predict(self, split: str, batch_size: int) -> Array:
        """Evaluation outputs of a whole staged split, batch by batch, with the pipeline kept full."""
        ...

    def infer(self, images: Array) -> Array:
        """One query: a batch in host memory to outputs in host memory."""
        ...

    def probe(self, images: Array, targets: Array) -> Probe:
        """Look inside one batch through the same model, loss and differentiation that ``train`` uses."""
        ...

    def infer_with(self, option: InferenceOption, calibration: Array) -> Callable[[Array], Array]:
        """``infer`` with one option changed, over the weights that are held; outputs in float32.

        ``calibration`` is a batch of inputs from which static quantisation may learn its ranges.  Raises Unsupported
        where the framework or the machine does not offer it.
        """
        ...


class Runner(Protocol):
    """One framework in one process.  Constructing it sets threads, denormals, the device and determinism, once.

    Raises MachineError where the device is not there.
    """

    modes: ClassVar[tuple[str, ...]]
    variants: ClassVar[frozenset[Variant]]
    cached: ClassVar[frozenset[str]]
    """Modes whose compiled code a later process finds again."""
    warmup: ClassVar[Mapping[str, int]]
    """Calls of each kind before measuring, by mode: tracing, compiling and caches settle within them."""

    def __init__(self, device: Device, threads: Threads, seed: int, *, deterministic: bool = False) -> None: ...

    def missing(self, mode: str) -> str | None:
        """Why this machine cannot offer ``mode``, or None."""
        ...

    def versions(self) -> dict[str, str]:
        """The framework and the libraries under it that decide its numbers."""
        ...

    def devices(self) -> dict[str, str]:
        """What the framework sees: ``{"cpu": "...", "cuda": "name" or "why not"}``."""
        ...

    def settings(self) -> dict[str, str]:
        """The switches that decide numbers, as set: tf32, deterministic and, on a GPU, how algorithms are chosen.

        And what the framework's own way is: ``layout``, how its images lie in memory, how it compiles.
        """
        ...

    def gpu(self) -> str | None:
        """UUID of the GPU that it computes on, as the driver writes it (``GPU-...``); None on the processor."""
        ...

    def allocator_peak(self) -> int | None:
        """Peak bytes of the framework's own allocator on the GPU since the last call; None on the processor."""
        ...

    def build(self, spec: Spec, mode: str, precision: Precision) -> Program:
        """Raises Unsupported where the runner lacks a layer, a mode or a precision."""
        ...


class Event(NamedTuple):
    """An operation as a framework's own profiler saw it: when, and on which thread of the host or stream of a GPU.

    ``holds`` names what it computes where its own name does not tell; ``fused`` says that a compiler made it of several
    operations.  ``around`` marks a range in which operations are prepared or waited for: no work by itself.  Events of
    one lane nest.
    """

    name: str
    start_ns: int
    duration_ns: int
    lane: str
    holds: tuple[str, ...] = ()
    on_device: bool = False
    fused: bool = False
    around: bool = False


class Traced(NamedTuple):
    """What a profiler saw of a call that lasted from ``began_ns`` to ``ended_ns``, by the clock of the events."""

    events: list[Event]
    began_ns: int
    ended_ns: int

    @property
    def lasted_ns(self) -> int:
        """Wall time of the call, under the profiler."""
        return self.ended_ns - self.began_ns


class Profiler(Protocol):
    """The module ``suite/runners/<token>/profile.py``: how a framework's own profiler is asked."""

    blind: str
    """What it cannot see, in a sentence."""

    def prepared(self) -> AbstractContextManager[object]:
        """In it a program is built and warmed up, so that its compiled code names its kernels."""
        ...

    def profiled(self, call: Callable[[], object], trace: Path) -> Traced:
        """Call once under the profiler, and write what it saw as a Chrome trace."""
        ...


def tokens() -> tuple[str, ...]:
    """The runners there are: folders here with a ``runner.py``."""
    return tuple(sorted(path.parent.name for path in HERE.glob("*/runner.py")))


def modes(token: str) -> tuple[str, ...]:
    """The modes that a runner states, read from its file: its framework may live in another environment."""
    tree = ast.parse((HERE / token / "runner.py").read_text())
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.AnnAssign)
            and isinstance(node.target, ast.Name)
            and node.target.id == "modes"
            and node.value
        ):
            return tuple(ast.literal_eval(node.value))
    raise MachineError(
        f"runner {token!r} states no modes", way_out="Give its class a literal `modes: ClassVar[...] = (...)`."
    )


def differences(token: str, spec: Spec) -> tuple[Difference, ...]:
    """Where the own API of ``token`` differs from what ``spec`` asks, as its folder's ``own.py`` states it.

    No framework is imported.  Who has no such file, like the reference, states nothing.
    """
    if not (HERE / token / "own.py").is_file():
        return ()
    stated: tuple[Difference, ...] = importlib.import_module(f"suite.runners.{token}.own").own(spec)
    return stated


def memory_passes(
    token: str, device: Device, kind: Literal["float32", "bfloat16"], values: int
) -> Callable[[int], None] | None:
    """A call of so many passes over arrays of ``values`` values, each read and written once, behind the barrier.

    As the folder's ``memory.py`` has it; null where there is none.  Raises what the framework raises.
    """
    if not (HERE / token / "memory.py").is_file():
        return None
    made: Callable[[int], None] = importlib.import_module(f"suite.runners.{token}.memory").passes(device, kind, values)
    return made


def profiler(token: str) -> Profiler | None:
    """How the profiler of ``token`` is asked, as its folder's ``profile.py`` says; None where it has no such file.

    The framework is imported.
    """
    if not (HERE / token / "profile.py").is_file():
        return None
    return cast(Profiler, importlib.import_module(f"suite.runners.{token}.profile"))


def find(token: str) -> type[Runner]:
    """The runner class of ``token``; raises MachineError if it, or its framework, is not there."""
    if token not in tokens():
        way_out = f"{hint(token, tokens(), Place.RUNNER)}{listed(tokens())}"
        raise MachineError(f"there is no runner {token!r}", way_out=way_out)
    try:
        module = importlib.import_module(f"suite.runners.{token}.runner")
    except ImportError as error:
        raise MachineError(
            f"runner {token!r} cannot be imported: {error}", way_out="`make envs` makes its environment."
        ) from None
    return cast(type[Runner], module.Runner)


def gpu_uuid(ordinal: int = 0) -> str | None:
    """UUID of the GPU that CUDA counts as ``ordinal`` in this process, as NVML writes it; None where there is none.

    The driver is asked, so that a framework that tells no UUID has one too: ``GPU-...``, or ``MIG-...`` for a part of a
    GPU, of which the second version of the call names the part and the first the whole.
    """
    try:
        driver = ctypes.CDLL("libcuda.so.1")
        device, whole, part = ctypes.c_int(), (ctypes.c_ubyte * 16)(), (ctypes.c_ubyte * 16)()
        if driver.cuInit(0) or driver.cuDeviceGet(ctypes.byref(device), ordinal):
            return None
        if driver.cuDeviceGetUuid(ctypes.byref(whole), device):
            return None
        newer = getattr(driver, "cuDeviceGetUuid_v2", None)  # since CUDA 11.4
        if newer is None or newer(ctypes.byref(part), device):
            part = whole
    except (OSError, AttributeError):  # no driver, or no symbol
        return None
    return f"{'GPU' if bytes(part) == bytes(whole) else 'MIG'}-{uuid.UUID(bytes=bytes(part))}"
