"""The tables of the page Workers: all workers, and the attempts of one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import streamlit as st

from dashboard.parts.messages import plain, show_hint
from dashboard.queries.run_data import RunSnapshot
from dashboard.views.stragglers import WorkerTable
from dashboard.views.timeline import Timeline
from dashboard.views.worker_attempts import attempts_of, summary_of

CHOSEN = "▶"
UNKNOWN = "–"
Column = Sequence[Any] | np.ndarray[Any, Any]


def show_workers(table: WorkerTable, worker: int | None) -> None:
    """All workers, the slowest one first; the chosen one is marked."""
    st.markdown("**Workers, the slowest first**")
    rows = table.sorted()
    columns: dict[str, Column] = {} if worker is None else {"chosen": np.where(rows.worker == worker, CHOSEN, "")}
    columns |= {
        "worker": rows.worker,
        "steps": rows.steps,
        "examples/s": np.round(rows.examples_per_s, 1),
        "step ms": np.round(rows.step_ms, 3),
        "slowdown": np.round(rows.slowdown, 3),
        "compute": rows.compute_share,
        "waiting s": np.round(rows.waited_s, 2),
        "attempts": rows.attempts,
        "hand-overs": rows.pauses,
        "failures": rows.failures,
        "refused": rows.superseded,
        "memory MB": np.round(rows.peak_memory_mb),
        "cost $": rows.cost_usd,
    }
    st.dataframe(
        columns,
        key="workers_table",
        hide_index=True,
        placeholder=UNKNOWN,
        column_config=_worker_columns(),
        alt="Workers",
    )


def show_attempts(snapshot: RunSnapshot, timeline: Timeline, table: WorkerTable, worker: int) -> None:
    """What became of each attempt of one worker."""
    with st.container(border=True):
        st.markdown(plain(summary_of(table, worker)))
        found = attempts_of(timeline, worker)
        columns: dict[str, Column] = {
            "round": found.round,
            "attempt": found.attempt,
            "outcome": found.outcome,
            "start s": np.round(found.start_s, 3),
            "duration s": np.round(found.duration_s, 3),
            "cost $": found.cost_usd,
            "request id": found.request_id,
        }
        config = {"cost $": st.column_config.NumberColumn(format="$%.6f")}
        st.dataframe(
            columns,
            key="workers_attempts",
            hide_index=True,
            placeholder=UNKNOWN,
            column_config=config,
            alt=f"Worker {worker}",
        )
        if found.all_attempts > len(found.round):
            show_hint(f"The last {len(found.round):,} of {found.all_attempts:,} attempts.")


def _worker_columns() -> dict[str, Any]:
    number, text = st.column_config.NumberColumn, st.column_config.TextColumn
    return {
        "chosen": text("", width=30),
        "steps": number(format="localized"),
        "examples/s": number(format="localized", help="While it computed."),
        "step ms": number(format="%.2f", help="The median step, of up to 2,000 spread evenly over the run."),
        "slowdown": number(
            format="%.2f ×",
            help="Its median time in a round ÷ that of the median worker, from the first claim in the round to its "
            "accepted report. Failed attempts and hand-overs count; waiting for others does not.",
        ),
        "compute": number(format="percent", help="Training steps ÷ all the time of its functions."),
        "waiting s": number(format="%.2f", help="From its own report to the beginning of the combining."),
        "hand-overs": number(help="Paused near the time limit, and gone on in a new function."),
        "failures": number(help="Attempts that failed or ended without a report."),
        "refused": number(help="Duplicates: a backup had taken over, so that the report was not accepted."),
        "memory MB": number(format="localized", help="The most that a function of it has used."),
        "cost $": number(format="$%.5f", help="Of its ended attempts."),
    }
