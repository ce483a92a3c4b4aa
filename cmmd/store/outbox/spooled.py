"""A store that is never unavailable for long: what it does not take waits in a spool until it is back."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import TypeVar
from uuid import uuid4

from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from cmmd.backoff import Backoff
from cmmd.store.interface import Health, IStore, Snapshot, StoreError, StoreTaken, StoreUnavailable
from cmmd.store.outbox.handover import Handover
from cmmd.store.outbox.known import Known
from cmmd.store.outbox.overlay import Absent, NumbersTaken, with_rows
from cmmd.store.outbox.routing import Route, Router
from cmmd.store.outbox.spool import Spool
from cmmd.store.records import Alarm, Command, Device, Event, Numbers, Query, Reading, Redecoded, Row

__all__ = ["FIRST_RETRY_S", "LONGEST_RETRY_S", "SpooledStore"]

T = TypeVar("T")

log = Logger()

FIRST_RETRY_S, LONGEST_RETRY_S = 1.0, 10.0


@implementer(IStore)
class SpooledStore:
    """Another store, and what happens while it is unavailable.

    Rows are written to the store as long as it takes them. What it does not take is spooled, in order, and is
    durable there; so does all that comes after it, until the store is back and the spool has been emptied into it.
    Then rows go to the store again. All rows have numbers and can be written twice, so that nothing is lost or doubled
    where it is not known whether the store has taken something. Queries, and new devices, need the store itself.

    :param store: can be unavailable; where ``known`` has been filled before, also when it is opened.
    :param spool: where its rows wait. It is bounded: what it does not take either fails with StoreUnavailable.
    :param known: what is known of the store while it is unavailable; None: it is opened at the start or not at all.
    :param clock: for the pace of new attempts.
    """

    def __init__(self, store: IStore, spool: Spool, known: Known | None, clock: IReactorTime) -> None:
        self._store = store
        self._spool = spool
        self._known = known
        self._clock = clock
        self._handover = Handover(spool, store, self._handed_over)
        self._identity = ""
        self._router = Router(
            *(store, spool),
            follow=self._follow,
            failed=self._go_away,
            taken=self._has_taken,
            left=self._recover,
            clock=clock,
        )
        self._up = True
        self._taken_away = False
        self._why = ""
        self._absent: Absent | None = None  # as long as the store has not been opened
        self._first_steps: Callable[[], None] | None = None
        self._starting: IDelayedCall | None = None
        self._recovering: Deferred[None] | None = None
        self._closing = False

    @property
    def store(self) -> IStore:
        """The store that rows are kept in."""
        return self._store

    def health(self) -> Health:
        """Report the health of the store behind."""
        return Health(up=self._up, backlog=self._spool.backlog + len(self._router))

    # --- open and close ----------------------------------------------------------------------------------------------

    def open(self) -> Deferred[Snapshot]:
        """Open the store. Rows that wait in the spool count as kept.

        :raises StoreError: also where the spool has rows, and another process has written to the store meanwhile.
        """
        return Deferred.fromCoroutine(self._open())

    async def _open(self) -> Snapshot:
        self._router.route = Route.STORE
        self._up, self._why, self._absent, self._closing, self._taken_away = True, "", None, False, False
        try:
            spool = await self._spool.open()
            self._identity = spool.identity
            known = None if self._known is None else await self._known.open()
            return await self._opened(spool, known)
        except BaseException:
            await self._close()
            raise

    async def _opened(self, spool: Snapshot, known: Snapshot | None) -> Snapshot:
        try:
            kept = await self._store.open()
        except StoreUnavailable as error:
            if known is None or known.numbers == Numbers():  # nothing has ever been known
                raise
            self._take_up(known.writer, spool)
            kept = with_rows(known, self._spool.take_state())
            self._absent = Absent(known, kept, self._spool.identities)
            self._go_away(error)
            return replace(kept, identity=known.writer)  # the store's own, which the copy of it notes so
        if self._spool.backlog and kept.writer not in ("", *self._spool.identities):
            raise self._refusal("another cmmd has written to the store since they came, and their numbers may be taken")
        self._take_up(kept.identity, spool)
        self._first_steps = partial(self._settle_in, known, kept)
        self._starting = self._clock.callLater(0, self._begin)
        if self._spool.backlog:  # what comes now must come after that
            self._router.route = Route.SPOOL
        return with_rows(kept, self._spool.take_state())

    def _take_up(self, store: str, spool: Snapshot) -> None:
        if self._spool.backlog and spool.writer != store:
            raise self._refusal("they are for another store, or their numbers may be taken")
        self._spool.belong_to(store)

    def _refusal(self, why: str) -> StoreError:
        waiting = f"{self._spool}: {self._spool.backlog} rows wait here"
        return StoreError(f"{waiting}, and {why}: start with the store they are for, or move the file elsewhere")

    def _begin(self) -> None:
        """Begin the work that needs a running reactor, before any other."""
        if self._first_steps is None or self._starting is None:
            return
        if self._starting.active():
            self._starting.cancel()
        first_steps, self._first_steps, self._starting = self._first_steps, None, None
        first_steps()

    def _settle_in(self, known: Snapshot | None, kept: Snapshot) -> None:
        waits = self._router.route is Route.SPOOL
        claimed = self._store.claim(self._identity)  # now: before any row
        if not waits:
            claimed.addCallback(lambda _: Deferred.fromCoroutine(self._renew()))
        claimed.addErrback(self._claim_failed)
        if self._known is not None and known is not None:
            self._known.take_over(known, kept)
        if waits:
            log.info("{backlog} rows wait in the spool, and go to the store now", backlog=self._spool.backlog)
            self._recover(at_once=True)

    def _claim_failed(self, failure: Failure) -> None:
        if self._closing or failure.check(CancelledError):
            return
        if isinstance(failure.value, StoreUnavailable):
            self._go_away(failure.value)
        else:
            log.failure("the store cannot be claimed", failure=failure)

    def close(self) -> Deferred[None]:
        """Close the store. Rows that it did not take stay in the spool."""
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        self._closing = True
        if self._starting is not None:
            self._starting.cancel()
            self._starting = self._first_steps = None
        if self._recovering is not None:
            recovering, self._recovering = self._recovering, None
            recovering.cancel()
        await self._store.close()
        self._router.take(Route.SPOOL)  # what still waits
        if self._known is not None:
            await self._known.close()
        await self._spool.close()

    # --- to write ----------------------------------------------------------------------------------------------------

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        """Write rows, as ``IStore.write`` describes.

        :raises StoreTaken: the store takes nothing from this daemon any more; nor does the spool then.
        """
        self._begin()
        if self._taken_away:
            return fail(StoreTaken(self._why))
        return self._router.write(rows)

    def add_device(self, device: Device) -> Deferred[Device]:
        """Add a device. While the store is unavailable it is unknown whether a device is new."""
        self._begin()
        added: Deferred[Device] = Deferred()
        Deferred.fromCoroutine(self._add_device(device)).addBoth(added.callback)
        return added

    async def _add_device(self, device: Device) -> Device:
        if self._absent is not None:
            raise StoreUnavailable(self._why)
        try:
            added = await self._store.add_device(device)
        except StoreUnavailable as error:
            self._go_away(error)
            raise
        self._has_taken([added])
        await self._follow([added])
        return added

    def remove_device(self, device: Device) -> Deferred[None]:
        """Delete a device, unless rows wait in the spool: they could bring it back."""
        self._begin()
        removed: Deferred[None] = Deferred()
        Deferred.fromCoroutine(self._remove_device(device)).addBoth(removed.callback)
        return removed

    async def _remove_device(self, device: Device) -> None:
        if self._absent is not None or self._router.route is not Route.STORE:
            raise StoreUnavailable(self._why or "rows wait for the store")
        if self._known is not None:  # first: a start without the store must not serve a device that is gone
            await self._known.remove(device)
        try:
            await self._store.remove_device(device)
        except StoreUnavailable as error:
            await self._follow([device])  # unless it is gone, the next start with the store shows
            self._go_away(error)
            raise

    def claim(self, writer: str) -> Deferred[None]:
        self._begin()
        return self._ask(self._store.claim, writer)

    def forget(self, before: int, limit: int) -> Deferred[int]:
        return self._ask(self._store.forget, before, limit)

    def redecode(self, readings: Sequence[Redecoded]) -> Deferred[None]:
        """Give readings other points; what waits in the spool is not found, and is not changed."""
        return self._ask(self._store.redecode, readings)

    # --- to read: what waits in the spool is not found ---------------------------------------------------------------

    def readings(self, query: Query) -> Deferred[list[Reading]]:
        return self._ask(self._store.readings, query)

    def alarms(self, query: Query) -> Deferred[list[Alarm]]:
        return self._ask(self._store.alarms, query)

    def events(self, query: Query) -> Deferred[list[Event]]:
        return self._ask(self._store.events, query)

    def commands(self, query: Query) -> Deferred[list[Command]]:
        return self._ask(self._store.commands, query)

    def _ask(self, call: Callable[..., Deferred[T]], *arguments: object) -> Deferred[T]:
        """Ask the store, if it has been opened."""
        return call(*arguments) if self._absent is None else fail(StoreUnavailable(self._why))

    # --- unavailable and back ----------------------------------------------------------------------------------------

    def _go_away(self, why: StoreUnavailable) -> None:
        self._why = str(why)
        if self._up:
            self._up = False
            log.error("the database is unavailable, rows are buffered in the spool: {error}", error=why)
        if isinstance(why, StoreTaken) and not self._taken_away:
            self._taken_away = True
            log.error(
                "nothing more is kept, uploads that are due are refused; {backlog} rows are in {spool}: {error}",
                backlog=self._spool.backlog,
                spool=self._spool,
                error=why,
            )
        self._router.leave()

    def _has_taken(self, rows: Sequence[Row]) -> None:
        if rows and not self._up:
            self._up = True
            log.info("the store takes rows again; {backlog} wait in the spool", backlog=self._spool.backlog)

    def _follow(self, rows: Sequence[Row]) -> Deferred[None]:
        return succeed(None) if self._known is None else self._known.follow(rows)

    def _handed_over(self, rows: Sequence[Row]) -> Deferred[None]:
        self._has_taken(rows)
        return self._follow(rows)

    def _recover(self, *, at_once: bool = False) -> None:
        if not self._closing:
            self._recovering = Deferred.fromCoroutine(self._until_it_is_back(at_once))
            self._recovering.addErrback(lambda failure: failure.trap(CancelledError) and None)

    async def _until_it_is_back(self, at_once: bool) -> None:
        """Try until the store has all that was in the spool."""
        backoff = Backoff(FIRST_RETRY_S, LONGEST_RETRY_S)
        pause_s = 0.0 if at_once else backoff.next()
        said = ""
        while True:
            await deferLater(self._clock, pause_s)
            try:
                await self._reach()
                await self._handover.run(to_the_end=False)
                self._router.route = Route.RETURNING
                await self._handover.run(to_the_end=True)
                await self._renew()
                break
            except StoreUnavailable as error:
                self._go_away(error)
            except CancelledError:
                raise
            except Exception as error:
                if isinstance(error, NumbersTaken):
                    self._go_away(StoreTaken(str(error)))
                if str(error) != said:
                    said = str(error)
                    _log_obstacle(error)
            self._router.take(Route.SPOOL)
            pause_s = backoff.next()
        self._recovering = None
        self._taken_away = False
        self._router.take(Route.STORE)

    async def _renew(self) -> None:
        """Let the spool be another one for the store, now that it is empty: an old copy of it must not go there."""
        identity = uuid4().hex
        await self._spool.announce(identity)
        await self._store.claim(identity)
        if self._router.route in (Route.STORE, Route.RETURNING):  # else it may be claimed for the old one by now
            await self._spool.rename(identity)
            self._identity = identity

    async def _reach(self) -> None:
        """Open the store where it was unavailable at the start, and claim it."""
        if self._absent is not None:
            now = await self._store.open()
            try:
                self._absent.check(now)
            except StoreError as error:
                if isinstance(error, NumbersTaken):
                    await self._spool.disown()
                await self._store.close()
                raise
            if self._known is not None:
                self._known.take_over(self._absent.known, now)
            self._absent = None
        await self._store.claim(self._identity)


def _log_obstacle(error: Exception) -> None:
    if isinstance(error, StoreError):
        log.error("nothing is moved from the spool to the store: {error}", error=error)
    else:
        log.failure("while rows go from the spool to the store")
