"""What a machine has, and whether a framework computes: asked of the runners that need no framework, and of doubles."""

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from suite.machine import doctor, environment
from suite.meters import nvml
from suite.runners import base
from suite.runners.base import Threads
from suite.runners.reference import runner as reference
from tests.support import nvml as double

UUID = double.UUID


def ask(*words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "suite.machine.doctor", *words]
    return subprocess.run(command, cwd=environment.ROOT, capture_output=True, text=True, timeout=120, check=False)


@pytest.mark.parametrize(
    ("words", "status", "line"),
    [
        (["null"], 0, f"numpy {np.__version__} computes on the processor (not used); cuda: not used; modes null"),
        (["reference", "cuda"], 1, "NumPy computes on the processor only"),
        (["zork"], 1, "there is no runner 'zork'"),
        (["null", "tpu"], 1, "there is no device 'tpu'"),
    ],
)
def test_a_framework_says_in_one_line_whether_it_computes(words: list[str], status: int, line: str) -> None:
    done = ask(*words)
    assert done.returncode == status
    assert (done.stdout if not status else done.stderr) == line + "\n"


def test_a_framework_that_cannot_be_imported_is_said_without_a_traceback(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(name: str) -> Any:
        raise OSError("libcublas.so.13: cannot open shared object file")

    monkeypatch.setattr(base.importlib, "import_module", broken)
    assert doctor.main("torch") == 1
    assert capsys.readouterr().err == "OSError: libcublas.so.13: cannot open shared object file\n"


def test_what_multiplies_wrongly_is_found_out(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    infer = reference.Program.infer
    assert doctor.main("reference") == 0
    monkeypatch.setattr(reference.Program, "infer", lambda self, images: infer(self, images) + 1)
    assert doctor.main("reference") == 1
    assert capsys.readouterr().err == "reference multiplies wrongly on cpu\n"


class OnGpu(reference.Runner):
    """The reference, as if it computed on a GPU."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__("cpu", Threads(intra=1, inter=1), 0)

    def devices(self) -> dict[str, str]:
        return {"cpu": "x", "cuda": "Double A"}

    def gpu(self) -> str | None:
        return UUID


@pytest.mark.parametrize(
    ("uuid", "shown", "said"),
    [
        (UUID, (nvml.ListedGpu("Double A", UUID, None),), f"computes on Double A, {UUID}; modes"),
        (UUID, (), f"{UUID}, which cannot be metered: the framework computes on {UUID}, but NVML shows none; modes"),
        (None, (), "computes on Double A, whose UUID its driver does not tell; modes"),
    ],
)
def test_a_gpu_is_named_with_its_uuid_and_looked_for_among_those_of_nvml(
    uuid: str | None, shown: tuple[nvml.ListedGpu, ...], said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(base, "find", lambda token: OnGpu)
    monkeypatch.setattr(OnGpu, "gpu", lambda self: uuid)
    monkeypatch.setattr(nvml, "gpus", lambda: shown)
    assert said in doctor.examine("double", "cuda")


needs_compiler = pytest.mark.skipif(double.COMPILER is None, reason="no C compiler here")


@needs_compiler
def test_every_gpu_of_the_machine_is_told(tmp_path: Path) -> None:
    library = double.build(tmp_path / "lib")
    variables = double.environment(library, double.script(tmp_path / "script"))
    code = "from suite.machine import doctor; print(doctor.gpus())"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=environment.ROOT, env={**environment.os.environ, **variables},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout == f"Double A, 75 GiB, {UUID}; driver 575.51\n"


def test_without_nvml_the_reason_stands_in_the_row_of_the_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> Any:
        raise nvml.MachineError("NVML: Driver Not Loaded")

    monkeypatch.setattr(nvml, "opened", refuse)
    assert doctor.machine()["GPU"] == "none: NVML: Driver Not Loaded"
