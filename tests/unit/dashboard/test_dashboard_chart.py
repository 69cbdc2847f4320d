"""Charts on their way to the browser: the message, the caption, the table, the data."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from streamlit.testing.v1 import AppTest

from dashboard.chart.message import ARRAY_KEY, Place, pack, small_array
from dashboard.parts.chart import csv_of, points_caption, rows_of

PLACE = Place(key="loss", alt="Loss falls.", x_kind="linear", height_px=300, sources=("app/static/plotly.min.js",))


def unpacked(message: bytes) -> dict[str, Any]:
    """The header with its arrays, as the browser sees it."""
    size = int.from_bytes(message[:4], "little")
    blobs = message[4 + size :]

    def revive(value: dict[str, Any]) -> Any:
        if ARRAY_KEY not in value:
            return value
        kind, offset, *shape = value[ARRAY_KEY]
        return np.frombuffer(blobs, kind, int(np.prod(shape)), offset).reshape(shape)

    header: dict[str, Any] = json.loads(message[4 : 4 + size], object_hook=revive)
    return header


def digest(data: list[dict[str, Any]], **place: Any) -> str:
    return str(unpacked(pack(data, {}, PLACE._replace(**place)))["digest"])


def test_a_message_holds_arrays_of_all_kinds() -> None:
    grid = np.arange(6, dtype=np.uint8).reshape(2, 3)
    data = [{"x": np.arange(1_000), "y": np.array([0.5, np.nan]), "z": grid.T, "marker": {"size": np.float32(2.5)}}]
    header = unpacked(pack(data, {"xaxis": {"range": (0, float("inf"))}}, PLACE))
    trace = header["figure"]["data"][0]
    assert trace["x"].dtype == np.uint16 and trace["x"].tolist() == list(range(1_000))
    assert trace["y"].dtype == np.float32 and np.isnan(trace["y"][1])
    assert trace["z"].tolist() == grid.T.tolist()
    assert trace["marker"]["size"] == 2.5
    assert header["figure"]["layout"]["xaxis"]["range"] == [0, None]
    assert (header["key"], header["alt"], header["x_range"]) == ("loss", "Loss falls.", None)


def test_words_and_mixed_values_go_as_a_list() -> None:
    data = [{"x": np.array(["a", "b"]), "text": np.array([1, None, "c"], dtype=object), "y": [1.0, float("nan")]}]
    trace = unpacked(pack(data, {}, PLACE))["figure"]["data"][0]
    assert trace == {"x": ["a", "b"], "text": [1, None, "c"], "y": [1.0, None]}


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        (np.array([0, 255]), "u1"),
        (np.array([-1, 127]), "i1"),
        (np.array([0, 65_535]), "u2"),
        (np.array([-1, 40_000]), "i4"),
        (np.array([0, 2**32 - 1]), "u4"),
        (np.array([0, 2**40]), "f8"),
        (np.array([], dtype=np.int64), "u1"),
        (np.array([True, False]), "u1"),
        (np.array([0.1, 0.2]), "f4"),
        (np.array([0.1, 1e300]), "f8"),
        (np.array([1.7e9, 1.7e9 + 60]), "f8"),
        (np.array([np.nan, np.inf]), "f4"),
        (np.array([0.5], dtype=np.float16), "f4"),
        (np.array(["2026-01-01", "2026-01-02"], dtype="datetime64[D]"), "f8"),
    ],
)
def test_arrays_travel_in_the_smallest_safe_type(values: np.ndarray[Any, Any], kind: str) -> None:
    assert small_array(values).dtype == np.dtype(kind)


def test_times_are_milliseconds() -> None:
    assert small_array(np.array(["1970-01-02"], dtype="datetime64[D]")).tolist() == [86_400_000.0]


def test_a_digest_changes_with_what_is_drawn_and_only_then() -> None:
    data = [{"y": np.arange(3)}]
    assert digest(data) == digest([{"y": np.arange(3)}], alt="other words", x_range=(0.0, 1.0))
    assert digest(data) != digest([{"y": np.array([0, 1, 3])}])
    assert digest(data) != digest([{"x": np.arange(3)}])
    assert digest(data) != digest(data, height_px=200)


def test_a_message_is_small() -> None:
    data = [{"x": np.arange(1_000), "y": np.random.default_rng(1).random(1_000)} for _ in range(8)]
    assert len(pack(data, {}, PLACE)) < 8 * 6_000 + 2_000


@pytest.mark.parametrize(
    ("shown", "of_all", "words"),
    [
        (1_000, 640_000, "1,000 of 640,000 points"),
        (320, 320, "all 320 points"),
        (1, 1, "1 point"),
        (0, 0, "no points yet"),
    ],
)
def test_the_caption_hides_nothing(shown: int, of_all: int, words: str) -> None:
    assert points_caption(shown, of_all) == words


def test_data_as_csv() -> None:
    table = {"step": np.arange(2), "loss": np.array([0.1, np.nan], dtype=np.float32), "note": ["a, b", None]}
    assert rows_of(table) == 2
    assert csv_of(table).decode() == 'step,loss,note\n0,0.1,"a, b"\n1,,\n'
    assert csv_of({}) == b"\n"


def page_of_charts() -> None:
    import numpy as np
    import streamlit as st

    from dashboard.figures.figure import Figure
    from dashboard.parts.chart import chart

    steps = np.arange(20_000)
    figure = Figure([{"y": steps[:50]}], {}, "Steps.", 50, len(steps), lambda: {"step": steps, "half": steps / 2})
    st.text(f"range {chart(figure, key='steps', live_range=True)}")


def test_a_page_with_a_chart() -> None:
    page = AppTest.from_function(page_of_charts, default_timeout=60).run()
    assert not page.exception
    assert [caption.value for caption in page.caption] == ["50 of 20,000 points"]
    assert page.text[0].value == "range None"
    assert not page.dataframe
    page.toggle("steps_table").set_value(True).run()
    assert not page.exception
    assert page.dataframe[0].value.shape == (10_000, 2)
    assert page.caption[-1].value.startswith("The first 10,000 of 20,000 rows.")
