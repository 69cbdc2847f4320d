"""`handler` is the handler that the variable _HANDLER names. Imported in an environment's process only.

A failure is told to the engine with the line where it happened; awslambdaric would leave that out.
"""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn


def load(name: str) -> Callable[[Any, Any], Any]:
    """The function called `package.module.function`.

    Raises:
        Exception: whatever the module raises; AttributeError where it has no such function.
    """
    module_name, _, function_name = name.rpartition(".")
    if not module_name:
        raise ValueError(f"the handler {name!r} is not of the form module.function")
    handler = getattr(importlib.import_module(module_name), function_name)
    if not callable(handler):
        raise TypeError(f"the handler {name!r} is not a function")
    return handler  # type: ignore[no-any-return]


def load_or_exit(name: str) -> Callable[[Any, Any], Any]:
    """The handler; where it cannot be had, the engine is told and the process ends."""
    try:
        return load(name)
    except BaseException as error:  # noqa: BLE001 - SystemExit at import time is a failure, too
        report_and_exit(error)


def report_and_exit(error: BaseException) -> NoReturn:
    """Print the traceback to the log, tell the engine, end the process."""
    # Imported only now: they would add a tenth of a second to every cold start.
    import json
    import traceback

    from contracts.errors import LambdafitError
    from engines.local_lambda import pure_client

    traceback.print_exception(error)
    message = str(error) if isinstance(error, LambdafitError) else f"{error}{place(error)}"
    report = {"errorType": type(error).__name__, "errorMessage": message, "stackTrace": []}
    client = pure_client.Client(os.environ["AWS_LAMBDA_RUNTIME_API"])
    client.post("runtime/init/error", json.dumps(report).encode())
    sys.exit(1)


def place(error: BaseException) -> str:
    """File and line where `error` arose; empty where only the import system was involved."""
    import traceback

    if isinstance(error, SyntaxError):
        return f" ({error.filename}, line {error.lineno})"
    frames = [one for one in traceback.extract_tb(error.__traceback__) if "importlib" not in one.filename]
    inner = [one for one in frames if one.filename != __file__]
    return f" ({inner[-1].filename}, line {inner[-1].lineno})" if inner else ""


handler = load_or_exit(os.environ["_HANDLER"])
