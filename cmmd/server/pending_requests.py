"""Server-initiated messages and their answers, on one connection (protocol sections 4.6 and 4.8)."""

from collections.abc import Callable
from enum import Enum

from msgspec import UNSET
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cmmd.fleet.devices.presence import Lost, NoAnswer, NotSent
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer, encode

__all__ = ["PendingRequests", "UnmatchedReply"]

MOST_REMEMBERED = 32
"""Round trips that have ended, of one connection, of which it is still known what became of them."""

Message = WriteConfig | Reset
Answer = WriteConfigAnswer | ResetAnswer
SendUnsolicited = Callable[[bytes, Callable[[], bool]], Callable[[], None]]
"""How a message leaves: see ``JSONReceiver.send_unsolicited``."""


class UnmatchedReply(Enum):
    """The kind of an answer that no request waits for; its value is for the log, ``{}`` the method."""

    LATE = "answer to a {} came too late"
    """To what was sent, but is not waited for any more."""
    DUPLICATE = "another answer to a {}"
    """To what has been answered."""
    FOREIGN = "answer to a {} that was not sent on this connection"
    """To nothing that was sent on this connection, as far as is remembered."""


class _PendingRequest:
    """A server-initiated message until it is settled."""

    __slots__ = ("answer", "in_flight", "leaves", "message", "timeout_s", "timer", "withdraw")

    timer: IDelayedCall
    withdraw: Callable[[], None]

    def __init__(self, message: Message, timeout_s: float, leaves: Callable[[], bool]) -> None:
        self.message = message
        self.timeout_s = timeout_s
        self.leaves = leaves
        self.answer: Deferred[Answer]
        self.in_flight = False  # it has been handed to the transport; before, it waits


class PendingRequests:
    """Requests that wait to be sent on one connection, and those in flight. Each ends exactly once.

    Without uids these look the same: resets, and writes of the same frames where the device leaves uids out. Where
    one has had no answer in time and the next is in flight, an answer that comes is taken for the next one's.

    :param clock: for the timeouts.
    :param ours: knows the uids that were given to commands not long ago: an answer with one is for no other command.
    """

    __slots__ = ("_clock", "_ended", "_ours", "_standing")

    def __init__(self, clock: IReactorTime, ours: Callable[[str | None], bool] = lambda _: False) -> None:
        self._clock = clock
        self._ours = ours
        self._standing: dict[object, _PendingRequest] = {}
        self._ended: dict[object, tuple[Message, UnmatchedReply]] = {}  # and what one more answer is; the newest last

    def begin(
        self, message: Message, timeout_s: float, leaves: Callable[[], bool], send_unsolicited: SendUnsolicited
    ) -> Deferred[Answer]:
        """Send a message and take its answer, as ``Attached.round_trip`` says.

        :param send_unsolicited: must not hand the message over before it returns.
        """
        key = _key_of(message)
        if key in self._standing:
            return fail(NotSent("one with the same uid, or another reset, is under way on this connection"))
        trip = self._standing[key] = _PendingRequest(message, timeout_s, leaves)
        trip.answer = Deferred(lambda _: self._cancelled(trip))
        trip.timer = self._clock.callLater(timeout_s, self._overdue, trip)
        trip.withdraw = send_unsolicited(encode(message), lambda: self._leaves(trip))
        return trip.answer

    def _leaves(self, trip: _PendingRequest) -> bool:
        """Ask whether a message may go now; from then on it may have reached the device."""
        if not trip.leaves():
            self._fail(trip, NotSent, "", "it was not to be sent any more")
            return False
        trip.in_flight = True
        trip.timer.reset(trip.timeout_s)
        return True

    def answered(self, answer: Answer) -> UnmatchedReply | None:
        """Give an answer to its request; None: done. Otherwise no request waits for it."""
        found = self._matching(answer)
        if isinstance(found, UnmatchedReply):
            return found
        self._remove(found, UnmatchedReply.DUPLICATE)
        if not found.answer.called:
            found.answer.callback(answer)
        return None

    def _matching(self, answer: Answer) -> _PendingRequest | UnmatchedReply:
        """By uid, a reset by its method; by what is echoed where that says nothing and there is no other choice."""
        key = answer.uid if isinstance(answer, WriteConfigAnswer) else Reset
        standing = self._standing.get(key)
        if standing is not None:
            return standing if standing.in_flight else UnmatchedReply.FOREIGN
        if key in self._ended:
            return self._ended[key][1]
        if isinstance(answer, ResetAnswer):
            return UnmatchedReply.FOREIGN
        if self._ours(answer.uid):
            return UnmatchedReply.LATE  # to a command that went over another connection
        writes = [trip for trip in self._standing.values() if trip.in_flight and isinstance(trip.message, WriteConfig)]
        if len(writes) == 1 and _echoes(answer, writes[0].message):
            return writes[0]
        ended = (stray for message, stray in reversed(self._ended.values()) if _echoes(answer, message))
        return next(ended, UnmatchedReply.FOREIGN) if answer.uid is None else UnmatchedReply.FOREIGN

    def _overdue(self, trip: _PendingRequest) -> None:
        self._fail(trip, NoAnswer, "nothing came in time", "there was no quiet on the connection in time")

    def end(self) -> None:
        """The connection has ended, or nothing is taken from it any more."""
        for trip in tuple(self._standing.values()):
            self._fail(trip, Lost, "the connection ended", "the connection ended before")

    def _fail(
        self, trip: _PendingRequest, unknown: type[NoAnswer | Lost | NotSent], why: str, why_not_sent: str
    ) -> None:
        """Fail a request: its outcome is unknown if it was sent, and ``not sent`` otherwise."""
        if self._standing.get(_key_of(trip.message)) is not trip:  # withdrawn by who heard of another one's end
            return
        self._remove(trip, UnmatchedReply.LATE)
        if not trip.answer.called:
            trip.answer.errback(unknown(why) if trip.in_flight else NotSent(why_not_sent))

    def _cancelled(self, trip: _PendingRequest) -> None:
        """Withdraw it; once sent, it is still waited for, so that its answer is known for what it is."""
        if not trip.in_flight:
            self._remove(trip, UnmatchedReply.LATE)

    def _remove(self, trip: _PendingRequest, further: UnmatchedReply) -> None:
        """Remove a request that has ended.

        :param further: what one more answer would be.
        """
        key = _key_of(trip.message)
        del self._standing[key]
        if trip.timer.active():
            trip.timer.cancel()
        trip.withdraw()
        del trip.timer, trip.withdraw  # they hold the round trip
        if trip.in_flight:
            self._ended.pop(key, None)
            self._ended[key] = (trip.message, further)
            if len(self._ended) > MOST_REMEMBERED:
                del self._ended[next(iter(self._ended))]


def _key_of(message: Message) -> object:
    """Find the key that identifies the answer: its uid; a reset has none."""
    return message.uid if isinstance(message, WriteConfig) else Reset  # ours always has one


def _echoes(answer: WriteConfigAnswer, message: Message) -> bool:
    """Tell whether an answer repeats what was sent: the frames, or port and baud."""
    if isinstance(message, Reset):
        return False
    if message.result is not UNSET:
        return answer.params is not None and _frames(answer.params) == _frames(message.result)
    asked = ((message.modulePort, answer.modulePort), (message.moduleBaud, answer.moduleBaud))
    said = [wanted == echoed for wanted, echoed in asked if wanted is not UNSET]
    return bool(said) and all(said)


def _frames(text: str) -> list[str]:
    """The frames of ``<frame>,1;<frame>,0`` or ``<frame>;<frame>``, however they are written."""
    return ["".join(item.partition(",")[0].split()).upper() for item in text.split(";") if item.strip()]
