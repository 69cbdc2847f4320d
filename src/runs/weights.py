"""The weights of a recipe's frozen backbone, for a run: found, checked, and copied to where the workers take them from.

A run names them by their content: whatever the user's file is called, the run's setting `weights` is its path on the
shared files, `weights/<xxh3-128>.weights.h5`.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import xxhash

from contracts.errors import WeightsNotFound, WeightsUnfit
from contracts.ports import SharedFiles
from runs import recipes
from runs.check_weights import Question
from runs.describe_recipe import DataPlaces
from runs.fetch_weights import holds
from runs.own_process import ask
from runs.recipe_summary import RecipeSummary
from training.weights import WEIGHTS, file_digest, find_published, is_here, is_shared, shared_path

LARGEST_BYTES = 2 << 30
_BLOCK_BYTES = 8 << 20


@dataclass(frozen=True)
class Wanted:
    """A recipe with its weights found.

    `overrides` and the settings of `summary` name them by their path on the shared files. `file` is where they lie on
    this machine; None where nothing has to be brought.
    """

    summary: RecipeSummary
    overrides: Mapping[str, str]
    file: Path | None = None

    @property
    def location(self) -> str:
        """Their path on the shared files; empty where there are none."""
        weights = self.summary.settings.get(WEIGHTS) if self.summary.takes_weights else ""
        return str(weights) if is_shared(weights) else ""


def describe(
    recipe: str, overrides: Mapping[str, str], places: DataPlaces, *, is_dry: bool = False, checks_data: bool = True
) -> Wanted:
    """A recipe as data, its settings overridden and its weights found. Published ones are downloaded if need be.

    Args:
        is_dry: nothing is downloaded, and weights that are not here are left open.
        checks_data: see `recipes.describe`.
    Raises:
        WeightsNotFound: there is no such file, or the published one cannot be downloaded.
        WeightsUnfit: the published one has another digest than it should have, or a file is too large.
        UnknownRecipe, RecipeFailed, InvalidSetting, DataNotFound, DataCorrupted: see `recipes.describe`.
    """
    summary = recipes.describe(recipe, overrides, places if checks_data and not is_dry else None)
    file = _file(summary, places, is_dry=is_dry)
    if file is None:
        return Wanted(summary, overrides)
    if file.stat().st_size > LARGEST_BYTES:
        raise WeightsUnfit(f"weights {file}", f"{file.stat().st_size} bytes", f"at most {LARGEST_BYTES}")
    named = {**overrides, WEIGHTS: shared_path(file_digest(file))}
    return Wanted(recipes.describe(recipe, named), named, file)


def check(recipe: str, wanted: Wanted, is_known: Callable[[str], bool]) -> None:
    """Make sure that the weights are those of the recipe's backbone, which takes TensorFlow a while the first time.

    Args:
        is_known: whether a mark that `keep` leaves is there.
    Raises:
        WeightsUnfit: they are not.
        RecipeFailed: the recipe's own code raised.
    """
    if wanted.file is None or not wanted.location or is_known(mark(wanted)):
        return
    where = f"weights {wanted.file}"
    question = Question(recipe, wanted.summary.settings | {WEIGHTS: str(wanted.file.absolute())})
    ask("runs.check_weights", question, bool, lambda how: WeightsUnfit(where, f"{how} while they were loaded"))


def mark(wanted: Wanted) -> str:
    """The path of an empty file which says that these weights fit the backbone of this very recipe."""
    return f"{wanted.location.removesuffix('.weights.h5')}.fit-{wanted.summary.digest}"


def keep(files: SharedFiles, wanted: Wanted) -> None:
    """Copy the weights to where the run looks for them, unless they are there whole.

    Raises:
        WeightsNotFound: a path on the shared files was given, and there is nothing.
        WeightsUnfit: the file was changed meanwhile.
    """
    if not wanted.location:
        return
    if not holds(files, wanted.location):
        if wanted.file is None:
            raise WeightsNotFound(f"--set {WEIGHTS}", f"there is no {wanted.location} on the shared files")
        files.write(wanted.location, _checked(_blocks(wanted.file), wanted), durable=True)
    if wanted.file is not None:
        files.write(mark(wanted), [b""], durable=False)


def _file(summary: RecipeSummary, places: DataPlaces, *, is_dry: bool) -> Path | None:
    """Where a recipe's weights lie on this machine; None where it takes none, or they were brought before."""
    weights, published = summary.settings.get(WEIGHTS), summary.published_weights
    if not summary.takes_weights or not isinstance(weights, str) or is_shared(weights):
        return None
    if weights:
        path = Path(weights).expanduser()
        if not path.is_file():
            raise WeightsNotFound(f"--set {WEIGHTS}", f"there is no file {path.absolute()}")
        return path
    if published is None:
        return None
    folder = Path(places.data_folder) if places.data_folder else None
    downloads = Path(places.download_folder)
    if not is_here(published, folder, downloads):
        if is_dry:
            return None
        size = f" ({published.bytes / 1e6:.1f} MB)" if published.bytes else ""
        sys.stderr.write(f"Downloading weights {published.name}{size} from {published.url}\n")
    return find_published(published, folder, downloads)


def _blocks(path: Path) -> Iterator[bytes]:
    with path.open("rb") as stream:
        while block := stream.read(_BLOCK_BYTES):
            yield block


def _checked(blocks: Iterator[bytes], wanted: Wanted) -> Iterator[bytes]:
    """The blocks as they come; an error before their end where they are others, so that no file appears."""
    hasher = xxhash.xxh3_128()
    for block in blocks:
        hasher.update(block)
        yield block
    if shared_path(hasher.hexdigest()) != wanted.location:
        received = "it was changed while it was being read"
        raise WeightsUnfit(f"weights {wanted.file}", received, "a file at rest", advice="Start again.")
