"""The tasks that need the model: initialise, train and evaluate."""

from __future__ import annotations

import json
import math
from typing import Any

from contracts.errors import Refused
from contracts.records import FileRef, Report, TaskKey
from runs import paths
from runs.execute import Execution
from runs.extract import joined_features
from runs.half_updates import handed_in, parted, update_bytes
from runs.slices import slice_count
from runs.trainer import NO_TENSORS, ShardInProgress, Tensors, Trainer, parameters_digest
from runs.worker_telemetry import Progress, flush_s, show_looks
from training import shards
from training.vector_files import Vector, read_tensors, slice_bounds, write_tensors, write_vector

FIRST_CHUNK_STEPS = 4
CHUNK_S = 1.0
"""Steps are asked for in chunks of about this long: between two of them the clock is looked at."""


def initialise(execution: Execution, trainer: Trainer) -> Report:
    """Write the parameters, constants and worker state that every worker starts from; join a backbone's outputs."""
    run, files, nonce = execution.run, execution.services.files, execution.nonce
    with execution.span("build"):
        initial = trainer.initial(run)
    features = joined_features(execution, trainer)
    parameters = initial.parameters
    sizes = (parameters.size, parameters.itemsize)
    bounds = slice_bounds(parameters.size, slice_count(run.settings, update_bytes(run.settings, *sizes)))
    outputs: dict[str, FileRef] = {}
    with execution.span("write"):
        for index, low in enumerate(bounds[:-1]):
            part = parameters[low : bounds[index + 1]]
            path = paths.parameters_path(run.run_id, 0, index, len(bounds) - 1, nonce)
            ref = write_vector(files, path, part, (0, part.size), durable=True)
            outputs[f"parameters-{index}"] = execution.wrote(ref)
        for name, path, tensors in (
            ("state", paths.initial_state_path(run.run_id, nonce), initial.state),
            ("constants", paths.constants_path(run.run_id, nonce), initial.constants),
        ):
            if tensors:
                outputs[name] = execution.wrote(write_tensors(files, path, tensors, durable=True))
    facts = {
        "parameter_count": parameters.size,
        "trainable_count": initial.trainable_count,
        "slice_bounds": list(bounds),
        "features": features,
    }
    return execution.done(outputs=outputs, facts=facts, fingerprint=trainer.fingerprint)


def train(execution: Execution, trainer: Trainer) -> Report:
    """Train one worker's shard of one round, or as much of it as fits into the time limit."""
    run, resume = execution.run, execution.task.resume
    worker_index = execution.task.key.index
    assert run.plan is not None  # noqa: S101 - a run in TRAINING has one
    with execution.span("load"):
        parameters = _parameters(execution)
        constants = _constants(execution)
        started_from, error = parted(_checkpoint(execution) if resume else _worker_state(execution))
    if resume:
        metrics = dict(resume.metrics)
    else:
        with execution.span("evaluate"):
            metrics = _validate(execution, trainer, parameters, constants)
    with execution.span("assign"):
        pieces = shards.shard(run.plan, run.settings, run.round_index, worker_index)
        shard = trainer.shard(run, run.round_index, worker_index, pieces)
        if resume:
            shard.restore(constants, started_from)
        else:
            shard.start(parameters, constants, started_from)
    with execution.span("compute"):
        finished = _advance(execution, shard)
    with execution.span("write"):
        outputs = _outputs(execution, shard, parameters, error) if finished else _pause(execution, shard, error)
    return Report(
        outcome="done" if finished else "paused",
        nonce=execution.nonce,
        outputs=outputs,
        metrics=metrics | _training_metrics(shard),
        examples=shard.examples,
        steps_done=shard.step,
        fingerprint=trainer.fingerprint,
        peak_memory_bytes=trainer.peak_memory_bytes(),
        spans=tuple(execution.spans),
    )


def evaluate(execution: Execution, trainer: Trainer) -> Report:
    """Touch the test set once, with the final parameters; write the model and the run's figures."""
    run, files = execution.run, execution.services.files
    with execution.span("load"):
        parameters = _parameters(execution)
        constants = _constants(execution)
    with execution.span("evaluate"):
        results: dict[str, Any] = dict(trainer.test(run, parameters, constants))
    results["parameters_sha256"] = parameters_digest(parameters)
    with execution.span("write"):
        for suffix, content in trainer.export(run, parameters, constants).items():
            files.write(paths.model_path(run.run_id, suffix), [content], durable=True)
        text = json.dumps(results | {"run_id": run.run_id}, indent=2, sort_keys=True)
        files.write(paths.report_path(run.run_id), [text.encode()], durable=True)
    return execution.done(facts=results, fingerprint=trainer.fingerprint)


def _parameters(execution: Execution) -> Vector:
    """The parameters that the stage begins with, shape (parameters,); not to be written to."""
    return execution.services.newest_parameters.read(execution.services.files, execution.run.parameters)


def _constants(execution: Execution) -> Tensors:
    ref = execution.run.constants
    return read_tensors(execution.services.files, ref) if ref else NO_TENSORS


def _checkpoint(execution: Execution) -> Tensors:
    resume = execution.task.resume
    assert resume is not None  # noqa: S101 - asked for only then
    return read_tensors(execution.services.files, resume.outputs["checkpoint"])


def _worker_state(execution: Execution) -> Tensors:
    """This worker's own state after the round before: of just the execution whose update was combined."""
    run, worker_index = execution.run, execution.task.key.index
    if run.round_index == 1:
        return read_tensors(execution.services.files, run.initial_state) if run.initial_state else NO_TENSORS
    key = TaskKey(round_index=run.round_index - 1, kind="train", index=worker_index)
    task = execution.services.store.load_task(run.run_id, key)
    report = task.report if task else None
    if report is None or report.nonce != run.previous_inputs[worker_index]:
        raise Refused(f"{key} is no longer the one that round {run.round_index} follows")
    ref = report.outputs.get("state")
    return read_tensors(execution.services.files, ref) if ref else NO_TENSORS


def _validate(execution: Execution, trainer: Trainer, parameters: Vector, constants: Tensors) -> dict[str, float]:
    """This worker's part of the validation split, on the parameters that the round begins with."""
    run, worker_index = execution.run, execution.task.key.index
    assert run.plan is not None  # noqa: S101 - a run in TRAINING has one
    if not shards.is_validation_round(run.plan, run.settings, run.round_index):
        return {}
    examples = int(run.data_facts.get("val_examples", 0))
    low, high = shards.validation_part(examples, run.settings.workers, worker_index)
    if low == high:
        return {}
    validation = trainer.validate(run, parameters, constants, low, high)
    if validation.looks is not None:
        show_looks(execution, trainer, validation.looks)
    return {f"val_{name}": value for name, value in validation.sums.items()}


def _training_metrics(shard: ShardInProgress) -> dict[str, float]:
    """Means over the examples trained on in this round."""
    accuracy = shard.mean_accuracy
    return {"loss": shard.mean_loss} | ({} if accuracy is None else {"accuracy": accuracy})


def _advance(execution: Execution, shard: ShardInProgress) -> bool:
    """Step until the shard is done or the time limit is near. Returns whether it is done.

    Progress goes out now and then; it is also the moment to notice that the run has ended.
    """
    clock = execution.services.clock
    between_s = flush_s(execution.run)
    progress = Progress(execution)
    last_flush = began = clock.now()
    step_s = 0.0
    while shard.step < shard.total_steps:
        chunk = FIRST_CHUNK_STEPS if not step_s else max(1, math.floor(CHUNK_S / step_s))
        spare_s = execution.spare_s
        if step_s:
            chunk = min(chunk, math.floor(spare_s / step_s))
        if spare_s <= 0 or chunk < 1:
            progress.flush()
            return False
        steps = shard.advance(chunk)
        progress.add(steps)
        now = clock.now()
        step_s = max(1e-6, (now - began) / len(steps.losses))  # of this chunk: the first one compiles
        began = now
        if now - last_flush >= between_s:
            progress.flush()
            last_flush = now
            execution.check_wanted()
    progress.flush()
    return True


def _outputs(execution: Execution, shard: ShardInProgress, parameters: Vector, error: Tensors) -> dict[str, FileRef]:
    """The update, not synchronised as it can be computed again, and the worker's state, which is."""
    run, files, nonce = execution.run, execution.services.files, execution.nonce
    where = (run.run_id, run.round_index, execution.task.key.index, nonce)
    update, left = handed_in(run.settings, shard.update(parameters), error)
    ref = write_vector(files, paths.update_path(*where), update, run.slice_bounds, durable=False)
    outputs = {"update": execution.wrote(ref)}
    if state := {**shard.worker_state(), **left}:
        outputs["state"] = execution.wrote(write_tensors(files, paths.state_path(*where), state, durable=True))
    return outputs


def _pause(execution: Execution, shard: ShardInProgress, error: Tensors) -> dict[str, FileRef]:
    run = execution.run
    path = paths.state_path(run.run_id, run.round_index, execution.task.key.index, execution.nonce)
    ref = write_tensors(execution.services.files, path, {**shard.checkpoint(), **error}, durable=True)
    return {"checkpoint": execution.wrote(ref)}
