"""Under a umask that hides nothing: every file is 0600, every folder 0700, and no secret is in any of them."""

from __future__ import annotations

import contextlib
import http.server
import os
import stat
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from hashlib import sha256
from pathlib import Path

import pytest

from contracts.errors import InvalidSetting
from dashboard.actions.commands import Commands
from dashboard.actions.picture import look_at
from dashboard.actions.processes import Finished
from dashboard.options import Options
from engines.home import Home
from engines.local_lambda.environment import Environment
from integration.lambda_helpers import Engine, function
from libraries import folders
from stores.private_folders import make_private_folder
from stores.shared_files import FolderFiles
from stores.sqlite import SqliteStore
from training.datasets.fetch import check_source
from training.datasets.source import DataFile, DataSource

TESTS = Path(__file__).parents[1]
PROGRAM = str(TESTS / "integration" / "arithmetic_cli.py")
SECRETS = {
    "AWS_ACCESS_KEY_ID": "AKIACANARY0000000001",
    "AWS_SECRET_ACCESS_KEY": "canary-secret-key-000000000002",
    "AWS_SESSION_TOKEN": "canary-session-token-0000000003",
    "AWS_CONTAINER_AUTHORIZATION_TOKEN": "canary-container-0000000000004",
    "DATABASE_PASSWORD": "canary-password-000000000000005",
    "GITHUB_TOKEN": "canary-github-0000000000000000006",
    "HTTPS_PROXY": "http://somebody:canary-proxy-000000007@127.0.0.1:9",
}
CANARIES = ("CANARY0", "canary-")
LIMIT_S = 240


@pytest.fixture
def open_umask() -> Iterator[None]:
    before = os.umask(0)
    yield
    os.umask(before)


def too_open(root: Path) -> list[str]:
    """What below a folder others could look at, or change; the folder included."""
    found = []
    for path in (root, *root.rglob("*")):
        mode = stat.S_IMODE(path.lstat().st_mode)
        if not path.is_symlink() and mode & 0o077:
            found.append(f"{path.relative_to(root)} {mode:o}")
    return found


def with_canaries(root: Path) -> list[str]:
    """The files in which a secret lies."""
    words = [word.encode() for word in CANARIES]
    return [str(path) for path in root.rglob("*") if path.is_file() and any(w in path.read_bytes() for w in words)]


def test_a_whole_run(tmp_path: Path, open_umask: None) -> None:
    """Real processes; training is arithmetic. Its home, its temporary files and all that it prints are looked at."""
    home, temporary = tmp_path / "deep" / "home", tmp_path / "temporary"
    temporary.mkdir()
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LAMBDAFIT_")}
    variables = kept | SECRETS | {"LAMBDAFIT_HOME": str(home), "TMPDIR": str(temporary), "NO_PROXY": "*"}
    for arguments in (
        ("train", "digits-mlp", "--workers", "2", "--epochs", "1", "--json"), ("runs", "show", "latest"),
        ("runs", "show", "latest", "--json"), ("logs", "latest"), ("train", "no-such-recipe"), ("doctor",),
        ("train", "digits-mlp", "--workers", "2", "--epochs", "1", "--detach", "--json"),
    ):  # fmt: skip
        done = subprocess.run(
            [sys.executable, PROGRAM, *arguments], env=variables, capture_output=True, text=True, timeout=LIMIT_S,
            cwd=tmp_path, check=False,
        )  # fmt: skip
        assert not any(word in done.stdout + done.stderr for word in CANARIES), arguments
    subprocess.run(
        [sys.executable, PROGRAM, "watch", "latest"], env=variables, timeout=LIMIT_S, check=True, cwd=tmp_path
    )
    names = {path.name for path in home.rglob("*")}
    assert {"runs.db", "telemetry.db", "engine.lock", "logs", "shared", "conductor.log"} <= names
    assert too_open(home.parent) == []
    assert too_open(temporary)[1:] == []
    assert with_canaries(tmp_path) == []


def test_stores_and_shared_files(tmp_path: Path, open_umask: None) -> None:
    root = tmp_path / "a" / "b"
    Home(root).create()
    files = FolderFiles(root / "shared", keep_spares=True)
    files.write("runs/r-abcd/updates/000001/w.npy", [bytes(2 << 20)], durable=False)
    files.remove("runs/r-abcd/updates/000001/w.npy")
    files.write("runs/r-abcd/x/y/z.npy", [bytes(10)], durable=True)
    store = SqliteStore(root / "runs.db")
    store.list_runs()
    names = {path.name for path in root.rglob("*")}
    assert {"spares", "runs.db", "runs.db-wal", "z.npy"} <= names
    assert too_open(tmp_path / "a") == []
    with pytest.raises(FileExistsError):
        make_private_folder(root / "runs.db")


def test_downloads(tmp_path: Path, open_umask: None) -> None:
    content = b"a data set"

    class Page(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, *_: object) -> None:
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Page) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        file = DataFile("x.gz", sha256(content).hexdigest(), len(content))
        url = f"http://127.0.0.1:{server.server_port}/"
        source = DataSource(name="made", load=lambda _: None, files=(file,), base_url=url)  # type: ignore[arg-type,return-value]
        check_source(source, None, tmp_path / "home" / "downloads")
        server.shutdown()
    assert (tmp_path / "home/downloads/made/x.gz").read_bytes() == content
    assert too_open(tmp_path / "home" / "downloads") == []


def test_a_functions_own_and_temporary_files_and_its_log(tmp_path: Path, open_umask: None) -> None:
    code = "import os\ndef handler(event, _):\n open(event['path'], 'w').write('x')\n os.makedirs(event['folder'])\n"
    (tmp_path / "writes.py").write_text(code)
    target = tmp_path / "own"
    make_private_folder(target)
    with Engine(tmp_path, function("writes.handler")) as engine:
        assert engine.run({"path": str(target / "file"), "folder": str(target / "c/d")}).outcome == "returned"
    assert (target / "file").exists()
    assert too_open(target) == []
    assert too_open(engine.log_folder) == []


def test_pictures_handed_to_the_dashboard(tmp_path: Path, open_umask: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen: list[list[str]] = []

    def run(arguments: object, environment: object, limit_s: float) -> Finished:
        seen.append(too_open(tmp_path)[1:])
        return Finished(0, "{}", "")

    look_at(Commands(Options(home=str(tmp_path)), runner=run, environment={}), "r-abcd", "../../a.png", b"x")  # type: ignore[arg-type]
    assert seen == [[]]
    assert list(tmp_path.iterdir()) == []


def test_unpacked_libraries_are_in_a_folder_of_their_owner(tmp_path: Path, open_umask: None) -> None:
    held = folders.hold(tmp_path / "libraries", "ab", lambda part: None)
    held.release()
    assert too_open(tmp_path / "libraries") == []


def test_the_secret_of_an_engine_is_in_no_file_and_on_no_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is in the environment of its process alone, which the system shows to its owner and to nobody else."""
    addresses: list[str] = []
    make = Environment.__init__

    def noting(self: Environment, fn: object, number: int, address: str, **more: object) -> None:
        addresses.append(address)
        make(self, fn, number, address, **more)  # type: ignore[arg-type]

    monkeypatch.setattr(Environment, "__init__", noting)
    with Engine(tmp_path, function("act")) as engine:
        for do in ("print", "raise", "exit"):
            engine.run({"do": do, "value": "x"})
        lines = [Path(f"/proc/{one.pid}/cmdline") for fleet in engine._scheduler.fleets.values() for one in fleet.live]
        shown = b"".join(path.read_bytes() for path in lines if path.exists())
    secrets = [address.partition("/")[2] for address in addresses]
    assert secrets
    assert len(set(secrets)) == len(secrets)
    assert all(len(secret) == 32 for secret in secrets)
    written = shown + b"".join(path.read_bytes() for path in tmp_path.rglob("*") if path.is_file())
    assert not any(secret.encode() in written for secret in secrets)


def test_a_public_dashboard_needs_a_list_or_may_not_write() -> None:
    from cli.dashboard_server import check_address

    with pytest.raises(InvalidSetting, match="lets others reach the dashboard"):
        check_address("0.0.0.0", read_only=False, allow=())
    with contextlib.nullcontext():
        check_address("0.0.0.0", read_only=True, allow=())
        check_address("127.0.0.1", read_only=False, allow=())
