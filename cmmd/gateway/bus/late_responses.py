"""The answers that are still to come: of requests that were not answered in their time.

A response to a read does not say which registers it holds, and the response to a write is the same for the same write.
So nothing but time tells the late answer to one request from the answer to another that is alike, and all that can be
done is not to ask the second before the first is settled: its answer has come, or is later than any that is reckoned
with (:attr:`cmmd.gateway.bus.line.Line.late_s`).
"""

from typing import NamedTuple

from twisted.internet.interfaces import IReactorTime

from cmmd.gateway.bus.response_matcher import ResponseMatcher, answer_shape
from cmmd.modbus.frames import ReadRequest, Request

__all__ = ["LateResponses", "Sending"]

_EXCEPTION = 0x80


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
