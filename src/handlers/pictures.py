"""Pictures inside an event, in base64: checked as a whole before anything looks into them.

{"images_base64": ["…", "…"]}
{"pictures": [{"name": "seven.png", "content": "…"}]}
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, NamedTuple

from contracts.errors import InvalidImage, InvalidMessage
from contracts.stack_errors import EventTooLarge

PLAIN = "images_base64"
NAMED = "pictures"
MAX_PICTURES = 1_000
MAX_CHARACTERS = 5_600_000
"""All together: a synchronous event may have 6 MB, names included."""


class Picture(NamedTuple):
    """A picture's file. `name` is whatever its sender calls it: shown, never opened."""

    name: str
    content: bytes


def has_pictures(event: Mapping[str, Any]) -> bool:
    """Whether the event brings pictures along."""
    return PLAIN in event or NAMED in event


def read_pictures(event: Mapping[str, Any]) -> list[Picture]:
    """The pictures in an event.

    Raises:
        InvalidMessage: the field is not one of the two forms.
        EventTooLarge: there are too many, or they are too large.
        InvalidImage: one is no base64.
    """
    if NAMED in event:
        entries, form = event[NAMED], 'a list of {"name": …, "content": …}, at least one'
        texts = [_named(entry) for entry in entries] if isinstance(entries, list) else []
    else:
        entries, form = event.get(PLAIN), "a list of base64 texts, at least one"
        texts = [(f"picture {i}", entry) for i, entry in enumerate(entries, 1)] if isinstance(entries, list) else []
    field = NAMED if NAMED in event else PLAIN
    if not texts or not all(isinstance(part, str) for text in texts for part in text):
        raise InvalidMessage("event", f"{field} is not what it should be", form)
    if len(texts) > MAX_PICTURES:
        raise EventTooLarge(field, f"{len(texts)} pictures", f"at most {MAX_PICTURES}")
    characters = sum(len(content) for _, content in texts)
    if characters > MAX_CHARACTERS:
        raise EventTooLarge(field, f"{characters:,} characters altogether", f"at most {MAX_CHARACTERS:,}")
    return [Picture(name, _decoded(name, content)) for name, content in texts]


def _named(entry: Any) -> tuple[Any, Any]:
    return (entry.get("name"), entry.get("content")) if isinstance(entry, Mapping) else (None, None)


def _decoded(name: str, content: str) -> bytes:
    try:
        return base64.b64decode(content, validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidImage(name, f"it is no base64 ({error})", "a picture's file in base64") from None
