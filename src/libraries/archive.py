"""The form of a libraries archive: a tar in many zstd frames, and before them a frame that says what is in it.

    skippable frame: the manifest as JSON, with the size and sha256 of every frame that follows
    zstd frame, zstd frame, …: together one tar of regular files, sorted, without times or owners

Every frame can be fetched, checked and decompressed by itself, so many are at once while others are written. The
archive's digest is that of its manifest, and so of all the bytes. Any zstd and tar can open it: they skip the first
frame.
"""

from __future__ import annotations

import hashlib
import json
import struct
import tarfile
from collections import deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import msgspec
import zstandard

from contracts.stack_errors import ArchiveCorrupted

SUFFIX = ".tar.zst"
FORMAT = 1
FRAME_BYTES = 8 << 20
"""Of tar in one frame. Larger ones compress little better (docs/adr/0007) and take more memory at once."""

LEVEL = 9
MAX_MANIFEST_BYTES = 4 << 20
MAX_FRAME_BYTES = 64 << 20
_SKIPPABLE = 0x184D2A5E
_HEAD = struct.Struct("<II")
HEAD_BYTES = _HEAD.size


@dataclass(frozen=True)
class Frame:
    """One frame of the archive.

    Args:
        packed: its bytes in the archive.
        raw: its bytes of tar.
        sha256: of the packed bytes, hexadecimal.
    """

    packed: int
    raw: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What libraries consist of.

    Args:
        architecture: x86_64 or arm64.
        python: such as 3.13.
        lock: `libraries.lock.lock_digest` of the pins that they were made from.
        packages: name → version.
        files: how many.
        bytes: of all files, unpacked.
    """

    architecture: str
    python: str
    lock: str
    packages: Mapping[str, str]
    files: int
    bytes: int


@dataclass(frozen=True)
class Manifest:
    """The first frame of an archive.

    Args:
        digest: the archive's; it names all its bytes.
        head_bytes: where the frames begin.
    """

    contents: Contents
    frames: tuple[Frame, ...]
    digest: str
    head_bytes: int

    @property
    def archive_bytes(self) -> int:
        """The size of the archive's file."""
        return self.head_bytes + sum(frame.packed for frame in self.frames)

    def offsets(self) -> list[int]:
        """Where each frame begins."""
        found, at = [], self.head_bytes
        for frame in self.frames:
            found.append(at)
            at += frame.packed
        return found

    def to_json(self) -> dict[str, Any]:
        """For people and for `build/libraries/<digest>.json`."""
        return {"digest": self.digest, "archive_bytes": self.archive_bytes, **asdict(self.contents)}


class _Told(msgspec.Struct, forbid_unknown_fields=True):
    """A manifest's JSON."""

    format: int
    frames: list[tuple[int, int, str]]
    architecture: str
    python: str
    lock: str
    packages: dict[str, str]
    files: int
    bytes: int


def manifest_bytes(head: bytes, where: str) -> int:
    """How long the manifest is that these first bytes announce.

    Raises:
        ArchiveCorrupted: they are not the beginning of an archive.
    """
    if len(head) < HEAD_BYTES:
        raise ArchiveCorrupted(where, f"it ends after {len(head)} bytes", "a libraries archive")
    magic, length = _HEAD.unpack_from(head)
    if magic != _SKIPPABLE or not 0 < length <= MAX_MANIFEST_BYTES:
        raise ArchiveCorrupted(where, f"it begins with {head[:HEAD_BYTES].hex()}", "a libraries archive")
    return int(length)


def parse_manifest(data: bytes, where: str) -> Manifest:
    """The manifest from its JSON.

    Raises:
        ArchiveCorrupted: it is not one.
    """
    try:
        told = msgspec.json.decode(data, type=_Told)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArchiveCorrupted(where, f"its manifest cannot be read ({type(error).__name__}: {error})") from None
    if told.format != FORMAT:
        raise ArchiveCorrupted(where, "it has another format", f"format {FORMAT}", advice="`lambdafit deploy`.")
    frames = tuple(Frame(*frame) for frame in told.frames)
    fields = msgspec.structs.asdict(told)
    contents = Contents(**{name: value for name, value in fields.items() if name not in ("format", "frames")})
    if not all(0 < frame.raw <= MAX_FRAME_BYTES and 0 < frame.packed <= MAX_FRAME_BYTES for frame in frames):
        raise ArchiveCorrupted(where, "a frame has an impossible size", f"at most {MAX_FRAME_BYTES} bytes")
    return Manifest(contents, frames, hashlib.sha256(data).hexdigest(), HEAD_BYTES + len(data))


def decompressed(frame: Frame, data: bytes | bytearray | memoryview, where: str) -> bytes:
    """A frame's bytes of tar, checked before they are decompressed.

    Raises:
        ArchiveCorrupted: they are not the ones that the manifest tells of.
    """
    if hashlib.sha256(data).hexdigest() != frame.sha256:
        raise ArchiveCorrupted(where, "a frame has another sha256", frame.sha256)
    try:
        # The decompressor allocates what the frame says of itself, whatever limit it is given.
        size = zstandard.frame_content_size(data)
        if size != frame.raw:
            raise ArchiveCorrupted(where, f"a frame holds {size} bytes", f"{frame.raw}")
        raw: bytes = zstandard.ZstdDecompressor().decompress(data, max_output_size=frame.raw)
    except zstandard.ZstdError as error:
        raise ArchiveCorrupted(where, f"a frame cannot be decompressed ({error})") from None
    if len(raw) != frame.raw:
        raise ArchiveCorrupted(where, f"a frame holds {len(raw)} bytes", f"{frame.raw}")
    return raw


def pack(
    tree: Path,
    about: Mapping[str, Any],
    target: Path,
    *,
    threads: int,
    level: int = LEVEL,
    frame_bytes: int = FRAME_BYTES,
) -> Manifest:
    """Write all files below `tree` as an archive. The same files give the same bytes, with any number of threads.

    Args:
        about: the fields of `Contents` without `files` and `bytes`.
    """
    files = sorted(path for path in tree.rglob("*") if not path.is_dir())
    contents = Contents(**about, files=len(files), bytes=sum(path.stat().st_size for path in files))
    body = target.with_name(f".{target.name}.frames")
    try:
        with body.open("wb") as stream:
            frames = []
            for raw_bytes, packed in _compressed(_pieces(_tar(tree, files), frame_bytes), level, threads):
                frames.append((len(packed), raw_bytes, hashlib.sha256(packed).hexdigest()))
                stream.write(packed)
        fields = {"format": FORMAT, "frames": frames, **asdict(contents)}
        head = json.dumps(fields, sort_keys=True, separators=(",", ":")).encode()
        with target.open("wb") as whole, body.open("rb") as stream:
            whole.write(_HEAD.pack(_SKIPPABLE, len(head)) + head)
            while block := stream.read(FRAME_BYTES):
                whole.write(block)
    finally:
        body.unlink(missing_ok=True)
    return parse_manifest(head, str(target))


def _tar(tree: Path, files: list[Path]) -> Iterator[bytes]:
    for path in files:
        info = tarfile.TarInfo(path.relative_to(tree).as_posix())
        data = path.read_bytes()
        info.size, info.mode = len(data), 0o644
        # USTAR has no extensions: a name that does not fit raises here and not where it is unpacked.
        yield info.tobuf(format=tarfile.USTAR_FORMAT)
        yield data
        yield bytes(-len(data) % tarfile.BLOCKSIZE)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _pieces(parts: Iterator[bytes], size: int) -> Iterator[bytes]:
    """The same bytes in pieces of `size`, the last one shorter."""
    piece = bytearray()
    for part in parts:
        view = memoryview(part)
        while len(view):
            taken = view[: size - len(piece)]
            piece += taken
            view = view[len(taken) :]
            if len(piece) == size:
                yield bytes(piece)
                piece.clear()
    if piece:
        yield bytes(piece)


def _compressed(pieces: Iterator[bytes], level: int, threads: int) -> Iterator[tuple[int, bytes]]:
    """Raw size and frame of each piece, in order."""

    def compress(piece: bytes) -> bytes:
        frame: bytes = zstandard.ZstdCompressor(level=level, write_checksum=False).compress(piece)
        return frame

    waiting: deque[tuple[int, Future[bytes]]] = deque()
    with ThreadPoolExecutor(threads) as pool:
        for piece in pieces:
            waiting.append((len(piece), pool.submit(compress, piece)))
            if len(waiting) > threads:
                size, frame = waiting.popleft()
                yield size, frame.result()
        while waiting:
            size, frame = waiting.popleft()
            yield size, frame.result()
