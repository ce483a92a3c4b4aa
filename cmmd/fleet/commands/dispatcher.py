"""Commands to devices: one at a time for each, sent at most once, with a known outcome, audited."""

from collections.abc import Callable

from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.fleet import errors
from cmmd.fleet.commands.audit import Audit
from cmmd.fleet.commands.interlocks import Interlocks
from cmmd.fleet.commands.queue import (
    UNANSWERED,
    CommandQueue,
    CommandRequest,
    PendingCommand,
    Requester,
    SendRateLimit,
    Sort,
    Submitted,
    Uids,
    outcome_of,
    reply_text,
    who_text,
)
from cmmd.fleet.commands.requests import Acceptance, Request
from cmmd.fleet.commands.stop import StopWay
from cmmd.fleet.commands.verification import Shown, Verifications, shown_by
from cmmd.fleet.devices.presence import Attached, Presence
from cmmd.fleet.errors import NoSuchCommand, TooLate
from cmmd.fleet.telemetry.live import Live
from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import Command, Device, Outcome
from cmmd.wire.messages import ResetAnswer, WriteConfigAnswer

__all__ = ["LONGEST_WAIT_S", "Dispatcher"]

log = Logger()

LONGEST_WAIT_S = 60.0
"""Seconds after which a command that could not be sent is not: no engine starts when it is not expected any more."""


class Dispatcher:
    """Carries out commands, one at a time for each device.

    Nothing is ever sent twice: whatever becomes of a command, it is not tried again. Of one device one command is in
    flight, because a serial bus hangs behind it; the others wait in the order in which they came. A stop overtakes
    them, and beside the one in flight where that is not answered within some seconds.

    :param device: gives the registration of a device.
    :param enabled: False: nothing is sent.
    :param timeout_s: for an answer, by default.
    :param most_waiting: commands that may wait for one device, behind the one in flight.
    :param stood_still: see Interlocks.
    :param raw: False: no raw Modbus frames are written, but those of a stop.
    :ivar audit: has every command; to be subscribed to, and read.
    :ivar confirmations: watches for commands to show themselves; to be notified of uploads and logins.
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
        raw: bool = True,
    ) -> None:
        self._interlocks = Interlocks(
            device=device,
            live=live,
            presence=presence,
            enabled=enabled,
            stood_still=stood_still,
            now_ms=audit.now_ms,
        )
        self._acceptance = Acceptance(live, self._interlocks, raw=raw)
        self._live = live
        self._presence = presence
        self.audit = audit
        self._uids = uids
        self._clock = clock
        self._timeout_s = timeout_s
        self._most_waiting = most_waiting
        self._lines: dict[str, CommandQueue] = {}
        self._orders: dict[int, PendingCommand] = {}
        self._starts = SendRateLimit(clock, self._advance)
        self._stops = StopWay(
            audit=audit,
            presence=presence,
            clock=clock,
            accept=self._accept,
            call_back=self._call_back,
            audited=self._audited,
            advance=self._advance,
        )
        self.confirmations = Verifications(clock)

    # --- to ask ------------------------------------------------------------------------------------------------------

    async def submit(self, hostid: str, request: Request, by: Requester) -> Submitted:
        """Have a device do what a caller requests, at most once.

        A request without a timeout waits for its answer as long as configured.

        :return: when it is accepted, and its record is durable; a stop does not wait for that for long.
        :raises NotAllowed: one of its kinds; nothing was sent.
        """
        asked = self._acceptance.accept(hostid, request, by)
        return await self._submit(hostid, asked, by, request.timeout)

    def is_stop(self, hostid: str, frames: str) -> bool:
        """Tell whether frames are the very frame of the device's stop."""
        return self._acceptance.is_stop(hostid, frames)

    def blocked(self, hostid: str, sort: Sort = "command") -> errors.NotAllowed | None:
        """Find the reason against sending this sort of command to a device now; None: there is none."""
        try:
            self._interlocks.check(hostid, sort)
        except errors.NotAllowed as error:
            return error
        return None

    def cancel(self, number: int, who: str) -> Deferred[Command]:
        """Cancel a command that has not been sent.

        :param who: cancels it, for the audit.
        :return: fires with the command, ended as ``not sent``, when that is recorded, see Submitted.
        :raises TooLate: it has been sent; or it is a stop, on which other callers may rely.
        :raises NoSuchCommand: no command has this number.
        """
        order = self._orders.get(number)
        if order is None:
            raise NoSuchCommand(f"no command {number} is under way")
        ended = order.follow().ended
        if order.is_stop or not self._call_back(order, f"cancelled by {who_text(who)}"):
            raise TooLate(f"command {number} has been sent")
        self._tidy(order.command.hostid)
        return ended

    def _call_back(self, order: PendingCommand, why: str) -> bool:
        """End an order that has not been sent, as ``not sent``; False: it has been sent."""
        line = self._lines[order.command.hostid]
        if order not in line.in_flight:
            line.take_out(order)
            self._end(order, "not sent", why)
            return True
        if order.command.sent_at is not None or order.sending is None:
            return False
        order.why_not = why
        order.sending.cancel()
        return True

    def busy(self, hostid: str) -> bool:
        """Tell whether a command of a device waits or is in flight."""
        return hostid in self._lines

    def __len__(self) -> int:
        """Commands under way: waiting, or in flight."""
        return len(self._orders)

    def reroute(self, hostid: str) -> None:
        """Have a stop that has not left yet go by the session that carries it now, where that is another one."""
        self._stops.reroute(self._lines.get(hostid))

    def under_way(self, number: int) -> Command | None:
        """A command whose end was not told, as it was told last; None: there is none of this number."""
        order = self._orders.get(number)
        return self.audit.as_told(number) or (None if order is None else order.command)

    def stop(self) -> None:
        """Send nothing more: what waits ends as ``not sent``. What is in flight ends with its connection."""
        self._interlocks.enabled = False
        for line in tuple(self._lines.values()):
            if line.stop is not None:
                self._call_back(line.stop, "the server is stopping")
            self._stops.call_back_waiting(line, "the server is stopping")
        self._starts.stop()
        self.confirmations.stop()

    # --- the way of one ----------------------------------------------------------------------------------------------

    async def _submit(self, hostid: str, asked: CommandRequest, by: Requester, timeout_s: float | None) -> Submitted:
        line = self._lines.setdefault(hostid, CommandQueue())
        if asked.sort == "stop":
            return await self._stops.submit(line, hostid, asked, by, timeout_s)
        if len(line) > self._most_waiting:
            raise errors.QueueFull(f"{len(line.waiting)} commands wait for {hostid} already")
        order = self._accept(hostid, asked, by, timeout_s)
        # It gets its place before its record is written, not when that is done: the store answers in any order, and
        # commands are sent in the order in which callers made them.
        line.waiting.append(order)
        order.patience = self._clock.callLater(LONGEST_WAIT_S, self._waited_too_long, order)
        submitted = order.follow()
        try:
            await self.audit.open(order.command).addTimeout(LONGEST_WAIT_S / 2, self._clock)
        except (StoreUnavailable, TimedOut) as error:
            if order.command.number in self._orders:
                self._call_back(order, "it could not be audited")  # it may be in the store all the same
                self._advance(hostid)
            # Without a record nothing would say afterwards who started an engine: so it is refused, not sent without.
            raise errors.NotAudited(str(error) or "the store does not answer") from None
        self._audited(order)
        return submitted

    def _accept(self, hostid: str, asked: CommandRequest, by: Requester, timeout_s: float | None) -> PendingCommand:
        command = self.audit.accepted(hostid, asked, by, self._uids.take())
        order = PendingCommand(command, asked, timeout_s or self._timeout_s, self._live[hostid].profile)
        self._orders[command.number] = order
        return order

    def _audited(self, order: PendingCommand) -> None:
        """Let an order be sent, now that it is recorded, unless it has ended meanwhile."""
        if order.command.number in self._orders and not order.audited:
            order.audited = True
            self.audit.tell(order.command)
            self._advance(order.command.hostid)

    def _waited_too_long(self, order: PendingCommand) -> None:
        """Expire a command that was not sent in its time: its caller does not expect it any more."""
        self._call_back(order, "it waited too long")
        self._tidy(order.command.hostid)

    def _advance(self, hostid: str) -> None:
        """Send what is next, if nothing is in flight. Orders overtake none whose record is being written.

        One at a time although answers have uids: behind the module is a serial bus, which would do them in an order
        that no uid tells, and the commands of a module that answers late would run into each other.
        """
        line = self._lines.get(hostid)
        if line is None:
            return
        stop = line.stop
        if stop is not None:
            if stop.audited and (stop.overdue or not line.in_flight):
                line.stop = None
                self._send(line, stop)
        else:
            while not line.in_flight and line.waiting and line.waiting[0].audited:
                if not self._starts.take(hostid):
                    return
                self._send(line, line.waiting.popleft())
        self._tidy(hostid)

    def _tidy(self, hostid: str) -> None:
        line = self._lines.get(hostid)
        if line is not None and len(line) == 0:
            del self._lines[hostid]

    def _send(self, line: CommandQueue, order: PendingCommand) -> None:
        line.in_flight.append(order)
        try:
            carrier = order.carrier = self._check_again(order)
            # The session sends only after a pause on the line. What is true now can have changed by then, so it asks
            # _leaves in the turn in which the bytes are handed to the transport, and not earlier.
            sending = carrier.round_trip(order.message, order.timeout_s, lambda: self._leaves(order))
        except errors.NotAllowed as error:
            self._ended(order, "not sent", str(error))
        except Exception:
            self._our_bug(Failure(), order)
        else:
            order.sending = sending
            sending.addCallbacks(self._answered, self._failed, callbackArgs=(order,), errbackArgs=(order,))
            sending.addErrback(self._our_bug, order)

    def _check_again(self, order: PendingCommand) -> Attached:
        """Look anew whether an order may be sent: while it waited, things may have changed.

        :return: the session that carries it now.
        :raises NotAllowed: one of its kinds.
        """
        asked = order.asked
        carrier = self._interlocks.check(order.command.hostid, asked.sort, asked.overridden, asked.toggles)
        if not self._acceptance.still_fits(order):
            raise errors.UnknownCommand("the device has another controller profile by now")
        return carrier

    def _leaves(self, order: PendingCommand) -> bool:
        """Look for the last time, directly before an order is handed to the transport, and note that it was sent."""
        try:
            if self._check_again(order) is not order.carrier:
                raise errors.DeviceOffline("another session of the device carries commands by now")
        except errors.NotAllowed as error:
            if not order.is_stop:
                order.why_not = str(error)
            return False
        assert order.carrier is not None, "it is on its way"
        # Noted before the bytes leave: after a crash in between, a command that was never sent counts as sent, which
        # makes its outcome unknown. The other way round a command that was sent could be called "not sent".
        self._watch(order)
        order.command = replace(order.command, sent_at=self.audit.now_ms(), address=order.carrier.peer)
        self.audit.sent(order.command)
        return True

    def _watch(self, order: PendingCommand) -> None:
        shown: Shown | None = None
        if order.asked.confirmation is not None:
            shown = shown_by(order.asked.confirmation, self._live[order.command.hostid])
        if shown is not None or order.command.kind == "reset":
            order.watched = self.confirmations.watch(
                order.command.hostid, shown, lambda confirmed: self._confirmed(order, confirmed)
            )

    def _confirmed(self, order: PendingCommand, confirmed: bool) -> None:
        order.command = replace(order.command, confirmed=confirmed, confirmed_at=self.audit.now_ms())
        self.audit.confirmed(order.command)

    def _answered(self, answer: WriteConfigAnswer | ResetAnswer, order: PendingCommand) -> None:
        reply, address = reply_text(answer), order.command.address
        if not self._presence.at_home(order.command.hostid, address):
            reply += f" (says {address}, which is not where the device logged in from)"
        self._ended(order, outcome_of(order.command, answer), reply)

    def _failed(self, failure: Failure, order: PendingCommand) -> None:
        kind = failure.trap(*UNANSWERED)
        if order.is_stop and UNANSWERED[kind] == "not sent" and not order.why_not and self._stops.other_carrier(order):
            line = self._lines[order.command.hostid]
            line.in_flight.remove(order)
            line.stop, order.sending = order, None  # it never left: there it is the first time that it is sent
            self._advance(order.command.hostid)
            return
        self._ended(order, UNANSWERED[kind], order.why_not or str(failure.value) or None)

    def _our_bug(self, failure: Failure, order: PendingCommand) -> None:
        """End a command after a bug as ``lost``: nothing says whether it was sent, so it is not called "not sent"."""
        log.failure("command {number}", failure=failure, number=order.command.number)
        if order.command.number in self._orders:
            self._ended(order, "lost", "internal error")

    def _ended(self, order: PendingCommand, outcome: Outcome, reply: str | None) -> None:
        line = self._lines[order.command.hostid]
        line.in_flight.remove(order)
        self._end(order, outcome, reply)
        if order.command.kind == "reset" and outcome == "done":
            self._stops.call_back_waiting(line, "the module restarts")
        self._advance(order.command.hostid)

    def _end(self, order: PendingCommand, outcome: Outcome, reply: str | None) -> None:
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
        self.audit.close(command).addCallback(order.tell_ended)
