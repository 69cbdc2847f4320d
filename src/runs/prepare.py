"""The prepare task: the data set onto the shared files, once for all runs that use it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from contracts.records import Report, Run
from runs.execute import Execution
from training.feature_blocks import backbone_folder, joined_features

PrepareData = Callable[[Run], dict[str, Any]]
"""Makes the data set ready on the shared files and returns its facts; does nothing where it is ready."""


def prepare(execution: Execution, prepare_data: PrepareData) -> Report:
    """Make the data set ready and report its facts: `train_examples`, `val_examples`, its folder, ….

    For a run on the outputs of a frozen backbone also `features`, where an earlier run has left them.

    Two at once write the same bytes under the same names, so a duplicate is harmless.
    """
    with execution.span("prepare"):
        run, files = execution.run, execution.services.files
        facts = prepare_data(run)
        if run.settings.backbone_digest:
            features = joined_features(files, backbone_folder(facts, run.settings.backbone_digest))
            facts = facts | ({"features": features} if features else {})
    return execution.done(facts=facts)
