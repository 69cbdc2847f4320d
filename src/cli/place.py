"""Where a command works: on this machine, or in a deployed stack. Click only, so that `--help` is quick."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import click

LOCAL, AWS = "local", "aws"
ENGINES = (LOCAL, AWS)
DEFAULT_STACK = "lambdafit"
STACK_VARIABLE = "LAMBDAFIT_STACK"
HEADING = "Where"

_F = TypeVar("_F", bound=Callable[..., Any])


@dataclass
class Place:
    """What the options say about where; empty where they say nothing."""

    engine: str = ""
    stack_name: str = ""
    region: str = ""
    profile: str = ""

    @property
    def is_cloud(self) -> bool:
        """Whether it is a stack: asked for by --engine, by any option that only a stack has, or by LAMBDAFIT_STACK.

        Raises:
            InvalidSetting: there is no such engine, or the options contradict each other.
        """
        of_stack = {"--stack-name": self.stack_name, "--region": self.region, "--profile": self.profile}
        given = [option for option, value in of_stack.items() if value]
        if (self.engine and self.engine not in ENGINES) or (self.engine == LOCAL and given):
            from contracts.errors import InvalidSetting

            if self.engine == LOCAL:
                raise InvalidSetting("--engine local", f"{given[0]} is given, too", "one of the two")
            expected = f"one of {', '.join(ENGINES)}: no other exists yet"
            raise InvalidSetting("--engine", repr(self.engine), expected)
        return self.engine == AWS or bool(given) or (not self.engine and bool(os.environ.get(STACK_VARIABLE)))

    @property
    def stack(self) -> str:
        """The stack's name."""
        return self.stack_name or os.environ.get(STACK_VARIABLE) or DEFAULT_STACK

    @property
    def price_region(self) -> str:
        """Whose prices a stack's costs are counted in, as far as that is known without asking AWS."""
        return self.region or (os.environ.get("AWS_REGION", "") if self.is_cloud else "")

    @property
    def suffix(self) -> str:
        """What a suggested command needs to work in the same place."""
        if not self.is_cloud:
            return " --engine local" if self.engine and os.environ.get(STACK_VARIABLE) else ""
        options = {"--stack-name": self.stack_name, "--region": self.region, "--profile": self.profile}
        given = "".join(f" {option} {value}" for option, value in options.items() if value)
        return given or ("" if os.environ.get(STACK_VARIABLE) else " --engine aws")


def place_options(*, engine: bool = True) -> Callable[[_F], _F]:
    """`--engine`, `--stack-name`, `--region` and `--profile`, which end in `Flags.place`.

    Args:
        engine: whether the command can work on this machine, too.
    """
    from cli.flags import option

    def remember(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None and parameter.name is not None:
            setattr(context.find_root().obj.place, parameter.name, value)

    def decorate(function: _F) -> _F:
        options: dict[str, dict[str, Any]] = {
            "--profile": {"metavar": "NAME", "help": "AWS profile.  [default: AWS_PROFILE]"},
            "--region": {"metavar": "NAME", "help": "AWS region.  [default: AWS_REGION, or the profile's]"},
            "--stack-name": {
                "metavar": "NAME",
                "help": f"A deployed stack.  [default: {STACK_VARIABLE}, or {DEFAULT_STACK}]",
            },
        }
        if engine:
            text = f"local or aws.  [default: aws with a stack, as by {STACK_VARIABLE}; else local]"
            options["--engine"] = {"metavar": "NAME", "help": text}
        else:
            options["--engine"] = {"type": click.Choice([AWS]), "default": AWS, "hidden": True}
        for name, attributes in options.items():
            function = option(HEADING, name, expose_value=False, callback=remember, **attributes)(function)
        return function

    return decorate
