"""Delete records that are older than the owner wants to keep, in small batches."""

from collections.abc import Callable

from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from cmmd.store.interface import IStore, StoreUnavailable

__all__ = ["BITE", "PERIOD_S", "Retention"]

log = Logger()

PERIOD_S = 600.0
"""Seconds between two looks for what is too old."""

BITE = 500
"""Records of each kind deleted at once: a few milliseconds of the store's time, so that nothing waits for it long."""

PAUSE_S = 0.1

SUSPICIOUS_S = 3600.0
"""A clock that has gone by so much more or less than time has passed was set, or is wrong."""

SUSPICIOUS_GAP_S = 86_400.0
"""So long before the start nothing has been kept: cmmd has not run for long, or the clock is wrong."""

PATIENCE_S = 86_400.0
"""Nothing is deleted for so long after anything suspicious: an operator has time to set the clock right."""

_DAY_MS = 86_400_000


class Retention(Service):
    """Deletes readings, events, cleared alarms and ended commands.

    A clock that is wrong must not delete a history: see the constants of this module.

    :param days: how long they stay.
    :param newest_at: when anything was last kept before the start, in milliseconds; None: nothing was.
    :param now: Unix time in seconds.
    :param monotonic: seconds that go on evenly, whatever is set.
    :param clock: for whatever waits.
    """

    def __init__(
        self,
        store: IStore,
        *,
        days: int,
        newest_at: int | None,
        now: Callable[[], float],
        monotonic: Callable[[], float],
        clock: IReactorTime,
    ) -> None:
        self._store = store
        self._days = days
        self._now = now
        self._clock = clock
        self._monotonic = monotonic
        self._offset = now() - monotonic()
        self._trusted_from = monotonic()
        if newest_at is not None and not 0 <= now() - newest_at / 1000 < SUSPICIOUS_GAP_S:
            self._distrust("nothing was kept for long, or what was is from the future")
        self._eating: Deferred[None] | None = None
        self._calls = LoopingCall(self._eat)
        self._calls.clock = clock

    def startService(self) -> None:
        """Look for what is too old from now on."""
        super().startService()
        self._calls.start(PERIOD_S)

    def stopService(self) -> None:
        """Stop, between two bites."""
        super().stopService()
        if self._calls.running:
            self._calls.stop()
        if self._eating is not None:
            self._eating.cancel()

    def _distrust(self, why: str) -> None:
        self._trusted_from = self._monotonic() + PATIENCE_S
        log.warn("is the clock right? {why}: nothing is deleted for a day", why=why)

    def _eat(self) -> Deferred[None] | None:
        offset = self._now() - self._monotonic()
        if abs(offset - self._offset) > SUSPICIOUS_S:
            self._distrust("it was set")
            self._offset = offset
        if self._monotonic() < self._trusted_from:
            return None
        self._eating = Deferred.fromCoroutine(self._bite_by_bite())
        return self._eating.addErrback(self._ended)

    def _ended(self, failure: object) -> None:
        error = getattr(failure, "value", None)
        if isinstance(error, StoreUnavailable):
            log.warn("nothing that is too old could be deleted: {error}", error=error)
        elif not isinstance(error, CancelledError):
            log.failure("while deleting what is too old", failure=failure)  # type: ignore[arg-type]

    async def _bite_by_bite(self) -> None:
        before = int(self._now() * 1000) - self._days * _DAY_MS
        gone = 0
        while bite := await self._store.forget(before, BITE):
            gone += bite
            await deferLater(self._clock, PAUSE_S)
        if gone:
            log.info("{gone} records were older than {days} days and are deleted", gone=gone, days=self._days)
