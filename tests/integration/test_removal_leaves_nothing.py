"""`lambdafit runs rm` leaves nothing of a run behind, however it ended: real processes, every file counted."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psutil
import pytest
from test_cli import Program, end, read_until

from contracts.records import Run, StepBatch, Task, TaskKey
from simulation.world import settings
from stores.sqlite import SqliteStore

LEFT = {"engine.lock", "logs", "runs.db", "shared", "shared/runs", "telemetry.db"}
"""What a home without runs holds: its stores, its lock, empty folders."""

TRAIN = ("train", "digits-mlp", "--workers", "3", "--epochs", "2", "--json")


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """With a folder of its own for temporary files; while a file `hold` is there, the second round does not end."""
    (tmp_path / "tmp").mkdir()
    return Program(tmp_path / "home", LAMBDAFIT_TEST_HOLD=str(tmp_path / "hold"), TMPDIR=str(tmp_path / "tmp"))


def below(folder: Path) -> set[str]:
    """Every file and folder."""
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


def finished(program: Program) -> None:
    program(*TRAIN)


def killed(program: Program) -> None:
    kill(program, *TRAIN)


def killed_and_resumed(program: Program) -> None:
    kill(program, *TRAIN)
    program("runs", "resume", "latest")


def failed(program: Program) -> None:
    """Past its deadline in the midst of a round."""
    kill(program, *TRAIN)
    program("runs", "resume", "latest", "--deadline-s", "0.001", expect=1)


def cancelled(program: Program) -> None:
    process = program.start(*TRAIN, "--epochs", "2000")
    read_until(process, r"round \d+ of")
    program("runs", "stop", "latest")
    end(process)


def rows(file: Path, table: str) -> int:
    """How many a table of a store has."""
    with closing(sqlite3.connect(file)) as connection:
        return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608 - names in this file


def kill(program: Program, *command: str) -> None:
    """The parent and all environments, in the midst of a round."""
    hold = Path(program.variables["LAMBDAFIT_TEST_HOLD"])
    hold.touch()
    process = program.start(*command)
    read_until(process, r"round \d+ of")
    parent = psutil.Process(process.pid)
    parent.suspend()  # it would replace what is killed
    children = parent.children(recursive=True)
    for child in children:
        child.kill()
    process.kill()
    end(process)
    psutil.wait_procs(children, timeout=30)
    hold.unlink()


@pytest.mark.parametrize("work", [finished, failed, cancelled, killed, killed_and_resumed])
def test_every_file_of_a_run_goes(program: Program, tmp_path: Path, work: Callable[[Program], None]) -> None:
    work(program)
    assert any(path.startswith("shared/runs/r-") for path in below(program.home))
    program("runs", "rm", "latest", "-y")
    assert below(program.home) <= LEFT
    assert below(tmp_path / "tmp") == set()
    records = [rows(program.home / "runs.db", table) for table in ("runs", "tasks", "rounds")]
    assert [*records, rows(program.home / "telemetry.db", "telemetry")] == [0, 0, 0, 0]


# --- the stores' pages -------------------------------------------------------------------------------------

RUNS, ROUNDS, WORKERS = 50, 5, 8


def write_run(store: SqliteStore, run_id: str) -> None:
    """About as much as a small run writes."""
    run = Run(run_id=run_id, settings=settings(workers=WORKERS), code_version="1", created_at=1.0, deadline_at=9.0)
    store.create_run(run)
    for round_index in range(ROUNDS):
        for index in range(WORKERS):
            key = TaskKey(round_index=round_index, kind="train", index=index)
            for version in (1, 2, 3):
                assert store.save_task(run_id, Task(key=key, version=version))
            batch = StepBatch(
                worker_index=index, round_index=round_index, attempt=1, first_step=0, ended_at=2.0,
                losses=(0.5,) * 100, examples=(8,) * 100, durations_ms=(1.25,) * 100,
            )  # fmt: skip
            store.put_steps(run_id, batch)


def test_pages_of_removed_runs_are_used_again(tmp_path: Path) -> None:
    """Fifty runs, each removed when the next has begun, take the room of about two."""
    store = SqliteStore(tmp_path / "runs.db")
    sizes: list[int] = []
    for number in range(RUNS):
        write_run(store, f"r-{number:04d}")
        if number:
            store.delete_run(f"r-{number - 1:04d}")
        store.close()  # the last connection empties the write-ahead logs
        sizes.append(sum(path.stat().st_size for path in tmp_path.iterdir()))
    assert sorted(os.listdir(tmp_path)) == ["runs.db", "telemetry.db"]  # noqa: PTH208 - names are wanted
    assert max(sizes) <= 2.5 * sizes[0]
    assert sizes[-1] <= sizes[RUNS // 2]
