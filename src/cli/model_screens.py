"""`predict` and `evaluate`: what a run's model sees, and how good it is."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

from rich.table import Table
from rich.text import Text

from cli.console import is_interactive, make_table, messages, output
from cli.flags import Flags, print_json
from cli.runs_place import open_runs
from contracts.errors import InvalidImage, ModelNotReady
from contracts.records import Run
from runs import words

SURE = 0.8


def show_predictions(name: str, images: Sequence[Path], flags: Flags, *, as_json: bool) -> None:
    """Print the likeliest classes of each picture."""
    place = open_runs(flags)
    run = place.find(name)
    for image in images:
        if not image.is_file():
            problem = "it is a folder" if image.is_dir() else "there is no such file"
            raise InvalidImage(str(image), problem, "a picture")
    check_ready(run)
    with waiting(flags):
        answer = place.predict(run, images, flags)
    if as_json:
        print_json(answer)
    else:
        output().print(predictions_table(answer["predictions"]))


def predictions_table(predictions: Sequence[Mapping[str, Any]]) -> Table:
    """A line a picture."""
    if "values" in predictions[0]:
        table = make_table("picture", "value")
        for found in predictions:
            table.add_row(found["image"], ", ".join(words.number(value) for value in found["values"]))
        return table
    table = make_table("picture", "class", "confidence", "or", numbers=("confidence",))
    for found in predictions:
        others = ", ".join(f"{one['class_name']} {one['confidence'] * 100:.1f} %" for one in found["top"][1:])
        sure = Text(f"{found['confidence'] * 100:.1f} %", style="green" if found["confidence"] >= SURE else "yellow")
        table.add_row(found["image"], Text(found["class_name"], style="bold"), sure, Text(others, style="dim"))
    return table


def show_evaluation(name: str, flags: Flags, *, as_json: bool) -> None:
    """Print loss and accuracy on the validation and test sets."""
    place = open_runs(flags)
    run = place.find(name)
    check_ready(run)
    with waiting(flags):
        answer = place.ask(run, {"task": "evaluate"}, flags)
    if as_json:
        print_json(answer)
        return
    console = output()
    console.print(
        Text.assemble((words.recipe(run), "bold"), (f"  {run.run_id}", "dim"), f"  after round {answer['round_index']}")
    )
    table = make_table("", "loss", "accuracy", numbers=("loss", "accuracy"))
    for split, title in (("val", "validation set"), ("test", "test set")):
        if f"{split}_loss" in answer:
            score = answer.get(f"{split}_accuracy", answer.get(f"{split}_mean_absolute_error"))
            table.add_row(title, words.number(answer[f"{split}_loss"]), words.maybe(score))
    console.print(table)
    console.print(Text(f"parameters sha256 {answer['parameters_sha256']}", style="dim"))


def check_ready(run: Run) -> None:
    """Whether there is a model to use.

    Raises:
        ModelNotReady: the run has no parameters yet.
    """
    if not run.parameters:
        raise ModelNotReady(f"run {run.run_id}", "it has no parameters yet", "one that has begun to train")


def waiting(flags: Flags) -> AbstractContextManager[object]:
    """A sign of life: TensorFlow takes some seconds to load."""
    console = messages()
    if flags.quiet or not is_interactive(console):
        return nullcontext()
    return console.status("loading TensorFlow and the model")
