"""`lambdafit data …`: their options."""

from __future__ import annotations

import click

from cli.flags import Command, Flags, Group, json_option
from cli.place import place_options

DATASET_KEYS = ("name", "folder", "train_examples", "val_examples", "test_examples", "x_shape", "classes", "bytes")


@click.group(cls=Group, example="lambdafit data push fashion-mnist\nlambdafit data list", short_help="A stack's data.")
def data() -> None:
    """Bring data sets to a deployed stack, and list those that are there."""


@data.command(
    cls=Command,
    short_help="Bring a data set to a stack.",
    example="lambdafit data push fashion-mnist\nlambdafit data push leaves/ --name leaves",
)
@click.argument("dataset", metavar="NAME|FOLDER")
@click.option("--name", help="What a FOLDER's data set is called.  [default: the folder's name]")
@place_options(engine=False)
@json_option(*DATASET_KEYS)
@click.pass_obj
def push(flags: Flags, dataset: str, name: str | None, as_json: bool) -> None:
    """Check a data set, shuffle and split it here as a run would, and upload it to the stack's bucket.

    NAME is a built-in one. A FOLDER holds x_train.npy, y_train.npy, x_test.npy and y_test.npy, or one .npz with these
    four arrays, and if wanted class_names.txt. A push that was cut short goes on where it was.
    """
    from cli.data_screen import push_dataset

    push_dataset(dataset, name, flags, as_json=as_json)


@data.command("list", cls=Command, short_help="A stack's data sets.", example="lambdafit data list --json")
@place_options(engine=False)
@json_option("datasets")
@click.pass_obj
def list_datasets(flags: Flags, as_json: bool) -> None:
    """The data sets in a stack's bucket."""
    from cli.data_screen import show_datasets

    show_datasets(flags, as_json=as_json)
