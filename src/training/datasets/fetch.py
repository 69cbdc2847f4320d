"""A data set's files: found in a folder of the user's, or in the cache, or downloaded into it; always checked."""

from __future__ import annotations

import hashlib
from pathlib import Path

from contracts.errors import DataCorrupted, DataNotFound
from training.datasets.source import DataFile, DataSource

_TIMEOUT_S = 30


def check_source(source: DataSource, data_folder: Path | None, cache_folder: Path) -> Path:
    """Make sure that all files of a data set are there and whole. Files are streamed, never held in memory.

    Args:
        data_folder: the user's data; `<data_folder>/<name>/` is looked in first.
        cache_folder: missing files are downloaded into `<cache_folder>/<name>/`.
    Returns:
        the folder that holds all files; for a source without files, one that may not exist.
    Raises:
        DataCorrupted: a file is cut off or has another digest.
        DataNotFound: a file is in neither folder and cannot be downloaded.
    """
    cached = cache_folder / source.name
    own = data_folder / source.name if data_folder is not None else None
    if own is not None and is_unpacked(source, own):
        return own
    folder = own if own is not None and all((own / file.name).is_file() for file in source.files) else cached
    for file in source.files:
        if not (folder / file.name).is_file():
            _download(source, file, cached, own)
        _check_file(folder / file.name, file)
    return folder


def is_unpacked(source: DataSource, folder: Path) -> bool:
    """Whether a folder lacks a data set's files and has what they unpack to."""
    there = [(folder / file.name).is_file() for file in source.files]
    return not all(there) and bool(source.unpacked) and all((folder / path).is_file() for path in source.unpacked)


def _check_file(path: Path, file: DataFile) -> None:
    size = path.stat().st_size
    if size != file.bytes:
        raise DataCorrupted(str(path), f"{size} bytes", str(file.bytes))
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    if digest != file.sha256:
        raise DataCorrupted(str(path), f"its sha256 is {digest}", file.sha256)


def _download(source: DataSource, file: DataFile, folder: Path, looked_in: Path | None) -> None:
    """One file into `folder`, renamed into place once it is whole."""
    import pooch  # imported here: it brings an HTTP client, which only a download needs

    pooch.get_logger().setLevel("WARNING")
    url = source.base_url + file.name
    try:
        for one in (folder.parent, folder):
            one.mkdir(mode=0o700, parents=True, exist_ok=True)
        pooch.retrieve(
            url,
            known_hash=f"sha256:{file.sha256}",
            fname=file.name,
            path=folder,
            downloader=pooch.HTTPDownloader(timeout=_TIMEOUT_S),
        )
        (folder / file.name).chmod(0o600)
    except ValueError as error:  # pooch's word for another digest
        raise DataCorrupted(url, str(error).split("\n")[0]) from None
    except OSError as error:  # requests' exceptions are OSErrors
        places = " or ".join(str(place) for place in (looked_in, folder) if place is not None)
        received = f"{file.name} is not in {places}, and {url} gave {type(error).__name__}"
        raise DataNotFound(f"data set {source.name}", received) from None
