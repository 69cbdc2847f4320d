"""A part of a timeline, bar by bar: which part is shown at first, and which bars where there are too many. Pure."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from dashboard.views.task_rows import DONE, SUPERSEDED
from dashboard.views.timeline import Attempts, Bars, Timeline

MOST_BARS = 1_300
"""So many are drawn in about 170 ms; four times as many in more than a second."""

MOST_MARKED = 200
MARGIN = 0.02


class Window(NamedTuple):
    """A stretch of attended seconds, and in words what it is."""

    low_s: float
    high_s: float
    words: str


class Detail(NamedTuple):
    """The bars of a window.

    Args:
        bars: those drawn, in order of lane and start.
        all_bars: how many there are in the window.
        every: gives the places of all bars in the window, in that order, in `Timeline.bars`.
        marked: attempts in the window that failed, were lost, superseded or handed over.
        all_marked: how many there are.
    """

    window: Window
    bars: Bars
    all_bars: int
    every: npt.NDArray[np.intp]
    marked: Attempts
    all_marked: int


def whole(timeline: Timeline) -> Window:
    """All of it."""
    return Window(0.0, max(timeline.axis.length_s, 1e-3), "the whole run")


def round_window(timeline: Timeline, first: int, last: int, words: str) -> Window | None:
    """The rounds `first` … `last`; None where one of them is not known."""
    times = timeline.rounds
    if not 1 <= first <= last < len(times.commit) or np.isnan(times.began[first]):
        return None
    low = float(timeline.axis.of(times.began[first : first + 1])[0])
    end = times.commit[last] if not np.isnan(times.commit[last]) else times.newest
    high = max(float(timeline.axis.of(np.array([end]))[0]), low + 1e-3)
    margin = MARGIN * (high - low)
    return Window(max(0.0, low - margin), high + margin, words)


def first_window(timeline: Timeline) -> Window:
    """What is shown before anybody chose: the last two rounds while it runs, the slowest one afterwards."""
    times = timeline.rounds
    rounds = len(times.commit)
    if timeline.running:
        last = rounds - 1
        found = round_window(timeline, max(1, last - 1), last, "the last two rounds")
        return found or whole(timeline)
    committed = times.committed
    if not len(committed):
        return whole(timeline)
    lasted = timeline.axis.of(times.commit[committed]) - timeline.axis.of(times.began[committed])
    slowest = int(committed[np.argmax(np.nan_to_num(lasted))])
    return round_window(timeline, slowest, slowest, f"round {slowest}, the slowest one") or whole(timeline)


def detail(timeline: Timeline, window: Window, most: int = MOST_BARS) -> Detail:
    """The bars that can be seen in a window: where there are more than `most`, the longest ones."""
    bars, attempts = timeline.bars, timeline.attempts
    visible = np.flatnonzero((bars.end_s > window.low_s) & (bars.start_s < window.high_s) & (bars.end_s > bars.start_s))
    shown = visible
    if len(visible) > most:
        low, high = np.maximum(bars.start_s[visible], window.low_s), np.minimum(bars.end_s[visible], window.high_s)
        shown = visible[np.argpartition(low - high, most)[:most]]
    odd = np.flatnonzero(
        (attempts.rows["outcome"] > DONE)
        & (attempts.rows["outcome"] <= SUPERSEDED)
        & (attempts.end_s >= window.low_s)
        & (attempts.start_s <= window.high_s)
    )
    marked = odd[-MOST_MARKED:]
    return Detail(
        window,
        bars.at(_in_order(bars, shown)),
        len(visible),
        _in_order(bars, visible),
        attempts.at(marked),
        len(odd),
    )


def _in_order(bars: Bars, places: npt.NDArray[np.intp]) -> npt.NDArray[np.intp]:
    return places[np.lexsort((bars.start_s[places], bars.lane[places]))]
