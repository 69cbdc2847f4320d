"""What a run does next, case by case. The simulation tries the combinations."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from contracts.errors import NotFinite, TornFile
from contracts.records import AttemptRecord, Claim, FileRef, Report, RoundPlan, Run, Task, TaskKey
from contracts.settings import RunSettings
from runs import budget
from runs.cost import reservation_usd
from runs.decide import RunState, SaveRun, SaveTask, decide, next_wake_s

NOW = 1_000.0
FILE = FileRef(path="x", bytes=1, count=1, parts=("0",))


def settings(**changes: object) -> RunSettings:
    values = {"recipe": "a", "recipe_digest": "b", "dataset": "c", "workers": 4, "batch_size": 4, "epochs": 3}
    return RunSettings(**(values | {"concurrency": 4, "time_limit_s": 60.0} | changes))  # type: ignore[arg-type]


def run(**changes: object) -> Run:
    """A run that trains its second round."""
    values: dict[str, object] = {
        "run_id": "r-0001",
        "settings": settings(),
        "code_version": "1",
        "created_at": 900.0,
        "deadline_at": 5_000.0,
        "status": "RUNNING",
        "phase": "TRAINING",
        "round_index": 2,
        "plan": RoundPlan(examples=100, examples_per_round=50, rounds_per_epoch=2, epochs_per_round=1, total_rounds=6),
        "slice_bounds": (0, 5, 10),
        "parameter_count": 10,
        "trainable_count": 10,
        "parameters": (FILE, FILE),
        "cleared_through": 1,
    }
    return Run(**(values | changes))  # type: ignore[arg-type]


def train_key(index: int) -> TaskKey:
    return TaskKey(round_index=2, kind="train", index=index)


def combine_key(index: int, generation: int = 1) -> TaskKey:
    return TaskKey(round_index=2, kind="combine", index=index, generation=generation)


def done(key: TaskKey, nonce: str = "aa", attempt: int = 1, **fields: object) -> Task:
    outputs = {"update": FILE, "parameters": FILE}
    values: dict[str, object] = {"outputs": outputs, "metrics": {"loss": 0.5}, "examples": 25}
    report = Report(outcome="done", nonce=nonce, **(values | fields))  # type: ignore[arg-type]
    record = AttemptRecord(
        attempt=attempt, nonce=nonce, outcome="done", started_at=NOW, ended_at=NOW + 2, cost_usd=0.001
    )
    return Task(key=key, version=3, status="DONE", attempt=attempt, report=report, history=(record,))


def claim(key: TaskKey, at: float = NOW) -> Task:
    held = Claim(nonce="cc", request_id="r", attempt=1, claimed_at=at, expires_at=at + 90)
    return Task(key=key, version=2, status="CLAIMED", attempt=1, offers=1, claim=held)


def offer(key: TaskKey, expires_at: float = NOW + 20) -> Task:
    return Task(key=key, version=1, status="OFFERED", attempt=1, offers=1, offer_expires_at=expires_at)


def state(of: Run, *tasks: Task) -> RunState:
    return RunState(of, {task.key: task for task in tasks})


def with_grants(of: Run, *names: tuple[TaskKey, int]) -> Run:
    return replace(of, granted=tuple(budget.token(key, attempt) for key, attempt in names))


def saved_run(actions: list[SaveRun | SaveTask]) -> Run:
    assert len(actions) == 1 and isinstance(actions[0], SaveRun), actions
    return actions[0].run


def offers(actions: list[SaveRun | SaveTask]) -> list[tuple[TaskKey, int]]:
    assert all(isinstance(action, SaveTask) for action in actions), actions
    return [(a.message.key, a.message.attempt) for a in actions if isinstance(a, SaveTask) and a.message]


def test_a_pending_run_begins_with_its_money_held_back() -> None:
    begun = saved_run(decide(state(run(status="PENDING", phase="PREPARING", round_index=0)), NOW))
    assert (begun.status, begun.started_at, begun.version) == ("RUNNING", NOW, 2)
    assert begun.granted == ("000000#prepare#0000@1",)


@pytest.mark.parametrize("status", ["FINISHED", "FAILED", "CANCELLED"])
def test_an_ended_run_does_nothing(status: str) -> None:
    assert decide(state(run(status=status), offer(train_key(0), expires_at=0)), NOW) == []


def test_only_granted_attempts_are_offered() -> None:
    training = run()
    paid = saved_run(decide(state(training), NOW))
    assert len(paid.granted) == 4
    assert offers(decide(state(paid), NOW)) == [(train_key(i), 1) for i in range(4)]


def test_as_many_are_in_flight_as_can_run_and_one_each_waits() -> None:
    training = with_grants(run(settings=settings(concurrency=1)), *((train_key(i), 1) for i in range(4)))
    assert offers(decide(state(training), NOW)) == [(train_key(0), 1), (train_key(1), 1)]
    assert decide(state(training, claim(train_key(0)), offer(train_key(1))), NOW) == []
    assert offers(decide(state(training, done(train_key(0)), claim(train_key(1))), NOW)) == [(train_key(2), 1)]


def test_what_is_in_flight_and_in_time_is_waited_for() -> None:
    assert decide(state(run(), *(claim(train_key(i)) for i in range(4))), NOW + 5) == []


def test_an_unclaimed_offer_is_sent_again_under_the_same_attempt() -> None:
    tasks = [offer(train_key(0)), *(claim(train_key(i)) for i in (1, 2, 3))]
    assert offers(decide(state(run(), *tasks), NOW + 20)) == [(train_key(0), 1)]


def test_a_claim_that_outlived_its_time_limit_ends() -> None:
    actions = decide(state(run(), *(claim(train_key(i)) for i in range(4))), NOW + 90)
    assert all(isinstance(a, SaveTask) and a.task.status == "WAITING" and a.task.failures == 1 for a in actions)
    assert len(actions) == 4


def test_combining_freezes_whose_reports_count() -> None:
    tasks = [done(train_key(i), nonce=f"n{i}") for i in range(4)]
    combining = saved_run(decide(state(run(), *tasks), NOW))
    assert combining.phase == "COMBINING"
    assert combining.inputs == {0: "n0", 1: "n1", 2: "n2", 3: "n3"}
    assert combining.granted == (f"{combine_key(0)}@1", f"{combine_key(1)}@1")


def test_a_torn_update_opens_the_next_generation_for_that_worker_alone() -> None:
    combining = run(phase="COMBINING", inputs={i: f"n{i}" for i in range(4)})
    workers = [done(train_key(i), nonce=f"n{i}") for i in range(4)]
    error = TornFile("update", "torn").record()
    torn = Report(outcome="failed", nonce="x", voids={2: "n2"}, error=error)
    failed = Task(key=combine_key(0), version=3, status="WAITING", attempt=1, failures=1, report=torn, error=error)
    again = saved_run(decide(state(combining, *workers, failed, claim(combine_key(1))), NOW))
    assert (again.phase, again.generation, again.voided, again.inputs) == ("TRAINING", 2, {2: "n2"}, {})
    assert offers(decide(state(again, *workers, failed, claim(combine_key(1))), NOW)) == [(train_key(2), 2)]
    workers[2] = done(train_key(2), nonce="m2", attempt=2)
    frozen = saved_run(decide(state(again, *workers, failed), NOW))
    assert (frozen.phase, frozen.inputs[2]) == ("COMBINING", "m2")
    assert frozen.granted == (f"{combine_key(0, 2)}@1", f"{combine_key(1, 2)}@1"), "slices of generation 1 are void"


def test_files_that_keep_tearing_end_the_run() -> None:
    combining = run(phase="COMBINING", generation=4, inputs={0: "n0"})
    torn = Report(outcome="failed", nonce="x", voids={0: "n0"})
    failed = Task(key=combine_key(0, 4), version=3, status="FAILED", report=torn)
    ended = saved_run(decide(state(combining, failed), NOW))
    assert ended.error is not None and (ended.status, ended.error.number) == ("FAILED", "E405")


def combined(of: Run, **metrics: float) -> Run:
    workers = [done(train_key(i), nonce=f"n{i}", metrics={"loss": 0.5 + i, **metrics}) for i in range(4)]
    actions = decide(state(of, *workers, done(combine_key(0)), done(combine_key(1))), NOW)
    assert isinstance(actions[0], SaveRun) and actions[0].record is not None
    return actions[0].run


COMBINING = run(phase="COMBINING", inputs={i: f"n{i}" for i in range(4)})


def test_a_combined_round_is_committed_and_the_next_begins() -> None:
    following = combined(COMBINING)
    assert (following.phase, following.round_index, following.generation) == ("TRAINING", 3, 1)
    assert following.previous_inputs == COMBINING.inputs and following.inputs == {}
    assert following.train_loss == 2.0 and following.examples_seen == 100
    assert following.spent_usd == pytest.approx(0.006)
    assert len(following.granted) == 4


def test_training_accuracy_is_weighted_by_examples_where_every_worker_has_one() -> None:
    def metrics(*accuracies: float | None) -> dict[str, float]:
        workers = [
            done(
                train_key(i),
                nonce=f"n{i}",
                examples=10 * (i + 1),
                metrics={"loss": 0.5} | ({"accuracy": a} if a else {}),
            )
            for i, a in enumerate(accuracies)
        ]
        actions = decide(state(COMBINING, *workers, done(combine_key(0)), done(combine_key(1))), NOW)
        assert isinstance(actions[0], SaveRun) and actions[0].record is not None
        return actions[0].record.metrics

    assert metrics(0.5, 0.6, 0.7, 0.8) == pytest.approx({"train/loss": 0.5, "train/accuracy": 0.7})
    assert metrics(0.5, 0.6, None, 0.8) == {"train/loss": 0.5}


VALIDATED = {"val_examples": 10.0, "val_loss_sum": 5.0, "val_correct": 9.0}


def test_validation_belongs_to_the_round_before_and_pins_the_best() -> None:
    following = combined(COMBINING, **VALIDATED)
    assert following.validation == {"val/loss": 0.5, "val/accuracy": 0.9}
    assert following.best is not None and (following.best.round_index, following.best.value) == (1, 0.9)
    assert following.best.parameters == COMBINING.parameters


def test_the_last_round_is_followed_by_the_evaluation() -> None:
    last = replace(COMBINING, plan=replace(COMBINING.plan, total_rounds=2))  # type: ignore[type-var]
    assert (combined(last).phase, combined(last).stop_reason, combined(last).final_round) == ("EVALUATING", "epochs", 2)


def test_a_target_that_is_reached_stops_with_those_parameters() -> None:
    following = combined(replace(COMBINING, settings=settings(target_accuracy=0.9)), **VALIDATED)
    assert (following.phase, following.stop_reason, following.final_round) == ("EVALUATING", "target accuracy", 1)
    assert following.parameters == COMBINING.parameters


def test_patience_counts_validations_without_gain() -> None:
    patient = replace(COMBINING, settings=settings(patience=2), evaluations_without_gain=1)
    better = combined(patient, **VALIDATED)
    assert better.phase == "TRAINING" and better.evaluations_without_gain == 0
    worse = combined(replace(patient, best=replace(better.best, value=0.95)), **VALIDATED)  # type: ignore[type-var]
    assert (worse.phase, worse.stop_reason) == ("EVALUATING", "patience")


def test_an_error_that_cannot_be_cured_ends_the_run_and_keeps_its_checkpoint() -> None:
    error = NotFinite("run r-0001 round 2 worker 3", "loss is nan").record()
    failed = Task(key=train_key(3), version=3, status="FAILED", error=error)
    ended = saved_run(decide(state(run(), failed, claim(train_key(0))), NOW))
    assert (ended.status, ended.error, ended.parameters) == ("FAILED", error, (FILE, FILE))


def test_the_deadline_ends_the_run() -> None:
    ended = saved_run(decide(state(run(), claim(train_key(0))), 5_000.0))
    assert (ended.status, ended.reason) == ("FAILED", "deadline")


PRICE_USD = reservation_usd("train", settings())


def test_the_budget_holds_back_full_attempts_and_never_overshoots() -> None:
    training = run(settings=settings(max_cost_usd=2.5 * PRICE_USD))
    paid = saved_run(decide(state(training), NOW))
    assert len(paid.granted) == 2
    tasks = [claim(train_key(0)), claim(train_key(1))]
    assert decide(state(paid, *tasks), NOW) == [], "both are in flight: nothing is left to hold back"
    more = saved_run(decide(state(paid, done(train_key(0)), tasks[1]), NOW))
    assert len(more.granted) == 2, "the first cost less than was held back for it"


def test_an_exhausted_budget_ends_the_run_resumably() -> None:
    training = run(settings=settings(max_cost_usd=1.5 * PRICE_USD), spent_usd=PRICE_USD)
    ended = saved_run(decide(state(training), NOW))
    assert ended.error is not None
    assert (ended.status, ended.reason, ended.error.exit_code) == ("FAILED", "budget", 5)


def test_a_straggler_gets_one_backup() -> None:
    fast = [done(train_key(i)) for i in range(3)]
    slow = claim(train_key(3), at=NOW)
    training = with_grants(run(), (train_key(3), 2))
    assert decide(state(training, *fast, slow), NOW + 10) == []
    actions = decide(state(training, *fast, slow), NOW + 18)
    assert offers(actions) == [(train_key(3), 2)]
    assert isinstance(actions[0], SaveTask)
    assert decide(state(training, *fast, actions[0].task), NOW + 19) == []


def at_round(round_index: int, **changes: object) -> RunState:
    """A run about to commit a round."""
    plan = RoundPlan(examples=100, examples_per_round=5, rounds_per_epoch=20, epochs_per_round=1, total_rounds=60)
    values = {"phase": "COMBINING", "inputs": {i: f"n{i}" for i in range(4)}, "round_index": round_index, "plan": plan}
    combining = run(**(values | changes))
    workers = [
        done(TaskKey(round_index=round_index, kind="train", index=i), nonce=f"n{i}", metrics={"loss": 1.0})
        for i in range(4)
    ]
    slices = [done(TaskKey(round_index=round_index, kind="combine", index=i, generation=1)) for i in range(2)]
    return state(combining, *workers, *slices)


def test_clearing_up_stays_two_rounds_behind() -> None:
    def clear_due(**changes: object) -> bool:
        following = saved_run(decide(at_round(12, **changes), NOW))
        assert (following.clearing is not None) == any("clear" in token for token in following.granted)
        return following.clearing is not None

    assert clear_due(cleared_through=3)
    assert not clear_due(cleared_through=4), "small files are cleared several rounds at a time"
    assert clear_due(cleared_through=10, parameter_count=50_000_000), "large files go every round"
    assert not clear_due(cleared_through=11, parameter_count=50_000_000)


CLEAR = TaskKey(round_index=11, kind="clear")


def test_a_round_does_not_wait_for_the_clearing_up_but_its_cost_is_counted() -> None:
    before = at_round(12, clearing=CLEAR, granted=(budget.token(CLEAR, 1),), cleared_through=1)
    slow = RunState(before.run, {**before.tasks, CLEAR: claim(CLEAR)})
    following = saved_run(decide(slow, NOW))
    assert following.round_index == 13 and following.clearing == CLEAR
    assert budget.token(CLEAR, 1) in following.granted, "its money stays held back"
    assert following.spent_usd == pytest.approx(0.006)

    ended = done(CLEAR, facts={"through": 9}, outputs={})
    settled = saved_run(decide(RunState(before.run, {**before.tasks, CLEAR: ended}), NOW))
    assert settled.cleared_through == 9 and settled.clearing is None
    assert settled.spent_usd == pytest.approx(0.007)


def test_only_the_last_stage_waits_for_the_clearing_up() -> None:
    final = TaskKey(round_index=13, kind="clear", index=1)
    clearing = run(phase="CLEARING", round_index=13, clearing=CLEAR)
    assert decide(state(clearing, done(final), claim(CLEAR)), NOW) == []
    assert saved_run(decide(state(clearing, done(final), done(CLEAR)), NOW)).status == "FINISHED"


def test_the_next_look_is_due_when_something_expires() -> None:
    assert next_wake_s(state(run(), offer(train_key(0)), claim(train_key(1))), NOW) == NOW + 20
    assert next_wake_s(state(run(), claim(train_key(1))), NOW) == NOW + 90
    assert next_wake_s(state(run()), NOW) == 5_000.0
