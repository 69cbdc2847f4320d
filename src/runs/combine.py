"""The combine task: one slice's weighted mean and outer step. Also the clearing-up. Neither needs TensorFlow."""

from __future__ import annotations

import numpy as np

from contracts.errors import TornFile
from contracts.ports import SharedFiles
from contracts.records import FileRef, Report, TaskKey
from runs import paths
from runs.execute import Execution
from runs.stages import FINAL_CLEAR_INDEX
from training import feature_blocks
from training.combine import TornUpdates, Update, average_slice
from training.outer import outer_step
from training.vector_files import Vector, read_tensors, read_vector, write_tensors, write_vector


def combine(execution: Execution) -> Report:
    """Reduce one slice of exactly the frozen updates and step the outer optimizer on it."""
    run, files = execution.run, execution.services.files
    index = execution.task.key.index
    with execution.span("wait"):
        updates = _frozen_updates(execution)
    with execution.span("load"):
        parameters = read_vector(files, [run.parameters[index]])
        state = dict(read_tensors(files, run.outer[index])) if run.outer else {}
    try:
        with execution.span("combine"):
            mean = average_slice(files, updates, run.slice_bounds, index)
            _step(execution, parameters, mean, state)
    except TornUpdates as torn:
        return Report(
            outcome="failed",
            nonce=execution.nonce,
            error=torn.error.record(),
            voids=torn.voids,
            spans=tuple(execution.spans),
        )
    with execution.span("write"):
        outputs = _write(execution, parameters, state)
    return execution.done(outputs=outputs)


def clear(execution: Execution) -> Report:
    """Remove the files of rounds that nothing names any more; the best and the final parameters stay."""
    run, services = execution.run, execution.services
    final = execution.task.key.index == FINAL_CLEAR_INDEX
    # What the run store says must survive a loss of power before what only an older state names may go.
    services.store.make_durable()
    last = run.round_index if final else run.round_index - 2
    named = [*(run.best.parameters if run.best else ()), *(run.parameters if final else ()), run.constants]
    kept = {ref.path for ref in named if ref is not None}
    with execution.span("clear"):
        for kind in paths.ROUND_FOLDERS:
            named_rounds = {int(name) for name in services.files.names(f"{paths.run_folder(run.run_id)}/{kind}")}
            # A network file system may list a folder as it was half a minute ago: the newest are looked for by name.
            for round_index in sorted(named_rounds.union(range(run.cleared_through + 1, last + 1))):
                if round_index <= last:
                    _clear_folder(services.files, paths.round_folder(run.run_id, kind, round_index), kept)
        if final:
            _clear_unfinished(services.files, paths.run_folder(run.run_id))
            if folder := run.feature_facts.get("folder"):  # the features stay, for later runs
                feature_blocks.remove_blocks(services.files, folder)
                _clear_unfinished(services.files, folder)
    return execution.done(facts={"through": last})


def _clear_unfinished(files: SharedFiles, folder: str) -> None:
    """Remove what executions that were killed were writing: temporary files, whose names begin with a dot."""
    for name in files.names(folder):
        if name.startswith("."):
            files.remove(f"{folder}/{name}")


def _clear_folder(files: SharedFiles, folder: str, kept: set[str]) -> None:
    """Remove a round's folder but for what is kept; what a crashed attempt left beside that goes too."""
    contents = [f"{folder}/{name}" for name in files.names(folder)]
    if kept.isdisjoint(contents):
        files.remove(folder)
    for path in sorted(set(contents) - kept):
        files.remove(path)


def _frozen_updates(execution: Execution) -> list[Update]:
    """The reports that the run froze when it began to combine, in worker order.

    Every combine task reads them all, at once: the cheaper read does unless it is too old to have them.
    """
    try:
        return _updates(execution, consistent=False)
    except TornFile:
        return _updates(execution, consistent=True)


def _updates(execution: Execution, *, consistent: bool) -> list[Update]:
    run = execution.run
    tasks = execution.services.store.load_tasks(run.run_id, run.round_index, consistent=consistent)
    updates = []
    for worker_index in range(run.settings.workers):
        task = tasks.get(TaskKey(round_index=run.round_index, kind="train", index=worker_index))
        report = task.report if task is not None else None
        if report is None or report.nonce != run.inputs[worker_index]:
            raise TornFile(execution.where, f"worker {worker_index}'s report is gone", run.inputs[worker_index])
        updates.append(Update(worker_index, report.outputs["update"], report.examples, report.nonce))
    return updates


def _step(execution: Execution, parameters: Vector, mean: Vector, state: dict[str, Vector]) -> None:
    """Steps on the trainable part; statistics, which lie behind it, take the plain mean of their changes."""
    run = execution.run
    low = run.slice_bounds[execution.task.key.index]
    trainable = min(max(run.trainable_count - low, 0), parameters.size)
    gradient = mean[:trainable]
    if run.settings.sync == "local":
        np.negative(gradient, out=gradient)  # the mean change of the parameters, as a gradient, points uphill
    if trainable:
        outer_step(parameters[:trainable], gradient, state, run.settings.outer, run.round_index)
    parameters[trainable:] += mean[trainable:]


def _write(execution: Execution, parameters: Vector, state: dict[str, Vector]) -> dict[str, FileRef]:
    run, files = execution.run, execution.services.files
    index = execution.task.key.index
    where = (run.run_id, run.round_index, index, run.slices, execution.nonce)
    bounds = (0, parameters.size)
    ref = write_vector(files, paths.parameters_path(*where), parameters, bounds, durable=True)
    outputs = {"parameters": execution.wrote(ref)}
    if state:
        outputs["outer"] = execution.wrote(write_tensors(files, paths.outer_path(*where), state, durable=True))
    return outputs
