"""Delete rows that are too old: whole partitions, and the rest in batches."""

from collections.abc import Sequence
from typing import Any, NamedTuple

from twisted.logger import Logger, LogLevel

from cmmd.store.postgres.connection import Link
from cmmd.store.postgres.errors import Unavailable
from cmmd.store.postgres.reader import Links
from cmmd.store.postgres.schema import bite, drop, older, partitions_ahead
from cmmd.store.postgres.tables import ALARMS, COMMANDS, EVENTS, moment

__all__ = ["Old", "Retention"]

log = Logger()

LOCK_TIMEOUT_S = 1.5
"""How long dropping a partition waits for those who read readings; meanwhile no reader can begin. The server ends its
own housekeeping there after a second."""

TRY_AGAIN_S = 300.0
"""When a reader has taken longer than that, partitions stay for so long."""

LONG_S = 300.0
"""How long it may take to count the rows of a partition."""

_LOCK_NOT_AVAILABLE = "55P03"
_STAYS = frozenset({_LOCK_NOT_AVAILABLE, "2BP01", "42501"})
"""Why the server does not drop a partition: it is being read, a view needs it, another role owns it."""


class Old(NamedTuple):
    """A partition with something old in it; of one that may go as a whole, how many rows it has."""

    partition: str
    rows: int | None


class Retention:
    """Deletes old rows for ``IStore.forget``.

    :param readers: which count.
    :param clock: for the time between two attempts to drop partitions.
    """

    def __init__(self, readers: Links, clock: Any) -> None:
        self._readers = readers
        self._clock = clock
        self._no_drop_before = 0.0

    async def look(self, before: int) -> list[Old]:
        """Find the partitions with anything older, and count those that may go as a whole, which may last."""
        old: list[Old] = []
        for partition, whole in await self._readers.runQuery(older(moment(before)), LONG_S):
            if not whole:
                old.append(Old(partition, None))
            elif self._clock.seconds() >= self._no_drop_before:
                count = f"SET LOCAL statement_timeout = '{LONG_S:g}s'; SELECT count(*) FROM {partition}"  # noqa: S608
                ((rows,),) = await self._readers.runQuery(count, LONG_S)
                old.append(Old(partition, int(rows)))
        return old

    async def forget(self, link: Link, old: Sequence[Old], before: int, limit: int) -> int:
        """Delete old records, and make the partitions of the coming months.

        :param link: of the one that writes. :param old: what :meth:`look` has found.
        """
        for (statement,) in await link.runQuery(partitions_ahead()):
            await link.runQuery(statement)
        if limit <= 0:
            return 0
        limit = min(limit, 2**31)
        until = moment(before)
        return await self._readings(link, old, until, limit) + await self._others(link, until, limit)

    async def _readings(self, link: Link, old: Sequence[Old], until: str, limit: int) -> int:
        gone, left = 0, limit
        for partition, rows in old:
            if rows is not None:
                gone += await self._drop(link, partition, rows)
            elif left > 0:
                ((bitten,),) = await link.runQuery(bite(partition, until, left))
                gone += bitten
                left -= bitten
        return gone

    async def _drop(self, link: Link, partition: str, rows: int) -> int:
        try:
            await link.runQuery(drop(partition, LOCK_TIMEOUT_S))
        except Unavailable as error:
            if error.sqlstate not in _STAYS:
                raise
            self._no_drop_before = self._clock.seconds() + TRY_AGAIN_S
            level = LogLevel.debug if error.sqlstate == _LOCK_NOT_AVAILABLE else LogLevel.warn
            log.emit(level, "{partition} is old and stays for now: {error}", partition=partition, error=error)
            return 0
        return rows

    async def _others(self, link: Link, until: str, limit: int) -> int:
        tables = (ALARMS, EVENTS, COMMANDS)
        deleting = ", ".join(f"old_{table.name} AS ({table.oldest(until, limit)})" for table in tables)
        counts = " + ".join(f"(SELECT count(*) FROM old_{table.name})" for table in tables)  # noqa: S608 - our own names
        statement = f"WITH {deleting} SELECT {counts}"
        ((gone,),) = await link.runQuery(statement)
        return int(gone)
