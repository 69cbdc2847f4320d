"""A frozen backbone's weights: a file of Keras's, published or of one's own. Nothing in it is ever run.

Runs know such a file by its content: it is copied to the shared files as `weights/<xxh3-128>.weights.h5`, and the
setting `weights` of a run is that path. TensorFlow is not imported with this module.
"""

from __future__ import annotations

import hashlib
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import xxhash

from contracts.errors import WeightsNotFound, WeightsUnfit

WEIGHTS = "weights"
"""The setting that names the file."""

FOLDER = "weights"
"""Where such files lie on the shared files and in the bucket."""

NOT_LOADED = "not loaded"
"""What the setting is where only the backbone's shape is wanted."""

_SHARED = re.compile(rf"{FOLDER}/[0-9a-f]{{32}}\.weights\.h5")
_TIMEOUT_S = 60
_BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class PublishedWeights:
    """A file of weights as published.

    Args:
        folder: its folder's name under the user's data folder.
        name: the file's name there.
        url: where it is downloaded from, by https.
        digest: `md5:…` or `sha256:…` as the publisher states it; empty where none is stated, so that only https
            vouches for it. A run knows it by its own digest in any case.
        bytes: how large it is, roughly, for people.
    """

    folder: str
    name: str
    url: str
    digest: str = ""
    bytes: int = 0


def shared_path(digest: str) -> str:
    """Where weights of this xxh3-128 lie on the shared files."""
    return f"{FOLDER}/{digest}.weights.h5"


def is_shared(weights: object) -> bool:
    """Whether a setting's value is such a path."""
    return isinstance(weights, str) and _SHARED.fullmatch(weights) is not None


def file_name(weights: str) -> str:
    """A path's last part: the same for weights on the shared files, wherever these are mounted."""
    return PurePosixPath(weights).name


def with_local_weights(settings: Mapping[str, Any], local_path: Callable[[str], str]) -> dict[str, Any]:
    """A run's settings for this machine: weights on the shared files by their path here.

    Args:
        local_path: of `contracts.ports.SharedFiles`.
    """
    weights = settings.get(WEIGHTS)
    return dict(settings) | ({WEIGHTS: local_path(weights)} if isinstance(weights, str) and is_shared(weights) else {})


def load_weights(model: Any, weights: str) -> None:
    """Give a Keras model the weights in a file, `.weights.h5` or the older `.h5`, whatever the file is called.

    Args:
        weights: the setting's value; nothing is done for NOT_LOADED.
    Raises:
        WeightsNotFound: there is no such file, or none was named.
        WeightsUnfit: it is no file of weights, or holds those of another model.
    """
    if weights == NOT_LOADED:
        return
    path = Path(weights)
    if not weights or not path.is_file():
        raise WeightsNotFound(f"weights of {model.name}", f"no file {weights}" if weights else "no file was named")
    try:
        # Keras tells the two formats apart by the name alone.
        with tempfile.TemporaryDirectory(prefix="lambdafit-") as folder:
            named = Path(folder) / ("old.h5" if _is_old_format(path) else "new.weights.h5")
            named.symlink_to(path.resolve())
            model.load_weights(named)
    except (ValueError, OSError, KeyError, TypeError, RuntimeError) as error:
        received = f"it does not fit ({type(error).__name__}: {_first_line(error)})"
        raise WeightsUnfit(f"weights {path}", received, f"those of {model.name}") from error


def is_here(published: PublishedWeights, data_folder: Path | None, cache_folder: Path) -> bool:
    """Whether the published file need not be downloaded; see `find_published`."""
    folders = [folder for folder in (data_folder, cache_folder) if folder is not None]
    return any((folder / published.folder / published.name).is_file() for folder in folders)


def find_published(published: PublishedWeights, data_folder: Path | None, cache_folder: Path) -> Path:
    """The published file: the user's, or the one that was downloaded before, or downloaded now.

    Raises:
        WeightsNotFound: it is in neither folder and cannot be downloaded.
        WeightsUnfit: it has another digest than the one that is published.
    """
    own = data_folder / published.folder / published.name if data_folder is not None else None
    if own is not None and own.is_file():
        _check(own, published)
        return own
    cached = cache_folder / published.folder / published.name
    if not cached.is_file():
        _download(published, cached, own)
    _check(cached, published)
    return cached


def file_digest(path: Path) -> str:
    """xxh3-128 of a file, in hexadecimal.

    Raises:
        WeightsNotFound: it cannot be read.
    """
    hasher = xxhash.xxh3_128()
    try:
        with path.open("rb") as stream:
            while block := stream.read(_BLOCK_BYTES):
                hasher.update(block)
    except OSError as error:
        raise WeightsNotFound(f"--set {WEIGHTS}", f"{path} cannot be read ({error.strerror})") from None
    return str(hasher.hexdigest())


def _is_old_format(path: Path) -> bool:
    """Whether a file is of the format before Keras 3, in which the published ones are."""
    import h5py  # type: ignore[import-untyped]  # comes with Keras

    with h5py.File(path, "r") as file:
        return "layer_names" in file.attrs or "model_weights" in file


def _check(path: Path, published: PublishedWeights) -> None:
    if not published.digest:
        return
    kind, _, expected = published.digest.partition(":")
    with path.open("rb") as stream:
        found = hashlib.file_digest(stream, kind).hexdigest()
    if found != expected:
        raise WeightsUnfit(f"weights {path}", f"its {kind} is {found}", expected)


def _download(published: PublishedWeights, target: Path, own: Path | None) -> None:
    """One file to `target`, where it is whole or not there."""
    import pooch  # imported here: it brings an HTTP client, which only a download needs

    pooch.get_logger().setLevel("WARNING")
    try:
        for folder in (target.parent.parent, target.parent):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        pooch.retrieve(
            published.url,
            known_hash=published.digest or None,
            fname=target.name,
            path=target.parent,
            downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_S),
        )
        target.chmod(0o600)
    except ValueError as error:  # pooch's word for another digest
        raise WeightsUnfit(published.url, str(error).split("\n")[0], published.digest) from None
    except OSError as error:  # requests' exceptions are OSErrors
        places = " or ".join(str(place) for place in (own, target) if place is not None)
        received = f"there is no {places}, and {published.url} gave {type(error).__name__}"
        raise WeightsNotFound(f"weights {published.name}", received) from None


def _first_line(error: Exception) -> str:
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[0][:200].rstrip(".:") if lines else "no reason given"
