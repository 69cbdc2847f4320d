"""The colours of the charts: readable on their background, and apart for colour-blind eyes."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from dashboard.figures.theme import DARK, LIGHT, PHASES, Theme, axis, base_layout, phase_color
from runs.summary import IDLE

THEMES = pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
LEAST_CONTRAST = 3.0
LEAST_TEXT_CONTRAST = 4.5
LEAST_DISTANCE = 0.1
"""In OKLab, in which about 0.02 is just seen side by side."""

# Machado, Oliveira and Fernandes 2009, full severity, on linear RGB.
SIGHTS = {
    "normal": np.eye(3),
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
    "tritanopia": [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
}
TO_LMS = np.array(
    [
        [0.4122214708, 0.5363325363, 0.0514459929],
        [0.2119034982, 0.6806995451, 0.1073969566],
        [0.0883024619, 0.2817188376, 0.6299787005],
    ]
)
TO_LAB = np.array(
    [
        [0.2104542553, 0.7936177850, -0.0040720468],
        [1.9779984951, -2.4285922050, 0.4505937099],
        [0.0259040371, 0.7827717662, -0.8086757660],
    ]
)


def linear(color: str) -> np.ndarray[Any, Any]:
    """(3,) red, green and blue in 0…1, proportional to light."""
    parts = np.array([int(color[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(parts <= 0.04045, parts / 12.92, ((parts + 0.055) / 1.055) ** 2.4)


def contrast(one: str, other: str) -> float:
    """As WCAG defines it."""
    weights = np.array([0.2126, 0.7152, 0.0722])
    dark, light = sorted(float(linear(color) @ weights) for color in (one, other))
    return (light + 0.05) / (dark + 0.05)


def seen(color: str, sight: str) -> np.ndarray[Any, Any]:
    """(3,) OKLab of the colour as someone with this sight sees it."""
    light = np.clip(np.asarray(SIGHTS[sight]) @ linear(color), 0, 1)
    return TO_LAB @ np.cbrt(TO_LMS @ light)


@THEMES
def test_series_and_accent_stand_out_from_the_background(theme: Theme) -> None:
    for color in (*theme.series, theme.accent):
        assert contrast(color, theme.background) >= LEAST_CONTRAST, color


@THEMES
def test_words_are_readable(theme: Theme) -> None:
    assert contrast(theme.text, theme.background) >= LEAST_TEXT_CONTRAST
    assert contrast(theme.muted, theme.background) >= LEAST_TEXT_CONTRAST


@THEMES
@pytest.mark.parametrize("sight", SIGHTS)
def test_series_are_told_apart(theme: Theme, sight: str) -> None:
    for one, other in itertools.combinations(theme.series, 2):
        assert np.linalg.norm(seen(one, sight) - seen(other, sight)) >= LEAST_DISTANCE, (one, other)


@THEMES
def test_every_phase_stands_out_but_idle(theme: Theme) -> None:
    for phase in PHASES:
        if phase != IDLE:
            assert contrast(phase_color(phase, theme), theme.background) >= LEAST_CONTRAST, phase
    assert contrast(phase_color(IDLE, theme), theme.background) < LEAST_CONTRAST, "no work is no colour"


@THEMES
def test_phases_have_colours_of_their_own_and_unknown_ones_are_muted(theme: Theme) -> None:
    assert PHASES[-1] == IDLE
    assert len({phase_color(phase, theme) for phase in PHASES}) == len(PHASES)
    assert phase_color("something new", theme) == theme.muted


def test_the_layout_takes_more_without_losing_what_it_has() -> None:
    layout = base_layout(LIGHT, x_title="step", y_title="loss", yaxis={"type": "log"}, showlegend=False)
    assert layout["yaxis"] == {**axis(LIGHT, "loss"), "type": "log"}
    assert layout["xaxis"]["title"]["text"] == "step"
    assert layout["showlegend"] is False
    assert "uirevision" not in layout
