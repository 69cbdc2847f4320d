"""Schedules that invoke functions."""

from __future__ import annotations

import json
import logging
import threading

from rehearsal.functions import FunctionService, Refused
from rehearsal.stack_model import ScheduleModel

LOG = logging.getLogger(__name__)


class Schedule(threading.Thread):
    """Invokes a function asynchronously, again and again, the next time only once the last has been taken."""

    def __init__(self, model: ScheduleModel, every_s: float | None, functions: FunctionService) -> None:
        super().__init__(name=f"schedule-{model.logical_id}", daemon=True)
        self._model, self._every_s, self._functions = model, every_s, functions
        self._changed = threading.Condition()
        self._stopped = False

    def every(self, seconds: float | None) -> None:
        """Another rate, from now on; None: switched off."""
        with self._changed:
            self._every_s = seconds
            self._changed.notify_all()

    def stop(self) -> None:
        """End the thread."""
        with self._changed:
            self._stopped = True
            self._changed.notify_all()

    def run(self) -> None:
        """Until `stop`."""
        body = json.dumps(self._model.event).encode()
        while not self._stopped:
            with self._changed:
                told = self._changed.wait(self._every_s)
            if told:
                continue
            try:
                if self._functions.in_use(self._model.function) == 0:  # faster than life: it must not pile up
                    self._functions.send(self._model.function, body)
            except Refused as error:
                LOG.warning("%s: %s", self.name, error)
