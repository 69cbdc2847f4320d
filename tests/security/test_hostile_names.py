"""Names, paths, requests and events as Hypothesis makes them: nothing leads out, and only numbered errors come out."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from contracts.errors import LambdafitError
from contracts.identifiers import check_relative_path, check_run_id
from contracts.messages import parse_task
from engines.local_lambda.runtime_api import parse_head
from handlers.exports import export_key
from runs import paths
from stores.shared_files import FolderFiles
from training.datasets.npy_reading import parse_header

PARTS = st.one_of(
    st.sampled_from(["..", ".", "", "a", "~", "\0", "\n", "\ud800", "c:", "\\", "%2e%2e"]), st.text(max_size=9)
)
NAMES = st.one_of(st.text(max_size=300), st.lists(PARTS, max_size=9).map("/".join))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=9), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    [
        "run_id",
        "workerno",
        "workers",
        "epochsdone",
        "combine",
        "sliceno",
        "generation",
        "round_index",
        "attempt",
        "task",
    ]
)


@settings(max_examples=150, deadline=None)
@given(name=NAMES)
@example(name=".")
@example(name="a/../..")
def test_no_path_leads_out(tmp_path_factory: pytest.TempPathFactory, name: str) -> None:
    root = Path(os.path.realpath(tmp_path_factory.getbasetemp())) / "root"
    files = FolderFiles(root)
    for make in (files.local_path, lambda text: files.local_path(paths.export_path("r-abcd", text))):
        try:
            path = make(name)
        except LambdafitError:
            continue
        assert os.path.realpath(path).startswith(f"{root}/")


@settings(max_examples=100, deadline=None)
@given(name=NAMES)
def test_no_key_leads_out_of_the_exports_of_its_run(name: str) -> None:
    try:
        key = check_relative_path(export_key("r-abcd", name))
    except LambdafitError:
        return
    assert os.path.normpath(key).startswith("exports/r-abcd/")


@settings(max_examples=100, deadline=None)
@given(name=NAMES | st.from_regex(r"r-[0-9a-z]{3,33}\n?"))
def test_a_run_id_is_plain(name: str) -> None:
    try:
        checked = check_run_id(name)
    except LambdafitError:
        return
    assert checked.isascii()
    assert os.path.normpath(checked) == checked
    assert "/" not in checked


@settings(max_examples=150, deadline=None)
@example(event={"combine": True})
@example(event={"workerno": 0})
@given(event=st.dictionaries(FIELDS, VALUES, max_size=6) | VALUES)
def test_events(event: Any) -> None:
    try:
        message = parse_task(event)
    except LambdafitError:
        return
    assert parse_task(message.to_event()) == message


@settings(max_examples=150, deadline=None)
@given(
    head=st.binary(max_size=300)
    | st.binary(max_size=60).map(lambda text: b"POST /a HTTP/1.1\r\nContent-Length:" + text)
)
def test_heads_of_requests(head: bytes) -> None:
    try:
        _, _, length = parse_head(head)
    except ValueError:
        return
    assert length >= 0


@settings(max_examples=150, deadline=None)
@given(text=st.text(alphabet="{}()[]'\",:<>|fiuOVSTrueNone0123456789 descrshapefortran_order\n\\", max_size=120))
def test_headers_of_arrays(text: str) -> None:
    content = text.encode("latin-1")
    try:
        header = parse_header(b"\x93NUMPY\x01\x00" + len(content).to_bytes(2, "little") + content)
    except ValueError:
        return
    assert header.data_bytes >= 0
