"""Where the runs are: a home or a stack, opened without leaving a trace."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
from dashboard_samples import open_files, sample_home, sample_run

from contracts.errors import HomeNotWritable, StoreCorrupted
from contracts.stack_errors import RunOfOtherStack, StackNotFound
from dashboard.options import Options
from dashboard.queries.source import open_source
from engines.aws import AwsEngine
from engines.aws_stack.account import Account
from engines.home import Home, HomeLock
from fakes.memory_store import MemoryStore


def test_a_home_that_is_not_there_yet(tmp_path: Path) -> None:
    source = open_source(Options(home=str(tmp_path / "home")))
    assert not source.exists()
    assert source.conducted([]) == frozenset()
    assert not (tmp_path / "home").exists()
    sample_home(tmp_path / "home")
    assert source.exists()
    assert len(source.store.list_runs()) == 1
    source.close()


def test_a_home_says_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    source = open_source(Options())
    assert (source.name, source.is_cloud, source.region, source.architecture) == (
        "home .lambdafit",
        False,
        "",
        "x86_64",
    )
    assert source.newest_place == f"LAMBDAFIT_HOME {tmp_path / '.lambdafit'}"


def test_opening_keeps_no_connection(tmp_path: Path) -> None:
    sample_home(tmp_path)
    before = open_files()
    assert open_source(Options(home=str(tmp_path))).exists()
    assert open_files() == before


@pytest.mark.parametrize("name", ["runs.db", "telemetry.db"])
def test_a_file_that_is_no_store_is_a_numbered_error(tmp_path: Path, name: str) -> None:
    sample_home(tmp_path)
    for suffix in ("-wal", "-shm"):
        (tmp_path / f"{name}{suffix}").unlink(missing_ok=True)
    (tmp_path / name).write_bytes(b"garbage " * 1000)
    with pytest.raises(StoreCorrupted, match=name):
        open_source(Options(home=str(tmp_path)))


def test_a_file_in_place_of_a_home_is_a_numbered_error(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("a file")
    with pytest.raises(HomeNotWritable, match="Not a directory"):
        open_source(Options(home=str(tmp_path / "home")))


def test_the_run_that_holds_the_lock_is_conducted(tmp_path: Path) -> None:
    run_id = sample_home(tmp_path, "running")
    sample_home(tmp_path, "running", run_id="r-other00001")
    source = open_source(Options(home=str(tmp_path)))
    runs = source.store.list_runs()
    assert source.conducted(runs) == frozenset()
    lock = HomeLock(Home(tmp_path))
    lock.acquire(f"run {run_id}")
    assert source.conducted(runs) == {run_id}
    lock.release()
    assert source.conducted(runs) == frozenset()
    source.close()


def test_a_stack_is_counted_in_its_own_prices(monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[tuple[str, str, str]] = []

    def fake_open(account: Account, stack_name: str) -> SimpleNamespace:
        opened.append((account._region_asked, account._profile, stack_name))
        outputs = {"Architecture": "arm64"}
        stack = SimpleNamespace(
            name=stack_name, region="eu-west-1", outputs=outputs, place="stack of mine in eu-west-1"
        )
        store = MemoryStore()
        return SimpleNamespace(stack=stack, services=SimpleNamespace(store=store, telemetry=store))

    monkeypatch.setattr(AwsEngine, "open", fake_open)
    source = open_source(Options(engine="aws", stack_name="mine", region="eu-west-1", profile="work"))
    assert opened == [("eu-west-1", "work", "mine")]
    assert (source.name, source.is_cloud) == ("stack mine, eu-west-1", True)
    assert (source.region, source.architecture, source.missing) == ("eu-west-1", "arm64", RunOfOtherStack)
    run = sample_run(MemoryStore())
    assert source.conducted([run]) == {run.run_id}  # nobody has to look: the stack works by itself
    assert source.exists()
    open_source(Options(engine="aws"))
    assert opened[-1] == ("", "", "lambdafit")


def test_a_stack_that_is_not_there_is_a_numbered_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(account: Account, stack_name: str) -> AwsEngine:
        raise StackNotFound(f"stack {stack_name}", "there is none of that name")

    monkeypatch.setattr(AwsEngine, "open", missing)
    with pytest.raises(StackNotFound):
        open_source(Options(engine="aws"))
