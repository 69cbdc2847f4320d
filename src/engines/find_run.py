"""The run that a user means by what was typed or linked: an id, the beginning of one, or `latest`."""

from __future__ import annotations

import re
from collections.abc import Callable

from contracts.errors import InvalidRunId, LambdafitError, RunNotFound
from contracts.identifiers import RUN_ID
from contracts.records import Run

NEWEST = "latest"
PREFIX = re.compile(r"(r-)?[0-9a-z]{1,32}|r-")
ALL_RUNS = 1_000_000
MAX_CANDIDATES = 8
NO_RUNS = "No runs yet. Start one: lambdafit train digits-mlp"


def find_run(
    name: str, place: str, load: Callable[[str], Run | None], listed: Callable[[int], list[Run]],
    missing: type[LambdafitError] = RunNotFound,
) -> Run:  # fmt: skip
    """The run of this name.

    Args:
        place: how messages name where it is looked for.
        load: a run by its whole id.
        listed: the newest so many.
        missing: what is raised where there is no such run.
    Raises:
        InvalidRunId: it cannot be a run's name, or several begin so.
        RunNotFound, `missing`: there is none.
    """
    if name == NEWEST:
        newest = listed(1)
        if not newest:
            raise RunNotFound(place, "it has no runs", advice=NO_RUNS)
        return newest[0]
    if not PREFIX.fullmatch(name):
        raise InvalidRunId("run", repr(name), "an id such as r-7f3a9c01d2, the beginning of one, or latest")
    whole = load(name) if RUN_ID.fullmatch(name) else None
    if whole is not None:
        return whole
    begins = name if name.startswith("r-") else f"r-{name}"
    found = [run for run in listed(ALL_RUNS) if run.run_id.startswith(begins)]
    if not found:
        raise missing(f"run {name}", f"no run in {place} is called or begins so")
    if len(found) > 1:
        names = ", ".join(run.run_id for run in found[:MAX_CANDIDATES])
        more = f" and {len(found) - MAX_CANDIDATES} more" if len(found) > MAX_CANDIDATES else ""
        raise InvalidRunId("run", f"{name!r} is the beginning of {len(found)} runs: {names}{more}", "a unique one")
    return found[0]
