"""What this machine has, and whether a framework computes on it.

    python -m suite.machine.doctor TOKEN [cpu|cuda]

asks one framework inside its own environment or image and says in a line what it computes on.  The status is 1, and
the line says why, where it cannot be imported, does not see the device, or computes wrongly there.  Nothing is needed
that only the core has.
"""

from __future__ import annotations

import shutil
import sys
from typing import cast

import numpy as np

from suite import __version__
from suite.data import datasets
from suite.errors import MachineError, SuiteError
from suite.machine import environment
from suite.meters import nvml
from suite.runners import base
from suite.runners.base import INSTRUMENT, Device, Runner, State, Threads
from suite.spec.dataset import DatasetFacts
from suite.spec.precision import TIMED
from suite.spec.recipe import Recipe
from suite.spec.resolved import Spec

FACTS = DatasetFacts(
    name="doctor", image_shape=(2, 3, 2), classes=3, train=1, test=1, max_value=255, digest="sha256:" + "0" * 64
)
RECIPE = """{"name": "doctor", "dataset": "doctor", "optimizer": {"name": "sgd", "learning_rate": 1}, "batch_size": 1,
"epochs": 1, "model": [{"layer": "flatten"}, {"layer": "dense", "units": 3, "use_bias": false}]}"""


def machine() -> dict[str, str]:
    """What there is, apart from the frameworks: a line for each thing."""
    here = environment.describe("core")
    compiler = shutil.which("g++") or shutil.which("clang++")
    cached = [item.name for item in datasets.available() if item.cached]
    return {
        "suite": f"{__version__}, commit {here.commit or 'unknown'}",
        "processor": f"{here.cpu}, {here.cores} cores, {here.memory_bytes / 2**30:.0f} GiB of memory",
        "GPU": gpus(),
        "system": f"{here.system}, kernel {here.kernel}, Python {here.python}",
        "C++ compiler": compiler or "none: torch's compile mode is unsupported",
        "disk": f"{shutil.disk_usage(environment.ROOT).free / 1e9:.0f} GB free",
        "data here": ", ".join(cached) or "none yet; `suite run` fetches what it needs",
    }


def gpus() -> str:
    """Every GPU that NVML shows, or why there is none."""
    try:
        with nvml.opened() as library:
            shown = [device.gpu for device in nvml.devices(library)]
            driver = nvml.version(library)
    except MachineError as error:
        return f"none: {error.what}"
    sizes = ["memory unknown" if gpu.memory_bytes is None else f"{gpu.memory_bytes / 2**30:.0f} GiB" for gpu in shown]
    told = "; ".join(f"{gpu.name}, {size}, {gpu.uuid}" for gpu, size in zip(shown, sizes, strict=True))
    return f"{told}; driver {driver or 'unknown'}" if shown else "none: NVML shows no GPU"


def examine(token: str, device: Device) -> str:
    """What a framework computes on, in a line.  Raises MachineError if it does not, or whatever it raises itself."""
    runner = base.find(token)(device, Threads(intra=1, inter=1), 0)
    missing = {mode: runner.missing(mode) for mode in runner.modes}
    usable = [mode for mode, reason in missing.items() if reason is None]
    if not usable:
        raise MachineError(next(reason for reason in missing.values() if reason))
    if token not in INSTRUMENT and not computes(runner, usable[0]):
        raise MachineError(f"{token} multiplies wrongly on {device}")
    name, version = next(iter(runner.versions().items()))
    modes = ", ".join(mode if reason is None else f"no {mode} ({reason})" for mode, reason in missing.items())
    return f"{name} {version} computes on {_place(runner, device)}; modes {modes}"


def _place(runner: Runner, device: Device) -> str:
    """The device by name; a GPU with its UUID, and why no meter will find it if none does."""
    seen = runner.devices()
    if device == "cpu":
        return f"the processor ({seen['cpu']}); cuda: {seen['cuda']}"
    uuid = runner.gpu()
    if uuid is None:
        return f"{seen['cuda']}, whose UUID its driver does not tell"
    found = nvml.choose(nvml.gpus(), uuid, None)
    return f"{seen['cuda']}, {uuid}" + (f", which cannot be metered: {found}" if isinstance(found, str) else "")


def computes(runner: Runner, mode: str) -> bool:
    """Whether a dense layer over whole numbers, which float32 and TF32 both hold, gives the sums that it must."""
    spec = Spec.model_validate({**dict(Recipe.model_validate_json(RECIPE)), "data": FACTS})
    images = np.arange(24, dtype=np.float32).reshape(2, 2, 3, 2)
    kernel = np.arange(36, dtype=np.float32).reshape(12, 3)
    program = runner.build(spec, mode, TIMED)
    program.load(State({"dense_1/kernel": kernel}))
    return np.array_equal(program.infer(images), images.reshape(2, 12) @ kernel)


def main(token: str, device: str = "cpu") -> int:
    """Print the line; the status is 1, and the line says why, where the framework does not compute."""
    try:
        if device not in ("cpu", "cuda"):
            raise MachineError(f"there is no device {device!r}", way_out="There are: cpu, cuda.")
        line = examine(token, cast(Device, device))
    except SuiteError as error:
        line = error.what
    except Exception as error:  # noqa: BLE001 - a framework may die of anything, and this is to say of what
        line = f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
    else:
        print(line)  # noqa: T201 - the answer
        return 0
    print(line, file=sys.stderr)  # noqa: T201 - the answer
    return 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:3]))
