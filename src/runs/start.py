"""Start a run: fill in what was not asked for, check everything, and only then write.

The request is the same mapping from the command line and from a start event: `{"start": true, "workers": 5}`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from msgspec.structs import replace

from contracts.errors import InvalidSetting, RunExists, TooManyWorkers
from contracts.records import Run
from contracts.settings import RunSettings, make_settings
from runs import budget, defaults, framework_versions
from runs.code_version import code_version
from runs.recipe_summary import RecipeSummary
from runs.services import Services
from training.shards import plan_rounds

TRIED_WORKERS = 8
ROUNDS_TO_BUILD_UP = 10
"""Momentum 0.9 adds up over 1 / (1 - 0.9) rounds."""

DEFAULT_RECIPE = "digits-mlp"
DEFAULT_WORKERS = 4
_ENGINE_SET = ("concurrency", "in_flight_per_place", "threads", "time_limit_s", "memory_mb")
_MESSAGE_ONLY = frozenset({"start", "recipe"})


@dataclass(frozen=True)
class EngineLimits:
    """What the engine, not the user, decides. It is stored with the run: threads, for one, change bits.

    Args:
        concurrency: workers that can run side by side.
        cores: processor cores that they share.
        time_limit_s: each function's.
        memory_mb: of the functions that load TensorFlow.
        threads: of TensorFlow in each function; None: the cores are shared out among the workers.
        in_flight_per_place: see `RunSettings`.
        workers: the most that a run may ask for; None: there is no such limit.
        framework: TensorFlow's and Keras' versions, on which a backbone's outputs depend.
    """

    concurrency: int
    cores: int
    time_limit_s: float
    memory_mb: int
    threads: int | None = None
    in_flight_per_place: int = 2
    workers: int | None = None
    framework: str = ""


def lambda_limits(
    *, workers: int, threads: int, time_limit_s: float, memory_mb: int, reserved_concurrency: int = 0
) -> EngineLimits:
    """Those of a stack, where every function has processors of its own and nothing queues.

    Args:
        workers: the most that a run may ask for.
        threads: of TensorFlow in each.
        reserved_concurrency: how many may run side by side, if that is limited: more would only be throttled.
    """
    concurrency = min(workers, reserved_concurrency or workers)
    return EngineLimits(
        concurrency=concurrency,
        cores=threads * concurrency,
        time_limit_s=time_limit_s,
        memory_mb=memory_mb,
        threads=threads,
        in_flight_per_place=1,
        workers=workers,
        framework=framework_versions.on_a_stack(),
    )


def complete_settings(request: Mapping[str, Any], recipe: RecipeSummary, limits: EngineLimits) -> RunSettings:
    """The settings of a run from what was asked and the recipe's defaults.

    Raises:
        InvalidSetting: an unknown option, a value of another type or out of range.
        TooManyWorkers: there are fewer training examples, or the engine allows fewer.
    """
    values = {name: value for name, value in request.items() if name not in _MESSAGE_ONLY and value is not None}
    unknown = set(values) - set(RunSettings.__struct_fields__)
    if unknown:
        raise InvalidSetting("request", f"unknown: {', '.join(sorted(unknown))}", "options of `lambdafit train`")
    workers = values.setdefault("workers", DEFAULT_WORKERS)
    if not isinstance(workers, int) or workers < 1:
        raise InvalidSetting("--workers", repr(workers), "a whole number, 1 or more")
    if limits.workers is not None and workers > limits.workers:
        advice = "Use fewer workers, or deploy the stack again with a higher WorkersCeiling."
        raise TooManyWorkers("--workers", str(workers), f"at most {limits.workers}, the stack's ceiling", advice=advice)
    if recipe.train_examples is not None and workers > recipe.train_examples:
        raise TooManyWorkers("--workers", str(workers), f"at most {recipe.train_examples}, the training examples")
    concurrency = min(workers, limits.concurrency)
    if "epochs" not in values and "rounds" not in values:
        values["epochs"] = recipe.epochs
    sync = values.setdefault("sync", "local")
    batch_size = values.setdefault("batch_size", defaults.batch_size(recipe, workers))
    if not isinstance(batch_size, int) or batch_size < 1:
        raise InvalidSetting("--batch-size", repr(batch_size), "a whole number, 1 or more")
    return make_settings(
        values
        | {
            "recipe": recipe.location,
            "recipe_name": recipe.name,
            "recipe_digest": recipe.digest,
            "backbone_digest": framework_versions.digest_with(recipe.backbone_digest, limits.framework),
            "recipe_settings": defaults.recipe_settings(recipe, batch_size, sync),
            "outer": defaults.outer(values.get("outer", {}), recipe, workers, sync),
            "dataset": recipe.dataset,
            "concurrency": concurrency,
            "in_flight_per_place": limits.in_flight_per_place,
            "threads": limits.threads or max(1, limits.cores // concurrency),
            "time_limit_s": limits.time_limit_s,
            "memory_mb": limits.memory_mb,
        }
    )


def warnings(settings: RunSettings, recipe: RecipeSummary) -> list[str]:
    """What the user should know before it starts."""
    found = []
    if settings.workers > TRIED_WORKERS and settings.sync == "local":
        found.append(
            f"The defaults were tried with up to {TRIED_WORKERS} workers; with {settings.workers}, watch the "
            "validation accuracy, and prefer fewer steps a round."
        )
    if settings.patience is not None and settings.validate_every_rounds is None:
        found.append("Patience counts validations, of which there is one an epoch (--validate-every-rounds).")
    if settings.outer.kind != "sgd" and recipe.train_examples is not None:
        rounds = plan_rounds(recipe.train_examples, settings).total_rounds
        if rounds < ROUNDS_TO_BUILD_UP:
            found.append(
                f"There will be {rounds} rounds, too few for the outer optimizer's momentum to build up: prefer fewer "
                "steps a round, or plain averaging (--outer sgd)."
            )
    return found


def check_budget(settings: RunSettings) -> None:
    """Refuse a budget that ends the run before it begins.

    Raises:
        InvalidSetting: it does not cover even one attempt.
    """
    needed_usd = budget.least_usd(settings)
    if needed_usd > settings.max_cost_usd:
        raise InvalidSetting(
            "--max-cost-usd",
            f"${settings.max_cost_usd:g}",
            f"at least ${needed_usd:.4f}: one attempt of up to {settings.time_limit_s:g} s, and what it may write to "
            "the shared files, is held back in full",
            advice="Raise the budget, or lower LAMBDAFIT_TIMEOUT_S or LAMBDAFIT_MEMORY_MB.",
        )


def start_once(services: Services, settings: RunSettings, run_id: str) -> tuple[Run, bool]:
    """Create the run, unless this very request has created it before: a request may be delivered twice.

    Returns:
        the run, and whether it is new.
    Raises:
        InvalidSetting: see `start`.
        RunExists: another request has taken the id.
    """
    try:
        return start(services, settings, run_id), True
    except RunExists:
        run = services.store.load_run(run_id)
        if replace(settings, **{name: getattr(run.settings, name) for name in _ENGINE_SET}) != run.settings:
            raise
        return run, False


def start(services: Services, settings: RunSettings, run_id: str = "") -> Run:
    """Create the run. The first reconcile begins it.

    Args:
        run_id: drawn before, where something had to bear its name already.
    Raises:
        InvalidSetting: the budget does not cover even one attempt; nothing was written.
    """
    check_budget(settings)
    now = services.clock.now()
    run = Run(
        run_id=run_id or services.randomness.run_id(),
        settings=settings,
        code_version=code_version(),
        created_at=now,
        deadline_at=now + settings.deadline_s,
    )
    services.store.create_run(run)
    return run
