"""The stage that all rehearsals of a test session share: the deployed stack, its data, and the calls that it saw."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from rehearsal.cloud import Cloud
from rehearsal.recording import STAND_IN, read_calls
from rehearsal.tour import is_complete, tour
from rehearsal.whole_runs import TEMPLATE, WholeRuns, local_run

RECIPE = "digits-mlp"
OPTIONS: Mapping[str, Any] = {"workers": 2, "rounds": 4, "seed": 1}
"""What all short rehearsals train: they must all end with the same parameters."""

WORKERS = 2
LIBRARIES = b"stands in for the archive: the libraries are installed here"


class Stage:
    """Opened by the first who asks, closed when the rehearsals are over; the calls stay.

    Args:
        folder: for all that is written.
        data: folder of the data sets as published.
    """

    def __init__(self, folder: Path, data: str, template: Path = TEMPLATE) -> None:
        self._folder, self._data, self._template = folder, data, template
        self._ends = contextlib.ExitStack()
        self._runs: WholeRuns | None = None

    @property
    def calls_file(self) -> Path:
        """All API calls, as permissions needed: see `rehearsal.recording`."""
        return self._folder / "calls.jsonl"

    def runs(self) -> WholeRuns:
        """The open stage."""
        if self._runs is None:
            with contextlib.ExitStack() as ends:
                ends.enter_context(without_lambdafit_variables())
                cloud = ends.enter_context(Cloud(self._folder, self._template, environments={"Train": WORKERS}))
                cloud.sweep_every(None)
                self._runs = WholeRuns(cloud, self._data)
                put_libraries(cloud)
                self._ends = ends.pop_all()
        return self._runs

    def calls(self) -> list[dict[str, Any]]:
        """The recorded calls of functions and people; those of tests left out.

        Where the rehearsals have not been, or not all of them, one run is done that needs every permission.
        """
        if not is_complete(read_calls(self.calls_file)):
            runs = self.runs()
            runs.push("digits")
            assert tour(runs, OPTIONS).status == "FINISHED"
            self.close()
        return [call for call in read_calls(self.calls_file) if call["function"] != STAND_IN]

    def close(self) -> None:
        """End all processes."""
        self._ends.close()
        self._runs = None


def put_libraries(cloud: Cloud) -> None:
    """What `lambdafit deploy` leaves in the bucket; nobody unpacks it here."""
    client, bucket, key = cloud.client("s3"), cloud.outputs["BucketName"], "libraries/rehearsal.tar.zst"
    current = {"digest": "rehearsal", "key": key, "bytes": len(LIBRARIES)}
    client.put_object(Bucket=bucket, Key=key, Body=LIBRARIES)
    client.put_object(Bucket=bucket, Key="libraries/current.json", Body=json.dumps(current).encode())


@contextlib.contextmanager
def without_lambdafit_variables() -> Any:
    """Environments inherit LAMBDAFIT_… variables: here they are to have the template's and no others."""
    kept = {name: os.environ.pop(name) for name in list(os.environ) if name.startswith("LAMBDAFIT_")}
    try:
        yield
    finally:
        os.environ.update(kept)


@cache
def expected_digest() -> str:
    """What the short rehearsals must end with: the parameters of the same run by `--engine local`."""
    return str(local_run(RECIPE, OPTIONS, "")["parameters_sha256"])
