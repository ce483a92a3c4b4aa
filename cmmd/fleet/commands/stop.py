"""The way of a stop: before what waits, beside what is in flight, and recorded as soon as that is possible."""

from collections.abc import Callable

from twisted.internet.defer import TimeoutError as TimedOut
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from cmmd.fleet.commands.audit import Audit
from cmmd.fleet.commands.queue import CommandQueue, CommandRequest, PendingCommand, Requester, Submitted
from cmmd.fleet.devices.presence import Presence
from cmmd.store.interface import StoreUnavailable

__all__ = ["OVERTAKEN", "STOP_WAITS_S", "StopWay"]

log = Logger()

STOP_WAITS_S = 5.0
"""Seconds that a stop waits for the answer to a command that is in flight."""

STOP_AUDIT_S = 1.0
"""Seconds that a stop waits for its record; then it is sent, and recorded as soon as the store takes it."""

OVERTAKEN = "a stop came first"
"""Why a command was not sent that waited when a stop was asked."""


class StopWay:
    """Lets a stop overtake other commands. It refuses nothing: acceptance has decided that already.

    :param accept: makes a command of a request, and numbers it.
    :param call_back: ends a command as ``not sent``; False: it has been sent.
    :param audited: lets a command be sent, now that it is recorded.
    :param advance: sends what is next for a device.
    """

    def __init__(
        self,
        *,
        audit: Audit,
        presence: Presence,
        clock: IReactorTime,
        accept: Callable[[str, CommandRequest, Requester, float | None], PendingCommand],
        call_back: Callable[[PendingCommand, str], bool],
        audited: Callable[[PendingCommand], None],
        advance: Callable[[str], None],
    ) -> None:
        self._audit = audit
        self._presence = presence
        self._clock = clock
        self._accept = accept
        self._call_back = call_back
        self._audited = audited
        self._advance = advance

    async def submit(
        self, line: CommandQueue, hostid: str, asked: CommandRequest, by: Requester, timeout_s: float | None
    ) -> Submitted:
        """Have a stop go first. What waits is not sent any more: nothing asked before a stop is done after it."""
        unsent = line.unsent_stop
        if unsent is not None:
            self._audit.joined(unsent.command, by)
            self.reroute(line)
            return unsent.follow()
        order = self._accept(hostid, asked, by, timeout_s)
        # Beside the queue, not at its head: what waits ends now, so that no start that was asked before this stop is
        # done after it, and a stop waits for the record of no other command.
        line.stop = order
        self.call_back_waiting(line, OVERTAKEN)
        for one in tuple(line.in_flight):
            self._call_back(one, OVERTAKEN)  # which does nothing where it has been sent
        order.patience = self._clock.callLater(STOP_WAITS_S, self._is_due, order)
        submitted = order.follow()
        # Recorded first, as everything, but only for a second: an engine that has to stop does not wait for a database.
        try:
            await self._audit.open(order.command, stays=True).addTimeout(STOP_AUDIT_S, self._clock)
        except (StoreUnavailable, TimedOut) as error:
            log.warn(
                "command {number}, stop of {hostid} for {who}, cannot be recorded now, and is sent without: {error}",
                number=order.command.number,
                hostid=hostid,
                who=order.command.requester,
                error=str(error) or "the store does not answer",
            )
        self._audited(order)
        return submitted

    def call_back_waiting(self, line: CommandQueue, why: str) -> None:
        """End everything that waits for its turn, as ``not sent``."""
        for order in tuple(line.waiting):
            self._call_back(order, why)

    def reroute(self, line: CommandQueue | None) -> None:
        """Have a stop that has not left yet go by the session that carries it now, where that is another one."""
        stop = None if line is None else line.unsent_stop
        if stop is not None and stop.sending is not None and self.other_carrier(stop):
            stop.sending.cancel()

    def other_carrier(self, order: PendingCommand) -> bool:
        """Tell whether there is another session than the one that an order was given to."""
        carrier = self._presence.carrier(order.command.hostid, stop=order.is_stop)
        return carrier is not None and carrier is not order.carrier

    def _is_due(self, order: PendingCommand) -> None:
        """Have a stop wait no longer for the answer to what is in flight, nor for its own record."""
        order.overdue = True
        self._audited(order)
        self._advance(order.command.hostid)
