"""Route rows to the store, or to the spool in its place, never past older ones."""

from collections.abc import Callable, Sequence
from enum import Enum, auto
from typing import NamedTuple

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.python.failure import Failure

from cmmd.store.interface import IStore, StoreUnavailable
from cmmd.store.outbox.spool import Spool
from cmmd.store.records import Alarm, Command, Device, LastUpload, Row

__all__ = ["PATIENCE_S", "Route", "Router"]

_REPLACED = (Device, Alarm, Command, LastUpload)
"""Of these an older version must not come to the store after a newer one. With all others it makes no difference."""


PATIENCE_S = 3.0
"""How long the store may think about rows before they go to the spool; those who wait for them are devices."""


class Route(Enum):
    """The destination of rows that are to be written."""

    STORE = auto()
    LEAVING = auto()
    """They wait: the store has failed, and of others before them that is not known yet."""
    SPOOL = auto()
    RETURNING = auto()
    """They wait until the last ones before them have gone from the spool to the store."""


class _Waiting(NamedTuple):
    rows: list[Row]
    done: Deferred[None]


class Router:
    """Writes rows to the store until that fails, and to the spool from then on, until it is told otherwise.

    :param follow: notified of all rows that the store is given; their confirmation waits for what it gives.
    :param failed: notified when the store does not take rows.
    :param taken: notified of rows that it has taken.
    :param left: notified when all that was on its way has arrived, and rows go to the spool.
    :param clock: for the patience with the store.
    :ivar route: where they go now.
    """

    def __init__(
        self,
        store: IStore,
        spool: Spool,
        *,
        follow: Callable[[Sequence[Row]], Deferred[None]],
        failed: Callable[[StoreUnavailable], None],
        taken: Callable[[Sequence[Row]], None],
        left: Callable[[], None],
        clock: IReactorTime,
    ) -> None:
        self._clock = clock
        self._store = store
        self._spool = spool
        self._follow = follow
        self._failed = failed
        self._taken = taken
        self._left = left
        self._flying = 0
        self._waiting: list[_Waiting] = []
        self.route = Route.STORE

    def __len__(self) -> int:
        """Count the rows that wait."""
        return sum(len(one.rows) for one in self._waiting)

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        self._write(_Waiting(list(rows), done))
        return done

    def take(self, route: Route) -> None:
        """Have rows go this way from now on, first those that wait."""
        self.route = route
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._write(one)

    def leave(self) -> None:
        """The store has failed: go over to the spool."""
        if self.route is Route.STORE:
            self.route = Route.LEAVING
            self._look_who_flies()

    def _write(self, one: _Waiting) -> None:
        match self.route:
            case Route.STORE:
                writing = self._to_store(one.rows)
            case Route.SPOOL:
                writing = self._to_spool(one.rows)
            case _:
                self._waiting.append(one)
                return
        Deferred.fromCoroutine(writing).addBoth(one.done.callback)  # a Failure becomes an errback

    async def _to_store(self, rows: list[Row]) -> None:
        copied = self._follow(rows)
        # Several writes can be on their way at once. The route changes only when the last of them has ended: else a
        # newer row could reach the store by the spool before an older one that is still on its way there.
        self._flying += 1
        try:
            left = await self._left_by_the_store(rows)
        except BaseException:
            self._landed()
            raise
        if left:
            spooled = Deferred.fromCoroutine(self._to_spool(left))  # now: before those that wait
            self._landed()
            await spooled
        else:
            self._landed()
        await copied

    async def _left_by_the_store(self, rows: list[Row]) -> list[Row]:
        """Write rows to the store; those that have to go to the spool all the same."""
        try:
            await self._answer(self._store.write(rows))
        except StoreUnavailable as error:
            self._failed(error)
            return rows
        if self.route is not Route.STORE:  # older versions of these may be in the spool, and would come over them
            return [row for row in rows if isinstance(row, _REPLACED)]
        self._taken(rows)
        return []

    def _answer(self, writing: Deferred[None]) -> Deferred[None]:
        """Return the store's answer, or report its silence; the store can still carry the write out.

        A write that is given up is not cancelled: because it can be done later, rows have numbers, and the spool writes
        them once more.
        """
        answer: Deferred[None] = Deferred()

        def settle(outcome: object) -> None:
            if not answer.called:
                too_late.cancel() if too_late.active() else None
                answer.callback(outcome)  # type: ignore[arg-type]

        silence = Failure(StoreUnavailable(f"no answer within {PATIENCE_S:g} s"))
        too_late = self._clock.callLater(PATIENCE_S, settle, silence)
        writing.addBoth(settle)
        return answer

    def _landed(self) -> None:
        self._flying -= 1
        self._look_who_flies()

    def _look_who_flies(self) -> None:
        if self.route is Route.LEAVING and not self._flying:
            self.take(Route.SPOOL)
            self._left()

    async def _to_spool(self, rows: list[Row]) -> None:
        await self._spool.write(rows)
