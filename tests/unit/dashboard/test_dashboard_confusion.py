"""The confusion matrix, its drawing, and the cards of sample pictures."""

from __future__ import annotations

from html.parser import HTMLParser

import numpy as np
import pytest
from dashboard_samples import sample_snapshot

from dashboard.figures.confusion import confusion_figure, fields_table
from dashboard.figures.sample_cards import COLORS, cards, describe, picture_style, top_three
from dashboard.figures.theme import DARK, LIGHT, Theme
from dashboard.views.confusion import MOST_CLASSES, Confusion, confusion
from dashboard.views.predictions import Predictions
from dashboard.views.recorded_predictions import recorded_predictions

NAMES = ("shirt", "coat", "bag")
COUNTS = np.array([[8, 3, 0], [1, 9, 0], [0, 0, 0]])
EVIL = '<img src=x onerror="alert(1)">&\''


@pytest.fixture
def matrix() -> Confusion:
    return confusion(5, NAMES, COUNTS)


@pytest.fixture(scope="module")
def found() -> Predictions:
    return recorded_predictions(sample_snapshot())


class Tags(HTMLParser):
    """What elements a text of HTML has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.text += data

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_sums_shares_and_mistakes(matrix: Confusion) -> None:
    assert (matrix.right, matrix.examples, matrix.all_classes) == (17, 21, 3)
    assert [str(mistake) for mistake in matrix.mistakes] == [
        "shirt taken for coat: 3 of 11",
        "coat taken for shirt: 1 of 10",
    ]
    np.testing.assert_allclose(matrix.shares[0], [8 / 11, 3 / 11, 0])
    assert np.isnan(matrix.shares[2]).all()


def test_the_sentence_names_the_worst(matrix: Confusion) -> None:
    figure = confusion_figure(matrix, LIGHT, as_shares=False)
    assert "17 of 21 validation examples right (81.0 %)" in figure.alt
    assert "Most often wrong: shirt taken for coat: 3 of 11." in figure.alt


def test_a_matrix_without_mistakes() -> None:
    perfect = confusion(1, NAMES, np.diag([1, 2, 3]))
    assert "None is taken for another." in confusion_figure(perfect, LIGHT, as_shares=True).alt


def test_a_matrix_without_examples() -> None:
    empty = confusion(1, NAMES, np.zeros((3, 3), np.int64))
    assert "no worker has told" in confusion_figure(empty, LIGHT, as_shares=True).alt
    assert len(fields_table(empty)["truth"]) == 0


def test_numbers_stand_in_the_fields_but_for_none(matrix: Confusion) -> None:
    trace = confusion_figure(matrix, LIGHT, as_shares=False).data[0]
    assert trace["text"][0] == ["8", "3", ""]
    np.testing.assert_array_equal(trace["z"], COUNTS)
    shares = confusion_figure(matrix, DARK, as_shares=True).data[0]
    assert shares["z"][0, 0] == pytest.approx(800 / 11)
    assert shares["customdata"][0, 0] == 8


def test_the_table_lists_what_is_not_empty(matrix: Confusion) -> None:
    table = confusion_figure(matrix, LIGHT, as_shares=False).table()
    assert list(table["truth"]) == ["coat", "shirt", "shirt", "coat"]
    assert list(table["predicted"]) == ["coat", "shirt", "coat", "shirt"]
    assert list(table["examples"]) == [9, 8, 3, 1]


def test_too_many_classes_are_cut_down_to_the_worst() -> None:
    counts = np.eye(150, dtype=np.int64) * 10
    counts[140, 3] = 5
    matrix = confusion(2, [f"class {label}" for label in range(150)], counts)
    assert len(matrix.names) == MOST_CLASSES
    assert {"class 140", "class 3"} <= set(matrix.names)
    assert matrix.examples == counts.sum()
    figure = confusion_figure(matrix, LIGHT, as_shares=False)
    assert "Shown are the 100 classes with the most mistakes, 50 are not." in figure.alt
    assert "text" not in figure.data[0]


def test_names_that_are_alike_or_markup() -> None:
    figure = confusion_figure(confusion(1, ("<b>", "a", "a"), COUNTS), LIGHT, as_shares=False)
    assert figure.data[0]["x"] == ["&lt;b>", "a (1)", "a (2)"]


def test_a_card_a_sample(found: Predictions) -> None:
    page = Tags(cards(found, found.newest.samples, LIGHT))
    assert len(page.named("figure")) == len(found.newest.samples)
    labels = [attributes["aria-label"] for attributes in page.named("span")]
    assert labels == [describe(found, sample) for sample in found.newest.samples]
    wrong = [sample for sample in found.newest.samples if not sample.is_right]
    assert wrong
    assert page.text.count("✗") == page.text.count("wrong: it is ") == len(wrong)


def test_pictures_are_sent_apart_from_predictions(found: Predictions) -> None:
    style = picture_style(found.pictures, (8, 8))
    assert style.count("data:image/png;base64,") == len(found.newest.samples)
    assert "image-rendering:pixelated" in style
    assert "image-rendering:auto" in picture_style({}, (64, 64))
    assert "base64" not in cards(found, found.newest.samples, DARK)


def test_what_is_no_picture_is_left_out() -> None:
    assert "data:" not in picture_style({1: b"</style><script>alert(1)</script>"}, None)


def test_every_text_is_escaped(found: Predictions) -> None:
    evil = found._replace(class_names=(EVIL,) * 10)
    page = Tags(cards(evil, evil.newest.samples, LIGHT))
    assert {tag for tag, _ in page.tags} <= {"div", "figure", "span", "figcaption", "b", "small", "i"}
    assert not any(name.startswith("on") for _, attributes in page.tags for name in attributes)
    assert EVIL in page.text
    top = Tags(top_three([{"class_name": EVIL, "confidence": 0.5}], LIGHT))
    assert {tag for tag, _ in top.tags} <= {"div", "span"}


def test_how_a_sample_changed(found: Predictions) -> None:
    sample = found.newest.samples[0]
    rounds = len(found.checkpoints)
    looks = found._replace(history={sample.example: (0, 1) * (rounds // 2) + (1,) * (rounds % 2)})
    page = Tags(cards(looks, [sample], LIGHT))
    assert "right at" in (page.named("figure")[0]["title"] or "")
    assert "linear-gradient(90deg,var(--lf-wrong) 0.0% " in (page.named("i")[0]["style"] or "")


def test_the_likeliest_classes_as_bars() -> None:
    page = Tags(top_three([{"class_name": "coat", "confidence": 0.7}, {"class_name": "bag", "confidence": 0.25}], DARK))
    assert "70.0 %" in page.text
    assert "bag" in page.text


def luminance(color: str) -> float:
    """Relative luminance by WCAG 2."""
    levels = [int(color[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (level / 12.92 if level <= 0.04045 else ((level + 0.055) / 1.055) ** 2.4 for level in levels)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


@pytest.mark.parametrize("theme", [LIGHT, DARK])
def test_right_and_wrong_can_be_read(theme: Theme) -> None:
    below = luminance(theme.background)
    for color in COLORS[theme.name]:
        high, low = max(luminance(color), below), min(luminance(color), below)
        assert (high + 0.05) / (low + 0.05) >= 4.5
