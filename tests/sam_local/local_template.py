"""The template that `sam local` runs: the built one, each artifact with a wrapper, homes, a bucket and libraries added.

Nothing of the built artifacts is changed; what is added lies beside the modules and could not shadow one.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from samtranslator.yaml_helper import yaml_parse

FUNCTION = "AWS::Serverless::Function"
STACK = "lambdafit"
"""As in the sample events."""

HOME = "/tmp/lambdafit-home"  # noqa: S108 - in a container that is thrown away
ARCHIVE = "libraries.tar.zst"
WRAPPER = ("container_handler.py", "loopback_aws.py")
WITH_TENSORFLOW = ("Train", "Predict")
WITH_BUCKET = ("Prepare", "InstallLibraries")
WITH_LIBRARIES = {*WITH_TENSORFLOW, "InstallLibraries"}
LOCAL_VARIABLES = {"LAMBDAFIT_TABLE": "", "LAMBDAFIT_TOPIC": "", "LAMBDAFIT_SHARED": "", "LAMBDAFIT_HOME": HOME}


def write(build: Path, target: Path, homes: Path, libraries: Path | None, functions: Sequence[str]) -> Path:
    """Write template and artifacts below `target`.

    Args:
        build: `.aws-sam/build`.
        homes: what `sample_homes.py` made.
        libraries: the archive for the workers, if any of the functions needs it.
    Returns:
        the template.
    """
    template = yaml_parse((build / "template.yaml").read_text())
    functions_of_stack = {n: r for n, r in template["Resources"].items() if r["Type"] == FUNCTION}
    names = {
        name: one["Properties"]["FunctionName"]["Fn::Sub"].replace("${AWS::StackName}", STACK)
        for name, one in functions_of_stack.items()
    }
    for name, one in template["Resources"].items():
        properties = one.get("Properties", {})
        if one["Type"] == "AWS::Serverless::LayerVersion":
            properties["ContentUri"] = str(build / properties["ContentUri"])
        elif one["Type"] == FUNCTION:
            artifact = target / name
            if name in functions:
                _make_artifact(name, build / properties["CodeUri"], artifact, homes, libraries)
            properties["CodeUri"] = str(artifact)
            _adapt(name, properties, names, libraries.name.partition(".")[0] if libraries else "")
    path = target / "template.json"
    path.write_text(json.dumps(template, indent=1))
    return path


def _make_artifact(function: str, built: Path, artifact: Path, homes: Path, libraries: Path | None) -> None:
    shutil.rmtree(artifact, ignore_errors=True)
    shutil.copytree(built, artifact)
    for name in WRAPPER:
        shutil.copy(Path(__file__).with_name(name), artifact)
    (artifact / "homes").mkdir()
    for packed in homes.glob("*.tar"):
        os.link(packed, artifact / "homes" / packed.name)
    if function in WITH_BUCKET:
        shutil.copytree(homes / "bucket", artifact / "bucket", copy_function=os.link)
    if libraries and function in WITH_TENSORFLOW:
        _link(libraries, artifact / ARCHIVE)
    if libraries and function == "InstallLibraries":
        digest = libraries.name.partition(".")[0]
        key = f"libraries/{digest}.tar.zst"
        (artifact / "bucket/libraries").mkdir()
        _link(libraries, artifact / "bucket" / key)
        pointer = {"digest": digest, "key": key, "bytes": libraries.stat().st_size}
        (artifact / "bucket/libraries/current.json").write_text(json.dumps(pointer))


def _link(source: Path, target: Path) -> None:
    """A second name of the file, as it is large; a copy where that cannot be, on another disk."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy(source, target)


def _adapt(function: str, properties: dict[str, Any], names: Mapping[str, str], digest: str) -> None:
    variables = properties["Environment"]["Variables"]
    for variable, value in variables.items():
        if isinstance(value, Mapping) and value.get("Ref") in names:  # `sam local` would take the logical id
            variables[variable] = names[value["Ref"]]
    variables |= LOCAL_VARIABLES
    if "LAMBDAFIT_LIBRARIES_DIGEST" in variables:
        variables["LAMBDAFIT_LIBRARIES_DIGEST"] = digest
    variables |= {"SAM_LOCAL_HANDLER": properties["Handler"], "SAM_LOCAL_HOME": ""}
    if function in WITH_TENSORFLOW:
        variables["LAMBDAFIT_LIBRARIES"] = f"/var/task/{ARCHIVE}"
    properties["Handler"] = "container_handler.handler"
