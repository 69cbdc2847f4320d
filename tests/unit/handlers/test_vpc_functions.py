"""Prepare, Combine and Predict as AWS calls them: probes, data from the bucket, exports into it, pictures sent."""

from __future__ import annotations

import base64
import importlib
import io
import json
import zipfile
from dataclasses import replace as with_fields
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from handler_helpers import NOW, RUN_ID, Context, fake_services, make_run, sample
from msgspec.structs import replace

from contracts.errors import InvalidImage, InvalidMessage, LambdafitError
from contracts.records import TaskKey
from contracts.stack_errors import EventTooLarge, RunAtWork
from fakes.arithmetic_trainer import ArithmeticTrainer
from fakes.folder_objects import FolderObjects
from handlers import combine, exports, prepare, probe, wiring
from handlers.pictures import read_pictures
from runs import transitions, unused_features
from runs.code_version import code_version
from runs.services import Services
from stores.shared_files import FolderFiles
from training.datasets.prepare import prepare_dataset
from training.datasets.source import Arrays, DataSource


@pytest.fixture
def folder_services(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Services:
    """Ports with the shared files in a folder, which some libraries want to open by themselves."""
    made = with_fields(fake_services(), files=FolderFiles(tmp_path / "shared"))
    monkeypatch.setattr(wiring, "services", lambda: made)
    return made


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FolderObjects:
    monkeypatch.setenv("LAMBDAFIT_BUCKET", "a-bucket")
    made = FolderObjects(tmp_path / "bucket")
    monkeypatch.setattr(wiring, "objects", lambda: made)
    return made


class TestProbe:
    """`{"probe": true}`."""

    @pytest.mark.parametrize(("handler", "name"), [(combine.handler, "combine"), (prepare.handler, "prepare")])
    def test_a_function_says_that_it_is_awake(self, folder_services: Services, handler: Any, name: str) -> None:
        answer = handler(sample("probe"), Context())
        assert answer | {"name": ""} == {
            "probe": True,
            "function": name,
            "name": "",
            "shared_writable": True,
            "libraries": "none",
            "code_version": code_version(),
        }
        assert folder_services.files.names(probe.FOLDER) == []

    def test_a_mount_that_cannot_be_written_is_said_with_the_reason(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "shared").write_text("no folder")
        services = with_fields(fake_services(), files=FolderFiles(tmp_path / "shared"))
        monkeypatch.setattr(wiring, "services", lambda: services)
        answer = probe.answer_probe("train", "abcd")
        assert answer["shared_writable"] is False and "E302" in answer["problem"]
        assert answer["libraries"] == "abcd"


class TestPrepare:
    """The data set comes from the bucket where there is one."""

    def offered(self, services: Services) -> dict[str, Any]:
        run = replace(make_run(), status="RUNNING", started_at=NOW)
        services.store.create_run(run)
        key = TaskKey(round_index=0, kind="prepare")
        assert services.store.save_task(RUN_ID, transitions.offered(None, key, run.settings, NOW))
        return sample("prepare")

    def test_the_facts_are_those_of_the_bucket(
        self, folder_services: Services, bucket: FolderObjects, tmp_path: Path
    ) -> None:
        def load(_folder: Path) -> Arrays:
            x = np.zeros((20, 2), dtype=np.float32)
            return Arrays(x, np.arange(20) % 2, x[:4], np.arange(4) % 2)

        source = DataSource(name="digits", load=load)
        facts = prepare_dataset(source, FolderFiles(tmp_path / "bucket"), data_folder=None, cache_folder=tmp_path)
        bucket.write("datasets/digits.json", json.dumps({"folder": facts["folder"]}).encode())
        answer = prepare.handler(self.offered(folder_services), Context())
        assert answer["outcome"] == "done"
        task = folder_services.store.load_task(RUN_ID, TaskKey(round_index=0, kind="prepare"))
        assert task is not None and task.report is not None and task.report.facts == facts
        assert folder_services.files.exists(f"{facts['folder']}/x_train.npy")

    def test_a_data_set_that_nobody_pushed_ends_the_task_for_good(
        self, folder_services: Services, bucket: FolderObjects
    ) -> None:
        answer = prepare.handler(self.offered(folder_services), Context())
        assert answer["outcome"] == "failed" and "lambdafit data push digits" in answer["error"]
        task = folder_services.store.load_task(RUN_ID, TaskKey(round_index=0, kind="prepare"))
        assert task is not None and task.status == "FAILED" and task.error is not None and task.error.number == "E105"


class TestPictures:
    """Pictures inside an event."""

    def test_both_forms_are_read(self) -> None:
        text = base64.b64encode(b"png").decode()
        assert read_pictures({"images_base64": [text]}) == [("picture 1", b"png")]
        assert read_pictures({"pictures": [{"name": "a.png", "content": text}]}) == [("a.png", b"png")]

    @pytest.mark.parametrize("event", [{}, {"pictures": "a"}, {"pictures": [{}]}, {"images_base64": [None]}])
    def test_another_shape_is_refused(self, event: dict[str, Any]) -> None:
        with pytest.raises(InvalidMessage, match="E109"):
            read_pictures(event)

    def test_what_is_no_base64_is_named(self) -> None:
        with pytest.raises(InvalidImage, match=r"E107 .*a\.png"):
            read_pictures({"pictures": [{"name": "a.png", "content": "%%%"}]})

    def test_too_much_is_refused_before_it_is_decoded(self) -> None:
        with pytest.raises(EventTooLarge, match="E425"):
            read_pictures({"images_base64": ["A" * 3_000_000] * 2})


class WarmArithmetic:
    """Stands in for WarmTrainer: no TensorFlow."""

    def get(self) -> ArithmeticTrainer:
        return ArithmeticTrainer()


@pytest.fixture
def function(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The Predict function with training replaced by arithmetic."""
    monkeypatch.setenv("LAMBDAFIT_LIBRARIES", "s3")  # so that its import loads no TensorFlow
    module = importlib.import_module("handlers.predict")
    monkeypatch.setattr(module, "TRAINER", WarmArithmetic())
    return module


class TestPredict:
    """What Predict takes and gives on AWS."""

    def create_run(self, services: Services, **changes: Any) -> None:
        services.files.write("runs/a.npy", [np.arange(3, dtype=np.float32)], durable=False)
        services.store.create_run(replace(make_run(), **changes))

    def test_pictures_of_the_event_are_seen_under_their_senders_names(
        self, function: ModuleType, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.create_run(services)

        def look(_services: Services, run_id: str, images: list[str]) -> dict[str, Any]:
            found = [{"image": path, "bytes": len(Path(path).read_bytes())} for path in images]
            return {"run_id": run_id, "round_index": 1, "predictions": found}

        monkeypatch.setattr(function, "predict", look)
        content = base64.b64encode(b"12345").decode()
        event = {"run_id": "latest", "pictures": [{"name": "../seven.png", "content": content}]}
        answer = function.handler(event, Context())
        assert answer["run_id"] == RUN_ID
        assert answer["predictions"] == [{"image": "../seven.png", "bytes": 5}]
        assert len(function.handler(sample("predict"), Context())["predictions"]) == 1

    def test_an_error_names_the_senders_picture(
        self, function: ModuleType, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        self.create_run(services)

        def look(_services: Services, _run_id: str, images: list[str]) -> dict[str, Any]:
            raise InvalidImage(images[1], "it is 3×3 pixels", "8×8")

        monkeypatch.setattr(function, "predict", look)
        with pytest.raises(InvalidImage, match=r"picture 2: it is 3×3 pixels, expected 8×8\.\n") as raised:
            function.handler({"run_id": RUN_ID, "images_base64": ["AAAA", "BBBB"]}, Context())
        assert "/lambdafit-" not in str(raised.value)

    def test_an_export_is_left_in_the_bucket(
        self,
        function: ModuleType,
        folder_services: Services,
        bucket: FolderObjects,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def export(services: Services, _trainer: Any, run_id: str, suffix: str, name: str) -> dict[str, Any]:
            path = f"runs/{run_id}/export-{name}"
            services.files.write(path, [b"model"], durable=False)
            return {"run_id": run_id, "round_index": 2, "path": path}

        self.create_run(folder_services)
        monkeypatch.setattr(function, "export", export)
        event = {"task": "export", "run_id": RUN_ID, "format": "keras", "name": "0a1b.keras"}
        answer = function.handler(event, Context())
        key = f"exports/{RUN_ID}/0a1b.keras"
        assert answer == {"run_id": RUN_ID, "round_index": 2, "key": key, "bytes": 5}
        assert bucket.read(key) == b"model"
        assert folder_services.files.names(f"runs/{RUN_ID}") == []

    def test_curves_are_left_in_the_bucket_as_one_zip(
        self,
        function: ModuleType,
        folder_services: Services,
        bucket: FolderObjects,
        monkeypatch: pytest.MonkeyPatch,
    ) -> None:
        def write_curves(folder: Path, rounds: Any, steps: Any) -> int:
            (folder / "rounds").mkdir(parents=True)
            (folder / "rounds" / "events.out").write_bytes(b"points")
            return 7

        self.create_run(folder_services)
        monkeypatch.setattr(exports, "write_curves", write_curves)
        answer = function.handler({"task": "curves", "run_id": RUN_ID, "name": "0a1b.zip"}, Context())
        assert (answer["points"], answer["key"]) == (7, f"exports/{RUN_ID}/0a1b.zip")
        with zipfile.ZipFile(io.BytesIO(bucket.read(answer["key"]))) as archive:
            assert archive.read("rounds/events.out") == b"points"

    @pytest.mark.parametrize("name", ["../x", "a/b", ".hidden", ""])
    def test_an_exports_name_is_no_path(self, name: str) -> None:
        with pytest.raises(InvalidMessage, match="E109"):
            exports.export_key(RUN_ID, name)

    def test_a_runs_files_are_removed_when_it_has_ended(self, function: ModuleType, services: Services) -> None:
        self.create_run(services, status="RUNNING")
        services.files.write(f"runs/{RUN_ID}/model.keras", [b"1"], durable=False)
        event = {"task": "remove", "run_id": RUN_ID}
        with pytest.raises(RunAtWork, match="E448"):
            function.handler(event, Context())
        run = services.store.load_run(RUN_ID)
        assert services.store.save_run(replace(run, version=2, status="CANCELLED", ended_at=NOW))
        for there in (True, False):
            assert function.handler(event, Context()) == {"run_id": RUN_ID, "removed": there, "features": []}
        assert services.files.names(f"runs/{RUN_ID}") == []

    def test_features_go_with_the_last_run_that_names_them(self, function: ModuleType, services: Services) -> None:
        folders = [f"features/digits-{name * 16}" for name in ("0a", "0b")]
        self.create_run(services, status="FINISHED", feature_facts={"folder": folders[0]})
        other = replace(services.store.load_run(RUN_ID), run_id="r-0000000002", feature_facts={"folder": folders[1]})
        services.store.create_run(other)
        for folder in folders:
            services.files.write(f"{folder}/meta.json", [b"{}"], durable=False)
        answer = function.handler({"task": "remove", "run_id": RUN_ID}, Context())
        assert answer["features"] == folders[:1]
        assert services.files.names("features") == [folders[1].rpartition("/")[2]]

    def test_features_stay_where_there_may_be_more_runs_than_are_listed(
        self, function: ModuleType, services: Services, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for module in (function, unused_features):
            monkeypatch.setattr(module, "MOST_RUNS", 2)
        folder = f"features/digits-{'0a' * 16}"
        self.create_run(services, status="FINISHED", created_at=9.0)
        newest = services.store.load_run(RUN_ID)
        services.store.create_run(replace(newest, run_id="r-0000000002", created_at=8.0))
        services.store.create_run(
            replace(newest, run_id="r-0000000003", created_at=7.0, feature_facts={"folder": folder})
        )
        services.files.write(f"{folder}/meta.json", [b"{}"], durable=False)
        assert function.handler({"task": "remove", "run_id": RUN_ID}, Context())["features"] == []

    def test_the_newest_run_is_not_removed_by_guessing(self, function: ModuleType, services: Services) -> None:
        self.create_run(services)
        for event in ({"task": "remove"}, {"task": "remove", "run_id": "latest"}):
            with pytest.raises(LambdafitError, match=r"E10[89]"):
                function.handler(event, Context())
