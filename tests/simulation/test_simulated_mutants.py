"""The simulator finds bugs: each deliberate fault in the protocol breaks a promise within 2,000 schedules.

`make simulate MUTANTS=1` prints the table, and keeps the seeds that are tried first here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from simulation.explore import find_mutant_again
from simulation.mutants import MUTANTS
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
    found = find_mutant_again(name)
    assert found is not None, f"{name} was not found: an invariant is too weak"
    print(f"{name}: seed {found.seed}: {found.what}")
