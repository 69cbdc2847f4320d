"""The page Compare: runs over each other, how they differ, and what it took them to an accuracy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import streamlit as st

from contracts.errors import InvalidRunId, LambdafitError, RunNotFound
from dashboard.figures.compare import NAMES, compare_figure
from dashboard.parts.chart import chart
from dashboard.parts.messages import plain, show_empty, show_error, show_hint
from dashboard.parts.page import Page, show_no_runs
from dashboard.parts.page import page as this_page
from dashboard.parts.tick import set_ticked, ticked
from dashboard.queries.collector import RunsSnapshot
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.compare import (
    ABSENT,
    ALONG,
    SHOWN,
    Finals,
    Reached,
    common_target,
    finals,
    reached,
    run_curve,
    same_models,
    settings_of,
)
from runs import words

FEWEST, MOST = 2, 8
CHART_PX = 420
QUERY = "runs"
CHOSEN_KEY = "compare_chosen"
GONE_KEY = "compare_gone"
TARGET_KEY = "compare_target"


def show() -> None:
    """The page."""
    page = this_page()
    if page is None:
        return
    try:
        runs = page.collector.runs()
    except LambdafitError as error:
        show_error(error, again=True)
        return
    if not runs.runs:
        show_no_runs()
        return
    snapshots = _look(page, _choose(page, runs))
    if gone := st.session_state.get(GONE_KEY):
        names = ", ".join(plain(run_id) for run_id in gone)
        st.warning(f"{names}: not here, or not any more. Left out.", icon=":material/delete:")
    if len(snapshots) < FEWEST:
        show_empty("Choose two runs or more", "Above, or by their ticks on the page Runs: two to eight of them.")
        return
    target = _show_curves(page, snapshots)
    _show_reached([reached(snapshot, target) for snapshot in snapshots] if target is not None else [])
    _show_finals([finals(snapshot, page.now) for snapshot in snapshots])
    _show_settings(snapshots)


def _choose(page: Page, runs: RunsSnapshot) -> list[str]:
    """The run ids that are to be compared; those that are gone are left out, and noted."""
    names = {run.run_id: f"{run.run_id}  {words.recipe(run)}" for run in runs.runs}
    wanted = st.session_state.get(CHOSEN_KEY)
    if wanted is None:
        in_address = [name.strip() for name in st.query_params.get(QUERY, "").split(",") if name.strip()]
        wanted = ticked() or in_address or list(names)[:FEWEST]
    found: list[str] = []
    for name in wanted:
        run_id = _found(page, name)
        if run_id is None:
            _note_gone(name)
        elif run_id not in found:
            found.append(run_id)
            names.setdefault(run_id, run_id)
    st.session_state[CHOSEN_KEY] = found[:MOST]
    chosen = st.multiselect(
        "Runs",
        list(names),
        key=CHOSEN_KEY,
        max_selections=MOST,
        format_func=lambda run_id: names.get(run_id, run_id),
        placeholder=f"{FEWEST} to {MOST} runs",
        on_change=_forget_gone,
    )
    return list(chosen)


def _found(page: Page, name: str) -> str | None:
    """The id of a run that is there."""
    try:
        return page.collector.find(name)
    except (RunNotFound, InvalidRunId):
        return None
    except LambdafitError:
        return name  # out of reach, not gone: looking at it says why


def _note_gone(run_id: str) -> None:
    gone = st.session_state.setdefault(GONE_KEY, [])
    if run_id not in gone:
        gone.append(run_id)


def _forget_gone() -> None:
    st.session_state.pop(GONE_KEY, None)


def _look(page: Page, run_ids: Sequence[str]) -> list[RunSnapshot]:
    found = []
    for run_id in run_ids:
        try:
            found.append(page.collector.look(run_id))
        except RunNotFound:
            _note_gone(run_id)
        except LambdafitError as error:
            show_error(error)
    there = [snapshot.run.run_id for snapshot in found]
    set_ticked(there)
    if there and st.query_params.get(QUERY) != ",".join(there):
        st.query_params[QUERY] = ",".join(there)
    return found


def _show_curves(page: Page, snapshots: Sequence[RunSnapshot]) -> float | None:
    """The chart and what belongs to it. Returns the accuracy that was asked for."""
    common = common_target(snapshots)
    with st.container(horizontal=True, vertical_alignment="bottom"):
        options = SHOWN if common is not None else SHOWN[1:]
        shown = st.segmented_control(
            "Show",
            options,
            default=options[0],
            required=True,
            format_func=lambda name: NAMES[name],
            key="compare_shown",
            bind="query-params",
        )
        along = st.segmented_control(
            "Along", ALONG, default="epoch", required=True, key="compare_along", bind="query-params"
        )
        target = _ask_target(common) if common is not None else None
    curves = [run_curve(snapshot, shown, along) for snapshot in snapshots]
    if any(len(curve.x) for curve in curves):
        figure = compare_figure(curves, shown, along, page.theme, target=target)
        chart(figure, key=f"compare_{shown.replace('/', '_')}_{along}", height_px=CHART_PX)
    else:
        show_hint(f"None of these runs has a {NAMES[shown]} yet.")
    if common is None:
        show_hint("None of these runs has validated an accuracy: there is no time or cost to one.")
    return target


def _ask_target(common: float) -> float:
    value = st.number_input(
        "Accuracy to reach",
        min_value=0.0,
        max_value=1.0,
        value=None,
        step=0.01,
        format="%.4f",
        placeholder=f"{common:.4f}",
        key=TARGET_KEY,
        bind="query-params",
        width=180,
        help="Empty: the highest one that all of them have reached.",
    )
    return common if value is None else float(value)


def _show_reached(found: Sequence[Reached]) -> None:
    if not found:
        return
    st.subheader("Time and cost to that accuracy", anchor=False)
    st.dataframe([_reached_row(one) for one in found], hide_index=True, key="compare_reached")
    show_hint("To the first validated checkpoint with at least that accuracy: until it was combined.")


def _reached_row(one: Reached) -> dict[str, Any]:
    row = dict.fromkeys(("run", "reached", "after round", "epochs", "time", "cost"), ABSENT)
    row["run"] = one.run_id
    if one.best is None:
        return row | {"reached": "no accuracy"}
    if one.value is None or one.epochs is None or one.seconds is None or one.usd is None:
        return row | {"reached": f"not reached, best {words.number(one.best)}"}
    return row | {
        "reached": words.number(one.value),
        "after round": f"{one.round_index:,}",
        "epochs": f"{one.epochs:.2f}",
        "time": words.duration(one.seconds),
        "cost": words.usd(one.usd),
    }


def _show_finals(found: Sequence[Finals]) -> None:
    st.subheader("How they stand", anchor=False)
    st.dataframe([_finals_row(one) for one in found], hide_index=True, key="compare_finals")
    for group in same_models(found):
        show_hint(f"{' and '.join(group)}: the same model, bit for bit (equal parameters).")


def _finals_row(one: Finals) -> dict[str, Any]:
    return {
        "run": one.run_id,
        "recipe": one.recipe,
        "workers": one.workers,
        "status": one.status,
        "rounds": one.rounds,
        "epochs": ABSENT if one.epochs is None else f"{one.epochs:.2f}",
        "training loss": words.maybe(one.train_loss),
        "validation loss": words.maybe(one.val_loss),
        "validation accuracy": words.maybe(one.val_accuracy),
        "test accuracy": words.maybe(one.test_accuracy),
        "elapsed": words.duration(one.elapsed_s),
        "cost": words.usd(one.cost_usd),
        "parameters (SHA-256)": one.parameters_sha256[:12] or ABSENT,
    }


def _show_settings(snapshots: Sequence[RunSnapshot]) -> None:
    with st.container(horizontal=True, horizontal_alignment="distribute", vertical_alignment="center"):
        st.subheader("Settings", anchor=False)
        show_all = st.toggle("Show all", key="compare_all_settings", help="Also those that are the same everywhere.")
    settings = settings_of(snapshots)
    rows = [setting for setting in settings if show_all or setting.differs]
    if not rows:
        show_hint(f"All {len(settings)} settings are the same.")
        return
    run_ids = [snapshot.run.run_id for snapshot in snapshots]
    table = [
        {"setting": setting.name.replace("_", " "), **dict(zip(run_ids, setting.values, strict=True))}
        for setting in rows
    ]
    st.dataframe(table, hide_index=True, key="compare_settings")
    if not show_all:
        show_hint(f"{len(rows)} of {len(settings)} settings differ.")


show()
