"""The fitted lines as Python: what `bench_growth.py --write` puts into `src/runs/growth_measured.py`."""

from __future__ import annotations

import json
import math
from typing import Any

from runs.growth import Growth

LONGEST = 100
"""Of a generated line of code, about."""

DIGITS = 4
"""Of a coefficient: more than that nobody measures."""


def module(growth: Growth) -> str:
    """The lines as the text of the module that the estimate imports."""
    head = '"""The coefficients of `growth.py`. Written by `make bench-growth BENCH_ARGS=--write`: not by hand."""'
    return f"{head}\n\n{imports(growth)}\n\nMEASURED = {source(rounded(growth))}\n"


def imports(growth: Growth) -> str:
    """Of just the classes that the text names."""
    values = (growth, *growth, *growth.errors.values())
    names = sorted({type(value).__name__ for value in values if hasattr(value, "_fields")})
    return f"from runs.growth import {', '.join(names)}"


def source(value: Any, indent: int = 0) -> str:
    """A nested tuple with names, or a dictionary of such, as Python text; one line for each field."""
    inner, outer = " " * (indent + 4), " " * indent
    if isinstance(value, dict):
        if not value:
            return "{}"
        body = "".join(f'{inner}"{key}": {source(one, indent + 4)},\n' for key, one in value.items())
        return f"{{\n{body}{outer}}}"
    if not hasattr(value, "_asdict"):
        return json.dumps(value) if isinstance(value, str) else repr(value)
    pairs = value._asdict().items()
    flat = f"{type(value).__name__}({', '.join(f'{key}={source(one)}' for key, one in pairs)})"
    if len(flat) <= LONGEST and not any(hasattr(one, "_asdict") or isinstance(one, dict) for _, one in pairs):
        return flat
    body = "".join(f"{inner}{key}={source(one, indent + 4)},\n" for key, one in pairs)
    return f"{type(value).__name__}(\n{body}{outer})"


def rounded(value: Any) -> Any:
    """All numbers to so many digits as mean something."""
    if isinstance(value, float) and value:
        return round(value, DIGITS - 1 - math.floor(math.log10(abs(value))))
    if isinstance(value, dict):
        return {key: rounded(one) for key, one in value.items()}
    return type(value)(*map(rounded, value)) if hasattr(value, "_fields") else value
