"""The long rehearsal: `make rehearsal`, or `python -m rehearsal` with `src` and `tests` on the path.

Each recipe is trained by `--engine local` and by `--engine aws` with the same options; the parameters must be the same
to the bit. Prints a table, and leaves the recorded API calls and the figures as JSON in a folder.
"""

from __future__ import annotations

import argparse
import collections
import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from engines.aws_stack.libraries_upload import FOLDER
from libraries.build import build, built
from libraries.load import TEMPORARY as UNPACKED
from libraries.lock import this_architecture
from rehearsal.cloud import Cloud
from rehearsal.mappings import StreamMapping
from rehearsal.recording import STAND_IN, USER, read_calls
from rehearsal.stage import put_libraries, without_lambdafit_variables
from rehearsal.tour import tour
from rehearsal.whole_runs import CORES, TEMPLATE, WholeRuns, as_arguments, counted_calls, local_run
from template.iam_coverage import uncovered, unused

SWEEP_S = 3.0
TOURED: Mapping[str, Any] = {"workers": 2, "rounds": 4, "seed": 1}
OWN_RECIPE = str(TEMPLATE.parent / "examples/my_recipe.py")
PLANS: Mapping[str, Mapping[str, Any]] = {
    "digits-mlp": {"workers": 4, "epochs": 5, "seed": 1},
    "fashion-mnist-mlp": {"workers": 4, "epochs": 1, "seed": 1},
    OWN_RECIPE: {"workers": 2, "epochs": 2, "seed": 1},
}
"""Recipe → options. More workers than environments: on this machine they take turns."""

DATA_SETS = {"digits-mlp": "digits", "fashion-mnist-mlp": "fashion-mnist"}
"""What is pushed before; a user's own recipe brings its own."""

NOT_REHEARSED = {
    (function, "Libraries"): "nothing is fetched where TensorFlow is installed, or on the file system"
    for function in ("Train", "Predict")
}


@dataclass(frozen=True)
class Rehearsed:
    """One recipe, both ways."""

    recipe: str
    options: dict[str, Any]
    run_id: str
    rounds: int
    val_accuracy: float
    local_s: float
    aws_s: float
    local_digest: str
    aws_digest: str
    invocations: dict[str, int]
    calls: dict[str, int]
    stream_records: int

    @property
    def same(self) -> bool:
        """Whether the parameters are equal."""
        return self.local_digest == self.aws_digest != ""


def rehearse(runs: WholeRuns, recipe: str, options: Mapping[str, Any], data: str) -> Rehearsed:
    """Train it here and there."""
    cloud = runs.cloud
    began = time.monotonic()
    local = local_run(recipe, options, data)
    local_s = time.monotonic() - began
    if recipe in DATA_SETS:
        succeed(runs, "data", "push", DATA_SETS[recipe])
    before, seen, records = dict(cloud.functions.invocations), len(cloud.calls()), _stream_records(cloud)
    began = time.monotonic()
    said = succeed(runs, "train", recipe, *as_arguments(options), "--engine", "aws", "--json", "--quiet")
    aws_s = time.monotonic() - began
    there = json.loads(said.splitlines()[-1])
    succeed(
        runs, "export", there["run_id"], "--to", "keras", "--output", str(cloud.folder / f"{there['run_id']}.keras")
    )
    return Rehearsed(
        recipe=Path(recipe).name,
        options=dict(options),
        run_id=there["run_id"],
        rounds=there["rounds"],
        val_accuracy=there["val_accuracy"],
        local_s=local_s,
        aws_s=aws_s,
        local_digest=local["parameters_sha256"] or "",
        aws_digest=there["parameters_sha256"] or "",
        invocations={name: count - before.get(name, 0) for name, count in cloud.functions.invocations.items()},
        calls=dict(counted_calls(cloud, seen).most_common()),
        stream_records=_stream_records(cloud) - records,
    )


def succeed(runs: WholeRuns, *arguments: str) -> str:
    """`lambdafit …`, which must go well. Returns what it printed."""
    done = runs.command(*arguments)
    if done.returncode:
        raise SystemExit(f"lambdafit {' '.join(arguments)} ended with {done.returncode}:\n{done.stderr}{done.stdout}")
    return done.stdout


def people(runs: WholeRuns) -> None:
    """The other commands."""
    succeed(runs, "runs", "list")
    succeed(runs, "runs", "show", "latest")
    succeed(runs, "data", "list")
    succeed(runs, "doctor", "--engine", "aws")
    succeed(runs, "runs", "rm", "latest", "--yes")


def _has(data: str, dataset: str) -> bool:
    return bool(data) and (Path(data) / dataset).is_dir()


def _stream_records(cloud: Cloud) -> int:
    return sum(mapping.records for mapping in cloud.mappings.values() if isinstance(mapping, StreamMapping))


def table(all_of_them: Sequence[Rehearsed]) -> str:
    """What is printed."""
    lines = [
        f"{'recipe':<20}{'run':<14}{'rounds':>7}{'local s':>9}{'aws s':>8}  {'sha256 local':<14}{'sha256 aws':<14}same",
    ]
    for one in all_of_them:
        lines.append(
            f"{one.recipe:<20}{one.run_id:<14}{one.rounds:>7}{one.local_s:>9.1f}{one.aws_s:>8.1f}  "
            f"{one.local_digest[:12]:<14}{one.aws_digest[:12]:<14}{'yes' if one.same else 'NO'}"
        )
    lines.append("")
    for one in all_of_them:
        lines.append(f"{one.recipe}: {one.options}; validation accuracy {one.val_accuracy:.4f}")
        lines.append(f"  invocations     {_counts(one.invocations)}")
        lines.append(f"  API calls       {_counts(one.calls)}")
        lines.append(f"  stream records  {one.stream_records} (through both mappings' filters)")
    return "\n".join(lines)


def _counts(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{name} {count}" for name, count in collections.Counter(counts).most_common() if count)


def main() -> int:
    """Exit code 0: all parameters were the same."""
    arguments = argparse.ArgumentParser(prog="python -m rehearsal", description=__doc__)
    arguments.add_argument("--data", default=os.environ.get("LAMBDAFIT_DATA", ""), help="folder of data sets")
    arguments.add_argument(
        "--output", type=Path, default=Path("build/rehearsal"), help="gets calls.jsonl, results.json"
    )
    arguments.add_argument("--recipe", action="append", choices=list(PLANS), help="only this one, without the tour")
    arguments.add_argument(
        "--libraries",
        choices=("installed", "s3", "efs"),
        default="installed",
        help="where workers take TensorFlow from; other than installed: the archive, built first if need be",
    )
    given = arguments.parse_args()
    wanted = given.recipe or [
        name
        for name in PLANS
        if name not in DATA_SETS or DATA_SETS[name] == "digits" or _has(given.data, DATA_SETS[name])
    ]
    for name in PLANS:
        if name not in wanted and not given.recipe:
            print(f"{name} is left out: no data set {DATA_SETS[name]} in {given.data or 'LAMBDAFIT_DATA'}")
    folder = Path(tempfile.mkdtemp(prefix="lambdafit-rehearsal-"))
    unpacked_before = UNPACKED.exists()
    try:
        with (
            without_lambdafit_variables(),
            stack(folder, given.libraries) as cloud,
        ):
            skipped = collections.Counter(cloud.model.skipped.values())
            print(f"stack {cloud.stack}: not acted out are {_counts(skipped)}\n", flush=True)
            runs = WholeRuns(cloud, given.data)
            if given.libraries == "installed":
                put_libraries(cloud)
            else:
                runs.bring_libraries()
            results = [rehearse(runs, name, PLANS[name], given.data) for name in wanted]
            if not given.recipe:
                tour(runs, TOURED)
                people(runs)
            letters = cloud.messages(cloud.outputs["DeadLettersQueueUrl"])
        given.output.mkdir(parents=True, exist_ok=True)
        shutil.copy(cloud.calls_file, given.output / "calls.jsonl")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if not unpacked_before:  # what the workers left, which on AWS goes with them
            shutil.rmtree(UNPACKED, ignore_errors=True)
    (given.output / "results.json").write_text(json.dumps([asdict(one) for one in results], indent=1) + "\n")
    print(table(results))
    print(f"\ndead letters: {len(letters)}; the calls are in {given.output / 'calls.jsonl'}")
    explained = {} if given.libraries == "s3" else NOT_REHEARSED
    refused = [] if given.recipe else permissions(given.output / "calls.jsonl", explained)
    print("\n".join(refused))
    return 0 if all(one.same for one in results) and not letters and not refused else 1


def stack(folder: Path, libraries: str) -> Cloud:
    """The stack, not yet there; its workers' TensorFlow installed or, as on AWS, from the archive."""
    source = {} if libraries == "installed" else {"LibrariesSource": libraries, "LibrariesDigest": _built_digest()}
    variables = {"LAMBDAFIT_LIBRARIES": source.get("LibrariesSource", "")}
    limits = {"Train": CORES}
    return Cloud(folder, TEMPLATE, parameters=source, variables=variables, environments=limits, sweep_s=SWEEP_S)


def _built_digest() -> str:
    """Of the workers' libraries, built where they are not: a deployment tells the stack."""
    architecture = this_architecture()
    return (built(FOLDER, architecture) or build(FOLDER, architecture)).manifest.digest


def permissions(calls_file: Path, explained: Mapping[tuple[str, str], str]) -> list[str]:
    """Where the template's IAM statements and the recorded calls differ."""
    calls = [call for call in read_calls(calls_file) if call["function"] != STAND_IN]
    functions = sorted({call["function"] for call in calls} - {USER})
    return [f"not allowed, but called: {one}" for one in uncovered(calls)] + [
        f"allowed, but never called: {one}" for one in unused(functions, calls, explained)
    ]


if __name__ == "__main__":
    sys.exit(main())
