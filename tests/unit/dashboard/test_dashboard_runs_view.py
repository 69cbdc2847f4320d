"""The list of runs: how each stands, which become cards, which a search finds."""

from __future__ import annotations

from dashboard_samples import SHAPE, State, make_sample

from dashboard.queries.collector import RunsSnapshot
from dashboard.queries.round_curves import RoundCurve
from dashboard.views import runs as view
from fakes.memory_store import MemoryStore

NOW = 2_000_000_000.0


def listed(*states: State, conducted: tuple[int, ...] = ()) -> RunsSnapshot:
    """Runs of these states, newest first; `conducted` are the places in that list of those being worked at."""
    store = MemoryStore()
    runs = tuple(
        make_sample(store, SHAPE._replace(run_id=f"r-{index:06d}"), state).run for index, state in enumerate(states)
    )
    return RunsSnapshot(runs, 1, NOW, frozenset(runs[index].run_id for index in conducted))


def rows_of(*states: State, conducted: tuple[int, ...] = ()) -> list[view.RunRow]:
    return view.run_rows(listed(*states, conducted=conducted), NOW)


def test_how_each_run_stands() -> None:
    rows = rows_of("running", "running", "pending", "finished", "failed", "cancelled", conducted=(0,))
    assert [row.status for row in rows] == ["running", "interrupted", "not started", "finished", "failed", "stopped"]
    assert [row.can_resume for row in rows] == [False, True, True, False, True, True]
    assert [row.can_remove for row in rows] == [False, True, True, True, True, True]
    assert rows[0].round_text == "4 of 6"
    assert rows[0].share == 4 / 6
    assert rows[3].share == 1
    assert rows[2].round_text == "–"
    assert rows[2].share is None
    assert "E402" in rows[4].about


def test_elapsed_time_is_that_of_work() -> None:
    running, interrupted, pending, finished = rows_of("running", "running", "pending", "finished", conducted=(0,))
    assert running.elapsed_s is not None and running.elapsed_s > 1e6  # it began long before NOW
    assert interrupted.elapsed_s is None
    assert interrupted.elapsed_text == "–"
    assert pending.elapsed_s is None
    assert finished.elapsed_s is not None and 0 < finished.elapsed_s < 1e5
    assert view.attended_s(finished, RoundCurve((1.0, 0.5), (0.0, 10.0))) == finished.elapsed_s
    assert view.attended_s(finished, RoundCurve((1.0, 0.5), (0.0, 1000.0))) is None


def test_cards_are_the_open_ones_and_the_newest() -> None:
    rows = rows_of(*(["finished"] * 30), "running", "finished", conducted=(30,))
    assert [row.run_id for row in view.cards(rows)] == [*(f"r-{index:06d}" for index in range(4)), "r-000030"]
    many = ["running"] * 40
    assert len(view.cards(rows_of(*many, conducted=tuple(range(40))))) == view.MAX_CARDS
    assert len(view.cards(rows_of(*many))) == view.OPEN_CARDS  # the newest four are open, too
    assert len(view.cards(rows_of("finished", "failed"))) == 2
    assert view.cards([]) == []


def test_a_search_wants_every_word_and_one_of_the_statuses() -> None:
    rows = rows_of("finished", "failed", "running")
    assert view.filtered(rows, "", ()) == rows
    assert [row.status for row in view.filtered(rows, "", {"failed", "finished"})] == ["finished", "failed"]
    assert [row.status for row in view.filtered(rows, "E402 R-0", ())] == ["failed"]
    assert view.filtered(rows, "E402 nothing", ()) == []
    assert view.statuses_of(rows) == {"interrupted": 1, "finished": 1, "failed": 1}


def test_a_spark_is_short_and_ends_with_the_newest() -> None:
    losses = tuple(float(index) for index in range(10_000))
    spark = view.spark(RoundCurve(losses, losses))
    assert len(spark) <= view.SPARK_POINTS + 1
    assert (spark[0], spark[-1]) == (0.0, 9_999.0)
    assert view.spark(RoundCurve()) == []
    assert view.spark(RoundCurve((2.0,), (1.0,))) == [2.0]
    assert view.spark(RoundCurve((2.0, 1.0), (1.0, 2.0))) == [2.0, 1.0]


def test_the_table_has_columns_of_one_length() -> None:
    rows = rows_of("finished", "pending")
    columns = view.table(rows, {"r-000000": RoundCurve((2.0, 1.0), (1.0, 2.0))})
    assert {len(values) for values in columns.values()} == {2}
    assert columns["curve"] == [[2.0, 1.0], []]
    assert columns["accuracy"][1] is None


def test_times_in_words() -> None:
    said = [view.when(NOW - ago_s, NOW) for ago_s in (-5, 30, 150, 7200, 86_400, 3e6)]
    assert said == ["just now", "just now", "2 min ago", "2 h ago", "1 day ago", "35 days ago"]
