"""The application's table in memory (moto), made as the template makes it, safe to use from many threads."""

from __future__ import annotations

import copy
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest import mock

import boto3
from botocore.config import Config
from moto import mock_aws
from moto.core.botocore_stubber import BotocoreStubber
from moto.core.serialize import ResponseSerializer
from moto.dynamodb.models import Table
from moto.dynamodb.models.dynamo_type import DDBType, DynamoType, Item, LimitedSizeDict

TABLE = "lambdafit-test"
REGION = "eu-central-1"

TABLE_PROPERTIES: dict[str, Any] = {
    "AttributeDefinitions": [
        {"AttributeName": "pk", "AttributeType": "S"},
        {"AttributeName": "sk", "AttributeType": "S"},
        {"AttributeName": "listing", "AttributeType": "S"},
        {"AttributeName": "open", "AttributeType": "S"},
        {"AttributeName": "created_at", "AttributeType": "N"},
    ],
    "KeySchema": [
        {"AttributeName": "pk", "KeyType": "HASH"},
        {"AttributeName": "sk", "KeyType": "RANGE"},
    ],
    "GlobalSecondaryIndexes": [
        {
            "IndexName": "runs-by-time",
            "KeySchema": [
                {"AttributeName": "listing", "KeyType": "HASH"},
                {"AttributeName": "created_at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
        {
            "IndexName": "open-runs",
            "KeySchema": [
                {"AttributeName": "open", "KeyType": "HASH"},
                {"AttributeName": "created_at", "KeyType": "RANGE"},
            ],
            "Projection": {"ProjectionType": "KEYS_ONLY"},
        },
    ],
    "BillingMode": "PAY_PER_REQUEST",
    "StreamSpecification": {"StreamEnabled": True, "StreamViewType": "NEW_IMAGE"},
}
"""What `create_table` is given; the template's table must have the same."""

TIME_TO_LIVE = {"AttributeName": "expires_at", "Enabled": True}


def create_table(client: Any, name: str = TABLE) -> None:
    """The table with its indexes, stream and expiry."""
    client.create_table(TableName=name, **TABLE_PROPERTIES)
    client.update_time_to_live(TableName=name, TimeToLiveSpecification=TIME_TO_LIVE)


@contextmanager
def dynamodb_table(name: str = TABLE) -> Iterator[Any]:
    """A client for a fresh table in this process."""
    with mock_aws(), one_request_at_a_time(), light_copies(), quick_values():
        client = boto3.client("dynamodb", region_name=REGION, config=Config(max_pool_connections=64))
        create_table(client, name)
        yield client


@contextmanager
def one_request_at_a_time() -> Iterator[None]:
    """Without it moto loses concurrent updates: it checks a condition and writes in two steps."""
    lock = threading.RLock()
    dispatch = BotocoreStubber.process_request

    def locked(stubber: BotocoreStubber, request: Any) -> Any:
        with lock:
            return dispatch(stubber, request)

    with mock.patch.object(BotocoreStubber, "process_request", locked):
        yield


@contextmanager
def light_copies() -> Iterator[None]:
    """Moto copies the whole table before each transaction, and all that a query finds; the mappings are enough.

    That holds while whole items are put and deleted, as the store does it: values are never changed in place.
    """

    def copied(table: Table, _memory: dict[int, Any]) -> Table:
        twin = Table.__new__(Table)
        twin.__dict__.update(table.__dict__)
        twin.items = type(table.items)(table.items.default_factory)
        for partition, rows in table.items.items():
            twin.items[partition] = dict(rows)
        if table.stream_shard is not None:
            twin.stream_shard = copy.copy(table.stream_shard)
            twin.stream_shard.table = twin
            twin.stream_shard.items = list(table.stream_shard.items)
        return twin

    def copied_item(item: Item, _memory: dict[int, Any]) -> Item:
        twin = Item.__new__(Item)
        twin.__dict__.update(item.__dict__)
        twin.attrs = LimitedSizeDict.__new__(LimitedSizeDict)
        dict.update(twin.attrs, item.attrs)
        return twin

    with (
        mock.patch.object(Table, "__deepcopy__", copied, create=True),
        mock.patch.object(Item, "__deepcopy__", copied_item),
    ):
        yield


@contextmanager
def quick_values() -> Iterator[None]:
    """Moto asks five times what a string is not before it compares it, and tries six spellings of each type's letter.

    What it finds is the same, sooner.
    """
    cast, pick = DynamoType.cast_value.fget, ResponseSerializer.get_value

    def cast_value(value: DynamoType) -> Any:
        return value.value if value.type == DDBType.STRING else cast(value)

    def get_value(serializer: ResponseSerializer, value: Any, key: str, shape: Any) -> Any:
        parent = getattr(shape, "parent", None)
        if type(value) is dict and parent is not None and parent.name == "AttributeValue":
            return value.get(key)
        return pick(serializer, value, key, shape)

    with (
        mock.patch.object(DynamoType, "cast_value", property(cast_value)),
        mock.patch.object(ResponseSerializer, "get_value", get_value),
    ):
        yield
