"""One open port, and one request after the other on it."""

from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cmmd.gateway.bus.line import Line, Port
from cmmd.gateway.bus.outcomes import ExceptionAnswer, NoAnswer, NotSent, Statistics
from cmmd.gateway.bus.response_matcher import LateResponses, ResponseMatcher, Sending, answer_shape, is_its_own_answer
from cmmd.modbus.frames import ExceptionResponse, Function, ReadRequest, Request, parse_response

__all__ = ["Transactions", "find_out_echo", "needs_echo_known"]


SETTLE_S = 0.02
"""Silence after bytes that belong to nothing: adapters hand a frame over in pieces, up to 16 ms apart."""

BABBLE_S = 2.0
"""How long a request waits for silence that does not come."""


class Transactions:
    """Sends requests and recognises their answers. One at a time; takes what the port brings.

    - Every request waits until the line is silent: for ``line.silence_s`` after the last byte, for ``quiet_s`` after
      opening the port, after a request that was not answered, and where another answer to it is expected, and for
      :data:`SETTLE_S` after bytes that belong to nothing. Then it waits for one more turn of the reactor, in which
      comes what the kernel had in hand while this process was held up.
    - What comes meanwhile is dropped.
    - What was not answered is owed, and so is one more answer where one was taken that may have been owed: see
      :class:`cmmd.gateway.bus.response_matcher.LateResponses`. Who asks here sees to it that nothing is owed that would
      fit. What waiting does not tell is not believed: an exception to a write that may be the one to another; and that
      the line has no echo, where what came before an echo could may be late.
    - Over a network a request without an answer ends the connection, and with it what is on its way either way.

    :param line: the line.
    :param clock: all time.
    :param statistics: where to count.
    :param owed: what is still to be answered.
    :param on_news: called when ``over`` becomes true, and when an answer has come that was owed.
    :ivar echo: whether the line sends back what is sent; None: not known yet. An echo seen counts for as long as the
        port is open; none seen, only when an answer was the first thing that came.
    :ivar over: no further request is taken.
    :ivar loss: why the port was lost; None: it was not.
    :ivar answered: some controller has answered.
    """

    def __init__(
        self,
        line: Line,
        *,
        clock: IReactorTime,
        statistics: Statistics,
        owed: LateResponses,
        on_news: Callable[[], None],
    ) -> None:
        self.line = line
        self.echo = line.echo
        self.over = False
        self.loss: str | None = None
        self.answered = False
        self._clock = clock
        self._statistics = statistics
        self._owed = owed
        self._on_news = on_news
        self._port: Port | None = None
        self._heard_at = 0.0  # when the last byte came, or what was sent had left
        self._silent_at = 0.0  # when the line will have been silent for long enough
        self._request: Request | None = None  # in hand
        self._seeker: ResponseMatcher | None = None  # looks for its answer
        self._sent_at = 0.0
        self._deadline = 0.0  # of it
        self._echoed_by = 0.0  # when an echo of it has begun, if there is one
        self._began_at = 0.0  # when the first byte came after it
        self._ending = ""  # why no further request is taken
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
        if self._request is None:
            self._wake()
        self._on_news()

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
        exceptions = isinstance(request, ReadRequest) or not self._owed.of_another(request)
        seeker = ResponseMatcher(request, echo=self.echo, exceptions=exceptions)
        self._request, self._seeker = request, seeker
        try:
            self._port.write(frame)
            self._statistics.requests += 1
            self._sent_at = self._clock.seconds()
            self._heard_at = self._sent_at + self.line.seconds_for(len(frame))
            self._echoed_by = self._heard_at + SETTLE_S
            length = len(frame) + answer_shape(request).length
            patience = self.line.seconds_for(length) + self.line.timeout_s
            self._deadline = self._sent_at + patience
            await self._for(patience)
            if seeker.answer is None and self.loss is None:
                await self._for(0.0)  # what is in time, and still in the kernel's hand
                seeker.finish()
        finally:
            self._request = self._seeker = None
        return self._conclude(request, seeker)

    def _conclude(self, request: Request, seeker: ResponseMatcher) -> str:
        """Say what came of it, and when the line will be silent."""
        self._statistics.crc_errors += seeker.crc_errors
        self._statistics.bytes_discarded += seeker.discarded
        sending = Sending(self._sent_at, self._deadline + self.line.late_s)
        quiet_at = self._clock.seconds() + self.line.quiet_s
        self._silent_at = self._heard_at + max(self.line.silence_s, SETTLE_S if seeker.discarded else 0.0)
        if seeker.echoed and (self.echo is not None or isinstance(request, ReadRequest)):
            self._statistics.echoes += 1
            self.echo = True  # what came back of a write may be its answer, where nothing is known of echoes
        if seeker.answer is None:
            self._statistics.timeouts += 1
            self._silent_at = max(self._silent_at, quiet_at)
            self._owed.put(request, sending, seeker)
            self._drop_what_is_under_way()
            raise NoAnswer(self.loss or "no valid answer in time")
        answer = seeker.answer.hex().upper()
        response = parse_response(answer)
        refused = isinstance(response, ExceptionResponse)
        taken = self._owed.taken(request, sending, self.line.quiet_s, refused=refused)
        if taken.more_follows:  # it must not meet the next request on the line: both would be damaged
            self._silent_at = max(self._silent_at, quiet_at)
        if seeker.clean and self.echo is None and (not taken.may_be_late or self._began_at > self._echoed_by):
            self.echo = False
        self.answered = True
        if taken.may_be_late and not isinstance(request, ReadRequest):
            raise NoAnswer("the answer may be the late one to the same write, sent before")
        if isinstance(response, ExceptionResponse):
            self._statistics.exceptions += 1
            raise ExceptionAnswer(response)
        self._statistics.answers += 1
        return answer

    def _drop_what_is_under_way(self) -> None:
        """Drop a request without an answer that may not have left: its caller does not expect it any more."""
        if self.line.remote:
            self.finish("the connection is opened anew after a request without an answer")
        elif self._port is not None and self.loss is None:
            self._port.drop_unsent()

    # --- what the port brings ----------------------------------------------------------------------------------------

    def received(self, chunk: bytes) -> None:
        """Take bytes that the port has received."""
        self._heard_at = self._clock.seconds()
        late = self._owed.hear(chunk, self._request)
        self._statistics.late_answers += late
        if self._seeker is not None:
            if not self._seeker.received:
                self._began_at = self._heard_at
            self._seeker.feed(chunk)
            self._wait_on()
            return
        self._statistics.bytes_discarded += len(chunk)
        self._silent_at = max(self._silent_at, self._heard_at + SETTLE_S)
        if late:
            self._on_news()

    def lost(self, reason: str) -> None:
        """The port can no longer be used."""
        self.over = True
        self.loss = reason
        self._wake()
        self._on_news()

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


def needs_echo_known(request: Request) -> bool:
    """Tell whether an echo of this request would pass for its answer, in a way that matters."""
    return not isinstance(request, ReadRequest) and is_its_own_answer(request)


async def find_out_echo(wire: Transactions, request: Request, attempts: int, wanted: Callable[[], bool]) -> None:
    """Read what the request is to write, until it is known whether the line echoes.

    That the controller refuses to give it will do: a refusal comes after the echo too.

    :param attempts: how often to read at most.
    :param wanted: whether the request is still to be sent: else the line is left to those behind it.
    :raises NotSent: it remains unknown, as where no controller answers.
    """
    reads = Function.READ_COILS if request.function == Function.WRITE_COIL else Function.READ_HOLDING_REGISTERS
    probe = ReadRequest(request.unit, reads, request.address, 1)
    for _ in range(attempts):
        if not wanted():
            raise NotSent("the request is not wanted any more")
        try:
            await wire.silence()
            await wire.ask(probe)
        except (NoAnswer, ExceptionAnswer):
            pass
        if wire.echo is not None:
            return
    raise NotSent("not known whether the line echoes, since no read is answered: a write could not be judged")
