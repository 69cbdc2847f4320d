"""scripts/setup.sh: which Python it takes, on machines made of a few small scripts; and the pins it installs."""

import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
PROGRAMS = "awk cat cksum cp cut date df dirname du grep mkdir rm sed sh tail"

# Runs setup.sh's own question in a real Python that says it is another one. Importing the modules it asks for would
# take most of the time of these tests.
PRETEND = """
import sys
sys.version_info = ({version}, 1, "final", 0)
for name in ("ctypes", "ensurepip", "ssl", "venv"):
    sys.modules[name] = None if name in {missing} else sys
exec(sys.argv[1])
"""


@dataclass
class Machine:
    """A checkout (with a space in its path), a home, a system and a PATH with the usual programs, but no Python."""

    root: Path
    home: Path
    system: Path
    bin: Path

    def find_python(self, **variables: object) -> subprocess.CompletedProcess[str]:
        environment = {"HOME": self.home, "PATH": self.bin, "LAMBDAFIT_SEARCH_ROOT": self.system} | variables
        return subprocess.run(
            ["/bin/sh", self.root / "scripts/setup.sh", "--find-python"],
            env={name: str(value) for name, value in environment.items()},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=30,
        )

    def found(self, **variables: object) -> Path:
        done = self.find_python(**variables)
        assert done.returncode == 0, done.stderr
        assert len(done.stdout.splitlines()) == 1
        return Path(done.stdout.rstrip("\n"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    made = Machine(tmp_path / "a checkout", tmp_path / "a home", tmp_path / "system", tmp_path / "bin")
    for folder in (made.root / "scripts", made.home, made.system, made.bin):
        folder.mkdir(parents=True)
    shutil.copy(CHECKOUT / "scripts/setup.sh", made.root / "scripts/setup.sh")
    for program in PROGRAMS.split():
        path = shutil.which(program)
        assert path, f"{program} is not on PATH"
        (made.bin / program).symlink_to(path)
    return made


def script(path: Path, body: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\n{body}\n")
    path.chmod(0o755)
    return path


def python(path: Path, version: str, missing: tuple[str, ...] = (), otherwise: str = "exit 1") -> Path:
    """A Python of that version; `otherwise` is what it does when it is not asked with -c."""
    code = PRETEND.format(version=version.replace(".", ", "), missing=missing)
    ask = f'[ "$1" != -c ] || exec {shlex.quote(sys.executable)} -I -S -c {shlex.quote(code)} "$2"'
    return script(path, f"{ask}\n{otherwise}")


def failing_shim(path: Path) -> Path:
    return script(path, f'echo "shim: {path.name}: command not found" >&2; exit 127')


def test_takes_3_13_before_3_12(machine: Machine) -> None:
    python(machine.bin / "python3.12", "3.12")
    newer = python(machine.bin / "python3.13", "3.13")
    assert machine.found() == newer


def test_takes_the_python_it_is_given(machine: Machine) -> None:
    python(machine.bin / "python3.13", "3.13")
    given = python(machine.home / "my pythons/python3.12", "3.12")
    assert machine.found(LAMBDAFIT_PYTHON=given) == given


def test_says_so_when_the_given_python_is_not_fit(machine: Machine) -> None:
    python(machine.bin / "python3.13", "3.13")
    given = python(machine.home / "python3.11", "3.11")
    done = machine.find_python(LAMBDAFIT_PYTHON=given)
    assert done.stdout == f"{machine.bin}/python3.13\n"
    assert str(given) in done.stderr


def test_a_failing_shim_does_not_hide_the_python_behind_it(machine: Machine, tmp_path: Path) -> None:
    failing_shim(tmp_path / "shims/python3.13")
    real = python(machine.bin / "python3.13", "3.13")
    assert machine.found(PATH=f"{tmp_path}/shims:{machine.bin}") == real


def test_a_failing_shim_is_passed_over_for_another_name(machine: Machine) -> None:
    failing_shim(machine.bin / "python3.13")
    failing_shim(machine.bin / "python3.12")
    real = python(machine.bin / "python3", "3.12")
    assert machine.found() == real


def test_passes_over_pythons_of_other_versions(machine: Machine) -> None:
    python(machine.bin / "python3", "3.11")
    python(machine.bin / "python", "3.14")
    fit = python(machine.system / "opt/python3.12/bin/python3.12", "3.12")
    assert machine.found() == fit


@pytest.mark.parametrize("module", ["venv", "ensurepip", "ssl"])
def test_passes_over_a_python_that_cannot_make_environments(machine: Machine, module: str) -> None:
    python(machine.bin / "python3.13", "3.13", missing=(module,))
    fit = python(machine.bin / "python3.12", "3.12")
    assert machine.found() == fit


def test_never_takes_the_python_of_the_venv_that_it_may_rebuild(machine: Machine) -> None:
    own = python(machine.root / ".venv/bin/python3.13", "3.13")
    other = python(machine.bin / "python3.12", "3.12")
    assert machine.found(PATH=f"{own.parent}:{machine.bin}") == other


@pytest.mark.parametrize(
    "place",
    [
        "home/.pyenv/versions/3.13.0/bin",
        "home/.asdf/installs/python/3.13.1/bin",
        "home/.local/share/mise/installs/python/3.13/bin",
        "home/miniconda3/envs/work/bin",
        "home/miniforge3/bin",
        "home/.local/share/uv/python/cpython-3.13.2-linux-x86_64-gnu/bin",
        "system/opt/homebrew/opt/python@3.13/bin",
        "system/usr/local/opt/python@3.13/bin",
        "system/opt/python/3.13.3/bin",
        "root/.python/pythons/cpython-3.13.4-macos-aarch64-none/bin",
    ],
)
def test_looks_into_version_managers(machine: Machine, place: str) -> None:
    base, _, folder = place.partition("/")
    kept = python(getattr(machine, base) / folder / "python3.13", "3.13")
    failing_shim(machine.bin / "python3.13")
    assert machine.found() == kept


def test_looks_where_the_version_manager_was_moved_to(machine: Machine, tmp_path: Path) -> None:
    kept = python(tmp_path / "py env/versions/3.12.1/bin/python3.12", "3.12")
    assert machine.found(PYENV_ROOT=tmp_path / "py env") == kept


def fake_uv(tmp_path: Path, fetch: str) -> Path:
    """A uv that notes where it was told to put Pythons, then does `fetch`."""
    told = shlex.quote(str(tmp_path / "told"))
    note = f'echo "$* $UV_PYTHON_INSTALL_DIR $UV_PYTHON_INSTALL_BIN $UV_CACHE_DIR" >{told}'
    return script(tmp_path / "uv", f'[ "$1" != --version ] || exit 0\n{note}\n{fetch}')


def installs(uv: Path) -> str:
    """What an old python3 does: make a private environment, whose pip brings that uv."""
    pip = script(uv.parent / "pip", f'cp {shlex.quote(str(uv))} "${{0%/*}}/uv"')
    return f'[ "$1 $2" = "-m venv" ] && mkdir -p "$3/bin" && cp {shlex.quote(str(pip))} "$3/bin/python"'


@pytest.fixture
def fetched(machine: Machine, tmp_path: Path) -> tuple[Path, str]:
    """A Python that uv can fetch: where it comes to stand, and the commands that put it there."""
    original = python(tmp_path / "fetched/python3.13", "3.13")
    stands = machine.root / ".python/pythons/cpython-3.13.9-linux-x86_64-gnu/bin/python3.13"
    folder = '"$UV_PYTHON_INSTALL_DIR/cpython-3.13.9-linux-x86_64-gnu/bin"'
    return stands, f"mkdir -p {folder} && cp {shlex.quote(str(original))} {folder}"


def assert_told_to_stay_inside(machine: Machine, tmp_path: Path) -> None:
    inside = f"{machine.root}/.python"
    assert (tmp_path / "told").read_text() == f"python install 3.13 {inside}/pythons 0 {inside}/cache\n"


def test_without_a_fit_python_fetches_one_by_a_private_uv(
    machine: Machine, tmp_path: Path, fetched: tuple[Path, str]
) -> None:
    stands, fetch = fetched
    uv = fake_uv(tmp_path, fetch)
    python(machine.bin / "python3", "3.9", otherwise=installs(uv))
    assert machine.found() == stands
    assert (machine.root / ".python/uv/bin/uv").exists()
    assert_told_to_stay_inside(machine, tmp_path)
    assert list(machine.home.iterdir()) == []


def test_takes_the_uv_that_is_there_when_there_is_no_python_at_all(
    machine: Machine, tmp_path: Path, fetched: tuple[Path, str]
) -> None:
    stands, fetch = fetched
    (machine.bin / "uv").symlink_to(fake_uv(tmp_path, fetch))
    assert machine.found() == stands
    assert_told_to_stay_inside(machine, tmp_path)


def assert_one_clear_message(done: subprocess.CompletedProcess[str], reason: str) -> None:
    assert done.returncode == 3
    assert done.stdout == ""
    assert done.stderr.count("No Python 3.13 or 3.12 that runs") == 1
    assert reason in done.stderr
    assert "LAMBDAFIT_PYTHON=" in done.stderr


def test_says_what_to_do_when_there_is_no_python_and_no_uv(machine: Machine) -> None:
    python(machine.bin / "python3", "3.7")
    assert_one_clear_message(machine.find_python(), "neither uv nor a Python 3.8")


def test_says_why_uv_could_not_fetch_a_python(machine: Machine, tmp_path: Path) -> None:
    failing_shim(machine.bin / "python3.13")
    (machine.bin / "uv").symlink_to(fake_uv(tmp_path, 'echo "error: the host cannot be reached" >&2; exit 2'))
    assert_one_clear_message(machine.find_python(), "error: the host cannot be reached")


def test_says_why_a_private_uv_could_not_be_made(machine: Machine) -> None:
    python(machine.bin / "python3", "3.11", otherwise='echo "no room for uv" >&2; exit 1')
    assert_one_clear_message(machine.find_python(), "no room for uv")


def test_tries_the_systems_certificates_when_uv_does_not_trust_a_proxy(machine: Machine, tmp_path: Path) -> None:
    distrust = '[ -n "$UV_SYSTEM_CERTS" ] || { echo "invalid peer certificate" >&2; exit 2; }'
    (machine.bin / "uv").symlink_to(fake_uv(tmp_path, f'{distrust}\necho "host down" >&2; exit 2'))
    assert_one_clear_message(machine.find_python(), "host down")


def test_refuses_an_option_it_does_not_know(machine: Machine) -> None:
    command = ["/bin/sh", str(machine.root / "scripts/setup.sh"), "--sideways"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert done.returncode == 2
    assert "usage:" in done.stderr


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[^\w.-]", requirement)[0].lower() for requirement in requirements}


@pytest.mark.parametrize("file", ["runtime.txt", "dev.txt"])
def test_every_requirement_of_the_project_is_pinned_with_hashes_and_no_host(file: str) -> None:
    project = tomllib.loads((CHECKOUT / "pyproject.toml").read_text())
    asked = names(project["project"]["dependencies"])
    if file == "dev.txt":
        asked |= names(project["dependency-groups"]["dev"] + project["build-system"]["requires"])
    text = (CHECKOUT / "requirements" / file).read_text()
    pins = re.findall(r"^[^#\s].*(?:\n .*)*", text, re.MULTILINE)
    assert asked - names(pins) == set(), "run `make requirements`"
    assert [pin for pin in pins if "==" not in pin or "--hash=sha256:" not in pin] == []
    assert "://" not in text
    assert "--index" not in text
