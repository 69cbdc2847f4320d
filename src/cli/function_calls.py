"""One call of one function in an environment of its own, beside whatever engine is at work."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from engines.home import Home
from engines.local import HANDLERS, LocalSettings
from engines.local_lambda.invocation import Function
from engines.local_lambda.pool import LocalLambda

PREDICT = "predict"
FUNCTIONS = {**HANDLERS, PREDICT: "handlers.predict.handler"}
EXTRA_S = 150.0
"""Beside the function's own time limit: its environment has to start."""


def call(
    function: str, event: Mapping[str, Any], home: Home, local: LocalSettings, *, threads: int, show_log: bool
) -> Any:
    """Run one function in an environment of its own, and wait for its answer.

    Args:
        threads: of TensorFlow.
        show_log: print on the standard error what the function printed.
    Raises:
        LambdafitError: what the function failed of.
    """
    limits = local.limits()
    environment = home.environment(local.data, threads)
    one = Function(
        name=function,
        handler=FUNCTIONS[function],
        concurrency=1,
        time_limit_s=limits.time_limit_s,
        memory_mb=limits.memory_mb,
    )
    variables = {
        "LAMBDAFIT_HOME": environment.home,
        "LAMBDAFIT_DATA": environment.data,
        "LAMBDAFIT_THREADS": str(environment.threads),
    }
    with tempfile.TemporaryDirectory(prefix="lambdafit-") as log_folder:
        try:
            with LocalLambda(
                [one], log_folder=Path(log_folder), on_ended=lambda invocation: None, environment=variables
            ) as functions:
                return functions.call(function, event, limits.time_limit_s + EXTRA_S)
        finally:
            if show_log:
                for log in sorted(Path(log_folder).iterdir()):
                    click.echo(log.read_text(errors="replace"), nl=False, err=True)
