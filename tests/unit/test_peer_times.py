"""Whose time counts in `make bench-peers`, and how it is told."""

from __future__ import annotations

from typing import Any

import pytest

from benchmarks.peer_times import OURS, Reached, final_accuracy, our_time, peer_time, share, times_of, where_faster


def ours(wall_s: float, accuracy: float) -> dict[str, Any]:
    return {"wall_s": wall_s, "first_step_s": 3.0, "answer": {"test_accuracy": accuracy}}


def peer(*epochs: tuple[float, float]) -> dict[str, Any]:
    """Of (seconds since the start, test accuracy) after each epoch."""
    marks = [{"since_start_s": seconds, "test_accuracy": accuracy} for seconds, accuracy in epochs]
    return {"first_step_s": 5.0, "epochs": marks, "test_accuracy": epochs[-1][1]}


def test_a_peers_time_is_that_of_its_first_epoch_that_was_good_enough() -> None:
    run = peer((10.0, 0.86), (15.0, 0.88), (20.0, 0.89))
    assert peer_time(run, 0.88) == Reached(start_s=15.0, step_s=10.0, met=True)


def test_a_peer_that_never_was_as_good_has_its_whole_time_and_is_told_so() -> None:
    found = peer_time(peer((10.0, 0.86), (15.0, 0.87)), 0.88)
    assert found == Reached(start_s=15.0, step_s=10.0, met=False)


def test_ours_is_the_whole_process() -> None:
    assert our_time(ours(30.0, 0.88), 0.88) == Reached(start_s=30.0, step_s=27.0, met=True)
    assert not our_time(ours(30.0, 0.8799), 0.88).met


def test_each_system_is_judged_by_its_own_rule() -> None:
    runs = {OURS: {1: ours(30.0, 0.9)}, "fit": {1: peer((60.0, 0.9))}}
    times = times_of(runs, 0.88)
    assert [times[OURS][1].start_s, times["fit"][1].start_s] == [30.0, 60.0]
    assert [final_accuracy(OURS, runs[OURS][1]), final_accuracy("fit", runs["fit"][1])] == [0.9, 0.9]


def reached(seconds: float, met: bool = True) -> Reached:
    return Reached(seconds, seconds, met)


def test_the_share_is_the_median_over_repetitions_that_both_have() -> None:
    mine = {1: reached(10.0), 2: reached(20.0), 3: reached(30.0)}
    theirs = {1: reached(40.0), 3: reached(40.0), 4: reached(1.0)}
    assert share(mine, theirs) == (0.5, "0.50", True)


def test_a_share_of_a_peer_that_never_was_as_good_is_told_as_a_limit() -> None:
    value, shown, counts = share({1: reached(10.0)}, {1: reached(40.0, met=False)})
    assert (value, counts) == (0.25, True)
    assert shown == "at most 0.25, as it did not reach it in 1 of 1 runs"


def test_a_run_of_ours_that_never_was_as_good_reaches_nothing() -> None:
    _, shown, counts = share({1: reached(10.0, met=False)}, {1: reached(40.0)})
    assert counts is False
    assert shown == "lambdafit did not reach it in 1 of 1 runs"


@pytest.mark.parametrize(("mine", "theirs"), [({}, {1: reached(1.0)}), ({1: reached(1.0)}, {})])
def test_nothing_is_said_where_nothing_was_measured(mine: dict[int, Reached], theirs: dict[int, Reached]) -> None:
    assert share(mine, theirs)[1:] == ("–", None)


def test_every_measure_in_which_a_peer_is_better_is_listed() -> None:
    measures = {
        "seconds": {OURS: 10.0, "fit": 20.0, "ray": 5.0},
        "examples/s": {OURS: 10.0, "fit": 20.0, "ray": 5.0},
    }
    rows = where_faster(measures, frozenset({"examples/s"}))
    assert rows == [["seconds", "ray", "5.0", "10.0"], ["examples/s", "fit", "20.0", "10.0"]]
