"""Money held back before an attempt is offered, and what has been spent.

A reservation is a token in `Run.granted`, written with the run's own version, so two reconcilers can never both
spend the last cent. It stands for the attempt's full time limit and the most that it may read and write, until the
attempt has ended and its task's history holds the real cost; so a crashed attempt is never free and what is in flight
never overshoots.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from msgspec.structs import replace

from contracts.records import Run, Task, TaskKey, TaskKind
from contracts.settings import RunSettings
from runs.cost import reservation_usd
from runs.transfer import most, most_before_start


def token(key: TaskKey, attempt: int) -> str:
    """The name of one attempt in `Run.granted`."""
    return f"{key}@{attempt}"


def spent_usd(run: Run, tasks: Mapping[TaskKey, Task]) -> float:
    """USD of all ended attempts, those of the current round's `tasks` included."""
    if run.status == "FINISHED":
        return run.spent_usd
    return run.spent_usd + sum(task.cost_usd for task in tasks.values())


def open_reservations(run: Run, tasks: Mapping[TaskKey, Task]) -> dict[str, float]:
    """Token → USD of the granted attempts that have not ended."""
    settled = {token(task.key, record.attempt) for task in tasks.values() for record in task.history}
    still_open = [name for name in run.granted if name not in settled]
    prices = {kind: attempt_reservation_usd(run, kind) for kind in {_kind(name) for name in still_open}}
    return {name: prices[_kind(name)] for name in still_open}


def with_grants(run: Run, tasks: Mapping[TaskKey, Task], wanted: Iterable[tuple[TaskKey, int]]) -> tuple[Run, bool]:
    """The run with as many of the wanted attempts granted as its budget allows, in order.

    Returns:
        the run (version unchanged), and whether anything new was granted.
    """
    reserved = open_reservations(run, tasks)
    committed_usd = spent_usd(run, tasks) + sum(reserved.values())
    granted = list(reserved)
    prices: dict[TaskKind, float] = {}
    for key, attempt in wanted:
        name = token(key, attempt)
        price_usd = prices.get(key.kind) or prices.setdefault(key.kind, attempt_reservation_usd(run, key.kind))
        if name not in reserved and committed_usd + price_usd <= run.settings.max_cost_usd:
            granted.append(name)
            committed_usd += price_usd
    return replace(run, granted=tuple(granted)), len(granted) > len(reserved)


def attempt_reservation_usd(run: Run, kind: TaskKind) -> float:
    """USD to hold back for one attempt of this kind in the run's current round."""
    return reservation_usd(kind, run.settings, most(run, kind))


def least_usd(settings: RunSettings) -> float:
    """The smallest budget that lets a run begin: any first attempt is held back in full."""
    first: tuple[TaskKind, ...] = ("prepare", "initialise", "train")
    return max(reservation_usd(kind, settings, most_before_start(settings, kind)) for kind in first)


def _kind(name: str) -> TaskKind:
    return name.split("#")[1].partition("@")[0]  # type: ignore[return-value]
