"""Feeds every reader of foreign bytes with broken inputs: `make fuzz INPUTS=1000000`, or `python -m security.fuzz`.

A reader may return, or raise a LambdafitError. Anything else is a finding: another exception, more than 5 s for one
input, more memory than was allowed, a write outside its folder, a program, a connection, a pickle. A finding is printed
with the command that repeats it. Each target runs in a process of its own.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import select
import signal
import sys
import tempfile
import time
import traceback
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

from contracts.errors import LambdafitError
from security import targets_files, targets_libraries, targets_messages, targets_runtime_api
from security.sandbox import Escape, Sandbox, TooLong, limit_memory, peak_bytes
from security.target import Target, Work

LIMIT_S = 5.0
SILENCE_S = 60.0
"""A child that says nothing for so long hangs where no signal handler of Python's is run."""

IN_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of mode 700 in it
MORE_BYTES = 768 << 20
MOST_FINDINGS = 5
TARGETS: tuple[Target, ...] = (
    *targets_files.TARGETS,
    *targets_libraries.TARGETS,
    *targets_messages.TARGETS,
    *targets_runtime_api.TARGETS,
)


def input_of(target: Target, seed: int, index: int) -> bytes:
    """The input with this number: the whole samples first, then broken ones."""
    if index < len(target.samples):
        return target.samples[index]
    rng = random.Random(f"{seed}/{target.name}/{index}")
    return target.mutate(rng, rng.choice(target.samples))


def run_target(target: Target, seed: int, indices: Iterator[int], tell: int, folder: Path) -> dict[str, Any]:
    """In a child: read all inputs.

    Args:
        tell: a descriptor that gets a byte each second or so.
        folder: empty, and removed by whoever made it.
    Returns:
        inputs, outcomes by class, findings, seconds, and by how many bytes the most resident memory has grown.
    """
    inside = folder / "a" / "b" / "inside"
    inside.mkdir(parents=True)
    tempfile.tempdir = str(inside)
    work = Work(inside)
    read = target.prepare(work)
    for sample in target.samples:  # imports what is imported late
        outcome_of(read, sample)
    sandbox = Sandbox(inside)
    before, begun, told, inputs = peak_bytes(), time.monotonic(), 0.0, 0
    limit_memory(MORE_BYTES)
    outcomes: Counter[str] = Counter()
    findings: list[dict[str, Any]] = []
    for index in indices:
        content = input_of(target, seed, index)
        signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
        try:
            with sandbox:
                name, trace = outcome_of(read, content)
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
        outcomes[name] += 1
        inputs += 1
        if trace and len(findings) < MOST_FINDINGS:
            findings.append({"index": index, "what": name, "bytes": repr(content[:200]), "trace": trace})
        if time.monotonic() - told > 1:
            told = time.monotonic()
            os.write(tell, b".")
    there = sorted(path.name for path in folder.rglob("*") if inside not in path.parents)
    if there != ["a", "b", "inside"]:
        findings.append({"index": -1, "what": "files outside", "bytes": "", "trace": repr(there)})
    seconds, grown = time.monotonic() - begun, peak_bytes() - before
    return {"target": target.name, "inputs": inputs, "outcomes": dict(outcomes), "findings": findings,
        "seconds": seconds, "grown_bytes": grown}  # fmt: skip


def outcome_of(read: Any, content: bytes) -> tuple[str, str]:
    """The name of what came of an input, and a traceback where it is a finding."""
    try:
        return str(read(content) or "read"), ""
    except LambdafitError as error:
        return type(error).__name__, ""
    except (Exception, Escape, TooLong) as error:  # noqa: BLE001 - these are what is looked for
        return f"!{type(error).__name__}", "".join(traceback.format_exception(error)[-6:])


def in_child(target: Target, seed: int, indices: list[int] | range) -> dict[str, Any]:
    """Run a target in a forked process, its folder in memory where there is such a place."""
    in_memory = IN_MEMORY if IN_MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="lambdafit-fuzz-", dir=in_memory) as folder:
        return _forked(target, seed, indices, Path(folder))


def _forked(target: Target, seed: int, indices: list[int] | range, folder: Path) -> dict[str, Any]:
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        os.dup2(os.open(os.devnull, os.O_WRONLY), 2)  # libtiff and libjpeg talk
        try:
            result = run_target(target, seed, iter(indices), writing, folder)
            os.write(writing, b"\n" + json.dumps(result).encode() + b"\n")
        except BaseException:  # noqa: BLE001 - the parent reports it
            os.write(writing, traceback.format_exc().replace("\n", "|").encode())
        finally:
            os._exit(0)
    os.close(writing)
    said = b""
    while select.select([reading], [], [], SILENCE_S)[0]:
        piece = os.read(reading, 1 << 16)
        if not piece:
            break
        said += piece
        if said.count(b"\n") == 2:
            break
    else:
        os.kill(pid, signal.SIGKILL)
    os.close(reading)
    status = os.waitpid(pid, 0)[1]
    _, found, answer = said.partition(b"\n")
    if not found:
        lost = {"index": -1, "what": "!died", "bytes": repr(said[-2_000:]), "trace": f"wait status {status}"}
        return {"target": target.name, "inputs": 0, "outcomes": {"!died": 1}, "findings": [lost], "seconds": 0.0,
                "grown_bytes": 0}  # fmt: skip
    result: dict[str, Any] = json.loads(answer)
    return result


def table(results: list[dict[str, Any]]) -> str:
    """The results in Markdown."""
    lines = ["| target | inputs | read or refused as | s | memory |", "|---|---|---|---|---|"]
    for result in results:
        named = Counter(result["outcomes"]).most_common()
        outcomes = ", ".join(f"{name} {count:,}" for name, count in named)
        grown = f"{result['grown_bytes'] / 2**20:,.0f} MiB"
        lines.append(f"| {result['target']} | {result['inputs']:,} | {outcomes} | {result['seconds']:,.0f} | {grown} |")
    total = sum(result["inputs"] for result in results)
    findings = sum(count for result in results for name, count in result["outcomes"].items() if name.startswith("!"))
    lines.append(f"| together | {total:,} | findings: {findings} | {sum(one['seconds'] for one in results):,.0f} | |")
    return "\n".join(lines)


def shares(targets: tuple[Target, ...], inputs: int) -> list[int]:
    """How many inputs each target gets, at least its samples."""
    weights = sum(target.weight for target in targets)
    return [max(len(target.samples), math.ceil(inputs * target.weight / weights)) for target in targets]


def main(arguments: list[str] | None = None) -> int:
    """The command; 1 if something was found."""
    parser = argparse.ArgumentParser(prog="python -m security.fuzz", description=__doc__)
    parser.add_argument("--inputs", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--target", action="append", choices=[target.name for target in TARGETS])
    parser.add_argument("--only", type=int, help="this input of the target alone")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    chosen = tuple(target for target in TARGETS if not options.target or target.name in options.target)
    counts = shares(chosen, options.inputs)
    work = [[options.only] if options.only is not None else range(count) for count in counts]
    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(lambda pair: in_child(pair[0], options.seed, pair[1]), zip(chosen, work, strict=True)))
    print(json.dumps(results) if options.json else table(results))
    for result in results:
        for found in result["findings"]:
            again = f"--target '{result['target']}' --seed {options.seed} --only {found['index']}"
            print(f"\n{found['what']}: {found['bytes']}\n{found['trace']}\nagain: {again}", file=sys.stderr)
    return 1 if any(result["findings"] for result in results) else 0


if __name__ == "__main__":
    sys.exit(main())
