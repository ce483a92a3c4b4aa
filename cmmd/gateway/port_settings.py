"""The serial port in use and its speed: as configured, until the server changes it (protocol section 4.6)."""

from collections.abc import Awaitable, Callable, Container
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec
from msgspec import Struct
from twisted.internet.defer import Deferred, DeferredLock
from twisted.logger import Logger
from twisted.python.failure import Failure

from cmmd.atomic_file import write_kept
from cmmd.gateway.bus import Line, NotSent
from cmmd.gateway.link.source import Precondition, unopposed

__all__ = ["BAUD_RATES", "PORT_CODES", "WIRING_FILE", "PortSettings", "Wires", "named", "wires_at_start"]

WIRING_FILE = "wiring.json"

PORT_CODES = {"link": 1, "rs485": 2, "rs232": 3, "usb": 4}
"""``modulePort`` of section 4.1, by the names of the configuration; 0 is off."""

BAUD_RATES = (9600, 19200, 115200, 2400, 4800)
"""Bit/s, by ``moduleBaud`` of section 4.1; behind those with a code there, those that can only be configured."""

REFUSED_FOR = 1200
"""Rounds of polling in which wiring without an answer is not tried again: about an hour."""

CODED = 3
"""Baud rates that have a code in the protocol."""

_PORT_TITLES = {1: "LINK", 2: "RS485", 3: "RS232", 4: "USB"}


def named(module_port: int | None, module_baud: int | None) -> str:
    """Name a port and a speed; None: not said, ``?`` behind a code without meaning."""
    port = _PORT_TITLES.get(module_port, f"modulePort {module_port}?") if module_port is not None else ""
    rates = dict(enumerate(BAUD_RATES[:CODED]))
    baud = f"{rates[module_baud]} bit/s" if module_baud in rates else f"moduleBaud {module_baud}?"
    return " at ".join(part for part in (port, "" if module_baud is None else baud) if part)


class Wires(Struct, frozen=True, forbid_unknown_fields=True):
    """A port and its speed, in the codes of section 4.1; ``module_baud``: as in :data:`BAUD_RATES`."""

    module_port: int
    module_baud: int

    def __str__(self) -> str:
        return f"{named(self.module_port, None)} at {BAUD_RATES[self.module_baud]} bit/s"


class _Kept(Struct, frozen=True, forbid_unknown_fields=True):
    """The file: what the server ordered, and what was configured when it did.

    :ivar working: where the controller answered before, as long as it has not answered as ordered.
    """

    ordered: Wires
    configured: Wires
    working: Wires | None = None


class Rewirable(Protocol):
    """The part of a bus that is needed here."""

    def rewire(self, line: Line) -> Awaitable[None]:
        """Close, and open with another line.

        :raises NotSent: that cannot be opened; it is tried again.
        """


def wires_at_start(file: Path, configured: Wires, there: Container[int], log: Logger) -> Wires:
    """Choose the first settings: the server's last order, unless the configuration has changed since.

    :param file: where a :class:`PortSettings` keeps it.
    :param there: codes of the ports that have a URL.
    """
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
    except FileNotFoundError:
        return configured
    except (OSError, msgspec.MsgspecError) as error:
        log.warn("{file} cannot be used ({error}); the wiring is as configured", file=str(file), error=str(error))
        return configured
    ordered = kept.ordered
    if kept.configured == configured and ordered.module_port in there and ordered.module_baud in range(len(BAUD_RATES)):
        return ordered
    log.warn(
        "the configuration has changed since the server ordered other wiring: it is {wires} again, as configured",
        wires=str(configured),
    )
    return configured


def _working_at_start(file: Path, wires: Wires, configured: Wires) -> Wires | None:
    """The last settings that the controller answered at, while newer ones have no answer yet; None: there are none."""
    try:
        kept = msgspec.json.decode(file.read_bytes(), type=_Kept)
    except (OSError, msgspec.MsgspecError):
        return None
    return kept.working if (kept.ordered, kept.configured) == (wires, configured) else None


class PortSettings:
    """Changes the wiring when the server says so, and keeps it.

    :param wires: what the bus begins with.
    :param configured: what the configuration says.
    :param file: where to keep what the server orders.
    :param bus: what is wired.
    :param there: codes of the ports that have a URL. :param line_of: the line of wires.
    :param allowed: whether the server can change anything.
    :param back_after: rounds of polling without any answer after which what was changed is changed back, where the
        controller had answered before; 0: never.
    """

    def __init__(
        self,
        wires: Wires,
        *,
        configured: Wires,
        file: Path,
        bus: Rewirable,
        there: Container[int],
        line_of: Callable[[Wires], Line],
        log: Logger,
        allowed: bool = True,
        back_after: int = 0,
    ) -> None:
        self._allowed = allowed
        self._back_after = back_after
        self._answers = False  # whether the controller has, as it is wired now
        self._working = _working_at_start(file, wires, configured)
        self._silent = 0  # rounds in a row
        self._failed: dict[Wires, int] = {}  # without an answer there, and for how many rounds that counts
        self._wires = wires
        self._configured = configured
        self._file = file
        self._bus = bus
        self._there = there
        self._line_of = line_of
        self._log = log
        self._changing = DeferredLock()

    @property
    def module_port(self) -> int:
        """The ``modulePort`` that is in use."""
        return self._wires.module_port

    @property
    def module_baud(self) -> int | None:
        """``moduleBaud`` now; None: the speed has no code."""
        return self._wires.module_baud if self._wires.module_baud < CODED else None

    async def change(self, module_port: int | None, module_baud: int | None, veto: Precondition = unopposed) -> bool:
        """Wire the controller otherwise, in the codes of section 4.1; None: as it is.

        It is kept before it is done: whatever happens in between, what login reports is what is tried. Who cancels
        this does not wait any more; it comes to its end, or back to what was, all the same.

        :param veto: asked directly before it is begun, for it may have waited for another change.
        :return: whether it was done. If not, all is as it was, and the log says why.
        """
        doing: Deferred[bool] = self._changing.run(
            lambda: Deferred.fromCoroutine(self._change(module_port, module_baud, veto))
        )
        done: Deferred[bool] = Deferred()
        waits = True

        def tell(result: bool | Failure) -> None:
            if waits:
                done.callback(result)  # a Failure calls the errback
            elif isinstance(result, Failure):
                self._log.failure("while the wiring was changed", failure=result)

        doing.addBoth(tell)
        try:
            return await done
        finally:
            waits = False

    async def _change(self, module_port: int | None, module_baud: int | None, veto: Precondition) -> bool:
        port = self.module_port if module_port is None else module_port
        baud = self._wires.module_baud if module_baud is None else module_baud
        if not self._allowed:
            return self._refused(port, baud, "it is not allowed here ([orders] allow_port_change)")
        if port not in self._there or module_baud not in (None, *range(CODED)):
            return self._refused(port, baud, "there is no such port here, or no such baud rate")
        why_not = veto()
        if why_not is not None:
            return self._refused(port, baud, why_not)
        before, after = self._wires, Wires(port, baud)
        if before == after:
            return True
        if after in self._failed:
            return self._refused(port, baud, "no controller answered there a while ago")
        working_before, answered = self._working, self._answers
        self._working = before if answered else working_before
        if self._working == after:
            self._working = None
        try:
            self._keep(after)
        except OSError as error:
            self._working = working_before
            return self._refused(port, baud, f"it cannot be kept: {error.strerror}")
        self._wires = after
        self._answers, self._silent = False, 0
        try:
            await self._bus.rewire(self._line_of(after))
        except NotSent as error:
            self._working, self._answers = working_before, answered
            await self._back_to(before)
            return self._refused(port, baud, str(error))
        return True

    def polled(self, *, answered: bool) -> None:
        """Take note of a round of polling; go back where too many had no answer."""
        if self._failed:
            self._failed = {wires: left - 1 for wires, left in self._failed.items() if left > 1}
        if answered:
            self._silent = 0
            if not self._answers:
                self._answers, unproven, self._working = True, self._working, None
                if unproven is not None:
                    self._keep_if_possible(self._wires)
            return
        self._silent += 1
        if self._working is not None and 0 < self._back_after <= self._silent and not self._changing.locked:
            working, self._working = self._working, None
            self._log.warn(
                "no controller answers on {wires}: it is {working} again, where one did",
                wires=str(self._wires),
                working=str(working),
            )
            self._failed[self._wires] = REFUSED_FOR
            self._silent = 0
            going: Deferred[None] = self._changing.run(lambda: Deferred.fromCoroutine(self._back_to(working)))
            going.addErrback(lambda failure: self._log.failure("while the wiring was changed back", failure=failure))

    async def _back_to(self, before: Wires) -> None:
        self._wires = before
        self._keep_if_possible(before)
        with suppress(NotSent):  # unplugged as well: it is tried again
            await self._bus.rewire(self._line_of(before))

    def _keep(self, wires: Wires) -> None:
        kept = _Kept(ordered=wires, configured=self._configured, working=self._working)
        write_kept(self._file, f"{msgspec.json.encode(kept).decode()}\n")

    def _keep_if_possible(self, wires: Wires) -> None:
        try:
            self._keep(wires)
        except OSError as error:
            self._log.error("{file} cannot be written: {error}", file=str(self._file), error=error.strerror)

    def _refused(self, port: int, baud: int, why: str) -> bool:
        self._log.warn("{wires} was not done: {why}", wires=named(port, baud), why=why)
        return False
