"""`train` and `runs resume`: from what was asked to a run that is being conducted."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Mapping, Sequence
from typing import Any

from msgspec.structs import replace

from cli.detached import announce_run
from cli.failure import echo_error
from cli.flags import Flags
from cli.home_access import RunFolder, check_writable, current_home
from cli.model_recipe import recipe_path
from cli.signals import interruptible
from contracts.errors import InvalidSetting
from engines.local import LocalEngine, LocalSettings
from handlers.wiring import SystemRandomness
from runs import control, recipes, start, weights
from runs.describe_recipe import DataPlaces
from stores.shared_files import FolderFiles


def train_run(options: Mapping[str, Any], flags: Flags, announce: int | None) -> int:
    """Check everything, start the run, conduct it. Nothing is written before all is accepted.

    Args:
        options: of `lambdafit train`, by name; None where not given.
        announce: a descriptor that is told the run's id as soon as it goes.
    Returns:
        the exit code.
    """
    with recipe_path(options["recipe"], options["data"], is_cloud=False) as path:
        return _train({**options, "recipe": path}, flags, announce)


def _train(options: Mapping[str, Any], flags: Flags, announce: int | None) -> int:
    local = LocalSettings.from_environment(os.environ)
    home = current_home()
    check_writable(home)
    places = DataPlaces(local.data, str(home.environment().download_folder))
    is_dry = bool(options["dry_run"])
    wanted = weights.describe(options["recipe"], parse_overrides(options["overrides"]), places, is_dry=is_dry)
    recipe = wanted.summary
    settings = start.complete_settings(request(options), recipe, local.limits())
    start.check_budget(settings)
    if is_dry:
        from cli.dry_run import show_estimate

        # On AWS each worker has an environment of its own, however many this machine has room for.
        planned = replace(settings, concurrency=settings.workers)
        return show_estimate(
            options["recipe"], planned, start.warnings(settings, recipe), RunFolder(home), places, flags
        )
    recipes.check_builtin_data(options["recipe"], places)
    weights.check(options["recipe"], wanted, FolderFiles(home.environment().shared_folder).exists)
    home.create()
    run_id = SystemRandomness().run_id()
    with LocalEngine(home, local.data, run_id, settings) as engine, interruptible(engine):
        engine.prestart()
        try:
            recipes.keep(engine.services.files, options["recipe"], recipe)
            weights.keep(engine.services.files, wanted)
            start.start(engine.services, settings, run_id)
        except BaseException:
            engine.stop()
            shutil.rmtree(home.log_folder(run_id), ignore_errors=True)  # there is no run that it could belong to
            raise
        for warning in start.warnings(settings, recipe):
            echo_error(f"Note: {warning}")
        announce_run(announce, run_id, home.log_folder(run_id))
        return _conduct(engine, run_id, flags)


def resume_run(name: str, changes: Mapping[str, Any], flags: Flags, announce: int | None) -> int:
    """Let a run go on, and conduct it.

    Returns:
        the exit code.
    """
    local = LocalSettings.from_environment(os.environ)
    folder = RunFolder(current_home())
    run = folder.find(name)
    limits = _given(local.changed_limits())
    settings = replace(run.settings, **limits)
    with LocalEngine(folder.home, local.data, run.run_id, settings) as engine, interruptible(engine):
        control.resume(engine.services, run.run_id, limits | _given(changes), engine_was_lost=True)
        engine.prestart()
        announce_run(announce, run.run_id, folder.home.log_folder(run.run_id))
        return _conduct(engine, run.run_id, flags, since=time.time())


def _conduct(engine: LocalEngine, run_id: str, flags: Flags, since: float = 0.0) -> int:
    # Imported only now: the functions' processes, which take seconds to start, are on their way.
    from cli.conduct import conduct

    return conduct(engine, run_id, flags, since=since)


def request(options: Mapping[str, Any]) -> dict[str, Any]:
    """The request as a start event would hold it."""
    names = (
        "workers", "epochs", "rounds", "steps_per_round", "batch_size", "sync", "seed", "validate_every_rounds",
        "target_accuracy", "patience", "max_cost_usd", "deadline_s", "update_dtype",
    )  # fmt: skip
    outer = {
        "kind": options["outer"],
        "learning_rate": options["outer_learning_rate"],
        "momentum": options["outer_momentum"],
    }
    return _given({name: options[name] for name in names}) | ({"outer": _given(outer)} if _given(outer) else {})


def parse_overrides(texts: Sequence[str]) -> dict[str, str]:
    """`key=value` texts as a mapping.

    Raises:
        InvalidSetting: a text has no `=`, or a key comes twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key.strip():
            raise InvalidSetting("--set", repr(text), "key=value")
        if key.strip() in found:
            raise InvalidSetting(f"--set {key.strip()}", "given twice", "one value")
        found[key.strip()] = value.strip()
    return found


def _given(values: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if value is not None}
