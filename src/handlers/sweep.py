"""Lambda function Sweep: looks at every open run, once a minute. No TensorFlow.

It makes lost events harmless: with the stream switched off, a run goes through on sweeps alone, a stage a minute.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from aws_lambda_powertools import Logger

from contracts.errors import LambdafitError, RunNotFound, unexpected
from contracts.stack_errors import SweepIncomplete
from handlers import wiring
from runs.reconcile import reconcile

THREADS = 8
LEAST_TIME_S = 10.0
"""No run is begun with so little time left."""

SWEEP_EVERY_S = 60

logger = Logger(service="sweep")


@logger.inject_lambda_context(clear_state=True)
def handler(_event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """Reconcile all open runs.

    Returns:
        how many there were, and how many of them have ended now.
    Raises:
        SweepIncomplete: some could not be reconciled, after all others were.
    """
    deadline = wiring.ContextDeadline(context)

    def visit(run_id: str) -> LambdafitError | bool:
        """Whether the run has ended; or why it could not be reconciled."""
        if deadline.remaining_s() < LEAST_TIME_S:
            return SweepIncomplete(f"run {run_id}", "no time was left for it")
        try:
            return reconcile(wiring.services(), run_id)[0].ended
        except RunNotFound:
            return True  # deleted meanwhile
        except Exception as error:
            numbered = unexpected(error, f"run {run_id}")
            is_ours = isinstance(error, LambdafitError)
            extra = {"run_id": run_id, "error": numbered.number}
            logger.error(str(numbered), exc_info=None if is_ours else error, extra=extra)
            return numbered

    run_ids = _in_turn(wiring.services().store.open_run_ids(), wiring.services().clock.now())
    with ThreadPoolExecutor(THREADS, thread_name_prefix="sweep") as pool:
        outcomes = dict(zip(run_ids, pool.map(visit, run_ids), strict=True))
    failed = {run_id: outcome for run_id, outcome in outcomes.items() if isinstance(outcome, LambdafitError)}
    answer = {"runs": len(run_ids), "ended": sum(outcome is True for outcome in outcomes.values())}
    logger.info("swept", extra=answer | {"failed": len(failed)})
    if failed:
        run_id, error = next(iter(failed.items()))
        raise SweepIncomplete(
            "sweep", f"{len(failed)} of {len(run_ids)} open runs failed, {run_id} with: {error.message.rstrip('.')}"
        )
    return answer


def _in_turn(run_ids: Sequence[str], now: float) -> list[str]:
    """The runs, each sweep beginning with another: where time is short, none is always the last."""
    if not run_ids:
        return []
    first = int(now // SWEEP_EVERY_S) % len(run_ids)
    return [*run_ids[first:], *run_ids[:first]]
