"""The page Predictions in each of its states, and a picture of one's own."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from dashboard_samples import sample_snapshot
from msgspec.structs import replace
from shown_run import ShownRun, texts
from streamlit.testing.v1 import AppTest

from contracts.errors import InvalidImage
from dashboard.actions.commands import Commands, Outcome
from dashboard.options import Options
from dashboard.parts.own_picture import why_not
from dashboard.queries.run_data import RunSnapshot

TOP = [{"label": 3, "class_name": "3", "confidence": 0.8}, {"label": 5, "class_name": "5", "confidence": 0.15}]
PICTURE = b"\x89PNG\r\n\x1a\n and pixels"

Open = Callable[[RunSnapshot], AppTest]


class Model:
    """In place of `lambdafit predict`: notes what it is asked."""

    def __init__(self) -> None:
        self.paths: list[Path] = []
        self.modes: list[int] = []
        self.data: list[bytes] = []
        self.error = ""
        self.round_index = 6

    def predict(self, _commands: Commands, run_id: str, path: Path) -> Outcome:
        self.paths.append(path)
        self.modes.append(stat.S_IMODE(path.stat().st_mode))
        self.data.append(path.read_bytes())
        shown = f"lambdafit predict {run_id} {path}"
        if self.error:
            return Outcome(3, None, self.error.replace("PATH", str(path)), shown)
        prediction = {"image": str(path), **TOP[0], "top": TOP}
        return Outcome(0, {"run_id": run_id, "round_index": self.round_index, "predictions": [prediction]}, "", shown)


@pytest.fixture
def model(monkeypatch: pytest.MonkeyPatch) -> Model:
    asked = Model()
    monkeypatch.setattr(Commands, "predict", lambda commands, *arguments: asked.predict(commands, *arguments))
    return asked


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch, model: Model) -> ShownRun:
    return ShownRun(monkeypatch)


@pytest.fixture
def open_page(shown: ShownRun) -> Open:
    return lambda snapshot: shown.open("predictions", snapshot)


def html(page: AppTest) -> str:
    """All HTML of the page."""
    return "".join(element.proto.body for element in page.get("html"))


def upload(page: AppTest, name: str = "mine.png", data: bytes = PICTURE) -> AppTest:
    """Hand in a picture."""
    page.file_uploader(key="predictions_picture").set_value((name, data, "image/png")).run()
    assert not page.exception
    return page


def test_samples_with_pictures_and_a_matrix(open_page: Open) -> None:
    page = open_page(sample_snapshot())
    assert html(page).count("<figure") == html(page).count("data:image/png") > 10
    assert "samples right with the parameters after round" in texts(page)
    assert "Confusion matrix after round" in texts(page)


def test_the_slider_goes_back_and_stays_while_more_come(open_page: Open, shown: ShownRun) -> None:
    page = open_page(sample_snapshot(rounds=20))
    slider = page.select_slider(key="predictions_checkpoint")
    assert slider.value == "newest"
    first = slider.options[0]
    slider.set_value(first).run()
    assert f"after {first.split()[0]} **{first.split()[1]}**." in texts(page)
    shown.snapshot = sample_snapshot(rounds=25)
    page.run()
    assert page.select_slider(key="predictions_checkpoint").value == first
    assert not page.exception


def test_newest_follows(open_page: Open, shown: ShownRun) -> None:
    page = open_page(sample_snapshot(rounds=20))
    before = texts(page)
    shown.snapshot = sample_snapshot(rounds=40)
    page.run()
    assert page.select_slider(key="predictions_checkpoint").value == "newest"
    assert texts(page) != before
    assert "the newest" in texts(page)


def test_only_mistakes(open_page: Open) -> None:
    page = open_page(sample_snapshot())
    page.toggle(key="predictions_mistakes").set_value(True).run()
    assert 0 < html(page).count("<figure") == html(page).count("lf-card lf-wrong")


def test_no_mistakes(open_page: Open) -> None:
    snapshot = sample_snapshot()
    right = tuple(replace(batch, predicted=batch.truths) for batch in snapshot.predictions)
    page = open_page(snapshot._replace(predictions=right, run=replace(snapshot.run, run_id="r-allright01")))
    page.toggle(key="predictions_mistakes").set_value(True).run()
    assert "None of the samples is mistaken" in texts(page)


def test_shares_of_each_row(open_page: Open) -> None:
    page = open_page(sample_snapshot())
    page.toggle(key="predictions_shares").set_value(True).run()
    assert not page.exception


@pytest.mark.parametrize(
    ("changes", "facts", "said"),
    [
        ({"state": "preparing"}, {}, "They come in with the first validation"),
        ({"predictions": ()}, {}, "This run recorded no samples"),
        ({"predictions": (), "rounds": 1, "state": "failed"}, {}, "The run ended before its first validation"),
        ({"predictions": ()}, {"classes": 0, "x_shape": [13]}, "predicts numbers"),
    ],
    ids=["not yet", "an older run", "failed before", "regression"],
)
def test_why_there_are_none(open_page: Open, changes: dict[str, Any], facts: dict[str, Any], said: str) -> None:
    snapshot = sample_snapshot(**changes)
    if facts:
        run = replace(snapshot.run, data_facts=snapshot.run.data_facts | facts)
        snapshot = snapshot._replace(run=run)
    elif changes.get("state") == "failed":
        snapshot = snapshot._replace(rounds=())
    page = open_page(snapshot)
    assert said in texts(page)
    assert not html(page)


def test_samples_without_pictures(open_page: Open) -> None:
    snapshot = sample_snapshot()
    bare = tuple(replace(batch, images=()) for batch in snapshot.predictions)
    run = replace(snapshot.run, run_id="r-nopicture0", data_facts=snapshot.run.data_facts | {"x_shape": [64]})
    page = open_page(snapshot._replace(predictions=bare, run=run))
    assert "data:" not in html(page)
    assert "<figure" in html(page)
    assert not page.file_uploader


def test_a_picture_of_ones_own(open_page: Open, model: Model) -> None:
    page = upload(open_page(sample_snapshot()), "my shoe.png")
    assert "80.0 %" in html(page)
    assert "With the parameters after round 6" in texts(page)
    assert "lambdafit predict r-sample0001 'my shoe.png'" in texts(page)
    assert model.data == [PICTURE]
    assert model.modes == [0o600]
    assert model.paths[0].suffix == ".png"
    assert not model.paths[0].exists()
    page.toggle(key="predictions_mistakes").set_value(True).run()
    assert len(model.paths) == 1


def test_newer_parameters_are_asked_when_somebody_wants_to_know(open_page: Open, model: Model, shown: ShownRun) -> None:
    model.round_index = 4
    page = upload(open_page(sample_snapshot(state="running")))
    assert len(model.paths) == 1
    shown.snapshot = sample_snapshot(rounds=9, state="running")
    page.run()
    assert len(model.paths) == 1
    model.round_index = 7
    page.button(key="predictions_again").click().run()
    assert len(model.paths) == 2
    assert "after round 7" in texts(page)


def test_a_file_that_is_no_picture(open_page: Open, model: Model) -> None:
    model.error = str(InvalidImage("PATH", "it cannot be read as a picture").record())
    page = upload(open_page(sample_snapshot()), "cv.png", b"\x89PNG, broken")
    assert "E107" in texts(page)
    assert "cv.png: it cannot be read as a picture" in texts(page)
    assert str(model.paths[0].parent) not in texts(page)
    assert not model.paths[0].exists()
    model.error = ""
    page.button(key="predictions_again").click().run()
    assert "80.0 %" in html(page)


def test_a_huge_file_is_not_written(open_page: Open, model: Model) -> None:
    page = upload(open_page(sample_snapshot()), "huge.png", b"\x89PNG" + bytes(5_100_000))
    assert "E107" in texts(page)
    assert "5.1 MB" in texts(page)
    assert model.paths == []


def test_the_file_is_removed_whatever_happens(open_page: Open, monkeypatch: pytest.MonkeyPatch) -> None:
    paths: list[Path] = []

    def broken(_commands: Commands, _run_id: str, path: Path) -> Outcome:
        paths.append(path)
        raise OSError("no more processes")

    monkeypatch.setattr(Commands, "predict", broken)
    page = open_page(sample_snapshot())
    page.file_uploader(key="predictions_picture").set_value(("a.png", PICTURE, "image/png")).run()
    assert not page.exception
    assert "no more processes. Try again." in texts(page)
    assert not paths[0].exists()


def test_a_model_that_has_no_parameters_yet_is_not_asked(open_page: Open) -> None:
    page = open_page(sample_snapshot(state="preparing"))
    assert page.file_uploader(key="predictions_picture").disabled
    assert "no parameters yet" in texts(page)


@pytest.mark.parametrize(
    ("options", "refused"),
    [
        (Options(engine="aws", read_only=True), True),
        (Options(engine="aws"), False),
        (Options(read_only=True), False),
    ],
    ids=["a function on AWS", "a stack", "a home"],
)
def test_a_prediction_on_aws_costs_something(options: Options, refused: bool) -> None:
    page: Any = SimpleNamespace(options=options)
    assert why_not(page, sample_snapshot()).startswith("Switched off: a prediction calls a function on AWS") == refused
