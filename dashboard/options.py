"""What the dashboard is to show, as `lambdafit dashboard` hands it over, and who may see and do what."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

VARIABLE = "LAMBDAFIT_DASHBOARD"
HOME_VARIABLE = "LAMBDAFIT_HOME"
STACK_VARIABLE = "LAMBDAFIT_STACK"
DEFAULT_HOME = ".lambdafit"
DEFAULT_STACK = "lambdafit"
AWS = "aws"


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """Where the runs are, and what may be done there.

    Args:
        engine: `aws` for a deployed stack; empty or `local` for a home on this machine.
        stack_name, region, profile: of the stack, as on the command line; empty where it said nothing.
        home: the folder, for a home.
        read_only: whether starting, stopping and removing are switched off.
        allow: who may come in, by e-mail address, once they have logged in; empty for everybody who reaches the page.
    """

    engine: str = ""
    stack_name: str = ""
    region: str = ""
    profile: str = ""
    home: str = DEFAULT_HOME
    read_only: bool = False
    allow: tuple[str, ...] = ()

    @property
    def is_cloud(self) -> bool:
        """Whether it is a stack."""
        return self.engine == AWS

    @property
    def place_arguments(self) -> tuple[str, ...]:
        """What a `lambdafit` command needs to work in the same place, whatever the environment says."""
        if not self.is_cloud:
            return ("--engine", "local")
        given = {"--stack-name": self.stack_name, "--region": self.region, "--profile": self.profile}
        return ("--engine", AWS, *(part for option, value in given.items() if value for part in (option, value)))


def options_from(environment: Mapping[str, str]) -> Options:
    """The options in the environment: `LAMBDAFIT_DASHBOARD` as JSON, or else the variables that the commands read.

    Raises:
        msgspec.ValidationError: the JSON is of another form.
    """
    if text := environment.get(VARIABLE):
        return msgspec.json.decode(text, type=Options)
    stack = environment.get(STACK_VARIABLE, "")
    home = environment.get(HOME_VARIABLE) or DEFAULT_HOME
    return Options(engine=AWS if stack else "", stack_name=stack, home=home)
