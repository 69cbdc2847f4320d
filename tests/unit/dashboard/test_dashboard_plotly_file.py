"""plotly.js where Streamlit serves it."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from importlib.resources import files
from pathlib import Path
from threading import Barrier

import pytest

from contracts.errors import HomeNotWritable
from dashboard.chart.plotly_file import CHART_SCRIPT, FILE_NAME, LONG_AGO_S, place_plotly

INSTALLED = Path(str(files("plotly"))) / "package_data" / FILE_NAME

WRITERS = 4
PLACED = {FILE_NAME, CHART_SCRIPT.name}


def test_the_installed_file_is_copied_once(tmp_path: Path) -> None:
    placed = place_plotly(tmp_path / "static")
    assert placed.read_bytes() == INSTALLED.read_bytes()
    first = placed.stat()
    assert first.st_mtime == LONG_AGO_S, "so that browsers keep it"
    assert place_plotly(tmp_path / "static").stat().st_ino == first.st_ino
    assert {path.name for path in placed.parent.iterdir()} == PLACED
    assert (placed.parent / CHART_SCRIPT.name).read_bytes() == CHART_SCRIPT.read_bytes()


def test_another_version_is_replaced(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_text("plotly.js of last year")
    assert place_plotly(tmp_path).read_bytes() == INSTALLED.read_bytes()


def test_several_at_once_do_not_meet(tmp_path: Path) -> None:
    together = Barrier(WRITERS)

    def place(_: int) -> Path:
        together.wait(10)
        return place_plotly(tmp_path)

    with ThreadPoolExecutor(WRITERS) as pool:
        assert set(pool.map(place, range(WRITERS))) == {tmp_path / FILE_NAME}
    assert {path.name for path in tmp_path.iterdir()} == PLACED
    assert (tmp_path / FILE_NAME).stat().st_size == INSTALLED.stat().st_size


def test_a_folder_that_cannot_be_is_a_numbered_error(tmp_path: Path) -> None:
    (tmp_path / "static").write_text("a file in the way")
    with pytest.raises(HomeNotWritable, match=r"E302.*static[\s\S]*put a copy") as raised:
        place_plotly(tmp_path / "static")
    assert raised.value.number == "E302"


def test_a_copy_that_breaks_off_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("shutil.copyfileobj", full)
    with pytest.raises(HomeNotWritable, match="No space left"):
        place_plotly(tmp_path)
    assert list(tmp_path.iterdir()) == []
