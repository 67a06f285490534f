"""On what a cell ran: processor, memory, system, packages, locks and the suite's own source, as far as they tell."""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import os
import platform
import re
import subprocess
from pathlib import Path
from typing import Literal

import psutil

from suite import __version__
from suite.install import environments
from suite.meters import nvml
from suite.results.environment import Environment, Gpu, Processor
from suite.spec.resolved import digest

ROOT = Path(__file__).parents[2]
CPU = Path("/sys/devices/system/cpu")
TELLING = frozenset({"cli", "compare", "install", "report"})
"""Folders that show numbers or install what makes them: they decide none."""
READ = (
    "ATEN_", "CUDA_DEVICE_", "CUDA_LAUNCH_BLOCKING", "CUDA_MODULE_LOADING", "CUDA_VISIBLE_DEVICES", "CUDNN_", "CXX",
    "DNNL_", "GLIBC_TUNABLES", "GOMP_", "KMP_", "LD_PRELOAD", "MALLOC_", "MKL_", "NVIDIA_TF32_OVERRIDE", "OMP_",
    "ONEDNN_", "OPENBLAS_", "PYTHONMALLOC", "PYTORCH_", "TF_CUDNN_", "TF_DETERMINISTIC_", "TF_DISABLE_", "TF_ENABLE_",
    "TF_FORCE_", "TF_GPU_", "TF_NUM_", "TF_ONEDNN_", "TF_USE_", "TF_XLA_", "TORCH", "TRITON_", "XLA_",
)  # fmt: skip
"""How the names of variables begin that libraries read and that decide speed."""
PINNED = frozenset({"OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "TF_CUDNN_USE_AUTOTUNE"})
"""Those that the suite itself sets for a trial: records hold what they say as threads and settings."""
MOST_VARIABLES = 100


def lock_digest(token: str) -> str | None:
    """Digest of the lock file that a runner's environment is installed from; null if there is none."""
    path = environments.lock(ROOT, token)
    return f"sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}" if path.is_file() else None


def installed_lock(token: str) -> str | None:
    """Digest of the lock that a runner's environment was made from: its own, or the core's."""
    return lock_digest(token) or lock_digest("core")


@functools.cache
def source_digest() -> str:
    """Digest over the suite's own Python files, by path, without the folders that decide no number."""
    hashed = hashlib.sha256()
    suite = ROOT / "suite"
    for path in sorted(suite.rglob("*.py")):
        if path.relative_to(suite).parts[0] in TELLING:
            continue
        hashed.update(f"{path.relative_to(ROOT)} {path.stat().st_size}\n".encode())
        hashed.update(path.read_bytes())
    return f"sha256:{hashed.hexdigest()}"


@functools.cache
def commit() -> str | None:
    """The checkout's git commit, with ``+`` if it holds changes; null outside a checkout."""
    if stated := os.environ.get("PARITY_COMMIT"):
        return stated
    try:
        git = functools.partial(subprocess.run, cwd=ROOT, capture_output=True, text=True, check=True, timeout=10)
        head = git(["git", "rev-parse", "--short=12", "HEAD"]).stdout.strip()
        changed = git(["git", "status", "--porcelain", "--untracked-files=no"]).stdout.strip()
    except (OSError, subprocess.SubprocessError):
        return None
    return head + ("+" if changed else "")


def build() -> dict[str, str]:
    """What the image that this process runs in was built from, as far as its build was told; natively nothing."""
    stated = {name: os.environ.get(f"PARITY_{name.upper()}") for name in ("base", "base_digest", "inputs", "cuda")}
    return {name: value for name, value in stated.items() if value} if in_container() else {}


def in_container() -> bool:
    """Whether this process runs in an image of the suite, which says so."""
    return os.environ.get("PARITY_PLACE") == "container"


def place() -> Literal["native", "container"]:
    """Where this process runs, as a result tells it."""
    return "container" if in_container() else "native"


@functools.cache
def cpu_model() -> str:
    """The processor's name as the system tells it."""
    return _cpuinfo("model name") or platform.processor() or platform.machine()


@functools.cache
def cpu_features() -> tuple[str, ...]:
    """The instruction sets and the like that the processor offers, sorted; empty where the system does not tell.

    Libraries choose their kernels by them, and a virtual machine's processors may share a name that hides them.
    """
    return tuple(sorted(_cpuinfo("flags", "Features").split()))


def _cpuinfo(*fields: str) -> str:
    """What Linux tells first under one of these names; empty if nothing."""
    lines = (line.partition(":") for line in (_text(Path("/proc/cpuinfo")) or "").splitlines())
    return next((value.strip() for name, _, value in lines if name.strip() in fields), "")


def last_level_caches() -> int | None:
    """Bytes of all last-level caches of the cores that this process may use; null where the system does not tell."""
    found: dict[str, int] = {}
    for core in os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else ():
        levels: dict[int, tuple[str, int]] = {}
        for cache in (CPU / f"cpu{core}" / "cache").glob("index*"):
            level, kind, size, shared = (_text(cache / name) for name in ("level", "type", "size", "shared_cpu_list"))
            match = re.fullmatch(r"(\d+)([KMG]?)", size or "")
            if level and level.isdigit() and kind != "Instruction" and match:
                scale = 1 << 10 * " KMG".index(match[2] or " ")
                levels[int(level)] = (f"{level}: {shared or core}", int(match[1]) * scale)
        found |= [levels[max(levels)]] if levels else []
    return sum(found.values()) or None


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def machine(gpus: tuple[Gpu, ...] = ()) -> str:
    """Fingerprint of what decides speed: results whose fingerprint differs are never ranked."""
    memory = round(psutil.virtual_memory().total / 2**30)
    return digest([cpu_model(), cpu_features(), cores(), memory, platform.machine(), [gpu.uuid for gpu in gpus]])


def variables() -> dict[str, str]:
    """The variables of this process that decide speed, as far as the caller set them; neither caches nor logs do."""
    found = {
        name[:400]: value[:400]
        for name, value in sorted(os.environ.items())
        if name.startswith(READ) and name not in PINNED and not re.search("CACHE|LOG|_CPP_", name)
    }
    return dict(list(found.items())[:MOST_VARIABLES])


def processor() -> Processor:
    """Clock, temperature and load at this moment."""
    frequency = _clock()
    sensors = psutil.sensors_temperatures() if hasattr(psutil, "sensors_temperatures") else {}
    temperatures = [reading.current for group in sensors.values() for reading in group]
    return Processor(
        mhz=frequency,
        celsius=max(temperatures) if temperatures else None,
        load_1min=os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    )


def _clock() -> float | None:
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError):
        return None
    return float(frequency.current) or None if frequency else None


def turbo() -> bool | None:
    """Whether the processor may exceed its base clock; null where the system does not tell."""
    if (off := _text(CPU / "intel_pstate" / "no_turbo")) is not None:
        return off == "0"
    boost = _text(CPU / "cpufreq" / "boost")
    return None if boost is None else boost == "1"


@functools.cache
def packages() -> dict[str, str]:
    """Every installed distribution and its version."""
    found = importlib.metadata.distributions()
    return dict(
        sorted((d.metadata["Name"].lower(), d.version) for d in found if d.metadata["Name"])
    )  # half removed: none


def gpus() -> tuple[Gpu, ...]:
    """The GPUs as their driver tells them; none where it tells nothing."""
    return tuple(Gpu(name=g.name[:400], uuid=g.uuid[:400], memory_bytes=g.memory_bytes) for g in nvml.gpus())


def describe(token: str, *, device: str = "cpu", metered: bool = False) -> Environment:
    """The environment of this process, which runs ``token`` on ``device``; the trial adds what its runner tells.

    The driver of the GPU is asked only where one computes or is ``metered``: asking takes memory of this process.
    """
    asked = metered or device == "cuda"
    shown = gpus() if asked else ()
    return Environment(
        machine=machine(shown if device == "cuda" else ()),
        cpu=cpu_model(),
        cores=cores(),
        memory_bytes=psutil.virtual_memory().total,
        kernel=platform.release(),
        system=_system(),
        python=platform.python_version(),
        suite=__version__,
        source=source_digest(),
        commit=commit(),
        lock=installed_lock(token),
        place=place(),
        image=os.environ.get("PARITY_IMAGE") or None,
        build=build(),
        packages=packages(),
        cpu_features=digest(cpu_features()) if cpu_features() else None,
        variables=variables(),
        governor=_text(CPU / "cpu0" / "cpufreq" / "scaling_governor"),
        turbo=turbo(),
        before=processor(),
        gpus=shown,
        driver=nvml.driver() if asked else None,
    )


def _system() -> str:
    try:
        return platform.freedesktop_os_release()["PRETTY_NAME"]
    except OSError:
        return platform.platform()


def _text(path: Path) -> str | None:
    try:
        return path.read_text().strip()
    except OSError:
        return None
