"""The picture of all lanes: which phase fills a cell, its size, and what is drawn of it."""

from __future__ import annotations

import numpy as np
import pytest
from dashboard_samples import sample_snapshot
from worker_samples import attempt, snapshot_of, spans, task, timeline_of, train_key, two_rounds

from dashboard.chart.message import Place, pack
from dashboard.figures.theme import DARK, LIGHT, Theme
from dashboard.figures.worker_lanes import color_of, height_px
from dashboard.figures.worker_raster import raster_figure
from dashboard.figures.worker_timeline import timeline_figure
from dashboard.views import phases
from dashboard.views.mean_phases import by_worker
from dashboard.views.raster import cells_for, make_raster
from dashboard.views.timeline_window import Window, detail, whole

PLACE = Place("key", "alt", "linear", 400, ("app/static/plotly.min.js",))


def names(codes: np.ndarray) -> list[str]:  # type: ignore[type-arg]
    return [phases.NAMES[code] for code in codes]


def test_each_cell_shows_what_fills_most_of_it() -> None:
    raster = make_raster(timeline_of(two_rounds()), cells=20)  # one a second

    assert raster.cell_s == 1
    assert names(raster.codes[0][:11]) == ["idle", "load", *["compute"] * 4, *["wait"] * 3, "idle", "idle"]
    assert names(raster.codes[1][7:10]) == ["compute", "wait", "idle"]
    assert names(raster.codes[2][8:11]) == ["idle", "combine", "idle"]


def test_parts_of_a_cell_are_weighed() -> None:
    batch = spans(train_key(0), ("load", 0, 0.4), ("compute", 0.4, 0.75), ("write", 1.1, 1.55), ("load", 2, 4))
    line = timeline_of(snapshot_of([task(train_key(0), attempt("done", 0, 4))], [batch], ended_s=4))

    assert names(make_raster(line, cells=4).codes[0]) == ["load", "idle", "load", "load"]
    fine = make_raster(line, cells=80).codes[0]  # 50 ms each
    assert names(fine[:16:5]) == ["load", "load", "compute", "idle"]


def test_many_short_spans_of_one_phase_add_up() -> None:
    short = [("compute", at / 10, at / 10 + 0.06) for at in range(10)]
    line = timeline_of(
        snapshot_of([task(train_key(0), attempt("done", 0, 1))], [spans(train_key(0), *short)], ended_s=1)
    )

    assert names(make_raster(line, cells=1).codes[0]) == ["compute"]


@pytest.mark.parametrize(("lanes", "cells"), [(4, 1_000), (68, 852), (70, 828), (1_030, 100)])
def test_the_more_lanes_the_fewer_cells(lanes: int, cells: int) -> None:
    assert cells_for(lanes) == cells


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_the_picture_of_64_workers_is_small_and_says_what_it_shows(theme: Theme) -> None:
    line = timeline_of(sample_snapshot(workers=64, rounds=6))
    figure = raster_figure(line, make_raster(line), by_worker(line), Window(1, 2, "x"), 3, theme)

    assert len(pack(figure.data, figure.layout, PLACE)) <= 65_536
    assert figure.data[0]["z"].dtype == np.uint8
    assert {trace["name"] for trace in figure.data[1:]} >= {"compute", "wait for others"}
    assert "64 workers" in figure.alt
    assert "compute" in figure.alt
    assert figure.all_points == len(line.bars.lane)
    assert len(figure.layout["shapes"]) == 2
    table = figure.table()
    assert {len(column) for column in table.values()} == {figure.all_points}


def test_the_detail_has_a_trace_a_phase_and_hatches_what_went_wrong() -> None:
    line = timeline_of(sample_snapshot(troubles=True))
    figure = timeline_figure(line, detail(line, whole(line)), 1, LIGHT)

    hatched = figure.data[-1]
    assert set(hatched["text"]) == {"handed over", "lost", "refused"}
    assert len(hatched["marker"]["pattern"]["shape"]) == 3
    assert "1 lost" in figure.alt
    drawn = sum(len(trace["x"]) for trace in figure.data[:-1])
    assert figure.shown_points == figure.all_points == drawn
    pack(figure.data, figure.layout, PLACE)


def test_bars_end_where_the_window_does() -> None:
    line = timeline_of(two_rounds())
    figure = timeline_figure(line, detail(line, Window(3, 5, "x")), None, LIGHT)

    assert [trace["name"] for trace in figure.data] == ["compute"]
    assert figure.data[0]["base"].tolist() == [3, 3]
    assert figure.data[0]["x"].tolist() == [2, 2]
    assert figure.data[0]["customdata"][:, 2].tolist() == [4, 6]  # the hover tells the whole length


def test_cuts_are_marked() -> None:
    tasks = [task(train_key(0), attempt("done", 1, 10)), task(train_key(1), attempt("done", 7200, 7210))]
    line = timeline_of(snapshot_of(tasks, ended_s=7212))
    figure = raster_figure(line, make_raster(line), by_worker(line), None, None, LIGHT)

    assert [note["text"] for note in figure.layout["annotations"]] == ["1 h 59 min left out"]
    assert "left out" in figure.alt


def test_every_phase_has_a_colour() -> None:
    for theme in (LIGHT, DARK):
        colors = [color_of(code, theme) for code in range(len(phases.NAMES))]
        assert all(colors)
        assert len({color_of(code, theme) for code in (phases.COMPUTE, phases.WAIT, phases.UNREPORTED_CODE)}) == 3
    assert height_px(1) < height_px(20) <= height_px(1_000)
