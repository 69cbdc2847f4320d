"""A run's curves as TensorBoard events: losses of every worker's steps, figures of every round."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from contracts.records import RoundRecord, StepBatch

ROUNDS = "rounds"


@dataclass(frozen=True)
class Point:
    """One value of one curve."""

    tag: str
    step: int
    value: float
    at: float


def round_points(rounds: Iterable[RoundRecord]) -> list[Point]:
    """Losses, accuracies and cost of every round. Validation figures belong to the parameters it began with."""
    points = []
    for record in rounds:
        figures = {**record.metrics, "cost_usd": record.cost_usd, "examples": float(record.examples)}
        points += [
            Point(tag, record.round_index - tag.startswith("val/"), value, record.committed_at)
            for tag, value in sorted(figures.items())
        ]
    return points


def step_points(batches: Iterable[StepBatch]) -> dict[int, list[Point]]:
    """Worker → its losses, counted from its first step on. A step that was done again counts once: the last time."""
    newest: dict[int, dict[tuple[int, int], tuple[float, float]]] = {}
    for batch in batches:
        at = batch.ended_at - sum(batch.durations_ms) / 1000
        of_worker = newest.setdefault(batch.worker_index, {})
        for offset, (loss, duration_ms) in enumerate(zip(batch.losses, batch.durations_ms, strict=True)):
            at += duration_ms / 1000
            of_worker[batch.round_index, batch.first_step + offset] = (loss, at)
    return {
        worker: [Point("train/loss", step, loss, at) for step, (_, (loss, at)) in enumerate(sorted(steps.items()))]
        for worker, steps in sorted(newest.items())
    }


def write_curves(folder: Path, rounds: Iterable[RoundRecord], batches: Iterable[StepBatch]) -> int:
    """Write one event file for the rounds and one a worker, each in a folder of its own. Imports TensorFlow.

    Returns:
        how many points were written.
    """
    curves: Mapping[str, list[Point]] = {ROUNDS: round_points(rounds)} | {
        f"worker-{worker:03d}": points for worker, points in step_points(batches).items()
    }
    for name, points in curves.items():
        _write_events(folder / name, points)
    return sum(map(len, curves.values()))


def _write_events(folder: Path, points: list[Point]) -> None:
    # As tf.summary writes them, but with the time at which things happened, not that of the export.
    import tensorflow as tf

    folder.mkdir(parents=True, exist_ok=True)
    first_at = int(points[0].at) if points else 0
    with tf.io.TFRecordWriter(str(folder / f"events.out.tfevents.{first_at:010d}.lambdafit")) as writer:
        event, summary = tf.compat.v1.Event, tf.compat.v1.Summary
        writer.write(event(wall_time=float(first_at), file_version="brain.Event:2").SerializeToString())
        for point in points:
            value = summary.Value(tag=point.tag, simple_value=point.value)
            scalar = event(wall_time=point.at, step=point.step, summary=summary(value=[value]))
            writer.write(scalar.SerializeToString())
