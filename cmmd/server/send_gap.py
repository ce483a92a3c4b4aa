"""Delay server-initiated messages so that they never share a segment with an answer (protocol section 1).

Modules parse one object a receive. So these are sent in a pause: ``gap`` seconds after the last write, and once
the device has acknowledged what we wrote. For what it has not, there are two reasons to wait: the kernel may send it
again, together with what follows; and the line may be dead. A command that waits here is known not to have been sent,
one that waits in the kernel might start an engine when the line comes back.
"""

from collections import deque
from collections.abc import Callable

from msgspec import Struct
from twisted.internet.interfaces import IDelayedCall

from cmmd.server.sockets import unacknowledged, unsent

__all__ = ["PATIENCE_S", "SendGap", "UnsolicitedMessage"]

PATIENCE_S = 1.0
"""Seconds that a message waits for a pause that comes by itself; then documents wait until it has left."""
LOOK_AGAIN_S = 0.05
"""Seconds between looks whether the peer's kernel has acknowledged; there is no notification."""
TICK_S = 0.001
"""Less is no waiting: rounding."""


class UnsolicitedMessage(Struct, eq=False):
    """A message that waits for a pause. ``leaves`` is asked directly before; False: it must not be sent any more."""

    message: bytes
    leaves: Callable[[], bool]
    since: float


class SendGap:
    """The server-initiated messages of one connection, from the first that waits until the pause after the last.

    It decides, the receiver does.

    :param gap: seconds. With 0 nothing waits for a pause or an acknowledgement, but for what is unsent.
    :ivar holds_answers: a message was sent, and the pause after it is not over.
    :ivar look: when it is looked at again whether there is a pause.
    """

    __slots__ = ("_gap", "_may_go", "_waiting", "holds_answers", "look")

    def __init__(self, gap: float) -> None:
        self._gap = gap
        self._waiting: deque[UnsolicitedMessage] = deque()
        self._may_go = False
        self.holds_answers = False
        self.look: IDelayedCall | None = None

    def add(self, apart: UnsolicitedMessage) -> None:
        """Count one more message that waits."""
        self._waiting.append(apart)

    def withdraw(self, apart: UnsolicitedMessage) -> None:
        """One waits no more, if it still did."""
        if apart in self._waiting:
            self._waiting.remove(apart)

    def withdraw_all(self) -> None:
        """None waits any more."""
        self._waiting.clear()

    def holds_documents(self, now: float) -> bool:
        """Tell whether the next document has to wait for a pause, since a message has waited for too long."""
        return bool(self._waiting) and now - self._waiting[0].since >= PATIENCE_S

    def patience_left(self, now: float) -> float:
        """Seconds that the first one still waits for an answer that is being found; 0: it waits no longer."""
        left_s = self._waiting[0].since + PATIENCE_S - now if self._waiting else 0.0
        return left_s if left_s >= TICK_S else 0.0

    @property
    def over(self) -> bool:
        """Tell whether none waits, and no answer has to wait for one."""
        return not (self._waiting or self.holds_answers)

    def pause_missing(self, quiet_s: float, handle: object) -> float:
        """Seconds after which it is to be looked at again; 0: now there is a pause.

        :param quiet_s: seconds since all that was written has left.
        :param handle: the socket, where there is one.
        """
        missing = self._gap - quiet_s
        if missing >= TICK_S:
            return missing
        held_by_kernel = unacknowledged(handle) if self._gap else unsent(handle)
        return LOOK_AGAIN_S if held_by_kernel else 0.0

    def let_go(self) -> bool:
        """In a pause: the next one may be taken. False: none waits."""
        self._may_go = bool(self._waiting)
        return self._may_go

    def take(self) -> UnsolicitedMessage | None:
        """The one that is sent now, once a pause; None: there is none. Those that must not go any more are left out."""
        if not self._may_go:
            return None
        self._may_go = False
        while self._waiting:  # some may have been withdrawn in between
            apart = self._waiting.popleft()
            if apart.leaves():
                self.holds_answers = True
                return apart
        return None
