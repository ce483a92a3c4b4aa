"""The requests that wait for their turn on a bus."""

from collections import deque
from collections.abc import Callable

from twisted.internet.defer import Deferred

from cmmd.gateway.bus.outcomes import BusError, NotSent
from cmmd.gateway.bus.response_matcher import answer_shape
from cmmd.gateway.link.source import Precondition, unopposed
from cmmd.modbus.frames import ReadRequest, Request

__all__ = ["MAX_WAITING", "Exchange", "RequestQueue"]

MAX_WAITING = 64
"""RequestQueue that may wait, as many as a plan has requests."""


class Exchange:
    """One request, and what comes of it.

    :param request: the request.
    :param retries: how often it may be sent again.
    :param veto: asked directly before it leaves: why it must not; None: it may.
    :param first_until: set for a write that overtakes all others: until when it can wait for answers that are owed,
        in seconds of the bus' clock.
    :ivar left: the veto was called for the last time.
    :ivar echo_sought: one read has left for its sake, to find out whether the line echoes.
    :ivar again: it was sent before, and there was no answer.
    :ivar result: fires with the answer in hex, or with a :exc:`BusError`. Cancelling it drops the exchange: it is not
        sent any more, or its answer is reported to no caller.
    """

    def __init__(
        self, request: Request, retries: int, veto: Precondition = unopposed, *, first_until: float | None = None
    ) -> None:
        self.request = request
        self.retries = retries
        self.veto = veto
        self.first_until = first_until
        self.left = False
        self.echo_sought = False
        self.again = False
        self.result: Deferred[str] = Deferred()

    @property
    def dropped(self) -> bool:
        """The exchange has no caller any more."""
        return bool(self.result.called)

    def succeed(self, answer: str) -> None:
        """End the exchange with its answer."""
        if not self.dropped:
            self.result.callback(answer)

    def fail(self, error: BusError) -> None:
        """End the exchange with an error."""
        if not self.dropped:
            self.result.errback(error)


class RequestQueue:
    """The requests that wait: writes that go first, then writes, then reads, each kind in its order.

    A read that has to wait is passed by those that it does not meet.
    """

    def __init__(self) -> None:
        self._reads: deque[Exchange] = deque()
        self._writes: deque[Exchange] = deque()
        self._firsts: deque[Exchange] = deque()  # writes, too
        self._wanted: Deferred[None] | None = None

    def put(self, exchange: Exchange) -> None:
        """Have an exchange wait.

        :raises NotSent: :data:`MAX_WAITING` do, and it is none that overtakes.
        """
        self._forget_dropped()
        if exchange.first_until is None and len(self._reads) + len(self._writes) >= MAX_WAITING:
            raise NotSent(f"{MAX_WAITING} requests are waiting for the bus already")
        self._line_of(exchange).append(exchange)
        self.wake()

    def put_back(self, exchange: Exchange) -> None:
        """Have an exchange wait once more, as the first of its kind."""
        self._line_of(exchange).appendleft(exchange)

    def first(self) -> Exchange | None:
        """The next exchange, which stays in the queue; None: the queue is empty."""
        self._forget_dropped()
        line = self._firsts or self._writes or self._reads
        return line[0] if line else None

    def take(self) -> Exchange | None:
        """Take the next exchange; None: the queue is empty."""
        exchange = self.first()
        if exchange is not None:
            self._line_of(exchange).popleft()
        return exchange

    def take_free(self, held_for: Callable[[Exchange], float]) -> tuple[Exchange | None, float]:
        """The next one that need not wait for an answer that is owed.

        A write that has to is passed by reads, for these never meet, but not by a write. A read is not passed by one
        that is alike, for which it would have to wait again and again.

        :param held_for: how many seconds an exchange has to wait.
        :return: it, or None; and how many seconds it takes at most until there is another one. 0: until one comes.
        """
        self._forget_dropped()
        held = []
        for line in (list(self._firsts or self._writes)[:1], self._reads):
            passed = set()
            for exchange in line:
                seconds = held_for(exchange)
                shape = answer_shape(exchange.request)
                if seconds <= 0.0 and shape not in passed:
                    self._line_of(exchange).remove(exchange)
                    return exchange, 0.0
                passed.add(shape)
                held.append(seconds)
        return None, min((seconds for seconds in held if seconds > 0.0), default=0.0)

    def wait(self) -> Deferred[None]:
        """Fires when it is time to look again."""
        self._wanted = Deferred()
        return self._wanted

    def wake(self) -> None:
        """Look at the queue again."""
        wanted, self._wanted = self._wanted, None
        if wanted is not None:
            wanted.callback(None)

    def fail_all(self, reason: str, *, firsts: bool) -> None:
        """End all exchanges that wait as not sent.

        :param firsts: whether the writes that go first are among them; False: these wait on.
        """
        for line in (self._firsts, self._writes, self._reads)[0 if firsts else 1 :]:
            while line:
                line.popleft().fail(NotSent(reason))

    def _line_of(self, exchange: Exchange) -> deque[Exchange]:
        if exchange.first_until is not None:
            return self._firsts
        return self._reads if isinstance(exchange.request, ReadRequest) else self._writes

    def _forget_dropped(self) -> None:
        for line in (self._reads, self._writes, self._firsts):
            waiting = [exchange for exchange in line if not exchange.dropped]
            if len(waiting) != len(line):
                line.clear()
                line.extend(waiting)
