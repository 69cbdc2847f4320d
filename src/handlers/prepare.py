"""Lambda function Prepare: brings a data set onto the shared files. No TensorFlow.

With a bucket, from there: prepared, digests and all, as `lambdafit data push` has left it. Without one, from the user's
folder or the network, prepared here.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from contracts.messages import parse_task
from contracts.records import Run
from handlers import wiring
from handlers.probe import probed
from runs.execute import execute
from runs.fetch_data import fetch_data
from runs.prepare import prepare


def _prepare_data(run: Run) -> dict[str, Any]:
    environment = wiring.environment()
    if environment.bucket:
        return fetch_data(run, wiring.services().files, wiring.objects())
    from runs.prepare_data import prepare_data  # loads recipes and data sets: not wanted on AWS

    return prepare_data(run, wiring.services().files, environment.data_folder, environment.download_folder)


WORK = {"prepare": partial(prepare, prepare_data=_prepare_data)}

INIT = wiring.Init()


def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """Do one prepare task, or answer a probe."""
    if answer := probed(event, "prepare"):
        return answer
    deadline = wiring.ContextDeadline(context)
    return execute(parse_task(event), wiring.services(), deadline, context.aws_request_id, WORK, INIT.take())
