"""`make sam-local`: every function with its sample event in a real container, the answers checked.

Needs `sam build` done and a Docker-compatible engine. SAM_LOCAL_FLAGS goes to `sam local invoke`. Names of functions as
arguments narrow it. Exit code 1 if any answer is wrong.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
sys.path[:0] = [str(CHECKOUT / "tests"), str(CHECKOUT / "src")]

from sam_local import local_template  # noqa: E402 - run as a program, not from pytest
from sam_local.cases import CASES, Case, WrongAnswer  # noqa: E402
from sam_local.sample_homes import RUN_ID  # noqa: E402

WORK = CHECKOUT / ".aws-sam/local"
SAM = CHECKOUT / ".venv-sam/bin/sam"
INVOKE_LIMIT_S = 900
LOG_LINES = 25
NO_ENGINE = "container runtime"
_SOME_RUN = re.compile(r"\br-[0-9a-f]{10}\b")


def main(wanted: Sequence[str]) -> int:
    """Run the cases of these functions, or all. Returns the exit code."""
    cases = [case for case in CASES if not wanted or case.function in wanted]
    functions = sorted({case.function for case in cases})
    if unknown := set(wanted) - {case.function for case in CASES}:
        raise SystemExit(f"no such functions: {', '.join(sorted(unknown))}")
    missing = sorted({case.event for case in cases if not (CHECKOUT / "events" / case.event).exists()})
    if missing:
        raise SystemExit(f"events/ lacks {', '.join(missing)}")
    shutil.rmtree(WORK, ignore_errors=True)
    WORK.mkdir(parents=True)
    homes = _make_homes()
    libraries = _make_libraries() if set(functions) & local_template.WITH_LIBRARIES else None
    template = local_template.write(CHECKOUT / ".aws-sam/build", WORK, homes, libraries, functions)
    begun = time.monotonic()
    wrong = [case for case in cases if not _passes(case, template)]
    sys.stdout.write(f"{len(cases) - len(wrong)} of {len(cases)} as expected, {time.monotonic() - begun:.0f} s\n")
    return 1 if wrong else 0


def _make_homes() -> Path:
    homes = WORK / "homes"
    _said(f"a run of digits-mlp, kept at several moments, in {homes.relative_to(CHECKOUT)}")
    command = [sys.executable, str(Path(__file__).with_name("sample_homes.py")), str(homes)]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "src"), "TF_CPP_MIN_LOG_LEVEL": "3"}
    subprocess.run(command, env=environment, check=True, timeout=600)
    return homes


def _make_libraries() -> Path:
    _said("the workers' libraries (the first time some minutes)")
    command = [sys.executable, "-m", "libraries.build"]
    environment = os.environ | {"PYTHONPATH": str(CHECKOUT / "src")}
    done = subprocess.run(
        command, env=environment, cwd=CHECKOUT, check=True, timeout=3_600, stdout=subprocess.PIPE, text=True
    )
    return CHECKOUT / json.loads(done.stdout.splitlines()[-1])["path"]


def _passes(case: Case, template: Path) -> bool:
    """Invoke once, check, and print one line of the table."""
    begun = time.monotonic()
    try:
        said, right = _checked(case, template), True
    except WrongAnswer as error:
        said, right = f"WRONG: {error}", False
    seconds = time.monotonic() - begun
    sys.stdout.write(f"{case.function:<17} {case.event:<23} {seconds:6.1f} s  {said}\n")
    sys.stdout.flush()
    return right


def _checked(case: Case, template: Path) -> str:
    event = _SOME_RUN.sub(RUN_ID, (CHECKOUT / "events" / case.event).read_text())
    variables = WORK / "variables.json"
    variables.write_text(json.dumps({case.function: {"SAM_LOCAL_HOME": case.home}}))
    command = [str(SAM), "local", "invoke", case.function, "--template", str(template), "--event", "-"]
    command += ["--env-vars", str(variables), *shlex.split(os.environ.get("SAM_LOCAL_FLAGS", ""))]
    try:
        done = subprocess.run(
            command,
            input=event,
            env=_environment(),
            cwd=WORK,
            capture_output=True,
            text=True,
            timeout=INVOKE_LIMIT_S,
        )
    except subprocess.TimeoutExpired:
        raise WrongAnswer(f"no answer within {INVOKE_LIMIT_S} s") from None
    if done.returncode and NO_ENGINE in done.stderr.lower():
        raise SystemExit(f"{done.stderr.strip()}\nStart Docker or its like, or point DOCKER_HOST at one.")
    lines = done.stdout.strip().splitlines()
    try:
        found = json.loads(lines[-1])
        answer, calls = found["answer"], found["calls"]
    except (IndexError, ValueError, KeyError, TypeError):
        log = "\n    ".join(done.stderr.splitlines()[-LOG_LINES:])
        raise WrongAnswer(f"sam local ended with {done.returncode}: {done.stdout[-2000:]}\n    {log}") from None
    try:
        return case.check(answer, calls)
    except WrongAnswer as error:
        log = "\n    ".join(done.stderr.splitlines()[-LOG_LINES:])
        raise WrongAnswer(f"{error}: {json.dumps(found)[:2000]}\n    {log}") from None


def _environment() -> dict[str, str]:
    """Without credentials, with which sam would first ask AWS who they are."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON"))}
    return kept | {"SAM_CLI_TELEMETRY": "0", "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": "us-east-1"}


def _said(line: str) -> None:
    sys.stderr.write(f"{line}\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
