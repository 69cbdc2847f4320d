"""Lambda function Monitor: metrics of rounds and epochs, and notices of runs that have ended. No TensorFlow.

It decides nothing: without it, runs go on as ever. Metrics go to CloudWatch in lines of the standard output (the
embedded metric format). Their dimension is the stack; the run's id is beside them in the log, as every value of a
dimension costs money. A record that the stream delivers again is counted again: a sum may be a little high, an average
is not.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics.provider.cloudwatch_emf.cloudwatch import AmazonCloudWatchEMFProvider

from contracts.errors import RunNotFound
from contracts.records import RoundRecord, Run
from handlers import wiring
from handlers.notices import Notices
from handlers.partial_failures import PartialFailures
from handlers.stream_records import read_change, records_of, sequence_number
from runs.rollup import Figures, epoch_figures, round_figures, rounds_needed
from stores.aws_clients import client
from stores.dynamodb_table import Backoff, Table

NAMESPACE = "lambdafit"
DIMENSION = "stack"

logger = Logger(service="monitor")


@dataclass
class News:
    """What a batch tells of one run, each with the record that told it."""

    rounds: dict[str, RoundRecord] = field(default_factory=dict)
    ended: dict[str, Run] = field(default_factory=dict)


@logger.inject_lambda_context(clear_state=True)
def handler(event: Mapping[str, Any], _context: wiring.LambdaContext) -> dict[str, Any]:
    """Tell of each round and each ended run of a batch. Answers which records are to be delivered again."""
    failures = PartialFailures(logger)
    for run_id, news in _news(records_of(event), failures).items():
        try:
            _measure(run_id, list(news.rounds.values()))
        except RunNotFound:
            logger.info("run was deleted meanwhile", extra={"run_id": run_id})
        except Exception as error:  # noqa: BLE001 - whatever it is, the other runs are told of
            failures.note(news.rounds, error, run_id)
        for name, run in news.ended.items():
            try:
                _notify(run)
            except Exception as error:  # noqa: BLE001
                failures.note([name], error, run_id)
    return failures.answer()


def _news(records: list[Any], failures: PartialFailures) -> dict[str, News]:
    table = wiring.environment().table
    found: dict[str, News] = defaultdict(News)
    for record in records:
        name = sequence_number(record)
        try:
            change = read_change(record, table)
        except Exception as error:  # noqa: BLE001 - poison of whatever kind spoils no other record
            failures.note([name], error)
            continue
        if change is not None and isinstance(change.record, RoundRecord):
            found[change.run_id].rounds[name] = change.record
        elif change is not None and isinstance(change.record, Run) and change.record.ended:
            found[change.run_id].ended[name] = change.record
    return found


def _measure(run_id: str, records: list[RoundRecord]) -> None:
    """Metrics of a run's new rounds. They need the rounds before, which are read once."""
    if not records:
        return
    store = wiring.services().store
    run = store.load_run(run_id)
    first = min(record.round_index for record in records)
    rounds = store.load_rounds(run_id, after=max(0, first - 1 - rounds_needed(run)))
    for record in records:
        _emit(run, record, round_figures(run, rounds, record))
        epoch = epoch_figures(run, rounds, record)
        if epoch:
            _emit(run, record, epoch)


def _emit(run: Run, record: RoundRecord, figures: Figures) -> None:
    """One line of the embedded metric format. A provider of its own each time: nothing is left over for the next."""
    metrics = AmazonCloudWatchEMFProvider(namespace=NAMESPACE)
    metrics.service = ""  # Powertools' own dimension; the stack is ours
    metrics.add_dimension(DIMENSION, wiring.environment().stack)
    metrics.add_metadata("run_id", run.run_id)
    metrics.add_metadata("recipe", run.settings.recipe_name or run.settings.recipe)
    metrics.add_metadata("round_index", record.round_index)
    metrics.add_metadata("epochs", round(record.epochs, 4))
    for name, (unit, value) in figures.items():
        metrics.add_metric(name, unit, value)
    metrics.set_timestamp(int(record.committed_at * 1000))
    metrics.flush_metrics()


def _notify(run: Run) -> None:
    notices = _notices()
    sent = notices.send(run) if notices and not _goes_on(run) else False
    logger.info("run ended", extra={"run_id": run.run_id, "status": run.status, "notice_sent": sent})


def _goes_on(run: Run) -> bool:
    """Whether it has been resumed since: tighter limits stop a run for a moment."""
    try:
        known = wiring.services().store.load_run(run.run_id)
    except RunNotFound:
        return False
    return known.version > run.version and not known.ended


@cache
def _notices() -> Notices | None:
    known = wiring.environment()
    if not known.topic:
        return None
    return Notices(known.topic, client("sns"), Table(known.table, client("dynamodb"), Backoff()), known.stack)
