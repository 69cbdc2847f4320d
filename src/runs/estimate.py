"""What a run will take and cost, before it is started. Pure: the sizes and the step's time are handed in."""

from __future__ import annotations

import math
from collections.abc import Iterable

import msgspec

from contracts.settings import RunSettings
from runs import budget, words
from runs.ec2 import ASSUMPTIONS as EC2_ASSUMPTIONS
from runs.ec2 import MachineCost, machine_costs
from runs.growth import Growth
from runs.growth_measured import MEASURED
from runs.price_list import Architecture, price_list
from runs.sizes import AWS, Sizes, StepTime
from runs.summary import RunHistory
from runs.usage import LineItem, bill_lines, total_usd
from runs.workload import HOPS_S, VCPU_MB, Workload
from training.feature_blocks import FEATURE_BYTES, SPLITS
from training.shards import plan_rounds


class Estimate(msgspec.Struct, frozen=True, kw_only=True):
    """What a run will take. `within_budget` is whether `max_cost_usd` covers `budget_usd`.

    Args:
        budget_usd: of the lines that the run's budget limits.
        held_back_usd: what must be free of the budget for all workers to train at once.
        laptop_s: the same on this machine.
    """

    recipe: str
    workers: int
    batch_size: int
    rounds: int
    steps_per_worker: int
    slices: int
    parameters: int
    invocations: int
    gb_s: float
    efs_read_bytes: int
    efs_written_bytes: int
    duration_s: float
    laptop_s: float
    step_s: float
    step_source: str
    sizes_source: str
    region: str
    price_date: str
    prices: str
    architecture: Architecture
    lines: tuple[LineItem, ...]
    total_usd: float
    budget_usd: float
    max_cost_usd: float
    held_back_usd: float
    within_budget: bool
    machines: tuple[MachineCost, ...]
    notes: tuple[str, ...]
    assumptions: tuple[str, ...]


def assumed_step_time(sizes: Sizes, settings: RunSettings, growth: Growth = MEASURED) -> StepTime:
    """A step's time from the size of the model alone: right for dense layers, too short for convolutions."""
    source = (
        "an assumption, no such run was made here yet: as dense layers of that size took in the growth benchmark "
        f"({growth.machine}); convolutions take longer"
    )
    in_step_s = 0.0 if sizes.feature_bytes else settings.batch_size * sizes.backbone_s
    step_s = growth.step.at(sizes.parameters, sizes.state_bytes, settings.batch_size)
    return StepTime(step_s + in_step_s, 1, source)


def measured_step_time(history: RunHistory, settings: RunSettings) -> StepTime | None:
    """A step's time as an earlier run had it, in proportion to the batch; None where it recorded no steps."""
    seconds = sum(sum(batch.durations_ms) for batch in history.steps) / 1000
    seconds += sum(packed.step_s for packed in history.packed_steps)
    examples = sum(sum(batch.examples) for batch in history.steps)
    examples += sum(packed.examples for packed in history.packed_steps)
    if not examples or not seconds:
        return None
    before = history.run.settings
    source = f"measured in run {history.run.run_id}"
    if before.batch_size != settings.batch_size:
        source += f" with batch {before.batch_size}, in proportion"
    return StepTime(seconds / examples * settings.batch_size, before.threads, source)


def measured_sizes(history: RunHistory) -> Sizes | None:
    """The sizes of an earlier run; None where it did not come so far."""
    run = history.run
    facts = run.data_facts
    if not run.parameter_count or "files" not in facts:
        return None
    files = {name: int(file["bytes"]) for name, file in facts["files"].items()}
    return Sizes(
        parameters=run.parameter_count,
        state_bytes=run.initial_state.bytes if run.initial_state else 0,
        constants_bytes=run.constants.bytes if run.constants else 0,
        examples=int(facts["train_examples"]),
        val_examples=int(facts.get("val_examples", 0)),
        test_examples=int(facts.get("test_examples", 0)),
        data_bytes=sum(count for name, count in files.items() if not name.endswith("test")),
        test_bytes=sum(count for name, count in files.items() if name.endswith("test")),
        source=f"as in run {run.run_id}",
        backbone_s=_backbone_s(history),
        feature_bytes=int(run.feature_facts.get("width", 0)) * FEATURE_BYTES,
    )


def _backbone_s(history: RunHistory) -> float:
    """Seconds of one core for the features of one example; 0 where the run found them there."""
    facts = history.run.data_facts
    examples = sum(int(facts.get(f"{split}_examples", 0)) for split in SPLITS)
    tasks = (task for task in history.tasks if task.key.kind == "extract")
    computing = (task for task in tasks if task.report and task.report.facts["computed"])
    worked_s = sum(record.ended_at - record.started_at for task in computing for record in task.history)
    return worked_s * history.run.settings.threads / max(1, examples)


def estimate(
    settings: RunSettings,
    sizes: Sizes,
    step: StepTime,
    *,
    architecture: Architecture = "x86_64",
    region: str = "",
    laptop_cores: int = 1,
) -> Estimate:
    """What a run of these settings will take on AWS.

    Args:
        laptop_cores: of this machine, to tell where it would be faster.
    """
    plan = plan_rounds(sizes.examples, settings)
    prices = price_list(region)
    work = Workload(settings, sizes, step, plan)
    usage = work.usage()
    lines = bill_lines(usage, prices, architecture)
    duration_s, laptop_s = work.duration_s(), work.laptop_s(laptop_cores)
    budget_usd = total_usd(lines, in_budget=True)
    held_back_usd = settings.workers * budget.attempt_reservation_usd(work.run(), "train")
    within = budget_usd <= settings.max_cost_usd
    return Estimate(
        recipe=settings.recipe_name or settings.recipe,
        workers=settings.workers,
        batch_size=settings.batch_size,
        rounds=plan.total_rounds,
        steps_per_worker=work.steps,
        slices=work.slices,
        parameters=sizes.parameters,
        invocations=math.ceil(usage.invocations),
        gb_s=sum(use.gb_s for use in usage.functions),
        efs_read_bytes=usage.transfer.read_bytes,
        efs_written_bytes=usage.transfer.written_bytes,
        duration_s=duration_s,
        laptop_s=laptop_s,
        step_s=step.seconds,
        step_source=step.source,
        sizes_source=sizes.source,
        region=prices.region,
        price_date=prices.date,
        prices=prices.origin,
        architecture=architecture,
        lines=tuple(lines),
        total_usd=total_usd(lines),
        budget_usd=budget_usd,
        max_cost_usd=settings.max_cost_usd,
        held_back_usd=held_back_usd,
        within_budget=within,
        machines=tuple(machine_costs(work.core_s(), prices)),
        notes=tuple(_notes(settings, duration_s, laptop_s, budget_usd, held_back_usd)),
        assumptions=(*_assumptions(settings), *EC2_ASSUMPTIONS),
    )


def _notes(
    settings: RunSettings, duration_s: float, laptop_s: float, budget_usd: float, held_back_usd: float
) -> Iterable[str]:
    if laptop_s < duration_s:
        yield (
            f"This machine would be faster: about {laptop_s:.0f} s, where Lambda takes about {duration_s:.0f} s, "
            "most of it for starting functions and waiting for one another."
        )
    if budget_usd > settings.max_cost_usd:
        yield f"The budget of ${settings.max_cost_usd:g} will end the run before its last round."
    elif held_back_usd > settings.max_cost_usd:
        yield (
            f"All workers at once have ${held_back_usd:.2f} held back; with ${settings.max_cost_usd:g} some of them "
            "wait for others."
        )


def _assumptions(settings: RunSettings) -> tuple[str, ...]:
    return (
        f"A new environment of Train takes {AWS.cold_s:.0f} s until its first step (from reports, not measured); "
        f"a round waits {HOPS_S:.0f} s for the table's stream.",
        f"A task takes {AWS.task_s} s beside its work; EFS reads {AWS.read_bytes_per_s / 1e6:.0f} MB/s and writes "
        f"{AWS.write_bytes_per_s / 1e6:.0f} MB/s for each function.",
        f"A function with {settings.memory_mb} MB has "
        f"{settings.memory_mb / VCPU_MB:.1f} virtual CPUs, each as fast as a core here.",
        "No attempt fails, and stops by accuracy or patience do not come early.",
        measured_here(MEASURED),
    )


def measured_here(growth: Growth) -> str:
    """Where the time on this machine is from, and how far such estimates were off, in one sentence for people."""
    errors = (f"{name} {seen.median:.0%} (at worst {seen.worst:.0%})" for name, seen in growth.errors.items())
    return (
        f"The time on this machine follows lines fitted to {words.count(growth.points, 'run')} on {growth.machine}, "
        f"{growth.date}. Estimates of {words.count(growth.held_back, 'other run')} there were off by a median of "
        f"{', '.join(errors)}."
    )
