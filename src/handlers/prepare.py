"""Lambda function Prepare: brings a data set onto the shared files. No TensorFlow."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

from contracts.messages import parse_task
from contracts.records import Run
from handlers import wiring
from runs.execute import execute
from runs.prepare import prepare
from runs.prepare_data import prepare_data


def _prepare_data(run: Run) -> dict[str, Any]:
    environment = wiring.environment()
    return prepare_data(run, wiring.services().files, environment.data_folder, environment.download_folder)


WORK = {"prepare": partial(prepare, prepare_data=_prepare_data)}

INIT = wiring.Init()


def handler(event: Mapping[str, Any], context: wiring.LambdaContext) -> dict[str, Any]:
    """Do one prepare task."""
    deadline = wiring.ContextDeadline(context)
    return execute(parse_task(event), wiring.services(), deadline, context.aws_request_id, WORK, INIT.take())
