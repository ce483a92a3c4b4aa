"""The next step of a connection, decided without I/O: which document is handled, which message leaves.

There are two state machines, one for each direction, each a table. :class:`Flow` is both of them with the bytes that
wait on either side; ``receiver`` moves bytes between it and the transport. They hold the rules of a connection:

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

from cmmd.server.foreign import ForeignProtocols
from cmmd.server.send_gap import SendGap, UnsolicitedMessage
from cmmd.wire.splitter import Splitter

__all__ = ["INBOUND", "MOST_UNSENT", "OUTBOUND", "Flow", "Inbound", "Limits", "Outbound", "Received", "Sent"]

MOST_UNSENT = 256 * 1024
"""Bytes waiting for a peer to read them; one more message and the connection is dropped."""


class Limits(Struct, frozen=True, kw_only=True):
    """Limits of one peer, in seconds, bytes and levels of nesting; so many frame errors end a connection.

    ``gap``: seconds without a message before a server-initiated message, and after it.
    """

    idle_timeout: float = 180.0
    login_timeout: float = 30.0
    max_frame: int = 64 * 1024
    max_depth: int = 16
    max_frame_errors: int = 3
    gap: float = 0.2


class Inbound(Enum):
    """The state of the direction from the peer."""

    __hash__ = object.__hash__  # that of Enum is written in Python: 0.3 µs for each look in a table

    BETWEEN = auto()
    """No part of a document has come: the next segment can be handled at once, without the splitter."""
    WITHIN = auto()
    """Bytes have come that have not been split yet, or part of a document."""
    ANSWERING = auto()
    """A document is handled in this turn: its answer can leave at once."""
    DETERMINING = auto()
    """The answer to a document is determined in later turns."""
    ANSWERED = auto()
    """The answer to the document being handled has left in this turn: the next document waits for the next one."""
    YIELDING = auto()
    """Documents are left, and other connections have their turn."""
    ENDED = auto()
    """Bytes that still come are dropped."""


class Received(Enum):
    """An event of the direction from the peer."""

    __hash__ = object.__hash__  # that of Enum is written in Python: 0.3 µs for each look in a table

    BYTES = auto()
    """A segment came that has to be split."""
    DOCUMENT = auto()
    """The next document is taken from the splitter, to be handled."""
    ANSWER_LEFT = auto()
    """The answer to the document was sent at once."""
    DEFERRED = auto()
    """The answer to the document takes longer than this turn."""
    HANDLED = auto()
    """The document has been handled, with or without an answer."""
    NOT_THERE = auto()
    """A document is incomplete: more bytes are needed."""
    NOTHING = auto()
    """No byte of a document is left."""
    OTHERS_FIRST = auto()
    """Other connections are to have their turn first."""
    TURN = auto()
    """This connection has its turn again."""
    END = auto()
    """The connection is to end."""


class Outbound(Enum):
    """The state of the direction to the peer."""

    __hash__ = object.__hash__  # that of Enum is written in Python: 0.3 µs for each look in a table

    UNUSED = auto()
    """No message was ever sent."""
    CLEAR = auto()
    """Every message that was sent has left."""
    SENDING = auto()
    """The transport has a message, and asks for the next one when that has left."""
    PACED = auto()
    """A server-initiated message waits for a pause, or the pause after one is not finished."""


class Sent(Enum):
    """An event of the direction to the peer."""

    __hash__ = object.__hash__  # that of Enum is written in Python: 0.3 µs for each look in a table

    STARTED = auto()
    """The transport is asked to send."""
    ALL_LEFT = auto()
    """The transport has sent every message."""
    ALL_LEFT_PACED = auto()
    """The transport has sent every message, and a pause has to be kept."""
    PACING = auto()
    """A server-initiated message has to wait for a pause."""
    PACING_OVER = auto()
    """No server-initiated message waits, and the pause after the last one is finished."""


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
"""The direction from the peer: state, event, next state. A missing pair cannot happen and raises KeyError."""

OUTBOUND: Final[Mapping[Outbound, Mapping[Sent, Outbound]]] = {
    # An answer that leaves at once is ALL_LEFT: nothing is sending before it or after it.
    _O.UNUSED: {_S.STARTED: _O.SENDING, _S.PACING: _O.PACED, _S.ALL_LEFT: _O.CLEAR},
    _O.CLEAR: {_S.STARTED: _O.SENDING, _S.PACING: _O.PACED, _S.ALL_LEFT: _O.CLEAR},
    _O.SENDING: {_S.PACING: _O.SENDING, _S.ALL_LEFT: _O.CLEAR, _S.ALL_LEFT_PACED: _O.PACED},
    _O.PACED: {_S.STARTED: _O.SENDING, _S.PACING: _O.PACED, _S.PACING_OVER: _O.CLEAR},
}
"""The direction to the peer: state, event, next state, as above."""


class Flow:
    """Both directions of one connection, with the bytes that wait.

    :param limits: bounds of frames, nesting and frame errors, and the gap around server-initiated messages.
    :ivar protocols: recognizes protocols that are not the devices' in the bytes from the peer.
    :ivar inbound: the state of the direction from the peer.
    :ivar outbound: the state of the direction to the peer.
    :ivar pacing: the server-initiated messages that wait; None: none waits, and none has just been sent.
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
        "protocols",
    )

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._splitter: Splitter | None = None  # most connections never need one: a segment is a message
        self._outbox: list[bytes] = []  # nearly always empty, and an empty deque takes 760 bytes
        self._unsent = 0
        self._leaving = 0  # bytes of the message that the transport has
        self._frame_errors = 0
        self.protocols = ForeignProtocols()
        self.inbound = Inbound.BETWEEN
        self.outbound = Outbound.UNUSED
        self.pacing: SendGap | None = None
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
    def held_bytes(self) -> int:
        """Count the bytes that are held until the rest of their message comes, or until it is handled."""
        return 0 if self._splitter is None else self._splitter.pending

    @property
    def pending(self) -> bool:
        """Tell whether bytes are held that have not been handled."""
        return self._splitter is not None and self._splitter.pending > 0

    def may_handle(self, now: float) -> bool:
        """Tell whether the next document can be handled now, or has to wait for the answer before it or a pause."""
        if self.inbound is not Inbound.WITHIN and self.inbound is not Inbound.BETWEEN:
            return False
        if self.outbound is Outbound.SENDING:
            return False
        # An answer waits for the pause after a server-initiated message, or such a message for one before it.
        return self.pacing is None or not (self._outbox or self.pacing.holds_documents(now))

    def next_document(self) -> bytes | None:
        """Take the next document, to be handled now; None: more bytes are needed.

        :raises FrameError: in place of a document; it is answered like one.
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
        """Count one more frame error and tell whether the connection is to end."""
        self._frame_errors += 1
        return self._frame_errors >= self._limits.max_frame_errors

    # To the peer.

    def queue(self, message: bytes) -> bool:
        """Let an answer wait until it can leave; False: the peer does not read, too many bytes would wait."""
        self._unsent += len(message)
        if self._unsent > MOST_UNSENT:
            return False
        self._outbox.append(message)
        return True

    @property
    def may_start(self) -> bool:
        """Tell whether the transport can be asked to send: answers keep the pause after a server-initiated message."""
        return self.outbound is not Outbound.SENDING and (self.pacing is None or not self.pacing.holds_answers)

    def next_answer(self) -> bytes | None:
        """Take the answer that leaves next, after the one before has left; None: no answer can leave."""
        self._unsent -= self._leaving
        self._leaving = 0
        if not self._outbox or (self.pacing is not None and self.pacing.holds_answers):
            return None
        message = self._outbox.pop(0)
        self._leaving = len(message)
        return message

    def next_unsolicited(self) -> UnsolicitedMessage | None:
        """Take the server-initiated message that leaves next, in its pause; None: no such message can leave."""
        return None if self.pacing is None else self.pacing.take()

    @property
    def has_unsent(self) -> bool:
        """Tell whether a message waits to leave, or is leaving."""
        return self.outbound is Outbound.SENDING or bool(self._outbox)

    @property
    def has_answers(self) -> bool:
        """Tell whether answers wait to leave."""
        return bool(self._outbox)

    def hold(self, apart: UnsolicitedMessage) -> None:
        """Let a server-initiated message wait for a pause."""
        if self.pacing is None:
            self.pacing = SendGap(self._limits.gap)
        self.pacing.add(apart)
        self.sent(Sent.PACING)

    def withdraw(self, apart: UnsolicitedMessage) -> None:
        """Withdraw a server-initiated message that has not been handed to the transport."""
        if self.pacing is not None:
            self.pacing.withdraw(apart)

    # The end.

    def end(self) -> None:
        """Drop further bytes, and send only the answers that wait already."""
        self.received(Received.END)
        self.withdraw_all()

    def withdraw_all(self) -> None:
        """Withdraw all server-initiated messages that have not been handed to the transport."""
        if self.pacing is not None:
            self.pacing.withdraw_all()

    def clear(self) -> None:
        """Forget all waiting bytes: the connection is gone."""
        self.received(Received.END)
        self._outbox.clear()
        self._splitter = self.pacing = None
