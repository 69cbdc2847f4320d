"""Programs that the template is proved with, and one `sam build` of a clean clone for all tests."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from samtranslator.yaml_helper import yaml_parse

from template.stack_template import CHECKOUT, REGION

BUILD_LIMIT_S = 300


def sam_environment() -> dict[str, str]:
    """For sam: this Python first on PATH under its versioned name, no telemetry, no account, no search for one."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "PYTHON", "SAM_"))}
    certificates = {name: value for name, value in os.environ.items() if name == "AWS_CA_BUNDLE"}
    path = os.pathsep.join([str(CHECKOUT / ".venv-sam/bin"), str(Path(sys.executable).parent), os.environ["PATH"]])
    quiet = {"SAM_CLI_TELEMETRY": "0", "AWS_EC2_METADATA_DISABLED": "true", "AWS_DEFAULT_REGION": REGION}
    return kept | certificates | quiet | {"PATH": path}


@dataclass(frozen=True)
class Sam:
    """The pinned sam."""

    program: Path

    def run(self, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
        """Run it in a folder; its answer, whatever it is."""
        return subprocess.run(
            [self.program, *arguments],
            cwd=folder,
            env=sam_environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BUILD_LIMIT_S,
        )


@dataclass(frozen=True)
class Built:
    """What `sam build` left in a clean clone."""

    clone: Path
    template: dict[str, Any]
    log: str

    @property
    def folder(self) -> Path:
        """The artifacts, a folder for each function and layer."""
        return self.clone / ".aws-sam/build"

    def artifact(self, function: str) -> Path:
        """The folder that becomes the function's zip."""
        return self.folder / self.template["Resources"][function]["Properties"]["CodeUri"]

    def layer(self) -> Path:
        """The folder that becomes /opt."""
        return self.folder / self.template["Resources"]["LightLayer"]["Properties"]["ContentUri"]


@pytest.fixture(scope="session")
def sam() -> Sam:
    program = CHECKOUT / ".venv-sam/bin/sam"
    if not program.exists():
        pytest.skip(
            "no .venv-sam: `make test` makes it, or: sh scripts/setup.sh --peers .venv-sam requirements/sam.txt"
        )
    return Sam(program)


@pytest.fixture(scope="session")
def checkov() -> Path:
    program = CHECKOUT / ".venv-checkov/bin/checkov"
    if not program.exists():
        pytest.skip("no .venv-checkov: `make test` makes it")
    return program


@pytest.fixture(scope="session")
def built(sam: Sam, tmp_path_factory: pytest.TempPathFactory) -> Built:
    if sys.version_info[:2] != (3, 13):
        pytest.skip("sam build and the layer need the functions' Python, 3.13")
    clone = tmp_path_factory.mktemp("clean") / "clone"
    if (CHECKOUT / ".git").exists():
        subprocess.run(["git", "clone", "--quiet", CHECKOUT, clone], check=True, timeout=60)
    else:  # an unpacked archive of the sources is as clean
        shutil.copytree(CHECKOUT, clone, ignore=shutil.ignore_patterns(".*", "__pycache__", "*.egg-info"))
        shutil.copy(CHECKOUT / ".gitignore", clone)
    done = sam.run("build", folder=clone)
    assert done.returncode == 0, done.stdout + done.stderr
    template = yaml_parse((clone / ".aws-sam/build/template.yaml").read_text())
    return Built(clone, template, done.stdout + done.stderr)
