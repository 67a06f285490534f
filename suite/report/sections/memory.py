"""Peak resident memory of the process, phase by phase; a dash where it is not the cell's own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from suite.report.evidence.diverged import marked
from suite.report.evidence.merge import UNRANKED, ComparisonGroup, Evidence
from suite.report.evidence.processes import RULE, Processes
from suite.report.text.markdown import Markdown, Notes, table
from suite.report.text.units import mebibytes
from suite.results.records import Measured

Labels = Mapping[ComparisonGroup, str]
PHASES = {
    "import_bytes": "import", "build_bytes": "build", "steady_bytes": "measuring",
    "device_bytes": "device", "allocator_bytes": "allocator",
}  # fmt: skip
ON_GPU = ("device_bytes", "allocator_bytes")
WHOLE_PROCESS = ("import_bytes",)
"""What was read before any cell began: true of every cell of the process."""
UNKNOWN = {"device_bytes": "no GPU reported it", "allocator_bytes": "the framework does not report it"}


def section(evidence: Evidence, labels: Labels) -> list[Markdown]:
    """The largest peaks over rounds."""
    notes, processes = Notes(), Processes(evidence)
    everyone = [
        r for cells in evidence.learnt.values() for c, rs in cells.items() if c.runner not in UNRANKED for r in rs
    ]
    phases = [name for name in PHASES if name not in ON_GPU or _peak(everyone, name) is not None]
    rows: list[list[str]] = []
    for group, cells in evidence.learnt.items():
        for framework_mode, results in cells.items():
            if framework_mode.runner not in UNRANKED:
                who = marked(framework_mode.runner, results, notes)
                figures = (figure(results, name, processes, notes) for name in phases)
                rows.append([labels[group], who, framework_mode.mode, *figures])
    if not rows:
        return [Markdown("Nothing was measured.")]
    told = "Peak resident memory of the process in each phase: the largest over rounds, unproven cells included. "
    told += f"*Import* comes before the first cell of a process and always stands. {RULE}"
    told += " *Device* is the memory of the whole GPU above its idle baseline." if "device_bytes" in phases else ""
    told += " *Allocator* is what the framework's own allocator held there." if "allocator_bytes" in phases else ""
    heads = ["benchmark", "framework", "mode", *(PHASES[name] for name in phases)]
    return [table(heads, rows, "lll" + "r" * len(phases)), *notes.lines(), Markdown(told)]


def figure(results: Sequence[Measured], name: str, processes: Processes, notes: Notes) -> str:
    """The largest peak of a phase over cells that it is their own of, or a dash with the reason."""
    if _peak(results, name) is None:
        return notes.dash(UNKNOWN.get(name, "the system does not report it"))
    own = [r for r in results if name in WHOLE_PROCESS or not processes.shared(r)]
    peak = _peak(own, name)
    if peak is None:
        return notes.dash(next(why for r in results if (why := processes.shared(r))))
    return mebibytes(peak)


def _peak(results: Sequence[Measured], name: str) -> int | None:
    known = [value for r in results if (value := getattr(r.memory, name)) is not None]
    return max(known, default=None)
