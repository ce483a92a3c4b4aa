"""One connection of a program: limits, back-pressure, and what becomes of a request that fails."""

import os
from collections.abc import Callable
from typing import Any

from msgspec import Struct
from twisted.internet.defer import Deferred, fail
from twisted.internet.interfaces import IDelayedCall, IHandshakeListener, IReactorTime
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols import amp
from twisted.python.failure import Failure
from zope.interface import implementer

from cmmd.control import commands, errors
from cmmd.control.listeners import person_of, requester
from cmmd.fleet.commands.queue import STOP
from cmmd.fleet.counters.log_throttle import LogLimit
from cmmd.fleet.errors import refusal
from cmmd.fleet.roles import Role, may
from cmmd.fleet.service.operations import ControlService
from cmmd.fleet.service.table import AMP_CHANGES, AMP_ROLES
from cmmd.tls.reasons import why
from cmmd.wire.quoting import quoted

__all__ = ["HANDSHAKE_S", "MOST_BOX_BYTES", "MOST_IN_FLIGHT", "STOPS_BESIDES", "Connection", "ConnectionContext"]

log = Logger()

MOST_IN_FLIGHT = 10_000
"""Requests of one connection that may be unanswered. More are refused: one that waits is carried out when no one
expects it any more."""

STOPS_BESIDES = 500
"""Stops that may be unanswered besides: a stop is not refused for what else a program asks."""

MOST_BOX_BYTES = 256 * 1024
"""Of one request. AMP limits keys and values, but not how many there are."""

BYTES_A_RECEIVE = 2048
"""Of a program with hundreds of requests at once some are carried out in one turn of the reactor, not all."""

HANDSHAKE_S = 10.0
"""Seconds that a peer has to show its certificate."""

LONGEST_TEXT = 1000
"""Characters of an error's text."""


class ConnectionContext(Struct, frozen=True):
    """The parts of the daemon that every connection works with."""

    operations: ControlService
    clock: IReactorTime
    log_limit: LogLimit


@implementer(IHandshakeListener)
class Connection(amp.AMP):
    """Takes the requests of one program. Answers come in any order.

    What is read is looked at only while what was answered leaves: a peer that does not read is not read from.

    :param around: what it works with.
    :param known: says who is at the other end of a transport, as far as the door knows.
    :param role: what that one may. :param counts: whether that one still counts.
    :param gone: called once, when the connection has ended.
    :param handshake: the peer has to show a certificate first.
    """

    transport: Any

    def __init__(
        self,
        around: ConnectionContext,
        *,
        known: Callable[[Any], str],
        role: Callable[[Any], Role] = lambda _: "admin",
        counts: Callable[[Any], bool] = lambda _: True,
        gone: Callable[["Connection"], None],
        handshake: bool = False,
    ) -> None:
        super().__init__()
        self.around = around
        self._known = known
        self._role = role
        self._counts = counts
        self._gone = gone
        self._handshake_timer: IDelayedCall | None = None
        self.needs_handshake = handshake
        self._closing = False
        self._parsing = False
        self._box_bytes = 0
        self._in_flight = 0

    @property
    def idle(self) -> bool:
        """Tell whether it is open, and the program waits for nothing."""
        return not self._in_flight and not self._closing

    # --- the connection ----------------------------------------------------------------------------------------------

    def makeConnection(self, transport: Any) -> None:
        """A program has come."""
        amp.BinaryBoxProtocol.makeConnection(self, transport)  # AMP's own logs every one
        transport.bufferSize = BYTES_A_RECEIVE  # of a socket, or of the one below TLS; no matter where it is neither
        transport.registerProducer(self, True)
        if self.needs_handshake:
            self._handshake_timer = self.around.clock.callLater(HANDSHAKE_S, self._no_handshake)

    def handshakeCompleted(self) -> None:
        """Accept the peer, whose certificate is good."""
        self.needs_handshake = False
        self._stop_timer()

    def _no_handshake(self) -> None:
        self._handshake_timer = None
        self.fault("no certificate in time")

    def _stop_timer(self) -> None:
        if self._handshake_timer is not None:
            self._handshake_timer.cancel()
            self._handshake_timer = None

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End the connection. Its commands continue, its watching ends."""
        self._stop_timer()
        if self.needs_handshake and not self._closing:
            self._log(f"no TLS connection: {why(reason.value)}")
            self._record("no_tls", why(reason.value), known=False)
        self._closing = True
        self.ending()
        amp.BinaryBoxProtocol.connectionLost(self, reason)
        self.transport = None
        self._gone(self)

    def close(self) -> None:
        """End the connection when all that was answered has left."""
        self._closing = True
        self.ending()
        if self.transport is not None:
            self.transport.unregisterProducer()  # TLS would wait for it
            self.transport.loseConnection()

    def abort(self) -> None:
        """End the connection now."""
        self._closing = True
        if self.transport is not None:
            self.transport.abortConnection()

    def ending(self) -> None:
        """The connection ends: every part releases what it holds. Can be called more than once."""

    def fault(self, what: str) -> None:
        """The peer has done what no program of cmmd does."""
        if not self._closing:
            self._log(what)
            self.abort()

    def _record(self, what: str, detail: str, *, known: bool = True, device: str = "") -> None:
        """Record a security event with who is at the other end.

        :param known: whether that one has shown a certificate, or came by a socket.
        """
        address = str(getattr(self.transport.getPeer(), "host", ""))
        who = self._known(self.transport) if known else ""
        self.around.operations.security.record(what, who=who, address=address, detail=detail, device=device)

    def _log(self, what: str) -> None:
        peer = getattr(self.transport.getPeer(), "host", "a local program")
        more = self.around.log_limit.allows(peer)
        if more is not None:
            log.warn("control: {peer}: {what}{more}", peer=peer, what=what, more=more)

    # --- what comes in -----------------------------------------------------------------------------------------------

    def dataReceived(self, data: bytes) -> None:
        """Take bytes of the program, within the limits."""
        self._parsing = True
        try:
            super().dataReceived(data)
        finally:
            self._parsing = False

    def resumeProducing(self) -> None:
        """Continue with the input that has arrived since the last answer left."""
        self.paused = False
        if self.transport is not None and not self._closing:
            self.transport.resumeProducing()
            if not self._parsing:  # else the parser continues by itself, and nothing is done twice
                self.dataReceived(b"")

    def stopProducing(self) -> None:
        """Stop: the transport has ended the connection."""
        self.paused = True

    def stringReceived(self, string: bytes) -> None:
        """A key or a value has come."""
        self._box_bytes += len(string)
        if self._box_bytes > MOST_BOX_BYTES:
            self.fault("request too long")
        if not self._closing:
            super().stringReceived(string)
            if self.state == "init":
                self._box_bytes = 0

    def lengthLimitExceeded(self, _: int) -> None:
        """Close the connection: its input is no AMP."""
        self.fault("not AMP")

    def fileDescriptorReceived(self, descriptor: int) -> None:
        """Refuse a command that was not requested."""
        os.close(descriptor)
        self.fault("a file descriptor")

    def ampBoxReceived(self, box: amp.AmpBox) -> None:
        """A request, or the answer to news."""
        if amp.COMMAND in box and amp.ASK not in box:
            self.fault("a request that wants no answer")
            return
        try:
            super().ampBoxReceived(box)
        except (KeyError, amp.AmpError):
            self.fault("an answer to nothing, or no AMP")

    # --- requests ----------------------------------------------------------------------------------------------------

    def locateResponder(self, name: bytes) -> Any:
        """Only our own: no StartTLS."""
        return amp.CommandLocator.locateResponder(self, name) if name in _OURS else None

    def dispatchCommand(self, box: amp.AmpBox) -> Deferred[amp.AmpBox]:
        """Carry a request out; whatever becomes of it, the connection lives, unless its certificate was revoked."""
        if not self.still_counts:
            self.fault(f"{self.who(None)}: this certificate is revoked")
            return Deferred()
        name = box[amp.COMMAND].decode("ascii", "replace")
        needed = AMP_ROLES.get(name, "viewer")
        if not may(self.role, needed):
            why_not = errors.Forbidden(f"this needs the role {needed}; {self.who(None)} is {self.role}")
            self._log(f"{quoted(box[amp.COMMAND])} is not allowed: {why_not}")
            self._record("forbidden", f"{quoted(box[amp.COMMAND])}: {why_not}")
            return fail(_remote(why_not))
        if self._in_flight >= MOST_IN_FLIGHT + (STOPS_BESIDES if _is_stop(box) else 0):
            return fail(_remote(errors.TooManyRequests(f"{MOST_IN_FLIGHT} requests are unanswered")))
        self._in_flight += 1
        answer: Deferred[amp.AmpBox] = super().dispatchCommand(box)
        if name in AMP_CHANGES:
            answer.addCallback(self._recorded)
        if needed == "admin" and not name.startswith("List"):
            answer.addCallback(self._changed, name, box.get(b"hostid", b"").decode("utf-8", "replace"))
        answer.addBoth(self._one_less)
        return answer.addErrback(self._refused, quoted(box[amp.COMMAND]))

    def _recorded(self, box: amp.AmpBox) -> Deferred[amp.AmpBox]:
        """Answer a change when it is durable; marked, where it has waited for that long enough."""

        def told(recorded: bool) -> amp.AmpBox:
            if not recorded:
                box[b"recorded"] = b"False"
            return box

        return self.around.operations.fleet.journal.recorded().addCallback(told)

    def _changed(self, outcome: amp.AmpBox, name: str, hostid: str) -> amp.AmpBox:
        """Record what an administrator has changed."""
        self._record(name, "", device=hostid)
        return outcome

    def _one_less(self, outcome: object) -> object:
        self._in_flight -= 1
        return outcome

    def _refused(self, failure: Failure, name: str) -> Failure:
        error = failure.value
        if isinstance(error, amp.RemoteAmpError):  # AMP has found its code
            cause = None if error.local is None else error.local.value
            if isinstance(cause, errors.NotAllowed):
                self._log(f"{name} of {self.who(None)} is not allowed: {cause}")
            error.description = error.description[:LONGEST_TEXT]  # has what the peer sent in it
            return failure
        known = refusal(error)
        if known is None:
            log.failure("control: {name}", failure, name=name)
            known = errors.InternalError("internal error; the log has more")
        return Failure(_remote(known))

    @property
    def still_counts(self) -> bool:
        """Tell whether the certificate that was let in has not been revoked since."""
        return self.transport is not None and self._counts(self.transport)

    @property
    def role(self) -> Role:
        """Give the role of the caller."""
        return self._role(self.transport)

    def who(self, said: str | None, *, person: bool = False) -> str:
        """Name the caller, for the audit.

        :param said: what the client says.
        :param person: leave out what is of this one program only.
        """
        known = self._known(self.transport)
        return requester(said, person_of(known) if person else known)


_OURS = frozenset(
    kind.commandName
    for kind in vars(commands).values()
    if isinstance(kind, type) and issubclass(kind, amp.Command) and kind is not commands.Event
)


def _is_stop(box: amp.AmpBox) -> bool:
    return box[amp.COMMAND] == commands.SendCommand.commandName and box.get(b"name") == STOP.encode()


def _remote(error: errors.ControlError) -> amp.RemoteAmpError:
    return amp.RemoteAmpError(error.code.upper().encode("ascii"), str(error)[:LONGEST_TEXT])
