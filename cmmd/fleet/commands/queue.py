"""Orders: commands that are under way to devices, the line in which they wait, and what is sent for them."""

from collections import deque
from typing import Literal

from msgspec import Struct
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from cmmd.controllers.commands import Confirmation, SignalChanges
from cmmd.controllers.profile import Profile
from cmmd.fleet.commands.verification import Watched
from cmmd.fleet.devices.presence import Attached
from cmmd.store.records import Command
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer
from cmmd.wire.quoting import printable

__all__ = [
    "DATATYPE_MODBUS",
    "STOP",
    "CommandQueue",
    "CommandRequest",
    "PendingCommand",
    "Requester",
    "Sort",
    "Submitted",
    "who_text",
]

STOP = "stop"
"""The name that every profile gives to the command that stops the engine."""

Sort = Literal["stop", "reset", "command"]
"""``stop``: brings the engine to rest, which is never unsafe. ``reset``: restarts the module, and leaves the genset
alone. ``command``: anything else, which may set something in motion."""

DATATYPE_MODBUS = 1

LONGEST_WHO = 100
"""Characters kept of who asked."""


class Requester(Struct, frozen=True):
    """Who asks, and through which door.

    :ivar admin: whether it is an administrator, as far as the door knows roles.
    """

    requester: str
    door: str
    admin: bool = False


class CommandRequest(Struct, frozen=True):
    """What is asked of a device; ``kind``, ``request``, ``name`` and ``overridden`` as in Command.

    :ivar sort: as what it is judged, see :mod:`cmmd.fleet.commands.interlocks`.
    :ivar confirmation: how it shows itself; None: that cannot be told.
    :ivar wiring: port and baud rate, of the kind ``port``.
    """

    kind: Literal["modbus", "port", "reset"]
    request: str
    sort: Sort
    name: str | None = None
    confirmation: Confirmation | None = None
    overridden: str | None = None
    wiring: tuple[int, int] | None = None

    @property
    def toggles(self) -> str | None:
        """The signal that the command turns round; None: what it does depends on no state."""
        return self.confirmation.signal if isinstance(self.confirmation, SignalChanges) else None


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


class PendingCommand:
    """A command under way.

    :param command: as it was accepted; later as it is now.
    :param asked: what was asked.
    :param timeout_s: seconds to wait for the answer.
    :param profile: the device's, when it was accepted.
    :ivar message: what is sent for it.
    :ivar audited: it may be sent: its record is durable, or it is a stop and has waited for that long enough.
    :ivar overdue: it is a stop, and waits no longer for the answer that is under way.
    :ivar carrier: the session that it was given to last; None: to none.
    :ivar sending: fires with the device's answer; None: its turn has not come.
    :ivar watched: waits for it to show itself; None: it has not been sent, or that cannot be told.
    :ivar patience: ends its wait.
    :ivar why_not: why it was cancelled.
    """

    __slots__ = (
        "_followers",
        "asked",
        "audited",
        "carrier",
        "command",
        "message",
        "overdue",
        "patience",
        "profile",
        "sending",
        "timeout_s",
        "watched",
        "why_not",
    )

    def __init__(self, command: Command, asked: CommandRequest, timeout_s: float, profile: Profile) -> None:
        self.command = command
        self.asked = asked
        self.timeout_s = timeout_s
        self.profile = profile
        self.message = _message_of(command, asked)
        self.audited = False
        self.overdue = False
        self.carrier: Attached | None = None
        self.sending: Deferred[WriteConfigAnswer | ResetAnswer] | None = None
        self.watched: Watched | None = None
        self.patience: IDelayedCall | None = None
        self.why_not = ""
        self._followers: list[Deferred[Command]] = []

    @property
    def is_stop(self) -> bool:
        """Whether it brings the engine to rest."""
        return self.asked.sort == "stop"

    def follow(self) -> Submitted:
        """Give one more caller what it needs to hear of the outcome."""
        ended: Deferred[Command] = Deferred()
        self._followers.append(ended)
        return Submitted(self.command, ended)

    def tell_ended(self) -> None:
        """Tell every caller how it has ended."""
        followers, self._followers = self._followers, []
        for one in followers:
            one.callback(self.command)


class CommandQueue:
    """The orders of one device.

    :ivar in_flight: those being carried out: one, or beside one that is not answered in time a stop.
    :ivar stop: a stop whose turn has not come; it goes before all others. None: there is none.
    :ivar waiting: those behind, in the order they came.
    """

    __slots__ = ("in_flight", "stop", "waiting")

    def __init__(self) -> None:
        self.in_flight: list[PendingCommand] = []
        self.stop: PendingCommand | None = None
        self.waiting: deque[PendingCommand] = deque()

    def __len__(self) -> int:
        """Count all of them."""
        return len(self.waiting) + len(self.in_flight) + (self.stop is not None)

    @property
    def unsent_stop(self) -> PendingCommand | None:
        """The stop that has not left yet, which a further one joins; None: there is none."""
        on_its_way = (one for one in self.in_flight if one.is_stop and one.command.sent_at is None)
        return self.stop or next(on_its_way, None)

    def take_out(self, order: PendingCommand) -> None:
        """Take an order out whose turn has not come."""
        if order is self.stop:
            self.stop = None
        else:
            self.waiting.remove(order)


def _message_of(command: Command, asked: CommandRequest) -> WriteConfig | Reset:
    """What a device is sent for a command (protocol sections 4.6 and 4.8)."""
    if command.kind == "reset":
        return Reset()
    if command.kind == "modbus":
        return WriteConfig(result=command.request, datatype=DATATYPE_MODBUS, uid=command.uid)
    assert asked.wiring is not None, "a request of the kind port says which"
    port, baud = asked.wiring
    return WriteConfig(modulePort=port, moduleBaud=baud, datatype=DATATYPE_MODBUS, uid=command.uid)
