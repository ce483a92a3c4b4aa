"""A store that is never away for long: what it does not take now waits in a spool, and goes there when it is back."""

from collections.abc import Sequence
from enum import Enum, auto
from typing import NamedTuple

from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cmmd.store.interface import Health, IStore, Kept, StoreError, StoreUnavailable
from cmmd.store.known import Known
from cmmd.store.overlay import highest, with_rows
from cmmd.store.records import Alarm, Command, Device, Event, Numbers, Query, Reading, Row
from cmmd.store.spool import Spool

__all__ = ["A_HANDFUL", "SpooledStore"]

log = Logger()

A_HANDFUL = 500
"""Rows that go from the spool to the store at once."""

FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 10.0


class _Route(Enum):
    """Where rows go that are to be written."""

    STORE = auto()
    LEAVING = auto()
    """They wait: the store has failed, and of others before them that is not known yet."""
    SPOOL = auto()
    RETURNING = auto()
    """They wait until the last ones before them have gone from the spool to the store."""


class _Waiting(NamedTuple):
    rows: list[Row]
    done: Deferred[None]


class _NotOurs(Exception):
    """Rows must not go to this store: their numbers may be taken there."""


@implementer(IStore)
class SpooledStore:
    """Another store, and what happens while it is away.

    Rows are written to the store as long as it takes them. What it does not take goes to the spool, in order, and is
    durable there; so does all that comes after it, until the store is back and the spool has been emptied into it.
    Then rows go to the store again. All rows bear numbers and can be written twice, so that nothing is lost or doubled
    where it is not known whether the store has taken something. Queries, and new devices, need the store itself.

    :param store: may be away; where ``known`` has been filled before, also when it is opened.
    :param spool: where its rows wait. It is bounded: what it does not take either fails with StoreUnavailable.
    :param known: what is known of the store while it is away; None: it is opened at the start or not at all.
    :param clock: for the pace of new attempts.
    """

    def __init__(self, store: IStore, spool: Spool, known: Known | None, clock: IReactorTime) -> None:
        self._store = store
        self._spool = spool
        self._known = known
        self._clock = clock
        self._identity = ""
        self._route = _Route.STORE
        self._up = True
        self._why = ""
        self._before: Kept | None = None  # what was known, as long as the store has not been opened
        self._flying = 0
        self._waiting: list[_Waiting] = []
        self._starting: IDelayedCall | None = None
        self._recovering: Deferred[None] | None = None

    def health(self) -> Health:
        """How it is."""
        return Health(up=self._up, backlog=self._spool.backlog + sum(len(one.rows) for one in self._waiting))

    # --- open and close ----------------------------------------------------------------------------------------------

    def open(self) -> Deferred[Kept]:
        """See IStore. What waits in the spool counts as kept.

        :raises StoreError: also where the spool has rows, and somebody else has written to the store meanwhile.
        """
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> Kept:
        self._route, self._up, self._before = _Route.STORE, True, None
        try:
            self._identity = (await self._spool.open()).identity
            before = None if self._known is None else await self._known.open()
            kept = await self._opened(before)
        except BaseException:
            await self._close()
            raise
        return with_rows(kept, self._spool.state)

    async def _opened(self, before: Kept | None) -> Kept:
        try:
            kept = await self._store.open()
        except StoreUnavailable as error:
            if before is None or before.numbers == Numbers():  # nothing has ever been known
                raise
            self._before = before
            self._go_away(error)
            return before
        if self._spool.backlog and kept.writer not in ("", self._identity):
            raise StoreError(
                f"{self._spool}: {self._spool.backlog} rows wait here for another store, or another cmmd has written to"
                " it since, and their numbers may be taken; start with the store they belong to, or put the file away"
            )
        self._starting = self._clock.callLater(0, self._settle_in, before, kept)
        return kept

    def _settle_in(self, before: Kept | None, kept: Kept) -> None:
        """What need not be done before anything is served, and cannot be before the reactor runs."""
        self._starting = None
        self._store.claim(self._identity).addErrback(self._claim_failed)
        if self._known is not None and before is not None:
            self._known.take_over(before, kept)
        if self._spool.backlog and self._route is _Route.STORE:
            log.info("{backlog} rows wait in the spool, and go to the store now", backlog=self._spool.backlog)
            self._route = _Route.SPOOL
            self._recover(0)

    def _claim_failed(self, failure: Failure) -> None:
        if isinstance(failure.value, StoreUnavailable):
            self._go_away(failure.value)
        else:
            log.failure("the store cannot be claimed", failure=failure)

    def close(self) -> Deferred[None]:
        """See IStore. What the store does not take any more stays in the spool."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            self._starting = None
        if self._recovering is not None:
            recovering, self._recovering = self._recovering, None
            recovering.cancel()
            self._take(_Route.SPOOL)
        await self._store.close()
        if self._known is not None:
            await self._known.close()
        await self._spool.close()

    # --- to write ----------------------------------------------------------------------------------------------------

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        """See IStore."""
        done: Deferred[None] = Deferred()
        self._write(_Waiting(list(rows), done))
        return done

    def _write(self, one: _Waiting) -> None:
        match self._route:
            case _Route.STORE:
                writing = self._to_store(one.rows)
            case _Route.SPOOL:
                writing = self._to_spool(one.rows)
            case _:
                self._waiting.append(one)
                return
        Deferred.fromCoroutine(writing).addBoth(one.done.callback)  # a Failure becomes an errback

    def _take(self, route: _Route) -> None:
        """Have rows go this way from now on, first those that wait."""
        self._route = route
        waiting, self._waiting = self._waiting, []
        for one in waiting:
            self._write(one)

    async def _to_store(self, rows: list[Row]) -> None:
        copied = self._follow(rows)
        why: StoreUnavailable | None = None
        self._flying += 1
        try:
            await self._store.write(rows)
        except StoreUnavailable as error:
            why = error
        except BaseException:
            self._landed()
            raise
        if why is None and self._route is _Route.STORE:
            self._landed()
            self._has_taken(rows)
        else:
            if why is not None:
                self._go_away(why)
            # Taken or not: older ones that have gone to the spool must not come over these later.
            spooled = Deferred.fromCoroutine(self._to_spool(rows))
            self._landed()
            await (spooled if why is not None else spooled.addErrback(lambda _: None))
        await copied

    def _landed(self) -> None:
        self._flying -= 1
        if not self._flying and self._route is _Route.LEAVING:
            self._take(_Route.SPOOL)

    async def _to_spool(self, rows: list[Row]) -> None:
        try:
            await self._spool.write(rows)
        except StoreUnavailable as error:
            raise StoreUnavailable(f"{self._why}; {error}") from None

    def _follow(self, rows: Sequence[Row]) -> Deferred[None]:
        return succeed(None) if self._known is None else self._known.follow(rows)

    def add_device(self, device: Device) -> Deferred[Device]:
        """See IStore. While the store is away nobody knows whether a device is new."""
        added: Deferred[Device] = Deferred()
        Deferred.fromCoroutine(self._add_device(device)).addBoth(added.callback)
        return added

    async def _add_device(self, device: Device) -> Device:
        try:
            added = await self._store.add_device(device)
        except StoreUnavailable as error:
            self._go_away(error)
            raise
        self._has_taken([added])
        await self._follow([added])
        return added

    def claim(self, writer: str) -> Deferred[None]:
        """See IStore."""
        return self._store.claim(writer)

    def forget(self, before: int, limit: int) -> Deferred[int]:
        """See IStore."""
        return self._store.forget(before, limit)

    # --- to read: what waits in the spool is not found ---------------------------------------------------------------

    def readings(self, query: Query) -> Deferred[list[Reading]]:
        """See IStore."""
        return self._store.readings(query)

    def alarms(self, query: Query) -> Deferred[list[Alarm]]:
        """See IStore."""
        return self._store.alarms(query)

    def events(self, query: Query) -> Deferred[list[Event]]:
        """See IStore."""
        return self._store.events(query)

    def commands(self, query: Query) -> Deferred[list[Command]]:
        """See IStore."""
        return self._store.commands(query)

    # --- away and back -----------------------------------------------------------------------------------------------

    def _go_away(self, why: StoreUnavailable) -> None:
        self._why = str(why)
        if self._up:
            self._up = False
            log.error("the store is away, rows wait in the spool: {error}", error=why)
        if self._route is _Route.STORE:
            self._route = _Route.LEAVING if self._flying else _Route.SPOOL
            self._recover(FIRST_RETRY_S)

    def _has_taken(self, rows: Sequence[Row]) -> None:
        if rows and not self._up:
            self._up = True
            log.info("the store takes rows again; {backlog} wait in the spool", backlog=self._spool.backlog)

    def _recover(self, delay_s: float) -> None:
        self._recovering = Deferred.fromCoroutine(self._until_it_is_back(delay_s))
        self._recovering.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _until_it_is_back(self, delay_s: float) -> None:
        """Try until the store has all that was in the spool."""
        refused = False
        while True:
            await deferLater(self._clock, delay_s)
            try:
                await self._reach()
                await self._empty_the_spool()
                break
            except StoreUnavailable as error:
                self._go_away(error)
            except _NotOurs as error:
                if not refused:
                    refused = True
                    log.error("the store is back, but gets nothing: {error}", error=error)
            except CancelledError:
                raise
            except Exception:
                log.failure("while emptying the spool")
            self._take(_Route.SPOOL)
            delay_s = min(max(2 * delay_s, FIRST_RETRY_S), LONGEST_RETRY_S)
        self._recovering = None
        self._take(_Route.STORE)

    async def _reach(self) -> None:
        if self._before is not None:
            self._check(self._before, await self._store.open())
            self._before = None
        await self._store.claim(self._identity)

    def _check(self, before: Kept, now: Kept) -> None:
        """Whether a store that was away at the start is the one that we have known, as it was left.

        :raises _NotOurs: it is not.
        """
        if now.writer not in ("", self._identity) or highest(before.numbers, now.numbers) != before.numbers:
            raise _NotOurs("another cmmd has written to it, or it is not the one that is known here; start cmmd again")
        unknown = {device.hostid for device in now.devices} - {device.hostid for device in before.devices}
        if unknown:
            log.warn("{count} devices were not known here: start cmmd again to serve them", count=len(unknown))

    async def _empty_the_spool(self) -> None:
        while True:
            rows = await self._spool.oldest(A_HANDFUL)
            if len(rows) < A_HANDFUL and self._route is _Route.SPOOL:
                self._route = _Route.RETURNING
                await self._spool.settled()
            elif rows:
                await self._hand_over(rows)
            else:
                return

    async def _hand_over(self, rows: Sequence[Row]) -> None:
        try:
            await self._store.write(rows)
        except (StoreUnavailable, CancelledError):
            raise
        except Exception:
            if len(rows) > 1:
                for row in rows:
                    await self._hand_over([row])
            else:
                log.failure("a row that cannot be kept stays in the spool: {row!r}", row=rows[0])
                self._spool.leave(rows[0])
            return
        self._has_taken(rows)
        await self._follow(rows)
        await self._spool.discard(rows)
