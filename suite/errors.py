"""The errors a user can meet.  Each says what is wrong, where, and the way out; none is ever a traceback.

SuiteError
├── SpecError      a spec or profile cannot be read or makes no sense
├── DataError      a data set is unknown, damaged or cannot be had
├── ResultError    a result file is not one, or not whole
├── MachineError   this machine lacks something: a framework, a compiler, disk, permission
├── Unsupported    a runner lacks a layer or a mode; ends as a Result, not as an error
└── RunError       a run cannot start or go on
"""


class SuiteError(Exception):
    """What is wrong, ``where`` (file and field), and the ``way_out``; printed as one short paragraph."""

    def __init__(self, what: str, *, where: str = "", way_out: str = "") -> None:
        self.what, self.where, self.way_out = what, where, way_out
        super().__init__(": ".join(part for part in (where, what) if part) + (f"\n  {way_out}" if way_out else ""))


class SpecError(SuiteError):
    """A spec or a profile cannot be read or makes no sense."""


class DataError(SuiteError):
    """A data set is unknown, damaged or cannot be had."""


class ResultError(SuiteError):
    """A result file is not one, or not whole."""


class MachineError(SuiteError):
    """The machine lacks something: a framework, a compiler, disk, permission."""


class Unsupported(SuiteError):  # noqa: N818 - it becomes a Result
    """A runner lacks a layer or a mode on this machine.  It becomes a Result with the reason."""


class RunError(SuiteError):
    """A run cannot start or cannot go on."""
