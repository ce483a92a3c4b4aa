"""What may happen next on a connection, decided without I/O: which document is handled, which message leaves.

Two state machines, one for each direction, each a table. :class:`Flow` is both of them with the bytes that wait on
either side; ``receiver`` moves bytes between it and the transport. They hold the rules of a connection:

- Documents are handled one after the other, in their order, the next one only when the answer to the last has left.
- One answer a segment (modules parse one object per receive, protocol section 1), so one answer a turn of the reactor.
- A peer that does not read its answers is not read from either.
- A peer that sends a lot at once gets one turn for each answer, or for so many documents without one.
- A server-initiated message shares no segment with an answer: it leaves in a pause, and so does what follows it.
"""

from collections.abc import Mapping
from enum import Enum, auto
from typing import Final

from msgspec import Struct

from cmmd.server.pacing import Apart, Pacing
from cmmd.wire.splitter import Splitter

__all__ = ["INBOUND", "MOST_UNSENT", "OUTBOUND", "Flow", "Inbound", "Limits", "Outbound", "Received", "Sent"]

MOST_UNSENT = 256 * 1024
"""Bytes waiting for a peer to read them; one more message and the connection is dropped."""


class Limits(Struct, frozen=True, kw_only=True):
    """How much of a peer is tolerated. Seconds and bytes; levels of nesting; so many frame errors end a connection.

    ``gap``: quiet before a server-initiated message, and after it.
    """

    idle_timeout: float = 180.0
    login_timeout: float = 30.0
    max_frame: int = 64 * 1024
    max_depth: int = 16
    max_frame_errors: int = 3
    gap: float = 0.2


class Inbound(Enum):
    """The state of the direction from the peer."""

    BETWEEN = auto()
    """Nothing of a document is there: the next segment may be handled at once, without the splitter."""
    WITHIN = auto()
    """Bytes may be there that have not been looked at, or part of a document."""
    ANSWERING = auto()
    """A document is being handled in this turn: its answer may leave at once."""
    DETERMINING = auto()
    """The answer to a document is determined in later turns."""
    ANSWERED = auto()
    """The answer to the document being handled has left in this turn: the next document waits for the next one."""
    YIELDING = auto()
    """Documents are left, and the others have their turn."""
    ENDED = auto()
    """Nothing is taken any more."""


class Received(Enum):
    """An event of the direction from the peer."""

    BYTES = auto()
    """A segment came, to be split."""
    DOCUMENT = auto()
    """A document is looked for, and handled if there is one."""
    ANSWER_LEFT = auto()
    """The answer to it was sent at once."""
    DEFERRED = auto()
    """Its answer takes longer."""
    HANDLED = auto()
    """It has been dealt with."""
    NOT_THERE = auto()
    """More bytes are needed for a document, and some are there."""
    NOTHING = auto()
    """No byte is left."""
    OTHERS_FIRST = auto()
    """The others are to have their turn."""
    TURN = auto()
    """This connection has its turn again."""
    END = auto()
    """The connection is to end."""


class Outbound(Enum):
    """The state of the direction to the peer."""

    UNUSED = auto()
    """Nothing was ever sent."""
    CLEAR = auto()
    """All that was sent has left."""
    SENDING = auto()
    """The transport has a message, and asks for the next one when that has left."""
    PACED = auto()
    """A server-initiated message waits for a pause, or the pause after one is not over."""


class Sent(Enum):
    """An event of the direction to the peer."""

    STARTED = auto()
    """The transport is asked to send."""
    ALL_LEFT = auto()
    """It has sent all there was."""
    ALL_LEFT_PACED = auto()
    """It has, and there is a pause to keep."""
    PACING = auto()
    """A server-initiated message waits."""
    PACING_OVER = auto()
    """None does, and the pause after the last one is over."""


_I, _R, _O, _S = Inbound, Received, Outbound, Sent

INBOUND: Final[Mapping[Inbound, Mapping[Received, Inbound]]] = {
    _I.BETWEEN: {_R.BYTES: _I.WITHIN, _R.DOCUMENT: _I.ANSWERING, _R.END: _I.ENDED},
    _I.WITHIN: {
        _R.BYTES: _I.WITHIN,
        _R.DOCUMENT: _I.ANSWERING,
        _R.OTHERS_FIRST: _I.YIELDING,
        _R.END: _I.ENDED,
    },
    _I.ANSWERING: {
        _R.ANSWER_LEFT: _I.ANSWERED,
        _R.DEFERRED: _I.DETERMINING,
        _R.HANDLED: _I.WITHIN,
        _R.NOT_THERE: _I.WITHIN,
        _R.NOTHING: _I.BETWEEN,
        _R.END: _I.ENDED,
    },
    _I.DETERMINING: {
        _R.BYTES: _I.DETERMINING,
        _R.ANSWER_LEFT: _I.ANSWERED,
        _R.HANDLED: _I.WITHIN,
        _R.END: _I.ENDED,
    },
    _I.ANSWERED: {
        _R.DEFERRED: _I.DETERMINING,
        _R.HANDLED: _I.WITHIN,
        _R.NOTHING: _I.BETWEEN,
        _R.OTHERS_FIRST: _I.YIELDING,
        _R.END: _I.ENDED,
    },
    _I.YIELDING: {_R.BYTES: _I.YIELDING, _R.TURN: _I.WITHIN, _R.END: _I.ENDED},
    _I.ENDED: dict.fromkeys(_R, _I.ENDED),
}
"""The direction from the peer: state, event, next state. What is missing cannot happen."""

OUTBOUND: Final[Mapping[Outbound, Mapping[Sent, Outbound]]] = {
    _O.UNUSED: {_S.STARTED: _O.SENDING, _S.PACING: _O.PACED},
    _O.CLEAR: {_S.STARTED: _O.SENDING, _S.PACING: _O.PACED},
    _O.SENDING: {_S.PACING: _O.SENDING, _S.ALL_LEFT: _O.CLEAR, _S.ALL_LEFT_PACED: _O.PACED},
    _O.PACED: {_S.STARTED: _O.SENDING, _S.PACING: _O.PACED, _S.PACING_OVER: _O.CLEAR},
}
"""The direction to the peer, likewise."""


class Flow:
    """Both directions of one connection.

    :param limits: see there.
    :ivar inbound: the state of the direction from the peer. :ivar outbound: of the direction to it.
    :ivar pacing: the server-initiated messages that wait; None: none does, and none has just gone.
    :ivar peer_closed: the peer sends no more; what it has sent is still answered.
    """

    __slots__ = (
        "_frame_errors",
        "_leaving",
        "_limits",
        "_outbox",
        "_splitter",
        "_unsent",
        "inbound",
        "outbound",
        "pacing",
        "peer_closed",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._splitter: Splitter | None = None  # most connections never need one: a segment is a message
        self._outbox: list[bytes] = []  # nearly always empty, and an empty deque takes 760 bytes
        self._unsent = 0
        self._leaving = 0  # bytes of the message that the transport has
        self._frame_errors = 0
        self.inbound = Inbound.BETWEEN
        self.outbound = Outbound.UNUSED
        self.pacing: Pacing | None = None
        self.peer_closed = False

    def received(self, event: Received) -> None:
        """Go to the next state of the direction from the peer."""
        self.inbound = INBOUND[self.inbound][event]

    def sent(self, event: Sent) -> None:
        """Go to the next state of the direction to the peer."""
        self.outbound = OUTBOUND[self.outbound][event]

    # From the peer.

    def feed(self, segment: bytes) -> None:
        """Take bytes of which the documents have to be found."""
        if self._splitter is None:
            self._splitter = Splitter(self._limits.max_frame, self._limits.max_depth)
        self._splitter.feed(segment)
        self.received(Received.BYTES)

    @property
    def pending(self) -> bool:
        """Whether bytes are held that have not been handled."""
        return self._splitter is not None and self._splitter.pending > 0

    def may_handle(self, now: float) -> bool:
        """Whether the next document may be handled, or has to wait for what is under way."""
        if self.inbound is not Inbound.WITHIN and self.inbound is not Inbound.BETWEEN:
            return False
        if self.outbound is Outbound.SENDING:
            return False
        # An answer waits for the pause after a server-initiated message, or such a message for one before it.
        return self.pacing is None or not (self._outbox or self.pacing.holds_documents(now))

    def next_document(self) -> bytes | None:
        """The next document, to be handled now; None: more bytes are needed.

        :raises FrameError: in place of a document, and to be answered like one.
        """
        self.received(Received.DOCUMENT)
        document = None if self._splitter is None else self._splitter.next_document()
        if document is None:
            if self._splitter is None or self._splitter.between:
                self._splitter = None
                self.received(Received.NOTHING)
            else:
                self.received(Received.NOT_THERE)
        return document

    def too_many_frame_errors(self) -> bool:
        """Count one more; whether the connection is to end with it."""
        self._frame_errors += 1
        return self._frame_errors >= self._limits.max_frame_errors

    # To the peer.

    def queue(self, message: bytes) -> bool:
        """Let an answer wait until it may leave; False: the peer does not read, too much would wait for it."""
        self._unsent += len(message)
        if self._unsent > MOST_UNSENT:
            return False
        self._outbox.append(message)
        return True

    @property
    def may_start(self) -> bool:
        """Whether the transport may be asked to send what waits: an answer keeps the pause after ours."""
        return self.outbound is not Outbound.SENDING and (self.pacing is None or not self.pacing.holds_answers)

    def next_answer(self) -> bytes | None:
        """The answer that leaves next, the one before has left; None: none may."""
        self._unsent -= self._leaving
        self._leaving = 0
        if not self._outbox or (self.pacing is not None and self.pacing.holds_answers):
            return None
        message = self._outbox.pop(0)
        self._leaving = len(message)
        return message

    def next_unsolicited(self) -> Apart | None:
        """The server-initiated message that leaves next, in its pause; None: none may."""
        return None if self.pacing is None else self.pacing.take()

    @property
    def has_unsent(self) -> bool:
        """Whether anything waits to leave, or is leaving."""
        return self.outbound is Outbound.SENDING or bool(self._outbox)

    @property
    def has_answers(self) -> bool:
        """Whether answers wait to leave."""
        return bool(self._outbox)

    def hold(self, apart: Apart) -> None:
        """Let a server-initiated message wait for a pause."""
        if self.pacing is None:
            self.pacing = Pacing(self._limits.gap)
        self.pacing.add(apart)
        self.sent(Sent.PACING)

    def withdraw(self, apart: Apart) -> None:
        """Take a server-initiated message out, if it has not been handed over."""
        if self.pacing is not None:
            self.pacing.withdraw(apart)

    # The end.

    def end(self) -> None:
        """Take nothing any more, and send nothing but the answers that wait."""
        self.received(Received.END)
        self.withdraw_all()

    def withdraw_all(self) -> None:
        """Take all server-initiated messages out that have not been handed over."""
        if self.pacing is not None:
            self.pacing.withdraw_all()

    def clear(self) -> None:
        """Forget what waits: the connection is gone."""
        self.received(Received.END)
        self._outbox.clear()
        self._splitter = self.pacing = None
