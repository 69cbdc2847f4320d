"""Every error is numbered, says what to do, travels as data, and has its entry in docs/errors.md."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from contracts.error_catalogue import all_errors
from contracts.errors import ErrorRecord, LambdafitError, ShapeMismatch, TaskFailed, unexpected

PAGE = Path(__file__).parents[2] / "docs" / "errors.md"


def test_numbers_are_unique_and_in_the_form_of_the_page() -> None:
    numbers = [error.number for error in all_errors()]
    assert len(set(numbers)) == len(numbers)
    assert all(re.fullmatch(r"E[1-5]\d\d", number) for number in numbers)


def test_the_page_lists_every_error_and_no_other() -> None:
    listed = re.findall(r"^### (E\d+) (\w+)$", PAGE.read_text(), re.MULTILINE)
    assert listed == [(error.number, error.__name__) for error in all_errors()]


def test_the_page_says_which_errors_are_retryable() -> None:
    entries = re.split(r"^### ", PAGE.read_text(), flags=re.MULTILINE)[1:]
    for error in all_errors():
        entry = next(text for text in entries if text.startswith(error.number))
        assert ("Retryable." in entry) == error.retryable, error.number


@pytest.mark.parametrize("error", all_errors())
def test_every_error_says_what_where_expected_received_and_what_to_do(error: type[LambdafitError]) -> None:
    text = str(error("run r-7f round 4", "'kernel' is (128, 10)", "(64, 10)"))
    assert text.startswith(f"{error.number} {error.__name__}: run r-7f round 4: 'kernel' is (128, 10), expected")
    assert text.splitlines()[1] == error.advice


def test_errors_travel_as_data() -> None:
    record = ShapeMismatch("a", "b", "c", advice="d").record()
    assert msgspec.json.decode(msgspec.json.encode(record), type=ErrorRecord) == record
    assert str(record) == str(ShapeMismatch("a", "b", "c", advice="d"))


def test_an_unexpected_exception_becomes_a_numbered_error() -> None:
    assert unexpected(ValueError("x"), "here").number == TaskFailed.number
    known = ShapeMismatch("a", "b")
    assert unexpected(known, "here") is known
