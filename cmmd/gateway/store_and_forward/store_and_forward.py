"""Bridges the times in which a server gets nothing: what is polled then is kept on disk, and sent as history later."""

from collections.abc import Callable
from random import Random

from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.backoff import Backoff
from cmmd.gateway.link.address import Address
from cmmd.gateway.link.connection import Connector
from cmmd.gateway.link.session import Session
from cmmd.gateway.link.source import Source
from cmmd.gateway.store_and_forward.backfill import Backfill, ServerType, Timestamps, boot_id
from cmmd.gateway.store_and_forward.buffer import Buffer, BufferFailed, Ordered
from cmmd.gateway.store_and_forward.recorder import Recorder, UploadTracker
from cmmd.stall_detector import ticks_s

__all__ = ["KEEP_INTERVAL_S", "LONGEST_MENDING_S", "OutageTerms", "StoreAndForward"]

KEEP_INTERVAL_S = 60.0
"""How often an upload is kept: cmmd's own history interval."""


FIRST_MENDING_S, LONGEST_MENDING_S = 5.0, 300.0
"""After a failure of the buffer, until it is opened anew; and at most, after one failure after the other."""


class OutageTerms(Struct, frozen=True, kw_only=True):
    """The terms by which a link bridges times without a session.

    :ivar buffer: where uploads wait; opened and closed with the link.
    :ivar server_type: whether the server knows ``itime``.
    :ivar interval_s: seconds between uploads kept.
    :ivar ticks: see :func:`cmmd.stall_detector.ticks_s`.
    :ivar boot: see :func:`cmmd.gateway.store_and_forward.backfill.boot_id`.
    """

    buffer: Buffer
    server_type: ServerType = "cmmd"
    interval_s: float = KEEP_INTERVAL_S
    ticks: Callable[[], float] = ticks_s
    boot: str = ""


class StoreAndForward:
    """Keeps uploads during outages of a link, and sends them afterwards.

    :ivar buffer: where uploads wait. :ivar recorder: keeps them. :ivar historian: sends them.
    """

    def __init__(
        self,
        terms: OutageTerms,
        source: Source,
        connector: Connector,
        *,
        clock: IReactorTime,
        now: Callable[[], float],
        random: Random,
        log: Logger,
    ) -> None:
        self._source = source
        self.buffer = terms.buffer
        self._clock = clock
        self._log = log
        self._mending: Deferred[None] | None = None
        self._until_mended = Backoff(FIRST_MENDING_S, LONGEST_MENDING_S, random)
        self._ordered: Ordered | None = None
        self._timekeeper = Timestamps(now, terms.ticks, terms.boot or boot_id())
        self.recorder = Recorder(
            source, terms.buffer, self._timekeeper, clock=clock, interval_s=terms.interval_s, log=log
        )
        self.historian = Backfill(
            terms.buffer,
            self._timekeeper,
            connector,
            server_type=terms.server_type,
            clock=clock,
            random=random,
            log=log,
        )

    async def open(self) -> None:
        """Begin, as it was ordered before the start."""
        self.buffer.on_failure = self._mend_buffer
        try:
            self._go_on_with(await self.buffer.open())
        except BufferFailed as error:
            self._log.error(
                "what the server does not get is not kept: {error}; the buffer is opened again as soon as it can be",
                error=error,
            )

    async def close(self) -> None:
        """Close the buffer and stop polling."""
        self.recorder.stop()
        self.buffer.on_failure = None
        if self._mending is not None:
            self._mending.cancel()
        try:
            await self.buffer.close()
        except BufferFailed as error:
            self._log.error("{error}", error=error)

    def _go_on_with(self, ordered: Ordered | None) -> None:
        """Take over what was ordered before the start, if nothing has been since."""
        if ordered is None or self._ordered is not None:
            return
        try:
            self._source.follow(ordered.plan, 1)
        except ValueError:
            self._log.warn("the polling plan of before the start makes no sense, and is forgotten")
        else:
            self._ordered = ordered
            self.resume()

    def _mend_buffer(self) -> None:
        if self._mending is None:
            self._mending = Deferred.fromCoroutine(self._mend())
            self._mending.addBoth(self._mended)

    def _mended(self, result: Failure | None) -> None:
        self._mending = None
        if result is not None and not result.check(CancelledError):
            self._log.failure("while the buffer was opened anew", failure=result)

    async def _mend(self) -> None:
        """Open the buffer anew until it works: another program may have locked it, the disk may have been full."""
        fresh = not self.recorder.failing  # else it could be opened, but not be used: it is the same trouble still
        if fresh:
            self._until_mended.reset()
        while True:
            await deferLater(self._clock, self._until_mended.next())
            try:
                self._go_on_with(await self.buffer.open())
                if self._ordered is not None:  # which shows that it can be written to
                    await self.buffer.remember(self._ordered)
            except BufferFailed:
                continue
            if fresh:
                self._log.info("the buffer is open again")
            self.recorder.unsent = True  # what waits in it, that is
            return

    def resume(self) -> None:
        """There is no session: keep what is polled from now on, if it is known what to poll."""
        if self._ordered is not None:
            self.recorder.start(self._ordered)

    def ordered(self, plan: str, period_s: float) -> None:
        """Go on as a login answer ordered, which the source follows. The disk may take its time to remember it."""
        ordered = Ordered(plan, period_s)
        if ordered != self._ordered:
            self._ordered = ordered
            Deferred.fromCoroutine(self._remember(ordered))
        self.resume()

    async def _remember(self, ordered: Ordered) -> None:
        try:
            await self.buffer.remember(ordered)
        except BufferFailed as error:
            self._log.error("the polling plan is not remembered: {error}", error=error)

    def attached(self, session: Session, hostid: str, live: Address, historic: Address) -> None:
        """There is a session: what was kept is sent in it, and what the server does not get in it is kept."""
        self.recorder.stop()
        self.recorder.forget()
        if self._ordered is None:
            return
        plan = self._ordered.plan
        sending = False

        async def send() -> None:
            nonlocal sending
            sending = True
            self.recorder.unsent = False
            try:
                await self.historian.run(session, hostid, plan, live, historic)
            finally:
                sending = False

        def server_takes() -> None:
            if self.recorder.unsent and not sending:
                session.begin(send())

        session.keep(UploadTracker(self.recorder, server_takes))
        session.begin(send())

    def clock_learnt(self, server_zero: float) -> None:
        """Take over what the server's clock showed when the ticks were 0."""
        self._timekeeper.learn(server_zero)
