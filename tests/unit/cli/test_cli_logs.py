"""`logs`."""

from __future__ import annotations

from typing import Any

import pytest
from cli_helpers import RunsInStore, interrupted

LOG = """\
START RequestId: request-1-0-1 Version: $LATEST
of worker 0
END RequestId: request-1-0-1
REPORT RequestId: request-1-0-1\tDuration: 4.18 ms
between two
START RequestId: request-2-1-2 Version: $LATEST
of worker 1
END RequestId: request-2-1-2
REPORT RequestId: request-2-1-2\tDuration: 4.18 ms
"""


def test_logs_of_all_environments(invoke: Any, stored: RunsInStore) -> None:
    stored.add()
    stored.log("r-0001", "train-01", "hello\nno newline")
    stored.log("r-0001", "combine-01", "there\n")
    result = invoke("logs", "latest")
    assert result.stdout.splitlines() == ["combine-01  there", "train-01  hello", "train-01  no newline"]


def test_logs_of_one_worker(invoke: Any, stored: RunsInStore) -> None:
    stored.add()
    stored.add_history()
    stored.claim("r-0001", 3, 0, "request-3-0-1")
    stored.log("r-0001", "train-01", LOG)
    stored.log("r-0001", "train-02", LOG.replace("-1-0-1", "-3-0-1").replace("of worker 0", "still at work"))
    lines = invoke("logs", "latest", "--worker", "0").stdout.splitlines()
    assert [line for line in lines if "work" in line] == ["train-01  of worker 0", "train-02  still at work"]
    assert not any("between" in line or "worker 1" in line for line in lines)
    assert "train-01  of worker 1" in invoke("logs", "latest", "--worker", "1").stdout


def test_logs_of_nobody(invoke: Any, stored: RunsInStore) -> None:
    stored.add()
    assert "has printed nothing" in invoke("logs", "latest").stderr
    assert "Worker 1 of run r-0001 has printed nothing" in invoke("logs", "latest", "--worker", "1").stderr
    result = invoke("logs", "latest", "--worker", "2")
    assert result.exit_code == 3
    assert "E102 InvalidSetting: --worker: 2, expected 0 to 1" in result.stderr


def test_logs_are_followed_without_a_busy_loop(
    invoke: Any, stored: RunsInStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.add("r-0001", interrupted)
    stored.log("r-0001", "train-01", "one\nha")
    clock = [0.0]
    slept: list[float] = []

    def sleep(seconds: float) -> None:
        clock[0] += seconds
        slept.append(seconds)
        if len(slept) == 1:
            stored.log("r-0001", "train-01", "one\nhalf a line\n")
            stored.log("r-0001", "train-02", "another\n")

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    result = invoke("logs", "latest", "-f")
    assert result.stdout.splitlines() == ["train-01  one", "train-01  half a line", "train-02  another"]
    assert min(slept) >= 0.2


def test_lines_of_a_request_wait_until_it_is_known_whose_it_is(
    invoke: Any, stored: RunsInStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    stored.add("r-0001", interrupted)
    stored.log("r-0001", "train-01", "START RequestId: late Version: $LATEST\nearly words\n")
    clock = [0.0]

    def sleep(seconds: float) -> None:
        if not clock[0]:
            stored.claim("r-0001", 1, 1, "late")
        clock[0] += seconds

    monkeypatch.setattr("time.sleep", sleep)
    monkeypatch.setattr("time.monotonic", lambda: clock[0])
    assert "early words" in invoke("logs", "latest", "--worker", "1", "-f").stdout
