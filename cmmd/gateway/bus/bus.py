"""A Modbus RTU client: reads and writes of controllers on one serial line."""

from random import Random
from typing import cast

from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from cmmd.backoff import Backoff
from cmmd.gateway.bus.line import Line, Port, PortOpener
from cmmd.gateway.bus.outcomes import BusError, ExceptionAnswer, NoAnswer, NotSent, PortError, Statistics
from cmmd.gateway.bus.request_queue import Exchange, RequestQueue
from cmmd.gateway.bus.response_matcher import LateResponses
from cmmd.gateway.bus.transaction import Transactions, find_out_echo, needs_echo_known
from cmmd.gateway.link.source import Precondition, unopposed
from cmmd.modbus.frames import ReadRequest, WriteRequest

__all__ = ["Bus"]

FIRST_WAIT_S = 0.5
LONGEST_WAIT_S = 10.0
"""How long a port that cannot be opened is left alone, at first and at most."""

RECONSIDERED_EVERY_S = 1.0
"""How often a write that waits is asked whether it may still be done, so that its refusal is reported soon."""

EVERYBODY = 0
"""The unit that is all units, and that none of them answers."""

OUTCOME_UNKNOWN = frozenset({5, 11})
"""Exceptions that leave open what became of a write: "acknowledged, takes long", "gateway target does not respond"."""


class Bus:
    """Speaks to controllers, one request at a time and in order; a waiting write overtakes waiting reads.

    The port is opened at :meth:`start` and again whenever it is lost, with a growing wait between attempts; new trouble
    is logged once. No request is sent while an answer to another one is owed that would pass for its own, and others go
    before it meanwhile: :class:`cmmd.gateway.bus.response_matcher.LateResponses`. What else may be relied on is written
    at :class:`cmmd.gateway.bus.transaction.Transactions` (silence) and
    :class:`cmmd.gateway.bus.response_matcher.ResponseMatcher` (noise, echoes).

    :param line: the line.
    :param clock: all time.
    :param open_port: how its port is opened.
    :param random: jitter of the waits.
    :param log: takes the few lines that a bus has to say.
    :ivar line: the line as it is now.
    :ivar statistics: what was counted.
    """

    def __init__(
        self,
        line: Line,
        *,
        clock: IReactorTime,
        open_port: PortOpener,
        random: Random,
        log: Logger | None = None,
    ) -> None:
        self.line = line
        self.statistics = Statistics()
        self._clock = clock
        self._open_port = open_port
        self._backoff = Backoff(FIRST_WAIT_S, LONGEST_WAIT_S, random)
        self._log = Logger() if log is None else log
        self._exchanges = RequestQueue()
        self._owed = LateResponses(clock)
        self._refusal = "the bus is not started"  # why no request is taken; empty: they are
        self._wire: Transactions | None = None  # while its port is open
        self._opening: Deferred[Port] | None = None  # which may be cut short
        self._pause: Deferred[None] | None = None  # between two openings, which may be cut short
        self._rewired: Deferred[None] | None = None  # fires when the next opening ends
        self._running: Deferred[None] | None = None
        self._stopping = False
        self._opened_before = False
        self._trouble = ""  # the last one logged
        self._told_open: Line | None = None  # of which the log says that it is open

    @property
    def is_open(self) -> bool:
        """Tell whether the port is open."""
        return self._wire is not None and not self._wire.over

    # --- what it is for ----------------------------------------------------------------------------------------------

    async def read(self, request: ReadRequest) -> str:
        """Read registers or bits; sent again, up to ``line.retries`` times, where there is no answer.

        :return: the response in upper-case hex with CRC, as it came; it answers the request by unit, function, byte
            count and CRC.
        :raises NotSent: the port is not open, or too many wait.
        :raises NoAnswer: there was no valid answer.
        :raises ExceptionAnswer: the controller does not give them.
        """
        return await self._exchange(Exchange(request, self.line.retries))

    async def write(self, request: WriteRequest, veto: Precondition = unopposed) -> None:
        """Write; return when the controller has confirmed it. Sent once at most, whatever happens.

        Where an echo of the line would look like the answer, and an echo is neither seen nor excluded, it is found
        out first, by a read. Cancelling what waits for this keeps a request that has not left from leaving.

        :param veto: asked directly before it leaves, for it may have waited, and now and then while it waits.
        :raises NotSent: there is a veto, the port is not open, too many wait, it cannot be found out whether the line
            echoes, or it is for unit 0: it is surely not done.
        :raises ExceptionAnswer: the controller said no.
        :raises NoAnswer: it was sent, and the outcome is unknown.
        """
        await self._write(Exchange(request, 0, veto))

    async def write_first(self, request: WriteRequest, waits_s: float) -> None:
        """Write before all that waits; else as :meth:`write`. The request under way comes to its end.

        An answer to the same write that is owed is waited for where that ends within ``waits_s``. Else the write is
        sent at once: what comes first may be the answer that is owed, so the outcome is unknown. So it is where no read
        shows whether the line echoes.

        Where the port is not open, it is opened now, and not only after the pause between two attempts.

        :param waits_s: seconds that it can wait. It waits as long for a port that is not open, and a second at least.
        :raises NotSent: the port was not open in time, the line does not become silent, or it is for unit 0.
        :raises ExceptionAnswer: the controller said no.
        :raises NoAnswer: it was sent, and its outcome is unknown.
        """
        until = self._clock.seconds() + waits_s
        await self._write(Exchange(request, 0, lambda: self._closed_after(until), first_until=until))

    async def rewire(self, line: Line) -> None:
        """Go on with another line: the request in hand comes to its end, the port is closed, the new one opened.

        :raises NotSent: it cannot be opened. It is tried again and again, as when unplugged.
        """
        self.line = line
        if self._running is None or self._stopping:
            return
        self._tell(self._rewired, "the line was changed once more")
        self._rewired = rewired = Deferred[None]()
        self._refusal = ""
        self._cut_short("the line is being changed")
        await rewired

    def start(self) -> None:
        """Open the port, and keep it open. Requests wait until the first attempt has ended."""
        assert self._running is None, "started twice"
        self._stopping = False
        self._refusal = ""
        self._running = Deferred.fromCoroutine(self._run())

    async def stop(self) -> None:
        """Close the port: the request in hand comes to its end, those that wait are not sent."""
        running = self._running
        if running is None:
            return
        if not self._stopping:
            self._stopping = True
            self._refuse("the bus is stopped")
            self._cut_short("the bus is stopped")
        await running
        self._running = None

    async def _write(self, exchange: Exchange) -> None:
        if exchange.request.unit == EVERYBODY:
            raise NotSent("unit 0 is all controllers, of which none would confirm it")
        watch = LoopingCall(self._reconsider, exchange)
        watch.clock = self._clock
        watch.start(RECONSIDERED_EVERY_S, now=False)
        try:
            await self._exchange(exchange)
        finally:
            watch.stop()

    async def _exchange(self, exchange: Exchange) -> str:
        # Without a port a read or a write would be late when there is one again; a stop does no harm then.
        waits_for_port = exchange.first_until is not None and self._running is not None and not self._stopping
        if self._refusal and not waits_for_port:
            raise NotSent(self._refusal)
        self._exchanges.put(exchange)
        if waits_for_port and self._pause is not None:
            self._pause.cancel()
        return await exchange.result

    # --- the port's life ---------------------------------------------------------------------------------------------

    async def _run(self) -> None:
        while not self._stopping:
            rewired, self._rewired = self._rewired, None
            try:
                wait = await self._attend(rewired)
            except CancelledError:  # the opening was cut short
                self._tell(rewired, "it was not waited for")
                continue
            except Exception as error:  # our bug: the bus lives on
                self._log.failure("{url}: bug", url=self.line.url)
                wait = self._unavailable(f"bug: {type(error).__name__}", rewired)
            await self._leave_alone(wait)
        self._tell(self._rewired, "the bus is stopped")
        self._rewired = None

    async def _attend(self, rewired: Deferred[None] | None) -> float:
        """Open the port, and have exchanges on it until it is over.

        :param rewired: fires with whether it could be opened.
        :return: how many seconds to leave it alone then.
        """
        wire = Transactions(
            self.line,
            clock=self._clock,
            statistics=self.statistics,
            owed=self._owed,
            on_news=self._exchanges.wake,
        )
        try:
            self._opening = opening = self._open_port(wire.line, wire)
            wire.attach(await opening)
        except PortError as error:
            return self._unavailable(str(error), rewired)
        finally:
            self._opening = None
        self._wire = wire
        self._refusal = ""
        if self._told_open != wire.line:
            self._told_open = wire.line
            self._log.info(
                "{url} is open: {framing}",
                url=wire.line.url,
                framing=f"{wire.line.baud_rate} bit/s, 8{wire.line.parity}{wire.line.stop_bits}",
            )
        self.statistics.reopenings += self._opened_before
        self._opened_before = True
        self._tell(rewired)
        try:
            await self._serve(wire)
        finally:
            self._wire = None
            await wire.close()
        if wire.answered:
            self._backoff.reset()
        if wire.loss is not None:
            return self._unavailable(wire.loss)
        if wire.answered or self._rewired is not None or self._stopping:
            return 0.0
        self._refuse("no controller answers")
        return self._backoff.next()

    async def _serve(self, wire: Transactions) -> None:
        """Have exchanges until the wire takes no more."""
        while not wire.over:
            if self._exchanges.first() is None:
                await self._exchanges.wait()
                continue
            try:
                await wire.silence()
            except NotSent as error:
                if not wire.over and (exchange := self._exchanges.take()) is not None:
                    exchange.fail(error)
                continue
            exchange, owed_for = self._exchanges.take_free(self._owed_for)
            if exchange is not None:
                await self._carry_out(wire, exchange)
            elif owed_for > 0.0:
                await self._more_or(owed_for)

    def _owed_for(self, exchange: Exchange) -> float:
        seconds = self._owed.wait(exchange.request, again=exchange.again)
        if exchange.first_until is not None and self._clock.seconds() + seconds > exchange.first_until:
            return 0.0  # waiting would not make its outcome known in time, so it does not wait at all
        return seconds

    def _reconsider(self, exchange: Exchange) -> None:
        """Have a write not wait any longer that must not be done any more."""
        if not exchange.left and (refusal := exchange.veto()) is not None:
            exchange.fail(NotSent(refusal))
            self._exchanges.wake()

    async def _more_or(self, seconds: float) -> None:
        """Wait so long, or until there is something new: an exchange that overtakes, or an answer that was owed."""
        timer = self._clock.callLater(seconds, self._exchanges.wake)
        await self._exchanges.wait()
        if timer.active():
            timer.cancel()

    async def _carry_out(self, wire: Transactions, exchange: Exchange) -> None:
        """Have one exchange, once the line is silent."""
        request = exchange.request
        try:
            if wire.echo is None and needs_echo_known(request) and not exchange.echo_sought:
                await self._find_out_echo(wire, exchange)
                await wire.silence()
                if exchange.dropped:
                    return
            refusal = exchange.veto()
            if refusal is not None:
                raise NotSent(refusal)
            exchange.left = True
            exchange.succeed(await wire.ask(request))
        except NoAnswer as error:
            goes_on = not wire.over or (wire.loss is None and wire.answered and not self._stopping)
            if exchange.retries and goes_on and not exchange.dropped:
                exchange.retries -= 1
                exchange.again = True
                self.statistics.retries += 1
                self._exchanges.put_back(exchange)
            else:
                exchange.fail(error)
        except ExceptionAnswer as error:
            unknown = error.code in OUTCOME_UNKNOWN and not isinstance(request, ReadRequest)
            exchange.fail(NoAnswer(str(error)) if unknown else error)
        except BusError as error:
            # What overtakes has not left with the port that is gone, and can leave with the next one.
            if exchange.first_until is not None and not exchange.left and wire.over and not self._stopping:
                self._exchanges.put_back(exchange)
            else:
                exchange.fail(error)
        except Exception as error:  # our bug
            exchange.fail(NoAnswer(f"bug: {type(error).__name__}"))
            raise
        if wire.answered and self._trouble:
            self._trouble = ""
            self._log.info("{url}: a controller answers again", url=wire.line.url)

    async def _find_out_echo(self, wire: Transactions, exchange: Exchange) -> None:
        """Have it known whether the line echoes. A write that overtakes gives that one try, and is sent all the same.

        Over a network that try ends the connection where it is not answered: the write is sent on the next one then.

        :raises NotSent: it remains unknown, or the port is gone.
        """
        goes_first = exchange.first_until is not None
        try:
            exchange.echo_sought = goes_first
            attempts = 1 if goes_first else 1 + wire.line.retries
            await find_out_echo(wire, exchange.request, attempts, lambda: not exchange.dropped)
        except NotSent:
            if not goes_first or wire.over or exchange.dropped:
                raise

    # --- trouble -----------------------------------------------------------------------------------------------------

    def _unavailable(self, reason: str, rewired: Deferred[None] | None = None) -> float:
        """Take no requests, because the port is not there; say how many seconds to wait before the next attempt."""
        wait = self._backoff.next()
        self._refuse(reason)
        if reason != self._trouble:
            self._trouble = reason
            self._log.warn("{url}: {reason}; it is tried again and again", url=self.line.url, reason=reason)
        self._tell(rewired, reason)
        return wait

    def _refuse(self, reason: str) -> None:
        """Take no requests but those that go first: these wait for the port, unless the bus is stopped."""
        self._refusal = reason
        self._exchanges.fail_all(reason, firsts=self._stopping)

    def _closed_after(self, until: float) -> str | None:
        """Say why the port is not open, where it should have been until then."""
        if self._wire is not None or self._clock.seconds() < until:
            return None
        return self._refusal or "the port could not be opened in time"

    def _tell(self, rewired: Deferred[None] | None, reason: str = "") -> None:
        """Say to who rewired what came of it; no reason: all is well."""
        if rewired is None or rewired.called:
            return
        if reason:
            rewired.errback(NotSent(reason))
        else:
            rewired.callback(None)

    async def _leave_alone(self, wait: float) -> None:
        """Wait, unless there is something to do; not for long where a write that overtakes waits."""
        if wait <= 0 or self._stopping or self._rewired is not None:
            return
        if self._exchanges.first() is not None:  # all others were refused
            wait = min(wait, FIRST_WAIT_S)
        self._pause = pause = cast("Deferred[None]", deferLater(self._clock, wait))
        try:
            await pause
        except CancelledError:
            return
        finally:
            self._pause = None

    def _cut_short(self, reason: str) -> None:
        """Come to an end with the port as it is: what is in hand ends by itself, what is waited for is not any more."""
        if self._wire is not None:
            self._wire.finish(reason)
        elif self._opening is not None:
            self._opening.cancel()
        elif self._pause is not None:
            self._pause.cancel()
