"""Runs in the rehearsal's stack with faults done to them: moments are calls of the functions to DynamoDB."""

from __future__ import annotations

import contextlib
import random
import signal
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from contracts.records import Run
from faults.faulty_cloud import Call, FaultyCloud, no_trouble
from rehearsal.batches import Record
from rehearsal.mappings import StreamMapping
from rehearsal.stage import OPTIONS, expected_digest, put_libraries, without_lambdafit_variables
from rehearsal.whole_runs import TEMPLATE, WholeRuns

SWEEP_S = 0.3
PATIENCE_S = 90.0
SHARES = (0.05, 0.15, 0.3)
FUNCTIONS = ("Train", "Combine", "Prepare")


@dataclass
class CloudOutcome:
    """How a run in the stack ended. `faults` counts how often each one struck."""

    names: list[str]
    faults: Counter[str] = field(default_factory=Counter)
    ends: list[str] = field(default_factory=list)
    wrong: str = ""
    seconds: float = 0.0


@dataclass
class CloudStage:
    """One run; `troubles` are asked about every call of a function to DynamoDB, in turn."""

    runs: WholeRuns
    chance: random.Random
    outcome: CloudOutcome
    run_id: str = ""
    troubles: list[Callable[[Call], str]] = field(default_factory=list)
    stopped: set[int] = field(default_factory=set)
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def cloud(self) -> FaultyCloud:
        """The stack."""
        assert isinstance(self.runs.cloud, FaultyCloud)
        return self.runs.cloud

    def trouble(self, call: Call) -> str:
        """What becomes of a call."""
        with self.lock:
            words = [one(call) for one in self.troubles]
        return next((word for word in words if word), "")

    def working(self, function: str) -> list[int]:
        """Processes of a function that are at work on this run."""
        pids = self.cloud.environments.working_pids(self.cloud.outputs[f"{function}Function"])
        return [pid for pid, event in pids.items() if event.get("run_id") == self.run_id]


def share(name: str, word: str, stage: CloudStage) -> None:
    """A share of all calls goes wrong, from the beginning to the end; seven in a row are the most."""
    beside = sum(one.startswith("DynamoDB") for one in set(stage.outcome.names))
    part, row = stage.chance.choice(SHARES) / beside, [0]

    def trouble(call: Call) -> str:
        if stage.chance.random() >= part or row[0] >= 7:
            row[0] = 0
            return ""
        row[0] += 1
        stage.outcome.faults[name] += 1
        return word

    stage.troubles.append(trouble)


def at_write(name: str, function: str, act: Callable[[CloudStage], bool], stage: CloudStage) -> None:
    """Something happens when a function is about to make one of its first writes; the write waits for it."""
    left = [stage.chance.randint(1, 12 if function == "Train" else 6)]

    def trouble(call: Call) -> str:
        if call.caller == function and call.writes and left[0] > 0:
            left[0] -= 1
            if left[0] == 0:
                if act(stage):
                    stage.outcome.faults[name] += 1
                else:
                    left[0] = 1  # nothing could be done just then
        return ""

    stage.troubles.append(trouble)


def kill(function: str, stage: CloudStage) -> bool:
    """`kill -9` of one of its processes."""
    pids = stage.working(function)
    if pids:
        stage.cloud.signal(function, stage.chance.choice(pids), signal.SIGKILL)
    return bool(pids)


def stop_for_a_while(stage: CloudStage) -> bool:
    """SIGSTOP of one, SIGCONT once the functions have made 30 more calls, or the patience is over."""
    pids = stage.working("Train")
    if not pids:
        return False
    pid, left = stage.chance.choice(pids), [30]
    stage.cloud.signal("Train", pid, signal.SIGSTOP)
    stage.stopped.add(pid)

    def trouble(_call: Call) -> str:
        left[0] -= 1
        if left[0] == 0:
            go_on(stage, pid)
        return ""

    stage.troubles.append(trouble)
    return True


def go_on(stage: CloudStage, pid: int) -> None:
    """SIGCONT."""
    if pid in stage.stopped and pid in stage.cloud.environments.pids():
        stage.cloud.signal("Train", pid, signal.SIGCONT)
    stage.stopped.discard(pid)


def tear_an_update(stage: CloudStage) -> bool:
    """Bytes of an update of the current round are flipped."""
    folder = stage.cloud.shared / "runs" / stage.run_id / "updates"
    files = sorted(folder.glob("*/worker-*.npy"))
    newest = [path for path in files if files and path.parent == files[-1].parent]
    if not newest:
        return False
    path = stage.chance.choice(newest)
    content = path.read_bytes()
    path.write_bytes(content[:-9] + bytes([content[-9] ^ 0x10]) + content[-8:])
    return True


def refuse_invocations(stage: CloudStage) -> None:
    """Lambda answers 429."""
    for name in FUNCTIONS:
        times = stage.chance.randint(1, 6)
        stage.cloud.functions.refuse(stage.cloud.outputs[f"{name}Function"], times)
        stage.outcome.faults["Lambda 429"] += times


def tamper(stage: CloudStage) -> None:
    """Stream records are lost, doubled and reordered."""

    def tampered(records: list[Record]) -> list[Record]:
        kept = [record for record in records if stage.chance.random() > 0.25]
        stage.outcome.faults["stream records lost"] += len(records) - len(kept)
        doubled = [record for record in kept if stage.chance.random() < 0.5]
        stage.outcome.faults["stream records doubled"] += len(doubled)
        kept += doubled
        stage.chance.shuffle(kept)
        return kept

    for mapping in stage.cloud.mappings.values():
        if isinstance(mapping, StreamMapping):
            mapping.tamper = tampered


def no_stream(stage: CloudStage) -> None:
    """The sweep alone."""
    stage.cloud.switch(on=False)
    stage.outcome.faults["stream switched off"] += 1


def twice(stage: CloudStage) -> None:
    """A second sweep beside the first, and every invocation twice, is what `functions.send` is asked for."""
    functions = stage.cloud.functions
    send = type(functions).send

    def doubled(name: str, body: bytes) -> str:
        stage.outcome.faults["invocations doubled"] += 1
        send(functions, name, body)
        return send(functions, name, body)

    functions.send = doubled  # type: ignore[method-assign]


KINDS: dict[str, Callable[[CloudStage], None]] = {
    "DynamoDB throttles": partial(share, "DynamoDB throttles", "throttle"),
    "DynamoDB 500": partial(share, "DynamoDB 500", "fail"),
    "DynamoDB answer lost": partial(share, "DynamoDB answer lost", "lose"),
    "Lambda 429": refuse_invocations,
    "stream records lost, doubled, reordered": tamper,
    "stream switched off": no_stream,
    "every invocation twice": twice,
    "kill -9 of Train": partial(at_write, "kill -9 of Train", "Train", partial(kill, "Train")),
    "kill -9 of Combine": partial(at_write, "kill -9 of Combine", "Combine", partial(kill, "Combine")),
    "SIGSTOP of Train": partial(at_write, "SIGSTOP of Train", "Train", stop_for_a_while),
    "update torn in the stack": partial(at_write, "update torn in the stack", "Combine", tear_an_update),
}


@contextlib.contextmanager
def opened(folder: Path) -> Iterator[WholeRuns]:
    """A stack with its data."""
    with without_lambdafit_variables(), FaultyCloud(folder, TEMPLATE, environments={"Train": 2}) as cloud:
        cloud.sweep_every(SWEEP_S)
        runs = WholeRuns(cloud, "")
        put_libraries(cloud)
        runs.push("digits")
        yield runs


def cloud_names(seed: int) -> list[str]:
    """One to three faults; the first goes round."""
    chance = random.Random(seed)
    names = list(KINDS)
    return [names[seed % len(names)], *chance.sample(names, k=chance.choice((0, 1, 2)))]


def play(runs: WholeRuns, seed: int, names: list[str] | None = None) -> CloudOutcome:
    """One run with these faults, resumed with none where it ends with a numbered error."""
    stage = CloudStage(runs, random.Random(seed), CloudOutcome(names or cloud_names(seed)))
    outcome, began = stage.outcome, time.monotonic()
    try:
        stage.run_id = runs.start(**OPTIONS, offer_s=0.5)
        with _faults(stage):
            run = _end(stage)
        if run is None:  # it may be slow, but once all is well it must end by itself
            outcome.ends.append("slow")
            outcome.wrong, run = "", _end(stage)
        while run is not None and run.status != "FINISHED" and len(outcome.ends) < 3:
            outcome.ends.append(run.error.number if run.error else run.status)
            resumed = runs.command("runs", "resume", stage.run_id, "--json", "--quiet")
            if resumed.returncode:
                outcome.wrong = resumed.stderr
                return outcome
            run = _end(stage)
        if run is None or run.results.get("parameters_sha256") != expected_digest():
            outcome.wrong = outcome.wrong or runs.describe(stage.run_id)
    finally:
        outcome.seconds = time.monotonic() - began
    return outcome


def _end(stage: CloudStage) -> Run | None:
    try:
        return stage.runs.end(stage.run_id, PATIENCE_S)
    except TimeoutError as error:
        stage.outcome.wrong = str(error)
        return None


@contextlib.contextmanager
def _faults(stage: CloudStage) -> Iterator[None]:
    cloud: Any = stage.cloud
    for name in dict.fromkeys(stage.outcome.names):
        KINDS[name](stage)
    cloud.proxy.trouble = stage.trouble
    try:
        yield
    finally:
        cloud.proxy.trouble = no_trouble
        for pid in list(stage.stopped):
            go_on(stage, pid)
        cloud.functions.__dict__.pop("send", None)
        cloud.functions.forgive()
        for mapping in cloud.mappings.values():
            mapping.switch(on=True)
            if isinstance(mapping, StreamMapping):
                mapping.tamper = list
        cloud.messages(cloud.outputs["DeadLettersQueueUrl"])
