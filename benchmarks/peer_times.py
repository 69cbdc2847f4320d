"""Who is how much sooner: pure sums over what `fit_runs` found. Nothing here measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Any

OURS = "lambdafit"
Runs = Mapping[str, Mapping[int, Mapping[str, Any]]]
"""Of each system, its runs by the repetition's number; one that failed is left out."""


@dataclass(frozen=True)
class Reached:
    """When a run was as accurate as wanted.

    Args:
        start_s, step_s: seconds from the start of the process, and from the first step; of a run that never was as
            good, its whole time.
        met: whether it was.
    """

    start_s: float
    step_s: float
    met: bool

    def shown(self, seconds: float) -> str:
        """`seconds` for a table."""
        return f"{seconds:.1f}" if self.met else f"not by {seconds:.1f}"


def our_time(run: Mapping[str, Any], accuracy: float) -> Reached:
    """Of lambdafit: from the first step's beginning to the end of the process, which tells the test accuracy."""
    met = run["answer"]["test_accuracy"] >= accuracy
    return Reached(run["wall_s"], run["wall_s"] - run["first_step_s"], met)


def peer_time(run: Mapping[str, Any], accuracy: float) -> Reached:
    """Of a peer: to the end of the first epoch after which it was as good; from the end of the first step."""
    good = (epoch for epoch in run["epochs"] if epoch["test_accuracy"] >= accuracy)
    epoch = next(good, None)
    start_s = (epoch or run["epochs"][-1])["since_start_s"]
    return Reached(start_s, start_s - run["first_step_s"], epoch is not None)


def times_of(runs: Runs, accuracy: float) -> dict[str, dict[int, Reached]]:
    """Of each system, when each of its runs was as good."""
    return {
        name: {number: (our_time if name == OURS else peer_time)(run, accuracy) for number, run in found.items()}
        for name, found in runs.items()
    }


def final_accuracy(name: str, run: Mapping[str, Any]) -> float:
    """On the test set, after the last epoch."""
    return float(run["answer"]["test_accuracy"] if name == OURS else run["test_accuracy"])


def share(ours: Mapping[int, Reached], peers: Mapping[int, Reached]) -> tuple[float, str, bool | None]:
    """The median over repetitions of our time by the peer's, both from process start.

    Returns:
        the share; how it is printed; whether it counts: not where a run of ours never was as good, and None where
        nothing was measured. For a peer that never was as good its whole time stands, and the share is at most that.
    """
    both = sorted(set(ours) & set(peers))
    if not both:
        return float("nan"), "–", None
    value = median(ours[number].start_s / peers[number].start_s for number in both)
    ours_missed = sum(not ours[number].met for number in both)
    peers_missed = sum(not peers[number].met for number in both)
    if ours_missed:
        return value, f"lambdafit did not reach it in {ours_missed} of {len(both)} runs", False
    if peers_missed:
        return value, f"at most {value:.2f}, as it did not reach it in {peers_missed} of {len(both)} runs", True
    return value, f"{value:.2f}", True


def where_faster(measures: Mapping[str, Mapping[str, float]], more_is_better: frozenset[str]) -> list[list[str]]:
    """Rows (what, peer, its value, lambdafit's) of each measure in which a peer is better.

    Args:
        measures: measure → system → median.
    """
    rows = []
    for what, values in measures.items():
        mine = values[OURS]
        for name, value in values.items():
            if name != OURS and (value > mine if what in more_is_better else value < mine):
                rows.append([what, name, f"{value:,.1f}", f"{mine:,.1f}"])
    return rows
