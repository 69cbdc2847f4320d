"""`data push` and `data list`."""

from __future__ import annotations

import re
from pathlib import Path

from cli.console import make_table, output
from cli.data_commands import DATASET_KEYS
from cli.flags import Flags, print_json
from cli.stack_access import open_engine
from cli.stack_train import data_places
from cli.transfer_bar import TransferBar
from contracts.errors import DataNotFound, InvalidSetting
from engines.aws_stack import datasets
from engines.aws_stack.prepare_process import Wanted
from training.datasets.folder import folder_source
from training.datasets.source import DataSource, builtin_sources, source_named


def push_dataset(dataset: str, name: str | None, flags: Flags, *, as_json: bool) -> None:
    """Bring a data set to the stack."""
    wanted, known = which(dataset, name)
    engine = open_engine(flags.place)
    with TransferBar(flags) as bar:
        stored = datasets.bring(engine.bucket, wanted, known, data_places(), bar.begin)
    if as_json:
        print_json(entry(stored))
        return
    facts = stored.facts
    output().print(
        f"{stored.name} is in {engine.stack.place}: {facts['train_examples']:,} + {facts['val_examples']:,} + "
        f"{facts['test_examples']:,} examples, {facts['bytes'] / 1e6:.1f} MB"
    )


def show_datasets(flags: Flags, *, as_json: bool) -> None:
    """List the stack's data sets."""
    engine = open_engine(flags.place)
    found = datasets.stored(engine.bucket)
    if as_json:
        print_json({"datasets": [entry(stored) for stored in found]})
        return
    if not found:
        output().print("No data sets yet. Bring one: lambdafit data push fashion-mnist")
        return
    table = make_table("data set", "train", "val", "test", "shape", "classes", "MB",
                       numbers=("train", "val", "test", "classes", "MB"))  # fmt: skip
    for stored in found:
        facts = stored.facts
        sizes = [f"{facts[f'{split}_examples']:,}" for split in ("train", "val", "test")]
        shape = "×".join(str(size) for size in facts["x_shape"])
        table.add_row(stored.name, *sizes, shape, str(facts["classes"]), f"{facts['bytes'] / 1e6:.1f}")
    output().print(table)


def entry(stored: datasets.StoredDataset) -> dict[str, object]:
    """One data set as JSON."""
    return {key: stored.facts.get(key) for key in DATASET_KEYS} | {"name": stored.name, "folder": stored.folder}


def which(dataset: str, name: str | None) -> tuple[Wanted, DataSource | None]:
    """What `NAME|FOLDER` means.

    Raises:
        DataNotFound: it is neither a built-in data set nor a folder with the arrays.
        InvalidSetting: the name will not do.
    """
    if dataset in builtin_sources():
        if name is not None:
            raise InvalidSetting("--name", f"{dataset} is built in", "no other name for it")
        return Wanted(dataset=dataset), source_named(dataset)
    path = Path(dataset)
    if not path.exists():
        expected = f"one of {', '.join(builtin_sources())}, a folder, or a .npz file"
        raise DataNotFound("data set", f"{dataset!r} is neither built in nor a folder", expected, advice="See --help.")
    called = name or re.sub(r"[^a-z0-9]+", "-", path.absolute().stem.lower()).strip("-")
    folder_source(path, called)
    return Wanted(folder=str(path.absolute()), name=called), None
