"""A bus without a line: answers come from registers, or as a test says. And wiring that says what it is asked."""

from collections.abc import Callable

from twisted.internet.defer import Deferred, succeed

from cmmd.gateway.bus import ExceptionAnswer, NoAnswer, NotSent
from cmmd.gateway.link.source import Precondition, unopposed
from cmmd.modbus.frames import ExceptionResponse, ReadRequest, Request, WriteRequest, read_response

__all__ = ["FakeBus", "FakeWiring", "no_answer", "refusal"]

Trouble = Callable[[], Exception]


def no_answer() -> Exception:
    return NoAnswer("no valid answer in time")


def refusal(request: Request, code: int = 2) -> Exception:
    return ExceptionAnswer(ExceptionResponse(request.unit, request.function, code))


class FakeBus:
    """See :class:`cmmd.gateway.poller.Exchanges`.

    :ivar registers: by address; others are 0. :ivar coils: likewise, one bit each.
    :ivar troubles: what reading a request fails with, by the request's hex.
    :ivar write_troubles: what the next writes fail with; None: nothing.
    :ivar before_writing: called when a write's turn comes. :ivar answers: what the next writes wait for after that.
    :ivar asked: requests read.
    :ivar written: requests written. :ivar firsts: those of them that went first, and how long they could wait.
    :ivar held: reads that wait for the test, where they are held; None: they are not.
    :ivar most_at_once: the most exchanges there were at the same time.
    """

    def __init__(self) -> None:
        self.registers: dict[int, int] = {}
        self.coils = 0
        self.troubles: dict[str, Exception] = {}
        self.write_troubles: list[Exception | None] = []
        self.asked: list[str] = []
        self.written: list[WriteRequest] = []
        self.firsts: list[tuple[WriteRequest, float]] = []
        self.answers: list[Deferred[None]] = []
        self.held: list[Deferred[None]] | None = None
        self.before_writing: Callable[[], object] = lambda: None
        self.most_at_once = 0
        self._at_once = 0

    async def read(self, request: ReadRequest) -> str:
        self._at_once += 1
        self.most_at_once = max(self.most_at_once, self._at_once)
        try:
            self.asked.append(request.to_hex())
            await self._turn()
            if request.to_hex() in self.troubles:
                raise self.troubles[request.to_hex()]
            return read_response(request, self.values(request))
        finally:
            self._at_once -= 1

    async def write(self, request: WriteRequest, veto: Precondition = unopposed) -> None:
        self.before_writing()
        why = veto()
        if why is not None:
            raise NotSent(why)
        await self._do(request)

    async def write_first(self, request: WriteRequest, waits_s: float) -> None:
        self.firsts.append((request, waits_s))
        await self._do(request)

    async def _do(self, request: WriteRequest) -> None:
        self.written.append(request)
        if self.answers:
            await self.answers.pop(0)
        trouble = self.write_troubles.pop(0) if self.write_troubles else None
        if trouble is not None:
            raise trouble

    def values(self, request: ReadRequest) -> bytes:
        if request.function.reads_bits:
            bits = self.coils >> request.address & (1 << request.count) - 1
            return bits.to_bytes(request.payload_length, "little")
        places = range(request.address, request.address + request.count)
        return b"".join(self.registers.get(place, 0).to_bytes(2, "big") for place in places)

    def _turn(self) -> Deferred[None]:
        if self.held is None:
            return succeed(None)
        self.held.append(Deferred())
        return self.held[-1]


class FakeWiring:
    """See :class:`cmmd.gateway.poller.Wiring`.

    :ivar works: whether the next change can be made.
    """

    def __init__(self) -> None:
        self.module_port = 2
        self.module_baud = 0
        self.works = True
        self.changes: list[tuple[int | None, int | None]] = []
        self.rounds: list[bool] = []

    def polled(self, *, answered: bool) -> None:
        self.rounds.append(answered)

    async def change(self, module_port: int | None, module_baud: int | None, veto: Precondition = unopposed) -> bool:
        if veto() is not None:
            return False
        self.changes.append((module_port, module_baud))
        if self.works:
            self.module_port = self.module_port if module_port is None else module_port
            self.module_baud = self.module_baud if module_baud is None else module_baud
        return self.works
