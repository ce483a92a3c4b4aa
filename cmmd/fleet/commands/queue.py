"""The queue of a device's commands: requests, commands under way, their outcome, and the limit of sends a turn."""

from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import islice
from random import Random
from typing import Literal

from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from cmmd.controllers.entries import Confirmation, SignalChanges
from cmmd.controllers.profile import Profile
from cmmd.fleet.commands.verification import Watched
from cmmd.fleet.devices.presence import Attached, Lost, NoAnswer, NotSent
from cmmd.fleet.errors import QueueFull
from cmmd.fleet.roles import Role
from cmmd.modbus.frames import ExceptionResponse, ModbusFrameError, parse_response
from cmmd.store.records import Command, Outcome
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer
from cmmd.wire.quoting import printable

__all__ = [
    "DATATYPE_MODBUS",
    "LONGEST_REPLY",
    "STARTS_A_TURN",
    "STOP",
    "UNANSWERED",
    "CommandQueue",
    "CommandRequest",
    "PendingCommand",
    "Requester",
    "SendRateLimit",
    "Sort",
    "Submitted",
    "Uids",
    "outcome_of",
    "reply_text",
    "who_text",
]

STARTS_A_TURN = 4
"""Commands that are sent in one turn of the reactor: where hundreds come at once, answers are looked at in between."""


class SendRateLimit:
    """Lets :data:`STARTS_A_TURN` commands start in a turn of the reactor, and remembers whose have to wait.

    :param clock: for the next turn.
    :param start: called for each device that had to wait, when there is room; it asks again.
    """

    def __init__(self, clock: IReactorTime, start: Callable[[str], None]) -> None:
        self._clock = clock
        self._start = start
        self._left = 0
        self._next_turn: IDelayedCall | None = None
        self._held_up: dict[str, None] = {}  # devices, in the order in which they came

    def take(self, hostid: str) -> bool:
        """Tell whether another command may be sent in this turn of the reactor; else the device is remembered."""
        if self._next_turn is None:
            self._begin()
        if self._left > 0:
            self._left -= 1
            return True
        self._held_up[hostid] = None
        return False

    def stop(self) -> None:
        """Start nothing more by itself."""
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None

    def _begin(self) -> None:
        self._next_turn = self._clock.callLater(0, self._start_more)
        self._left = STARTS_A_TURN

    def _start_more(self) -> None:
        self._next_turn = None
        for hostid in list(islice(self._held_up, STARTS_A_TURN)):
            del self._held_up[hostid]
            self._start(hostid)
        if self._held_up and self._next_turn is None:  # nothing of those was to be sent
            self._begin()


LONGEST_REPLY = 1000
"""Characters kept of an answer."""


def reply_text(answer: WriteConfigAnswer | ResetAnswer) -> str:
    """Format an answer of a device, printable, for people and the audit."""
    if isinstance(answer, ResetAnswer):
        return "reset"
    if answer.params is None:
        return f"modulePort={answer.modulePort},moduleBaud={answer.moduleBaud}"
    return printable(answer.params[:LONGEST_REPLY])


def outcome_of(command: Command, answer: WriteConfigAnswer | ResetAnswer) -> Outcome:
    """Find the outcome of a command from its answer.

    :return: ``done`` where every frame, or the port, that was sent is echoed, frames with a 1; ``refused`` where any
        has a 0, or is answered with a Modbus exception. ``lost`` where the answer says neither: the outcome is unknown.
    """
    if isinstance(answer, ResetAnswer):
        return "done"
    if not (answer.params or "").strip():
        port = f"modulePort={answer.modulePort},moduleBaud={answer.moduleBaud}"
        return "done" if command.kind == "port" and port == command.request else "lost"
    items = [item for part in (answer.params or "").split(";") if (item := "".join(part.split()))]
    said = [item.rpartition(",") for item in items]
    if any(flag == "0" or _is_exception(frame) for frame, _, flag in said):
        return "refused"
    echoed = [frame.upper() for frame, _, flag in said if flag == "1"]
    return "done" if command.kind == "modbus" and echoed == command.request.split(";") else "lost"


def _is_exception(frame: str) -> bool:
    try:
        return isinstance(parse_response(frame), ExceptionResponse)
    except ModbusFrameError:
        return False


STOP = "stop"
"""The name that every profile gives to the command that stops the engine."""

Sort = Literal["stop", "reset", "command"]
"""``stop``: brings the engine to rest, which is never unsafe. ``reset``: restarts the module, and leaves the genset
alone. ``command``: anything else, which may set something in motion."""

DATATYPE_MODBUS = 1

LONGEST_WHO = 100
"""Characters kept of who asked."""


class Requester(Struct, frozen=True):
    """The caller of an operation, and the door that the call came through.

    :ivar role: as far as the door knows roles.
    """

    requester: str
    door: str
    role: Role = "operator"

    @property
    def admin(self) -> bool:
        """Tell whether the caller is an administrator."""
        return self.role == "admin"


class CommandRequest(Struct, frozen=True):
    """A request to a device; ``kind``, ``request``, ``name`` and ``overridden`` as in Command.

    :ivar sort: as what it is judged, see :mod:`cmmd.fleet.commands.interlocks`.
    :ivar confirmation: how it shows itself; None: that is unknown.
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
    """Clean a requester's name for the audit: printable, :data:`LONGEST_WHO` characters at most."""
    return printable(name[:LONGEST_WHO]).strip()


class Submitted(Struct):
    """A command that was accepted and is in the audit.

    :ivar command: as it was accepted.
    :ivar ended: fires with the command when its outcome is known and durable; where the store does not take it within
        some seconds, as UnrecordedCommand. It never fails.
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
    :ivar watched: waits for it to show itself; None: it has not been sent, or that is unknown.
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
        """Tell whether it brings the engine to rest."""
        return self.asked.sort == "stop"

    def follow(self) -> Submitted:
        """Give one more caller what it needs to hear of the outcome."""
        ended: Deferred[Command] = Deferred()
        self._followers.append(ended)
        return Submitted(self.command, ended)

    def tell_ended(self, command: Command) -> None:
        """Tell every caller how it has ended.

        :param command: as it is told.
        """
        followers, self._followers = self._followers, []
        for one in followers:
            one.callback(command)


class CommandQueue:
    """The orders of one device.

    :ivar in_flight: those being carried out: one, or beside one that is not answered in time a stop.
    :ivar stop: a stop whose turn has not come; it overtakes all others. None: there is none.
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
    """Build the message to a device for a command (protocol sections 4.6 and 4.8)."""
    if command.kind == "reset":
        return Reset()
    if command.kind == "modbus":
        return WriteConfig(result=command.request, datatype=DATATYPE_MODBUS, uid=command.uid)
    assert asked.wiring is not None, "a request of the kind port says which"
    port, baud = asked.wiring
    return WriteConfig(modulePort=port, moduleBaud=baud, datatype=DATATYPE_MODBUS, uid=command.uid)


UNANSWERED: dict[type[Exception], Outcome] = {
    NotSent: "not sent",
    CancelledError: "not sent",  # which is done before it is sent only
    NoAnswer: "timeout",
    Lost: "lost",
}
"""The outcome of a command without an answer, by what happened instead."""


FIRST, LAST = 100_000, 999_999
REMEMBERED = 20_000


class Uids:
    """Gives out six decimal digits that no other command in flight has.

    They go round, from a random one on: a uid comes again as late as may be, so that a late answer to a command finds
    no other command with its uid, not even that of a daemon that has just started.

    :param random: decides the first one.
    """

    def __init__(self, random: Random) -> None:
        self._next = random.randint(FIRST, LAST)
        self._in_flight: set[str] = set()
        self._given: OrderedDict[str, None] = OrderedDict()

    def take(self) -> str:
        """A uid, until it is given back.

        :raises QueueFull: every uid is in use.
        """
        if len(self._in_flight) > LAST - FIRST:
            raise QueueFull("too many commands are under way")
        while True:
            uid = str(self._next)
            self._next = self._next + 1 if self._next < LAST else FIRST
            if uid not in self._in_flight:
                self._in_flight.add(uid)
                self._given[uid] = None
                if len(self._given) > REMEMBERED:
                    self._given.popitem(last=False)
                return uid

    def ours(self, uid: str | None) -> bool:
        """Tell whether it was given to a command not long ago: its answer is for that one and for no other."""
        return uid in self._given

    def give_back(self, uid: str) -> None:
        """Release the uid of a command that has ended."""
        self._in_flight.discard(uid)
