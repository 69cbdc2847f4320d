"""The prepare task: the data set onto the shared files, once for all runs that use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts.records import Report, Run
from runs.execute import Execution

PrepareData = Callable[[Run], dict[str, Any]]
"""Makes the data set ready on the shared files and returns its facts; does nothing where it is ready."""


def prepare(execution: Execution, prepare_data: PrepareData) -> Report:
    """Make the data set ready and report its facts: `train_examples`, `val_examples`, its folder, ….

    Two at once write the same bytes under the same names, so a duplicate is harmless.
    """
    with execution.span("prepare"):
        facts = prepare_data(execution.run)
    return execution.done(facts=facts)
