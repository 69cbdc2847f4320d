"""What all benchmarks share: the machine's description, spread, goal lines, tables, raw JSON, child processes."""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import statistics
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import contracts

ROOT = Path(__file__).resolve().parents[1]
SOURCE = Path(contracts.__file__).resolve().parents[1]
"""Of the lambdafit that is measured: this checkout's, unless PYTHONPATH names another."""

RESULTS = Path(__file__).resolve().parent / "results"
PACKAGES = ("tensorflow-cpu", "tensorflow", "keras", "numpy", "awslambdaric")
KILL_AFTER_S = 5.0


@dataclass(frozen=True)
class Goal:
    """One goal line.

    Args:
        what: what was measured, units included.
        value: as it is printed.
        wanted: the condition, as it is printed.
        reached: whether it holds; None where too little was measured to say.
    """

    what: str
    value: str
    wanted: str
    reached: bool | None

    def __str__(self) -> str:
        verdict = {True: "reached", False: "missed", None: "not measured"}[self.reached]
        return f"goal {self.what}: {self.value} (wanted {self.wanted}) {verdict}"


@dataclass
class Result:
    """What one benchmark found; `raw` holds every repetition."""

    name: str
    quick: bool
    settings: dict[str, Any]
    machine: dict[str, Any]
    started_at: float
    raw: dict[str, Any] = field(default_factory=dict)
    tables: dict[str, list[list[str]]] = field(default_factory=dict)
    goals: list[Goal] = field(default_factory=list)
    load_after: float = 0.0

    def table(self, title: str, rows: Sequence[Sequence[object]]) -> None:
        """Print a table and keep it. The first row is its head."""
        self.tables[title] = [[str(cell) for cell in row] for row in rows]
        print(f"\n{title}")
        print_table(self.tables[title])

    def goal(self, what: str, value: str, wanted: str, reached: bool | None) -> None:
        """Note a goal; `finish` prints it."""
        self.goals.append(Goal(what, value, wanted, reached))

    def finish(self, folder: Path) -> None:
        """Write the JSON, then print the goal lines, last."""
        self.load_after = load_average()
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{self.name}.json"
        data = asdict(self) | {"duration_s": round(time.time() - self.started_at, 1)}
        path.write_text(json.dumps(data, indent=1, sort_keys=True) + "\n")
        shown = path.relative_to(ROOT) if path.is_relative_to(ROOT) else path
        print(f"\nraw figures: {shown}")
        if max(self.machine["load_before"], 0.0) > 0.5:
            print(f"the machine was not quiet: load {self.machine['load_before']:.1f} at the start")
        for goal in self.goals:
            print(goal)


def parser(description: str | None) -> argparse.ArgumentParser:
    """A benchmark's options: those that all of them have."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.ArgumentDefaultsHelpFormatter)
    made.add_argument("--quick", action="store_true", help="few repetitions: shows that it runs, measures little")
    made.add_argument("--output", type=Path, default=None, help="folder for the JSON (quick runs: results/local)")
    return made


def begin(name: str, options: argparse.Namespace) -> Result:
    """An empty result; prints on what machine."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that children are stopped, too
    machine = describe_machine()
    settings = {key: str(value) if isinstance(value, Path) else value for key, value in vars(options).items()}
    settings.pop("output", None)
    print(f"{name}: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, load", end=" ")
    print(f"{machine['load_before']:.1f}, Python {machine['python']}", flush=True)
    return Result(name, bool(options.quick), settings, machine, time.time())


def output_folder(options: argparse.Namespace) -> Path:
    """Quick runs do not overwrite the figures that are kept."""
    if options.output is not None:
        return Path(options.output)
    return RESULTS / "local" if options.quick else RESULTS


def describe_machine() -> dict[str, Any]:
    """Processor, cores, memory, versions, and how busy it was."""
    return {
        "cpu": _cpu(),
        "cores": cores(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1e9, 1),
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "packages": {name: version for name in PACKAGES if (version := _version(name))},
        "load_before": load_average(),
    }


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def load_average() -> float:
    """Runnable processes, mean of the last minute."""
    return round(os.getloadavg()[0], 2)


def spread(values: Iterable[float]) -> dict[str, float]:
    """Median, least, most and quartiles."""
    ordered = sorted(values)
    low, middle, high = statistics.quantiles(ordered, n=4) if len(ordered) > 1 else [ordered[0]] * 3
    return {"median": middle, "min": ordered[0], "q1": low, "q3": high, "max": ordered[-1], "n": len(ordered)}


def median(values: Iterable[float]) -> float:
    """The median; NaN of nothing."""
    found = list(values)
    return statistics.median(found) if found else float("nan")


def print_table(rows: Sequence[Sequence[str]]) -> None:
    """Rows in columns, the first to the left, the others to the right."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:], strict=True))]
        print("  " + "  ".join(cells).rstrip(), flush=True)


def markdown_table(rows: Sequence[Sequence[str]]) -> str:
    """The same as Markdown."""
    head, *body = rows
    lines = [head, ["---"] + ["---:"] * (len(head) - 1), *body]
    return "\n".join("| " + " | ".join(row) + " |" for row in lines)


def data_folder() -> str:
    """Where data sets are looked for: `LAMBDAFIT_DATA`, else beside the checkout; empty: they are downloaded."""
    beside = ROOT.parent / "shared" / "data"
    return os.environ.get("LAMBDAFIT_DATA") or (str(beside) if beside.is_dir() else "")


def cli() -> list[str]:
    """The command `lambdafit` of what is measured."""
    installed = ROOT / ".venv" / "bin" / "lambdafit"
    own = SOURCE == ROOT / "src" and installed.exists()
    return [str(installed)] if own else [sys.executable, "-m", "cli.main"]


def variables(home: Path | None = None, **more: str) -> dict[str, str]:
    """Environment variables for a child that runs lambdafit."""
    given = {key: value for key, value in os.environ.items() if not key.startswith("LAMBDAFIT_")}
    given |= {"PYTHONPATH": str(SOURCE), "LAMBDAFIT_DATA": data_folder(), "TF_CPP_MIN_LOG_LEVEL": "3"}
    if home is not None:
        given["LAMBDAFIT_HOME"] = str(home)
    return given | more


@dataclass(frozen=True)
class Finished:
    """A child that ended: its last line of standard output as JSON, and its wall time from spawn to exit."""

    answer: dict[str, Any]
    started_at: float
    wall_s: float


class ChildFailed(RuntimeError):
    """A child ended badly or not at all; the message ends with what it printed last."""


def run_json(command: Sequence[str], environment: Mapping[str, str], timeout_s: float) -> Finished:
    """Run a program whose last line of output is a JSON object.

    Raises:
        ChildFailed: its exit code is not 0, or it took longer than `timeout_s`.
    """
    started_at, began = time.time(), time.perf_counter()
    with subprocess.Popen(
        command, env=dict(environment), stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    ) as process:
        try:
            printed, problems = process.communicate(timeout=timeout_s)
        except BaseException as error:
            stop_group(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise ChildFailed(f"{command[0]}: no end within {timeout_s:g} s") from None
            raise
    wall_s = time.perf_counter() - began
    if process.returncode != 0:
        tail = problems.decode(errors="replace")[-1500:]
        raise ChildFailed(f"{' '.join(command)}: exit code {process.returncode}\n{tail}")
    return Finished(json.loads(printed.decode().strip().splitlines()[-1]), started_at, wall_s)


def stop_group(process: subprocess.Popen[Any]) -> None:
    """End a process that was started in a session of its own, and all that it started there."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
        except ProcessLookupError:
            break
        try:
            process.wait(KILL_AFTER_S)
        except subprocess.TimeoutExpired:
            continue
    process.wait(KILL_AFTER_S)


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:  # not Linux
        return platform.processor() or platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
