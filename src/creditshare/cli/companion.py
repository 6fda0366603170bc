"""The log's worker beside ``serve``: started again when it dies, and gone when ``serve`` is gone, even after kill -9.

Without its worker a service stops answering within the log's promise, so its death must not wait for a person. The
worker holds our end of a pipe as its standard input, which the kernel closes however we end.
"""

import subprocess
import threading
from collections.abc import Sequence
from typing import Final

import structlog

log = structlog.get_logger()

RESTART_PAUSE_S: Final = 1.0
STOP_S: Final = 15.0


class Companion:
    """One child process that is kept alive until ``stop``."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = command
        self._ending = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._thread = threading.Thread(target=self._keep, name="companion", daemon=True)

    def start(self) -> None:
        """Start the child and keep it alive from now on."""
        self._thread.start()

    def stop(self) -> None:
        """End the child and start no other."""
        with self._lock:
            self._ending.set()
            if self._process is not None:
                self._process.terminate()
        self._thread.join(STOP_S)

    def _keep(self) -> None:
        while True:
            with self._lock:
                if self._ending.is_set():
                    return
                self._process = subprocess.Popen(self._command, stdin=subprocess.PIPE)  # noqa: S603  our own command
            status = self._process.wait()
            if self._ending.is_set():
                return
            log.error("the worker ended and is started again", status=status)
            self._ending.wait(RESTART_PAUSE_S)
