"""Event source mappings: threads that read a stream or a queue and invoke a function with what they find."""

from __future__ import annotations

import base64
import json
import logging
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Any

from engines.local_lambda.invocation import random_uuid
from rehearsal.batches import Outcome, Policy, Record, Records, Throttled, deliver, outcome_of, sequence_number
from rehearsal.changes import Changes
from rehearsal.functions import FunctionService, Refused, SendMessage, timestamp
from rehearsal.patterns import passes
from rehearsal.stack_model import MappingModel

LOG = logging.getLogger(__name__)
READ_LIMIT = 1_000
LOOK_AGAIN_S = 5.0
"""Nobody tells of a message that becomes visible again."""

Tamper = Callable[[list[Record]], list[Record]]


class EventSource(threading.Thread, ABC):
    """What stream and queue mappings share."""

    def __init__(
        self,
        model: MappingModel,
        functions: FunctionService,
        changes: Changes,
        send_message: SendMessage,
        speed: float,
    ) -> None:
        super().__init__(name=f"mapping-{model.logical_id}", daemon=True)
        self.model = model
        self.records = 0
        self._functions, self._changes, self._send_message, self._speed = functions, changes, send_message, speed
        self._stopped = threading.Event()
        self._enabled = threading.Event()
        if model.enabled:
            self._enabled.set()

    def switch(self, *, on: bool) -> None:
        """Enable or disable it. What it is at is finished."""
        if on:
            self._enabled.set()
        else:
            self._enabled.clear()
        self._changes.wake()

    @property
    def enabled(self) -> bool:
        """Whether it is switched on."""
        return self._enabled.is_set()

    def stop(self) -> None:
        """End the thread."""
        self._stopped.set()
        self._enabled.set()
        self._changes.wake()

    def run(self) -> None:
        """Serve until `stop`."""
        seen = -1
        while not self._stopped.is_set():
            self._enabled.wait()
            now = self._changes.count
            try:
                if not self._stopped.is_set() and self._turn():
                    continue
            except Exception:
                if self._stopped.is_set():
                    return
                LOG.exception("%s", self.name)
            seen = self._changes.wait_beyond(max(seen, now), LOOK_AGAIN_S)

    @abstractmethod
    def _turn(self) -> bool:
        """Read and deal with what is there. Returns whether there was anything."""

    def _pause(self, seconds: float) -> bool:
        return not self._stopped.wait(seconds / self._speed)

    def _invoke(self, records: Sequence[Any]) -> tuple[Any, bool]:
        """The function's answer and whether it failed."""
        body = json.dumps({"Records": records}).encode()
        try:
            answer, failed = self._functions.invoke(self.model.function, body)
        except Refused as error:
            if error.status == 429:
                raise Throttled from error
            raise
        return json.loads(answer or b"null"), failed


class StreamMapping(EventSource):
    """From a table's stream, by its API. `tamper` may lose, double and reorder what was read and passed the filters."""

    def __init__(
        self,
        model: MappingModel,
        functions: FunctionService,
        changes: Changes,
        send_message: SendMessage,
        speed: float,
        streams: Any,
    ) -> None:
        super().__init__(model, functions, changes, send_message, speed)
        self.tamper: Tamper = list
        self._streams = streams
        self._iterator = ""
        self._shard = ""
        self._policy = Policy(model.retries, model.max_age_s, model.bisect, model.reports_failures)

    def _turn(self) -> bool:
        records = self._read()
        if records and self.model.window_s and len(records) < self.model.batch_size:
            # The batching window: more may come, until the batch is full or the window is over.
            until = time.monotonic() + self.model.window_s / self._speed
            while len(records) < self.model.batch_size and (left := until - time.monotonic()) > 0:
                count = self._changes.count
                more = self._read()
                records += more
                if not more:
                    self._changes.wait_beyond(count, left)
                if self._stopped.is_set():
                    return False
        for begin in range(0, len(records), self.model.batch_size):
            batch = records[begin : begin + self.model.batch_size]
            self.records += len(batch)
            deliver(
                batch,
                self._policy,
                self._deliver,
                give_up=self._give_up,
                age_s=lambda record: time.time() - record["dynamodb"]["ApproximateCreationDateTime"],
                pause=self._pause,
            )
        return bool(records)

    def _read(self) -> list[Record]:
        """New records that pass the filters; goes on reading while there are any at all."""
        if not self._iterator:
            stream = self._streams.describe_stream(StreamArn=self.model.source)["StreamDescription"]
            self._shard = stream["Shards"][0]["ShardId"]
            kind = self.model.starting_position or "TRIM_HORIZON"
            answer = self._streams.get_shard_iterator(
                StreamArn=self.model.source, ShardId=self._shard, ShardIteratorType=kind
            )
            self._iterator = answer["ShardIterator"]
        while True:
            answer = self._streams.get_records(ShardIterator=self._iterator, Limit=READ_LIMIT)
            self._iterator = answer["NextShardIterator"]
            read = [as_event_record(record, self.model.source) for record in answer["Records"]]
            passed = [record for record in read if passes(self.model.patterns, record)]
            if passed:
                return list(self.tamper(passed))
            if not read:
                return []

    def _deliver(self, records: Records) -> Outcome:
        answer, failed = self._invoke(records)
        return outcome_of(answer, failed, records, reports_failures=self.model.reports_failures)

    def _give_up(self, records: Records, condition: str, tries: int) -> None:
        LOG.warning("%s gives up %d records: %s", self.name, len(records), condition)
        if not self.model.failure_queue:
            return
        created = [record["dynamodb"]["ApproximateCreationDateTime"] for record in records]
        self._send_message(
            self.model.failure_queue,
            {
                "requestContext": {
                    "requestId": random_uuid(),
                    "functionArn": self._functions.function_arn(self._functions.known(self.model.function).name),
                    "condition": condition,
                    "approximateInvokeCount": tries,
                },
                "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
                "version": "1.0",
                "timestamp": timestamp(time.time()),
                "DDBStreamBatchInfo": {
                    "shardId": self._shard,
                    "startSequenceNumber": sequence_number(records[0]),
                    "endSequenceNumber": sequence_number(records[-1]),
                    "approximateArrivalOfFirstRecord": timestamp(created[0]),
                    "approximateArrivalOfLastRecord": timestamp(created[-1]),
                    "batchSize": len(records),
                    "streamArn": self.model.source,
                },
            },
        )


class QueueMapping(EventSource):
    """From a queue. What the function did not do becomes visible again, until the queue's redrive policy takes it."""

    def __init__(
        self,
        model: MappingModel,
        functions: FunctionService,
        changes: Changes,
        send_message: SendMessage,
        speed: float,
        queues: Any,
        queue_url: str,
    ) -> None:
        super().__init__(model, functions, changes, send_message, speed)
        self._queues, self._queue_url = queues, queue_url

    def _turn(self) -> bool:
        answer = self._queues.receive_message(
            QueueUrl=self._queue_url,
            MaxNumberOfMessages=min(10, self.model.batch_size),
            MessageSystemAttributeNames=["All"],
            MessageAttributeNames=["All"],
        )
        messages = [as_queue_record(one, self.model.source) for one in answer.get("Messages", [])]
        if not messages:
            return False
        passed = [one for one in messages if passes(self.model.patterns, _with_parsed_body(one))]
        self.records += len(passed)
        failed = self._failed(passed) if passed else set()
        for one in messages:
            handle = {"QueueUrl": self._queue_url, "ReceiptHandle": one["receiptHandle"]}
            if one["messageId"] in failed:
                self._queues.change_message_visibility(**handle, VisibilityTimeout=1)
            else:
                self._queues.delete_message(**handle)
        if failed:
            self._pause(1.1 * self._speed)
        return True

    def _failed(self, messages: Sequence[Mapping[str, Any]]) -> set[str]:
        everything = {one["messageId"] for one in messages}
        try:
            answer, failed = self._invoke(messages)
        except Throttled:
            return everything
        if failed:
            return everything
        if not self.model.reports_failures or not answer:
            return set()
        named = {one.get("itemIdentifier") for one in answer.get("batchItemFailures") or ()}
        return named if named <= everything else everything


def as_event_record(record: Mapping[str, Any], stream_arn: str) -> dict[str, Any]:
    """A record as the streams' API gives it → as Lambda hands it to a function."""
    return {**_plain(record), "eventSourceARN": stream_arn}


def as_queue_record(message: Mapping[str, Any], queue_arn: str) -> dict[str, Any]:
    """A message as SQS gives it → as Lambda hands it to a function."""
    return {
        "messageId": message["MessageId"],
        "receiptHandle": message["ReceiptHandle"],
        "body": message["Body"],
        "attributes": message.get("Attributes", {}),
        "messageAttributes": _plain(message.get("MessageAttributes", {})),
        "md5OfBody": message["MD5OfBody"],
        "eventSource": "aws:sqs",
        "eventSourceARN": queue_arn,
        "awsRegion": queue_arn.split(":")[3],
    }


def _plain(value: Any) -> Any:
    """JSON-ready: times in seconds since 1970, bytes in base64."""
    if isinstance(value, Mapping):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    if isinstance(value, datetime):
        return value.timestamp()
    return base64.b64encode(value).decode() if isinstance(value, bytes) else value


def _with_parsed_body(message: Mapping[str, Any]) -> Mapping[str, Any]:
    """Filters look into bodies that are JSON."""
    try:
        return {**message, "body": json.loads(message["body"])}
    except ValueError:
        return message
