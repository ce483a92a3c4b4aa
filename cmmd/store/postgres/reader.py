"""Those that read from PostgreSQL, beside the one that writes."""

from collections.abc import Callable
from typing import Any

from twisted.internet.defer import Deferred, succeed

from cmmd.store.corruption import CorruptRow, all_or_corruption
from cmmd.store.interface import StoreError
from cmmd.store.postgres.connection import Link
from cmmd.store.postgres.driver import DriverPool
from cmmd.store.postgres.tables import TimedTable
from cmmd.store.records import Query

__all__ = ["PATIENCE_S", "Links", "Reader"]

PATIENCE_S = 5.0
"""How long the end waits for queries that are under way."""


class Links(DriverPool):
    """Several such connections, of which each call takes the best one that is free.

    :param count: how many.
    :param make: makes one.
    """

    def __init__(self, count: int, make: Callable[[], Link], reactor: Any) -> None:
        self.connectionFactory = lambda *_: make()
        self.reactor = reactor
        super().__init__(None, min=count)
        self._all = frozenset(self.connections)

    def choose(self) -> Link:
        """Choose the best one that is free."""
        link: Link = min(self.connections, key=lambda link: link.rank)
        return link

    def end(self) -> None:
        """Disconnect all of them for good, also those that are in use."""
        for link in self._all:
            link.end()


class Reader:
    """Carries queries out, as many at once as there are connections.

    :param links: the connections.
    :param name: of the database, for messages.
    :param clock: for the end that does not wait for ever.
    """

    def __init__(self, links: Links, name: str, clock: Any) -> None:
        self._links = links
        self._name = name
        self._clock = clock
        self._under_way = 0
        self._idle: list[Deferred[None]] = []

    def page(self, table: TimedTable[Any], query: Query) -> Deferred[list[Any]]:
        """The records that a query asks for. To cancel it changes nothing but who is told."""
        answered: Deferred[list[Any]] = Deferred()
        self._under_way += 1
        Deferred.fromCoroutine(self._found(table, query)).addBoth(self._settle, answered)
        return answered

    def drain(self) -> Deferred[None]:
        """Wait until no query is under way. Those that are not answered after a while fail."""
        if not self._under_way:
            return succeed(None)
        giving_up = self._clock.callLater(PATIENCE_S, self._links.end)
        self._idle.append(Deferred())
        return self._idle[-1].addCallback(lambda _: giving_up.cancel() if giving_up.active() else None)

    async def _found(self, table: TimedTable[Any], query: Query) -> list[Any]:
        rows = await self._links.runQuery(table.page(query))
        try:
            return all_or_corruption(table.records(rows))
        except CorruptRow as error:
            raise StoreError(f"{self._name}: {error}") from None

    def _settle(self, outcome: Any, answered: Deferred[list[Any]]) -> None:
        self._under_way -= 1
        answered.callback(outcome)  # a Failure becomes an errback
        if not self._under_way:
            idle, self._idle = self._idle, []
            for one in idle:
                one.callback(None)
