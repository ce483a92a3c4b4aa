"""Write the state of the gateway to a file for programs and people, and now and then to the log."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

from cmmd.atomic_file import write_kept

__all__ = ["Status"]


class Status(Service):
    """Writes the file and the line for as long as it runs.

    :param describe: what the file says, as JSON has it; ``running`` is added.
    :param sum_up: what the line says.
    :param file: where to; None: no file.
    :param interval: seconds between two files.
    :param log_interval: seconds between two lines.
    """

    def __init__(
        self,
        describe: Callable[[], dict[str, Any]],
        sum_up: Callable[[], str],
        *,
        file: Path | None,
        interval: float,
        log_interval: float,
        clock: IReactorTime,
        log: Logger,
    ) -> None:
        self._describe = describe
        self._sum_up = sum_up
        self._file = file
        self._log = log
        self._failed = False
        self._loops: list[tuple[LoopingCall, float]] = []
        for act, seconds in ((self._write, interval), (self._say, log_interval)):
            loop = LoopingCall(act)
            loop.clock = clock
            self._loops.append((loop, seconds))

    def startService(self) -> None:
        """Write the first file, and go on."""
        super().startService()
        self._write()
        for loop, seconds in self._loops:
            loop.start(seconds, now=False)

    def stopService(self) -> None:
        """Write the last file, which says that nothing runs any more."""
        super().stopService()
        for loop, _ in self._loops:
            if loop.running:
                loop.stop()
        self._write()

    def _write(self) -> None:
        if self._file is None:
            return
        described = {"running": bool(self.running), **self._describe()}
        text = msgspec.json.format(msgspec.json.encode(described), indent=1).decode()
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            write_kept(self._file, f"{text}\n", mode=0o644, durable=False)
        except OSError as error:
            if not self._failed:
                self._log.warn("{file} cannot be written: {error}", file=str(self._file), error=error.strerror)
            self._failed = True
        else:
            self._failed = False

    def _say(self) -> None:
        self._log.info("{summary}", summary=self._sum_up())
