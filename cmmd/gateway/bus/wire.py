"""One open port, and one request after the other on it."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cmmd.gateway.bus.errors import ExceptionAnswer, NoAnswer, NotSent
from cmmd.gateway.bus.line import Line
from cmmd.gateway.bus.port import Port
from cmmd.gateway.bus.seeker import Seeker, answer_shape
from cmmd.gateway.bus.statistics import Statistics
from cmmd.modbus.frames import ExceptionResponse, Request, parse_response

__all__ = ["Wire"]

SETTLE_S = 0.02
"""Silence after bytes that belong to nothing: adapters hand a frame over in pieces, up to 16 ms apart."""

BABBLE_S = 2.0
"""How long a request waits for silence that does not come."""


class Wire:
    """Sends requests and recognises their answers. One at a time; takes what the port brings.

    A response does not say which request it answers, so a late one must not meet a request that it fits:

    - Every request waits until the line is silent: for ``line.silence_s`` after the last byte, for ``quiet_s`` after
      opening the port and after a request that was not answered, and
      :data:`SETTLE_S` after bytes that belong to nothing. Then it waits for one more turn of the reactor, in which
      comes what the kernel had in hand while this process was held up.
    - What comes meanwhile is dropped.
    - On a device of this machine that bounds how late an answer may be: one that begins within the time of its own
      request and ``quiet_s`` after it is never taken for another's. The first answer after a request without one is
      followed by ``quiet_s`` as well, since it may be the late one. A controller that is later than that can be
      misunderstood, where two requests in a row look alike; ``late_answers`` counts before it comes to that.
    - Over a network nothing bounds it, so there a request without an answer ends the connection, and with it all that
      is on its way, in both directions.

    :param line: the line.
    :param clock: all time.
    :param statistics: where to count.
    :param on_end: called when ``over`` becomes true.
    :ivar echo: whether the line sends back what is sent; None: not known yet. An echo seen counts for as long as the
        port is open; none seen, only when an answer was the first thing that came.
    :ivar over: no further request is taken.
    :ivar loss: why the port was lost; None: it was not.
    :ivar answered: some controller has answered.
    """

    def __init__(
        self, line: Line, *, clock: IReactorTime, statistics: Statistics, on_end: Callable[[], None] = lambda: None
    ) -> None:
        self.line = line
        self.echo = line.echo
        self.over = False
        self.loss: str | None = None
        self.answered = False
        self._clock = clock
        self._statistics = statistics
        self._on_end = on_end
        self._port: Port | None = None
        self._heard_at = 0.0  # when the last byte came, or what was sent had left
        self._silent_at = 0.0  # when the line will have been silent for long enough
        self._seeker: Seeker | None = None  # what is looked for, in time or late
        self._asking = False
        self._deadline = 0.0
        self._ending = ""  # why no further request is taken
        self._doubt = False  # an answer may still come late
        self._rest: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None

    def attach(self, port: Port) -> None:
        """Begin: the port is open."""
        self._port = port
        self._silent_at = self._clock.seconds() + self.line.quiet_s

    async def close(self) -> None:
        """Close the port, once it is over or nothing is in hand."""
        self.over = True
        if self._port is not None:
            await self._port.close()

    def finish(self, reason: str) -> None:
        """Take no further request; one that waits for silence is not sent, one that is sent comes to its end.

        :param reason: why, for who wanted to send it.
        """
        self.over = True
        self._ending = reason
        if not self._asking:
            self._wake()
        self._on_end()

    # --- one request -------------------------------------------------------------------------------------------------

    async def silence(self) -> None:
        """Wait until a request may be sent.

        :raises NotSent: that does not come.
        """
        patience = max(self._silent_at, self._clock.seconds()) + BABBLE_S
        waited = -1.0
        while True:
            if self.over:
                raise NotSent(self.loss or self._ending)
            wait = max(self._silent_at - self._clock.seconds(), 0.0)
            if wait == 0.0 == waited:
                return
            if self._clock.seconds() > patience:
                raise NotSent("the line does not become silent")
            await self._for(wait)
            waited = wait

    async def ask(self, request: Request) -> str:
        """Send a request, after :meth:`silence`, and wait for its answer.

        :return: the answer in upper-case hex with CRC; no exception.
        :raises NotSent: the port was lost before.
        :raises ExceptionAnswer: the controller said no.
        :raises NoAnswer: no valid answer in time, or the port was lost.
        """
        if self.over or self._port is None:
            raise NotSent(self.loss or self._ending)
        frame = bytes.fromhex(request.to_hex())
        seeker = self._seeker = Seeker(request, echo=self.echo)
        self._asking = True
        try:
            self._port.write(frame)
            self._statistics.requests += 1
            self._heard_at = self._clock.seconds() + self.line.seconds_for(len(frame))
            length = len(frame) + answer_shape(request).length
            patience = self.line.seconds_for(length) + self.line.timeout_s
            self._deadline = self._clock.seconds() + patience
            await self._for(patience)
            if seeker.answer is None and self.loss is None:
                await self._for(0.0)  # what is in time, and still in the kernel's hand
                seeker.finish()
        finally:
            self._asking = False
        return self._conclude(seeker)

    def _conclude(self, seeker: Seeker) -> str:
        """Say what came of it, and when the line will be silent."""
        self._statistics.crc_errors += seeker.crc_errors
        self._statistics.bytes_discarded += seeker.discarded
        if seeker.echoed:
            self._statistics.echoes += 1
            self.echo = True
        elif seeker.clean and self.echo is None:
            self.echo = False
        quiet_at = self._clock.seconds() + self.line.quiet_s
        self._silent_at = self._heard_at + max(self.line.silence_s, SETTLE_S if seeker.discarded else 0.0)
        if seeker.answer is None:
            self._statistics.timeouts += 1
            self._silent_at = max(self._silent_at, quiet_at)
            self._doubt = True
            self._drop_what_is_under_way()
            raise NoAnswer(self.loss or "no valid answer in time")
        self._seeker = None
        if self._doubt:
            self._silent_at = max(self._silent_at, quiet_at)
        self._doubt = False
        self.answered = True
        answer = seeker.answer.hex().upper()
        response = parse_response(answer)
        if isinstance(response, ExceptionResponse):
            self._statistics.exceptions += 1
            raise ExceptionAnswer(response)
        self._statistics.answers += 1
        return answer

    def _drop_what_is_under_way(self) -> None:
        """A request without an answer may not have left yet; it must not do so when nobody expects it any more."""
        if self.line.remote:
            self.finish("the connection is opened anew after a request without an answer")
        elif self._port is not None and self.loss is None:
            self._port.drop_unsent()

    # --- what the port brings ----------------------------------------------------------------------------------------

    def received(self, chunk: bytes) -> None:
        """Bytes came."""
        self._heard_at = self._clock.seconds()
        if self._asking and self._seeker is not None:
            self._seeker.feed(chunk)
            self._wait_on()
            return
        self._statistics.bytes_discarded += len(chunk)
        self._silent_at = max(self._silent_at, self._heard_at + SETTLE_S)
        if self._seeker is not None and self._seeker.feed(chunk) is not None:
            self._seeker = None
            self._statistics.late_answers += 1

    def lost(self, reason: str) -> None:
        """The port can no longer be used."""
        self.over = True
        self.loss = reason
        self._wake()
        self._on_end()

    def _wait_on(self) -> None:
        """After an answer wait for the silence that ends it, since it is none where something else follows."""
        if self._timer is None or self._seeker is None:
            return
        left = self._deadline - self._clock.seconds()
        if self._seeker.answer is not None:
            left = min(self.line.frame_end_s, left + self.line.frame_end_s)
        self._timer.reset(max(left, 0.0))

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def _for(self, seconds: float) -> None:
        """Wait so long, or until woken."""
        self._rest = rest = Deferred[None]()
        self._timer = self._clock.callLater(seconds, self._wake)
        await rest

    def _wake(self) -> None:
        rest, self._rest = self._rest, None
        if rest is None:
            return
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None
        rest.callback(None)
