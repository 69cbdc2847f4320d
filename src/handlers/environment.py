"""The environment variables that functions read: all of them, parsed once, checked."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import msgspec
from msgspec import Meta

from contracts.errors import InvalidSetting

PREFIX = "LAMBDAFIT_"
MOUNT = "/mnt/lambdafit"
TEMPORARY = "/tmp/lambdafit"  # noqa: S108 - Lambda's own, private to one execution environment

_PROBLEM = re.compile(r"(?P<problem>.*) - at `\$\.(?P<field>\w+)`")

Positive = Annotated[int, Meta(ge=1)]
FunctionName = Annotated[str, Meta(pattern=r"^[A-Za-z0-9_:\-]*$", max_length=170)]


class FunctionEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """What a function is told about its surroundings: each field is the variable LAMBDAFIT_ and its name.

    Args:
        home: on one machine, the folder of the run store and the shared files.
        data: on one machine, where data sets are looked for before they are downloaded.
        threads: of TensorFlow in one execution environment.
        table: the DynamoDB table; without one the store is SQLite in `home`.
        shared: the root of the shared files: the file system's mount; by default in `home`.
        spares: on one machine, let new files overwrite those that were removed, and map what is combined
            (`stores.shared_files`).
        bucket: the S3 bucket of data sets, recipes, libraries and exports.
        libraries: where TensorFlow is: empty where it is installed, `s3`, `efs`, or the path of an archive.
        libraries_digest: of the archive that the stack was deployed with: no other is taken from `s3` or `efs`; empty:
            none yet.
        train_function: name or ARN, as `combine_function` and `prepare_function`, for those who reconcile.
        predict_function: name or ARN, for the HTTP API.
        time_limit_s: of the functions that work on tasks, for those who start runs; as `memory_mb` of Train.
        workers: the most that a run may ask for.
        reserved_concurrency: how many Train functions may run side by side; 0: as many as there are workers.
        topic: ARN of the SNS topic that is told when a run has ended; empty: none.
        stack: the stack's name: the dimension of all metrics.
        telemetry_days: how long steps, predictions and spans are kept.
    """

    home: str = ""
    data: str = ""
    threads: Positive = 1
    table: str = ""
    shared: str = ""
    spares: bool = False
    bucket: str = ""
    libraries: str = ""
    libraries_digest: Annotated[str, Meta(pattern=r"^([0-9a-f]{64})?$")] = ""
    train_function: FunctionName = ""
    combine_function: FunctionName = ""
    prepare_function: FunctionName = ""
    predict_function: FunctionName = ""
    time_limit_s: Annotated[float, Meta(gt=0, le=900)] = 900.0
    memory_mb: Annotated[int, Meta(ge=128, le=10_240)] = 3_008
    workers: Positive = 64
    reserved_concurrency: Annotated[int, Meta(ge=0)] = 0
    topic: Annotated[str, Meta(pattern=r"^(arn:[\w\-]+:sns:.+)?$")] = ""
    stack: str = "lambdafit"
    telemetry_days: Positive = 30

    def __post_init__(self) -> None:
        if not self.home and not self.table:
            raise InvalidSetting(
                "LAMBDAFIT_HOME, LAMBDAFIT_TABLE", "neither is set", "a folder in the one, or a table in the other"
            )

    @property
    def store_file(self) -> Path:
        """The SQLite run store."""
        return Path(self.home) / "runs.db"

    @property
    def shared_folder(self) -> Path:
        """The root of the shared files."""
        if self.shared:
            return Path(self.shared)
        return Path(self.home) / "shared" if self.home else Path(MOUNT)

    @property
    def download_folder(self) -> Path:
        """Where downloaded data sets are kept."""
        return Path(self.home or TEMPORARY) / "downloads"

    @property
    def data_folder(self) -> Path | None:
        """The user's own folder of data sets."""
        return Path(self.data) if self.data else None

    @property
    def functions(self) -> dict[str, str]:
        """The functions that tasks are sent to: name or ARN, by the name in `contracts.messages.FUNCTIONS`."""
        return {"train": self.train_function, "combine": self.combine_function, "prepare": self.prepare_function}


def read_environment(variables: Mapping[str, str] | None = None) -> FunctionEnvironment:
    """The variables, checked. An empty one is one that is not set.

    Raises:
        InvalidSetting: one is missing, of another type or out of range; the message names it.
    """
    given = os.environ if variables is None else variables
    known = {name: f"{PREFIX}{name.upper()}" for name in FunctionEnvironment.__struct_fields__}
    values = {name: given[variable] for name, variable in known.items() if given.get(variable)}
    try:
        return msgspec.convert(values, FunctionEnvironment, strict=False)
    except msgspec.ValidationError as error:
        found = _PROBLEM.fullmatch(str(error))
        if found is None:
            raise InvalidSetting("environment", str(error), "valid LAMBDAFIT_… variables") from None
        field = found["field"]
        expected = found["problem"].removeprefix("Expected ").replace("`", "")
        raise InvalidSetting(known[field], repr(values[field]), expected) from None
