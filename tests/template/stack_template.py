"""template.yaml as tests see it: parsed, translated to plain CloudFormation, created as a stack in moto."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from copy import deepcopy
from functools import cache
from pathlib import Path
from typing import Any

import boto3
from samtranslator.translator.transform import transform
from samtranslator.yaml_helper import yaml_parse

CHECKOUT = Path(__file__).parents[2]
STACK = "lambdafit"
REGION = "us-east-1"
_CODE_BUCKET = "code"


@cache
def _parsed() -> dict[str, Any]:
    return yaml_parse((CHECKOUT / "template.yaml").read_text())


def template() -> dict[str, Any]:
    """The SAM template; intrinsic functions in their long form."""
    return deepcopy(_parsed())


def resources(kind: str) -> dict[str, dict[str, Any]]:
    """Logical id → properties of all resources of a type."""
    found = {name: one for name, one in template()["Resources"].items() if one["Type"] == kind}
    return {name: one.get("Properties", {}) for name, one in found.items()}


def functions() -> dict[str, dict[str, Any]]:
    """Logical id → properties of all functions."""
    return resources("AWS::Serverless::Function")


def variables(function: str) -> dict[str, Any]:
    """The environment variables that the template gives a function, unresolved."""
    return functions()[function].get("Environment", {}).get("Variables", {})


def parameter_defaults() -> dict[str, str]:
    """The parameters' defaults, as texts."""
    return {name: str(one["Default"]) for name, one in template()["Parameters"].items()}


class NoManagedPolicies:
    """The translator asks for the account's managed policies: the template uses none of them."""

    def load(self) -> Mapping[str, str]:
        """None."""
        return {}


def translated() -> dict[str, Any]:
    """Plain CloudFormation, its code in an S3 bucket as `sam package` would leave it."""
    sam = template()
    sam["Globals"]["Function"]["CodeUri"] = f"s3://{_CODE_BUCKET}/code.zip"
    for one in sam["Resources"].values():
        if one["Type"] == "AWS::Serverless::LayerVersion":
            one["Properties"]["ContentUri"] = f"s3://{_CODE_BUCKET}/code.zip"
    return transform(sam, {}, NoManagedPolicies())


def create_stack() -> dict[str, Any]:
    """Create the stack in moto (the caller has switched it on) with default parameters: its description."""
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as zipped:
        zipped.writestr("handlers/__init__.py", "")
    s3 = boto3.client("s3", region_name=REGION)
    s3.create_bucket(Bucket=_CODE_BUCKET)
    s3.put_object(Bucket=_CODE_BUCKET, Key="code.zip", Body=archive.getvalue())
    s3.put_object(Bucket=_CODE_BUCKET, Key="template.json", Body=json.dumps(translated()))
    cloudformation = boto3.client("cloudformation", region_name=REGION)
    address = f"https://{_CODE_BUCKET}.s3.amazonaws.com/template.json"
    cloudformation.create_stack(StackName=STACK, TemplateURL=address, Capabilities=["CAPABILITY_IAM"])
    return cloudformation.describe_stacks(StackName=STACK)["Stacks"][0]
