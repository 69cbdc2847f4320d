"""What a page says when it has nothing to draw: errors with what to do, and states that are no errors."""

from __future__ import annotations

import streamlit as st

from contracts.errors import LambdafitError


def show_error(error: LambdafitError, *, again: bool = False) -> None:
    """A numbered error and what to do about it.

    Args:
        again: offer to try again.
    """
    record = error.record()
    st.error(f"**{record.number} {plain(record.message)}**\n\n{plain(record.advice)}", icon=":material/error:")
    if again:
        st.button("Try again", key=f"again_{record.number}", icon=":material/refresh:")


def show_empty(title: str, text: str, command: str | None = None) -> None:
    """There is nothing yet, and how that changes.

    Args:
        command: a command line to copy.
    """
    with st.container(border=True):
        st.subheader(title, anchor=False)
        st.write(plain(text))
        if command:
            st.code(command, language="bash")


def show_hint(text: str) -> None:
    """A remark beside what is shown."""
    st.caption(plain(text))


def plain(text: str) -> str:
    """Text that Markdown leaves as it is: names and messages may hold anything. Code in backquotes stays code."""
    parts = text.split("`")
    if len(parts) % 2 == 0:  # an odd backquote is no code
        parts = [text.replace("`", "\\`")]
    escaped = [_escape(part) if index % 2 == 0 else part for index, part in enumerate(parts)]
    return "`".join(escaped)


def _escape(text: str) -> str:
    return "".join(f"\\{character}" if character in "\\*_[]<>#$~:|" else character for character in text)
