"""An environment's process: `python -m engines.local_lambda.child`.

Runs awslambdaric, the runtime client that AWS itself runs, or where that cannot be had the one in
`pure_client.py`. LAMBDAFIT_RUNTIME_CLIENT=pure asks for the latter.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
import threading
import time
from typing import Any

# awslambdaric imports its handler itself. It gets this module, which imports the real one and can therefore
# say where an import failed.
HANDLER = "engines.local_lambda.loaded_handler.handler"
PR_SET_PDEATHSIG = 1
WATCH_INTERVAL_S = 0.5


def die_with_parent(parent_pid: int) -> None:
    """See to it that this process ends when the engine's ends, even by SIGKILL.

    On Linux the kernel does that for this process alone; what a handler has started then ends only if it notices.
    """
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    else:
        threading.Thread(target=_watch_parent, args=(parent_pid,), daemon=True).start()
    if os.getppid() != parent_pid:  # it had died before this was set up
        os._exit(1)


def _watch_parent(parent_pid: int) -> None:
    while os.getppid() == parent_pid:
        time.sleep(WATCH_INTERVAL_S)
    os.killpg(0, signal.SIGKILL)


def awslambdaric_bootstrap() -> Any:
    """awslambdaric's modules `bootstrap` and `lambda_runtime_client`, or None where it has no build."""
    if os.environ.get("LAMBDAFIT_RUNTIME_CLIENT") == "pure":
        return None
    try:
        importlib.import_module("runtime_client")
        return importlib.import_module("awslambdaric.bootstrap")
    except ImportError:
        return None


def main() -> None:
    """Serve invocations until killed."""
    die_with_parent(int(os.environ.pop("LAMBDAFIT_ENGINE_PID")))
    os.umask(0o077)  # whatever a function writes, its temporary files too, is its owner's alone
    address = os.environ["AWS_LAMBDA_RUNTIME_API"]
    bootstrap = awslambdaric_bootstrap()
    if bootstrap is not None:
        bootstrap.run(HANDLER, bootstrap.LambdaRuntimeClient(address))
    else:
        from engines.local_lambda import pure_client

        pure_client.prepare_logging()
        from engines.local_lambda.loaded_handler import handler

        pure_client.serve(address, handler)


if __name__ == "__main__":
    main()
