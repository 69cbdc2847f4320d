"""DynamoDB that throttles, breaks off, forgets to answer, or refuses for good."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import EndpointConnectionError, NoCredentialsError, ReadTimeoutError, TokenRetrievalError
from msgspec.structs import replace

from contracts.errors import LambdafitError, RunExists, StoreCorrupted
from contracts.records import Report
from contracts.stack_errors import ItemTooLarge, StoreRefused, StoreUnreachable, TableNotFound
from fakes.dynamodb_table import TABLE
from fakes.scripted_dynamodb import Failure, refusal
from stores.aws_clients import client
from stores.dynamodb import DynamoStore
from stores.dynamodb_table import Backoff
from unit.stores.scripted_store import KEY, RUN_ID, TASK, Cloud, make_round, make_run, make_steps

THROTTLED = refusal("ProvisionedThroughputExceededException")
NO_ANSWER = ReadTimeoutError(endpoint_url="https://dynamodb")
CONFLICT = refusal("TransactionCanceledException", reasons=("None", "TransactionConflict"))
PUT, TRANSACT = "put_item", "transact_write_items"


STAGE = make_run().stage


WRITES: dict[str, tuple[str, Callable[[DynamoStore], bool]]] = {
    "a report": (PUT, lambda store: store.save_task(RUN_ID, TASK)),
    "a claim": (TRANSACT, lambda store: store.save_task(RUN_ID, TASK, stage=STAGE)),
    "offers": (TRANSACT, lambda store: store.save_tasks(RUN_ID, [TASK], stage=STAGE) == [True]),
    "a run": (PUT, lambda store: store.save_run(make_run(version=2))),
    "a round": (TRANSACT, lambda store: store.save_run(make_run(version=2), make_round(1))),
    "a new stage": (TRANSACT, lambda store: store.save_run(make_run(version=2, phase="TRAINING"))),
}


@pytest.fixture(params=WRITES)
def write(request: pytest.FixtureRequest) -> tuple[str, Callable[[DynamoStore], bool]]:
    return WRITES[request.param]


# --- what passes by itself ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "failure",
    [
        THROTTLED,
        refusal("ThrottlingException"),
        refusal("RequestLimitExceeded"),
        refusal("InternalServerError", status=500),
        refusal("ServiceUnavailable", status=503),
        refusal("TransactionConflictException"),
        refusal("TransactionInProgressException"),
        CONFLICT,
        refusal("TransactionCanceledException", reasons=("ThrottlingError", "None")),
        refusal("TransactionCanceledException", reasons=("ProvisionedThroughputExceeded", "TransactionConflict")),
        NO_ANSWER,
        EndpointConnectionError(endpoint_url="https://dynamodb"),
    ],
)
def test_a_write_is_tried_again_while_the_store_is_busy(
    cloud: Cloud, write: tuple[str, Callable[[DynamoStore], bool]], failure: Failure
) -> None:
    operation, save = write
    cloud.client.refuse(operation, failure, failure)
    assert save(cloud.store)
    assert len(cloud.client.requests[operation]) == 3
    assert cloud.waited_s == [0.025, 0.05], "longer each time, by the jitter that was drawn"


def test_waits_grow_to_a_limit() -> None:
    waits: list[float] = []
    backoff = Backoff(jitter=lambda: 1.0, sleep=waits.append)
    for failures in range(1, 10):
        backoff.wait(failures)
    assert waits == [0.05, 0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0]


def test_only_one_of_two_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """botocore's waits begin with up to a second, the table's with 25 ms: a refused request is sent again at once."""
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    made = client.__wrapped__("dynamodb")
    assert made.meta.config.retries["total_max_attempts"] == 1
    assert client.__wrapped__("s3").meta.config.retries["total_max_attempts"] > 1


def test_a_table_is_waited_for_as_long_as_the_patience_lasts() -> None:
    """By the mean of the jitter, give or take; not as few seconds as a dozen tries take."""
    waits: list[float] = []
    backoff = Backoff(jitter=lambda: 0.5, sleep=waits.append)
    for failures in range(1, backoff.attempts):
        backoff.wait(failures)
    assert 0.8 * backoff.patience_s < sum(waits) < 1.2 * backoff.patience_s


def test_a_store_that_stays_busy_is_an_error_worth_another_try(cloud: Cloud) -> None:
    cloud.client.refuse("get_item", *[THROTTLED] * 6)
    with pytest.raises(StoreUnreachable, match=r"E311.*ProvisionedThroughputExceeded") as caught:
        cloud.store.load_run(RUN_ID)
    assert caught.value.retryable and len(cloud.waited_s) == 5


def test_tries_that_take_long_are_fewer(cloud: Cloud) -> None:
    cloud.step_s = 20.0
    cloud.client.refuse("get_item", *[NO_ANSWER] * 6)
    with pytest.raises(StoreUnreachable):
        cloud.store.load_run(RUN_ID)
    assert len(cloud.client.requests["get_item"]) == 2


# --- writes of which nobody knows whether they happened ----------------------------------------------------


@pytest.mark.parametrize("failure", [NO_ANSWER, refusal("InternalServerError", status=500)])
def test_a_write_whose_answer_was_lost_is_not_taken_for_somebody_elses(
    cloud: Cloud, write: tuple[str, Callable[[DynamoStore], bool]], failure: Failure
) -> None:
    operation, save = write
    cloud.client.lose_answers(operation, failure)
    assert save(cloud.store)
    assert len(cloud.client.requests[operation]) == 2


def test_a_run_whose_creation_was_not_answered_is_created(cloud: Cloud) -> None:
    run = replace(make_run(), run_id="r-0002")
    cloud.client.lose_answers(TRANSACT, NO_ANSWER)
    cloud.store.create_run(run)
    assert cloud.store.load_run("r-0002") == run
    with pytest.raises(RunExists):
        cloud.store.create_run(run)


def test_a_write_that_botocore_itself_repeated_is_not_taken_for_somebody_elses(cloud: Cloud) -> None:
    assert cloud.store.save_task(RUN_ID, TASK)

    def as_repeated(request: dict[str, Any]) -> dict[str, Any]:
        error = refusal("ConditionalCheckFailedException", retries=1)
        error.response["Item"] = request["Item"]
        raise error

    cloud.client.change_requests(PUT, as_repeated)
    assert cloud.store.save_task(RUN_ID, TASK)


def test_a_write_that_somebody_else_was_faster_with_is_lost_even_if_it_was_repeated(
    cloud: Cloud, write: tuple[str, Callable[[DynamoStore], bool]]
) -> None:
    operation, save = write
    other = cloud.another()
    assert other.save_task(RUN_ID, replace(TASK, attempt=7), stage=STAGE)
    assert other.save_run(make_run(version=2, reason="mine", phase="PREPARING"))
    cloud.client.refuse(operation, NO_ANSWER)
    assert not save(cloud.store)


def test_the_same_write_by_somebody_else_is_lost(cloud: Cloud) -> None:
    assert cloud.another().save_task(RUN_ID, TASK)
    assert not cloud.store.save_task(RUN_ID, TASK), "it was sent once: it is surely not one's own"


def test_a_repeated_transaction_is_known_by_its_token_and_a_new_one_has_another(cloud: Cloud) -> None:
    cloud.client.refuse(TRANSACT, NO_ANSWER, CONFLICT)
    assert cloud.store.save_task(RUN_ID, TASK, stage=STAGE)
    first, repeated, again = (request["ClientRequestToken"] for request in cloud.client.requests[TRANSACT])
    assert first == repeated != again, "a cancelled transaction is over; one without an answer may not be"
    assert len(first) <= 36


# --- transactions ------------------------------------------------------------------------------------------


def test_offers_go_out_in_few_transactions_and_only_the_lost_are_left_out(cloud: Cloud) -> None:
    tasks = [replace(TASK, key=replace(KEY, index=index)) for index in range(250)]
    for index in (3, 120):
        assert cloud.another().save_task(RUN_ID, replace(tasks[index], attempt=9))
    saved = cloud.store.save_tasks(RUN_ID, tasks, stage=STAGE)
    assert [index for index, done in enumerate(saved) if not done] == [3, 120]
    sizes = [len(request["TransactItems"]) for request in cloud.client.requests[TRANSACT]]
    assert sizes == [100, 99, 100, 99, 53], "each with its check; a cancelled one again without the lost offer"


def test_offers_of_another_stage_are_refused_without_more_tries(cloud: Cloud) -> None:
    tasks = [replace(TASK, key=replace(KEY, index=index)) for index in range(3)]
    assert cloud.store.save_tasks(RUN_ID, tasks, stage="RUNNING/TRAINING/9/1") == [False] * 3
    assert len(cloud.client.requests[TRANSACT]) == 1


def test_large_offers_are_cut_into_transactions_of_less_than_4_mb(cloud: Cloud) -> None:
    report = Report(outcome="done", nonce="a", facts={"padding": "x" * 380_000})
    tasks = [replace(TASK, key=replace(KEY, index=index), report=report) for index in range(12)]
    assert cloud.store.save_tasks(RUN_ID, tasks, stage=STAGE) == [True] * 12
    assert [len(request["TransactItems"]) for request in cloud.client.requests[TRANSACT]] == [10, 4]


@pytest.mark.parametrize(("workers", "count"), [(1, 1), (16, 1), (17, 2), (256, 16), (1024, 16)])
def test_many_claims_check_many_stage_items(cloud: Cloud, workers: int, count: int) -> None:
    run = replace(make_run(workers), run_id="r-0002")
    cloud.store.create_run(run)
    fresh = DynamoStore(TABLE, cloud.client)
    checked = set()
    for index in range(min(workers, 32)):
        cloud.client.requests.clear()
        task = replace(TASK, key=replace(KEY, index=index))
        assert fresh.save_task("r-0002", task, stage=run.stage)
        checks = [action["ConditionCheck"] for action in cloud.client.requests[TRANSACT][0]["TransactItems"][:1]]
        checked |= {check["Key"]["sk"]["S"] for check in checks}
        assert len(cloud.client.requests["get_item"]) == (1 if index == 0 else 0), "the number is known from then on"
    assert checked == {f"stage#{index:02d}" for index in range(count)}


def test_a_run_that_stays_in_its_stage_is_one_write(cloud: Cloud) -> None:
    assert cloud.store.save_run(make_run(version=2, granted=("x",)))
    assert not cloud.client.requests[TRANSACT] and len(cloud.client.requests[PUT]) == 1
    fresh = DynamoStore(TABLE, cloud.client)
    assert fresh.save_run(make_run(version=3)), "who has not read the run does not know its stage, and writes it"
    assert len(cloud.client.requests[TRANSACT]) == 1


# --- reads -------------------------------------------------------------------------------------------------


def test_what_decides_is_read_consistently(cloud: Cloud) -> None:
    cloud.store.load_run(RUN_ID)
    cloud.store.load_task(RUN_ID, KEY)
    cloud.store.load_tasks(RUN_ID, 1)
    cloud.store.load_rounds(RUN_ID)
    cloud.store.list_runs()
    requests = [*cloud.client.requests["get_item"], *cloud.client.requests["query"]]
    assert all(request["ConsistentRead"] for request in requests if "IndexName" not in request)
    assert cloud.client.requests["batch_get_item"][0]["RequestItems"][TABLE]["ConsistentRead"]


def test_keys_left_unprocessed_are_asked_for_again(cloud: Cloud) -> None:
    for number in (2, 3):
        cloud.store.create_run(replace(make_run(), run_id=f"r-000{number}", created_at=float(number)))

    def one_only(request: dict[str, Any]) -> dict[str, Any]:
        asked = request["RequestItems"][TABLE]
        first = {TABLE: asked | {"Keys": asked["Keys"][:1]}}
        return cloud.real.batch_get_item(RequestItems=first) | {
            "UnprocessedKeys": {TABLE: asked | {"Keys": asked["Keys"][1:]}}
        }

    cloud.client.change_requests("batch_get_item", one_only, one_only)
    assert [run.run_id for run in cloud.store.list_runs()] == ["r-0001", "r-0003", "r-0002"]
    assert len(cloud.waited_s) == 2
    cloud.client.change_requests("batch_get_item", *[lambda request: {"UnprocessedKeys": request["RequestItems"]}] * 6)
    with pytest.raises(StoreUnreachable, match="3 items were left unprocessed"):
        cloud.store.list_runs()


def test_progress_that_has_expired_is_not_shown(cloud: Cloud) -> None:
    first, second = (make_steps(first_step) for first_step in (0, 1))
    cloud.store.put_steps(RUN_ID, first)
    cloud.now_s += 86_400.0
    cloud.store.put_steps(RUN_ID, second)
    assert cloud.store.read_steps(RUN_ID)[0] == [first, second]
    cloud.now_s += 86_400.0
    assert cloud.store.read_steps(RUN_ID)[0] == [second]
    item = cloud.real.get_item(
        TableName=TABLE, Key={"pk": {"S": "run#r-0001#train#0001"}, "sk": {"S": "steps#000001#001#000000000"}}
    )["Item"]
    assert item["expires_at"]["N"] == "1172800" and item["kind"]["S"] == "steps"


# --- what is refused for good ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("failure", "error", "advice"),
    [
        (refusal("ResourceNotFoundException", text="no such table"), TableNotFound, "--stack-name"),
        (refusal("AccessDeniedException", text="not authorized"), StoreRefused, "UserPolicyArn"),
        (refusal("ExpiredTokenException"), StoreRefused, "renew"),
        (refusal("UnrecognizedClientException"), StoreRefused, "renew"),
        (refusal("InvalidSignatureException"), StoreRefused, "renew"),
        (NoCredentialsError(), StoreRefused, "renew"),
        (TokenRetrievalError(provider="sso", error_msg="expired"), StoreRefused, "renew"),
        (refusal("ValidationException", text="Item size has exceeded the maximum"), ItemTooLarge, "fewer"),
        (refusal("ValidationException", text="a bad expression"), StoreRefused, "credentials"),
    ],
)
def test_a_refusal_for_good_is_said_at_once(
    cloud: Cloud, failure: Failure, error: type[LambdafitError], advice: str
) -> None:
    cloud.client.refuse(PUT, failure)
    with pytest.raises(error, match=advice) as caught:
        cloud.store.save_task(RUN_ID, TASK)
    assert not caught.value.retryable and not cloud.waited_s
    assert TABLE in str(caught.value)


def test_an_item_that_is_too_large_is_not_sent(cloud: Cloud) -> None:
    with pytest.raises(ItemTooLarge, match=r"E312.*run#r-0001 run.*at most 390,000"):
        cloud.store.save_run(make_run(version=2, results={"a": "ü" * 200_000}))
    assert not cloud.client.requests


def test_an_item_of_another_shape_is_named(cloud: Cloud) -> None:
    assert cloud.store.save_task(RUN_ID, TASK)
    key = {"pk": {"S": "run#r-0001"}, "sk": {"S": f"task#{KEY}"}}
    cloud.real.put_item(TableName=TABLE, Item=key | {"data": {"S": '{"key": 5}'}})
    with pytest.raises(StoreCorrupted, match=r"task#000001#train#0000.*Task cannot be read"):
        cloud.store.load_task(RUN_ID, KEY)
