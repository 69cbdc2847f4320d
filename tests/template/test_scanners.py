"""Security scanner: it finds just what .checkov.yaml explains."""

from __future__ import annotations

import json
import os
import re
import subprocess
from pathlib import Path

from template.stack_template import CHECKOUT


def test_checkov_finds_what_is_explained_and_nothing_else(checkov: Path, tmp_path: Path) -> None:
    """Run without the explanations: one that is needed no more is found too."""
    explained = set(re.findall(r"- (CKV\w+)", (CHECKOUT / ".checkov.yaml").read_text()))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    arguments = ["--framework", "cloudformation", "--skip-download", "--output", "json"]
    done = subprocess.run(
        [checkov, "--file", CHECKOUT / "template.yaml", *arguments],
        cwd=tmp_path,  # away from .checkov.yaml
        env=environment | {"LOG_LEVEL": "ERROR"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=200,
    )
    assert done.stdout.strip(), done.stderr
    results = json.loads(done.stdout)["results"]
    found = {(one["check_id"], one["resource"]) for one in results["failed_checks"]}
    assert {one for one in found if one[0] not in explained} == set()
    assert {check for check, _ in found} == explained
    assert len(results["passed_checks"]) > 100
    assert not results["parsing_errors"]


def test_no_check_is_switched_off_in_the_template_itself() -> None:
    text = (CHECKOUT / "template.yaml").read_text()
    assert not re.search(r"checkov|cfn-lint|cfn_nag|cfn-guard", text, re.IGNORECASE)
