"""The form of a new run: one field an option of `lambdafit train`, empty where the option is left to its default."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from contracts.settings import MAX_WORKERS
from dashboard.actions.new_run import DEFAULTS, OWN, NewRun, from_form
from dashboard.parts.messages import plain
from dashboard.views.new_run import Recipe

PREFIX = "new_run_"
SETTING = "new_run_set_"
MAX_SEED = 2**53 - 1
"""Beyond it a browser's numbers are not exact."""

SYNCS = {"local": "alone for a round", "gradients": "together, every step"}
OUTERS = ("sgd", "momentum", "nesterov", "adam")
UPDATE_DTYPES = {"float32": "float32", "bfloat16": "bfloat16: half the bytes"}
FIELDS = (
    "recipe", "path", "data", "settings_text", "workers", "length_kind", "length", "batch_size", "steps_per_round",
    "validate_every_rounds", "sync", "update_dtype", "outer", "outer_learning_rate", "outer_momentum", "seed",
    "max_cost_usd", "target_accuracy", "patience", "deadline_s",
)  # fmt: skip


def asked() -> NewRun:
    """What the form says now. For callbacks, too: a button may be pressed while a number is still being typed."""
    state = st.session_state
    values: dict[str, Any] = {name: state.get(PREFIX + name) for name in FIELDS}
    begin = f"{SETTING}{values['recipe']}_"
    values["settings"] = {
        str(key).removeprefix(begin): state[key] for key in sorted(state) if str(key).startswith(begin)
    }
    return from_form(values)


def show_form(recipes: Sequence[Recipe], *, disabled: bool) -> None:
    """The fields.

    Args:
        disabled: whether they can only be looked at.
    """
    with st.container(border=True):
        recipe = _recipe(recipes, disabled)
        _size(recipe, disabled)
    with st.container(border=True):
        _limits(disabled)
    with st.expander("How the workers go together", icon=":material/hub:"):
        _method(disabled)
    if recipe is None or recipe.settings:
        with st.expander("Settings of the recipe", icon=":material/tune:"):
            _settings(recipe, disabled)


def _recipe(recipes: Sequence[Recipe], disabled: bool) -> Recipe | None:
    known = {recipe.name: recipe for recipe in recipes}
    titles = {recipe.name: f"{recipe.name}: {recipe.title}" for recipe in recipes} | {OWN: "A file of my own …"}
    chosen = st.selectbox(
        "Recipe",
        list(titles),
        key=PREFIX + "recipe",
        format_func=lambda name: titles.get(name, name),
        disabled=disabled,
        persist_state="session",
    )
    if chosen != OWN:
        return known.get(str(chosen))
    st.text_input(
        "Path",
        key=PREFIX + "path",
        placeholder="my_recipe.py or my_model.keras",
        help="On the machine where the dashboard runs. A .py file defines `recipe`; a .keras file is a compiled model.",
        disabled=disabled,
        persist_state="session",
    )
    if str(st.session_state.get(PREFIX + "path") or "").strip().endswith(".keras"):
        st.text_input(
            "Data",
            key=PREFIX + "data",
            placeholder="digits, or a folder of .npy files",
            help="What the model is trained on: a data set's name, or a folder.",
            disabled=disabled,
            persist_state="session",
        )
    return None


def _size(recipe: Recipe | None, disabled: bool) -> None:
    first, second, third = st.columns(3, vertical_alignment="bottom")
    with first:
        _whole("workers", "Workers", "", disabled, most=MAX_WORKERS, value=DEFAULTS["workers"])
    with second:
        st.segmented_control(
            "Length in",
            ["epochs", "rounds"],
            key=PREFIX + "length_kind",
            default="epochs",
            required=True,
            disabled=disabled,
            persist_state="session",
        )
    kind = str(st.session_state.get(PREFIX + "length_kind") or "epochs")
    usual = f"{recipe.epochs:,}, the recipe's" if recipe and kind == "epochs" else "the recipe's epochs"
    with third:
        _whole("length", kind.capitalize(), usual, disabled)
    first, second, third = st.columns(3, vertical_alignment="bottom")
    batch = f"{recipe.batch_size:,} / workers" if recipe else "the recipe's / workers"
    with first:
        _whole("batch_size", "Batch of a worker", batch, disabled)
    with second:
        _whole("steps_per_round", "Steps a round", "about 1/12 epoch", disabled)
    with third:
        help_text = "The same seed gives the same parameters, bit for bit, on the same machine."
        _whole("seed", "Seed", "", disabled, value=DEFAULTS["seed"], least=0, most=MAX_SEED, help_text=help_text)


def _limits(disabled: bool) -> None:
    first, second, third, fourth = st.columns(4, vertical_alignment="bottom")
    with first:
        st.number_input(
            "Budget, $",
            min_value=0.0001,
            value=DEFAULTS["max_cost_usd"],
            step=1.0,
            format="%g",
            key=PREFIX + "max_cost_usd",
            help="The run stops before it would cost more on Lambda. It limits runs on this machine, too.",
            disabled=disabled,
            persist_state="session",
        )
    with second:
        _number("target_accuracy", "Stop at accuracy", "no target", disabled, most=1.0, step=0.01)
    with third:
        help_text = "Stop after so many validations without a better one."
        _whole("patience", "Patience", "no limit", disabled, help_text=help_text)
    with fourth:
        _number("deadline_s", "Deadline, s", "86,400: a day", disabled, step=60.0)


def _method(disabled: bool) -> None:
    first, second, third = st.columns(3, vertical_alignment="bottom")
    with first:
        st.selectbox(
            "Workers train",
            list(SYNCS),
            key=PREFIX + "sync",
            format_func=SYNCS.__getitem__,
            disabled=disabled,
            persist_state="session",
        )
    with second:
        st.selectbox(
            "Outer optimizer",
            OUTERS,
            index=None,
            key=PREFIX + "outer",
            placeholder="what suits: mostly nesterov",
            help="It steps once a round on the mean of the workers' updates.",
            disabled=disabled,
            persist_state="session",
        )
    with third:
        _whole("validate_every_rounds", "Validate every … rounds", "once an epoch", disabled)
    first, second, third = st.columns(3, vertical_alignment="bottom")
    with first:
        _number("outer_learning_rate", "Outer learning rate", "what suits", disabled, step=0.1)
    with second:
        _number("outer_momentum", "Outer momentum", "what suits", disabled, most=0.9999, step=0.05)
    with third:
        st.selectbox(
            "Updates",
            list(UPDATE_DTYPES),
            key=PREFIX + "update_dtype",
            format_func=UPDATE_DTYPES.__getitem__,
            help="As what workers hand in their updates. What rounding takes from one is added to the next.",
            disabled=disabled,
            persist_state="session",
        )


def _settings(recipe: Recipe | None, disabled: bool) -> None:
    if recipe is None:
        st.text_area(
            "KEY=VALUE, one a line",
            key=PREFIX + "settings_text",
            placeholder="learning_rate=0.1",
            disabled=disabled,
            persist_state="session",
        )
        return
    columns = st.columns(3, vertical_alignment="bottom")
    for index, (name, default) in enumerate(recipe.settings.items()):
        with columns[index % 3]:
            _setting(f"{SETTING}{recipe.name}_{name}", name, default, disabled)
    st.caption("Empty: as the recipe has it. A learning rate left empty shrinks with the workers' batch.")


def _setting(key: str, name: str, default: Any, disabled: bool) -> None:
    label, shown = plain(name.replace("_", " ")), str(default)
    if isinstance(default, bool):
        st.selectbox(
            label, ["true", "false"], index=None, key=key, placeholder=shown, disabled=disabled, persist_state="session"
        )
    elif isinstance(default, int):
        st.number_input(
            label, value=None, step=1, key=key, placeholder=shown, disabled=disabled, persist_state="session"
        )
    elif isinstance(default, float):
        st.number_input(
            label,
            value=None,
            step=default / 10 or 0.1,
            format="%g",
            key=key,
            placeholder=shown,
            disabled=disabled,
            persist_state="session",
        )
    else:
        st.text_input(label, key=key, placeholder=shown, disabled=disabled, persist_state="session")


def _whole(
    name: str, label: str, usual: str, disabled: bool, *,
    least: int = 1, most: int | None = None, value: Any = None, help_text: str | None = None,
) -> None:  # fmt: skip
    st.number_input(
        label,
        min_value=least,
        max_value=most,
        value=value,
        step=1,
        key=PREFIX + name,
        placeholder=usual,
        help=help_text,
        disabled=disabled,
        persist_state="session",
    )


def _number(
    name: str, label: str, usual: str, disabled: bool, *, most: float | None = None, step: float
) -> None:  # fmt: skip
    st.number_input(
        label,
        min_value=0.0,
        max_value=most,
        value=None,
        step=step,
        format="%g",
        key=PREFIX + name,
        placeholder=usual,
        disabled=disabled,
        persist_state="session",
    )
