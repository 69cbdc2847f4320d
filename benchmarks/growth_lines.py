"""From measured runs to the lines of `runs.growth`, and from these to estimates of other runs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from statistics import mean
from typing import Any, get_args

import msgspec

import harness
from contracts.records import RoundPlan
from contracts.settings import RunSettings
from growth_fit import fit, relative_errors
from runs.estimate import assumed_step_time
from runs.growth import (
    CACHED_PARAMETERS,
    MEGABYTE,
    VALUE_BYTES,
    Growth,
    Quantity,
    RoundLine,
    Seen,
    SizeLine,
    StartLine,
    StepLine,
    TaskLine,
    ValidationLine,
)
from runs.price_list import price_list
from runs.sizes import Sizes
from runs.usage import bill_lines, total_usd
from runs.workload import Workload, side_by_side

Measured = dict[str, Any]
"""A run as `growth_points.recorded` gives it."""

QUANTITIES: tuple[Quantity, ...] = get_args(Quantity)

LEAST_S = 1e-4
"""Of what a line is fitted to: noise may make a difference of two times negative."""


def lines(runs: Sequence[Measured], cores: int, date: str, machine: str) -> Growth:
    """The fitted lines; what was held back and its errors are to be filled in.

    Args:
        runs: every repetition of every point that is fitted.
    """
    beside = [mean_beside_s(run, cores) for run in runs]
    quiet = [(run, one) for run, one in zip(runs, beside, strict=True) if one]
    sizes = [_size_row(run) for run in runs]
    starts = [row | {"s_per_data_mb": data_mb(run)} for row, run in zip(sizes, runs, strict=True)]
    rounds = [{"base_s": 1, "s_per_worker": run["settings"]["workers"], "s_per_mb": moved_mb(run)} for run, _ in quiet]
    firsts = [max(LEAST_S, first_round_s(run, cores, one)) for run, one in quiet]
    tasks = [task for run in runs for task in run["tasks"]]
    return Growth(
        date=date,
        machine=machine,
        points=len({run["name"] for run in runs}),
        held_back=0,
        start=StartLine(**fit(starts, [run["start_s"] for run in runs])),
        first_round=SizeLine(**fit([_size_row(run) for run, _ in quiet], firsts)),
        round=RoundLine(**fit(rounds, [one for _, one in quiet])),
        step=StepLine(**fit([_step_row(run) for run in runs], [run["step_s"] for run in runs])),
        validation=_validation(quiet, cores),
        finish=SizeLine(**fit(sizes, [run["finish_s"] for run in runs])),
        task=TaskLine(
            **fit(
                [{"base_s": 1, "s_per_mb": task["moved_mb"]} for task in tasks],
                [max(LEAST_S, task["beside_s"]) for task in tasks],
            )
        ),
        cold_s=harness.median(run["cold_s"] for run in runs),
        build_s=harness.median(run["build_s"] for run in runs),
        errors={},
    )


def _validation(quiet: Sequence[tuple[Measured, float]], cores: int) -> ValidationLine:
    """By how much rounds that validate are longer than others: the first of a run, and those after it."""
    firsts, others = [], []
    for run, usual in quiet:
        longer = [one - usual for one in _beside_s(run, cores, validates=True)]
        firsts += longer[:1]
        others += [one / run["settings"]["workers"] for one in longer[1:]]
    return ValidationLine(*(max(0.0, harness.median(found)) if found else 0.0 for found in (firsts, others)))


def _size_row(run: Measured) -> dict[str, float]:
    return {"base_s": 1, "s_per_parameter_mb": parameter_mb(run)}


def _step_row(run: Measured) -> dict[str, float]:
    parameters = run["sizes"]["parameters"]
    batch_size = run["settings"]["batch_size"]
    return {
        "base_s": 1,
        "s_per_value": parameters + run["sizes"]["state_bytes"] / VALUE_BYTES,
        "s_per_parameter_beyond": max(0, parameters - CACHED_PARAMETERS),
        "s_per_parameter_example": parameters * batch_size,
    }


def with_errors(growth: Growth, held_back: Sequence[Measured], cores: int) -> Growth:
    """The lines with what they, and the sums, get wrong on runs that were not fitted."""
    errors = {}
    names = sorted({run["name"] for run in held_back})
    for quantity in QUANTITIES:
        pairs = [median_pair(growth, held_back, name, quantity, cores) for name in names]
        found = relative_errors(*zip(*pairs, strict=True))
        errors[quantity] = Seen(harness.median(found), max(found))
    return growth._replace(held_back=len(names), errors=errors)


def median_pair(
    growth: Growth, runs: Iterable[Measured], name: str, quantity: Quantity, cores: int
) -> tuple[float, float]:
    """Of one point: the estimate and the median of what was measured."""
    of_point = [run for run in runs if run["name"] == name]
    estimated = harness.median(estimates(growth, run, cores)[quantity] for run in of_point)
    return estimated, harness.median(measured(run)[quantity] for run in of_point)


def measured(run: Measured) -> dict[Quantity, float]:
    """What a run took."""
    return {
        "time": run["wall_s"],
        "bytes": run["read_bytes"] + run["written_bytes"],
        "requests": run["invocations"] + run["table_reads"] + run["table_writes"],
        "dollars": run["usd"],
    }


def estimates(growth: Growth, run: Measured, cores: int) -> dict[Quantity, float]:
    """The same of a run that nobody has made yet: from settings and sizes alone, its steps by the fitted line.

    Dollars are counted as `runs.bill` counts a run here: in this machine's seconds.
    """
    settings = msgspec.convert(run["settings"], RunSettings)
    sizes, plan = Sizes(**run["sizes"]), msgspec.convert(run["plan"], RoundPlan)
    step = assumed_step_time(sizes, settings, growth)
    work = Workload(settings, sizes, step, plan, growth.speeds(), growth)
    usage = work.usage()
    return {
        "time": work.laptop_s(cores),
        "bytes": usage.transfer.read_bytes + usage.transfer.written_bytes,
        "requests": usage.invocations + usage.table_reads + usage.table_writes,
        "dollars": total_usd(bill_lines(usage, price_list())),
    }


def mean_beside_s(run: Measured, cores: int) -> float:
    """A round's seconds beside its steps, over those after the first that validate nothing; clearing up included.

    Returns:
        0 where all rounds validate.
    """
    found = _beside_s(run, cores, validates=False)
    return max(LEAST_S, mean(found)) if found else 0.0


def _beside_s(run: Measured, cores: int, *, validates: bool) -> list[float]:
    of_kind = [one for one in run["rounds"] if bool(one["validates"]) == validates]
    return [one["round_s"] - one["steps_s"] / _at_once(run, cores) for one in of_kind]


def first_round_s(run: Measured, cores: int, beside: float) -> float:
    """How much longer the first round took than it would later."""
    settings = run["settings"]
    steps = run["plan"]["examples_per_round"] / settings["batch_size"] / _at_once(run, cores)
    return float(run["first_round_s"] - steps * run["step_s"] - beside)


def moved_mb(run: Measured) -> float:
    """In a usual round."""
    return harness.median(one["moved_mb"] for one in run["rounds"])


def data_mb(run: Measured) -> float:
    """Of the whole data set."""
    return float(run["sizes"]["data_bytes"] + run["sizes"]["test_bytes"]) / MEGABYTE


def parameter_mb(run: Measured) -> float:
    """Of one vector of parameters."""
    return float(run["sizes"]["parameters"]) * VALUE_BYTES / MEGABYTE


def _at_once(run: Measured, cores: int) -> float:
    return side_by_side(run["settings"]["workers"], cores, run["settings"]["threads"])
