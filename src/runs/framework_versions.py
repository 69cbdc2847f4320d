"""Which TensorFlow and Keras functions compute with, known without importing either."""

from __future__ import annotations

from importlib import metadata

import xxhash

from libraries.lock import LOCK, pins

_TENSORFLOW = ("tensorflow-cpu", "tensorflow")
_ANY_ARCHITECTURE = "x86_64"
"""The lock has the same versions for all."""


def here() -> str:
    """Those that are installed here, as functions on this machine use them; of the lock where none are."""
    for name in _TENSORFLOW:
        try:
            return _words(metadata.version(name), metadata.version("keras"))
        except metadata.PackageNotFoundError:
            continue
    return on_a_stack()


def on_a_stack() -> str:
    """Those of the workers' libraries, which are built from the lock."""
    versions = pins(LOCK.read_text(), _ANY_ARCHITECTURE)
    return _words(next(versions[name] for name in _TENSORFLOW if name in versions), versions["keras"])


def digest_with(backbone_digest: str, framework: str) -> str:
    """A backbone's digest under a framework; empty where there is none.

    Outputs of another version may differ in bits: they have a place of their own.
    """
    return str(xxhash.xxh3_128_hexdigest(f"{backbone_digest} {framework}".encode())) if backbone_digest else ""


def _words(tensorflow: str, keras: str) -> str:
    return f"tensorflow {tensorflow}, keras {keras}"
