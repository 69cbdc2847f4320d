"""A run's weights from the bucket onto the shared files: a part of prepare's work on AWS. No TensorFlow."""

from __future__ import annotations

import xxhash

from contracts.errors import DataCorrupted, WeightsNotFound
from contracts.ports import Objects, SharedFiles
from contracts.stack_errors import ObjectNotFound, ObjectsForbidden
from training.weights import is_shared, shared_path

_ADVICE = "`lambdafit train … --engine aws` brings them there before it starts the run."


def fetch_weights(location: object, files: SharedFiles, objects: Objects) -> None:
    """Copy a backbone's weights; nothing where they are there whole.

    Args:
        location: a run's setting `weights`, whatever that is.
    Raises:
        WeightsNotFound: nobody has brought them to the bucket.
        DataCorrupted: they are not what was brought; nothing of it was kept.
    """
    if not isinstance(location, str) or not is_shared(location) or holds(files, location):
        return
    try:
        content = objects.read(location)
    except (ObjectNotFound, ObjectsForbidden) as error:  # see `runs.fetch_data.NOT_TO_BE_HAD`
        raise WeightsNotFound(f"bucket, {location}", error.message.rstrip("."), advice=_ADVICE) from error
    found = xxhash.xxh3_128_hexdigest(content)
    if shared_path(found) != location:
        raise DataCorrupted(f"bucket, {location}", f"its xxh3-128 is {found}", advice=_ADVICE)
    files.write(location, [content], durable=True)


def holds(files: SharedFiles, location: str) -> bool:
    """Whether weights are on the shared files, with just the bytes that their name tells."""
    return files.exists(location) and shared_path(xxhash.xxh3_128_hexdigest(files.read(location))) == location
