"""A run's data set and its user's recipe from the bucket onto the shared files: prepare's work on AWS.

Nothing is computed here, and no recipe is run: the data set was prepared where it was pushed from. Every byte is
checked against the digests that were taken there. A copy that was cut short goes on with the array that it was at; two
copies at once write the same bytes under the same names.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Annotated, Any

import msgspec
import xxhash
from msgspec import Meta

from contracts.errors import DataCorrupted, DataNotFound, LambdafitError, TornFile, UnknownRecipe
from contracts.identifiers import check_relative_path
from contracts.ports import ObjectFacts, Objects, SharedFiles
from contracts.records import Run
from contracts.stack_errors import ObjectNotFound, ObjectsForbidden, ObjectsUnreachable
from runs.fetch_weights import fetch_weights
from training.datasets.prepare import SPLITS
from training.weights import WEIGHTS

RANGE_BYTES = 8 << 20
READERS = 6
"""Ranges that are read side by side, ahead of the one that is written: at most so many are in memory, and one more."""

TRIES = 3
"""boto3 asks again for an answer that did not come, but not for the rest of one that broke off."""

NOT_TO_BE_HAD = (ObjectNotFound, ObjectsForbidden)
"""S3 tells only those who may list the bucket that something is not there, and this function may not."""

_MAGIC = b"\x93NUMPY\x01\x00"
_PREFIX_BYTES = 10


class StoredArray(msgspec.Struct, frozen=True):
    """What `meta.json` says of one array's file. `digest` is xxh3-128 of the values, behind the header."""

    bytes: Annotated[int, Meta(ge=1)]
    digest: str


class StoredFacts(msgspec.Struct, frozen=True):
    """What `meta.json` must say; it says more."""

    name: str
    folder: str
    train_examples: int
    files: dict[str, StoredArray]


def fetch_data(run: Run, files: SharedFiles, objects: Objects) -> dict[str, Any]:
    """Make the run's data set, its user's recipe and its backbone's weights, if it has them, ready on the shared files.

    Returns:
        the facts of the data set, as `training.datasets.prepare.prepare_dataset` returns them.
    Raises:
        DataNotFound: nobody has pushed the data set.
        UnknownRecipe, WeightsNotFound: nobody has brought the recipe, or the weights.
        DataCorrupted: what is in the bucket is not what was pushed; nothing of it was kept.
        ObjectsUnreachable, ObjectsForbidden: see `contracts.ports.Objects`.
    """
    settings = run.settings
    if settings.recipe.endswith(".py"):
        fetch_recipe(settings.recipe, settings.recipe_digest, files, objects)
    fetch_weights(settings.recipe_settings.get(WEIGHTS), files, objects)
    folder = check_relative_path(settings.data_folder or _folder_of(settings.dataset, objects))
    content = _meta(settings.dataset, folder, objects)
    facts, stored = _parsed(content, folder)
    if _is_ready(files, folder, content, stored):
        return facts
    with ThreadPoolExecutor(READERS, thread_name_prefix="fetch") as readers:
        for name in SPLITS:
            _fetch_array(f"{folder}/{name}.npy", stored.files[name], files, objects, readers)
    files.write(f"{folder}/meta.json", [content], durable=True)
    return facts


def fetch_recipe(location: str, digest: str, files: SharedFiles, objects: Objects) -> None:
    """Make a user's recipe ready on the shared files; nothing where it is.

    Raises:
        UnknownRecipe: nobody has brought it.
        DataCorrupted: it is another file than the one that was described.
    """
    if files.exists(location) and xxhash.xxh3_128_hexdigest(files.read(location)) == digest:
        return
    try:
        source = objects.read(location)
    except NOT_TO_BE_HAD as error:
        advice = "`lambdafit train YOUR.py --engine aws` brings the file there before it starts the run."
        raise UnknownRecipe(f"recipe {location}", error.message, advice=advice) from error
    found = xxhash.xxh3_128_hexdigest(source)
    if found != digest:
        raise DataCorrupted(f"recipe {location}", f"its xxh3-128 is {found}", digest, advice=_PUSH_RECIPE)
    files.write(location, [source], durable=True)


_PUSH_RECIPE = "Start the run again from the recipe's file: that brings the file as it is."


def _folder_of(dataset: str, objects: Objects) -> str:
    """The folder that the pointer of a data set's name names."""
    key = f"datasets/{dataset}.json"
    try:
        pointer = msgspec.json.decode(objects.read(key))
    except NOT_TO_BE_HAD as error:
        raise _not_pushed(dataset, error) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pointer = None
    folder = pointer.get("folder") if isinstance(pointer, dict) else None
    if not isinstance(folder, str) or not folder.startswith("datasets/"):
        raise _corrupted(key, dataset, "it names no folder", '{"folder": "datasets/…"}')
    return folder


def _meta(dataset: str, folder: str, objects: Objects) -> bytes:
    try:
        return objects.read(f"{folder}/meta.json")
    except NOT_TO_BE_HAD as error:
        raise _not_pushed(dataset, error) from error


def _parsed(content: bytes, folder: str) -> tuple[dict[str, Any], StoredFacts]:
    key = f"{folder}/meta.json"
    try:
        stored = msgspec.json.decode(content, type=StoredFacts)
        facts: dict[str, Any] = msgspec.json.decode(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise _corrupted(key, folder.rpartition("/")[2], str(error), "the facts of a data set") from None
    if stored.folder != folder:
        raise _corrupted(key, stored.name, f"it tells of {stored.folder!r}", f"{folder!r}")
    if missing := [name for name in SPLITS if name not in stored.files]:
        raise _corrupted(key, stored.name, f"it lacks {', '.join(missing)}", "all six arrays")
    return facts, stored


def _is_ready(files: SharedFiles, folder: str, content: bytes, stored: StoredFacts) -> bool:
    """Whether the copy is complete: `meta.json` is written last. Workers check the digests when they read."""
    try:
        if files.read(f"{folder}/meta.json") != content:
            return False
        for name in SPLITS:
            files.read_into(f"{folder}/{name}.npy", stored.files[name].bytes - 1, bytearray(1))
    except TornFile:
        return False
    return True


def _fetch_array(
    path: str, stored: StoredArray, files: SharedFiles, objects: Objects, readers: ThreadPoolExecutor
) -> None:
    """One array, unless an earlier copy has brought it whole."""
    if files.exists(path) and _digest(files, path, stored) == stored.digest:
        return
    dataset = path.split("/")[1].rpartition("-")[0]
    try:
        facts = objects.head(path)
    except NOT_TO_BE_HAD as error:
        raise _not_pushed(dataset, error) from error
    if facts.bytes != stored.bytes:
        raise _corrupted(path, dataset, f"{facts.bytes} bytes", str(stored.bytes))
    files.write(path, _checked(_ranges(facts, objects, readers), path, dataset, stored.digest), durable=True)


def _ranges(facts: ObjectFacts, objects: Objects, readers: ThreadPoolExecutor) -> Iterator[bytearray]:
    """An object's content in order, its next ranges being read meanwhile."""
    ahead: deque[Future[bytearray]] = deque()
    try:
        for offset in range(0, facts.bytes, RANGE_BYTES):
            ahead.append(readers.submit(_read, objects, facts, offset))
            if len(ahead) == READERS:
                yield ahead.popleft().result()
        while ahead:
            yield ahead.popleft().result()
    finally:
        for future in ahead:
            future.cancel()


def _read(objects: Objects, facts: ObjectFacts, offset: int) -> bytearray:
    buffer = bytearray(min(RANGE_BYTES, facts.bytes - offset))
    for attempt in range(TRIES):
        try:
            objects.read_into(facts, offset, buffer)
        except ObjectsUnreachable:
            if attempt == TRIES - 1:
                raise
        else:
            break
    return buffer


def _checked(ranges: Iterator[bytearray], path: str, dataset: str, digest: str) -> Iterator[bytearray]:
    """The content as it comes; an error before its end where it is not what was pushed, so that no file appears."""
    hasher = xxhash.xxh3_128()
    skip = None
    for content in ranges:
        if skip is None:
            skip = _header_bytes(content)
            if skip is None:
                raise _corrupted(path, dataset, "it is no .npy file of format 1.0", "one")
        hasher.update(memoryview(content)[skip:])
        skip = 0
        yield content
    if hasher.hexdigest() != digest:
        raise _corrupted(path, dataset, f"the digest of its values is {hasher.hexdigest()}", digest)


def _header_bytes(content: bytearray | bytes) -> int | None:
    """How long the header of a `.npy` file is; None where it is no such file."""
    if len(content) < _PREFIX_BYTES or bytes(content[:8]) != _MAGIC:
        return None
    length = _PREFIX_BYTES + int.from_bytes(content[8:10], "little")
    return length if length <= len(content) else None


def _digest(files: SharedFiles, path: str, stored: StoredArray) -> str:
    """The digest of an array that lies there; empty where it is too short or no array."""
    hasher = xxhash.xxh3_128()
    try:
        with files.open(path) as file:
            for offset in range(0, stored.bytes, RANGE_BYTES):
                buffer = bytearray(min(RANGE_BYTES, stored.bytes - offset))
                file.read_into(offset, buffer)
                skip = _header_bytes(buffer) if offset == 0 else 0
                if skip is None:
                    return ""
                hasher.update(memoryview(buffer)[skip:])
    except TornFile:
        return ""
    return hasher.hexdigest()


def _not_pushed(dataset: str, error: LambdafitError) -> DataNotFound:
    return DataNotFound(f"data set {dataset}", error.message.rstrip("."), advice=_push(dataset))


def _corrupted(key: str, dataset: str, received: str, expected: str) -> DataCorrupted:
    return DataCorrupted(f"bucket, {key}", received, expected, advice=_push(dataset))


def _push(dataset: str) -> str:
    return f"`lambdafit data push {dataset}` brings it there, whole."
