"""The bill of a run: a small one worked out by hand, and what holds of every one."""

from __future__ import annotations

from typing import Any

import pytest
from msgspec.structs import replace

from contracts.records import (
    AttemptRecord,
    Claim,
    FileRef,
    Report,
    RoundPlan,
    RoundRecord,
    Run,
    Span,
    SpanBatch,
    StepBatch,
    Task,
    TaskKey,
    TaskKind,
    Transfer,
)
from contracts.settings import RunSettings
from runs.bill import Bill, make_bill
from runs.cost import attempt_cost_usd
from runs.ec2 import machine_costs
from runs.price_list import price_list
from runs.summary import RunHistory
from runs.table_units import round_units
from runs.usage import LineItem
from simulation.world import World, fault_free
from simulation.world import settings as world_settings

GB = 10**9
VECTOR = FileRef(path="p", bytes=GB, count=GB // 4, parts=("0",))
SETTINGS = RunSettings(
    recipe="r",
    recipe_digest="0",
    dataset="d",
    workers=2,
    batch_size=8,
    rounds=1,
    memory_mb=2048,
    concurrency=2,
    threads=2,
)


def attempt(task: TaskKind, seconds: float, read: int, written: int, index: int = 0) -> Task:
    """A done task whose one attempt began at 100 s."""
    moved = Transfer(read_bytes=read, written_bytes=written)
    record = AttemptRecord(
        attempt=1,
        nonce="aa",
        outcome="done",
        started_at=100.0,
        ended_at=100.0 + seconds,
        cost_usd=attempt_cost_usd(task, seconds, SETTINGS, moved),
        transfer=moved,
    )
    key = TaskKey(round_index=1, kind=task, index=index)
    report = Report(outcome="done", nonce="aa", examples=8)
    return Task(key=key, version=3, status="DONE", attempt=1, report=report, history=(record,))


TASKS = (
    attempt("train", 60.0, read=GB, written=GB),
    attempt("train", 40.0, read=GB, written=GB, index=1),
    attempt("combine", 10.0, read=3 * GB, written=2 * GB),
)


def history(*more: Task, **changes: Any) -> RunHistory:
    """One round of two workers, finished."""
    values: dict[str, Any] = {
        "run_id": "r-0001",
        "version": 8,
        "settings": SETTINGS,
        "code_version": "1",
        "created_at": 90.0,
        "deadline_at": 1e6,
        "started_at": 90.0,
        "ended_at": 180.0,
        "status": "FINISHED",
        "round_index": 1,
        "spent_usd": sum(task.cost_usd for task in TASKS),
        "plan": RoundPlan(examples=16, examples_per_round=16, rounds_per_epoch=1, epochs_per_round=1, total_rounds=1),
        "parameters": (VECTOR,),
        "slice_bounds": (0, GB // 4),
    }
    spans = tuple(
        SpanBatch(
            key=task.key,
            attempt=1,
            request_id="r",
            spans=(
                Span(name="init", start_s=90.0, end_s=95.0),
                Span(name="compute", start_s=110.0, end_s=110.0 + seconds),
                Span(name="write", start_s=150.0, end_s=155.0),
            ),
        )
        for task, seconds in zip(TASKS, (30.0, 20.0, 0.0), strict=True)
    )
    steps = [
        StepBatch(
            worker_index=0, round_index=1, attempt=1, first_step=0, ended_at=140.0, losses=(0.1,), examples=(8,),
            durations_ms=(30_000.0,),
        )
    ]  # fmt: skip
    record = RoundRecord(
        round_index=1, generation=1, committed_at=175.0, examples=16, epochs=1.0, metrics={}, inputs={},
        parameters=(VECTOR,), cost_usd=0.0,
    )  # fmt: skip
    return RunHistory(Run(**values | changes), [*TASKS, *more], [record], spans, steps)


def line(bill: Bill, group: str, name: str) -> LineItem:
    (found,) = [one for one in bill.lines if (one.group, one.name) == (group, name)]
    return found


def test_a_small_run_worked_out_by_hand() -> None:
    bill = make_bill(history(), now=1_000.0)
    # 60 s + 40 s at 2 GB; 10 s at 1,769 MB.
    assert line(bill, "Lambda", "Train").amount == 200
    assert line(bill, "Lambda", "Train").usd == pytest.approx(200 * 0.0000166667)
    assert line(bill, "Lambda", "Combine").amount == pytest.approx(17.27539)
    assert line(bill, "Lambda", "requests: workers").usd == pytest.approx(3 * 0.0000002)
    # Two workers read and write 1 GB each; combine reads both updates and the parameters, writes them and its state.
    assert line(bill, "EFS", "read").usd == pytest.approx(5 * 0.03)
    assert line(bill, "EFS", "written").usd == pytest.approx(4 * 0.06)
    by_hand = 200 * 0.0000166667 + 17.27539 * 0.0000166667 + 3 * 0.0000002 + 0.15 + 0.24
    assert bill.budget_usd == pytest.approx(by_hand)
    assert bill.spent_usd == pytest.approx(by_hand)
    # INIT took 5 s of each environment before its claim: two at 2 GB, one at 1,769 MB.
    assert line(bill, "Lambda", "Train: cold starts").amount == 20
    # Two new environments of Train: 21 ranges of 8 MiB each for the libraries, and where they are.
    assert line(bill, "S3", "objects and ranges read").amount == 2 * 22
    # 50 s of compute with two threads.
    assert bill.core_s == 100
    assert bill.total_usd == pytest.approx(sum(one.usd for one in bill.lines))
    assert bill.budget_usd < bill.total_usd < 1.02 * bill.budget_usd


def test_each_line_is_its_amount_times_its_price() -> None:
    for one in make_bill(history(), now=1_000.0).lines:
        assert one.usd == pytest.approx(one.amount * one.price_usd)
        assert one.amount >= 0


def test_what_a_run_says_it_spent_is_just_what_its_bill_marks() -> None:
    world = fault_free(world_settings())
    bill = make_bill(history_of(world), now=world.now_s)
    assert bill.spent_usd > 0
    assert bill.budget_usd == pytest.approx(bill.spent_usd, rel=1e-9)


def test_a_running_run_has_a_bill_that_grows() -> None:
    claim = Claim(nonce="cc", request_id="q", attempt=1, claimed_at=170.0, expires_at=2_000.0)
    working = Task(
        key=TaskKey(round_index=1, kind="train", index=2), version=2, status="CLAIMED", claim=claim, attempt=1
    )
    running = history(working, status="RUNNING", ended_at=0.0, spent_usd=0.0)
    early, late, very_late = (make_bill(running, now=now) for now in (180.0, 190.0, 10_000.0))
    assert early.in_flight_usd == pytest.approx(10 * 2 * 0.0000166667, rel=0.01)
    assert late.in_flight_usd > early.in_flight_usd
    assert very_late.in_flight_usd == pytest.approx(900 * 2 * 0.0000166667, rel=0.01), "no function outlasts its limit"
    assert early.budget_usd == pytest.approx(early.spent_usd), "what is in flight is held back, not spent"


def test_arm_is_cheaper_and_transfer_is_not() -> None:
    x86, arm = (make_bill(history(), now=1_000.0, architecture=kind) for kind in ("x86_64", "arm64"))  # type: ignore[arg-type]
    assert line(arm, "Lambda", "Train").usd == pytest.approx(0.8 * line(x86, "Lambda", "Train").usd, rel=1e-4)
    assert line(arm, "EFS", "read") == line(x86, "EFS", "read")


def test_an_unknown_region_is_named() -> None:
    bill = make_bill(history(), now=1_000.0, region="mars-1")
    assert bill.region == "us-east-1"
    assert "mars-1" in bill.prices


def test_what_stays_is_billed_by_the_month() -> None:
    model, data, records = make_bill(history(), now=1_000.0).kept
    assert model.usd_per_month == pytest.approx(3 * (0.30 + 0.05))
    assert data.gb == 0
    assert 0 < records.usd_per_month < 0.001


def test_machines_are_billed_from_boot_and_a_minute_at_least() -> None:
    small = {machine.name: machine for machine in machine_costs(0.0, price_list())}
    assert small["c7i.xlarge"].seconds == 90.0
    assert small["p4d.24xlarge"].seconds == 300.0
    large = {machine.name: machine for machine in machine_costs(4 * 0.7 * 3600, price_list())}
    assert large["c7i.xlarge"].seconds == pytest.approx(3690.0)
    assert large["c7i.xlarge"].on_demand_usd == pytest.approx(0.1785 * 3690 / 3600, rel=0.02)
    assert large["c7i.xlarge"].spot_usd < large["c7i.xlarge"].reserved_usd < large["c7i.xlarge"].on_demand_usd
    assert large["c7i.xlarge"].on_demand_usd_per_month == pytest.approx(730 * 0.1785 + 30 * 0.08)
    assert large["p4d.24xlarge"].approximate == ("spot",)


def test_a_burstable_machine_pays_for_what_its_credits_do_not_cover() -> None:
    (hour, *_) = machine_costs(4 * 0.7 * 3600, price_list())
    (day, *_) = machine_costs(4 * 0.7 * 86_400, price_list())
    borrowed_vcpu_hours = 4 * 24 * (1 - 0.225) - 2
    plain_usd = day.seconds / 3600 * (0.1856 + 30 * 0.08 / 730)
    assert day.on_demand_usd - plain_usd == pytest.approx(borrowed_vcpu_hours * 0.05)
    assert hour.on_demand_usd < day.on_demand_usd / 23


def test_the_assumptions_are_said() -> None:
    texts = " ".join(make_bill(history(), now=1_000.0).assumptions)
    for word in ("no GPU's speed was measured", "70%", "free tiers", "Conduct"):
        assert word in texts


def test_the_tables_units_are_those_that_the_store_asks_for() -> None:
    """Four workers and one slice: 56 write and 28 read units of control items a round (docs/adr/0006-one-table.md)."""
    train = [replace(TASKS[0], key=TaskKey(round_index=2, kind="train", index=index)) for index in range(4)]
    padded = [replace(task, report=Report(outcome="done", nonce="a" * 16, fingerprint="f" * 700)) for task in train]
    combine = replace(padded[0], key=TaskKey(round_index=2, kind="combine", generation=1))
    found = history()
    units = round_units(found.run, 2_300, [*padded, combine], found.rounds[0])
    assert units.writes == pytest.approx(56, rel=0.1)
    assert units.reads == pytest.approx(28, rel=0.15)


def history_of(world: World) -> RunHistory:
    """All that a simulated world recorded."""
    store = world.store
    run = store.runs["r-simulated"]
    tasks = [task for _, task in sorted(store.tasks.items(), key=lambda pair: pair[0][1])]
    return RunHistory(run, tasks, store.load_rounds(run.run_id), (), ())
