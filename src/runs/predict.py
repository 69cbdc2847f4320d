"""Use a run's model: predictions for pictures, figures on the test set, files of a run that has not finished.

Works while the run goes on and after it has ended, from the parameters that the run names at that moment.
TensorFlow is imported by the calls, not with this module: a function may have to fetch it first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from contracts.errors import LambdafitError, ModelNotReady, TornFile
from contracts.ports import SharedFiles
from contracts.records import Run
from runs import paths
from runs.services import Services
from runs.trainer import NO_TENSORS, Tensors, Trainer, parameters_digest
from training.datasets.source import source_named
from training.images import read_image
from training.vector_files import Vector, read_tensors, read_vector
from training.weights import with_local_weights

if TYPE_CHECKING:
    from training.compiled import CompiledRecipe

TOP = 3
TRIES = 5


def predict(services: Services, run_id: str, images: Sequence[str]) -> dict[str, Any]:
    """What the model sees in pictures.

    Args:
        images: files that this function can open.
    Returns:
        JSON-ready: run_id, round_index and for each picture its name with label, class_name, confidence and the
        three likeliest classes; for regression with its values.
    Raises:
        InvalidImage: a file is no picture of the model's size.
        ModelNotReady: the run has no parameters yet.
    """

    def look(run: Run, parameters: Vector, constants: Tensors) -> dict[str, Any]:
        from training.export import predict as predict_examples  # imports TensorFlow

        compiled = _compiled(run, services.files)
        facts = run.data_facts
        level = source_named(compiled.recipe.dataset).max_level
        pictures = [read_image(Path(path), tuple(facts["x_shape"]), level) for path in images]
        x = np.stack(pictures).astype(facts["x_dtype"])  # (pictures, *input)
        outputs = predict_examples(compiled, parameters, constants, x)  # (pictures, outputs)
        names = facts["class_names"] if compiled.recipe.task == "classification" else None
        found = [{"image": path} | describe_output(output, names) for path, output in zip(images, outputs, strict=True)]
        return {"run_id": run.run_id, "round_index": round_of(run), "predictions": found}

    return _with_parameters(services, run_id, look)


def evaluate(services: Services, trainer: Trainer, run_id: str) -> dict[str, Any]:
    """Loss and accuracy of the run's parameters on the validation and test sets.

    Raises:
        ModelNotReady: the run has no parameters yet.
    """

    def look(run: Run, parameters: Vector, constants: Tensors) -> dict[str, Any]:
        metrics = trainer.test(run, parameters, constants)
        digest = parameters_digest(parameters)
        return {"run_id": run.run_id, "round_index": round_of(run), **metrics, "parameters_sha256": digest}

    return _with_parameters(services, run_id, look)


def export(services: Services, trainer: Trainer, run_id: str, suffix: str, name: str) -> dict[str, Any]:
    """Write the model as a file of the run's folder, whoever asked copies it from there and removes it.

    Args:
        suffix: `keras` or `safetensors`.
        name: the file's name.
    Raises:
        ModelNotReady: the run has no parameters yet.
    """

    def look(run: Run, parameters: Vector, constants: Tensors) -> dict[str, Any]:
        path = paths.export_path(run.run_id, name)
        services.files.write(path, [trainer.export(run, parameters, constants)[suffix]], durable=False)
        return {"run_id": run.run_id, "round_index": round_of(run), "path": path}

    return _with_parameters(services, run_id, look)


def describe_output(output: Vector, class_names: Sequence[str] | None) -> dict[str, Any]:
    """One output of the model in words.

    Args:
        output: shape (outputs,): probabilities, or of two classes that of the second alone.
        class_names: by label, perhaps fewer than there are; None for regression.
    """
    if class_names is None:
        return {"values": [float(value) for value in output]}
    shares = np.array([1 - output[0], output[0]]) if output.size == 1 else output
    order = np.argsort(-shares, kind="stable")[:TOP]
    top = [
        {
            "label": int(label),
            "class_name": class_names[label] if label < len(class_names) else str(label),
            "confidence": float(shares[label]),
        }
        for label in order
    ]
    return {**top[0], "top": top}


def round_of(run: Run) -> int:
    """The round whose parameters the run names."""
    if run.final_round is not None:
        return run.final_round
    return max(0, run.round_index - 1)


def _with_parameters(
    services: Services, run_id: str, look: Callable[[Run, Vector, Tensors], dict[str, Any]]
) -> dict[str, Any]:
    """Call `look` with the run's parameters. A run that goes on may clear the files that it has just named."""
    lost: LambdafitError | None = None
    for _ in range(TRIES):
        run = services.store.load_run(run_id)
        if not run.parameters:
            raise ModelNotReady(f"run {run_id}", "it has no parameters yet", "one that has begun to train")
        try:
            parameters = read_vector(services.files, run.parameters)
            constants = read_tensors(services.files, run.constants) if run.constants else NO_TENSORS
        except TornFile as error:
            lost = error
            continue
        return look(run, parameters, constants)
    assert lost is not None  # noqa: S101 - the loop ends so only after a loss
    raise lost


def _compiled(run: Run, files: SharedFiles) -> CompiledRecipe:
    from training.compiled import compiled_recipe  # imports TensorFlow

    location = run.settings.recipe
    if location.endswith(".py"):
        location = files.local_path(location)
    settings = with_local_weights(run.settings.recipe_settings, files.local_path)
    return compiled_recipe(location, settings, sync=run.settings.sync)
