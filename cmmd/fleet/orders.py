"""Orders: commands that are under way to devices, the line in which they wait, and what is sent for them."""

from collections import deque
from typing import Literal

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from cmmd.controllers.commands import Confirmation
from cmmd.controllers.profile import Profile
from cmmd.fleet.confirmation import Watched
from cmmd.store.records import Command
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer
from cmmd.wire.quoting import printable

__all__ = ["Asked", "By", "Line", "Order", "Submitted", "who_text"]

DATATYPE_MODBUS = 1

LONGEST_WHO = 100
"""Characters kept of who asked."""


class By(Struct, frozen=True):
    """Who asks, and by which door he came in."""

    requester: str
    door: str


class Asked(Struct, frozen=True):
    """What is asked of a device; ``kind``, ``request`` and ``name`` as in Command.

    :ivar confirmation: how it shows itself; None: nobody can tell.
    """

    kind: Literal["modbus", "port", "reset"]
    request: str
    name: str | None = None
    confirmation: Confirmation | None = None


def who_text(name: str) -> str:
    """Who asks, as the audit has it: printable, :data:`LONGEST_WHO` characters at most."""
    return printable(name[:LONGEST_WHO]).strip()


class Submitted(Struct):
    """A command that was accepted and is in the audit.

    :ivar command: as it was accepted.
    :ivar ended: fires with the command when its outcome is known, and audited if the store takes it within some
        seconds; it never fails.
    """

    command: Command
    ended: Deferred[Command]


class Order:
    """A command under way.

    :param command: as it was accepted; later as it is now.
    :param timeout_s: seconds to wait for the answer.
    :param confirmation: how it shows itself; None: nobody can tell.
    :param profile: the device's, when it was accepted.
    :ivar message: what is sent for it.
    :ivar audited: it may be sent: its record is durable.
    :ivar sending: fires with the device's answer; None: its turn has not come.
    :ivar watched: waits for it to show itself; None: it has not been sent, or nobody can tell.
    :ivar patience: ends its wait.
    :ivar why_not: why it was taken back.
    :ivar ended: see :class:`Submitted`.
    """

    __slots__ = (
        "audited",
        "command",
        "confirmation",
        "ended",
        "message",
        "patience",
        "profile",
        "sending",
        "timeout_s",
        "watched",
        "why_not",
    )

    def __init__(self, command: Command, timeout_s: float, confirmation: Confirmation | None, profile: Profile) -> None:
        self.command = command
        self.timeout_s = timeout_s
        self.confirmation = confirmation
        self.profile = profile
        self.message = _message_of(command)
        self.audited = False
        self.sending: Deferred[WriteConfigAnswer | ResetAnswer] | None = None
        self.watched: Watched | None = None
        self.patience: IDelayedCall | None = None
        self.why_not = ""
        self.ended: Deferred[Command] = Deferred()


class Line:
    """The orders of one device: the one that is being carried out, and those behind it, in the order they came."""

    __slots__ = ("current", "waiting")

    def __init__(self) -> None:
        self.current: Order | None = None
        self.waiting: deque[Order] = deque()

    def __len__(self) -> int:
        """All of them."""
        return len(self.waiting) + (self.current is not None)


def _message_of(command: Command) -> WriteConfig | Reset:
    """What a device is sent for a command (protocol sections 4.6 and 4.8)."""
    if command.kind == "reset":
        return Reset()
    if command.kind == "modbus":
        return WriteConfig(result=command.request, datatype=DATATYPE_MODBUS, uid=command.uid)
    port, baud = (int(item.partition("=")[2]) for item in command.request.split(","))
    return WriteConfig(modulePort=port, moduleBaud=baud, datatype=DATATYPE_MODBUS, uid=command.uid)
