"""The tasks that there are: each file of this folder that holds one, found by its name."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Union, get_args

from pydantic import Field

from suite.spec.targets import Target
from suite.spec.tasks.task import Task, TaskMetrics

NOT_TASKS = frozenset({"__init__", "found", "shown", "task"})


def _found() -> tuple[type[Task], ...]:
    """The task of each file; it is named as its kind."""
    tasks = []
    for path in sorted(Path(__file__).parent.glob("*.py")):
        if path.stem not in NOT_TASKS:
            module = importlib.import_module(f"suite.spec.tasks.{path.stem}")
            (task,) = (
                value for value in vars(module).values()
                if isinstance(value, type) and issubclass(value, Task) and value.__module__ == module.__name__
            )  # fmt: skip
            tasks.append(task)
    return tuple(tasks)


TASKS = _found()
METRICS = tuple(task.metrics_kind for task in TASKS if task.metrics_kind is not None)

if TYPE_CHECKING:
    AnyTask = Task
    AnyTaskMetrics = TaskMetrics
else:
    AnyTask = Annotated[Union[TASKS], Field(discriminator="kind")]  # noqa: UP007 - of as many as there are
    AnyTaskMetrics = Annotated[Union[METRICS], Field(discriminator="kind")]  # noqa: UP007


def default(target: Target) -> Task:
    """The task of a spec that states none."""
    (task,) = (task for task in TASKS if target in task.default_for)
    (kind,) = get_args(task.model_fields["kind"].annotation)
    return task(kind=kind)
