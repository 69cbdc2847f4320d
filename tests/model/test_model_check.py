"""Every state that the protocol can reach within some bounds, breadth-first: none breaks a promise, each can end.

`LAMBDAFIT_MODEL_FAULTS=2` lets every path of the whole model have two faults: 17 minutes of processor time, 3.5 GB.
"""

from __future__ import annotations

import importlib
import logging
import os
from collections.abc import Callable, Iterator

import pytest

from model.abstract_work import SUBSTITUTES
from model.broken_protocols import BROKEN, Broken
from model.model_search import Explored, Search
from model.model_state import Bounds
from runs import stages

EVERY_KIND = frozenset(
    {"double", "lose", "crash", "pause", "old look", "slow message", "slow execution", "tear", "cancel"}
)
Explore = Callable[[Bounds], Explored]
FAULTS = int(os.environ.get("LAMBDAFIT_MODEL_FAULTS", "1"))


@pytest.fixture(autouse=True)
def abstract_work(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The use cases work on the origins of files, not on files."""
    for module_name, names in SUBSTITUTES.items():
        module = importlib.import_module(module_name)
        for name, substitute in names.items():
            monkeypatch.setattr(module, name, substitute)
    logging.disable(logging.CRITICAL)  # failed executions are many, and meant
    yield
    logging.disable(logging.NOTSET)


@pytest.fixture
def explored(record_property: Callable[[str, object], None]) -> Callable[[Bounds], Explored]:
    """Visits all states within some bounds; what was found is a part of what CI prints."""

    def explore(bounds: Bounds) -> Explored:
        found = explored_whole(bounds)
        record_property("figure", str(found))
        return found

    return explore


def explored_whole(bounds: Bounds) -> Explored:
    """All states within the bounds; the promises hold in every one."""
    found = Search(bounds).run()
    print(found)
    assert not found.violation, "\n".join([found.violation, *found.trace])
    assert found.complete, "the frontier is empty"
    assert found.finished
    assert set(found.faults) == bounds.kinds, "every kind of fault happened"
    return found


def test_any_one_fault_anywhere(explored: Explore) -> None:
    found = explored(Bounds(FAULTS, EVERY_KIND))
    assert found.states > 30_000
    assert {f"RUNNING/COMBINING/{r}/{g}" for r in (1, 2) for g in (1, 2)} <= set(found.stages)


def test_any_two_faults_while_the_run_is_evaluated_and_cleared(explored: Explore) -> None:
    explored(Bounds(max(2, FAULTS), EVERY_KIND - {"tear", "pause"}, from_round=3))


def test_a_backbones_outputs_are_computed_first(explored: Explore) -> None:
    found = explored(Bounds(FAULTS, EVERY_KIND - {"tear"}, rounds=1, backbone=True))
    assert found.stages["RUNNING/EXTRACTING/0/1"]


def test_clearing_up_beside_a_round(explored: Explore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "CLEAR_EVERY_ROUNDS", 1)
    found = explored(Bounds(1, frozenset({"slow execution", "tear"}), rounds=3, from_round=3, reconcilers=1))
    assert found.stages["RUNNING/TRAINING/3/1"]


def test_cancelled_and_resumed_anywhere(explored: Explore) -> None:
    explored(Bounds(2, frozenset({"cancel", "resume"})))


@pytest.mark.parametrize("broken", BROKEN, ids=lambda broken: broken.name)
def test_a_broken_protocol_is_found(broken: Broken, monkeypatch: pytest.MonkeyPatch) -> None:
    broken.apply(monkeypatch)
    found = Search(broken.bounds).run()
    print(f"{broken.name}: {found.states:,} states, {len(found.trace)} steps: {found.violation[:120]}")
    assert broken.promise in found.violation
    assert found.violation
