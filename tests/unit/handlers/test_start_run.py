"""StartRun: bare events, the command line's, and the HTTP API. Bad input is refused before anything is written."""

from __future__ import annotations

import base64
import io
import json
from typing import Any

import msgspec
import pytest
from botocore.exceptions import ReadTimeoutError
from handler_helpers import RUN_ID, Context, Invocations, make_run, refused, sample
from msgspec.structs import replace

from contracts.errors import ErrorRecord
from contracts.stack_errors import StoreUnreachable
from fakes.memory_store import MemoryStore
from handlers import api, start_run
from handlers.lambda_invoker import LambdaInvoker
from handlers.pictures import MAX_CHARACTERS, MAX_PICTURES
from runs import recipes
from runs.services import Services

DIGEST = "0123456789abcdef0123456789abcdef"
SUMMARY: dict[str, Any] = {
    "name": "mine",
    "title": "",
    "location": f"recipes/{DIGEST}.py",
    "digest": DIGEST,
    "dataset": "my-data",
    "batch_size": 64,
    "epochs": 3,
    "settings": {"learning_rate": 0.1},
}
TAKES_WEIGHTS = {"takes_weights": True, "published_weights": {"folder": "a", "name": "b", "url": "c"}}


def start(event: Any, request_id: str = "request-1") -> dict[str, Any]:
    answer: dict[str, Any] = start_run.handler(event, Context(aws_request_id=request_id))
    return answer


def error_of(answer: dict[str, Any]) -> ErrorRecord:
    assert set(answer) == {"error"}
    return msgspec.convert(answer["error"], ErrorRecord)


def count(services: Services) -> int:
    return len(services.store.list_runs())


class TestEvents:
    """Start events."""

    def test_the_bare_event_starts_the_default_recipe(self, services: Services) -> None:
        answer = start(sample("start"))
        run = services.store.load_run(answer["run_id"])
        assert (answer["status"], answer["workers"], answer["recipe"]) == ("PENDING", 5, "digits-mlp")
        assert (run.settings.workers, run.settings.recipe, run.settings.in_flight_per_place) == (5, "digits-mlp", 1)
        assert answer["created"] is True and answer["error"] is None
        assert isinstance(services.invoker, Invocations) and services.invoker.sent == []

    def test_the_limits_are_the_environments(self, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        limits = {
            "WORKERS": "8",
            "RESERVED_CONCURRENCY": "3",
            "THREADS": "2",
            "TIME_LIMIT_S": "600",
            "MEMORY_MB": "2048",
        }
        for name, value in limits.items():
            monkeypatch.setenv(f"LAMBDAFIT_{name}", value)
        settings = services.store.load_run(start({"start": True, "workers": 5})["run_id"]).settings
        assert (settings.concurrency, settings.threads) == (3, 2)
        assert (settings.time_limit_s, settings.memory_mb) == (600.0, 2048)

    def test_an_event_that_is_delivered_twice_starts_one_run(self, services: Services) -> None:
        first, second = start(sample("start")), start(sample("start"))
        assert first["run_id"] == second["run_id"] and count(services) == 1
        assert (first["created"], second["created"]) == (True, False)
        assert start(sample("start"), "request-2")["run_id"] != first["run_id"]

    def test_a_repeated_request_finds_its_run(self, services: Services) -> None:
        event = {"start": True, "run_id": RUN_ID, "workers": 2, "recipe": "digits-mlp", "overrides": {}}
        assert start(event, "a")["created"] and not start(event, "b")["created"]
        assert error_of(start(event | {"workers": 3}, "c")).number == "E305"
        assert count(services) == 1

    def test_a_repeated_request_finds_its_run_also_where_the_stacks_limits_have_changed(
        self, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        event = {"start": True, "run_id": RUN_ID}
        start(event)
        run = services.store.load_run(RUN_ID)
        assert isinstance(services.store, MemoryStore)
        services.store.runs[RUN_ID] = replace(run, settings=replace(run.settings, memory_mb=512))
        assert start(event)["created"] is False

    def test_a_users_own_recipe_comes_as_data(self, services: Services) -> None:
        folder = "datasets/my-data-0123"
        answer = start({"start": True, "recipe_summary": SUMMARY, "workers": 2, "data_folder": folder})
        settings = services.store.load_run(answer["run_id"]).settings
        assert (settings.recipe, settings.dataset, settings.data_folder) == (SUMMARY["location"], "my-data", folder)
        assert settings.epochs == 3

    def test_overrides_are_checked_by_the_recipe(self, services: Services) -> None:
        name, value = next(iter(recipes.describe("digits-mlp", {}).settings.items()))
        answer = start({"start": True, "overrides": {name: str(value)}})
        assert services.store.load_run(answer["run_id"]).settings.recipe_settings[name] == value
        assert error_of(start({"start": True, "overrides": {"nonsense": "1"}})).number == "E102"

    def test_weights_in_the_bucket_go_by_their_content(self, services: Services) -> None:
        brought = f"weights/{DIGEST}.weights.h5"
        events: list[dict[str, Any]] = [
            {"recipe": "cifar10-vgg19", "overrides": {"weights": brought}},
            {"recipe_summary": SUMMARY | TAKES_WEIGHTS | {"settings": {"weights": brought}}},
        ]
        for number, event in enumerate(events):
            answer = start({"start": True} | event, f"request-{number}")
            settings = services.store.load_run(answer["run_id"]).settings
            assert settings.recipe_settings["weights"] == brought
        own_way = SUMMARY | {"takes_weights": True, "settings": {"weights": ""}}
        assert start({"start": True, "recipe_summary": own_way}, "request-9")["run_id"]

    def test_warnings_are_part_of_the_answer(self, services: Services) -> None:
        assert any("momentum" in text for text in start({"start": True, "rounds": 2})["warnings"])

    @pytest.mark.parametrize(
        ("event", "number"),
        [
            ({}, "E109"),
            ({"start": "yes"}, "E109"),
            ({"combine": True, "workers": 5, "epochsdone": 6}, "E109"),
            ({"start": True, "workers": "five"}, "E102"),
            ({"start": True, "workers": 0}, "E102"),
            ({"start": True, "workers": 2000}, "E103"),
            ({"start": True, "worker": 2}, "E102"),
            ({"start": True, "recipe": "unheard-of"}, "E101"),
            ({"start": True, "recipe": "/etc/passwd.py"}, "E102"),
            ({"start": True, "recipe": ["digits-mlp"]}, "E102"),
            ({"start": True, "run_id": "../../x"}, "E108"),
            ({"start": True, "run_id": 7}, "E109"),
            ({"start": True, "overrides": {"learning_rate": 1}}, "E109"),
            ({"start": True, "max_cost_usd": 1e-6}, "E102"),
            ({"start": True, "data_folder": "../elsewhere"}, "E102"),
            ({"start": True, "outer": {"kind": "magic"}}, "E102"),
            ({"start": True, "recipe_summary": "mine"}, "E109"),
            ({"start": True, "recipe_summary": SUMMARY | {"location": "recipes/../../x.py"}}, "E109"),
            ({"start": True, "recipe_summary": SUMMARY | {"digest": "f" * 32}}, "E109"),
            ({"start": True, "recipe_summary": SUMMARY | {"dataset": "../x"}}, "E109"),
            ({"start": True, "recipe_summary": SUMMARY | {"settings": {"a": {}}}}, "E109"),
            ({"start": True, "recipe_summary": SUMMARY | {"batch_size": 0}}, "E109"),
            ({"start": True, "recipe": "x" * 200_000}, "E109"),
            ({"start": True, "recipe": "cifar10-vgg19"}, "E113"),
            ({"start": True, "recipe": "cifar10-vgg19", "overrides": {"weights": "/etc/passwd"}}, "E113"),
            ({"start": True, "recipe_summary": SUMMARY | TAKES_WEIGHTS | {"settings": {"weights": "x.h5"}}}, "E113"),
        ],
    )
    def test_bad_requests_are_numbered_answers_and_write_nothing(
        self, services: Services, event: dict[str, Any], number: str
    ) -> None:
        assert error_of(start(event)).number == number
        assert count(services) == 0


class FakePredict:
    """Lambda's client with the Predict function behind it."""

    def __init__(self, answer: Any = None, error: Exception | None = None, failure: str = "") -> None:
        self.answer, self.error, self.failure = answer, error, failure
        self.events: list[dict[str, Any]] = []

    def invoke(self, **request: Any) -> dict[str, Any]:
        if self.error is not None:
            raise self.error
        assert request["FunctionName"] == "lambdafit-predict"
        self.events.append(json.loads(request["Payload"]))
        answer = {"Payload": io.BytesIO(json.dumps(self.answer).encode())}
        return answer | ({"FunctionError": self.failure} if self.failure else {})


def http(method: str, path: str, body: Any = None, **query: str) -> tuple[int, dict[str, Any]]:
    """Status and body of the API's response."""
    event = sample("api-start")
    event |= {"routeKey": f"{method} {path}", "rawPath": path, "queryStringParameters": query}
    event["requestContext"]["http"] |= {"method": method, "path": path}
    event["body"] = body if isinstance(body, str) or body is None else json.dumps(body)
    response = start_run.handler(event, Context())
    assert response["headers"]["Content-Type"] == "application/json"
    return response["statusCode"], json.loads(response["body"])


class TestApi:
    """The HTTP API."""

    def test_the_sample_starts_a_run(self, services: Services) -> None:
        response = start_run.handler(sample("api-start"), Context())
        answer = json.loads(response["body"])
        assert response["statusCode"] == 201
        assert services.store.load_run(answer["run_id"]).settings.workers == 2

    def test_a_repeated_start_is_no_new_run(self, services: Services) -> None:
        body = {"run_id": RUN_ID, "workers": 2}
        assert [http("POST", "/runs", body)[0] for _ in range(2)] == [201, 200]
        assert http("POST", "/runs", body | {"workers": 4})[0] == 409

    def test_a_body_in_base64_is_read_too(self, services: Services) -> None:
        event = sample("api-start")
        event |= {"body": base64.b64encode(event["body"].encode()).decode(), "isBase64Encoded": True}
        assert start_run.handler(event, Context())["statusCode"] == 201

    @pytest.mark.parametrize("body", ["{", "[]", '"x"', {"workers": -1}, {"start": False}, {"nonsense": 1}])
    def test_bad_bodies_are_the_callers_fault(self, services: Services, body: Any) -> None:
        status, answer = http("POST", "/runs", body)
        assert status == 400 and answer["error"]["number"] in ("E102", "E109")
        assert count(services) == 0

    def test_runs_are_listed_newest_first(self, services: Services) -> None:
        for index in range(3):
            services.store.create_run(make_run(f"r-000{index}", created_at=float(index)))
        status, answer = http("GET", "/runs", limit="2")
        assert status == 200 and [run["run_id"] for run in answer["runs"]] == ["r-0002", "r-0001"]
        assert answer["runs"][0]["status"] == "PENDING"

    @pytest.mark.parametrize("limit", ["0", "101", "ten", "-1"])
    def test_a_limit_has_limits(self, services: Services, limit: str) -> None:
        assert http("GET", "/runs", limit=limit)[0] == 400

    def test_a_run_is_shown_as_the_command_line_shows_it(self, services: Services) -> None:
        services.store.create_run(make_run())
        status, answer = http("GET", f"/runs/{RUN_ID}")
        assert status == 200 and answer["run_id"] == RUN_ID
        assert {"status", "rounds", "epochs", "val_accuracy", "cost_usd", "parameters_sha256", "error"} <= set(answer)
        assert http("GET", "/runs/latest")[1]["run_id"] == RUN_ID

    def test_a_run_of_another_stack_is_not_here(self, services: Services) -> None:
        for method, path in (("GET", "/runs/r-0000"), ("POST", "/runs/r-0000/stop"), ("GET", "/runs/latest")):
            status, answer = http(method, path)
            assert status == 404 and answer["error"]["number"] == "E304"
        assert http("GET", "/runs/R-7")[1]["error"]["number"] == "E108"

    def test_a_run_is_stopped_once_or_twice(self, services: Services) -> None:
        services.store.create_run(make_run())
        for _ in range(2):
            status, answer = http("POST", f"/runs/{RUN_ID}/stop")
            assert status == 200 and answer["status"] == "CANCELLED"
        assert services.store.load_run(RUN_ID).version == 2

    def test_a_route_that_there_is_not_says_which_there_are(self, services: Services) -> None:
        status, answer = http("DELETE", f"/runs/{RUN_ID}")
        assert status == 404 and "POST /runs" in answer["error"]["advice"]

    def test_a_busy_store_asks_to_come_back(self, services: Services, monkeypatch: pytest.MonkeyPatch) -> None:
        def busy(limit: int) -> Any:
            raise StoreUnreachable("table", "no answer")

        monkeypatch.setattr(services.store, "list_runs", busy)
        response = start_run.handler(sample("api-start") | {"rawPath": "/runs", "routeKey": "GET /runs"}, Context())
        assert response["statusCode"] == 201  # a start reads nothing
        event = sample("api-start")
        event["requestContext"]["http"]["method"] = "GET"
        response = start_run.handler(event, Context())
        assert response["statusCode"] == 503 and response["headers"]["Retry-After"] == "20"

    def test_an_unexpected_error_keeps_its_text_to_the_log(
        self, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def broken(limit: int) -> Any:
            raise ValueError("secret")

        monkeypatch.setattr(services.store, "list_runs", broken)
        status, answer = http("GET", "/runs")
        assert status == 500 and answer["error"]["number"] == "E406" and "secret" not in json.dumps(answer)


class TestPredictThroughTheApi:
    """Pictures are forwarded to the Predict function."""

    @pytest.fixture
    def function(self, services: Services, monkeypatch: pytest.MonkeyPatch) -> FakePredict:
        services.store.create_run(make_run())
        function = FakePredict(answer={"run_id": RUN_ID, "predictions": [{"label": 7}]})
        invoker = LambdaInvoker({"predict": "lambdafit-predict"}, function)
        monkeypatch.setattr(api, "_predict_function", lambda: invoker)
        return function

    def test_pictures_come_back_as_predictions(self, function: FakePredict) -> None:
        body = {"images_base64": sample("predict")["images_base64"]}
        status, answer = http("POST", "/runs/latest/predict", body)
        assert (status, answer["predictions"]) == (200, [{"label": 7}])
        assert function.events == [{"task": "predict", "run_id": RUN_ID} | body]

    @pytest.mark.parametrize(
        ("body", "status", "number"),
        [
            ({}, 400, "E109"),
            ({"images_base64": []}, 400, "E109"),
            ({"images_base64": [7]}, 400, "E109"),
            ({"images_base64": ["no base64!"]}, 400, "E107"),
            ({"pictures": [{"name": "a"}]}, 400, "E109"),
            ({"images_base64": ["AAAA"] * (MAX_PICTURES + 1)}, 413, "E425"),
            ({"images_base64": ["A" * (MAX_CHARACTERS + 4)]}, 413, "E425"),
        ],
    )
    def test_bad_pictures_reach_no_function(
        self, function: FakePredict, body: dict[str, Any], status: int, number: str
    ) -> None:
        found, answer = http("POST", f"/runs/{RUN_ID}/predict", body)
        assert (found, answer["error"]["number"]) == (status, number)
        assert function.events == []

    @pytest.mark.parametrize(
        ("kind", "status"),
        [("InvalidImage", 400), ("ModelNotReady", 409), ("RunNotFound", 404), ("NotFinite", 500)],
    )
    def test_what_the_function_raises_is_the_answer(self, function: FakePredict, kind: str, status: int) -> None:
        function.answer, function.failure = {"errorType": kind, "errorMessage": "because"}, "Unhandled"
        found, answer = http("POST", f"/runs/{RUN_ID}/predict", {"images_base64": ["AAAA"]})
        assert (found, answer["error"]["name"]) == (status, kind)

    @pytest.mark.parametrize(
        ("error", "status", "number"),
        [
            (ReadTimeoutError(endpoint_url="https://lambda"), 503, "E401"),
            (refused("TooManyRequestsException", 429), 503, "E401"),
            (refused("AccessDeniedException", 403), 500, "E424"),
            (refused("ResourceNotFoundException", 404), 500, "E423"),
        ],
    )
    def test_a_function_that_cannot_be_asked(
        self, function: FakePredict, error: Exception, status: int, number: str
    ) -> None:
        function.error = error
        found, answer = http("POST", f"/runs/{RUN_ID}/predict", {"images_base64": ["AAAA"]})
        assert (found, answer["error"]["number"]) == (status, number)
