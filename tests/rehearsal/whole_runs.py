"""Whole runs in the stand-in's stack, and the same ones by `--engine local`: what rehearsals compare."""

from __future__ import annotations

import collections
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from contracts.errors import RunNotFound
from contracts.records import Run, Task
from rehearsal.cloud import Cloud
from rehearsal.recording import STAND_IN
from stores.dynamodb import DynamoStore
from stores.shared_files import FolderFiles
from training.datasets.prepare import SPLITS, prepare_dataset
from training.datasets.source import source_named

SOURCE = Path(__file__).resolve().parents[2] / "src"
TEMPLATE = SOURCE.parent / "template.yaml"
CORES = 2
"""Processors of the local run: threads of TensorFlow follow from them, and bits from threads."""


class WholeRuns:
    """Starts runs in a cloud and awaits their ends.

    Args:
        data: folder of the data sets as published (`LAMBDAFIT_DATA`).
    """

    def __init__(self, cloud: Cloud, data: str) -> None:
        self.cloud, self._data = cloud, data
        self.store = DynamoStore(cloud.outputs["TableName"], cloud.client("dynamodb"))

    def push(self, *datasets: str) -> None:
        """Bring data sets to the bucket, as `lambdafit data push` leaves them."""
        client, bucket = self.cloud.client("s3"), self.cloud.outputs["BucketName"]
        folder = self.cloud.folder / "prepared"
        for dataset in datasets:
            source, data = source_named(dataset), Path(self._data) if self._data else None
            facts = prepare_dataset(source, FolderFiles(folder), data_folder=data, cache_folder=folder / "downloads")
            for name in (*(f"{split}.npy" for split in SPLITS), "meta.json"):
                client.upload_file(str(folder / facts["folder"] / name), bucket, f"{facts['folder']}/{name}")
            pointer = json.dumps({"folder": facts["folder"]}).encode()
            client.put_object(Bucket=bucket, Key=f"datasets/{dataset}.json", Body=pointer)

    def start(self, **options: Any) -> str:
        """Have StartRun start a run. Returns its id."""
        answer = self.cloud.invoke("StartRun", {"start": True, **options})
        assert "run_id" in answer, answer
        return str(answer["run_id"])

    def run(self, run_id: str) -> Run | None:
        """The run as it stands; None where there is none yet."""
        try:
            return self.store.load_run(run_id)
        except RunNotFound:
            return None

    def end(self, run_id: str, patience_s: float = 60.0) -> Run:
        """The run once it has ended."""

        def ended() -> Run | None:
            run = self.run(run_id)
            return run if run is not None and run.ended else None

        try:
            return self.cloud.wait_for(ended, patience_s)
        except TimeoutError as error:
            raise TimeoutError(f"{self.describe(run_id)}: {error}") from None

    def reaches(self, run_id: str, round_index: int, patience_s: float = 60.0) -> Run:
        """The run once it has come to a round."""

        def there() -> Run | None:
            run = self.run(run_id)
            return run if run is not None and (run.round_index >= round_index or run.ended) else None

        return self.cloud.wait_for(there, patience_s)

    def tasks(self, run_id: str) -> list[Task]:
        """All tasks of all rounds."""
        run = self.store.load_run(run_id)
        return [
            task for number in range(run.round_index + 1) for task in self.store.load_tasks(run_id, number).values()
        ]

    def describe(self, run_id: str) -> str:
        """Where a run hangs."""
        run = self.run(run_id)
        if run is None:
            return f"there is no run {run_id}"
        tasks = self.store.load_tasks(run_id, run.round_index).values()
        states = ", ".join(f"{task.key} {task.status} attempt {task.attempt}" for task in tasks)
        return f"run {run_id} is {run.stage} ({run.error or 'no error'}): {states}"

    def bring_libraries(self) -> None:
        """Build the workers' libraries where they are not built, and bring them to the stack, as a deployment does."""
        done = run_python(
            _BRING_LIBRARIES, (self.cloud.stack,), variables=self.cloud.variables(STAND_IN), timeout_s=900.0
        )
        assert done.returncode == 0, done.stderr

    def command(self, *arguments: str, timeout_s: float = 600.0) -> subprocess.CompletedProcess[str]:
        """`lambdafit …` on the stack, as a person types it."""
        where = {"LAMBDAFIT_STACK": self.cloud.stack, "LAMBDAFIT_HOME": str(self.cloud.folder / "home")}
        return lambdafit(*arguments, variables=where | self.cloud.variables(), data=self._data, timeout_s=timeout_s)


def local_run(recipe: str, options: Mapping[str, Any], data: str) -> dict[str, Any]:
    """The same by `--engine local`, on two processors. Returns what `--json` prints."""
    with tempfile.TemporaryDirectory(prefix="lambdafit-rehearsal-") as home:
        done = lambdafit(
            "train",
            recipe,
            *as_arguments(options),
            "--engine",
            "local",
            "--json",
            "--quiet",
            variables={"LAMBDAFIT_HOME": home},
            data=data,
        )
    assert done.returncode == 0, done.stderr
    return dict(json.loads(done.stdout.splitlines()[-1]))


def as_arguments(options: Mapping[str, Any]) -> list[str]:
    """Options of a start event as the command line takes them."""
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]


def lambdafit(
    *arguments: str, variables: Mapping[str, str], data: str, timeout_s: float = 600.0
) -> subprocess.CompletedProcess[str]:
    """The command line, in a clean environment."""
    program = f"{_ON_TWO_CORES}; from cli.main import main; main()"
    return run_python(program, arguments, variables={"LAMBDAFIT_DATA": data, **variables}, timeout_s=timeout_s)


def run_python(
    program: str, arguments: Sequence[str], *, variables: Mapping[str, str], timeout_s: float
) -> subprocess.CompletedProcess[str]:
    """A Python of its own with lambdafit's modules and no more than these variables."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
    return subprocess.run(
        [sys.executable, "-P", "-c", program, *arguments],
        env=kept | {"PYTHONPATH": str(SOURCE), **variables},
        capture_output=True,
        text=True,
        timeout=timeout_s,
        check=False,
        cwd=tempfile.gettempdir(),
    )


_BRING_LIBRARIES = """
import sys
from engines.aws import AwsEngine
from engines.aws_stack.account import Account
from engines.aws_stack.libraries_upload import bring, install
engine = AwsEngine.open(Account(), sys.argv[1])
say = lambda what: print(what, file=sys.stderr)
install(engine, bring(engine, lambda what, length: lambda done: None, say), say)
"""
_ON_TWO_CORES = (
    "import os; hasattr(os, 'sched_setaffinity') and "
    f"os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:{CORES}])"
)


def counted_calls(cloud: Cloud, since: int = 0) -> collections.Counter[str]:
    """API calls by action, those of functions only."""
    return collections.Counter(
        call["action"] for call in cloud.calls()[since:] if call["function"] in cloud.model.functions
    )
