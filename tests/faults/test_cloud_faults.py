"""Faults in the rehearsal's stack: DynamoDB throttles and fails, Lambda refuses, records and processes get lost."""

from __future__ import annotations

from collections.abc import Iterator

import psutil
import pytest

from faults.cloud_stage import opened, play
from rehearsal.whole_runs import WholeRuns

SCHEDULES = (
    ("DynamoDB throttles", "DynamoDB 500", "DynamoDB answer lost"),
    ("Lambda 429", "stream records lost, doubled, reordered", "kill -9 of Train"),
    ("every invocation twice", "update torn in the stack", "SIGSTOP of Train", "kill -9 of Combine"),
)


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[WholeRuns]:
    with opened(tmp_path_factory.mktemp("faults-cloud")) as runs:
        yield runs
        pids = runs.cloud.environments.pids()
    assert not [pid for pid in pids if psutil.pid_exists(pid)]


@pytest.mark.parametrize("names", SCHEDULES)
def test_a_run_in_the_stack(cloud: WholeRuns, names: tuple[str, ...]) -> None:
    outcome = play(cloud, 1, list(names))
    assert not outcome.wrong, outcome
    assert len(outcome.faults) >= len(names) - 1, outcome
