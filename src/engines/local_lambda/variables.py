"""The environment variables of an environment's process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from engines.local_lambda.invocation import Function

SOURCE_FOLDER = Path(__file__).resolve().parents[2]
ACCOUNT_ID = "000000000000"

# What of the parent's variables an environment sees. Never anything of AWS: a local run must not be able to
# touch an account by accident.
# fmt: off
INHERITED = frozenset((
    "PATH", "HOME", "LANG", "LANGUAGE", "TZ", "TMPDIR", "USER", "LOGNAME", "VIRTUAL_ENV",
    "LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "SSL_CERT_FILE", "SSL_CERT_DIR",
    "REQUESTS_CA_BUNDLE", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy",
    "no_proxy",
))
# fmt: on
INHERITED_PREFIXES = ("LAMBDAFIT_", "LC_", "OMP_", "MKL_", "OPENBLAS_", "TF_", "XLA_", "KERAS_", "PYTHONHASHSEED")


def process_variables(function: Function, name: str, address: str, extra: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of one environment, as Lambda sets them."""
    variables = {
        key: value for key, value in os.environ.items() if key in INHERITED or key.startswith(INHERITED_PREFIXES)
    }
    variables |= {"AWS_REGION": region(), "AWS_DEFAULT_REGION": region()}
    given = {**extra, **function.environment}
    variables |= given
    path = given.get("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    return variables | {
        "AWS_LAMBDA_FUNCTION_NAME": function.name,
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": str(function.memory_mb),
        "AWS_LAMBDA_FUNCTION_VERSION": "$LATEST",
        "AWS_LAMBDA_INITIALIZATION_TYPE": "on-demand",
        "AWS_LAMBDA_LOG_GROUP_NAME": f"/aws/lambda/{function.name}",
        "AWS_LAMBDA_LOG_STREAM_NAME": name,
        "AWS_LAMBDA_RUNTIME_API": address,
        "LAMBDA_TASK_ROOT": str(SOURCE_FOLDER),
        "_HANDLER": function.handler,
        "LAMBDAFIT_ENGINE_PID": str(os.getpid()),
        "PYTHONPATH": os.pathsep.join(part for part in (str(SOURCE_FOLDER), path) if part),
        "PYTHONUNBUFFERED": "1",
    }


def function_arn(name: str) -> str:
    """The function's name as AWS would write it."""
    return f"arn:aws:lambda:{region()}:{ACCOUNT_ID}:function:{name}"


def region() -> str:
    """The parent's region, or one that exists."""
    return os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION") or "us-east-1"
