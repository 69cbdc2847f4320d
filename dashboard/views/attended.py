"""The time in which somebody worked on a run: hours between a stop and a resume are cut out of the axis. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from runs.summary import UNATTENDED_GAP_S

Floats = npt.NDArray[np.float64]


class Cut(NamedTuple):
    """A silence that was left out: where it would lie, in attended seconds, and how long it was."""

    at_s: float
    seconds: float


class Attended(NamedTuple):
    """Turns seconds since 1970 into attended seconds since the run began.

    Args:
        clock: (knots,) seconds since 1970, ascending.
        seconds: (knots,) attended seconds at these.
    """

    clock: Floats
    seconds: Floats

    @property
    def length_s(self) -> float:
        """From the first moment to the last one."""
        return float(self.seconds[-1])

    @property
    def cuts(self) -> tuple[Cut, ...]:
        """What was left out, in order."""
        silent = np.flatnonzero((np.diff(self.seconds) == 0) & (np.diff(self.clock) > 0))
        return tuple(Cut(float(self.seconds[i]), float(self.clock[i + 1] - self.clock[i])) for i in silent)

    def of(self, clock: npt.NDArray[Any]) -> Floats:
        """Attended seconds of moments, NaN for NaN; those outside lie on the edge."""
        if len(self.clock) == 2:
            return np.asarray(np.clip(clock - self.clock[0], 0.0, self.seconds[-1]))
        return np.asarray(np.interp(clock, self.clock, self.seconds))


def attended(began: float, ended: float, starts: Floats, ends: Floats, others: Callable[[], Floats]) -> Attended:
    """The attended time of a run.

    A silence longer than `UNATTENDED_GAP_S` is cut, wherever nothing was at work: the rule of `runs.summary`.

    Args:
        began, ended: of the run, or of what is known so far; seconds since 1970.
        starts, ends: (intervals,) when something was certainly at work.
        others: gives any number of moments at which it was, too; asked only where there seems to be a silence.
    """
    ended = max(began, ended)
    starts, ends = np.append(starts, [began, ended]), np.append(ends, [began, ended])
    silences = _silences(starts, ends, began, ended)
    if silences:
        known = others()
        inside = [known[(known > low) & (known < high)] for low, high in silences]
        moments = np.concatenate(inside)
        silences = _silences(np.append(starts, moments), np.append(ends, moments), began, ended)
    clock, seconds = [began], [0.0]
    for low, high in silences:
        seconds += [seconds[-1] + low - clock[-1]] * 2
        clock += [low, high]
    seconds.append(seconds[-1] + ended - clock[-1])
    clock.append(ended)
    return Attended(np.array(clock), np.array(seconds))


def _silences(starts: Floats, ends: Floats, began: float, ended: float) -> list[tuple[float, float]]:
    order = np.argsort(starts, kind="stable")
    starts, reached = starts[order], np.maximum.accumulate(ends[order])
    found = np.flatnonzero(starts[1:] - reached[:-1] > UNATTENDED_GAP_S)
    pairs = ((float(reached[i]), float(starts[i + 1])) for i in found)
    return [(low, high) for low, high in pairs if low >= began and high <= ended]
