"""The simulator finds bugs: each deliberate fault in the protocol breaks a promise within 2,000 schedules.

`make simulate MUTANTS=1` prints the table.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from simulation.explore import MUTANT_SEEDS, first_finding
from simulation.mutants import MUTANTS, mutated
from simulation.plans import NAMES, expected


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@pytest.mark.parametrize("name", MUTANTS)
def test_a_deliberate_fault_is_found(name: str) -> None:
    for shape in NAMES:
        expected(shape)  # before anything is wrong
    with mutated(name):
        found = first_finding(range(MUTANT_SEEDS))
    assert found is not None, f"{name} was not found: an invariant is too weak"
    print(f"{name}: seed {found.seed}: {found.what}")
