"""Commands to devices: one at a time for each, sent at most once, with a known outcome, audited."""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import Literal

from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.controllers.commands import Confirmation
from cmmd.controllers.profile import Profile
from cmmd.fleet import allowed
from cmmd.fleet.confirmation import Confirmations, Shown, Watched, shown_by
from cmmd.fleet.events import Events, Kind
from cmmd.fleet.journal import Journal
from cmmd.fleet.live import Live
from cmmd.fleet.presence import Lost, NoAnswer, NotSent, Presence
from cmmd.fleet.replies import outcome_of, reply_text
from cmmd.fleet.uids import Uids
from cmmd.store.interface import IStore, StoreUnavailable
from cmmd.store.records import Command, Device, Outcome, Query
from cmmd.wire.messages import Reset, ResetAnswer, WriteConfig, WriteConfigAnswer

__all__ = ["STARTS_A_TURN", "By", "Dispatch", "NoSuchCommand", "Submitted", "TooLate"]

log = Logger()

DATATYPE_MODBUS = 1
LONGEST_WAIT_S = 60.0
"""Seconds after which a command that could not be sent is not: no engine starts when nobody expects it any more."""

LONGEST_AUDIT_S = 5.0
"""Seconds that whoever asked waits for the record of an outcome that is known."""

STARTS_A_TURN = 4
"""Commands that are sent in one turn of the reactor: where hundreds come at once, answers are looked at in between."""

LONGEST_TEXT = 100
"""Characters kept of who asked."""


class NoSuchCommand(LookupError):
    """No command with this number is under way."""


class TooLate(Exception):
    """The command has been sent: it cannot be called back."""


class By(Struct, frozen=True):
    """Who asks, and by which door he came in."""

    requester: str
    door: str


class Submitted(Struct):
    """A command that was accepted and is in the audit.

    :ivar command: as it was accepted.
    :ivar ended: fires with the command when its outcome is known, and audited if the store takes it within some
        seconds; it never fails.
    """

    command: Command
    ended: Deferred[Command]


class _Order:
    """A command under way.

    :ivar audited: it may be sent: its record is durable.
    :ivar profile: the device's, when it was accepted.
    :ivar patience: ends its wait.
    :ivar why_not: why it was taken back.
    :ivar confirmation: how it shows itself; None: nobody can tell.
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

    def __init__(
        self, command: Command, message: WriteConfig | Reset, timeout_s: float, confirmation: Confirmation | None
    ) -> None:
        self.command = command
        self.message = message
        self.timeout_s = timeout_s
        self.confirmation = confirmation
        self.audited = False
        self.sending: Deferred[WriteConfigAnswer | ResetAnswer] | None = None
        self.watched: Watched | None = None
        self.profile: Profile | None = None
        self.patience: IDelayedCall | None = None
        self.why_not = ""
        self.ended: Deferred[Command] = Deferred()


class _Line:
    """The orders of one device: the one that is being carried out, and those behind it."""

    __slots__ = ("current", "waiting")

    def __init__(self) -> None:
        self.current: _Order | None = None
        self.waiting: deque[_Order] = deque()


class Dispatch:
    """Carries commands out.

    Nothing is ever sent twice: whatever becomes of a command, it is not tried again. Of one device one command is in
    flight, because a serial bus hangs behind it; the others wait in the order in which they came.

    :param device: gives the registration of a device.
    :param enabled: False: nothing is sent.
    :param timeout_s: for an answer, where nobody says otherwise.
    :param most_waiting: commands that may wait for one device, behind the one in flight.
    :param unfinished: commands that were under way when the last process ended: nobody knows what became of them.
    :param last_number: the number of the last command there ever was.
    """

    def __init__(
        self,
        *,
        device: Callable[[str], Device | None],
        live: Live,
        presence: Presence,
        journal: Journal,
        store: IStore,
        events: Events,
        uids: Uids,
        now: Callable[[], float],
        clock: IReactorTime,
        enabled: bool,
        timeout_s: float,
        most_waiting: int,
        unfinished: Iterable[Command] = (),
        last_number: int = 0,
    ) -> None:
        self._device = device
        self._live = live
        self._presence = presence
        self._journal = journal
        self._store = store
        self._events = events
        self._uids = uids
        self._now = now
        self._enabled = enabled
        self._timeout_s = timeout_s
        self._most_waiting = most_waiting
        self._last_number = last_number
        self._lines: dict[str, _Line] = {}
        self._orders: dict[int, _Order] = {}
        self._hooks: list[Callable[[Command], None]] = []
        self._clock = clock
        self._next_turn: IDelayedCall | None = None
        self._starts_left = 0
        self._held_up: dict[str, None] = {}  # devices, in the order in which they came
        self.confirmations = Confirmations(clock)
        for command in unfinished:
            self._close(replace(command, outcome="lost", ended_at=self._now_ms())).addErrback(lambda _: None)

    # --- to ask ------------------------------------------------------------------------------------------------------

    async def command(self, hostid: str, name: str, by: By, timeout_s: float | None = None) -> Submitted:
        """Have a command of the device's profile carried out.

        :param timeout_s: seconds to wait for the answer; None: as configured. Likewise below.
        :raises NotAllowed: one of its kinds; nothing was sent. Likewise below.
        """
        self._check(hostid)
        asked = self._live[hostid].profile.command_by_name.get(name)
        if asked is None:
            raise allowed.UnknownCommand(f"{self._live[hostid].profile.name} has no command {name!r}"[:200])
        return await self._submit(hostid, "modbus", by, timeout_s, asked.frame, name, asked.confirmed_by)

    async def write(self, hostid: str, frames: str, by: By, timeout_s: float | None = None) -> Submitted:
        """Have Modbus writes carried out.

        :param frames: in hex, separated by ``;``; a CRC is added where there is none.
        """
        self._check(hostid)
        return await self._submit(hostid, "modbus", by, timeout_s, allowed.checked_frames(frames))

    async def port(
        self, hostid: str, module_port: int, module_baud: int, by: By, timeout_s: float | None = None
    ) -> Submitted:
        """Change the module's wiring to the controller, in the codes of protocol section 4.1."""
        self._check(hostid)
        allowed.checked_port(module_port, module_baud)
        request = f"modulePort={module_port},moduleBaud={module_baud}"
        return await self._submit(hostid, "port", by, timeout_s, request)

    async def reset(self, hostid: str, by: By, timeout_s: float | None = None) -> Submitted:
        """Restart the module; it is confirmed when it has logged in again."""
        self._check(hostid)
        return await self._submit(hostid, "reset", by, timeout_s, "")

    def cancel(self, number: int, who: str) -> Command:
        """Take a command back that has not been sent.

        :param who: takes it back, for the audit.
        :return: the command, ended as ``not sent``.
        :raises TooLate: it has been sent.
        :raises NoSuchCommand: see there.
        """
        order = self._orders.get(number)
        if order is None:
            raise NoSuchCommand(number)
        line = self._lines[order.command.hostid]
        order.why_not = f"cancelled by {_printable(who)}"
        if order is line.current:
            if order.command.sent_at is not None or order.sending is None:
                order.why_not = ""
                raise TooLate(number)
            order.sending.cancel()
            return order.command
        line.waiting.remove(order)
        self._end(order, "not sent", order.why_not)
        self._tidy(order.command.hostid)
        return order.command

    def under_way(self, number: int) -> Command | None:
        """A command that has not ended; None: there is none of this number."""
        order = self._orders.get(number)
        return None if order is None else order.command

    async def page(self, query: Query) -> list[Command]:
        """Commands of the audit, in the order of time; they may be a moment behind.

        :raises StoreUnavailable: see IStore.
        """
        return await self._store.commands(query)

    def subscribe(self, hook: Callable[[Command], None]) -> Callable[[], None]:
        """Be told of every change of every command.

        :return: call it to be told no more.
        """
        self._hooks.append(hook)

        def unsubscribe() -> None:
            if hook in self._hooks:
                self._hooks.remove(hook)

        return unsubscribe

    def stop(self) -> None:
        """Send nothing more: what waits ends as ``not sent``. What is in flight ends with its connection."""
        self._enabled = False
        for line in tuple(self._lines.values()):
            waiting, line.waiting = line.waiting, deque()
            for order in waiting:
                self._end(order, "not sent", "the server is stopping")
        if self._next_turn is not None:
            self._next_turn.cancel()
            self._next_turn = None
        self.confirmations.stop()

    # --- interlocks --------------------------------------------------------------------------------------------------

    def _check(self, hostid: str) -> None:
        """Everything that speaks against sending anything to this device now.

        :raises NotAllowed: one of its kinds.
        """
        device = self._device(hostid)
        if device is None:
            raise allowed.UnknownDevice("no such device is registered")
        if not self._enabled:
            raise allowed.CommandsDisabled("commands are disabled in the configuration, or the server is stopping")
        if not device.enabled:
            raise allowed.DeviceDisabled(f"{hostid} is disabled")
        if self._presence.carrier(hostid) is None:
            raise allowed.DeviceOffline(f"{hostid} is offline")
        allowed.check_remote_control(self._live[hostid])

    # --- the way of one ----------------------------------------------------------------------------------------------

    async def _submit(
        self,
        hostid: str,
        kind: Literal["modbus", "port", "reset"],
        by: By,
        timeout_s: float | None,
        request: str,
        name: str | None = None,
        confirmation: Confirmation | None = None,
    ) -> Submitted:
        line = self._lines.setdefault(hostid, _Line())
        if len(line.waiting) + (line.current is not None) > self._most_waiting:
            raise allowed.QueueFull(f"{len(line.waiting)} commands wait for {hostid} already")
        self._last_number += 1
        command = Command(
            number=self._last_number,
            hostid=hostid,
            kind=kind,
            name=name,
            request=request,
            requester=_printable(by.requester),
            door=by.door,
            uid=self._uids.take(),
            accepted_at=self._now_ms(),
        )
        order = _Order(command, _message(command), timeout_s or self._timeout_s, confirmation)
        order.profile = self._live[hostid].profile
        line.waiting.append(order)
        self._orders[command.number] = order
        order.patience = self._clock.callLater(LONGEST_WAIT_S, self._waited_too_long, order)
        try:
            await self._journal.add_durable(command, urgent=True).addTimeout(LONGEST_WAIT_S / 2, self._clock)
        except (StoreUnavailable, TimedOut) as error:
            if command.number in self._orders:
                line.waiting.remove(order)
                self._end(order, "not sent", "it could not be audited")  # it may be in the store all the same
                self._advance(hostid)
            raise allowed.NotAudited(str(error) or "the store does not answer") from None
        if command.number in self._orders:
            order.audited = True
            self._tell(command)
            self._advance(hostid)
        return Submitted(command, order.ended)

    def _waited_too_long(self, order: _Order) -> None:
        """What could not be sent in its time is not sent when nobody expects it any more."""
        line = self._lines[order.command.hostid]
        if order is line.current:
            if order.command.sent_at is None and order.sending is not None:
                order.why_not = "it waited too long"
                order.sending.cancel()
            return
        line.waiting.remove(order)
        self._end(order, "not sent", "it waited too long")
        self._tidy(order.command.hostid)

    def _advance(self, hostid: str) -> None:
        """Send what is next, if nothing is in flight. Orders overtake none whose record is being written."""
        line = self._lines.get(hostid)
        if line is None:
            return
        while line.current is None and line.waiting and line.waiting[0].audited:
            if not self._may_start(hostid):
                return
            order = line.current = line.waiting.popleft()
            self._send(order)
        self._tidy(hostid)

    def _may_start(self, hostid: str) -> bool:
        """Whether another command may be sent in this turn of the reactor; else the device is remembered."""
        if self._next_turn is None:
            self._next_turn = self._clock.callLater(0, self._start_more)
            self._starts_left = STARTS_A_TURN
        if self._starts_left > 0:
            self._starts_left -= 1
            return True
        self._held_up[hostid] = None
        return False

    def _start_more(self) -> None:
        self._next_turn = None
        for hostid in list(islice(self._held_up, STARTS_A_TURN)):
            del self._held_up[hostid]
            self._advance(hostid)
        if self._held_up and self._next_turn is None:  # nothing of those was to be sent
            self._next_turn = self._clock.callLater(0, self._start_more)
            self._starts_left = STARTS_A_TURN

    def _tidy(self, hostid: str) -> None:
        line = self._lines.get(hostid)
        if line is not None and line.current is None and not line.waiting:
            del self._lines[hostid]

    def _send(self, order: _Order) -> None:
        hostid = order.command.hostid
        try:
            self._check(hostid)  # while it waited, things may have changed
            if self._live[hostid].profile is not order.profile and order.command.kind == "modbus":
                raise allowed.UnknownCommand("the device has another controller profile by now")
            carrier = self._presence.carrier(hostid)
            assert carrier is not None, "it was just there"
            sending = carrier.round_trip(order.message, order.timeout_s, lambda: self._sent(order))
        except allowed.NotAllowed as error:
            self._ended(order, "not sent", str(error))
        except Exception:
            self._our_bug(Failure(), order)
        else:
            order.sending = sending
            sending.addCallbacks(self._answered, self._failed, callbackArgs=(order,), errbackArgs=(order,))
            sending.addErrback(self._our_bug, order)

    def _watch(self, order: _Order) -> None:
        shown: Shown | None = None
        if order.confirmation is not None:
            shown = shown_by(order.confirmation, self._live[order.command.hostid])
        if shown is not None or order.command.kind == "reset":
            order.watched = self.confirmations.watch(
                order.command.hostid, shown, lambda confirmed: self._confirmed(order, confirmed)
            )

    def _sent(self, order: _Order) -> None:
        self._watch(order)
        self._change(order, replace(order.command, sent_at=self._now_ms()))

    def _answered(self, answer: WriteConfigAnswer | ResetAnswer, order: _Order) -> None:
        self._ended(order, outcome_of(order.command, answer), reply_text(answer))

    def _failed(self, failure: Failure, order: _Order) -> None:
        kind = failure.trap(*_OUTCOMES)
        self._ended(order, _OUTCOMES[kind], order.why_not or str(failure.value) or None)

    def _our_bug(self, failure: Failure, order: _Order) -> None:
        """It may have been sent, or not: nobody knows."""
        log.failure("command {number}", failure=failure, number=order.command.number)
        if order.command.number in self._orders:
            self._ended(order, "lost", "internal error")

    def _ended(self, order: _Order, outcome: Outcome, reply: str | None) -> None:
        line = self._lines[order.command.hostid]
        line.current = None
        self._end(order, outcome, reply)
        if order.command.kind == "reset" and outcome == "done":
            waiting, line.waiting = line.waiting, deque()
            for one in waiting:
                self._end(one, "not sent", "the module restarts")
        self._advance(order.command.hostid)

    def _end(self, order: _Order, outcome: Outcome, reply: str | None) -> None:
        """The outcome of an order is known."""
        command = replace(order.command, outcome=outcome, reply=reply, ended_at=self._now_ms())
        if order.watched is not None and outcome in ("refused", "not sent"):
            order.watched.drop()
            command = replace(command, confirmed=None, confirmed_at=None)  # what was seen was not its doing
        elif order.watched is not None:
            order.watched.ended()
        order.command = command
        self._forget(order)
        if order.patience is not None and order.patience.active():
            order.patience.cancel()
        written = self._close(command).addTimeout(LONGEST_AUDIT_S, self._clock)
        written.addBoth(lambda _: order.ended.callback(order.command))

    def _forget(self, order: _Order) -> None:
        del self._orders[order.command.number]
        self._uids.give_back(order.command.uid)

    def _close(self, command: Command) -> Deferred[None]:
        """Audit the end of a command, and tell it.

        :return: fires when that is durable; fails where it is not yet, and will be sooner or later.
        """
        self._tell(command)
        self._events.emit(
            Kind.COMMANDED,
            command.hostid,
            command=command.number,
            name=command.name or command.kind,
            requester=command.requester,
            outcome=command.outcome,
        )
        return self._journal.add_durable(command, urgent=True, stays=True)

    def _confirmed(self, order: _Order, confirmed: bool) -> None:
        self._change(order, replace(order.command, confirmed=confirmed, confirmed_at=self._now_ms()))

    def _change(self, order: _Order, command: Command) -> None:
        order.command = command
        self._journal.add(command)
        self._tell(command)

    def _tell(self, command: Command) -> None:
        for hook in tuple(self._hooks):
            try:
                hook(command)
            except Exception:
                log.failure("while telling of command {number}", number=command.number)

    def _now_ms(self) -> int:
        return int(self._now() * 1000)


_OUTCOMES: dict[type[Exception], Outcome] = {
    NotSent: "not sent",
    CancelledError: "not sent",  # which is done before it is sent only
    NoAnswer: "timeout",
    Lost: "lost",
}


def _message(command: Command) -> WriteConfig | Reset:
    if command.kind == "reset":
        return Reset()
    if command.kind == "modbus":
        return WriteConfig(result=command.request, datatype=DATATYPE_MODBUS, uid=command.uid)
    port, baud = (int(item.partition("=")[2]) for item in command.request.split(","))
    return WriteConfig(modulePort=port, moduleBaud=baud, datatype=DATATYPE_MODBUS, uid=command.uid)


def _printable(text: str) -> str:
    return "".join(character if character.isprintable() else " " for character in text[:LONGEST_TEXT]).strip()
