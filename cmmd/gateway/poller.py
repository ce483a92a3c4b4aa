"""A real controller on a bus as a :class:`cmmd.gateway.link.source.Source`: it is polled as the server ordered."""

from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from msgspec.structs import replace
from twisted.internet.defer import DeferredLock
from twisted.logger import Logger

from cmmd.controllers.catalog import GENERIC, Catalog
from cmmd.gateway.allowed_writes import BROADCAST, stop_coil, stop_request
from cmmd.gateway.blocks import Block, alike, joined, nothing, told_apart, unread
from cmmd.gateway.bus import BusError, ExceptionAnswer, NoAnswer, NotSent
from cmmd.gateway.link.changes import ByteOrder, change_params, changed_items
from cmmd.gateway.link.source import InputStates, OutcomeUnknown, Precondition, unopposed
from cmmd.modbus.frames import (
    ExceptionResponse,
    ExpectedResponse,
    Function,
    ModbusFrameError,
    ReadRequest,
    WriteRequest,
    parse_plan,
    parse_request,
)
from cmmd.wire.messages import ChangeParams, Changes, LoginParams
from cmmd.wire.quoting import quoted

__all__ = ["MISSED_BEFORE_SAID", "MOST_ITEMS", "BusSource", "Exchanges", "Wiring"]

MOST_ITEMS = 512
"""Items of one change upload; what has no room in it comes with the next one. No block has as many, and cmmd looks at
twice as many."""

TARGET_SILENT = 0x0B
"""The exception by which a Modbus gateway says that the device behind it did not respond."""

SAID_AT_ONCE, SAID_EVERY = 3, 10
"""Cycles without any answer of which a change session hears: the first ones, for as many make a server sure of it; and
then each of so many."""

MISSED_BEFORE_SAID = 3
"""Cycles in a row without the values of one block, after which a change session says so. An answer gets lost at times;
but changes cannot say that nothing is known any more, and a server would take the last values for true for ever."""


class Exchanges(Protocol):
    """The part of a :class:`cmmd.gateway.bus.Bus` that polling needs."""

    def read(self, request: ReadRequest) -> Awaitable[str]:
        """Do as the method of ``Bus`` does."""

    def write(self, request: WriteRequest, veto: Precondition) -> Awaitable[None]:
        """Do as the method of ``Bus`` does."""

    def write_first(self, request: WriteRequest, waits_s: float) -> Awaitable[None]:
        """Do as the method of ``Bus`` does."""


class Wiring(Protocol):
    """The wiring of the controller, in the codes of section 4.1, and the way to change it."""

    @property
    def module_port(self) -> int:
        """0 off, 1 LINK, 2 RS485, 3 RS232, 4 USB."""

    @property
    def module_baud(self) -> int | None:
        """0 9600, 1 19200, 2 115200 bit/s; None: another speed, for which the protocol has no code."""

    def change(
        self, module_port: int | None, module_baud: int | None, veto: Precondition = unopposed
    ) -> Awaitable[bool]:
        """Be wired like that from now on; None: as it is. False: it cannot be, and all is as it was."""

    def polled(self, *, answered: bool) -> None:
        """Take note of a round of polling: whether anything answered in it."""


class BusSource:
    """Feeds a link from a controller on a bus, and has the controller obey.

    A request that the controller does not answer is left out of the upload: there is no frame for it. But where it
    answers nothing at all, an empty upload would say that there is nothing new (section 4.4), and so would none. Then
    each request is answered by ourselves, as Modbus gateways do: with exception 0B, the device behind us does not
    respond.

    An exception of the controller is an answer, and is uploaded as it came: it names the fault, spoils no other
    frame, and keeps the place of its request, so that the frames behind it can still be distinguished by their order.

    Changes cannot say that something is not known any more. So where values that the server has cannot be read for a
    few cycles, a full set says that: it lacks them, or has the exception in their place. As soon as they can be read
    again, they come as changes, all of them.

    Where a frame is missing, the order says nothing any more, and a server tells frames by unit, function and length.
    So of requests that are alike in these, the frames are left out too then: one could be taken for the other's. With
    changes they come all the same, since changes have addresses.

    :param identity: who the device is; its wiring is put in here.
    :param inputs: the device's own inputs. While remote control is inhibited, every order but a stop is refused.
    :param catalog: knows the stop command and the byte order of change uploads by ``moduletype``; where the byte order
        is open, they are big-endian, as most servers read them.
    :param unit: the controller's Modbus unit: of writes to unit 00.
    :param byte_order: overrides what the catalog says; None: nothing does.
    :param objection: says why a write must not reach the bus, whatever its origin; it is not called for a stop.
    :ivar cycles: how often all of the plan was gone through. :ivar unanswered: requests of it without an answer.
    :ivar exceptions: requests answered with an exception. :ivar withheld: frames left out because they could have been
        taken for another's. :ivar refused: writes that are not allowed here.
    :ivar silent: the last cycle brought no answer at all; None: there was none yet.
    """

    def __init__(
        self,
        identity: Callable[[], LoginParams],
        bus: Exchanges,
        *,
        wiring: Wiring,
        inputs: Callable[[], InputStates],
        catalog: Catalog,
        unit: int = 1,
        byte_order: ByteOrder | None = None,
        objection: Callable[[WriteRequest], str | None] = lambda _: None,
        log: Logger | None = None,
    ) -> None:
        self._identity = identity
        self._bus = bus
        self._wiring = wiring
        self._inputs = inputs
        self._catalog = catalog
        self._unit = unit
        self._objection = objection
        self._log = Logger() if log is None else log
        self._plan: tuple[ReadRequest, ...] = ()
        self._alike: frozenset[ReadRequest] = frozenset()
        self._given_byte_order = byte_order
        self._byte_order: ByteOrder = byte_order or "big"
        self._uploaded: dict[int, bytes] = {}  # values that the server has, by the place of their request in the plan
        self._missed: Counter[int] = Counter()  # cycles in a row without values that the server has, by the same
        self._last: tuple[Sequence[ReadRequest], Sequence[Block]] = (), ()  # the plan, and what became of it
        self._polling = DeferredLock()
        self.cycles = self.unanswered = self.exceptions = self.withheld = self.refused = 0
        self.silent: bool | None = None
        self._silent_cycles = 0  # in a row
        self._refused: frozenset[tuple[ReadRequest, int]] = frozenset()  # with the code; each is said once
        self._warned = False  # of a byte order that is not configured

    def identity(self) -> LoginParams:
        return replace(self._identity(), modulePort=self._wiring.module_port, moduleBaud=self._wiring.module_baud)

    def inputs(self) -> InputStates:
        return self._inputs()

    def follow(self, plan: str, data_mode: int) -> None:
        """Begin a session: nothing counts as uploaded any more.

        :raises cmmd.modbus.frames.ModbusFrameError: it is no plan.
        """
        self._plan = parse_plan(plan)
        self._alike = alike(self._plan)
        moduletype = self._identity().moduletype
        profile = self._catalog.for_moduletype(moduletype)
        if data_mode == 0 and self._given_byte_order is None and profile.name == GENERIC and not self._warned:
            self._warned = True
            self._log.warn(
                "no profile of {moduletype} is known here: registers in change uploads are big-endian; if the server"
                " expects otherwise, set controllers.path or controller.byte_order",
                moduletype=moduletype,
            )
        of_profile: ByteOrder = "little" if profile.definition.change_byte_order == "little" else "big"
        self._byte_order = self._given_byte_order or of_profile
        self._uploaded = {}
        self._missed.clear()
        self._last = (), ()

    # --- polling -----------------------------------------------------------------------------------------------------

    async def full_upload(self) -> str:
        plan = self._plan
        return self._full(plan, await self._poll(plan))

    def reading(self) -> str:
        plan, blocks = self._last
        return "" if nothing(blocks) else joined(blocks, told_apart(plan, blocks, self._alike))

    def _full(self, plan: Sequence[ReadRequest], blocks: Sequence[Block]) -> str:
        """A full upload of what was read; from now on the server has these values and no others."""
        self._missed.clear()
        if nothing(blocks):
            self._uploaded = {}
            return ";".join(ExceptionResponse(one.unit, one.function, TARGET_SILENT).to_hex() for one in plan)
        places = told_apart(plan, blocks, self._alike)
        for place, (request, block) in enumerate(zip(plan, blocks, strict=True)):
            if block.frame is not None and place not in places:
                self._withhold(request)
        payloads = {place: blocks[place].payload for place in places}
        self._uploaded = {place: payload for place, payload in payloads.items() if payload is not None}
        return joined(blocks, places)

    async def change_upload(self) -> ChangeParams | str | None:
        plan = self._plan
        was_silent = self.silent
        blocks = await self._poll(plan)
        if nothing(blocks):
            due = self._silent_cycles <= SAID_AT_ONCE or self._silent_cycles % SAID_EVERY == 0
            return self._full(plan, blocks) if due else None
        if was_silent or self._is_overdue(blocks):  # changes cannot withdraw what the server takes for true
            return self._full(plan, blocks)
        changes: dict[Function, Changes] = {}
        room = MOST_ITEMS
        for place, (request, block) in enumerate(zip(plan, blocks, strict=True)):
            if block.payload is None:
                continue
            items = changed_items(request, self._uploaded.get(place), block.payload, self._byte_order)
            if items and len(items) <= room:
                room -= len(items)
                changes.setdefault(request.function, []).extend(items)
                self._uploaded[place] = block.payload
        return change_params(changes)

    def _is_overdue(self, blocks: Sequence[Block]) -> bool:
        """Tell whether values that the server has could not be read for so long that it must not take them for true."""
        for place in self._uploaded:
            if blocks[place].payload is None:
                self._missed[place] += 1
            else:
                self._missed.pop(place, None)
        return any(count >= MISSED_BEFORE_SAID for count in self._missed.values())

    async def _poll(self, plan: Sequence[ReadRequest]) -> list[Block]:
        """Go through a plan once, in its order; never twice at the same time."""
        await self._polling.acquire()
        try:
            blocks = [await self._read(request) for request in plan]
        finally:
            self._polling.release()
        self._last = plan, blocks
        self.cycles += 1
        self._notice(silent=nothing(blocks))
        self._wiring.polled(answered=not nothing(blocks))
        self._notice_unread()
        return blocks

    async def _read(self, request: ReadRequest) -> Block:
        try:
            frame = await self._bus.read(request)
        except ExceptionAnswer as error:
            self.exceptions += 1
            exception = ExceptionResponse(request.unit, request.function, error.code)
            return Block(exception.to_hex(), None, exception)
        except BusError:
            self.unanswered += 1
            return Block(None, None)
        return Block(frame, ExpectedResponse(request).payload(frame))

    def _notice(self, *, silent: bool) -> None:
        self._silent_cycles = self._silent_cycles + 1 if silent else 0
        if silent != self.silent:
            self.silent = silent
            if silent:
                self._log.warn("no controller answers; until one does, that is reported to the server")
            else:
                self._log.info("the controller answers")

    @property
    def unread(self) -> list[str]:
        """List the values of the plan that the last round could not read, and the reasons."""
        return unread(*self._last)

    def _notice_unread(self) -> None:
        """Say once which blocks are refused, as long as they stay the same; what is not answered is counted only."""
        plan, blocks = self._last
        refused = frozenset(
            (request, block.exception.code)
            for request, block in zip(plan, blocks, strict=True)
            if block.exception is not None
        )
        if refused - self._refused:
            self._log.warn(
                "the controller refuses some of the plan, the rest is uploaded; unknown: {unread}",
                unread="; ".join(self.unread),
            )
        self._refused |= refused

    def _withhold(self, request: ReadRequest) -> None:
        self.withheld += 1
        if self.withheld == 1:
            self._log.warn(
                "{request} was answered and is not uploaded: another request of the plan was not, and the server could"
                " take the frame for that of a third one of the same length; more of that is only counted",
                request=request.to_hex(),
            )

    # --- obeying -----------------------------------------------------------------------------------------------------

    async def write(self, frame: str, veto: Precondition = unopposed) -> bool:
        """Write intact requests of functions 05, 06, 0F and 10; nothing else gets onto the bus."""
        why_not = self._inhibition() or veto()
        if why_not is not None:
            self._log.info("{request} was not done: {error}", request=quoted(frame), error=why_not)
            return False
        try:
            request = parse_request(frame)
        except ModbusFrameError:
            return False
        if isinstance(request, ReadRequest):
            return False
        why_not = self._objection(request)
        if why_not is not None:
            self._refuse(request, why_not)
            return False
        if request.unit == BROADCAST:
            request = replace(request, unit=self._unit)
        return await self._outcome(request, self._bus.write(request, lambda: self._inhibition() or veto()))

    def _refuse(self, request: WriteRequest, why: str) -> None:
        """Say in full what was refused first; a server can order as much of that as it likes."""
        self.refused += 1
        if self.refused == 1:
            self._log.warn(
                "{request} was not done: {why} ([orders] in the configuration); more of that is only counted",
                request=request.to_hex(),
                why=why,
            )

    def is_stop(self, frame: str) -> bool:
        """Recognise the stop command of the moduletype's profile, to the controller or to unit 00."""
        return self._stop_request(frame) is not None

    async def stop(self, frame: str, waits_s: float) -> bool:
        request = self._stop_request(frame)
        if request is None:
            return False
        request = replace(request, unit=self._unit)
        return await self._outcome(request, self._bus.write_first(request, waits_s))

    def _stop_request(self, frame: str) -> WriteRequest | None:
        return stop_request(frame, stop_coil(self._catalog, self._identity().moduletype), (BROADCAST, self._unit))

    async def _outcome(self, request: WriteRequest, writing: Awaitable[None]) -> bool:
        """Wait for a write, and say whether the controller did it."""
        try:
            await writing
        except (ExceptionAnswer, NotSent) as error:
            self._log.info("{request} was not done: {error}", request=request.to_hex(), error=error)
            return False
        except NoAnswer as error:
            raise OutcomeUnknown(f"{request.to_hex()}: {error}") from None
        return True

    async def set_port(self, module_port: int | None, module_baud: int | None, veto: Precondition = unopposed) -> bool:
        if self._inhibited:
            return False
        return await self._wiring.change(module_port, module_baud, lambda: self._inhibition() or veto())

    def _inhibition(self) -> str | None:
        return "remote control is inhibited" if self._inhibited else None

    @property
    def _inhibited(self) -> bool:
        return self._inputs().inhibit_remote == 1
