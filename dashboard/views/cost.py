"""What a run costs, made ready for a page: the bill's sums, the budget, the curve over rounds, the end. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from contracts.records import RoundRecord, Run, Task, TaskKey
from runs import budget
from runs.bill import Bill, KeptLine
from runs.usage import MONTH_S, LineItem

Floats = NDArray[np.float64]
Columns = dict[str, list[str] | list[float] | list[bool]]

TEMPORARY_STORAGE = "temporary storage"


class Headline(NamedTuple):
    """What the sum on top is, and a sentence about it."""

    title: str
    text: str


class Totals(NamedTuple):
    """What was taken of AWS, over all functions.

    Args:
        gb_s: memory × time of all functions.
        stored_gb_hours: on the shared files, while it ran.
        table_units: DynamoDB's reads and writes.
    """

    gb_s: float
    requests: float
    efs_read_gb: float
    efs_written_gb: float
    stored_gb_hours: float
    table_units: float


class Budget(NamedTuple):
    """How much of `max_cost_usd` is gone.

    Args:
        spent_usd: of attempts that have ended.
        in_flight_usd: of those at work, so far.
        held_back_usd: the most that those at work may come to; nothing else may spend it meanwhile.
    """

    spent_usd: float
    in_flight_usd: float
    held_back_usd: float
    max_cost_usd: float

    @property
    def share(self) -> float:
        """Of the budget: spent and in flight, 0 … 1."""
        return min(1.0, (self.spent_usd + self.in_flight_usd) / self.max_cost_usd)


class Curve(NamedTuple):
    """What had been spent when each round was committed. All of shape (rounds,).

    Args:
        before_usd: what had been spent before the first round.
    """

    round_index: NDArray[np.int64]
    round_usd: Floats
    total_usd: Floats
    before_usd: float


class Expected(NamedTuple):
    """What will have been spent at the end, if the rounds to come cost what those done did.

    Args:
        budget_ends_at: the round in which the budget will be used up; None where it lasts.
    """

    usd: float
    rounds_done: int
    total_rounds: int
    mean_round_usd: float
    before_usd: float
    budget_ends_at: int | None

    @property
    def how(self) -> str:
        """The calculation in words."""
        return (
            f"${self.before_usd:.4g} before the first round + ${self.mean_round_usd:.4g} a round, the mean of "
            f"{self.rounds_done:,} done, × {self.total_rounds:,} rounds; the last test and early stops are not in it"
        )


def headline(run: Run, *, is_cloud: bool) -> Headline:
    """Whether the bill still grows, and whether anybody pays it.

    Args:
        is_cloud: whether it runs on AWS, not on this machine.
    """
    if run.ended and is_cloud:
        return Headline("Cost, final", "Final: the run has ended, and these are its records.")
    if is_cloud:
        return Headline("Cost so far, live", "Live: it grows while functions are at work, those included.")
    free = "The run takes place on this machine and costs nothing: it is counted as if each function had taken as long"
    if run.ended:
        return Headline("Had it run on Lambda, final", f"{free} on AWS. Final: the run has ended.")
    return Headline("If it ran on Lambda, so far", f"{free} on AWS. Live: it grows while functions are at work.")


def totals(bill: Bill) -> Totals:
    """The sums of a bill's lines."""
    lines = bill.lines
    return Totals(
        gb_s=_amount(lines, "Lambda", "GB-s", without=TEMPORARY_STORAGE),
        requests=_amount(lines, "Lambda", "request"),
        efs_read_gb=_amount(lines, "EFS", "GB", name="read"),
        efs_written_gb=_amount(lines, "EFS", "GB", name="written"),
        stored_gb_hours=_amount(lines, "EFS", "GB-month") * MONTH_S / 3600,
        table_units=_amount(lines, "DynamoDB", "unit"),
    )


def amount(value: float) -> str:
    """Three figures that say something, whole numbers where they are large: `408`, `1.27`, `0.0026`."""
    return f"{value:,.0f}" if value >= 100 or value == int(value) else f"{value:.3g}"


def by_service(lines: Iterable[LineItem]) -> dict[str, float]:
    """Service → USD, in the order of the bill."""
    found: dict[str, float] = {}
    for line in lines:
        found[line.group] = found.get(line.group, 0.0) + line.usd
    return found


def budget_of(run: Run, tasks: Mapping[TaskKey, Task], bill: Bill) -> Budget:
    """How far the budget is used up.

    Args:
        tasks: of the current round at least.
    """
    current = {key: task for key, task in tasks.items() if key.round_index == run.round_index}
    held = {} if run.ended else budget.open_reservations(run, current)
    return Budget(bill.spent_usd, bill.in_flight_usd, sum(held.values()), run.settings.max_cost_usd)


def curve(rounds: Sequence[RoundRecord], tasks: Mapping[TaskKey, Task]) -> Curve:
    """What each committed round cost, and what had been spent by then."""
    before_usd = sum(task.cost_usd for key, task in tasks.items() if key.round_index == 0)
    round_usd = np.array([record.cost_usd for record in rounds], np.float64)
    index = np.array([record.round_index for record in rounds], np.int64)
    return Curve(index, round_usd, before_usd + np.cumsum(round_usd), before_usd)


def expected(run: Run, spent: Curve) -> Expected | None:
    """The end of a run that goes on; None where no round is done, or it has ended."""
    done = len(spent.round_index)
    if run.ended or run.plan is None or not done:
        return None
    mean_usd, total = float(spent.round_usd.mean()), run.plan.total_rounds
    end_usd = spent.before_usd + mean_usd * total
    most = run.settings.max_cost_usd
    ends_at = None
    if end_usd > most and mean_usd > 0:
        ends_at = min(total, max(done, int((most - spent.before_usd) / mean_usd) + 1))
    return Expected(end_usd, done, total, mean_usd, spent.before_usd, ends_at)


def bill_columns(lines: Sequence[LineItem], *, briefly: bool = False) -> Columns:
    """The bill as columns of a table, every line of it.

    Args:
        briefly: without where each line is known from and whether the budget counts it.
    """
    columns: Columns = {
        "service": [line.group for line in lines],
        "what": [line.name for line in lines],
        "amount": [line.amount for line in lines],
        "unit": [line.unit for line in lines],
        "price ($)": [line.price_usd for line in lines],
        "cost ($)": [line.usd for line in lines],
    }
    if not briefly:
        columns["known from"] = ["estimate" if line.estimated else "record" for line in lines]
        columns["in budget"] = [line.in_budget for line in lines]
    return columns


def stays_columns(kept: Sequence[KeptLine]) -> Columns:
    """What stays behind, as columns of a table."""
    return {
        "what stays": [line.name for line in kept],
        "GB": [line.gb for line in kept],
        "a month ($)": [line.usd_per_month for line in kept],
    }


def stored(gb_hours: float) -> str:
    """`1.2 GB-hours`; a short run's in MB-hours, of which nobody has to count the zeros: `< 0.1 MB-hours`."""
    if gb_hours >= 0.1:
        return f"{amount(gb_hours)} GB-hours"
    return f"{gb_hours * 1000:.1f} MB-hours" if gb_hours >= 1e-4 else "< 0.1 MB-hours"


def _amount(lines: Iterable[LineItem], group: str, unit: str, *, name: str = "", without: str = "") -> float:
    return sum(
        line.amount
        for line in lines
        if line.group == group and line.unit == unit and (not name or line.name == name) and line.name != without
    )
