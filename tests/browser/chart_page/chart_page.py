"""A page of charts for the browser tests: "Next" brings twenty more steps, as a live run does."""

from pathlib import Path

import numpy as np
import streamlit as st

from dashboard.chart.plotly_file import place_plotly
from dashboard.figures.figure import Figure
from dashboard.figures.sampling import thin, window
from dashboard.figures.theme import DARK, LIGHT, PHASES, Theme, base_layout, phase_color
from dashboard.parts.chart import chart, chart_range

STEPS_AT_FIRST = 200
DRAWN_POINTS = 100


def curve(theme: Theme, steps: int) -> Figure:
    every = np.arange(steps)
    loss = 2.0 * np.exp(-every / 150) + 0.1 * np.sin(every / 3)
    seen = window(every, *(chart_range("loss") or (None, None)))
    x, y = every[seen], loss[seen]
    kept = thin(x, y, DRAWN_POINTS)
    band = {"x": np.r_[x[kept], x[kept][::-1]], "y": np.r_[y[kept] + 0.1, y[kept][::-1] - 0.1], "fill": "toself"}
    data = [
        {**band, "fillcolor": theme.band, "line": {"width": 0}, "name": "p10–p90", "hoverinfo": "skip"},
        {"x": x[kept], "y": y[kept], "name": "median", "line": {"color": theme.series[0]}},
    ]
    layout = base_layout(theme, x_title="step", y_title="loss")
    alt = f"Loss falls from {loss[0]:.2f} to {loss[-1]:.2f} in {steps} steps."
    return Figure(data, layout, alt, len(kept), len(x), lambda: {"step": x, "loss": y})


def phases(theme: Theme) -> Figure:
    seconds = np.linspace(1, 3, len(PHASES))
    data = [
        {
            "type": "bar",
            "x": [phase],
            "y": seconds[index : index + 1],
            "name": phase,
            "marker": {"color": phase_color(phase, theme)},
        }
        for index, phase in enumerate(PHASES)
    ]
    layout = base_layout(theme, x_title="phase", y_title="s", showlegend=False)
    return Figure(data, layout, "Every phase in its colour.", len(PHASES), len(PHASES), lambda: {"s": seconds})


def palette(theme: Theme) -> Figure:
    x = np.arange(40, dtype=np.float64)
    data = [
        {"x": x, "y": np.sin(x / 6) + index, "name": f"worker {index}", "line": {"color": color}}
        for index, color in enumerate(theme.series)
    ]
    layout = base_layout(theme, x_title="step", y_title="loss")
    return Figure(data, layout, "Eight workers.", 320, 320, lambda: {"step": x})


def raster(theme: Theme) -> Figure:
    values = np.random.default_rng(1).integers(0, 5, (16, 200)).astype(np.uint8)
    data = [{"type": "heatmap", "z": values, "showscale": False, "colorscale": "Viridis"}]
    layout = base_layout(theme, x_title="s", y_title="worker", hovermode="closest")
    return Figure(data, layout, "A raster.", values.size, values.size, lambda: {"z": values[0]})


place_plotly(Path(__file__).parent / "static")
st.set_page_config(layout="wide")
theme = DARK if st.context.theme.type == "dark" else LIGHT
steps = st.session_state.setdefault("steps", STEPS_AT_FIRST)
if st.button("Next"):
    steps = st.session_state.steps = steps + 20
st.text(f"{steps} steps")
if not st.toggle("Without charts"):
    shown = chart(curve(theme, steps), key="loss", live_range=True)
    st.text(f"returned {shown}")
    chart(palette(theme), key="palette", height_px=280)
    chart(phases(theme), key="phases", height_px=220)
    chart(raster(theme), key="raster", height_px=220)
