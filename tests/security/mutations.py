"""Makes broken inputs of whole ones: fast, without a compiler's help, and the same ones for the same seed."""

from __future__ import annotations

import json
import random
import struct
from collections.abc import Callable, Sequence
from typing import Any

NUMBERS = (0, 1, 0x7F, 0x80, 0xFF, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF, 1 << 40, (1 << 63) - 1, (1 << 64) - 1)
TOKENS = (b"../", b"..\\", b"/etc/passwd", b"\x00", b"%00", b"(", b"[", b"{", b"-1", b"1e999", b"NaN", b"\xff\xfe",
          b"'|O'", b"PK\x01\x02", b"PK\x03\x04", b"\r\n\r\n", b"\x93NUMPY", b"\xed\xa0\x80")  # fmt: skip
ODD_VALUES: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 2**31, 2**63, 2**64, 10**25, -(10**25), 0.5, 1e308, float("nan"), float("inf"), "",
    "..", "../../x", "/etc/passwd", "a" * 5_000, "\u0000", "\ud800", "r-abcd", "latest", "\u0663", "x\n", "<b>", [], {},
    [[]], {"": 0}, [None] * 40, "0" * 400,
)  # fmt: skip
MAX_BYTES = 1 << 20
DEPTHS = (50, 400, 20_000)

Mutator = Callable[[random.Random, bytes], bytes]


def mutated(rng: random.Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """The bytes with one to six changes: bits, numbers, tokens, cuts, doublings, pieces of another input."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 1, 2, 3, 6))):
        at = rng.randrange(len(data) + 1)
        match rng.randrange(9):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1 if data:
                data[at % len(data)] = rng.randrange(256)
            case 2:
                number = struct.pack(rng.choice("<>") + "Q", rng.choice(NUMBERS))
                width = rng.choice((1, 2, 4, 8))
                data[at : at + width] = number[:width]
            case 3:
                data[at:at] = rng.choice(TOKENS)
            case 4:
                del data[at:]
            case 5:
                del data[at : at + rng.randrange(1, 64)]
            case 6:
                data[at:at] = data[at : at + rng.randrange(1, 256)]
            case 7:
                token = rng.choice(TOKENS)
                data[at : at + len(token)] = token
            case _ if others:
                other = rng.choice(others)
                begin = rng.randrange(len(other) + 1)
                data[at:] = other[begin:]
    return bytes(data[:MAX_BYTES])


def mutated_json(rng: random.Random, content: bytes) -> bytes:
    """JSON with one to three values changed, fields missing, renamed or new; or bytes that were changed."""
    if rng.random() < 0.1:
        return mutated(rng, content)
    tree = json.loads(content)
    for _ in range(rng.choice((1, 1, 2, 3))):
        tree = _changed(rng, tree)
    text = json.dumps(tree)
    if rng.random() < 0.01:
        depth = rng.choice(DEPTHS)
        text = text.replace("null", "[" * depth + "]" * depth, 1) if "null" in text else "[" * depth
    return text.encode()


def _changed(rng: random.Random, tree: Any) -> Any:
    """The tree with one place changed."""
    if not isinstance(tree, dict | list) or not tree or rng.random() < 0.15:
        return rng.choice(ODD_VALUES)
    if isinstance(tree, list):
        index = rng.randrange(len(tree))
        changed = list(tree)
        changed[index : index + 1] = rng.choice(([_changed(rng, tree[index])], [], [tree[index]] * 3))
        return changed
    name = rng.choice(list(tree))
    match rng.randrange(8):
        case 0:
            return {other: value for other, value in tree.items() if other != name}
        case 1:
            return tree | {rng.choice(("", "x", "__class__", "a" * 300, name.upper())): tree[name]}
        case 2:
            return tree | {name: tree[rng.choice(list(tree))]}
        case _:
            return tree | {name: _changed(rng, tree[name])}


def mutated_text(rng: random.Random, content: bytes) -> bytes:
    """A short text: names, paths and ids."""
    pieces = ("..", "/", "\\", ".", "a", "r-", "0", "\0", "\n", "~", "%2e", "\u2024", "\u0663", " ", "-", "$(x)",
              "\u202e", "C:", "//", "\x1b[2J", "aux", "é", "a" * 256)  # fmt: skip
    text = content.decode(errors="replace")
    for _ in range(rng.randrange(1, 6)):
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.choice(pieces) + text[at + rng.randrange(3) :]
    return text.encode(errors="surrogatepass")
