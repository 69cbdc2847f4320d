"""The screens of costs: a run's bill, an idle stack, and what they have in common with an estimate."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any, cast

import msgspec
from rich.console import Group, RenderableType
from rich.padding import Padding
from rich.text import Text

from cli import screens
from cli.console import make_table, output
from cli.flags import Flags, print_json
from cli.runs_place import open_runs
from runs import words
from runs.bill import Bill, KeptLine, make_bill
from runs.ec2 import MachineCost
from runs.idle import idle_cost
from runs.price_list import Architecture
from runs.summary import load
from runs.usage import LineItem, total_usd

ESTIMATED = "~"
SMALL_USD = 5e-7
"""Lines of less are left out of tables; the totals and the JSON have them."""


def show_bill(name: str, architecture: str, region: str, flags: Flags, *, as_json: bool) -> None:
    """Print a run's bill."""
    place = open_runs(flags)
    run = place.find(name)
    history = load(place.store, place.telemetry, run.run_id)
    bill = make_bill(history, time.time(), architecture=cast("Architecture", architecture), region=region)
    if as_json:
        print_json(as_data(bill))
        return
    output().print(Group(*_bill_parts(bill, words.recipe(history.run))))


def show_idle(architecture: str, region: str, *, as_json: bool) -> None:
    """Print what a stack costs a month that nobody uses."""
    cost = idle_cost(architecture=cast("Architecture", architecture), region=region)
    if as_json:
        print_json(as_data(cost))
        return
    month = f"  {words.usd(cost.total_usd)} a month at most"
    parts: list[RenderableType] = [
        Text.assemble(("A deployed stack that nobody uses", "bold"), month),
        Text(cost.prices, style="dim"),
        "",
        lines_table(cost.lines),
        "",
        assumptions(cost.assumptions),
    ]
    output().print(Group(*parts))


def as_data(cost: Any) -> Any:
    """A bill or an estimate as JSON-ready data: its tuples with names become objects."""
    if isinstance(cost, msgspec.Struct):
        return {name: as_data(getattr(cost, name)) for name in cost.__struct_fields__}
    if isinstance(cost, tuple) and hasattr(cost, "_asdict"):
        return {name: as_data(value) for name, value in cost._asdict().items()}
    if isinstance(cost, (tuple, list)):
        return [as_data(value) for value in cost]
    return cost


def lines_table(lines: Sequence[LineItem], title: str = "") -> RenderableType:
    """One line of a bill a row; `~` marks what was not recorded but estimated."""
    numbers = ("amount", "price", "cost")
    table = make_table("service", "what", *numbers, numbers=numbers, title=title)
    service = ""
    for line in lines:
        if line.usd < SMALL_USD:
            continue
        table.add_row(
            line.group if line.group != service else "",
            line.name,
            f"{ESTIMATED if line.estimated else ''}{_amount(line.amount)} {line.unit}",
            f"${line.price_usd:.10g}" if line.price_usd >= 1e-4 else f"${line.price_usd * 1e6:.6g} a million",
            words.usd(line.usd),
        )
        service = line.group
    rest = sum(line.usd for line in lines if line.usd < SMALL_USD)
    if rest:
        table.add_row("", "lines of less", "", "", words.usd(rest))
    table.add_row("", Text("all", style="bold"), "", "", Text(words.usd(total_usd(lines)), style="bold"))
    return Padding(table, screens.INDENT, expand=False)


def machines_table(machines: Sequence[MachineCost]) -> RenderableType:
    """The same work on EC2; `~` marks approximate prices."""
    numbers = ("busy", "on demand", "reserved", "spot", "a month on demand", "a month reserved", "a month spot")
    table = make_table("machine", *numbers, numbers=numbers, title="The same work on EC2, and a month of each machine")
    for machine in machines:
        marks = {kind: ESTIMATED if kind in machine.approximate else "" for kind in ("on_demand", "reserved", "spot")}
        table.add_row(
            machine.name,
            words.duration(machine.seconds),
            marks["on_demand"] + words.usd(machine.on_demand_usd),
            marks["reserved"] + words.usd(machine.reserved_usd),
            marks["spot"] + words.usd(machine.spot_usd),
            marks["on_demand"] + words.usd(machine.on_demand_usd_per_month),
            marks["reserved"] + words.usd(machine.reserved_usd_per_month),
            marks["spot"] + words.usd(machine.spot_usd_per_month),
        )
    return Padding(table, screens.INDENT, expand=False)


def assumptions(texts: Sequence[str]) -> RenderableType:
    """What the figures rest on."""
    listed = [Padding(Text(text, style="dim"), screens.INDENT, expand=False) for text in texts]
    return Group(Text("Assumptions", style="bold"), *listed)


def _bill_parts(bill: Bill, recipe: str) -> list[RenderableType]:
    head = Text.assemble((recipe, "bold"), (f"  {bill.run_id}  ", "dim"), f"{words.usd(bill.total_usd)} on AWS")
    if bill.in_flight_usd:
        head.append(f" so far, {words.usd(bill.in_flight_usd)} of it by functions at work")
    parts: list[RenderableType] = [
        head,
        Text(f"{bill.prices}; {bill.architecture}; {ESTIMATED} estimated", style="dim"),
        Text(f"{words.usd(bill.spent_usd)} of it count towards the run's budget", style="dim"),
        "",
        lines_table(bill.lines),
        "",
        _kept_table(bill.kept),
        "",
        machines_table(bill.machines),
        "",
        assumptions(bill.assumptions),
    ]
    return parts


def _kept_table(kept: Sequence[KeptLine]) -> RenderableType:
    table = make_table("what stays", "GB", "a month", numbers=("GB", "a month"))
    for line in kept:
        table.add_row(line.name, _amount(line.gb), words.usd(line.usd_per_month))
    return Padding(table, screens.INDENT, expand=False)


def _amount(value: float) -> str:
    """Three figures that say something, whole numbers where they are large."""
    if value >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}" if value >= 0.001 else f"{value:.2g}"
