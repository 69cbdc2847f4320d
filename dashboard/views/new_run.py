"""A run that is about to be started: the recipes to choose from, and what it will take and cost. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from runs import words

SMALL_USD = 5e-7
"""Lines of less are shown as one."""


class Recipe(NamedTuple):
    """A built-in recipe. `settings` are its own, with their defaults."""

    name: str
    title: str
    dataset: str
    epochs: int
    batch_size: int
    settings: Mapping[str, Any]


class Line(NamedTuple):
    """One line of the bill, in USD."""

    service: str
    what: str
    amount: str
    usd: float


class Estimate(NamedTuple):
    """What a run will take.

    Args:
        on_lambda, here, cost: time on Lambda, time on this machine, all costs, in words.
        budget: whether the budget covers it, as a sentence.
        within_budget: whether it does.
        figures: (what, how much).
        notes: what one should know of these settings.
        assumptions: what the figures rest on.
    """

    on_lambda: str
    here: str
    cost: str
    budget: str
    within_budget: bool
    figures: tuple[tuple[str, str], ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...]
    assumptions: tuple[str, ...]
    prices: str


class Check(NamedTuple):
    """Something that `lambdafit doctor` looked at. `state` is ok, note or bad."""

    name: str
    state: str
    found: str
    fix: str


def recipes_of(answer: Mapping[str, Any] | None) -> list[Recipe]:
    """The built-in recipes, as `lambdafit recipes` tells them."""
    entries: Sequence[Mapping[str, Any]] = (answer or {}).get("recipes") or ()
    return [Recipe(*(entry[name] for name in Recipe._fields)) for entry in entries]


def checks_of(answer: Mapping[str, Any] | None) -> list[Check]:
    """What `lambdafit doctor` found; what has to be mended first."""
    entries: Sequence[Mapping[str, Any]] = (answer or {}).get("checks") or ()
    checks = [Check(*(str(entry.get(name) or "") for name in Check._fields)) for entry in entries]
    return sorted(checks, key=lambda check: ("bad", "note", "ok").index(check.state))


def estimate_of(answer: Mapping[str, Any]) -> Estimate:
    """An estimate, as `lambdafit train --dry-run` tells it: a `runs.estimate.Estimate` as JSON."""
    covered = "covers it" if answer["within_budget"] else "does not cover it: the run would stop before its end"
    counted, budget = words.usd(answer["budget_usd"]), words.usd(answer["max_cost_usd"])
    return Estimate(
        on_lambda=f"about {words.duration(answer['duration_s'])}",
        here=f"about {words.duration(answer['laptop_s'])}",
        cost=f"about {words.usd(answer['total_usd'])}",
        budget=f"{counted} count towards the budget of {budget}, which {covered}.",
        within_budget=bool(answer["within_budget"]),
        figures=_figures(answer),
        lines=_lines(answer["lines"]),
        notes=tuple(answer["notes"]),
        assumptions=tuple(answer["assumptions"]),
        prices=f"{answer['prices']}; {answer['architecture']}",
    )


def _figures(answer: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    return (
        ("workers", f"{answer['workers']:,} with batch {answer['batch_size']:,}"),
        ("rounds", f"{answer['rounds']:,}"),
        ("steps of a worker", f"{answer['steps_per_worker']:,}"),
        ("a step", f"{answer['step_s'] * 1000:.3g} ms; {answer['step_source']}"),
        ("parameters", f"{answer['parameters']:,} in {words.count(answer['slices'], 'slice')}"),
        ("invocations", f"{answer['invocations']:,}"),
        ("GB-seconds", f"{answer['gb_s']:,.0f}"),
        ("files", f"{answer['efs_read_bytes'] / 1e9:.3g} GB read, {answer['efs_written_bytes'] / 1e9:.3g} GB written"),
        ("held back at once", words.usd(answer["held_back_usd"])),
    )


def _lines(entries: Sequence[Mapping[str, Any]]) -> tuple[Line, ...]:
    shown = [
        Line(entry["group"], entry["name"], f"{entry['amount']:,.4g} {entry['unit']}", entry["usd"])
        for entry in entries
        if entry["usd"] >= SMALL_USD
    ]
    rest = sum(entry["usd"] for entry in entries if entry["usd"] < SMALL_USD)
    return (*shown, *((Line("", "lines of less", "", rest),) if rest else ()))
