"""From sums over parts of the data to the metrics that people read. No TensorFlow."""

from __future__ import annotations

from collections.abc import Iterable, Mapping


def combine_sums(parts: Iterable[Mapping[str, float]]) -> dict[str, float]:
    """Mean metrics from the sums of `training.evaluate.evaluate`, added in the order given.

    Returns:
        loss, and accuracy or mean_absolute_error; nothing where there are no examples.
    """
    totals: dict[str, float] = {}
    for part in parts:
        for name, value in part.items():
            totals[name] = totals.get(name, 0.0) + value
    examples = totals.get("examples", 0.0)
    if not examples:
        return {}
    metrics = {"loss": totals["loss_sum"] / examples}
    if "correct" in totals:
        metrics["accuracy"] = totals["correct"] / examples
    if "absolute_error_sum" in totals:
        metrics["mean_absolute_error"] = totals["absolute_error_sum"] / examples
    return metrics
