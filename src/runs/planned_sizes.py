"""How large a planned run is: as an earlier run of the same recipe was, or as its model says when it is built."""

from __future__ import annotations

from collections.abc import Iterable

from contracts.errors import InvalidSetting, RecipeFailed
from contracts.records import Run
from contracts.settings import RunSettings
from runs.describe_model import VALIDATION_FRACTION, ModelQuestion, ModelSizes
from runs.describe_recipe import DataPlaces
from runs.own_process import ask
from runs.sizes import Sizes

BACKBONE_FLOPS_PER_S = 40e9
"""Of one core, in large convolutions."""


def like_before(settings: RunSettings, runs: Iterable[Run]) -> list[Run]:
    """Earlier runs of just this model, newest first, those with the same batch before the others."""
    known = [run for run in runs if run.parameter_count and _is_same_model(run.settings, settings)]
    return sorted(known, key=lambda run: run.settings.batch_size != settings.batch_size)


def built_sizes(recipe: str, settings: RunSettings, places: DataPlaces) -> Sizes:
    """The sizes of a model that is built for it, in a process of its own; nothing is written.

    Args:
        recipe: a built-in name, or the path of a user's file.
    Raises:
        RecipeFailed: the recipe's code raised, or took its process along.
        InvalidSetting: there are more workers than examples.
    """
    question = ModelQuestion(recipe, settings.recipe_settings, settings.sync, settings.seed, places)
    found = ask(
        "runs.describe_model",
        question,
        ModelSizes,
        lambda how: RecipeFailed(recipe, f"{how} before the model was built"),
    )
    return _sizes(found, settings)


def _sizes(found: ModelSizes, settings: RunSettings) -> Sizes:
    validation = min(round(found.examples * VALIDATION_FRACTION), max(0, found.examples - 1))
    examples = found.examples - validation
    if settings.workers > examples:
        raise InvalidSetting("--workers", str(settings.workers), f"at most {examples}, the training examples")
    here = "" if found.is_data_here else "; the data set is not here yet, so its size is a guess"
    return Sizes(
        parameters=found.parameters,
        state_bytes=found.state_bytes,
        constants_bytes=found.constants_bytes,
        examples=examples,
        val_examples=validation,
        test_examples=found.test_examples,
        data_bytes=found.examples * found.example_bytes,
        test_bytes=found.test_examples * found.example_bytes,
        source=f"the model, built for this estimate{here}",
        backbone_s=found.backbone_flops / BACKBONE_FLOPS_PER_S,
        feature_bytes=found.feature_bytes,
        weights_bytes=found.weights_bytes,
    )


def _is_same_model(one: RunSettings, two: RunSettings) -> bool:
    def model(settings: RunSettings) -> tuple[object, ...]:
        shape = {name: value for name, value in settings.recipe_settings.items() if name != "learning_rate"}
        return settings.recipe, settings.recipe_digest, settings.dataset, settings.sync, shape

    return model(one) == model(two)
