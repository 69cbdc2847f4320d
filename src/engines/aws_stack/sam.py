"""The AWS SAM CLI: found, and run to build and deploy the template of this checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

from contracts.errors import InvalidSetting
from contracts.stack_errors import DeployFailed, SamNotFound
from runs.own_process import SOURCE_FOLDER

CHECKOUT = SOURCE_FOLDER.parent
TEMPLATE = "template.yaml"
STANDARD_ERROR = 2
STACK_NAME = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,99}")
MAX_NEW_STACK_NAME = 64 - len("-install-libraries")
"""Functions are called after the stack, by at most 64 characters."""

_RESOURCE_TYPE = re.compile(r"^    Type: (AWS::\S+)$", re.MULTILINE)
_PARAMETER = re.compile(r"(?P<name>[A-Za-z][A-Za-z0-9]*)=(?P<value>.*)", re.DOTALL)


def find_sam(checkout: Path = CHECKOUT) -> Path:
    """The program `sam`: the checkout's own, or the one on the PATH.

    Raises:
        SamNotFound: there is none.
    """
    own = checkout / ".venv-sam" / "bin" / "sam"
    if own.is_file():
        return own
    found = shutil.which("sam")
    if found is None:
        raise SamNotFound("sam", f"it is neither {own} nor on the PATH", "the AWS SAM CLI")
    return Path(found)


def find_template(checkout: Path = CHECKOUT) -> Path:
    """The template of this checkout.

    Raises:
        SamNotFound: lambdafit was not installed from a checkout.
    """
    template = checkout / TEMPLATE
    if not template.is_file():
        received = f"there is no {template}"
        advice = "Clone the repository and install it from there: `make setup`; then `lambdafit deploy`."
        raise SamNotFound("deploy", received, "a checkout of lambdafit", advice=advice)
    return template


def check_stack_name(name: str) -> str:
    """`name` if CloudFormation takes it.

    Raises:
        InvalidSetting: it does not.
    """
    if not STACK_NAME.fullmatch(name):
        raise InvalidSetting("--stack-name", repr(name), "a letter, then up to 99 letters, digits and hyphens")
    return name


def check_new_stack_name(name: str) -> str:
    """`name` if a stack of this application can be made under it.

    Raises:
        InvalidSetting: CloudFormation does not take it, or its functions' names would be too long.
    """
    if len(check_stack_name(name)) > MAX_NEW_STACK_NAME:
        received = f"{name!r} has {len(name)} characters"
        raise InvalidSetting("--stack-name", received, f"at most {MAX_NEW_STACK_NAME}: functions are called after it")
    return name


def parse_parameters(texts: Sequence[str], template: Path) -> dict[str, str]:
    """`NAME=VALUE` texts, checked against the template's parameters.

    Raises:
        InvalidSetting: a text has no `=`, or the template has no such parameter.
    """
    known = template_parameters(template.read_text(encoding="utf-8"))
    found: dict[str, str] = {}
    for text in texts:
        match = _PARAMETER.fullmatch(text)
        if match is None:
            raise InvalidSetting("--parameter", repr(text), "NAME=VALUE")
        if match["name"] not in known:
            raise InvalidSetting("--parameter", repr(match["name"]), f"one of {', '.join(known)}")
        found[match["name"]] = match["value"]
    return found


def template_parameters(template: str) -> list[str]:
    """The names of a template's parameters, in their order. The template is read as text: its YAML is ours."""
    section = re.split(r"^Parameters:\n", template, maxsplit=1, flags=re.MULTILINE)[-1]
    section = re.split(r"^\S", section, maxsplit=1, flags=re.MULTILINE)[0]
    return re.findall(r"^  (\w+):$", section, re.MULTILINE)


def resource_counts(template: str) -> Counter[str]:
    """How many resources of each type a template has."""
    return Counter(_RESOURCE_TYPE.findall(template))


def build(sam: Path, template: Path, *, environment: Mapping[str, str], architecture: str = "") -> None:
    """`sam build`.

    Args:
        architecture: of the stack, whose layer is built for it; empty for the template's default.
    Raises:
        DeployFailed: it failed; what it printed said why.
    """
    command = [str(sam), "build", "--template-file", str(template), "--cached", "--parallel"]
    if architecture:
        command += ["--parameter-overrides", f"Architecture={architecture}"]
    _run(command, template.parent, environment)


def deploy(
    sam: Path, template: Path, stack_name: str, parameters: Mapping[str, str], *,
    environment: Mapping[str, str], guided: bool,
) -> None:  # fmt: skip
    """`sam deploy` of what was built. Parameters that are not given stay as they are.

    Raises:
        DeployFailed: it failed; what it printed said why.
    """
    command = [str(sam), "deploy", "--stack-name", stack_name, "--s3-prefix", stack_name]
    if guided:
        command.append("--guided")
    else:
        command += ["--resolve-s3", "--capabilities", "CAPABILITY_IAM", "--no-confirm-changeset",
                    "--no-fail-on-empty-changeset"]  # fmt: skip
    if parameters:
        command += ["--parameter-overrides", *(f"{name}={_quoted(value)}" for name, value in parameters.items())]
    _run(command, template.parent, environment)


def program_environment(region: str, profile: str) -> dict[str, str]:
    """The variables that sam is run with: it needs this Python under its own name, and to know where."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    variables = dict(os.environ) | {"PATH": path, "AWS_DEFAULT_REGION": region, "AWS_REGION": region}
    return variables | ({"AWS_PROFILE": profile} if profile else {})


def _quoted(value: str) -> str:
    """As sam wants values that have spaces in them."""
    return f'"{value}"' if re.search(r"\s", value) or not value else value


def _run(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> None:
    """Run a program whose progress goes to the standard error: the standard output is for answers."""
    try:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=STANDARD_ERROR, check=False)  # noqa: S603
    except OSError as error:
        raise SamNotFound(command[0], f"it cannot be run ({error.strerror})") from error
    if done.returncode:
        raise DeployFailed(" ".join(["sam", command[1]]), f"it ended with exit code {done.returncode}", "0")
