"""Where the first ten seconds go, how soon things start, and how small the parent stays.

`lambdafit --help`; the time to a run's first training step beside TensorFlow's own import time; how soon later rounds
begin after their dispatch; the memory of the process that conducts a run, and whether TensorFlow is mapped into it.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import psutil

import first_seconds
import harness
from runs.summary import load
from stores.sqlite import SqliteStore

HELP_WANTED_S = 0.3
STEP_WANTED_S = 2.0
PARENT_WANTED_MB = 150.0
ROUND_WANTED_MS = 5.0
LOOKED_AT_S = 10.0
LOOK_S = 0.02
IMPORT = "import time; import tensorflow; print('{\"at\": %r}' % time.time())"


def help_s() -> float:
    """Wall seconds of `lambdafit --help`."""
    began = time.perf_counter()
    subprocess.run([*harness.cli(), "--help"], env=harness.variables(), capture_output=True, check=True)
    return time.perf_counter() - began


def import_s(timeout_s: float) -> float:
    """Seconds from the start of a Python process until `import tensorflow` is done in it."""
    finished = harness.run_json([sys.executable, "-c", IMPORT], harness.variables(), timeout_s)
    return float(finished.answer["at"]) - finished.started_at


class ParentWatch(threading.Thread):
    """Looks at one process until it ends: peak resident MB, and the TensorFlow files mapped into it."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self.peak_mb = 0.0
        self.mapped: set[str] = set()
        self._process = psutil.Process(pid)

    def run(self) -> None:
        """Look every 20 ms; at the maps, which take longer, every second."""
        looked_at_maps = 0.0
        while True:
            try:
                self.peak_mb = max(self.peak_mb, self._process.memory_info().rss / 1e6)
                if time.monotonic() - looked_at_maps > 1 and hasattr(self._process, "memory_maps"):
                    looked_at_maps = time.monotonic()
                    paths = (Path(entry.path).name for entry in self._process.memory_maps())
                    self.mapped |= {name for name in paths if "tensorflow" in name.lower()}
            except (psutil.Error, OSError):
                return
            time.sleep(LOOK_S)


def run_once(recipe: str, rounds: int, timeout_s: float) -> dict[str, Any]:
    """Start a run as a user does; when its first step began and what its parent held."""
    with tempfile.TemporaryDirectory(prefix="lambdafit-startup-") as folder:
        home = Path(folder) / "home"
        command = [*harness.cli(), "train", recipe, "--workers", "2", "--rounds", str(rounds), "--json", "--quiet"]
        started_at = time.time()
        with subprocess.Popen(
            command,
            env=harness.variables(home),
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        ) as process:
            watch = ParentWatch(process.pid)
            watch.start()
            try:
                _, problems = process.communicate(timeout=timeout_s)
            finally:
                harness.stop_group(process)
        if process.returncode != 0:
            raise harness.ChildFailed(problems.decode(errors="replace")[-1500:])
        store = SqliteStore(home / "runs.db")
        history = load(store, store, store.list_runs(1)[0].run_id)
        store.close()
    first = min(batch.ended_at - sum(batch.durations_ms) / 1e3 for batch in history.steps)
    return {
        "first_step_s": first - started_at,
        "parent_peak_mb": watch.peak_mb,
        "tensorflow_mapped": sorted(watch.mapped),
        "round_starts_ms": first_seconds.round_starts_ms(history),
        "first_seconds": first_seconds.rows(history, started_at, LOOKED_AT_S),
    }


def main() -> None:
    """Run it."""
    parser = harness.parser(__doc__)
    parser.add_argument("--recipe", default="fashion-mnist-mlp")
    parser.add_argument("--rounds", type=int, default=40, help="of a run: more than begin in the first ten seconds")
    parser.add_argument("--repetitions", type=int, default=5, help="of imports and runs, which take turns")
    parser.add_argument("--help-repetitions", type=int, default=10)
    parser.add_argument("--timeout-s", type=float, default=300.0)
    options = parser.parse_args()
    if options.quick:
        options.repetitions, options.help_repetitions = 1, 3
    result = harness.begin("start", options)
    help_s()  # compiles bytecode
    helps = [help_s() for _ in range(options.help_repetitions)]
    imports, runs = [], []
    for _ in range(options.repetitions):
        imports.append(import_s(options.timeout_s))
        runs.append(run_once(options.recipe, options.rounds, options.timeout_s))
    result.raw |= {"help_s": helps, "import_tensorflow_s": imports, "runs": runs}
    firsts = [run["first_step_s"] for run in runs]
    later_s = harness.median(firsts) - harness.median(imports)
    peak_mb = max(run["parent_peak_mb"] for run in runs)
    mapped = sorted({name for run in runs for name in run["tensorflow_mapped"]})
    starts = {
        what: [start_ms for run in runs for start_ms in run["round_starts_ms"][what]]
        for what in ("claimed", "stepping")
    }
    rows: list[list[str]] = [["what", "median", "least", "most"]]
    for what, values in (
        ("lambdafit --help, s", helps),
        ("import tensorflow, s", imports),
        ("first training step, s", firsts),
        ("a later round's dispatch until a worker has it, ms", starts["claimed"]),
        ("a later round's dispatch until a worker's first step, ms", starts["stepping"]),
        ("parent's peak, MB", [run["parent_peak_mb"] for run in runs]),
    ):
        rows.append([what, *(f"{value:.2f}" for value in (harness.median(values), min(values), max(values)))])
    result.table("From process start", rows)
    middle = sorted(runs, key=lambda run: run["first_step_s"])[len(runs) // 2]
    parts = [
        [what, f"{start_s:.2f}", f"{end_s:.2f}", f"{end_s - start_s:.2f}", remark]
        for what, start_s, end_s, remark in middle["first_seconds"]
    ]
    head = ["what, in the run whose first step came neither soonest nor latest", "from s", "to s", "s", ""]
    result.table(f"Where the first {LOOKED_AT_S:g} seconds go", [head, *parts])
    help_median_s = harness.median(helps)
    result.goal("lambdafit --help", f"{help_median_s:.2f} s", f"< {HELP_WANTED_S} s", help_median_s < HELP_WANTED_S)
    result.goal(
        "first step after TensorFlow's import time",
        f"{later_s:.2f} s",
        f"<= {STEP_WANTED_S:g} s",
        later_s <= STEP_WANTED_S,
    )
    begins_ms = harness.median(starts["claimed"])
    result.goal(
        "a later round begins after its dispatch",
        f"{begins_ms:.1f} ms; {harness.median(starts['stepping']):.1f} ms to the first step",
        f"<= {ROUND_WANTED_MS:g} ms",
        begins_ms <= ROUND_WANTED_MS,
    )
    result.goal("parent's peak memory", f"{peak_mb:.0f} MB", f"< {PARENT_WANTED_MB:g} MB", peak_mb < PARENT_WANTED_MB)
    result.goal("TensorFlow in the parent", ", ".join(mapped) or "none", "none", not mapped)
    result.finish(harness.output_folder(options))


if __name__ == "__main__":
    main()
