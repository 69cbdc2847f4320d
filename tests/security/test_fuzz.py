"""Some 20,000 broken inputs for all readers; `make fuzz INPUTS=1000000` has more. The fuzzer sees what is wrong."""

from __future__ import annotations

import faulthandler
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from contracts.errors import InvalidMessage
from security import fuzz
from security.target import Target

CHECKOUT = Path(__file__).parents[2]
FOLDERS = ("src", ".", "tests")


def test_every_reader_returns_or_raises_a_numbered_error() -> None:
    path = os.pathsep.join(str(CHECKOUT / folder) for folder in FOLDERS)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-m", "security.fuzz", "--inputs", "20000", "--json"],
        env=os.environ | {"PYTHONPATH": path}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-8_000:]
    results = json.loads(done.stdout)
    assert sum(result["inputs"] for result in results) >= 20_000
    for result in results:
        assert not [name for name in result["outcomes"] if name.startswith("!")]
        assert result["grown_bytes"] < 200 << 20
    assert len(results) == len(fuzz.TARGETS)


def leaks_an_exception(_content: bytes) -> None:
    raise KeyError("x")


def hangs(_content: bytes) -> None:
    while True:
        pass


def takes_memory(_content: bytes) -> None:
    np.ones(1 << 30)


def writes_outside(_content: bytes) -> None:
    Path("/dev/shm/lambdafit-escaped").write_text("x")  # noqa: S108


def makes_a_folder_outside(_content: bytes) -> None:
    Path("/dev/shm/lambdafit-escaped").mkdir()  # noqa: S108


def reads_outside(_content: bytes) -> None:
    Path("/etc/passwd").read_text()


def starts_a_program(_content: bytes) -> None:
    subprocess.run(["true"], check=False)


def connects(_content: bytes) -> None:
    socket.create_connection(("127.0.0.1", 9))


def unpickles(_content: bytes) -> None:
    import pickle

    pickle.loads(b"cposix\nsystem\n.")  # noqa: S301


def evaluates(_content: bytes) -> None:
    eval("1 + 1")  # noqa: S307


def dies(_content: bytes) -> None:
    faulthandler.disable()  # pytest's would print where, onto the terminal
    os.abort()


@pytest.mark.parametrize(
    ("bad", "word"),
    [(leaks_an_exception, "!KeyError"), (hangs, "!TooLong"), (takes_memory, "!MemoryError"),
     (writes_outside, "!Escape"), (makes_a_folder_outside, "!Escape"), (reads_outside, "!Escape"),
     (starts_a_program, "!Escape"), (connects, "!Escape"), (unpickles, "!Escape"), (evaluates, "!Escape"),
     (dies, "!died")],
)  # fmt: skip
def test_the_fuzzer_sees_it(bad: Callable[[bytes], Any], word: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if bad is hangs:
        monkeypatch.setattr(fuzz, "LIMIT_S", 0.2)

    def read(content: bytes) -> None:
        if content == b"bad":
            bad(content)

    target = Target("bad", lambda work: read, (b"good",), lambda rng, content: b"bad")
    result = fuzz.in_child(target, 0, range(3))
    assert result["outcomes"][word] >= 1
    assert result["findings"]


def test_a_numbered_error_is_no_finding_and_the_same_seed_gives_the_same_inputs() -> None:
    def read(content: bytes) -> None:
        if content != b"whole":
            raise InvalidMessage("x", content.hex())

    target = Target("t", lambda work: read, (b"whole",), lambda rng, content: rng.randbytes(4))
    result = fuzz.in_child(target, 0, range(20))
    assert result["outcomes"] == {"read": 1, "InvalidMessage": 19}
    assert result["findings"] == []
    assert [fuzz.input_of(target, 7, index) for index in range(9)] == [
        fuzz.input_of(target, 7, index) for index in range(9)
    ]


NEVER_WHOLE = {"ids, paths, keys, recipes"}
"""One text for ten readers, of which always one refuses it."""

UNDERSTOOD = {"events of Predict": {"ModelNotReady", "RunAtWork", "InvalidMessage"}}
"""What samples come to that are understood and cannot be done: the run has no model, is at work; there is no bucket."""


@pytest.mark.parametrize(
    "target", [one for one in fuzz.TARGETS if one.name not in NEVER_WHOLE], ids=lambda one: one.name
)
def test_each_sample_is_read(target: Target) -> None:
    """What is never read whole is not tested by breaking it."""
    result = fuzz.in_child(target, 0, range(len(target.samples)))
    read = {name for name in result["outcomes"] if name in ("read", "refused") or name.startswith("HTTP 2")}
    assert set(result["outcomes"]) - read == UNDERSTOOD.get(target.name, set()), result
    assert not result["findings"], result
