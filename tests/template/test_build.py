"""`sam build` of a clean clone: what is in the artifacts, how large they are, and that each handler imports there."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from template.conftest import Built, Sam
from template.stack_template import CHECKOUT, functions, template
from template.test_template import resolved_variables

UNZIPPED_LIMIT = 250 * 1024 * 1024
IMPORT = """
import importlib, json, sys
sys.path[:0] = {path}
module, _, name = {handler!r}.rpartition(".")
assert callable(getattr(importlib.import_module(module), name))
heavy = sorted({{"tensorflow", "keras", "scipy", "sklearn", "pooch", "click", "rich"}} & set(sys.modules))
places = {{sys.modules[name].__file__ for name in ("numpy", "msgspec", "xxhash") if name in sys.modules}}
print(json.dumps([heavy, sorted(places)]))
"""


def size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_the_template_is_valid_and_passes_sams_linter(sam: Sam) -> None:
    done = sam.run("validate", "--lint", folder=CHECKOUT)
    assert done.returncode == 0, done.stdout + done.stderr


def test_it_passes_cfn_lint_in_every_configuration() -> None:
    program = Path(sys.executable).parent / "cfn-lint"
    regions = ["us-east-1", "eu-central-1", "ap-southeast-2"]
    done = subprocess.run(
        [program, "--regions", *regions, "--include-checks", "W", "--", CHECKOUT / "template.yaml"],
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout + done.stderr


def test_one_build_serves_all_functions(built: Built) -> None:
    (line,) = [line for line in built.log.splitlines() if "Building codeuri" in line]
    assert sorted(line.partition("functions: ")[2].split(", ")) == sorted(functions())
    assert "Build Succeeded" in built.log


def test_a_second_build_fetches_nothing(built: Built, sam: Sam) -> None:
    done = sam.run("build", folder=built.clone)
    log = done.stdout + done.stderr
    assert done.returncode == 0, log
    assert "Manifest is not changed for (LightLayer), running incremental build" in log
    assert "ResolveDependencies" not in log


def test_artifacts_hold_the_sources_and_nothing_else(built: Built) -> None:
    tracked = subprocess.run(
        ["git", "ls-files", "src"], cwd=built.clone, capture_output=True, text=True, check=True, timeout=60
    ).stdout.split()
    wanted = {name.removeprefix("src/") for name in tracked}
    for function in functions():
        artifact = built.artifact(function)
        assert {p.relative_to(artifact).as_posix() for p in artifact.rglob("*") if p.is_file()} == wanted
    assert {Path(name).suffix for name in wanted} <= {".py", ".json", ".txt"}
    assert "runs/prices.json" in wanted


def test_each_zip_with_its_layer_is_small_enough(built: Built, capsys: pytest.CaptureFixture[str]) -> None:
    layer = size(built.layer())
    lines = [f"layer {layer / 1e6:.1f} MB"]
    for function in functions():
        own = size(built.artifact(function))
        lines.append(f"{function} {own / 1e6:.2f} MB, with the layer {(own + layer) / 1e6:.1f} MB")
        assert own + layer < UNZIPPED_LIMIT, function
    with capsys.disabled():
        print("", *lines, sep="\n  ")


@pytest.mark.parametrize("function", sorted(functions()))
def test_each_handler_imports_with_nothing_but_its_layer(function: str, built: Built) -> None:
    """A fresh Python without site-packages: neither this environment's packages nor TensorFlow are to be found."""
    path = [str(built.artifact(function)), str(built.layer() / "python")]
    code = IMPORT.format(path=json.dumps(path), handler=functions()[function]["Handler"])
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-B", "-c", code],
        env=resolved_variables(function) | {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    heavy, places = json.loads(done.stdout)
    assert heavy == []
    assert all(place.startswith(str(built.layer())) for place in places), places


def test_the_layer_holds_just_what_is_pinned(built: Built) -> None:
    pins = {
        line.partition("==")[0].lower().replace("-", "_")
        for line in (CHECKOUT / "layer/requirements.txt").read_text().splitlines()
        if line[:1].isalpha()
    }
    found = {path.name.partition("-")[0].lower() for path in (built.layer() / "python").glob("*.dist-info")}
    assert found == pins


def test_all_functions_share_one_layer_and_one_runtime() -> None:
    shared = template()["Globals"]["Function"]
    assert shared["Layers"] == [{"Ref": "LightLayer"}]
    assert shared["Runtime"] == "python3.13"
    assert not [name for name, one in functions().items() if {"Layers", "Runtime", "CodeUri"} & set(one)]
