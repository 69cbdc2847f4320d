"""Recipes by name and by path; what goes wrong in one is named with its line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from contracts.errors import RecipeFailed, UnknownRecipe
from training.datasets.source import source_named
from training.recipe import builtin_names, load_recipe, recipe_digest

SOURCE = """
from training.recipe import Recipe

def build(settings): ...

recipe = Recipe(name="mine", title="t", dataset="digits", build_model=build, build_optimizer=build, build_loss=build)
"""


def written(folder: Path, source: str) -> str:
    path = folder / "mine.py"
    path.write_text(source)
    return str(path)


@pytest.mark.parametrize("name", builtin_names())
def test_built_in_recipes_are_whole(name: str) -> None:
    recipe = load_recipe(name)
    assert recipe.name == name
    assert "\n" not in recipe.title
    assert source_named(recipe.dataset).class_names
    assert len(recipe_digest(name)) == 32


def test_reading_recipes_imports_no_tensorflow() -> None:
    code = "import sys; from training.recipe import *; [load_recipe(n) for n in builtin_names()]; print(*sys.modules)"
    path = str(Path(__file__).parents[3] / "src")
    printed = subprocess.run(
        [sys.executable, "-c", code], env={"PYTHONPATH": path}, check=True, capture_output=True, text=True
    ).stdout.split()
    assert not {"tensorflow", "keras", "sklearn", "PIL"} & set(printed)


@pytest.mark.parametrize(("name", "close"), [("fashon-mnist-mlp", "fashion-mnist-mlp"), ("nonsense", "digits-mlp")])
def test_unknown_names_say_which_are_known(name: str, close: str) -> None:
    with pytest.raises(UnknownRecipe, match=close):
        load_recipe(name)
    with pytest.raises(UnknownRecipe, match=close):
        recipe_digest(name)


def test_a_file_is_a_recipe_and_its_digest_is_that_of_its_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, SOURCE)
    assert load_recipe(path).name == "mine"
    before = recipe_digest(path)
    written(tmp_path, SOURCE + "# more\n")
    assert recipe_digest(path) != before
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mine.py"]


def test_a_missing_file_is_unknown(tmp_path: Path) -> None:
    for call in (load_recipe, recipe_digest):
        with pytest.raises(UnknownRecipe, match=r"none\.py cannot be read"):
            call(str(tmp_path / "none.py"))


def test_a_file_without_a_recipe_is_unknown(tmp_path: Path) -> None:
    with pytest.raises(UnknownRecipe, match="defines no `recipe`"):
        load_recipe(written(tmp_path, "x = 1\n"))
    with pytest.raises(RecipeFailed, match="`recipe` is a int"):
        load_recipe(written(tmp_path, "recipe = 1\n"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("\n\n1 / 0\n", r"mine\.py:3: reading the recipe: ZeroDivisionError: division by zero"),
        ("\ndef f(:\n", r"mine\.py:2: reading the recipe: SyntaxError"),
        ("import a_module_that_is_not_there\n", r"mine\.py:1: .*ModuleNotFoundError"),
        ("def f():\n    raise SystemError('x')\n\nf()\n", r"mine\.py:2: .*SystemError: x"),
        ("import sys\nsys.exit(3)\n", r"mine\.py:2: .*SystemExit: 3"),
    ],
)
def test_a_file_that_raises_is_named_with_its_line(tmp_path: Path, source: str, message: str) -> None:
    with pytest.raises(RecipeFailed, match=message):
        load_recipe(written(tmp_path, source))
