"""Keep some space on the disk for a start while that is full.

A running daemon goes on where its disk is full: it says so, refuses what it cannot keep, and serves everything else. A
start needs a little space for files that SQLite makes anew; this is where it comes from.
"""

import os
from pathlib import Path

from twisted.logger import Logger

__all__ = ["Reserve"]

log = Logger()

BYTES = 2**20
"""Some times what the indexes of the WALs of store, spool and copy take."""

LEAST_FREE = 64 * BYTES
"""The reserve is not made, or made again, where less than this is free."""


class Reserve:
    """A file of a state directory that is there to be deleted.

    :param state: the state directory.
    """

    def __init__(self, state: Path) -> None:
        self._file = state / "reserve"

    def spend(self) -> bool:
        """Free the space, if the disk is full and there is a reserve.

        :return: whether there is more space than before.
        """
        try:
            if _free(self._file.parent) >= BYTES:
                return False
            self._file.unlink()
        except OSError:
            return False
        log.error("the disk of {folder} is full: its reserve is used for this start", folder=self._file.parent)
        return True

    def fill(self) -> None:
        """Have a reserve, if there is room for it. Nothing else depends on that."""
        try:
            if self._file.exists() or _free(self._file.parent) < LEAST_FREE:
                return
            with self._file.open("wb") as file:
                os.posix_fallocate(file.fileno(), 0, BYTES)
        except OSError as error:
            log.debug("{file}: {error}", file=self._file, error=error)


def _free(folder: Path) -> int:
    there = os.statvfs(folder)
    return there.f_bavail * there.f_frsize
