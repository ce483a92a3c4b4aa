"""The answers that are still to come: of requests that were not answered in their time.

A response to a read does not say which registers it holds, and the response to a write is the same for the same write.
So nothing but time tells the late answer to one request from the answer to another that is alike, and all that can be
done is not to ask the second before the first is settled: its answer has come, or is later than any that is reckoned
with (:attr:`cmmd.gateway.bus.line.Line.late_s`).
"""

from twisted.internet.interfaces import IReactorTime

from cmmd.gateway.bus.seeker import Seeker, answer_shape
from cmmd.modbus.frames import ReadRequest, Request

__all__ = ["Owed"]

_EXCEPTION = 0x80


class _Debt:
    """What is owed for one request.

    :ivar count: answers: as many as were not answered of the times that it was sent.
    :ivar until: the last of them comes before that, or never.
    :ivar seeker: looks for the next of them.
    :ivar answered: values were taken since: so there is who answers, and may be late.
    """

    def __init__(self, request: Request, until: float, seeker: Seeker) -> None:
        self.request = request
        self.count = 1
        self.until = until
        self.seeker = seeker
        self.answered = False

    def delays(self, request: Request, again: bool) -> bool:
        """See :meth:`Owed.wait`."""
        if self.request == request and isinstance(request, ReadRequest):
            return self.answered and not again
        return _alike(self.request, request)


class Owed:
    """Keeps what is owed, over openings of the port too: a controller does not know of those.

    It relies on this: a request is answered once at most, and not after its time and ``late_s``. It does not rely on an
    order, nor on one answer being as late as another.

    :param clock: all time.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._debts: dict[Request, _Debt] = {}

    def wait(self, request: Request, *, again: bool = False) -> float:
        """How many seconds a request has to wait, since an answer is owed that would pass for the one to it.

        What is owed for the same read is as good: true, if not quite new. A new one waits for it all the same where an
        answer was taken since, for that may be how late the controller is: values would be one cycle old for ever. Of a
        write nobody would know which one was obeyed.

        :param again: the request was sent before, by the same who waits for the answer.
        """
        return max(
            (debt.until - self._clock.seconds() for debt in self._current() if debt.delays(request, again)), default=0.0
        )

    def of_another(self, request: Request) -> bool:
        """Whether an exception could be the one to another request: it says no more than unit and function.

        For a read that does no harm: no value is taken then, and :meth:`taken` sees to it that none is later.
        """
        return any(debt.request != request and _one_function(debt.request, request) for debt in self._current())

    def put(self, request: Request, until: float, seeker: Seeker) -> None:
        """A request was not answered in its time.

        :param until: after that, no answer is reckoned with.
        :param seeker: what has looked for its answer, and may have found the beginning of it.
        """
        debt = _Debt(request, until, seeker)
        if (earlier := self._debts.get(request)) is not None:
            debt.count += earlier.count
            debt.until = max(until, earlier.until)
        self._debts[request] = debt

    def taken(self, request: Request, until: float, *, refused: bool) -> bool:
        """An answer was taken for that to a request: if it may have been one that was owed, another one still is.

        :param refused: it was an exception.
        :return: whether it may have been.
        """
        fits = _one_function if refused else _alike
        rivals = [debt.request for debt in self._current() if fits(debt.request, request)]
        if not rivals:
            return False
        self.put(request, until, _seeker(request))
        self._debts[request].answered = not refused
        if rivals == [request]:  # so that it was one of its own
            self._debts[request].count -= 1
        return True

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
            debt.count -= 1
            if not debt.count:
                del self._debts[debt.request]
        return 1

    def _current(self) -> list[_Debt]:
        now = self._clock.seconds()
        self._debts = {request: debt for request, debt in self._debts.items() if debt.until > now}
        return list(self._debts.values())


def _alike(one: Request, other: Request) -> bool:
    """Whether the answer to one is a frame that could answer the other."""
    return answer_shape(one) == answer_shape(other)


def _one_function(one: Request, other: Request) -> bool:
    """Whether an exception to one would pass for one to the other."""
    return (one.unit, one.function) == (other.unit, other.function)


def _seeker(request: Request) -> Seeker:
    """Looks for a late answer. Where the line may echo, an echo goes before an answer that is equal to it."""
    return Seeker(request, echo=None)
