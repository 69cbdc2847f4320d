"""`lambdafit predict`, `evaluate` and `export`: their options."""

from __future__ import annotations

from pathlib import Path

import click

from cli.flags import Command, Flags, json_option
from cli.place import place_options

PREDICT = {
    "short_help": "What a run's model sees in pictures.",
    "example": "lambdafit predict latest shoe.png shirt.png",
}
EVALUATE = {"short_help": "Loss and accuracy of a run's model.", "example": "lambdafit evaluate latest --json"}
EXPORT = {
    "short_help": "Take a run's model or curves along.",
    "example": "lambdafit export latest --to keras --output digits.keras",
}
FORMATS = ("keras", "safetensors", "tensorboard")


@click.command(
    cls=Command,
    example="lambdafit predict latest shoe.png shirt.png",
    short_help="What a run's model sees in pictures.",
)
@click.argument("run")
@click.argument("images", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@place_options()
@json_option("run_id", "predictions", "error")
@click.pass_obj
def predict(flags: Flags, run: str, images: tuple[Path, ...], as_json: bool) -> None:
    """Which classes the run's model sees in pictures, with its confidence."""
    from cli.model_screens import show_predictions

    show_predictions(run, images, flags, as_json=as_json)


@click.command(
    cls=Command, example="lambdafit evaluate latest --json", short_help="Loss and accuracy of a run's model."
)
@click.argument("run")
@place_options()
@json_option("run_id", "round_index", "val_loss", "val_accuracy", "test_loss", "test_accuracy", "parameters_sha256")
@click.pass_obj
def evaluate(flags: Flags, run: str, as_json: bool) -> None:
    """Loss and accuracy of a run's final or newest parameters on the validation and test sets."""
    from cli.model_screens import show_evaluation

    show_evaluation(run, flags, as_json=as_json)


@click.command(cls=Command, **EXPORT)
@click.argument("run")
@click.option("--to", "to_format", type=click.Choice(FORMATS), required=True, help="The format.")
@click.option("--output", type=click.Path(path_type=Path), help="Where to.  [default: RUN.keras, …, in this folder]")
@click.option("--force", is_flag=True, help="Replace what is there.")
@place_options()
@click.pass_obj
def export(flags: Flags, run: str, to_format: str, output: Path | None, force: bool) -> None:
    """Copy a run's model, or its curves as TensorBoard events."""
    from cli.model_export import export_run

    export_run(run, to_format, output, flags, replace=force)
