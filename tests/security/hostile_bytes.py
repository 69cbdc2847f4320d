"""Files and messages that somebody has made to do harm: by hand, one for each kind of attack."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zipfile
from typing import Any

from libraries.lock import lock_digest, this_architecture, this_python


def npy(header: str, data: bytes = b"") -> bytes:
    """A `.npy` file of format 1.0 with any text for a header."""
    text = header.encode("latin-1")
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(text)) + text + data


def npy_of(descr: str, shape: str, data: bytes = b"") -> bytes:
    """A `.npy` file that tells of any type and shape."""
    return npy(f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n", data)


def zipped(members: dict[str, bytes], kind: int = zipfile.ZIP_STORED) -> bytes:
    """A zip archive."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", kind) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return stream.getvalue()


def keras_file(config: Any, more: dict[str, bytes] | None = None, kind: int = zipfile.ZIP_STORED) -> bytes:
    """What `read_config` looks at of a `.keras` file."""
    content = config if isinstance(config, bytes) else json.dumps(config).encode()
    return zipped({"config.json": content, **(more or {})}, kind)


def patched_zip(content: bytes, local: int, central: int, value: bytes) -> bytes:
    """The first member's headers with another value, at offsets from their beginnings."""
    data, directory = bytearray(content), content.find(b"PK\x01\x02")
    for at in (local, directory + central):
        data[at : at + len(value)] = value
    return bytes(data)


def linked_member(name: str, target: str) -> bytes:
    """A zip archive of one symbolic link."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        info = zipfile.ZipInfo(name)
        info.external_attr = 0o120777 << 16
        archive.writestr(info, target)
        archive.writestr("config.json", json.dumps(COMPILED))
    return stream.getvalue()


COMPILED = {"compile_config": {"optimizer": {"class_name": "SGD", "config": {}}, "loss": "mse"}}
"""As little as a compiled model's configuration says."""


def tensors(header: bytes, data: bytes = b"", told_bytes: int | None = None) -> bytes:
    """A `.safetensors` file with any header."""
    return struct.pack("<Q", len(header) if told_bytes is None else told_bytes) + header + data


def tensor(dtype: str, shape: str, begin: int, end: int) -> bytes:
    """The header of one tensor."""
    return f'{{"a":{{"dtype":"{dtype}","shape":{shape},"data_offsets":[{begin},{end}]}}}}'.encode()


def tar_header(name: str = "a", *, size: bytes = b"", kind: bytes = tarfile.REGTYPE) -> bytes:
    """A tar's header whose size field may hold anything, its checksum right."""
    info = tarfile.TarInfo(name)
    info.type = kind
    header = bytearray(info.tobuf(tarfile.USTAR_FORMAT))
    header[124 : 124 + len(size)] = size
    return with_checksum(bytes(header))


def with_checksum(header: bytes) -> bytes:
    """A tar's header with the checksum that it should have."""
    summed = sum(header[:148]) + sum(header[156:512]) + 8 * 32
    return header[:148] + b"%06o\0 " % (summed & 0o777777) + header[156:]


NEGATIVE = b"\xff" * 11 + b"\xfb"
"""-5 as tar's base 256 has it."""


def zstd_bomb(told_bytes: int) -> bytes:
    """A frame of a few bytes that tells of many."""
    return struct.pack("<I", 0xFD2FB528) + b"\xe0" + struct.pack("<Q", told_bytes) + b"\x01\x00\x00"


def manifest(**changes: Any) -> bytes:
    """An archive's manifest as JSON."""
    fields = {
        "format": 1, "frames": [], "architecture": "x86_64", "python": "3.13", "lock": "a", "packages": {},
        "files": 1, "bytes": 1,
    }  # fmt: skip
    return json.dumps(fields | changes).encode()


def note(**changes: Any) -> bytes:
    """What stands in a folder of unpacked libraries that are for this machine."""
    fields = {
        "architecture": this_architecture(), "python": this_python(), "lock": lock_digest(),
        "packages": {"numpy": "2.3"}, "files": 1, "bytes": 1,
    }  # fmt: skip
    return json.dumps(fields | changes).encode()


DEEP = b"[" * 200_000
"""JSON that a recursive parser falls over."""
