"""The environment variables that functions read: all of them, parsed once, checked."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import msgspec

from contracts.errors import InvalidSetting

PREFIX = "LAMBDAFIT_"


class FunctionEnvironment(msgspec.Struct, frozen=True, kw_only=True):
    """What a function is told about its surroundings.

    Args:
        home: the folder of the run store and the shared files (`LAMBDAFIT_HOME`).
        data: where data sets are looked for before they are downloaded (`LAMBDAFIT_DATA`).
        threads: of TensorFlow in one execution environment (`LAMBDAFIT_THREADS`).
    """

    home: str
    data: str = ""
    threads: int = 1

    @property
    def store_file(self) -> Path:
        """The SQLite run store."""
        return Path(self.home) / "runs.db"

    @property
    def shared_folder(self) -> Path:
        """The root of the shared files."""
        return Path(self.home) / "shared"

    @property
    def download_folder(self) -> Path:
        """Where downloaded data sets are kept."""
        return Path(self.home) / "downloads"

    @property
    def data_folder(self) -> Path | None:
        """The user's own folder of data sets."""
        return Path(self.data) if self.data else None


def read_environment(variables: Mapping[str, str] | None = None) -> FunctionEnvironment:
    """The variables, checked.

    Raises:
        InvalidSetting: one is missing or of another type.
    """
    given = os.environ if variables is None else variables
    known = {name: f"{PREFIX}{name.upper()}" for name in FunctionEnvironment.__struct_fields__}
    values = {name: given[variable] for name, variable in known.items() if variable in given}
    try:
        return msgspec.convert(values, FunctionEnvironment, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidSetting("environment", str(error), ", ".join(known.values())) from None
