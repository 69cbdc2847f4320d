"""What of a shared library is never loaded: the symbol tables for linkers and debuggers behind its last segment.

A quarter of libtensorflow_cc.so. Cutting them off changes no byte that is mapped to be run or read, so no result.
"""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

_HEADER = struct.Struct("<16sHHIQQQIHHHHHH")
_SEGMENT = struct.Struct("<IIQQQQQQ")
_IDENT = b"\x7fELF\x02\x01"  # 64 bits, little-endian: both of Lambda's architectures


def is_library(path: Path) -> bool:
    """Whether this is such a library, by its first bytes."""
    with path.open("rb") as stream:
        return stream.read(len(_IDENT)) == _IDENT


def cut_after_segments(path: Path) -> int:
    """Cut a library behind its last segment.

    Returns:
        the bytes that went.
    """
    with path.open("r+b") as stream:
        head: list[Any] = list(_HEADER.unpack(stream.read(_HEADER.size)))
        segments_at, sections_at, segment_bytes, segment_count = (int(head[index]) for index in (5, 6, 9, 10))
        stream.seek(segments_at)
        table = stream.read(segment_bytes * segment_count)
        end = segments_at + len(table)
        for index in range(segment_count):
            segment = _SEGMENT.unpack_from(table, index * segment_bytes)
            end = max(end, int(segment[2]) + int(segment[5]))  # offset, bytes in the file
        size = stream.seek(0, 2)
        if sections_at < end:  # the table of sections lies inside what is loaded: leave this one whole
            return 0
        head[6] = head[12] = head[13] = 0  # no table of sections, no entries, no names
        stream.seek(0)
        stream.write(_HEADER.pack(*head))
        stream.truncate(end)
        return size - end
