"""Wakes whoever waits for tables or queues to change: one thread asks the process that holds them."""

from __future__ import annotations

import http.client
import threading


class Changes:
    """Counts writes to a service, and calls of `wake`."""

    def __init__(self, port: int, path: str, service: str) -> None:
        self._port, self._path = port, f"{path}?service={service}"
        self._told = threading.Condition()
        self._woken = 0
        self._written = 0
        self._stopped = False
        self._thread = threading.Thread(target=self._watch, name=f"changes-{service}", daemon=True)
        self._thread.start()

    @property
    def count(self) -> int:
        """Grows with each change."""
        with self._told:
            return self._written + self._woken

    def wait_beyond(self, count: int, patience_s: float | None) -> int:
        """Return once the count is greater, or the patience is over. Returns the count."""
        with self._told:
            self._told.wait_for(lambda: self._written + self._woken > count or self._stopped, patience_s)
            return self._written + self._woken

    def wake(self) -> None:
        """Have everybody look again."""
        with self._told:
            self._woken += 1
            self._told.notify_all()

    def stop(self) -> None:
        """Watch no longer."""
        self._stopped = True
        self.wake()

    def _watch(self) -> None:
        while not self._stopped:
            connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=60)
            try:
                connection.request("GET", f"{self._path}&after={self._written}")
                written = int(connection.getresponse().read())
            except (OSError, http.client.HTTPException, ValueError):
                if not self._stopped:
                    self.stop()  # the process is gone
                return
            finally:
                connection.close()
            with self._told:
                self._written = written
                self._told.notify_all()
