"""The ports that the use cases work with, in one bundle. Wiring fills it; tests fill it with fakes."""

from __future__ import annotations

from dataclasses import dataclass, field

from contracts.ports import Clock, Invoker, Randomness, RunStore, SharedFiles, Telemetry
from runs.transfer import MeteredFiles
from training.vector_files import NewestVector


@dataclass(frozen=True)
class Services:
    """Everything from outside that a use case may touch, and what a warm environment keeps.

    `files` are metered, whatever was given: what goes through them is billed.
    """

    store: RunStore
    telemetry: Telemetry
    files: SharedFiles
    invoker: Invoker
    clock: Clock
    randomness: Randomness
    newest_parameters: NewestVector = field(default_factory=NewestVector)

    def __post_init__(self) -> None:
        if not isinstance(self.files, MeteredFiles):
            object.__setattr__(self, "files", MeteredFiles(self.files))
