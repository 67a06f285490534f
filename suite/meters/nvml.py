"""What NVML tells of the GPUs, through nvidia-ml-py: each value, or why it is not known.

What the driver does not tell is null with its reason, never 0 and never an exception: the library or the driver is
missing, the caller lacks permission, the GPU does not support it (an instance in MIG mode tells its memory alone), the
driver is too old to have the function, the GPU is lost on the way, the energy counter steps back.

nvidia-ml-py and this module load nothing heavy: the sampler is a process of its own and starts with every trial.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

from suite.errors import MachineError

Values = tuple[int | None, ...]
Question = Callable[[Any, Any], Values]
"""Asks nvidia-ml-py about a handle."""


class ListedGpu(NamedTuple):
    """A GPU, or an instance of one in MIG mode (``MIG-...``)."""

    name: str
    uuid: str
    memory_bytes: int | None


def _memory(nvml: Any, handle: Any) -> Values:
    memory = nvml.nvmlDeviceGetMemoryInfo(handle, version=nvml.nvmlMemory_v2)
    return memory.used, memory.reserved


# What is asked, in this order, and by what: an older driver lacks the first of two.  Energy comes first: it is set
# against the time of the sample.
QUESTIONS: tuple[tuple[tuple[str, ...], tuple[Question, ...]], ...] = (
    (("energy_mj",), (lambda nvml, gpu: (nvml.nvmlDeviceGetTotalEnergyConsumption(gpu),),)),
    (("power_mw",), (lambda nvml, gpu: (nvml.nvmlDeviceGetPowerUsage(gpu),),)),
    (
        ("used_bytes", "reserved_bytes"),
        (_memory, lambda nvml, gpu: (nvml.nvmlDeviceGetMemoryInfo(gpu).used, None)),
    ),
    (("utilization_percent",), (lambda nvml, gpu: (nvml.nvmlDeviceGetUtilizationRates(gpu).gpu,),)),
    (
        ("celsius",),
        (
            lambda nvml, gpu: (nvml.nvmlDeviceGetTemperatureV(gpu, nvml.NVML_TEMPERATURE_GPU),),
            lambda nvml, gpu: (nvml.nvmlDeviceGetTemperature(gpu, nvml.NVML_TEMPERATURE_GPU),),
        ),
    ),
    (("sm_mhz",), (lambda nvml, gpu: (nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_SM),),)),
    (("memory_mhz",), (lambda nvml, gpu: (nvml.nvmlDeviceGetClockInfo(gpu, nvml.NVML_CLOCK_MEM),),)),
    (
        ("throttle",),
        (
            lambda nvml, gpu: (nvml.nvmlDeviceGetCurrentClocksEventReasons(gpu),),
            lambda nvml, gpu: (nvml.nvmlDeviceGetCurrentClocksThrottleReasons(gpu),),
        ),
    ),
)
SERIES = tuple(name for names, _ in QUESTIONS for name in names)
"""The values of a sample, in order; their units are in suite/results/gpu_trace.py."""
NARROW = frozenset({"power_mw", "utilization_percent", "celsius", "sm_mhz", "memory_mhz"})
"""What NVML tells in 32 bits."""


class Device:
    """One GPU under observation; ``why`` says of each value that was null of late why it was."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml, self._handle = nvml, handle
        self._ways = {names: list(ways) for names, ways in QUESTIONS}
        self._energy = 0
        self.why: dict[str, str] = {}
        self.gpu = ListedGpu(
            name=_told(nvml, nvml.nvmlDeviceGetName, handle) or "unnamed",
            uuid=_told(nvml, nvml.nvmlDeviceGetUUID, handle) or "",
            memory_bytes=_told(nvml, lambda gpu: int(nvml.nvmlDeviceGetMemoryInfo(gpu).total), handle),
        )

    def sample(self) -> Values:
        """A value of every one of ``SERIES``, or null."""
        return tuple(value for names in self._ways for value in self._ask(names))

    def _ask(self, names: tuple[str, ...]) -> Values:
        """Ask in the first way that this driver knows; what it will never tell is not asked again."""
        ways = self._ways[names]
        while ways:
            try:
                answer = zip(names, ways[0](self._nvml, self._handle), strict=True)
                return tuple(self._checked(name, value) for name, value in answer)
            except (self._nvml.NVMLError, AttributeError) as error:
                why = f"NVML: {error}" if isinstance(error, self._nvml.NVMLError) else "not in this nvidia-ml-py"
                self.why |= dict.fromkeys(names, why)
                code = getattr(error, "value", self._nvml.NVML_ERROR_FUNCTION_NOT_FOUND)
                if code == self._nvml.NVML_ERROR_FUNCTION_NOT_FOUND:
                    del ways[0]
                    continue
                if code in (self._nvml.NVML_ERROR_NOT_SUPPORTED, self._nvml.NVML_ERROR_NO_PERMISSION):
                    ways.clear()
                break
        return (None,) * len(names)

    def _checked(self, name: str, value: int | None) -> int | None:
        """The value, if it is one: drivers give all ones for what they do not know."""
        if value is None:
            self.why[name] = "this driver does not tell it apart"
        elif not 0 <= value < 2**63 or (name in NARROW and value == 2**32 - 1):
            self.why[name] = f"NVML gave {value}, which is no value"
        elif name == "energy_mj" and value < self._energy:
            self.why[name] = f"the counter stepped back from {self._energy} to {value} mJ"
            self._energy = value
        else:
            if name == "energy_mj":
                self._energy = value
            return value
        return None


@contextmanager
def opened() -> Iterator[Any]:
    """NVML while it is initialised.  Raises MachineError with the reason where it cannot be."""
    try:
        import pynvml  # only where a GPU is asked for: it costs memory and time that are measured
    except ImportError:
        raise MachineError("nvidia-ml-py is not installed", way_out="`make envs` installs it.") from None
    try:
        pynvml.nvmlInitWithFlags(0)  # no GPU there is no error
    except pynvml.NVMLError as error:
        way_out = "Is the NVIDIA driver installed, and in a container its utility part?"
        raise MachineError(f"NVML: {error}", way_out=way_out) from None
    try:
        yield pynvml
    finally:
        _told(pynvml, pynvml.nvmlShutdown)


def devices(nvml: Any) -> tuple[Device, ...]:
    """Every GPU that NVML shows and may be asked, each followed by its instances in MIG mode."""
    found = []
    for index in range(_told(nvml, nvml.nvmlDeviceGetCount) or 0):
        if (handle := _told(nvml, nvml.nvmlDeviceGetHandleByIndex, index)) is not None:
            found += [Device(nvml, handle), *(Device(nvml, instance) for instance in _instances(nvml, handle))]
    return tuple(device for device in found if device.gpu.uuid)


def _instances(nvml: Any, handle: Any) -> Iterator[Any]:
    if (_told(nvml, nvml.nvmlDeviceGetMigMode, handle) or [0])[0]:
        for index in range(_told(nvml, nvml.nvmlDeviceGetMaxMigDeviceCount, handle) or 0):
            if (instance := _told(nvml, nvml.nvmlDeviceGetMigDeviceHandleByIndex, handle, index)) is not None:
                yield instance


def _told(nvml: Any, function: Callable[..., Any], *arguments: Any) -> Any:
    """What NVML answers, or None; a name that is no text is no answer."""
    try:
        return function(*arguments)
    except (nvml.NVMLError, UnicodeDecodeError):
        return None


def version(nvml: Any) -> str | None:
    """The driver's version, or null."""
    told = _told(nvml, nvml.nvmlSystemGetDriverVersion)
    return None if told is None else str(told)


def gpus() -> tuple[ListedGpu, ...]:
    """The GPUs that NVML shows; none where there is no NVML."""
    try:
        with opened() as nvml:
            return tuple(device.gpu for device in devices(nvml))
    except MachineError:
        return ()


def driver() -> str | None:
    """The driver's version, or null."""
    try:
        with opened() as nvml:
            return version(nvml)
    except MachineError:
        return None


def choose(shown: Sequence[ListedGpu], uuid: str | None, visible: str | None) -> int | str:
    """Which of the GPUs that NVML shows is meant, by its place; or why none is.

    That of the framework's ``uuid``; else the first that ``visible`` names (CUDA_VISIBLE_DEVICES: places or UUIDs,
    which may be cut short); else the first.
    """
    if uuid is not None:
        same = [place for place, gpu in enumerate(shown) if _bare(gpu.uuid) == _bare(uuid)]
        known = ", ".join(gpu.uuid for gpu in shown) or "none"
        return same[0] if same else f"the framework computes on {uuid}, but NVML shows {known}"
    whole = [place for place, gpu in enumerate(shown) if not gpu.uuid.startswith("MIG-")]
    first = "0" if visible is None else visible.split(",")[0].strip()
    named = [place for place, gpu in enumerate(shown) if first[:4] in ("GPU-", "MIG-") and gpu.uuid.startswith(first)]
    if first.isdecimal():
        named = whole[int(first) :]
    if named:
        return named[0]
    return "NVML shows no GPU" if not shown else f"CUDA_VISIBLE_DEVICES={visible} names none that NVML shows"


def _bare(uuid: str) -> str:
    """A UUID without the kind before it, which frameworks get wrong for an instance in MIG mode."""
    return uuid.removeprefix("GPU-").removeprefix("MIG-").lower()
