"""What is counted, as plain integers: they cost nothing on the way of a message and are read when somebody asks."""

from collections import Counter
from collections.abc import MutableMapping

from cmmd.wire.errors import Reason

__all__ = ["Tally"]


class Tally:
    """One daemon's counters since it started. Labels come from fixed sets, never from a peer's text.

    :ivar messages: messages understood, by method.
    :ivar peer_errors: what was not taken, by reason.
    :ivar logins: logins answered, by retcode.
    :ivar uploads: uploads acknowledged, by kind (``full``, ``change``).
    :ivar bytes_received: bytes from devices.
    :ivar bugs: exceptions that were nobody's fault but ours.
    """

    def __init__(self) -> None:
        self.messages: MutableMapping[str, int] = Counter()
        self.peer_errors: MutableMapping[Reason, int] = Counter()
        self.logins: MutableMapping[str, int] = Counter()
        self.uploads: MutableMapping[str, int] = Counter()
        self.bytes_received = 0
        self.bugs = 0
