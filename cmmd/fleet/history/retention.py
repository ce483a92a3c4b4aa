"""Delete records that are older than the owner wants to keep, in small batches."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import msgspec
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from cmmd.atomic_file import write_kept
from cmmd.store.interface import IStore, StoreUnavailable

__all__ = ["BITE", "FILE", "PERIOD_S", "Retention"]

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

FILE = "clock-doubt.json"
"""In the state directory, while nothing is deleted: a restart under the same wrong clock must not end the patience."""

_DAY_MS = 86_400_000


class _Doubt(msgspec.Struct):
    """The content of the file.

    :ivar patience_s: seconds of service until something is deleted again.
    :ivar at: what the clock showed when that was written, in seconds since 1970.
    """

    patience_s: float
    at: float


class Retention(Service):
    """Deletes readings, events, cleared alarms and ended commands.

    A clock that is wrong must not delete a history: see the constants of this module.

    :param state: the state directory, which keeps across restarts for how long nothing is to be deleted.
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
        state: Path,
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
        self._file = state / FILE
        self._has_file = False
        self._says_so = True  # that the file cannot be written: once
        self._begin(newest_at)
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
            self._trusts()  # the next start does not see what was set since the last look
        if self._eating is not None:
            self._eating.cancel()

    def _distrust(self, why: str) -> None:
        self._trusted_from = self._monotonic() + PATIENCE_S
        log.warn("is the clock right? {why}: nothing is deleted for a day", why=why)

    def _begin(self, newest_at: int | None) -> None:
        """Go on with the patience of the process before, or look whether there has to be some."""
        try:
            doubt = msgspec.json.decode(self._file.read_bytes(), type=_Doubt)
        except FileNotFoundError:
            if newest_at is not None and not self._plausible(newest_at / 1000):
                self._distrust("nothing was kept for long, or what was is from the future")
            return
        except (OSError, msgspec.MsgspecError) as error:
            self._has_file = True
            self._distrust(f"{self._file} cannot be read ({error})")
            return
        self._has_file = True
        if not self._plausible(doubt.at):
            self._distrust("cmmd has not run for long, or the clock was set back")
            return
        patience_s = min(max(doubt.patience_s, 0.0), PATIENCE_S)
        self._trusted_from = self._monotonic() + patience_s
        log.warn(
            "is the clock right? It was in doubt before this start: nothing is deleted for {hours:.1f} more hours",
            hours=patience_s / 3600,
        )

    def _plausible(self, at: float) -> bool:
        """Tell whether something can have been the last before the start."""
        return 0 <= self._now() - at < SUSPICIOUS_GAP_S

    def _trusts(self) -> bool:
        """Look at the clock, and keep for the next start for how long it is not to be trusted."""
        offset = self._now() - self._monotonic()
        if abs(offset - self._offset) > SUSPICIOUS_S:
            self._distrust("it was set")
            self._offset = offset
        patience_s = self._trusted_from - self._monotonic()
        if patience_s > 0:
            self._keep(patience_s)
        elif self._has_file:
            with suppress(OSError):  # or at the next look: it only has the next start wait
                self._file.unlink(missing_ok=True)
                self._has_file = False
        return patience_s <= 0

    def _keep(self, patience_s: float) -> None:
        self._has_file = True
        try:
            write_kept(self._file, msgspec.json.encode(_Doubt(patience_s, self._now())).decode() + "\n")
            self._says_so = True
        except OSError as error:
            if self._says_so:
                log.error("{file}: {error}; a restart may trust a wrong clock", file=str(self._file), error=error)
            self._says_so = False

    def _eat(self) -> Deferred[None] | None:
        if not self._trusts():
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
