"""The bytes of unfinished messages of all connections together, bounded."""

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

__all__ = ["MOST_UNFINISHED", "UnfinishedFrames"]

MOST_UNFINISHED = 16 * 1024 * 1024
"""Bytes of unfinished messages, of all connections together. A segment is one whole message nearly always; an upload
that is cut has some hundred bytes."""

T = TypeVar("T", bound=Hashable)


class UnfinishedFrames(Generic[T]):
    """Counts the bytes that connections hold until the rest of a message comes.

    One connection holds at most ``max_frame``; thousands of them could hold all memory. When they hold too many in sum,
    a connection of no known device has to go, the one longest unfinished first; where there is none, the largest.

    :param most: bytes in sum.
    :param is_known: tells whether a connection is that of a known device.
    """

    def __init__(self, most: int, is_known: Callable[[T], bool]) -> None:
        self._most = most
        self._is_known = is_known
        self._held: dict[T, int] = {}  # the longest unfinished first
        self.total = 0

    def note(self, connection: T, pending: int) -> T | None:
        """Take note of how many bytes a connection holds now.

        :return: the connection that has to be given up; None: there is room.
        """
        before = self._held.get(connection, 0)
        if pending == before:
            return None
        self.total += pending - before
        if pending:
            self._held[connection] = pending
        else:
            del self._held[connection]
        return self._in_the_way() if pending > before and self.total > self._most else None

    def _in_the_way(self) -> T:
        stranger = next((one for one in self._held if not self._is_known(one)), None)
        return max(self._held, key=self._held.__getitem__) if stranger is None else stranger
