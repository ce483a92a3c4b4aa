"""The thread that moves what was written from SQLite's WAL to its place."""

import sqlite3
from threading import Event, Thread

__all__ = ["PAUSE_S", "Checkpoints"]

PAUSE_S = 1.0
"""Seconds between two: what was written meanwhile is moved at once."""


class Checkpoints:
    """Carries checkpoints out beside the writer, while there is something to move.

    Left to SQLite they are part of a commit, now and then: 16 MB are moved while devices wait for that commit, for 0.1
    to 0.4 s on a busy machine. A passive one waits for nobody, and nobody waits for it. A commit moves what it leaves.

    :param connection: of its own; closed by :meth:`close`.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self._wanted = Event()
        self._over = Event()
        self._thread = Thread(target=self._run, name="store-checkpoints", daemon=True)
        self._thread.start()

    def want(self) -> None:
        """Something was written. For any thread."""
        self._wanted.set()

    def close(self) -> None:
        """End; waits for one that is under way."""
        self._over.set()
        self._wanted.set()
        self._thread.join()
        self._connection.close()

    def _run(self) -> None:
        while not self._over.wait(PAUSE_S):
            self._wanted.wait()
            self._wanted.clear()
            if not self._over.is_set():
                self._checkpoint()

    def _checkpoint(self) -> None:
        try:
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
        except sqlite3.Error:
            return  # whatever is wrong with the disk, the writer hears it, too, and says so
