"""What a run costs, drawn: spent over rounds, and beside rented machines. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from dashboard.figures.figure import Figure, Table
from dashboard.figures.theme import Theme, base_layout
from dashboard.views.cost import Curve, Expected
from runs.bill import Bill
from runs.words import usd

MOST_ROUNDS = 1_000
BUDGET_IN_SIGHT = 5.0
"""A budget beyond so many times the highest point would press the curve flat: it is named, not drawn."""

LAMBDA = "Lambda: this run"
WAYS = (("on demand", "on_demand"), ("reserved", "reserved"), ("spot", "spot"))


def spent_figure(spent: Curve, end: Expected | None, max_cost_usd: float, theme: Theme) -> Figure:
    """What had been spent by each round, and while the run goes on where that leads.

    Args:
        spent: at least one round.
    """
    rounds = len(spent.round_index)
    picked = np.unique(np.linspace(0, rounds - 1, min(rounds, MOST_ROUNDS)).round().astype(np.int64))
    x, y = spent.round_index[picked], spent.total_usd[picked]  # (picked,)
    # The first point is what preparing cost: before round 1.
    x, y = np.append(0, x), np.append(spent.before_usd, y)
    hover = "round %{x}: $%{y:.4g}<extra>%{fullData.name}</extra>"
    line = {"color": theme.accent, "width": 2}
    data: list[dict[str, Any]] = [
        {"type": "scatter", "mode": "lines", "name": "spent", "x": x, "y": y, "line": line, "hovertemplate": hover}
    ]
    highest = float(spent.total_usd[-1])
    if end is not None:
        highest = max(highest, end.usd)
        data.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "estimate",
                "x": [int(spent.round_index[-1]), end.total_rounds],
                "y": [float(spent.total_usd[-1]), end.usd],
                "line": {"color": theme.muted, "width": 2, "dash": "dot"},
                "hovertemplate": hover,
            }
        )
    y_axis = {"rangemode": "tozero", "tickprefix": "$"}
    layout = base_layout(theme, x_title="round", y_title="spent, USD", yaxis=y_axis, hovermode="closest")
    if max_cost_usd <= BUDGET_IN_SIGHT * highest:
        layout |= _budget_line(max_cost_usd, theme)
    alt = _describe_spent(spent, end, max_cost_usd)
    return Figure(data, layout, alt, len(picked), rounds, lambda: _spent_table(spent))


def machines_figure(bill: Bill, theme: Theme) -> Figure:
    """The run beside the same work on EC2, on a logarithmic scale: a large machine costs thousands of times more."""
    names = [machine.name for machine in bill.machines]
    traces = [
        _bars(label, names, [float(getattr(machine, f"{way}_usd")) for machine in bill.machines], color, label)
        for (label, way), color in zip(WAYS, theme.series[1:], strict=False)
    ]
    # Lambda takes the place of the middle one of three bars: places are given in the order of the traces.
    ours = _bars(LAMBDA, [LAMBDA], [bill.total_usd], theme.accent, WAYS[1][0])
    traces.insert(1, ours | {"legendrank": 1})
    layout = base_layout(
        theme,
        x_title="USD for this work, logarithmic",
        y_title="",
        barmode="group",
        bargap=0.25,
        hovermode="closest",
        xaxis={"type": "log", "dtick": 1, "tickprefix": "$", "range": _log_range(traces)},
        yaxis={
            "type": "category",
            "categoryorder": "array",
            "categoryarray": [LAMBDA, *names],
            "autorange": "reversed",
        },
    )
    bars = 1 + len(WAYS) * len(names)
    return Figure(traces, layout, describe_machines(bill), bars, bars, lambda: machines_table(bill), "log")


def describe_machines(bill: Bill) -> str:
    """The comparison in a sentence."""
    if not bill.machines:
        return "No machine to compare with."
    least = min(bill.machines, key=lambda machine: machine.on_demand_usd)
    return (
        f"This run costs {usd(bill.total_usd)} on Lambda. The same work on EC2 costs least on {least.name}: "
        f"{usd(least.on_demand_usd)} on demand, {usd(least.reserved_usd)} reserved and {usd(least.spot_usd)} on spot; "
        f"a month of it on demand costs {usd(least.on_demand_usd_per_month)}, whether it works or not."
    )


def machines_table(bill: Bill) -> Table:
    """The same work on each machine, and what each costs a month. A price that is no exact list price is named."""
    machines = bill.machines
    columns: dict[str, Sequence[Any]] = {
        "machine": [machine.name for machine in machines],
        "busy (s)": [machine.seconds for machine in machines],
    }
    for suffix, title in (("", "{} ($)"), ("_per_month", "{}, a month ($)")):
        columns |= {
            title.format(label): [getattr(machine, f"{way}_usd{suffix}") for machine in machines] for label, way in WAYS
        }
    columns["approximate prices"] = [", ".join(machine.approximate).replace("_", " ") for machine in machines]
    return columns


def _bars(name: str, categories: list[str], costs: list[float], color: str, place: str) -> dict[str, Any]:
    return {
        "type": "bar",
        "orientation": "h",
        "name": name,
        "x": costs,
        "y": categories,
        "text": [usd(cost) for cost in costs],
        "textposition": "outside",
        "textfont": {"size": 11},
        "cliponaxis": False,
        "offsetgroup": place,
        "marker": {"color": color},
        "hovertemplate": "%{y}, %{fullData.name}: %{text}<extra></extra>",
    }


def _log_range(traces: Sequence[Mapping[str, Any]]) -> list[float]:
    """Of all bars, with room for what stands behind the longest."""
    logs = [math.log10(cost) for trace in traces for cost in trace["x"] if cost > 0]
    return [min(logs) - 0.5, max(logs) + 0.9] if logs else [-4.0, 0.0]


def _budget_line(max_cost_usd: float, theme: Theme) -> dict[str, Any]:
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "y0": max_cost_usd, "y1": max_cost_usd}
    words = {"text": f"budget {usd(max_cost_usd)}", "xref": "paper", "x": 0, "y": max_cost_usd}
    return {
        "shapes": [{**line, "line": {"color": theme.text, "width": 1, "dash": "dash"}}],
        "annotations": [{**words, "xanchor": "left", "yanchor": "bottom", "showarrow": False}],
    }


def _describe_spent(spent: Curve, end: Expected | None, max_cost_usd: float) -> str:
    text = (
        f"{usd(float(spent.total_usd[-1]))} spent after {len(spent.round_index):,} rounds, "
        f"{usd(float(spent.round_usd.mean()))} a round, of a budget of {usd(max_cost_usd)}."
    )
    return text + (f" At the end about {usd(end.usd)}." if end else "")


def _spent_table(spent: Curve) -> Table:
    return {"round": spent.round_index, "cost of the round ($)": spent.round_usd, "spent by then ($)": spent.total_usd}
