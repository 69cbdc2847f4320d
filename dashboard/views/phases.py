"""What a stretch of time was spent on: codes, names and plain words. Pure."""

from __future__ import annotations

from runs.summary import IDLE, SPAN_ORDER

OTHER = "other"
UNREPORTED = "unreported"
"""An attempt that is at work, or died without a word: its spans come with its report, or never."""

NAMES: tuple[str, ...] = (*SPAN_ORDER, OTHER, UNREPORTED, IDLE)
"""A phase's code is its place here."""

CODES: dict[str, int] = {name: code for code, name in enumerate(NAMES)} | {"libraries": 0, "import": 0}
"""Libraries and TensorFlow are loaded once an environment: a part of its cold start, code 0."""

INIT, COMPUTE, WAIT, COMBINE = (CODES[name] for name in ("init", "compute", "wait", "combine"))
UNREPORTED_CODE, IDLE_CODE = CODES[UNREPORTED], CODES[IDLE]

WORDS: dict[str, str] = {
    "init": "cold start",
    "prepare": "prepare the data",
    "extract": "compute features",
    "build": "build the model",
    "load": "load parameters",
    "assign": "set the model up",
    "evaluate": "evaluate",
    "compute": "compute",
    "write": "write",
    "wait": "wait for others",
    "combine": "combine",
    "clear": "clear up",
    OTHER: "other",
    UNREPORTED: "not reported",
    IDLE: "no function",
}
"""Phase → words for legends and hovers."""


def code_of(name: str) -> int:
    """The code of a span's name; that of `OTHER` for one that nobody knows."""
    return CODES.get(name, CODES[OTHER])


def words_of(code: int) -> str:
    """Plain words for a code."""
    return WORDS[NAMES[code]]
