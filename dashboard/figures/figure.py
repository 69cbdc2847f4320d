"""What a page draws: Plotly traces and a layout as plain data, with the words and the table that belong to them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import numpy as np

AxisKind = Literal["linear", "log", "date", "category"]
Table = Mapping[str, "Sequence[Any] | np.ndarray[Any, Any]"]


class Figure(NamedTuple):
    """One chart, ready to be drawn.

    Args:
        data: Plotly traces; values may be numpy arrays, which travel in binary.
        layout: Plotly layout; `uirevision`, height and width are set where it is drawn.
        alt: one sentence, with figures, that says what can be seen.
        shown_points: how many points the traces hold.
        all_points: how many there are; more than `shown_points` where some were left out.
        table: gives the columns of what is drawn, all of one length, at full resolution within the window.
        x_kind: what the first x-axis is; ranges come back in its values (`date`: ms since 1970).
    """

    data: list[dict[str, Any]]
    layout: dict[str, Any]
    alt: str
    shown_points: int
    all_points: int
    table: Callable[[], Table]
    x_kind: AxisKind = "linear"
