"""One notice for each ending of a run, to an SNS topic.

That a notice went out is noted in the table, under a partition key of its own, so that a record which the stream
delivers again sends none. A second notice remains possible where the function is killed between publishing and noting:
the other order could lose the only one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from contracts.records import Run
from contracts.stack_errors import NotificationFailed
from stores.dynamodb_items import Item, make_key
from stores.dynamodb_table import Table

KEPT_S = 30 * 86_400.0
MAX_SUBJECT = 100


class Notices:
    """Tells of runs that have ended.

    Args:
        topic: its ARN.
        sns: boto3's client.
        table: where the sent ones are noted.
        now: seconds since 1970.
    """

    def __init__(self, topic: str, sns: Any, table: Table, stack: str, now: Callable[[], float] = time.time) -> None:
        self._topic = topic
        self._sns = sns
        self._table = table
        self._stack = stack
        self._now = now

    def send(self, run: Run) -> bool:
        """Send the notice of a run's end, unless it was sent. Returns whether it was sent now.

        Raises:
            NotificationFailed: SNS did not take it.
        """
        key = _key(run)
        if self._table.get(key) is not None:
            return False
        try:
            self._sns.publish(
                TopicArn=self._topic,
                Subject=subject(run, self._stack),
                Message=message(run, self._stack),
                MessageAttributes={
                    "run_id": {"DataType": "String", "StringValue": run.run_id},
                    "status": {"DataType": "String", "StringValue": run.status},
                },
            )
        except (ClientError, BotoCoreError) as error:
            code = error.response["Error"]["Code"] if isinstance(error, ClientError) else type(error).__name__
            raise NotificationFailed(f"run {run.run_id}", f"the topic {self._topic} answered {code}") from error
        expires_at = str(int(self._now() + KEPT_S))
        self._table.put(key | {"kind": {"S": "notice"}, "expires_at": {"N": expires_at}})
        return True


def subject(run: Run, stack: str) -> str:
    """One line of ASCII, as e-mail wants it."""
    text = f"lambdafit {stack}: {run.run_id} {run.status.lower()}"
    return text.encode("ascii", "replace").decode()[:MAX_SUBJECT]


def message(run: Run, stack: str) -> str:
    """What the run came to, in a few lines."""
    settings, results = run.settings, run.results
    lines = [
        f"Run {run.run_id} of {settings.recipe_name or settings.recipe} with {settings.workers} workers: "
        f"{run.status.lower()} ({run.reason or 'no reason given'}).",
        f"Rounds: {max(0, run.round_index - 1)}. Cost on Lambda: ${run.spent_usd:.4f}. "
        f"Seconds: {max(0.0, run.ended_at - run.created_at):.0f}.",
    ]
    if "test_accuracy" in results:
        lines.append(f"Test accuracy: {results['test_accuracy']:.4f}.")
    if run.error is not None:
        lines.append(str(run.error))
    lines.append(f"lambdafit runs show {run.run_id} --engine aws --stack-name {stack}")
    return "\n".join(lines)


def _key(run: Run) -> Item:
    """A run that was resumed ends again, in another version."""
    return make_key(f"notice#{run.run_id}", f"run#{run.version:09d}")
