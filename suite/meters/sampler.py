"""The sampler: a process of its own that asks NVML again and again, so that nothing of it sits in a timed region.

    python -m suite.meters.sampler PERIOD_NS < pipe > file

It writes a line per answer, each whole, to a file (a pipe could fill up and hold it):

    gpu NUMBER MEMORY UUID NAME      what there is, first of all
    driver VERSION
    none REASON                      there is nothing to sample; it ends
    why NUMBER SERIES REASON         why nulls of this series are null from here on
    at NUMBER NANOSECONDS VALUE...   a sample, in the order of ``nvml.SERIES``; ``-`` is null

It samples every GPU until a line on the pipe says which NUMBER is wanted, so that the idle samples of that one are
there.  It ends when the pipe does, when its parent has ended (a child of the parent may hold the pipe open), or when
told to by SIGTERM.  The schedule is absolute: a late sample delays no other, a missed one is left out.
"""

from __future__ import annotations

import os
import select
import signal
import sys
from time import perf_counter_ns

from suite.errors import MachineError
from suite.meters import nvml

PERIOD_NS = 200_000_000
"""Five samples a second: enough for energy over seconds and peaks of memory that last, at a cost that does not show."""
NICENESS = 10
PIPE, FILE = 0, 1


def main(period_ns: int) -> None:
    """Sample until told to end."""
    parent = os.getppid()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's interrupt is the parent's to answer
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    os.nice(NICENESS)
    try:
        with nvml.opened() as opened:
            devices = dict(enumerate(nvml.devices(opened)))
            say("driver", nvml.version(opened) or "-")
            for number, device in devices.items():
                memory = device.gpu.memory_bytes
                say("gpu", number, "-" if memory is None else memory, device.gpu.uuid, device.gpu.name)
            if not devices:
                say("none", "NVML shows no GPU")
                return
            sample(devices, period_ns, parent)
    except MachineError as error:
        say("none", error.what)


def sample(devices: dict[int, nvml.Device], period_ns: int, parent: int) -> None:
    """Samples of ``devices`` every ``period_ns``, of one alone once the pipe names it."""
    told: dict[tuple[int, str], str] = {}
    due = perf_counter_ns()
    while os.getppid() == parent:
        for number, device in devices.items():
            at = perf_counter_ns()
            values = device.sample()
            for name in [name for name, value in zip(nvml.SERIES, values, strict=True) if value is None]:
                if told.get((number, name)) != device.why[name]:
                    told[number, name] = device.why[name]
                    say("why", number, name, device.why[name])
            say("at", number, at, *("-" if value is None else value for value in values))
        late = perf_counter_ns() - due
        due += period_ns * (late // period_ns + 1)
        while (left := due - perf_counter_ns()) > 0:
            if select.select([PIPE], [], [], left / 1e9)[0]:
                wanted = os.read(PIPE, 64).split()
                if not wanted:
                    return
                devices = {int(wanted[-1]): devices[int(wanted[-1])]}


def say(*words: object) -> None:
    """One line, straight into the file: what is written is kept, however this process ends."""
    os.write(FILE, (" ".join(" ".join(map(str, words)).split()) + "\n").encode())


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else PERIOD_NS)
