"""Write the log to standard output in a thread of its own.

Where standard output is a pipe or a terminal whose reader has stopped (Ctrl-S, a pager, a container's log driver), a
write waits until that reads again. On the reactor's thread every device would wait with it.
"""

import atexit
import os
import select
import sys
from queue import Empty, SimpleQueue
from threading import Thread
from typing import Any, TextIO, cast

from twisted.logger import ILogObserver, textFileLogObserver

__all__ = ["LogThread", "observe_in_thread", "write_log_in_thread"]

MOST_LINES = 10_000
"""Lines that wait for a reader; later ones are dropped and counted."""

LONGEST = 16_384
"""Characters of a line or traceback that are kept: what waits must not fill the memory."""

END_S = 2.0
"""How long the end of the process waits for a reader."""


class LogThread:
    """A text file to be written to from any thread, which never waits.

    No lock is taken on the way of a line: the garbage collector may log in the middle of anything, in the thread that
    holds that lock. ``SimpleQueue.put`` is the one call of the standard library's queues that allows for it.

    :param descriptor: of what the lines are written to.
    :ivar dropped: lines that were dropped.
    """

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._lines: SimpleQueue[str | None] = SimpleQueue()
        self._thread: Thread | None = None
        self.dropped = 0
        self._reported = 0

    def write(self, text: str) -> None:
        """Have a text written, or dropped where too many wait."""
        if self._lines.qsize() >= MOST_LINES:
            self.dropped += 1
            return
        if self._reported != self.dropped:
            count, self._reported = self.dropped - self._reported, self.dropped
            self._lines.put(f"-- {count} lines of the log were dropped here: nothing read it\n")
        self._lines.put(text if len(text) <= LONGEST else f"{text[:LONGEST]} ...\n")

    def flush(self) -> None:
        """Do nothing: what was written is on its way."""

    def start(self) -> None:
        """Begin to write; what has come before is written first."""
        self._thread = Thread(target=self._run, name="log", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Write what waits, as far as its reader takes it within :data:`END_S`."""
        if self._thread is not None:
            self._lines.put(None)
            self._thread.join(END_S)
            self._thread = None

    def _run(self) -> None:
        while (text := self._lines.get()) is not None:
            texts = [text]
            ended = False
            while len(texts) < 100:  # one call of the system for many lines
                try:
                    more = self._lines.get_nowait()
                except Empty:
                    break
                if more is None:
                    ended = True
                    break
                texts.append(more)
            self._write("".join(texts).encode("utf-8", "backslashreplace"))
            if ended:
                return

    def _write(self, rest: bytes) -> None:
        while rest:
            try:
                rest = rest[os.write(self._descriptor, rest) :]
            except BlockingIOError:  # another process has made it so: both share it
                select.select([], [self._descriptor], [])
            except OSError:  # its reader has gone, or its disk is full: the next lines may find it otherwise
                return


def write_log_in_thread(options: Any) -> None:
    """Have twistd's log written by a :class:`LogThread` where it goes to standard output.

    :param options: twistd's own, those above the subcommand's; None: there are none.
    """
    if options is None or not options.get("nodaemon") or options.get("logger") or options.get("syslog"):
        return
    if options.get("logfile") in (None, "", "-"):
        options["logger"] = f"{__name__}.{observe_in_thread.__name__}"  # twistd imports it


def observe_in_thread() -> ILogObserver:
    """Make the observer that writes the log to standard output in a thread."""
    sys.stdout.flush()
    thread = LogThread(os.dup(sys.stdout.fileno()))
    thread.start()
    atexit.register(thread.stop)
    return textFileLogObserver(cast("TextIO", thread))
