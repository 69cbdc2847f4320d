"""What the source may not do, looked for in its syntax tree and not in its text."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).parents[2]
FILES = sorted(path for folder in ("src", "dashboard") for path in (CHECKOUT / folder).rglob("*.py"))

MODULES = frozenset({"pickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal", "yaml",
                     "multiprocessing", "concurrent.futures.process", "xmlrpc", "code", "imp"})  # fmt: skip
"""Serialisers that run code, and what brings them along."""

NAMES = frozenset({"eval", "exec", "compile", "__import__"})
ATTRIBUTES = frozenset({
    "os.system", "os.popen", "os.execv", "os.execvp", "os.spawnl", "os.mktemp", "tempfile.mktemp",
    "subprocess.getoutput", "subprocess.getstatusoutput", "numpy.load", "np.load", "np.save", "np.fromfile",
    "tarfile.open", "shutil.unpack_archive", "ssl._create_unverified_context", "pd.read_pickle",
    "keras.config.enable_unsafe_deserialization", "tf.saved_model.load",
})  # fmt: skip
METHODS = frozenset({"extractall", "enable_unsafe_deserialization", "allow_unsafe", "read_pickle"})
KEYWORDS = {"shell": True, "allow_pickle": True, "safe_mode": False, "verify": False, "unsafe_allow_html": True,
            "unsafe_allow_javascript": True, "check_hostname": False}  # fmt: skip

EXCEPTIONS = {
    (
        "src/training/recipe.py",
        "exec",
    ): "a recipe is Python code that its user runs; these are the bytes that were hashed",
    ("src/training/recipe.py", "compile"): "the same",
    (
        "src/training/datasets/cifar_10.py",
        "tarfile.open",
    ): "an archive whose sha256 is the published one; six members are read, none is unpacked to the disk",
    ("src/cli/stack_access.py", "extractall"): "members stay inside the folder and their sizes are bounded before",
}


def dotted(node: ast.expr) -> str:
    """`a.b.c` of an expression; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (inner := dotted(node.value)):
        return f"{inner}.{node.attr}"
    return ""


def forbidden(tree: ast.AST) -> Iterator[str]:
    """What of the lists above a module does."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (one.name for one in node.names if one.name in MODULES or one.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom) and node.module:
            if node.module in MODULES or node.module.split(".")[0] in MODULES:
                yield node.module
            yield from (one.name for one in node.names if one.name in METHODS or one.name == "ProcessPoolExecutor")
        elif isinstance(node, ast.Call):
            name = dotted(node.func)
            if name in NAMES | ATTRIBUTES:
                yield name
            if isinstance(node.func, ast.Attribute) and node.func.attr in METHODS:
                yield node.func.attr
            for keyword in node.keywords:
                value = keyword.value.value if isinstance(keyword.value, ast.Constant) else None
                if keyword.arg in KEYWORDS and value is not (not KEYWORDS[keyword.arg]):
                    yield f"{keyword.arg}={ast.unparse(keyword.value)}"
            if name.endswith("load_model") and not any(keyword.arg == "safe_mode" for keyword in node.keywords):
                yield f"{name} without safe_mode"
        elif isinstance(node, ast.Attribute) and node.attr in ("__reduce__", "__reduce_ex__", "__setstate__"):
            yield node.attr


def test_nothing_unsafe_is_in_the_source() -> None:
    assert len(FILES) > 250
    found = {
        (path.relative_to(CHECKOUT).as_posix(), what)
        for path in FILES
        for what in forbidden(ast.parse(path.read_text(encoding="utf-8")))
    }
    assert found == set(EXCEPTIONS)


@pytest.mark.parametrize(
    "code",
    ["import pickle", "from pickle import loads", "import joblib", "import multiprocessing.pool", "eval('1')",
     "exec(x)", "import yaml", "run(x, shell=True)", "run(x, shell=flag)", "np.load(f)", "load(f, allow_pickle=True)",
     "keras.saving.load_model(p)", "keras.saving.load_model(p, safe_mode=False)", "os.system('x')",
     "archive.extractall(p)", "keras.config.enable_unsafe_deserialization()", "st.markdown(x, unsafe_allow_html=True)",
     "from concurrent.futures import ProcessPoolExecutor", "get(u, verify=False)", "__import__('os')"],
)  # fmt: skip
def test_each_of_these_is_seen(code: str) -> None:
    assert list(forbidden(ast.parse(code)))


@pytest.mark.parametrize(
    "code", ["run(x, shell=False)", "keras.saving.load_model(p, safe_mode=True)", "re.compile('x')", "pickled = 1"]
)
def test_these_are_harmless(code: str) -> None:
    assert not list(forbidden(ast.parse(code)))


def test_sockets_listen_on_loopback_alone() -> None:
    """Every address that something of ours binds to is written in place."""
    calls = []
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                where = path.relative_to(CHECKOUT).as_posix()
                if node.func.attr in ("bind", "create_server", "HTTPServer", "ThreadingHTTPServer", "start_server"):
                    calls.append((where, ast.unparse(node.args[0])))
    assert calls == [
        ("src/cli/dashboard_server.py", "(host, number)"),  # the user's --host, which `check_address` has checked
        ("src/engines/local_lambda/runtime_api.py", "('127.0.0.1', 0)"),
    ]
