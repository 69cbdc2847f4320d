"""Lambda function Combine: reduces one slice of a round, and clears up. No TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from contracts.messages import parse_task
from handlers import wiring
from handlers.probe import probed
from runs.combine import clear, combine
from runs.execute import execute

WORK = {"combine": combine, "clear": clear}

INIT = wiring.Init()


def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """Do one combine or clear task, or answer a probe."""
    if answer := probed(event, "combine"):
        return answer
    deadline = wiring.ContextDeadline(context)
    return execute(parse_task(event), wiring.services(), deadline, context.aws_request_id, WORK, INIT.take())
