"""How an event source mapping deals with one batch of stream records: retries, bisecting, checkpoints, giving up."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Record = Mapping[str, Any]
Records = Sequence[Record]
FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 30.0


class Throttled(Exception):
    """The function could not be invoked now: no try is counted."""


@dataclass(frozen=True)
class Outcome:
    """Of one invocation: the position of the first failed record; None where all are done."""

    failed_from: int | None
    partial: bool = False


@dataclass(frozen=True)
class Policy:
    """-1: without limit."""

    retries: int
    max_age_s: float
    bisect: bool
    reports_failures: bool


def sequence_number(record: Record) -> str:
    """Where in its shard a record stands."""
    return str(record["dynamodb"]["SequenceNumber"])


def outcome_of(answer: Any, failed: bool, records: Records, *, reports_failures: bool) -> Outcome:
    """What the function said of a batch.

    With `reports_failures` the checkpoint is the lowest failed sequence number. An answer of another shape, or one
    that names a record which was not in the batch, makes the whole batch fail.
    """
    if failed:
        return Outcome(0)
    if not reports_failures or not answer:
        return Outcome(None)
    failures = answer.get("batchItemFailures") if isinstance(answer, Mapping) else [answer]
    if failures is None or failures == []:
        return Outcome(None)
    numbers = [sequence_number(record) for record in records]
    try:
        return Outcome(min(numbers.index(one["itemIdentifier"]) for one in failures), partial=True)
    except (ValueError, KeyError, TypeError):
        return Outcome(0)


def deliver(
    records: Records,
    policy: Policy,
    invoke: Callable[[Records], Outcome],
    *,
    give_up: Callable[[Records, str, int], None],
    age_s: Callable[[Record], float],
    pause: Callable[[float], bool],
) -> None:
    """Bring a batch to its end, in order: each record is done or given up when this returns.

    Args:
        invoke: invokes the function with records.
        give_up: records, condition, and how often they were tried: to the on-failure destination.
        age_s: how old a record is.
        pause: waits before a retry; False: the mapping ends, leave everything as it is.
    """
    work: list[tuple[Records, int]] = [(records, 0)]
    while work:
        batch, tries = work.pop()
        if policy.max_age_s >= 0:
            fresh = [record for record in batch if age_s(record) <= policy.max_age_s]
            if len(fresh) < len(batch):
                give_up([record for record in batch if record not in fresh], "RecordAgeExceeded", tries)
            batch = fresh
            if not batch:
                continue
        try:
            outcome = invoke(batch)
        except Throttled:
            work.append((batch, tries))
            if not pause(_wait_s(tries)):
                return
            continue
        if outcome.failed_from is None:
            continue
        rest = batch[outcome.failed_from :]
        progressed = outcome.failed_from > 0
        if policy.bisect and len(rest) > 1:
            # Bisecting uses no retry. After a partial answer the part behind the checkpoint is what is bisected.
            middle = (len(rest) + 1) // 2
            work += [(rest[middle:], tries), (rest[:middle], tries)]
            continue
        tries = 1 if progressed else tries + 1
        if policy.retries >= 0 and tries > policy.retries:
            give_up(rest, "RetryAttemptsExhausted", tries)
            continue
        work.append((rest, tries))
        if not pause(_wait_s(tries)):
            return


def _wait_s(tries: int) -> float:
    return min(LONGEST_WAIT_S, FIRST_WAIT_S * 2.0 ** min(tries, 10))
