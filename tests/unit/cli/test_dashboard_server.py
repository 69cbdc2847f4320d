"""`lambdafit dashboard`: where it listens, what it hands over, and what it says when it cannot start."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest
from click.testing import CliRunner

from cli.dashboard_server import VARIABLE, check_address, environment
from cli.flags import Flags
from cli.main import main
from cli.place import Place
from contracts.errors import InvalidSetting
from dashboard.options import Options, options_from


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.2", "::1", "localhost"])
def test_this_machine_alone_needs_no_protection(host: str) -> None:
    check_address(host, read_only=False, allow=())


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7"])
def test_others_may_reach_it_only_with_a_list_or_read_only(host: str) -> None:
    with pytest.raises(InvalidSetting, match="--allow"):
        check_address(host, read_only=False, allow=())
    check_address(host, read_only=True, allow=())
    check_address(host, read_only=False, allow=("ada@example.org",))


def test_what_is_no_address_is_refused() -> None:
    with pytest.raises(InvalidSetting, match="an address such as"):
        check_address("example.org", read_only=True, allow=())


def test_the_page_reads_what_the_command_hands_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("LAMBDAFIT_STACK", raising=False)
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path / "home"))
    local = options_from(environment(Flags(), read_only=True, allow=("ada@example.org",)))
    assert local == Options(home=str(tmp_path / "home"), read_only=True, allow=("ada@example.org",))
    assert local.place_arguments == ("--engine", "local")
    flags = Flags(place=Place(engine="aws", stack_name="mine", region="eu-west-1"))
    cloud = options_from(environment(flags, read_only=False, allow=()))
    assert cloud == Options(engine="aws", stack_name="mine", region="eu-west-1")
    assert cloud.place_arguments == ("--engine", "aws", "--stack-name", "mine", "--region", "eu-west-1")


def test_without_the_command_the_page_reads_the_variables_of_the_command_line() -> None:
    assert options_from({}) == Options(home=".lambdafit")
    assert options_from({"LAMBDAFIT_HOME": "/srv/home"}) == Options(home="/srv/home")
    assert options_from({"LAMBDAFIT_STACK": "mine"}).place_arguments == ("--engine", "aws", "--stack-name", "mine")
    assert VARIABLE == "LAMBDAFIT_DASHBOARD"


def test_a_taken_port_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = CliRunner().invoke(main, ["dashboard", "--port", str(port), "--no-open"])
    assert result.exit_code == 3
    assert f"E461 DashboardNotStarted: 127.0.0.1, port {port}" in result.output


def test_a_run_that_is_not_there_is_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LAMBDAFIT_HOME", str(tmp_path))
    result = CliRunner().invoke(main, ["dashboard", "latest", "--no-open"])
    assert result.exit_code == 3
    assert "E304 RunNotFound" in result.output
