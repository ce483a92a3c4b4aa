"""Finding the answer to one request in what a line brings: noise, an echo, the answer, in that order at worst.

Modbus RTU ends a frame with a silence of 1.5 characters, which a program behind a driver's buffers cannot see. But what
the answer to a request looks like is known from the request: unit, function, and byte count or what was written; or, as
an exception, unit, function and five bytes. So the bytes are searched for a frame that looks like that and has the
right CRC. Garbage before it costs nothing, garbage within it makes it no answer.

Garbage behind it makes what a read brought no answer either: a byte that was injected into an answer leaves its last
byte over, and one of 65,536 such answers has the right CRC without that. What a line brings when a sender lets go of it
is not garbage: see :data:`GLITCHES`.
"""

from typing import NamedTuple

from twisted.internet.interfaces import IReactorTime

from cmmd.modbus.envelope import crc16
from cmmd.modbus.frames import ReadRequest, Request, write_response

__all__ = ["GLITCHES", "LateResponses", "ResponseMatcher", "Sending", "answer_shape", "is_its_own_answer"]

# --- the answer to a request -----------------------------------------------------------------------------------------


_EXCEPTION = 0x80
_EXCEPTION_LENGTH = 5  # bytes: unit, function, code, CRC
_ROUND_A_PAYLOAD = 5  # bytes: unit, function, byte count, CRC
_WRITTEN_HEAD = 6  # bytes: unit, function, and two words of the request
_WRITTEN_LENGTH = 8

GLITCHES = bytes(0xFF << zeros & 0xFF for zeros in range(9))
"""What a line makes of a short pulse, as when a sender lets go of it: a start bit, a few zeros, then ones."""

_MOST_KEPT = 1024
_LEAST_KEPT = 512
"""Bytes of what may still become an echo or an answer; each has at most 256."""


class Shape(NamedTuple):
    """The shape of a frame: its first bytes, and its length with the CRC."""

    head: bytes
    length: int


def answer_shape(request: Request) -> Shape:
    """Compute the shape of a request's normal answer."""
    if isinstance(request, ReadRequest):
        head = bytes((request.unit, request.function, request.payload_length))
        return Shape(head, request.payload_length + _ROUND_A_PAYLOAD)
    return Shape(bytes.fromhex(write_response(request).to_hex())[:_WRITTEN_HEAD], _WRITTEN_LENGTH)


def is_its_own_answer(request: Request) -> bool:
    """Tell whether the request, sent back by the line, would pass for the answer to it.

    Functions 05 and 06 are answered with the request itself; of reads, a few that ask for 17 to 24 bits.
    """
    head, length = answer_shape(request)
    frame = bytes.fromhex(request.to_hex())
    return len(frame) == length and frame.startswith(head)


class ResponseMatcher:
    """Takes what comes after one request was sent.

    What is equal to the request is its echo, and only after that the answer; it is the answer at once only where the
    line surely does not echo.

    :param request: the request.
    :param echo: whether the line sends back what is sent; None: not known.
    :param exceptions: whether an exception is an answer; it is none where it may be the late one to another request.
    :ivar answer: the answer as it came, with its CRC; None: it has not come.
    :ivar echoed: the request came back.
    :ivar clean: the answer came, and nothing before it.
    :ivar received: bytes that came.
    :ivar crc_errors: what began like the answer, was long enough, and had a wrong CRC or garbage behind it.
    """

    def __init__(self, request: Request, *, echo: bool | None, exceptions: bool = True) -> None:
        self.answer: bytes | None = None
        self.echoed = False
        self.clean = False
        self.received = 0
        self.crc_errors = 0
        self._echo = echo
        self._writes = not isinstance(request, ReadRequest)
        self._request = bytes.fromhex(request.to_hex())
        self._ambiguous = is_its_own_answer(request)
        self._shapes = [answer_shape(request)]
        if exceptions:
            self._shapes.append(Shape(bytes((request.unit, request.function | _EXCEPTION)), _EXCEPTION_LENGTH))
        self._kept = bytearray()
        self._passed_over = False  # bytes came before those kept

    @property
    def discarded(self) -> int:
        """Bytes that came and were part neither of the answer nor of the echo."""
        return self.received - len(self.answer or b"") - (len(self._request) if self.echoed else 0)

    def feed(self, chunk: bytes) -> bytes | None:
        """Take bytes as they come.

        :return: the answer, as far as can be said: what comes directly behind it may undo it.
        """
        self.received += len(chunk)
        self._kept += chunk
        self._search(no_more=False)
        if len(self._kept) > _MOST_KEPT:
            self._pass_over(len(self._kept) - _LEAST_KEPT)
        return self.answer

    def finish(self) -> bytes | None:
        """The time is over: what looked like the beginning of an answer was not, so what comes after it may be.

        :return: the answer, if that has come. Feeding may go on, to see what is late.
        """
        if self.answer is None:
            self._search(no_more=True)
        return self.answer

    def _search(self, *, no_more: bool) -> None:
        self.answer, self.clean = None, False
        if self._echo_under_way():
            return
        start = 0
        while (candidate := self._candidate(start)) is not None:
            place, length = candidate
            frame = bytes(self._kept[place : place + length])
            if len(frame) < length:
                if not no_more:
                    return
                start = place + 1
            elif crc16(frame) == 0 and self._may_end_with(self._kept[place + length :]):
                self.answer = frame  # the CRC of anything with its own CRC, low byte first, is 0
                self.clean = place == 0 and not self._passed_over
                return
            else:
                self.crc_errors += 1
                self._pass_over(place + 1)
                start = 0

    def _may_end_with(self, tail: bytearray) -> bool:
        """Tell whether this may follow an answer. That to a write is known to the last byte, so nothing undoes it."""
        return self._writes or not tail.strip(GLITCHES)

    def _echo_under_way(self) -> bool:
        """Take the echo out, where there is one; whether only the beginning of it has come."""
        if self.echoed or (self._ambiguous and self._echo is False):
            return False
        place = self._kept.find(self._request)
        if place >= 0:
            self._pass_over(place + len(self._request))
            self.echoed = True
            return False
        return self._echo is not False and not self._passed_over and self._request.startswith(self._kept)

    def _candidate(self, start: int) -> tuple[int, int] | None:
        """Find the next bytes that begin like the answer, and the length they have to reach."""
        places = [(place, length) for head, length in self._shapes if (place := self._kept.find(head, start)) >= 0]
        return min(places, default=None)

    def _pass_over(self, count: int) -> None:
        del self._kept[:count]
        self._passed_over = True


# --- answers that come late ------------------------------------------------------------------------------------------

# The answers that are still to come: of requests that were not answered in their time.
#
# A response to a read does not say which registers it holds, and the response to a write is the same for the same
# write. So nothing but time tells the late answer to one request from the answer to another that is alike, and all that
# can be done is not to ask the second before the first is settled: its answer has come, or is later than any that is
# reckoned with (``Line.late_s``).


class Sending(NamedTuple):
    """One time that a request was sent.

    :ivar at: when.
    :ivar until: its answer comes before that, or never.
    """

    at: float
    until: float


class Taken(NamedTuple):
    """The judgement on an answer that was taken.

    :ivar may_be_late: it may have been one that was owed.
    :ivar more_follows: and the other one has to be expected, not only reckoned with.
    """

    may_be_late: bool
    more_follows: bool


class _Debt:
    """The late answers that one request may still get.

    :ivar sendings: as many as were not answered.
    :ivar seeker: looks for the next answer to one of them.
    :ivar due: the last of them is answered before that by a controller that is always as late as it was. What was sent
        before that and has not come then is lost, as far as that can be known.
    """

    def __init__(self, request: Request, seeker: ResponseMatcher) -> None:
        self.request = request
        self.sendings: list[Sending] = []
        self.seeker = seeker
        self.due = 0.0

    @property
    def until(self) -> float:
        """No answer comes after that."""
        return max((sending.until for sending in self.sendings), default=0.0)

    @property
    def expected(self) -> list[Sending]:
        """The sendings whose answers are not thought to be lost."""
        return [sending for sending in self.sendings if sending.at >= self.due]

    def one_came(self) -> None:
        """An answer came, to one of them: the others are reckoned with for as long as may be."""
        self.sendings.remove(min(self.sendings, key=lambda sending: sending.until))

    def delays_until(self, request: Request, again: bool) -> float:
        """Compute the time until which a late answer delays the request."""
        if self.request == request and isinstance(request, ReadRequest):
            return 0.0 if again else min(self.due, self.until)
        return self.until if _alike(self.request, request) else 0.0


class LateResponses:
    """Keeps what is owed, over openings of the port too: a controller does not know of those.

    It relies on this: a request is answered once at most, and not after its time and ``late_s``. It does not rely on an
    order, nor on one answer being as late as another.

    :param clock: all time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._debts: dict[Request, _Debt] = {}

    def wait(self, request: Request, *, again: bool = False) -> float:
        """Compute the seconds that a request has to wait for a late answer that would pass for its own.

        What is owed for the same read is as good: true, if some seconds old. A new one waits for it all the same where
        an answer was taken since, but only until it is due: that may be how late the controller is, and values would be
        one cycle old for ever; but mostly an answer was lost, and nothing follows. Of a write it would be unknown which
        one was obeyed.

        :param again: the request was sent before, by the same who waits for the answer.
        """
        now = self._clock.seconds()
        return max([0.0, *(debt.delays_until(request, again) - now for debt in self._current())])

    def of_another(self, request: Request) -> bool:
        """Tell whether an exception could be the one to another request: it says no more than unit and function.

        For a read that does no harm: no value is taken then, and :meth:`taken` sees to it that none is later.
        """
        return any(debt.request != request and _one_function(debt.request, request) for debt in self._current())

    def put(self, request: Request, sending: Sending, seeker: ResponseMatcher) -> None:
        """A request was not answered in its time.

        :param seeker: what has looked for its answer, and may have found the beginning of it.
        """
        self._current()
        debt = self._debts.setdefault(request, _Debt(request, seeker))
        debt.seeker = seeker
        debt.sendings.append(sending)

    def taken(self, request: Request, sending: Sending, pause_s: float, *, refused: bool) -> Taken:
        """An answer was taken for that to a request: if it may have been one that was owed, another one still is.

        :param pause_s: how much later than an answer is due it is still waited for, before the same read.
        :param refused: it was an exception.
        """
        fits = _one_function if refused else _alike
        rivals = [debt for debt in self._current() if fits(debt.request, request)]
        if not rivals:
            return Taken(may_be_late=False, more_follows=False)
        oldest = min((other.at for debt in rivals for other in debt.expected), default=sending.at)
        more_follows = any(debt.expected for debt in rivals)
        # Which of the two it answered cannot be seen, so the debt is not settled by it: one more answer is reckoned
        # with, of whichever request. Settled, the next late answer would pass for the value of another register.
        self.put(request, sending, _seeker(request))
        debt = self._debts[request]
        if not refused:
            debt.due = sending.at + (self._clock.seconds() - oldest) + pause_s
        if rivals == [debt]:  # so that it was one of its own
            debt.one_came()
        return Taken(may_be_late=True, more_follows=more_follows)

    def hear(self, chunk: bytes, asked: Request | None) -> int:
        """Take bytes as they come.

        :param asked: the request in hand; what would answer that is not looked for here.
        :return: how many answers were among them that are surely late.
        """
        # All of them look at all bytes, for nothing says whose answer they begin. The request in hand is left to its
        # own matcher: what answers that as well can be its answer, and a value that was read is not thrown away.
        found = [
            (debt, answer)
            for debt in self._current()
            if not (asked is not None and _alike(debt.request, asked))
            and (answer := debt.seeker.feed(chunk)) is not None
        ]
        for debt, _ in found:
            debt.seeker = _seeker(debt.request)
        if not found:
            return 0
        debt, answer = found[0]
        fits = _one_function if answer[1] & _EXCEPTION else _alike
        if asked is not None and fits(debt.request, asked):
            return 0
        # Only an answer that fits no other debt settles one; else each stays until its time is over.
        if not any(fits(debt.request, other.request) for other in self._current() if other is not debt):
            debt.one_came()
            if not debt.sendings:
                del self._debts[debt.request]
        return 1

    def _current(self) -> list[_Debt]:
        now = self._clock.seconds()
        for debt in self._debts.values():
            debt.sendings = [sending for sending in debt.sendings if sending.until > now]
        self._debts = {request: debt for request, debt in self._debts.items() if debt.sendings}
        return list(self._debts.values())


def _alike(one: Request, other: Request) -> bool:
    """Tell whether the answer to one is a frame that could answer the other."""
    return answer_shape(one) == answer_shape(other)


def _one_function(one: Request, other: Request) -> bool:
    """Tell whether an exception to one would pass for one to the other."""
    return (one.unit, one.function) == (other.unit, other.function)


def _seeker(request: Request) -> ResponseMatcher:
    """Looks for a late answer. Where the line may echo, an echo precedes an answer that is equal to it."""
    return ResponseMatcher(request, echo=None)
