"""Readers of messages: events, requests, records, answers, names and keys."""

from __future__ import annotations

import io
import json
import os
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from contracts.errors import InvalidMessage, LambdafitError
from contracts.function_errors import error_in_answer
from contracts.identifiers import check_relative_path, check_run_id
from contracts.messages import is_probe, is_start, parse_task
from contracts.ports import ObjectFacts
from contracts.records import Run, Task
from dashboard.actions.commands import Commands
from dashboard.actions.picture import look_at
from dashboard.actions.processes import Finished
from dashboard.options import Options
from engines.local_lambda.invocation import Function, Pending, to_invocation
from handlers.exports import export_key
from handlers.failed_invocations import read_failure
from handlers.stream_records import read_change
from runs import paths
from runs.fetch_data import fetch_data
from security.mutations import mutated, mutated_json, mutated_text
from security.target import Target, Work
from stores.dynamodb_items import decode, run_item, task_item
from stores.shared_files import FolderFiles
from stores.sqlite_database import Database
from training.datasets.prepare import SPLITS
from training.recipe import load_recipe
from unit.handlers.handler_helpers import (
    EVENTS,
    RUN_ID,
    VARIABLES,
    Context,
    fake_services,
    make_run,
    queue_record,
    sample,
)

TASKS = ("clear", "combine", "combine-full", "evaluate", "initialise", "prepare", "train", "train-full", "probe")


def parsed(content: bytes) -> Any:
    """The event: the runtime parses it before any handler sees it, and so refuses what is no JSON."""
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise InvalidMessage("runtime", "no JSON") from None


def samples(*names: str) -> tuple[bytes, ...]:
    """Events of the folder `events/`."""
    return tuple((EVENTS / f"{name}.json").read_bytes() for name in names)


def _tasks(_work: Work) -> Callable[[bytes], Any]:
    def read(content: bytes) -> None:
        event = parsed(content)
        if isinstance(event, Mapping) and (is_probe(event) or is_start(event)):
            return
        message = parse_task(event)
        check_relative_path(paths.round_folder(RUN_ID, "updates", message.key.round_index))
        json.dumps(message.to_event())

    return read


def _stream(_work: Work) -> Callable[[bytes], Any]:
    return lambda content: str(read_change(parsed(content), "") and "read")


def _failures(_work: Work) -> Callable[[bytes], Any]:
    functions = {"train": VARIABLES["LAMBDAFIT_TRAIN_FUNCTION"], "combine": VARIABLES["LAMBDAFIT_COMBINE_FUNCTION"]}

    def read(content: bytes) -> None:
        read_failure(queue_record(content.decode(errors="replace"), "m-1"), functions)

    return read


def _of_queue() -> tuple[bytes, ...]:
    return tuple(record["body"].encode() for record in sample("conduct-failed")["Records"])


def _functions() -> None:
    """The functions of a stack in this process, their ports in memory."""
    for name in list(os.environ):
        if name.startswith("LAMBDAFIT_"):
            del os.environ[name]
    os.environ.update(VARIABLES | {"LAMBDAFIT_LIBRARIES": "s3"})
    from handlers import wiring

    services = fake_services()
    services.store.create_run(make_run())
    wiring.environment.cache_clear()
    wiring.services = lambda: services  # type: ignore[assignment]


class Nobody:
    """Stands in for the function Predict and for the trainer."""

    def call(self, function: str, event: Mapping[str, Any]) -> dict[str, Any]:
        json.dumps(event)
        return {}

    def get(self, span: Any = None) -> Nobody:
        return self


def _api(_work: Work) -> Callable[[bytes], Any]:
    _functions()
    from handlers import api

    api._predict_function = lambda: Nobody()  # type: ignore[assignment,return-value]
    api.logger.setLevel("CRITICAL")

    def read(content: bytes) -> str:
        event = parsed(content)
        if not api.is_request(event):
            return "no request"
        answer = api.respond(event, Context())
        if answer["statusCode"] == 500:
            raise AssertionError(answer["body"])
        return f"HTTP {answer['statusCode']}"

    return read


def _requests() -> tuple[bytes, ...]:
    event = sample("api-start")
    others = (("GET", "/runs", ""), ("GET", f"/runs/{RUN_ID}", ""), ("POST", f"/runs/{RUN_ID}/stop", "{}"),
              ("POST", f"/runs/{RUN_ID}/predict", '{"images_base64": ["aGk="]}'))  # fmt: skip
    made = [json.dumps(event)]
    for method, path, body in others:
        one = json.loads(made[0])
        one["requestContext"]["http"] |= {"method": method, "path": path}
        made.append(json.dumps(one | {"rawPath": path, "routeKey": f"{method} {path}", "body": body}))
    return tuple(text.encode() for text in made)


def broken_request(rng: random.Random, content: bytes) -> bytes:
    """A request whose body, path or query is broken. The rest API Gateway has written."""
    event = json.loads(content)
    match rng.randrange(4):
        case 0:
            event["rawPath"] = mutated_text(rng, event["rawPath"].encode()).decode(errors="replace")
            event["requestContext"]["http"]["path"] = event["rawPath"]
        case 1:
            event["queryStringParameters"] = {"limit": mutated_text(rng, b"20").decode(errors="replace")}
        case _:
            event["body"] = mutated_json(rng, event.get("body", "").encode() or b"{}").decode(errors="replace")
    return json.dumps(event).encode()


def _start(_work: Work) -> Callable[[bytes], Any]:
    """Each request finds no run that an earlier one has started."""
    _functions()
    from handlers import wiring
    from handlers.start_requests import begin

    def read(content: bytes) -> None:
        event = parsed(content)
        if not isinstance(event, dict):
            raise InvalidMessage("event", "no object")
        _, run = begin(event, "request")
        wiring.services().store.delete_run(run.run_id)

    return read


OWN = {"start": True, "workers": 2, "recipe_summary": {
    "name": "mine", "title": "My own", "location": f"recipes/{'0a' * 16}.py", "digest": "0a" * 16, "dataset": "digits",
    "settings": {"a": 1}, "batch_size": 8, "epochs": 2, "train_examples": 100,
}}  # fmt: skip


def _predict(_work: Work) -> Callable[[bytes], Any]:
    _functions()
    from handlers import install_libraries, predict

    predict.TRAINER = Nobody()  # type: ignore[assignment]
    predict.write_curves = lambda *_: 0  # it would import TensorFlow

    def read(content: bytes) -> None:
        event = parsed(content)
        if not isinstance(event, dict):
            raise InvalidMessage("event", "no object")
        if event.get("task") == "install-libraries" and "probe" not in event:
            event["no such field"] = 1  # there is no bucket
            install_libraries.handler(event, Context())
        predict.handler(event, Context())

    return read


PREDICT = (
    {"task": "predict", "run_id": RUN_ID, "images_base64": ["aGk="]},
    {"task": "predict", "run_id": RUN_ID, "pictures": [{"name": "a.png", "content": "aGk="}]},
    {"task": "export", "run_id": RUN_ID, "format": "keras", "name": "0a.keras"},
    {"task": "curves", "run_id": "latest", "name": "0a"},
    {"task": "remove", "run_id": RUN_ID}, {"task": "evaluate", "run_id": RUN_ID}, {"probe": True},
    {"task": "install-libraries", "digest": "ab"},
)  # fmt: skip


def _store(work: Work) -> Callable[[bytes], Any]:
    database = Database(work.folder / "never.db", "")

    def read(content: bytes) -> None:
        try:
            text = content.decode(errors="surrogatepass")
        except UnicodeDecodeError:
            text = content.decode(errors="replace")
        for of_type in (Run, Task):
            try:
                decode({"pk": {"S": "a"}, "sk": {"S": "b"}, "data": {"S": text}}, of_type)
                database.decode(content, of_type)
            except LambdafitError as error:
                last = error
            else:
                return
        raise last

    return read


def _records() -> tuple[bytes, ...]:
    from contracts.records import Report, TaskKey

    run = make_run()
    task = Task(key=TaskKey(round_index=1, kind="train"), report=Report(outcome="done", nonce="ab"))
    return tuple(item["data"]["S"].encode() for item in (run_item(run), task_item(RUN_ID, task)))


def _stream_samples() -> tuple[bytes, ...]:
    return tuple(json.dumps(record).encode() for record in sample("conduct")["Records"])


def _answers(_work: Work) -> Callable[[bytes], Any]:
    function = Function(name="f", handler="a.b", concurrency=1, time_limit_s=1, memory_mb=128)

    def read(content: bytes) -> None:
        error_in_answer(content, "f")
        for raised in (True, False):
            to_invocation(Pending(function=function, event={}, payload=b"", answer=content, raised=raised))

    return read


ANSWERS = (
    b'{"errorType": "ModelNotReady", "errorMessage": "E405 ModelNotReady: run r-1: no.\\nWait.", "stackTrace": []}',
    b'{"errorType": "Sandbox.Timedout", "errorMessage": "Task timed out after 3.00 seconds"}', b'{"outcome": "done"}',
)  # fmt: skip


def _identifiers(work: Work) -> Callable[[bytes], Any]:
    root = work.folder / "root"
    files = FolderFiles(root)

    def read(content: bytes) -> None:
        text = content.decode(errors="surrogatepass") if b"\xed" in content else content.decode(errors="replace")
        kinds: Sequence[Callable[[], Any]] = (
            lambda: check_run_id(text),
            lambda: _inside(root, files.local_path(text)),
            lambda: _inside(root / "runs" / RUN_ID, files.local_path(paths.export_path(RUN_ID, text))),
            lambda: check_relative_path(export_key(RUN_ID, text)),
            lambda: paths.run_folder(text),
            lambda: files.exists(text),
            lambda: files.names(text),
            lambda: files.read(text),
            lambda: load_recipe(text if not text.endswith(".py") else "x"),
        )
        last: LambdafitError | None = None
        for kind in kinds:
            try:
                kind()
            except LambdafitError as error:
                last = error
        if last is not None:
            raise last

    return read


def _inside(root: Path, path: str) -> None:
    if not os.path.realpath(path).startswith(f"{os.path.realpath(root)}/"):
        raise AssertionError(f"{path} is outside of {root}")


def _uploads(work: Work) -> Callable[[bytes], Any]:
    def run(arguments: Sequence[str], environment: Mapping[str, str], limit_s: float) -> Finished:
        path = Path(arguments[arguments.index("predict") + 2])
        if path.parent != work.folder or path.stat().st_mode & 0o077:
            raise AssertionError(f"{path} is not private")
        return Finished(0, '{"predictions": [{"top": []}], "round_index": 1}\n', "")

    commands = Commands(Options(home=str(work.folder)), runner=run, environment={})

    def read(content: bytes) -> None:
        seen = look_at(commands, RUN_ID, content.decode(errors="replace"), content)
        look_at(commands, content.decode(errors="replace"), "a.png", content)
        if seen.error:
            raise AssertionError(seen.error)

    return read


class Bucket:
    """Implements `contracts.ports.Objects` in memory: whoever can write the bucket has put there what he wants."""

    def __init__(self) -> None:
        self.content: dict[str, bytes] = {}

    def head(self, key: str) -> ObjectFacts:
        return ObjectFacts(key, len(self.read(key)), "")

    def read(self, key: str) -> bytes:
        from contracts.stack_errors import ObjectNotFound

        if check_relative_path(key) not in self.content:
            raise ObjectNotFound("bucket", "it is not there")
        return self.content[key]

    def read_into(self, facts: ObjectFacts, offset: int, buffer: Any) -> None:
        view = memoryview(buffer).cast("B")
        view[:] = self.content[facts.key][offset : offset + len(view)]


def _bucket(work: Work) -> Callable[[bytes], Any]:
    bucket, files, run = Bucket(), FolderFiles(work.folder / "shared"), make_run()

    def read(content: bytes) -> None:
        """A pointer, `meta.json` and an array, with zero bytes between them."""
        pointer, meta, array = (*content.split(b"\0|\0"), b"", b"")[:3]
        bucket.content = {"datasets/digits.json": pointer, "datasets/digits-0a/meta.json": meta}
        bucket.content |= {f"datasets/digits-0a/{name}.npy": array for name in SPLITS}
        try:
            fetch_data(run, files, bucket)  # type: ignore[arg-type]
        finally:
            for path in sorted((work.folder / "shared").rglob("*"), reverse=True):
                path.rmdir() if path.is_dir() else path.unlink()

    return read


def _bucket_sample() -> bytes:
    import xxhash

    stream = io.BytesIO()
    np.save(stream, np.zeros(4, np.uint8))
    array = stream.getvalue()
    stored = {"bytes": len(array), "digest": xxhash.xxh3_128_hexdigest(bytes(4))}
    facts: dict[str, Any] = {"name": "digits", "folder": "datasets/digits-0a", "train_examples": 4}
    facts["files"] = dict.fromkeys(SPLITS, stored)
    return b"\0|\0".join((b'{"folder": "datasets/digits-0a"}', json.dumps(facts).encode(), array))


def broken_bucket(rng: random.Random, content: bytes) -> bytes:
    """One of the three broken."""
    parts = content.split(b"\0|\0")
    index = rng.randrange(3)
    parts[index] = mutated(rng, parts[2]) if index == 2 else mutated_json(rng, parts[index])
    return b"\0|\0".join(parts)


TARGETS = (
    Target("events of tasks", _tasks, samples(*TASKS), mutated_json, 6),
    Target("stream records", _stream, _stream_samples(), mutated_json, 4),
    Target("failed invocations", _failures, _of_queue(), mutated_json, 4),
    Target("HTTP API", _api, _requests(), broken_request, 1),
    Target("requests for runs", _start, (*samples("start"), json.dumps(OWN).encode()), mutated_json, 2),
    Target("events of Predict", _predict, tuple(json.dumps(one).encode() for one in PREDICT), mutated_json, 3),
    Target("records in stores", _store, _records(), mutated_json, 5),
    Target("answers of functions", _answers, ANSWERS, mutated_json, 4),
    Target("ids, paths, keys, recipes", _identifiers, (RUN_ID.encode(), b"runs/a/b.npy"), mutated_text, 2),
    Target("pictures handed to the dashboard", _uploads, (b"seven.png",), mutated_text, 1),
    Target("data sets in the bucket", _bucket, (_bucket_sample(),), broken_bucket, 0.5),
)
