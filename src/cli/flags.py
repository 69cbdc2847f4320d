"""What every command understands: `--debug`, `-q`, and for many `--json`. Click only, so that `--help` is quick."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

import click

from cli.place import Place

RUN_ANSWER_KEYS = (
    "run_id",
    "recipe",
    "status",
    "reason",
    "workers",
    "seed",
    "rounds",
    "epochs",
    "examples",
    "train_loss",
    "val_loss",
    "val_accuracy",
    "test_loss",
    "test_accuracy",
    "elapsed_s",
    "cost_usd",
    "parameters_sha256",
    "fingerprint",
    "fingerprints_mixed",
    "error",
)
"""What the JSON answer about a run always has."""

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass
class Flags:
    """How this call of the program is to talk.

    Args:
        debug: show tracebacks.
        quiet: hide progress, and nothing else.
        json_keys: with `--json`, the keys that its object always has; None without.
        arguments: the command line, for a background process that is to do the same.
        place: where it works.
    """

    debug: bool = False
    quiet: bool = False
    json_keys: Sequence[str] | None = None
    arguments: Sequence[str] = ()
    place: Place = field(default_factory=Place)


def set_flag(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    """Set a field of `Flags`, wherever on the command line the option stands."""
    if value and parameter.name is not None:
        setattr(context.find_root().obj, parameter.name, True)


class GroupedOption(click.Option):
    """An option that is listed in the help under a heading."""

    heading = ""


def option(heading: str, *names: str, **attributes: Any) -> Callable[[_F], _F]:
    """As `click.option`, listed under `heading`."""

    class Headed(GroupedOption):
        pass

    Headed.heading = heading
    return click.option(*names, cls=Headed, **attributes)


class Command(click.Command):
    """A command that takes `--debug` and `-q` behind its name, too, and shows an example at the end of its help.

    Args:
        example: command lines, one a line.
    """

    def __init__(self, *arguments: Any, example: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.example = example
        self.params += [
            click.Option(["--debug"], is_flag=True, expose_value=False, callback=set_flag, help="Show tracebacks."),
            click.Option(
                ["-q", "--quiet"], is_flag=True, expose_value=False, callback=set_flag, help="Hide the progress."
            ),
        ]

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Options under their headings, the common ones last."""
        headings: dict[str, list[tuple[str, str]]] = {}
        options = (parameter for parameter in self.get_params(ctx) if isinstance(parameter, click.Option))
        for parameter in sorted(options, key=lambda one: not isinstance(one, GroupedOption)):
            record = parameter.get_help_record(ctx)
            if record is not None:
                heading = parameter.heading if isinstance(parameter, GroupedOption) else "Options"
                headings.setdefault(heading, []).append(record)
        for heading, records in headings.items():
            with formatter.section(heading):
                formatter.write_dl(records)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example."""
        write_example(formatter, self.example)


class Group(click.Group):
    """A group that lists its commands in the order in which one comes to need them, and ends with an example.

    Args:
        example: command lines, one a line.
    """

    def __init__(self, *arguments: Any, example: str = "", **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.example = example

    def list_commands(self, ctx: click.Context) -> list[str]:
        """As they were added."""
        return list(self.commands)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The example."""
        write_example(formatter, self.example)


def write_example(formatter: click.HelpFormatter, example: str) -> None:
    """Command lines as they are: Click would fold them."""
    with formatter.section("Example"):
        for line in example.splitlines():
            formatter.write(f"  {line}\n")


def json_option(*keys: str) -> Callable[[_F], _F]:
    """`--json`.

    Args:
        keys: what the object always has, after an error as null.
    """

    def remember(context: click.Context, _parameter: click.Parameter, value: bool) -> bool:
        if value:
            context.find_root().obj.json_keys = keys
        return value

    return click.option(
        "--json", "as_json", is_flag=True, callback=remember, help="End with one JSON object on the standard output."
    )


def print_json(value: Any) -> None:
    """One JSON object or array on one line of the standard output; a figure that is not finite is null."""
    click.echo(json.dumps(_finite(value), allow_nan=False))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if abs(value) != float("inf") and value == value else None
    if isinstance(value, dict):
        return {str(name): _finite(item) for name, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_finite(item) for item in value]
    return value
