"""Commands to devices: one at a time for each, sent at most once, with a known outcome, audited."""

from collections import deque
from collections.abc import Callable

from msgspec.structs import replace
from twisted.internet.defer import CancelledError
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.fleet import allowed
from cmmd.fleet.audit import Audit
from cmmd.fleet.confirmation import Confirmations, Shown, shown_by
from cmmd.fleet.interlocks import Interlocks
from cmmd.fleet.live import Live
from cmmd.fleet.orders import Asked, By, Line, Order, Submitted, who_text
from cmmd.fleet.presence import Lost, NoAnswer, NotSent, Presence
from cmmd.fleet.replies import outcome_of, reply_text
from cmmd.fleet.starts import Starts
from cmmd.fleet.uids import Uids
from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import Command, Device, Outcome
from cmmd.wire.messages import ResetAnswer, WriteConfigAnswer

__all__ = ["LONGEST_WAIT_S", "Dispatch", "NoSuchCommand", "TooLate"]

log = Logger()

LONGEST_WAIT_S = 60.0
"""Seconds after which a command that could not be sent is not: no engine starts when nobody expects it any more."""

LONGEST_AUDIT_S = 5.0
"""Seconds that whoever asked waits for the record of an outcome that is known."""


class NoSuchCommand(LookupError):
    """No command with this number is under way."""


class TooLate(Exception):
    """The command has been sent: it cannot be called back."""


class Dispatch:
    """Carries commands out.

    Nothing is ever sent twice: whatever becomes of a command, it is not tried again. Of one device one command is in
    flight, because a serial bus hangs behind it; the others wait in the order in which they came.

    :param device: gives the registration of a device.
    :param enabled: False: nothing is sent.
    :param timeout_s: for an answer, where nobody says otherwise.
    :param most_waiting: commands that may wait for one device, behind the one in flight.
    :param stood_still: see Interlocks.
    :ivar audit: has every command; to be subscribed to, and read.
    :ivar confirmations: watches for commands to show themselves; to be told of uploads and logins.
    """

    def __init__(
        self,
        *,
        device: Callable[[str], Device | None],
        live: Live,
        presence: Presence,
        audit: Audit,
        uids: Uids,
        clock: IReactorTime,
        enabled: bool,
        timeout_s: float,
        most_waiting: int,
        stood_still: Callable[[], float],
    ) -> None:
        self._interlocks = Interlocks(
            device=device, live=live, presence=presence, enabled=enabled, stood_still=stood_still
        )
        self._live = live
        self.audit = audit
        self._uids = uids
        self._clock = clock
        self._timeout_s = timeout_s
        self._most_waiting = most_waiting
        self._lines: dict[str, Line] = {}
        self._orders: dict[int, Order] = {}
        self._starts = Starts(clock, self._advance)
        self.confirmations = Confirmations(clock)

    # --- to ask ------------------------------------------------------------------------------------------------------

    async def command(self, hostid: str, name: str, by: By, timeout_s: float | None = None) -> Submitted:
        """Have a command of the device's profile carried out.

        :param timeout_s: seconds to wait for the answer; None: as configured. Likewise below.
        :raises NotAllowed: one of its kinds; nothing was sent. Likewise below.
        """
        self._interlocks.check(hostid)
        profile = self._live[hostid].profile
        found = profile.command_by_name.get(name)
        if found is None:
            raise allowed.UnknownCommand(f"{profile.name} has no command {name!r}"[:200])
        return await self._submit(hostid, Asked("modbus", found.frame, name, found.confirmed_by), by, timeout_s)

    async def write(self, hostid: str, frames: str, by: By, timeout_s: float | None = None) -> Submitted:
        """Have Modbus writes carried out.

        :param frames: in hex, separated by ``;``; a CRC is added where there is none.
        """
        self._interlocks.check(hostid)
        return await self._submit(hostid, Asked("modbus", allowed.checked_frames(frames)), by, timeout_s)

    async def port(
        self, hostid: str, module_port: int, module_baud: int, by: By, timeout_s: float | None = None
    ) -> Submitted:
        """Change the module's wiring to the controller, in the codes of protocol section 4.1."""
        self._interlocks.check(hostid)
        allowed.checked_port(module_port, module_baud)
        request = f"modulePort={module_port},moduleBaud={module_baud}"
        return await self._submit(hostid, Asked("port", request), by, timeout_s)

    async def reset(self, hostid: str, by: By, timeout_s: float | None = None) -> Submitted:
        """Restart the module; it is confirmed when it has logged in again."""
        self._interlocks.check(hostid)
        return await self._submit(hostid, Asked("reset", ""), by, timeout_s)

    def blocked(self, hostid: str) -> allowed.NotAllowed | None:
        """What speaks against sending anything to this device now; None: nothing."""
        try:
            self._interlocks.check(hostid)
        except allowed.NotAllowed as error:
            return error
        return None

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
        order.why_not = f"cancelled by {who_text(who)}"
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

    def __len__(self) -> int:
        """Commands under way: waiting, or in flight."""
        return len(self._orders)

    def under_way(self, number: int) -> Command | None:
        """A command that has not ended; None: there is none of this number."""
        order = self._orders.get(number)
        return None if order is None else order.command

    def stop(self) -> None:
        """Send nothing more: what waits ends as ``not sent``. What is in flight ends with its connection."""
        self._interlocks.enabled = False
        for line in tuple(self._lines.values()):
            waiting, line.waiting = line.waiting, deque()
            for order in waiting:
                self._end(order, "not sent", "the server is stopping")
        self._starts.stop()
        self.confirmations.stop()

    # --- the way of one ----------------------------------------------------------------------------------------------

    async def _submit(self, hostid: str, asked: Asked, by: By, timeout_s: float | None) -> Submitted:
        line = self._lines.setdefault(hostid, Line())
        if len(line) > self._most_waiting:
            raise allowed.QueueFull(f"{len(line.waiting)} commands wait for {hostid} already")
        command = self.audit.accepted(hostid, asked, by, self._uids.take())
        order = Order(command, timeout_s or self._timeout_s, asked.confirmation, self._live[hostid].profile)
        line.waiting.append(order)
        self._orders[command.number] = order
        order.patience = self._clock.callLater(LONGEST_WAIT_S, self._waited_too_long, order)
        try:
            await self.audit.open(command).addTimeout(LONGEST_WAIT_S / 2, self._clock)
        except (StoreUnavailable, TimedOut) as error:
            if command.number in self._orders:
                line.waiting.remove(order)
                self._end(order, "not sent", "it could not be audited")  # it may be in the store all the same
                self._advance(hostid)
            raise allowed.NotAudited(str(error) or "the store does not answer") from None
        if command.number in self._orders:
            order.audited = True
            self.audit.tell(command)
            self._advance(hostid)
        return Submitted(command, order.ended)

    def _waited_too_long(self, order: Order) -> None:
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
            if not self._starts.take(hostid):
                return
            order = line.current = line.waiting.popleft()
            self._send(order)
        self._tidy(hostid)

    def _tidy(self, hostid: str) -> None:
        line = self._lines.get(hostid)
        if line is not None and len(line) == 0:
            del self._lines[hostid]

    def _send(self, order: Order) -> None:
        hostid = order.command.hostid
        try:
            carrier = self._interlocks.check(hostid)  # while it waited, things may have changed
            if self._live[hostid].profile is not order.profile and order.command.kind == "modbus":
                raise allowed.UnknownCommand("the device has another controller profile by now")
            sending = carrier.round_trip(order.message, order.timeout_s, lambda: self._sent(order))
        except allowed.NotAllowed as error:
            self._ended(order, "not sent", str(error))
        except Exception:
            self._our_bug(Failure(), order)
        else:
            order.sending = sending
            sending.addCallbacks(self._answered, self._failed, callbackArgs=(order,), errbackArgs=(order,))
            sending.addErrback(self._our_bug, order)

    def _watch(self, order: Order) -> None:
        shown: Shown | None = None
        if order.confirmation is not None:
            shown = shown_by(order.confirmation, self._live[order.command.hostid])
        if shown is not None or order.command.kind == "reset":
            order.watched = self.confirmations.watch(
                order.command.hostid, shown, lambda confirmed: self._confirmed(order, confirmed)
            )

    def _sent(self, order: Order) -> None:
        self._watch(order)
        self._change(order, sent_at=self.audit.now_ms())

    def _confirmed(self, order: Order, confirmed: bool) -> None:
        self._change(order, confirmed=confirmed, confirmed_at=self.audit.now_ms())

    def _change(self, order: Order, **changed: object) -> None:
        order.command = replace(order.command, **changed)
        self.audit.change(order.command)

    def _answered(self, answer: WriteConfigAnswer | ResetAnswer, order: Order) -> None:
        self._ended(order, outcome_of(order.command, answer), reply_text(answer))

    def _failed(self, failure: Failure, order: Order) -> None:
        kind = failure.trap(*_OUTCOMES)
        self._ended(order, _OUTCOMES[kind], order.why_not or str(failure.value) or None)

    def _our_bug(self, failure: Failure, order: Order) -> None:
        """It may have been sent, or not: nobody knows."""
        log.failure("command {number}", failure=failure, number=order.command.number)
        if order.command.number in self._orders:
            self._ended(order, "lost", "internal error")

    def _ended(self, order: Order, outcome: Outcome, reply: str | None) -> None:
        line = self._lines[order.command.hostid]
        line.current = None
        self._end(order, outcome, reply)
        if order.command.kind == "reset" and outcome == "done":
            waiting, line.waiting = line.waiting, deque()
            for one in waiting:
                self._end(one, "not sent", "the module restarts")
        self._advance(order.command.hostid)

    def _end(self, order: Order, outcome: Outcome, reply: str | None) -> None:
        """The outcome of an order is known."""
        command = replace(order.command, outcome=outcome, reply=reply, ended_at=self.audit.now_ms())
        if order.watched is not None and outcome in ("refused", "not sent"):
            order.watched.drop()
            command = replace(command, confirmed=None, confirmed_at=None)  # what was seen was not its doing
        elif order.watched is not None:
            order.watched.ended()
        order.command = command
        del self._orders[command.number]
        self._uids.give_back(command.uid)
        if order.patience is not None and order.patience.active():
            order.patience.cancel()
        written = self.audit.close(command).addTimeout(LONGEST_AUDIT_S, self._clock)
        written.addBoth(lambda _: order.ended.callback(order.command))


_OUTCOMES: dict[type[Exception], Outcome] = {
    NotSent: "not sent",
    CancelledError: "not sent",  # which is done before it is sent only
    NoAnswer: "timeout",
    Lost: "lost",
}
