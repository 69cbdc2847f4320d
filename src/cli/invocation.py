"""`invoke`: one function of the local engine with one event, as `sam local invoke` does it.

It needs no lock: an invocation is a delivery like any other, and a delivery too many is harmless.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from typing import Any

from cli.failure import echo_error
from cli.flags import Flags, print_json
from cli.function_calls import PREDICT, call
from cli.home_access import current_home
from contracts.errors import InvalidMessage, InvalidSetting
from contracts.messages import is_start
from engines.home import Home
from engines.local import HANDLERS, LocalSettings
from handlers.wiring import NoInvoker, SystemClock, SystemRandomness
from runs import recipes, start, weights
from runs.describe_recipe import DataPlaces
from runs.services import Services
from stores.shared_files import FolderFiles
from stores.sqlite import SqliteStore

START = "start"


def invoke_function(function: str, event_text: bytes, flags: Flags) -> None:
    """Run a function and print its answer; what it printed goes to the standard error."""
    known = [START, *HANDLERS, PREDICT]
    if function not in known:
        raise InvalidSetting("FUNCTION", repr(function), f"one of {', '.join(known)}")
    event = parse_event(event_text)
    local = LocalSettings.from_environment(os.environ)
    home = current_home()
    if function == START:
        print_json(start_run(event, home, local))
        return
    home.create()
    print_json(call(function, event, home, local, threads=1, show_log=not flags.quiet))


def parse_event(text: bytes) -> dict[str, Any]:
    """The event in a file.

    Raises:
        InvalidMessage: it is no JSON object.
    """
    try:
        event = json.loads(text)
    except ValueError as error:
        raise InvalidMessage("event", f"it is no JSON ({error})", "a JSON object") from None
    if not isinstance(event, dict):
        raise InvalidMessage("event", f"it is {type(event).__name__}", "a JSON object")
    return event


def start_run(event: Mapping[str, Any], home: Home, local: LocalSettings) -> dict[str, Any]:
    """Create the run that a start event asks for. `lambdafit runs resume` conducts it.

    Raises:
        InvalidMessage: it is no start event.
    """
    if not is_start(event):
        raise InvalidMessage("event", "it has no start", '{"start": true, …}')
    recipe_name = str(event.get("recipe", start.DEFAULT_RECIPE))
    places = DataPlaces(local.data, str(home.environment().download_folder))
    wanted = weights.describe(recipe_name, {}, places, checks_data=False)
    recipe = wanted.summary
    settings = start.complete_settings(event, recipe, local.limits())
    start.check_budget(settings)
    environment = home.environment()
    files = FolderFiles(environment.shared_folder)
    weights.check(recipe_name, wanted, files.exists)
    home.create()
    store = SqliteStore(environment.store_file)
    recipes.keep(files, recipe_name, recipe)
    weights.keep(files, wanted)
    run = start.start(Services(store, store, files, NoInvoker(), SystemClock(), SystemRandomness()), settings)
    echo_error(f"Nothing conducts it yet: lambdafit runs resume {run.run_id}")
    return {"run_id": run.run_id, "status": run.status}
