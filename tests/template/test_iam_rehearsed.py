"""Least privilege, held against what functions really call: the API calls of whole runs in the rehearsal."""

from __future__ import annotations

from typing import Any

import pytest

from template.iam_coverage import USER, uncovered, unused
from template.stack_template import functions

NOT_REHEARSED = {
    (
        "*",
        "Libraries",
    ): "rehearsals have the libraries installed; `make sam-local` unpacks the archive from a bucket",
}
"""Statements that the rehearsals leave unused: caller and statement id → what uses them."""


def of_callers(calls: list[dict[str, Any]], *callers: str) -> list[dict[str, Any]]:
    return [call for call in calls if call["function"] in callers]


def test_every_call_of_a_function_is_allowed_by_its_role(rehearsed_calls: list[dict[str, Any]]) -> None:
    calls = of_callers(rehearsed_calls, *functions())
    assert {call["function"] for call in calls} >= {"StartRun", "Conduct", "Monitor", "Train", "Combine", "Prepare"}
    assert uncovered(calls) == []


def test_every_call_of_a_user_is_allowed_by_the_users_policy(rehearsed_calls: list[dict[str, Any]]) -> None:
    assert uncovered(of_callers(rehearsed_calls, USER)) == []


def test_no_role_allows_what_no_rehearsal_needs(rehearsed_calls: list[dict[str, Any]]) -> None:
    """All of them together, as one run alone has no failures, no sweep and no predictions."""
    callers = {call["function"] for call in rehearsed_calls} & set(functions())
    if "Sweep" not in callers:
        pytest.skip("needs tests/rehearsal to have run before, as in `make test`")
    assert unused(sorted(functions()), rehearsed_calls, NOT_REHEARSED) == []
