"""Things looked at by `doctor`, one line each, and what to do about them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

from rich.table import Table
from rich.text import Text

from cli.console import output
from cli.flags import print_json
from contracts.errors import EXIT_CONFIGURATION, LambdafitError


@dataclass(frozen=True)
class Check:
    """One thing looked at.

    Args:
        state: ok, note (works, but) or bad.
        fix: what to do, where it is not ok.
    """

    name: str
    state: str
    found: str
    fix: str = ""


MARKS = {"ok": ("✓", "green"), "note": ("!", "yellow"), "bad": ("✗", "red")}


def guarded(name: str, check: Callable[[], Check], *, otherwise: str = "bad") -> Iterator[Check]:
    """A check; where it raises, what it raised.

    Args:
        otherwise: the state then.
    """
    try:
        yield check()
    except LambdafitError as error:
        record = error.record()
        yield Check(name, otherwise, f"{record.number} {record.message}", record.advice)


def show_checks(checks: Iterable[Check], name_width: int, *, as_json: bool) -> int:
    """Print checks, one line each as it is known; as JSON all together.

    Returns:
        0, or 3 where something has to be mended.
    """
    console = output()
    marks = MARKS if console.encoding.startswith("utf") else {"ok": ("ok", ""), "note": ("!", ""), "bad": ("NO", "")}
    done = []
    for check in checks:
        done.append(check)
        if as_json:
            continue
        mark, style = marks[check.state]
        line = Table.grid(padding=(0, 2))
        line.add_column(width=2)
        line.add_column(width=name_width)
        line.add_column(overflow="fold")
        line.add_row(Text(mark, style), check.name, check.found)
        if check.fix and check.state != "ok":
            line.add_row("", "", Text(check.fix, "yellow"))
        console.print(line)
    well = all(check.state != "bad" for check in done)
    if as_json:
        print_json({"ok": well, "checks": [asdict(check) for check in done]})
    return 0 if well else EXIT_CONFIGURATION
