"""The confusion matrix as a heat map. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from dashboard.figures.figure import Figure, Table
from dashboard.figures.theme import Theme, base_layout
from dashboard.views.confusion import Confusion

MOST_LABELLED = 20
"""Classes up to which each field says its number."""


def confusion_figure(matrix: Confusion, theme: Theme, *, as_shares: bool) -> Figure:
    """Rows are what the examples are, columns what the model saw.

    Args:
        as_shares: whether each row is divided by its sum.
    """
    shares, counts = matrix.shares, matrix.counts
    axis = {"type": "category", "showgrid": False}
    y_axis = {**axis, "autorange": "reversed"}
    layout = base_layout(theme, x_title="predicted", y_title="truth", xaxis=axis, yaxis=y_axis, hovermode="closest")
    trace: dict[str, Any] = {
        "type": "heatmap",
        "x": _ticks(matrix.names),
        "y": _ticks(matrix.names),
        "z": (shares * 100 if as_shares else counts).astype(np.float32),
        "customdata": (counts if as_shares else np.nan_to_num(shares * 100)).astype(np.float32),
        "hovertemplate": _hover(as_shares),
        "colorscale": [[0.0, theme.grid], [1.0, theme.accent]],
        "zmin": 0,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "colorbar": {"thickness": 10, "outlinewidth": 0, "ticksuffix": " %" if as_shares else ""},
    }
    if len(matrix.names) <= MOST_LABELLED:
        trace |= {"text": _numbers(trace["z"]), "texttemplate": "%{text}"}
    fields = int(counts.size)
    return Figure([trace], layout, describe(matrix), fields, fields, lambda: fields_table(matrix), "category")


def describe(matrix: Confusion) -> str:
    """What can be seen, in a sentence."""
    if not matrix.examples:
        return f"Confusion matrix after round {matrix.parameters_round}: no worker has told of an example."
    share = matrix.right / matrix.examples * 100
    text = (
        f"Confusion matrix after round {matrix.parameters_round}: {matrix.right:,} of {matrix.examples:,} validation "
        f"examples right ({share:.1f} %)."
    )
    worst = f" Most often wrong: {matrix.mistakes[0]}." if matrix.mistakes else " None is taken for another."
    left_out = matrix.all_classes - len(matrix.names)
    cut = f" Shown are the {len(matrix.names)} classes with the most mistakes, {left_out:,} are not."
    return text + worst + (cut if left_out else "")


def fields_table(matrix: Confusion) -> Table:
    """The fields that are not empty, the largest first."""
    truth, predicted = np.nonzero(matrix.counts)
    order = np.argsort(-matrix.counts[truth, predicted], kind="stable")
    truth, predicted = truth[order], predicted[order]
    return {
        "truth": [matrix.names[label] for label in truth],
        "predicted": [matrix.names[label] for label in predicted],
        "examples": matrix.counts[truth, predicted],
        "share of the truth": matrix.shares[truth, predicted],
    }


def _hover(as_shares: bool) -> str:
    number = "%{customdata:,.0f} examples, %{z:.1f} %" if as_shares else "%{z:,.0f} examples, %{customdata:.1f} %"
    return f"%{{y}} taken for %{{x}}<br>{number} of the row<extra></extra>"


def _numbers(fields: NDArray[np.float32]) -> list[list[str]]:
    """What each field says; nothing where it is empty, so that mistakes catch the eye. Shape (classes, classes)."""
    return [[f"{value:,.0f}" if value >= 0.5 else "" for value in row] for row in fields]


def _ticks(names: Sequence[str]) -> list[str]:
    """Names that differ, as an axis of categories needs them; Plotly reads `<` as markup."""
    plain = [name.replace("&", "&amp;").replace("<", "&lt;") for name in names]
    return [name if plain.count(name) == 1 else f"{name} ({label})" for label, name in enumerate(plain)]
