"""More updates are combined than files may be open at once."""

from __future__ import annotations

import resource
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from contracts.errors import TornFile
from stores.shared_files import FolderFiles
from training.combine import TornUpdates, Update, average_slice
from training.vector_files import write_vector

FEW = 128
WORKERS = 300


@pytest.fixture
def few_descriptors() -> Iterator[None]:
    """As many as this process has, and `FEW` more. Some systems' default is 256; on Lambda it is 1,024."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(list(Path("/dev/fd").iterdir())) + FEW, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def handed_in(files: FolderFiles) -> list[Update]:
    bounds = (0, 3)
    refs = [write_vector(files, f"u/{i}", np.full(3, float(i)), bounds, durable=False) for i in range(WORKERS)]
    return [Update(i, ref, 1, f"nonce{i}") for i, ref in enumerate(refs)]


@pytest.mark.usefixtures("few_descriptors")
def test_more_updates_than_descriptors(tmp_path: Path) -> None:
    files = FolderFiles(tmp_path)
    mean = average_slice(files, handed_in(files), (0, 3), 0)
    assert mean == pytest.approx([(WORKERS - 1) / 2] * 3)


@pytest.mark.usefixtures("few_descriptors")
def test_torn_ones_are_named_wherever_they_stand(tmp_path: Path) -> None:
    files = FolderFiles(tmp_path)
    updates = handed_in(files)
    for index in (1, WORKERS - 1):
        path = tmp_path / "u" / str(index)
        path.write_bytes(path.read_bytes()[:-8] + bytes(8))
    files.remove(f"u/{WORKERS - 2}")
    with pytest.raises(TornUpdates) as caught:
        average_slice(files, updates, (0, 3), 0)
    assert caught.value.voids == {WORKERS - 2: f"nonce{WORKERS - 2}"}, "a missing one is found before anything is read"
    files.write(f"u/{WORKERS - 2}", [(tmp_path / "u" / "2").read_bytes()], durable=False)
    with pytest.raises(TornUpdates) as caught:
        average_slice(files, updates, (0, 3), 0)
    assert set(caught.value.voids) == {1, WORKERS - 2, WORKERS - 1}
    assert isinstance(caught.value.error, TornFile)
