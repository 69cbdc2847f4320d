"""Writes the tables and goals of `results/*.json` into README.md, between two marks."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import harness

README = Path(__file__).resolve().parent / "README.md"
BEGIN, END = "<!-- results: python benchmarks/report.py -->", "<!-- end of results -->"


def section(data: dict[str, Any]) -> str:
    """One benchmark's figures as Markdown."""
    machine = data["machine"]
    day = time.strftime("%Y-%m-%d", time.gmtime(data["started_at"]))
    packages = ", ".join(f"{name} {version}" for name, version in machine["packages"].items())
    lines = [f"### {data['name']}", ""]
    lines.append(
        f"{day}, {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, Python {machine['python']}, "
        f"{packages}; load {machine['load_before']} before, {data['duration_s'] / 60:.0f} minutes."
    )
    for title, rows in data["tables"].items():
        lines += ["", f"{title}:", "", harness.markdown_table(rows)]
    verdicts = {True: "reached", False: "**missed**", None: "not measured"}
    goals = [[goal["what"], goal["value"], goal["wanted"], verdicts[goal["reached"]]] for goal in data["goals"]]
    lines += ["", harness.markdown_table([["goal", "value", "wanted", ""], *goals]), ""]
    return "\n".join(lines)


def main() -> None:
    """Rewrite the part of the README between the marks."""
    found = [json.loads(path.read_text()) for path in sorted(harness.RESULTS.glob("*.json"))]
    text = README.read_text()
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    body = "\n".join(section(data) for data in found) or "No results yet.\n"
    README.write_text(f"{before}{BEGIN}\n\n{body}\n{END}{after}")
    print(f"{README.name}: {len(found)} results")


if __name__ == "__main__":
    main()
