"""Which classes are taken for which: a confusion matrix ready to be drawn. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from dashboard.views.predictions import Counts

MOST_CLASSES = 100
"""More rows than these cannot be told apart."""


class Mistake(NamedTuple):
    """One class taken for another: `wrong` of the `of` examples of the class `truth`."""

    truth: str
    predicted: str
    wrong: int
    of: int

    def __str__(self) -> str:
        return f"{self.truth} taken for {self.predicted}: {self.wrong:,} of {self.of:,}"


class Confusion(NamedTuple):
    """A confusion matrix.

    Args:
        names: of the classes shown, in the order of their labels.
        counts: shape (classes, classes): row = truth, column = predicted.
        right, examples: over all classes, shown or not.
        all_classes: how many there are.
        mistakes: the most frequent ones first.
    """

    parameters_round: int
    names: tuple[str, ...]
    counts: Counts
    right: int
    examples: int
    all_classes: int
    mistakes: tuple[Mistake, ...]

    @property
    def shares(self) -> NDArray[np.float64]:
        """Shape (classes, classes): each row's part that was predicted so, 0 … 1; NaN in a row without examples."""
        sums = self.counts.sum(axis=1, keepdims=True)  # (classes, 1)
        shares: NDArray[np.float64] = np.full(self.counts.shape, np.nan)
        np.divide(self.counts, sums, out=shares, where=sums > 0)
        return shares


def confusion(parameters_round: int, names: Sequence[str], counts: Counts) -> Confusion:
    """Cut down to the classes with the most mistakes where there are too many of them.

    Args:
        counts: shape (classes, classes): row = truth, column = predicted.
    """
    shown = _shown(counts)
    return Confusion(
        parameters_round=parameters_round,
        names=tuple(names[label] for label in shown),
        counts=counts[np.ix_(shown, shown)],
        right=int(np.trace(counts)),
        examples=int(counts.sum()),
        all_classes=len(counts),
        mistakes=_mistakes(names, counts),
    )


def _shown(counts: Counts) -> NDArray[np.int64]:
    """The labels to show, in order."""
    if len(counts) <= MOST_CLASSES:
        return np.arange(len(counts))
    wrong = counts - np.diag(np.diag(counts))
    worst = np.argsort(-(wrong.sum(axis=0) + wrong.sum(axis=1)), kind="stable")[:MOST_CLASSES]
    return np.sort(worst)


def _mistakes(names: Sequence[str], counts: Counts, most: int = 5) -> tuple[Mistake, ...]:
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:most]  # flat: truth × classes + predicted
    pairs = [divmod(int(index), len(counts)) for index in order]
    return tuple(
        Mistake(names[truth], names[predicted], int(wrong[truth, predicted]), int(counts[truth].sum()))
        for truth, predicted in pairs
        if wrong[truth, predicted] > 0
    )
