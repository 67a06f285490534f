"""On what a cell ran, as its record tells it."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from suite.results.values import Count, Digest, Word
from suite.spec.tensors import Frozen


class Processor(Frozen):
    """The processor at one moment; each null where the system does not tell."""

    mhz: float | None = None
    celsius: float | None = None
    load_1min: float | None = None


class Gpu(Frozen):
    """A GPU as its driver tells it."""

    name: Word
    uuid: Word
    memory_bytes: Count | None = None


class Environment(Frozen):
    """Where and with what a cell ran.  Two results whose ``machine`` differs are never ranked."""

    machine: Digest = Field(description="over processor, cores, memory and GPUs")
    cpu: Word
    cores: Count
    memory_bytes: Count
    kernel: Word
    system: Word
    python: Word
    suite: Word
    source: Digest = Field(description="over the suite's own source files")
    commit: Word | None = None
    lock: Digest | None = None
    place: Literal["native", "container"] = "native"
    image: Word | None = Field(None, description="the container image's id, where whoever started it told")
    build: dict[Word, Word] = Field({}, description="what the image was built from: base, lock, commit")
    packages: dict[Word, Word] = Field({})
    libraries: dict[Word, Word] = Field({}, description="the framework and the libraries under it, as the runner tells")
    devices: dict[Word, Word] = Field({}, description="what the framework sees, or why not")
    settings: dict[Word, Word] = Field({}, description="the framework's switches that decide numbers: tf32, ...")
    cpu_features: Digest | None = Field(None, description="over the instruction sets that the processor offers")
    variables: dict[Word, Word] | None = Field(
        None, description="those of the process that libraries read and that decide speed, as far as the user set them"
    )
    threads_intra: Count | None = None
    threads_inter: Count | None = None
    denormals: Literal["flushed", "kept"] | None = None
    governor: Word | None = None
    turbo: bool | None = None
    before: Processor = Processor()
    after: Processor = Processor()
    gpus: tuple[Gpu, ...] = ()
    driver: Word | None = None
