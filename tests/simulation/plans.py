"""What one seed stands for: a shape of run, and which faults it meets how often.

Each seed leaves some faults out and has others often ("swarm testing"): a mixture of everything, always in the same
strength, hides what takes many of one kind to be seen.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace as replace_fields
from functools import cache

from msgspec.structs import replace

from runs import budget, stages
from simulation.faults import NO_FAULTS, Faults
from simulation.shapes import SHAPES, Shape
from simulation.violations import Violation
from simulation.world import World
from training import vector_files

NAMES = tuple(shape.name for shape in SHAPES)
SHARES = tuple(shape.share for shape in SHAPES)
LATE = Faults(freeze=0.3, tear=0.0, linger=0.9)
"""Zombies read what was cleared long ago, and spares have been written over it."""

LATE_SHAPES = ("one worker, cleared each round", "two workers, cleared each round")
LATE_SHARE = 0.065
"""Of the schedules; as the next one."""

SLOW_SLICES = replace_fields(NO_FAULTS, freeze=0.1, tear=4.0, linger=0.9)
"""A slice outlives its generation: another one found a torn update meanwhile."""

SLOW_SLICES_SHARE = 0.03

MOST_TURNS = 5_000
"""Nothing has gone wrong for most of them."""

JSON_EVERY = 16
"""Each so many schedules all records pass through JSON, as with every real store."""


def schedule(seed: int, *, traces: bool = False) -> World:
    """The world of one seed, not yet run."""
    chance = random.Random(seed * 2 + 1)
    shape = SHAPES[chance.choices(range(len(SHAPES)), SHARES)[0]]
    faults = _faults(chance)
    special = chance.random()
    late = special < LATE_SHARE
    if late:
        shape = SHAPES[NAMES.index(chance.choice(LATE_SHAPES))]
        faults = replace_fields(LATE, burst=faults.burst)
    elif special < LATE_SHARE + SLOW_SLICES_SHARE:
        shape = SHAPES[NAMES.index("two workers, two slices")]
        faults = replace_fields(SLOW_SLICES, burst=faults.burst)
    run_settings = shape.settings
    facts: dict[str, object] = dict(_facts(shape))
    if chance.random() < 0.15:
        # So many bytes to read that an attempt to train costs as much as one to begin: else no budget would be short.
        facts["files"] = {"x_train": {"bytes": 3_000_000_000}}
        run_settings = replace(run_settings, max_cost_usd=budget.least_usd(run_settings) + chance.uniform(0.0, 0.2))
    if chance.random() < 0.1:
        run_settings = replace(run_settings, deadline_s=chance.choice((3.0, 30.0, 200.0)))
    world = World(
        seed,
        run_settings,
        faults,
        data_facts=facts,
        keep_spares=late or (not faults.stream and chance.random() < 0.6),
        expected=expected(shape.name),
        gives_up=chance.random() < 0.02,
        through_json=seed % JSON_EVERY == 0,
        traces=traces,
    )
    world.clear_every = shape.clear_every
    return world


def check(seed: int, *, traces: bool = False) -> World:
    """Run one seed's schedule.

    Raises:
        Violation: what must hold does not; or any error that the code under test raised.
    """
    world = schedule(seed, traces=traces)
    with clearing_every(world.clear_every):
        try:
            world.run(MOST_TURNS)
            world.watch.check_end()
        except BaseException:
            if traces:
                print("\n".join(world.trace))
            raise
    return world


@cache
def expected(name: str) -> World:
    """The shape's run without a fault."""
    shape = SHAPES[NAMES.index(name)]
    with clearing_every(shape.clear_every):
        world = World(0, shape.settings, NO_FAULTS, data_facts=_facts(shape), traces=False)
        run = world.run()
    if run.status != "FINISHED":
        raise Violation("the fault-free run", f"{name}: {run.error}")
    return world


@contextmanager
def clearing_every(rounds: int) -> Iterator[None]:
    """Clear up as often as rounds of many bytes would be."""
    before, header = stages.CLEAR_EVERY_ROUNDS, vector_files.npy_header
    stages.CLEAR_EVERY_ROUNDS, vector_files.npy_header = rounds, _npy_header
    try:
        yield
    finally:
        stages.CLEAR_EVERY_ROUNDS, vector_files.npy_header = before, header


_npy_header = cache(vector_files.npy_header)
"""Two arguments, the same few all the time, and a tenth of a schedule's time."""


def _facts(shape: Shape) -> dict[str, int]:
    return {"train_examples": shape.train_examples, "val_examples": shape.val_examples}


def _faults(chance: random.Random) -> Faults:
    """Each fault is left out in about half of the schedules."""

    def some(*choices: float, share: float = 0.5) -> float:
        return chance.choice(choices) if chance.random() < share else 0.0

    stream = chance.random() < 0.4
    return Faults(
        crash=some(0.01, 0.03, 0.1, share=0.7),
        freeze=some(0.02, 0.1, 0.3),
        double=some(0.1, 0.5),
        drop=some(0.05, 0.3),
        unheard=some(0.2, 0.7),
        tear=some(0.1, 0.5, 2.0),
        hurry=some(0.1, 0.3),
        refuse=some(0.1, 0.4),
        linger=some(0.2, 0.9, share=0.6),
        late=some(0.1, 0.4, share=0.4),
        busy=some(0.02, 0.1, share=0.3),
        lose=some(0.1, 0.5, share=0.3),
        skew_s=some(1.0, 10.0, 60.0, share=0.3),
        power=0.0 if stream else some(1.0, 4.0, share=0.35),
        cancel=some(0.1, 0.4, share=0.2),
        stream=stream,
        burst=chance.choice((2.0, 8.0, 16.0, 32.0, 64.0)),
    )
