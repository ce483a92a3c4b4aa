"""However late a controller answers, and though its answers are all alike: true values or none.

Each answer is late for itself, within what is promised (``timeout`` and ``Line.late_s``), in any order, or never comes.
"""

from collections.abc import Sequence
from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

import tests.support  # noqa: F401 - hypothesis' settings
from cmmd.gateway.bus import BusError, ExceptionAnswer, NoAnswer, NotSent
from cmmd.modbus.frames import Function, ReadRequest, WriteCoilRequest, WriteRegistersRequest, WriteRequest
from tests.bus_world import BusTestCase, Controller, MemoryPort
from tests.uploaded import Uploaded

ALIKE = tuple(ReadRequest(1, Function.READ_HOLDING_REGISTERS, address, 10) for address in (0, 100, 200))
UNLIKE = ReadRequest(1, Function.READ_HOLDING_REGISTERS, 0, 5)  # but for its exceptions
WRITES: tuple[WriteRequest, ...] = (
    WriteCoilRequest(1, 3, True),
    WriteCoilRequest(1, 4, True),
    WriteRegistersRequest(1, 40, (1, 2)),
    WriteRegistersRequest(1, 40, (3, 4)),  # its answer is the same
)
PROMPT_S = 0.02


class LateTestCase(BusTestCase):
    """A controller that is as late as a seed says.

    :ivar version: of its values; it grows with each request that it hears.
    """

    def prepare_late(self, seed: int, latest_s: float, *, share: float = 1.0, **settings: Any) -> None:
        """Have a share of the answers be late, up to so much after the request has left."""
        self.prepare(**settings)
        self.random = Random(seed)
        self.latest_s = latest_s
        self.share = share
        self.version = 0
        self.sendings: dict[bytes, list[tuple[float, int]]] = {}  # when each frame was heard of, and the version then
        self.doubtful: set[ReadRequest] = set()  # more was sent than was answered
        self.controller = Controller(version=lambda: self.version)
        self.on_frame = self.answered_sometime

    def answered_sometime(self, port: MemoryPort, frame: bytes) -> None:
        self.version += 1
        self.sendings.setdefault(frame, []).append((self.clock.seconds(), self.version))
        chance = self.random.random()
        if chance < 0.05:
            return  # it has not heard it
        self.controller.refuses = 6 if chance < 0.1 else 0
        answer = self.controller.answer(frame)
        assert answer is not None
        if chance < 0.15:
            return  # the answer is lost
        delay = self.random.uniform(0.0, self.latest_s) if self.random.random() < self.share else PROMPT_S
        self.bring_to_newest(answer, self.line.seconds_for(len(frame)) + delay)

    def bring_to_newest(self, answer: bytes, delay: float) -> None:
        """It comes out of whichever port is open then: the controller does not know of openings."""
        self.clock.callLater(delay, lambda: self.ports[-1]._bring(answer))

    @property
    def bound_s(self) -> float:
        """What is promised, of the time that is counted here."""
        return self.line.timeout_s + self.line.late_s


class ExchangeTests(LateTestCase):
    @given(
        st.integers(0, 2**32),
        st.sampled_from([(1.0, 0.5, 2), (0.2, 0.0, 5), (0.5, 0.1, 0), (2.0, 7.0, 1)]),
        st.sampled_from([0.3, 1.0]),
        st.sampled_from(["/dev/ttyUSB0", "socket://192.0.2.7:4001"]),
    )
    def test_reads_and_writes(self, seed: int, times: tuple[float, float, int], share: float, url: str) -> None:
        """A value is of its address, and not from before it was asked for. Where the same was asked for before without
        as many answers, it may be one of these, within what is promised. What is said of a write is so."""
        timeout_s, quiet_s, retries = times
        self.prepare_late(
            seed, 0.0, share=share, url=url, timeout_s=timeout_s, quiet_s=quiet_s, retries=retries, echo=False
        )
        self.latest_s = self.bound_s
        self.start(0.0)
        polling = self.begin(self.exchange_all(60))
        self.run_for(3000.0)
        self.successResultOf(polling)
        self.run_for(20.0)
        self.stop()

    async def exchange_all(self, count: int) -> None:
        for _ in range(count):
            if self.random.random() < 0.3:
                await self.write(self.random.choice(WRITES))
            else:
                await self.read_true(self.random.choice((*ALIKE, UNLIKE)))

    async def read_true(self, request: ReadRequest) -> None:
        sendings = self.sendings.setdefault(bytes.fromhex(request.to_hex()), [])
        owed = self.owed(request, sendings)
        began, before = min([self.version, *owed]), len(sendings)
        try:
            response = await self.bus.read(request)
        except BusError:
            self.doubtful.add(request)
            return await self.some_time()
        if len(sendings) > before + 1:
            self.doubtful.add(request)
        now = self.version
        possible = []
        for version in range(began, now + 1):
            answer = Controller(version=lambda version=version: version).answer(bytes.fromhex(request.to_hex()))  # type: ignore[misc]
            possible.append(answer)
        self.assertIn(bytes.fromhex(response), possible)
        return None

    def owed(self, request: ReadRequest, sendings: list[tuple[float, int]]) -> list[int]:
        """The versions of which an answer may still come."""
        earliest = self.clock.seconds() - self.bound_s - 0.1  # what the frames take
        owed = [version for time, version in sendings if time > earliest]
        if not owed:
            self.doubtful.discard(request)
        return owed if request in self.doubtful else []

    async def write(self, request: WriteRequest) -> None:
        before = len(self.controller.written)
        try:
            await self.bus.write(request)
        except (ExceptionAnswer, NotSent):
            self.assertEqual(len(self.controller.written), before, "it was said to be surely not done")
        except NoAnswer:
            await self.some_time()
        else:
            self.assertEqual(len(self.controller.written), before + 1, "it was said to be done")

    async def some_time(self) -> None:
        rest = Deferred[None]()
        self.clock.callLater(self.random.choice([0.0, 0.5, 3.0]), rest.callback, None)
        await rest


class UploadTests(LateTestCase):
    """What a server makes of it, in both data modes."""

    def upload(self, data_mode: int, cycles: int, plan: Sequence[ReadRequest] = ALIKE) -> int:
        """How many blocks it took, all of them true."""
        uploaded = Uploaded(self.bus, plan, lambda: self.version, data_mode)

        async def cycle() -> None:
            for _ in range(cycles):
                await uploaded.upload()

        self.start(0.0)
        polling = self.begin(cycle())
        self.run_for(cycles * 100.0)
        self.successResultOf(polling)
        self.run_for(20.0)
        self.stop()
        self.assertEqual(uploaded.wrong, [])
        return uploaded.blocks

    @given(st.integers(0, 2**32), st.sampled_from([0, 1]), st.sampled_from([0.1, 1.0]))
    def test_as_late_as_it_likes(self, seed: int, data_mode: int, share: float) -> None:
        self.prepare_late(seed, 6.0, share=share)
        self.upload(data_mode, 8)

    def test_always_as_late(self) -> None:
        """Blocks get through wherever a retry is in hand when the answer to the request comes."""
        for data_mode in (0, 1):
            for lateness in (1.2, 1.51, 1.65, 2.0, 2.8, 3.3, 4.5, 6.0):
                self.prepare_as_late(lateness)
                blocks = self.upload(data_mode, 5)
                if lateness in (1.65, 2.0, 3.3):
                    self.assertEqual(blocks, 5 * len(ALIKE), lateness)
                self.assertGreaterEqual(self.bus.statistics.late_answers, 5 * len(ALIKE))

    def test_always_as_late_and_none_alike(self) -> None:
        """A value is not from the cycle before, though a read waits only until the one before it is due."""
        for lateness in (1.6, 1.65, 1.8, 2.0, 3.2, 3.3):
            for plan in ((UNLIKE,), (UNLIKE, ALIKE[0])):
                self.prepare_as_late(lateness)
                self.assertEqual(self.upload(1, 20, plan), 20 * len(plan), lateness)

    def prepare_as_late(self, lateness: float) -> None:
        """Each answer comes so much after its request."""
        self.prepare()
        self.version = 0
        self.controller = Controller(version=lambda: self.version)

        def answered(port: MemoryPort, frame: bytes) -> None:
            self.version += 1
            self.late(self.line.seconds_for(len(frame)) + lateness)(port, frame)

        self.on_frame = answered

    def test_later_than_is_promised(self) -> None:
        """Here is the end of it: this is what the test would see, were the bound not kept."""
        self.prepare_late(7, 30.0)
        uploaded = Uploaded(self.bus, ALIKE, lambda: self.version, 1)

        async def cycle() -> None:
            for _ in range(30):
                await uploaded.upload()

        self.start(0.0)
        polling = self.begin(cycle())
        self.run_for(3000.0)
        self.successResultOf(polling)
        self.run_for(50.0)
        self.assertNotEqual(uploaded.wrong, [])
