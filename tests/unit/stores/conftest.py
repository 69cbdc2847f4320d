"""What the tests of stores share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from fakes.dynamodb_table import dynamodb_table
from fakes.scripted_dynamodb import ScriptedClient
from unit.stores.scripted_store import Cloud, make_run


@pytest.fixture
def cloud() -> Iterator[Cloud]:
    with dynamodb_table() as client:
        found = Cloud(ScriptedClient(client), client)
        found.store.create_run(make_run())
        found.client.requests.clear()
        yield found
