"""The way of rows out of a spool, into the store that they are for."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from cmmd.store.interface import IStore, StoreError, StoreUnavailable
from cmmd.store.outbox.spool import Spool
from cmmd.store.records import Row

__all__ = ["A_HANDFUL", "Handover", "SpoolFailed"]

T = TypeVar("T")

log = Logger()

A_HANDFUL = 500
"""Rows that go from the spool to the store at once."""

MOST_REFUSED = 100
"""A store that refuses so many rows one after another is faulty itself; the rows are not."""


class SpoolFailed(StoreError):
    """The spool did not give rows, or did not let them go: this says nothing of the store."""


class Handover:
    """Hands what is in a spool over to a store, a handful at a time; what the store has is forgotten here.

    Where that is cut short, rows go there once more: to write one twice is to write it once. A row that the store
    refuses, which is a bug of the daemon, is put aside in the spool.

    :param taken: notified of rows that the store has; they stay in the spool until what it gives has come.
    """

    def __init__(self, spool: Spool, store: IStore, taken: Callable[[Sequence[Row]], Awaitable[None]]) -> None:
        self._spool = spool
        self._store = store
        self._taken = taken
        self._refused: list[tuple[Row, Exception]] = []
        self._one_after_another = 0

    async def run(self, *, to_the_end: bool) -> None:
        """Go on until nothing is left, or until less than a handful is.

        :raises StoreUnavailable: the store takes nothing now. :raises SpoolFailed: the spool does not give its rows.
        """
        self._one_after_another = 0
        least = 1 if to_the_end else A_HANDFUL
        while len(rows := await _of_the_spool(self._spool.oldest(A_HANDFUL))) >= least:
            self._refused = []
            await self._give(rows)
            if self._refused:
                await self._put_aside()
            await _of_the_spool(self._spool.discard())

    async def _give(self, rows: Sequence[Row]) -> None:
        """Write rows; where one of them is refused, the others all the same."""
        try:
            await self._store.write(rows)
        except (StoreUnavailable, CancelledError):
            raise
        except Exception as error:
            if len(rows) > 1:
                middle = len(rows) // 2
                await self._give(rows[:middle])
                await self._give(rows[middle:])
                return
            self._one_after_another += 1
            if self._one_after_another > MOST_REFUSED:
                raise StoreUnavailable(f"it refuses every row: {error}") from None
            self._refused.append((rows[0], error))
        else:
            self._one_after_another = 0
            await self._taken(rows)

    async def _put_aside(self) -> None:
        await _of_the_spool(self._spool.refuse([(row, f"{error}") for row, error in self._refused]))
        row, error = self._refused[0]
        log.error(
            "the store refuses {count} rows, they are in the table refused of {spool}; the first: {row!r}: {error!r}",
            count=len(self._refused),
            spool=self._spool,
            row=row,
            error=error,
        )


async def _of_the_spool(asked: Deferred[T]) -> T:
    try:
        return await asked
    except StoreError as error:
        raise SpoolFailed(f"{error}") from None
