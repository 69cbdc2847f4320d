"""Little curves of many runs: each round is read once, and no telemetry."""

from __future__ import annotations

from typing import Any

from dashboard_samples import SHAPE, make_sample, sample_source

from dashboard.queries.collector import Collector
from dashboard.queries.round_curves import KEPT_RUNS, RoundCurve, RoundCurves
from fakes.memory_store import MemoryStore


class CountingStore(MemoryStore):
    """Notes which rounds are asked for."""

    asked: list[int]

    def load_rounds(self, run_id: str, after: int = 0) -> Any:
        self.asked = [*getattr(self, "asked", []), after]
        return super().load_rounds(run_id, after)


def test_a_run_that_goes_on_is_read_from_where_the_last_look_ended() -> None:
    store = CountingStore()
    made = make_sample(store, SHAPE, "running")
    collector = Collector(sample_source(store, telemetry=None))
    first = collector.curves([made.run])[made.run.run_id]
    assert len(first.losses) == len(first.committed_at) == 4
    assert collector.curves([made.run])[made.run.run_id] == first
    assert store.asked == [0]
    made.do_round()
    second = collector.curves([made.run])[made.run.run_id]
    assert second.losses[:4] == first.losses
    assert len(second.losses) == 5
    assert store.asked == [0, 4]


def test_a_run_without_rounds_has_an_empty_curve() -> None:
    store = CountingStore()
    made = make_sample(store, SHAPE, "preparing")
    assert RoundCurves().read(store, made.run) == RoundCurve()
    assert not getattr(store, "asked", [])


def test_only_so_many_are_kept() -> None:
    store = MemoryStore()
    curves = RoundCurves()
    for index in range(KEPT_RUNS + 10):
        made = make_sample(store, SHAPE._replace(run_id=f"r-{index:06d}", rounds=1), "finished")
        curves.read(store, made.run)
    assert len(curves._curves) == KEPT_RUNS
