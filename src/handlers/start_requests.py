"""A request for a run, as events and the HTTP API bring it: checked as a whole before anything is written."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import msgspec
import xxhash

from contracts.errors import InvalidMessage, InvalidSetting, WeightsNotFound
from contracts.identifiers import check_run_id
from contracts.records import Run
from handlers import wiring
from runs import recipes, start
from runs.answers import answer, beginning
from runs.recipe_summary import RecipeSummary
from training.weights import WEIGHTS, is_shared

MAX_REQUEST_BYTES = 100_000

_OWN_LOCATION = re.compile(r"recipes/(?P<digest>[0-9a-f]{32})\.py")
_DATASET = re.compile(r"\w[\w.\-]{0,99}")


def begin(request: Mapping[str, Any], request_id: str) -> tuple[dict[str, Any], Run]:
    """Start the run that a request asks for, or find the one that it has started before.

    Args:
        request: the options of `lambdafit train`, and perhaps `run_id`, `recipe` or `recipe_summary`, `overrides`.
        request_id: the invocation's: Lambda keeps it when it delivers an event again, and so names the run.
    Returns:
        the answer, and the run.
    Raises:
        InvalidMessage, InvalidSetting, TooManyWorkers, UnknownRecipe, InvalidRunId: nothing was written.
        RunExists: its run_id is that of a run with other settings.
    """
    options = dict(request)
    if _size_bytes(options) > MAX_REQUEST_BYTES:
        raise InvalidMessage("request", "it is too large", f"at most {MAX_REQUEST_BYTES:,} bytes")
    run_id = options.pop("run_id", None) or f"r-{xxhash.xxh3_64_hexdigest(request_id.encode())[:10]}"
    if not isinstance(run_id, str):
        raise InvalidMessage("request", f"run_id is {run_id!r}", "a text")
    check_run_id(run_id)
    recipe = _recipe(options)
    known = wiring.environment()
    _check_weights(recipe)
    limits = start.lambda_limits(
        workers=known.workers,
        threads=known.threads,
        time_limit_s=known.time_limit_s,
        memory_mb=known.memory_mb,
        reserved_concurrency=known.reserved_concurrency,
    )
    settings = start.complete_settings(options, recipe, limits)
    run, is_new = start.start_once(wiring.services(), settings, run_id)
    more = {"created": is_new, "warnings": start.warnings(settings, recipe)}
    return answer(beginning(run)) | more, run


def _size_bytes(options: Mapping[str, Any]) -> int:
    """How large a request is as JSON.

    Raises:
        InvalidMessage: it cannot be written as JSON: a text with half a character, or lists in lists without end.
    """
    try:
        return len(msgspec.json.encode(options))
    except (ValueError, RecursionError, OverflowError, TypeError) as error:
        raise InvalidMessage("request", f"it is no proper JSON ({type(error).__name__})", "JSON") from None


def _recipe(options: dict[str, Any]) -> RecipeSummary:
    """The recipe that the options name; what concerns it is taken out of them."""
    summary = options.pop("recipe_summary", None)
    overrides = options.pop("overrides", None) or {}
    name = options.pop("recipe", None)
    if summary is not None:
        return _own(summary)
    if not isinstance(overrides, dict) or not all(isinstance(value, str) for value in overrides.values()):
        raise InvalidMessage("request", f"overrides is {overrides!r}", "names with texts")
    name = start.DEFAULT_RECIPE if name is None else name
    if not isinstance(name, str) or recipes.is_own(name):
        raise InvalidSetting("recipe", repr(name), "a built-in recipe's name; one's own comes as recipe_summary")
    return recipes.describe(name, overrides)


def _check_weights(recipe: RecipeSummary) -> None:
    """A function can fetch a backbone's weights from the bucket alone, where they go by their content.

    Raises:
        WeightsNotFound: they are named otherwise.
    """
    weights = recipe.settings.get(WEIGHTS)
    if recipe.takes_weights and not is_shared(weights) and (weights or recipe.published_weights is not None):
        advice = f"`lambdafit train {recipe.name} --engine aws` brings them there; its run's settings name the path."
        received = f"the recipe's setting {WEIGHTS} is {weights!r}"
        raise WeightsNotFound("request", received, "weights/<digest>.weights.h5 of the bucket", advice=advice)


def _own(summary: Any) -> RecipeSummary:
    """A user's own recipe, which only the workers can run. Its file was brought to the bucket by its digest."""
    try:
        recipe = msgspec.convert(summary, RecipeSummary)
    except msgspec.ValidationError as error:
        raise InvalidMessage("request", f"recipe_summary: {error}", "a recipe as data") from None
    location = _OWN_LOCATION.fullmatch(recipe.location)
    if location is None or location["digest"] != recipe.digest:
        raise InvalidMessage("request", f"the recipe's location is {recipe.location!r}", "recipes/<its digest>.py")
    if not _DATASET.fullmatch(recipe.dataset):
        raise InvalidMessage("request", f"the recipe's dataset is {recipe.dataset!r}", "a data set's name")
    for name, value in recipe.settings.items():
        if not isinstance(value, bool | int | float | str):
            raise InvalidMessage("request", f"the recipe's setting {name} is {value!r}", "a number or a text")
    if min(recipe.batch_size, recipe.epochs) < 1:
        raise InvalidMessage("request", f"batch_size {recipe.batch_size}, epochs {recipe.epochs}", "1 or more")
    return recipe
