"""Makes a worker's libraries importable, once in each execution environment: in the handler, not in INIT, which may
take 10 s only.

Where they come from is LAMBDAFIT_LIBRARIES: empty where they are installed already, `s3`, `efs`, or the path of an
archive.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

from contracts.errors import LambdafitError
from contracts.ports import Objects
from contracts.stack_errors import ArchiveCorrupted, ArchiveNotFound, ArchiveUnsuitable, LibrariesOutdated
from libraries import folders
from libraries.archive import Contents, Manifest
from libraries.lock import lock_digest, this_architecture, this_python
from libraries.sources import FOLDER, POINTER, Archive, FileArchive, ObjectArchive, archive_key, pointed, read_manifest
from libraries.unpack import unpack

S3, EFS = "s3", "efs"
NONE, INSTALLED = "none", "installed"
TEMPORARY = Path("/tmp/lambdafit-libraries")  # noqa: S108 - a folder of mode 700, each execution environment's own
NOTE = "lambdafit-libraries.json"
"""Inside each unpacked folder: its `Contents`, written when all else was."""

_NOTES = msgspec.json.Decoder(Contents)


@dataclass(frozen=True)
class Loaded:
    """Libraries that can be imported.

    Args:
        digest: of their archive; `installed` where there was none.
        folder: on sys.path; None where they were installed already.
        unpacked_bytes: that were written just now; 0 where they lay there.
        seconds: that it took.
    """

    digest: str
    folder: Path | None
    unpacked_bytes: int
    seconds: float


@dataclass(frozen=True)
class Places:
    """Where libraries may be.

    Args:
        source: LAMBDAFIT_LIBRARIES.
        shared: the root of the shared files, for `efs`.
        objects: gives the bucket, for `s3`: boto3 is imported only then.
        temporary: where archives are unpacked.
        digest: the only libraries that may be taken from `s3` or `efs`, empty for none; None: those that the pointer
            beside them names, which whoever can write there decides.
    """

    source: str
    shared: Path
    objects: Callable[[], Objects]
    temporary: Path = TEMPORARY
    digest: str | None = None


_loaded: Loaded | None = None
_only_one = threading.Lock()


def ensure(places: Places) -> Loaded:
    """Make the libraries importable; from the second call in a process on, nothing is left to do.

    Raises:
        ArchiveNotFound: there are none; nobody uploaded or installed them.
        ArchiveUnsuitable, LibrariesOutdated: they are for another processor or Python, or other pins than the code's.
        ArchiveCorrupted: the archive is not what its manifest says.
        NoRoomForLibraries: they do not fit into the temporary folder.
    """
    global _loaded
    with _only_one:
        if _loaded is None:
            _loaded = _load(places)
        return _loaded


def loaded() -> Loaded | None:
    """What `ensure` has loaded in this process; None before."""
    return _loaded


def current_digest(places: Places) -> str:
    """Which libraries `ensure` would take, without loading any: a digest, `installed`, or `none`."""
    if not places.source:
        return INSTALLED
    if _loaded is not None:
        return _loaded.digest
    try:
        if places.source == EFS:
            return _installed_folder(places).name
        return _find(places)[1].digest
    except LambdafitError:
        return NONE


def deployed_digest(places: Places, otherwise: Callable[[], str] = lambda: "") -> str:
    """Which libraries are to be taken.

    Args:
        otherwise: asked where nobody has decided.
    Raises:
        ArchiveNotFound: the stack was deployed without any.
    """
    if places.digest is None:
        return otherwise()
    if not places.digest:
        raise ArchiveNotFound("stack", "its parameter LibrariesDigest is empty", "the digest of an archive")
    return places.digest


def check(contents: Contents, where: str) -> None:
    """Whether these libraries are for this function.

    Raises:
        ArchiveUnsuitable: for another processor or Python.
        LibrariesOutdated: of other versions than the code is pinned to.
    """
    here = (this_architecture(), this_python())
    if (contents.architecture, contents.python) != here:
        found = f"it is for {contents.architecture} and Python {contents.python}"
        raise ArchiveUnsuitable(where, found, f"{here[0]} and Python {here[1]}")
    if contents.lock != lock_digest():
        raise LibrariesOutdated(where, f"its pins are {contents.lock[:12]}…", f"{lock_digest()[:12]}…, the code's")


def write_note(folder: Path, contents: Contents) -> None:
    """Say inside an unpacked folder what it holds."""
    (folder / NOTE).write_text(json.dumps(asdict(contents), sort_keys=True))


def read_note(folder: Path) -> Contents:
    """What an unpacked folder holds.

    Raises:
        ArchiveCorrupted: it does not say so.
    """
    try:
        return _NOTES.decode((folder / NOTE).read_bytes())
    except (OSError, msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ArchiveCorrupted(str(folder), f"{NOTE} cannot be read ({type(error).__name__})") from error


def _load(places: Places) -> Loaded:
    began = time.monotonic()
    if not places.source:
        return Loaded(INSTALLED, None, 0, 0.0)
    if places.source == EFS:
        folder = _installed_folder(places)
        check(read_note(folder), str(folder))
        with contextlib.suppress(OSError):
            os.utime(folder / NOTE)  # when it was last used: see handlers/install_libraries.py
        digest, unpacked = folder.name, 0
    else:
        archive, manifest = _find(places)
        check(manifest.contents, archive.where)
        folders.remove_others(places.temporary, manifest.digest)
        held = folders.hold(places.temporary, manifest.digest, lambda part: _make(archive, manifest, part))
        folder, digest = held.path, manifest.digest
        unpacked = manifest.contents.bytes if held.made else 0
    sys.path.insert(0, str(folder))
    return Loaded(digest, folder, unpacked, time.monotonic() - began)


def _make(archive: Archive, manifest: Manifest, part: Path) -> None:
    unpack(archive, manifest, part)
    write_note(part, manifest.contents)


def _find(places: Places) -> tuple[Archive, Manifest]:
    archive: Archive
    if places.source == S3:
        objects = places.objects()
        digest = deployed_digest(places, lambda: pointed(lambda: objects.read(POINTER), f"bucket, {POINTER}"))
        archive = ObjectArchive(objects, archive_key(digest))
    else:
        archive, digest = FileArchive(Path(places.source)), ""
    manifest = read_manifest(archive)
    if digest and manifest.digest != digest:
        raise ArchiveCorrupted(archive.where, f"its digest is {manifest.digest}", digest)
    return archive, manifest


def _installed_folder(places: Places) -> Path:
    """What InstallLibraries has unpacked onto the shared files."""
    pointer = places.shared / POINTER
    digest = deployed_digest(places, lambda: pointed(pointer.read_bytes, str(pointer)))
    folder = places.shared / FOLDER / digest
    if not folder.is_dir():
        raise ArchiveNotFound(str(folder), "there is no such folder", "one that InstallLibraries made")
    return folder
