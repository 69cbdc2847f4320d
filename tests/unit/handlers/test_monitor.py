"""Monitor: metrics of rounds and epochs as EMF, one notice for each ending, partial failures as Conduct's."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from handler_helpers import NOW, RUN_ID, Context, failed_names, image_record, make_run, refused, sample, stream_record
from msgspec.structs import replace

from contracts.errors import RunCancelled
from contracts.records import RoundPlan, RoundRecord, Run
from contracts.stack_errors import NotificationFailed
from fakes.dynamodb_table import dynamodb_table
from fakes.memory_store import MemoryStore
from handlers import monitor
from handlers.notices import Notices, message, subject
from runs.rollup import epoch_figures, round_figures
from runs.services import Services
from stores.dynamodb_table import Backoff, Table

PLAN = RoundPlan(examples=100, examples_per_round=50, rounds_per_epoch=2, epochs_per_round=1, total_rounds=6)
# The samples' clock stands still; CloudWatch would not take metrics of another day.
pytestmark = pytest.mark.filterwarnings("ignore:This metric doesn't meet the requirements")

TOPIC = "arn:aws:sns:us-east-1:000000000000:lambdafit-notices"


def make_round(index: int, **metrics: float) -> RoundRecord:
    """Every round takes ten seconds, fifty examples and a cent."""
    return RoundRecord(
        round_index=index,
        generation=1,
        committed_at=NOW + 10.0 * index,
        examples=50,
        epochs=index / 2,
        metrics={"train/loss": 1.0 / index} | metrics,
        inputs={},
        parameters=(),
        cost_usd=0.01,
    )


def running(rounds: int) -> Run:
    return make_run(status="RUNNING", started_at=NOW, plan=PLAN, round_index=rounds + 1, spent_usd=0.01 * rounds)


def finished(version: int = 9) -> Run:
    return replace(running(2), version=version, status="FINISHED", reason="rounds", ended_at=NOW + 30)


def store_rounds(services: Services, *records: RoundRecord) -> None:
    assert isinstance(services.store, MemoryStore)
    services.store.runs[RUN_ID] = running(len(records))
    services.store.rounds.update({(RUN_ID, record.round_index): record for record in records})


def emitted(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    """The lines of the embedded metric format, without those of the log."""
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return [line for line in lines if "_aws" in line]


def handle(*records: dict[str, Any]) -> list[str]:
    return failed_names(monitor.handler({"Records": list(records)}, Context()))


class TestMetrics:
    """What CloudWatch is told of rounds."""

    def test_a_round_is_one_line_with_the_stack_as_its_only_dimension(
        self, services: Services, capsys: pytest.CaptureFixture[str]
    ) -> None:
        store_rounds(services, make_round(1, **{"val/accuracy": 0.5, "val/loss": 0.7}))
        assert handle(stream_record(make_round(1, **{"val/accuracy": 0.5, "val/loss": 0.7}), 1)) == []
        (line,) = emitted(capsys)
        (directive,) = line["_aws"]["CloudWatchMetrics"]
        assert (directive["Namespace"], directive["Dimensions"]) == ("lambdafit", [["stack"]])
        assert line["stack"] == "lambdafit-test" and line["run_id"] == RUN_ID and line["round_index"] == 1
        assert line["_aws"]["Timestamp"] == int((NOW + 10) * 1000)
        values = {metric["Name"]: line[metric["Name"]] for metric in directive["Metrics"]}
        assert values == {
            "RoundSeconds": [10.0],
            "ExamplesPerSecond": [5.0],
            "TrainLoss": [1.0],
            "ValidationLoss": [0.7],
            "ValidationAccuracy": [0.5],
            "RoundCostUsd": [0.01],
            "CostSoFarUsd": [0.01],
        }

    def test_a_round_that_completes_an_epoch_brings_its_roll_up(
        self, services: Services, capsys: pytest.CaptureFixture[str]
    ) -> None:
        records = [make_round(index) for index in range(1, 5)]
        store_rounds(services, *records)
        assert handle(stream_record(records[3], 1)) == []
        of_round, of_epoch = emitted(capsys)
        assert of_round["RoundSeconds"] == [10.0] and of_round["CostSoFarUsd"] == [pytest.approx(0.04)]
        assert of_epoch["Epoch"] == [2.0] and of_epoch["EpochSeconds"] == [20.0]
        assert of_epoch["EpochTrainLoss"] == [pytest.approx((1 / 3 + 1 / 4) / 2)]
        assert of_epoch["EpochExamplesPerSecond"] == [5.0] and of_epoch["EpochCostUsd"] == [0.02]

    def test_a_late_record_is_told_as_it_was_then(self) -> None:
        records = [make_round(index) for index in range(1, 5)]
        figures = round_figures(running(4), records, records[1])
        assert figures["CostSoFarUsd"] == ("None", pytest.approx(0.02))
        assert epoch_figures(running(4), records, records[0]) == {}
        assert epoch_figures(running(4), records, records[1])["Epoch"] == ("Count", 1.0)

    def test_rounds_of_several_epochs_each_complete_some(self) -> None:
        records = [replace(make_round(index), epochs=3.0 * index) for index in (1, 2)]
        assert epoch_figures(running(2), records, records[1])["Epoch"] == ("Count", 6.0)
        assert epoch_figures(running(2), records, records[1])["EpochSeconds"] == ("Seconds", 10.0)

    def test_values_that_are_not_finite_are_left_out(self) -> None:
        record = replace(make_round(1), metrics={"train/loss": float("nan")})
        assert "TrainLoss" not in round_figures(running(1), [record], record)

    def test_a_run_that_is_deleted_meanwhile_is_no_failure(self, services: Services) -> None:
        assert handle(stream_record(make_round(1), 1)) == []

    def test_poison_goes_back_alone(self, services: Services, capsys: pytest.CaptureFixture[str]) -> None:
        store_rounds(services, make_round(1))
        poison = image_record({"kind": {"S": "round"}, "pk": {"S": "run#r-aaaa"}, "sk": {"S": "round#x"}}, 3)
        assert handle(poison, stream_record(make_round(1), 4)) == ["3"]
        assert len(emitted(capsys)) == 1


class Topic:
    """SNS's client: remembers what was published, or refuses."""

    def __init__(self, error: Exception | None = None) -> None:
        self.published: list[dict[str, Any]] = []
        self.error = error

    def publish(self, **request: Any) -> None:
        if self.error is not None:
            raise self.error
        self.published.append(request)


class TestNotices:
    """One notice for each ending."""

    @pytest.fixture
    def topic(self) -> Topic:
        return Topic()

    @pytest.fixture
    def notices(self, topic: Topic) -> Iterator[Notices]:
        with dynamodb_table("lambdafit") as client:
            yield Notices(TOPIC, topic, Table("lambdafit", client, Backoff()), "my-stack", now=lambda: NOW)

    def test_an_ending_is_told_once_however_often_its_record_comes(self, notices: Notices, topic: Topic) -> None:
        assert [notices.send(finished()) for _ in range(3)] == [True, False, False]
        (notice,) = topic.published
        assert notice["TopicArn"] == TOPIC and notice["Subject"] == f"lambdafit my-stack: {RUN_ID} finished"
        assert "finished (rounds)" in notice["Message"] and "--stack-name my-stack" in notice["Message"]
        assert notice["MessageAttributes"]["status"]["StringValue"] == "FINISHED"

    def test_a_resumed_run_ends_again(self, notices: Notices, topic: Topic) -> None:
        assert notices.send(finished()) and notices.send(finished(version=12))
        assert len(topic.published) == 2

    def test_what_was_sent_is_noted_apart_from_runs_and_forgotten_in_time(self) -> None:
        with dynamodb_table("lambdafit") as client:
            Notices(TOPIC, Topic(), Table("lambdafit", client, Backoff()), "s", now=lambda: NOW).send(finished())
            (item,) = client.scan(TableName="lambdafit")["Items"]
        assert item["pk"]["S"] == f"notice#{RUN_ID}" and item["kind"]["S"] == "notice"
        assert int(item["expires_at"]["N"]) > NOW

    @pytest.mark.parametrize(
        "error", [refused("AuthorizationError", 403), EndpointConnectionError(endpoint_url="https://sns")]
    )
    def test_a_refused_notice_is_sent_again(self, notices: Notices, topic: Topic, error: Exception) -> None:
        topic.error = error
        with pytest.raises(NotificationFailed, match="E427"):
            notices.send(finished())
        topic.error = None
        assert notices.send(finished())

    def test_a_refused_notice_fails_its_record_alone(
        self, services: Services, notices: Notices, topic: Topic, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        topic.error = refused("InternalError", 500)
        monkeypatch.setattr(monitor, "_notices", lambda: notices)
        store_rounds(services, make_round(1))
        assert handle(stream_record(make_round(1), 1), stream_record(finished(), 2)) == ["2"]

    def test_without_a_topic_nobody_is_told(self, services: Services) -> None:
        assert handle(stream_record(finished(), 1)) == []

    def test_runs_that_go_on_are_no_news(
        self, services: Services, notices: Notices, topic: Topic, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(monitor, "_notices", lambda: notices)
        assert handle(stream_record(running(1), 1)) == []
        assert topic.published == []

    def test_a_run_that_a_resume_stopped_for_a_moment_is_no_news(
        self, services: Services, notices: Notices, topic: Topic, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(monitor, "_notices", lambda: notices)
        stopped = replace(finished(), status="CANCELLED", reason="cancelled")
        assert isinstance(services.store, MemoryStore)
        services.store.runs[RUN_ID] = replace(running(2), version=stopped.version + 1)
        assert handle(stream_record(stopped, 1)) == []
        assert topic.published == []
        assert handle(stream_record(finished(version=12), 2)) == []
        assert len(topic.published) == 1, "its real end is told"

    def test_the_text_has_the_error_and_fits_an_e_mails_subject(self) -> None:
        failed = replace(finished(), status="FAILED", error=RunCancelled("run r", "stopped").record())
        assert "E503 RunCancelled" in message(failed, "s")
        assert len(subject(failed, "ü" * 200)) == 100 and subject(failed, "ü").isascii()


def test_the_sample_is_understood(
    services: Services, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    store_rounds(services, make_round(1))
    assert failed_names(monitor.handler(sample("monitor"), Context())) == []
    assert len(emitted(capsys)) == 1


def test_the_topic_of_the_environment_is_told(services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
    with dynamodb_table("lambdafit"):
        sns = boto3.client("sns", region_name="us-east-1")
        arn = sns.create_topic(Name="notices")["TopicArn"]
        monkeypatch.setenv("LAMBDAFIT_TOPIC", arn)
        clients = {"sns": sns, "dynamodb": boto3.client("dynamodb", "eu-central-1")}
        monkeypatch.setattr(monitor, "client", clients.__getitem__)
        records = [stream_record(finished(), 1), stream_record(finished(), 2)]
        assert handle(*records) == []
        marks = clients["dynamodb"].scan(TableName="lambdafit")["Items"]
    assert len(marks) == 1
