"""botocore's descriptions of AWS's services, read once a process: a session reads megabytes of JSON for each client."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from botocore.loaders import Loader


def read_once() -> None:
    """Let all sessions share what botocore lets the clients of one session share."""
    for name in ("load_service_model", "load_data_with_path"):
        setattr(Loader, name, _shared(getattr(Loader, name)))


def _shared(read: Callable[..., Any]) -> Callable[..., Any]:
    known: dict[Any, Any] = {}

    def once(loader: Loader, name: str, *arguments: str, **options: str | None) -> Any:
        key = (*loader.search_paths, name, *arguments, *options.items())
        if key not in known:
            known[key] = read(loader, name, *arguments, **options)
        return known[key]

    return once
