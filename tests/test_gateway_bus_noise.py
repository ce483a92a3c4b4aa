"""Whatever a line brings, a bus gives true values or none, and says "done" of nothing that was not done.

So no wrong value is ever uploaded: that is looked at where a server takes the uploads, too.
"""

from collections import Counter
from collections.abc import Callable, Coroutine
from random import Random
from typing import Any

from hypothesis import assume, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred

from cmmd.gateway.bus import BusError, NoAnswer
from cmmd.modbus.frames import Function, ReadRequest, WriteCoilRequest, WriteRegisterRequest, WriteRequest
from tests.bus_world import READ, SAME_SHAPE, BusTestCase, Controller, MemoryPort
from tests.uploaded import Uploaded

BUS_TIME_S = 600.0
NOISE = 0.01  # noise bytes for each byte that is sent, and for each that could have been
DAMAGE = 0.001  # bytes lost or changed
LATE = 0.02  # of the answers
SILENT = 0.01

COILS = ReadRequest(1, Function.READ_COILS, 0, 90)
PLAN = (
    COILS,
    ReadRequest(1, Function.READ_HOLDING_REGISTERS, 0, 45),
    ReadRequest(1, Function.READ_HOLDING_REGISTERS, 46, 10),
    # The same shape, so that nothing but time tells their answers apart, and each waits where one may still come late:
    ReadRequest(1, Function.READ_HOLDING_REGISTERS, 146, 10),
    ReadRequest(1, Function.READ_HOLDING_REGISTERS, 246, 10),
)
EVERY = 7  # reads for each write


class NoisyLineTestCase(BusTestCase):
    """A line with noise, and a controller that is late at times."""

    def prepare_noise(self, seed: int, *, echoes: bool = False, **settings: object) -> None:
        self.prepare(**settings)
        self.echoes = echoes
        self.random = Random(seed)
        self.version = 0
        self.controller = Controller(version=lambda: self.version)
        self.on_frame = self.answered_noisily

    def run_noisily(self, polling: Callable[[], Coroutine[Deferred[Any], Any, None]]) -> None:
        """Poll until ``end``."""
        self.end = self.clock.seconds() + BUS_TIME_S
        self.start(0.0)
        self.clock.callLater(0, self.make_noise)
        polled = self.begin(polling())
        self.run_for(BUS_TIME_S + 60.0)
        self.successResultOf(polled)

    def noise(self) -> bytes:
        return self.random.randbytes(1)

    def make_noise(self) -> None:
        """Between frames, and between the pieces of one."""
        if self.clock.seconds() < self.end:
            self.port.bring(self.noise())
            self.clock.callLater(self.random.expovariate(NOISE / self.line.seconds_for(1)), self.make_noise)

    def noised(self, frame: bytes) -> bytes:
        """The frame, as it comes over the line."""
        came = bytearray()
        for byte in frame:
            while self.random.random() < NOISE:
                came += self.noise()
            if self.random.random() >= DAMAGE:
                came.append(byte)
            elif self.random.random() < 0.5:
                came.append(byte ^ self.random.randint(1, 255))
        return bytes(came)

    def answered_noisily(self, port: MemoryPort, frame: bytes) -> None:
        if self.echoes:
            port.bring(self.noised(frame), self.line.seconds_for(len(frame)))
        answer = self.controller.answer(self.noised(frame))
        if answer is None or self.random.random() < SILENT:
            return
        delay = self.line.seconds_for(len(frame)) + self.random.uniform(0.005, 0.1)
        if self.random.random() < LATE:
            latest = self.line.timeout_s + self.line.late_s + self.line.seconds_for(len(frame))
            delay = self.random.uniform(self.line.timeout_s, latest)
        came = self.noised(answer)
        while came:
            length = self.random.randint(1, 40)  # what the driver hands over at a time
            delay += self.line.seconds_for(len(came[:length]))
            port.bring(came[:length], delay)
            came = came[length:]


class NoisyLineTests(NoisyLineTestCase):
    """A plan that is polled as fast as the line carries it, at 9600 bit/s."""

    def noisy(self, seed: int, *, echoes: bool = False, **settings: object) -> None:
        self.prepare_noise(seed, echoes=echoes, **settings)
        self.outcomes: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.run_noisily(self.poll)
        self.assertEqual(self.wrong, [])

    async def poll(self) -> None:
        number = 0
        while self.clock.seconds() < self.end:
            for request in PLAN:
                await self.check_read(request)
                number += 1
                if number % EVERY == 0:
                    await self.check_write(number)

    async def check_read(self, request: ReadRequest) -> None:
        self.version += 1
        try:
            response = await self.bus.read(request)
        except BusError as error:
            self.outcomes[f"read {type(error).__name__}"] += 1
            return
        self.outcomes["read"] += 1
        if bytes.fromhex(response) != self.controller.answer(bytes.fromhex(request.to_hex())):
            self.wrong.append(f"{request}: {response}")

    async def check_write(self, number: int) -> None:
        write: WriteRequest = WriteRegisterRequest(1, 300, number)
        if number % 2:
            write = WriteCoilRequest(1, number, True)
        try:
            await self.bus.write(write)
        except BusError as error:
            self.outcomes[f"write {type(error).__name__}"] += 1
            done = False
        else:
            self.outcomes["write"] += 1
            done = True
        times = self.controller.written.count((write.function, write.address, [1 if number % 2 else number]))
        if times > 1 or (done and not times):
            self.wrong.append(f"{write}: {times} times, and done: {done}")

    def test_ten_minutes(self) -> None:
        """Noise between and inside frames at 1 %, answers within what is promised: no wrong value, and it goes on."""
        self.noisy(seed=7)
        self.assert_it_went_on(reads=180, writes=20)
        self.assertGreater(self.bus.statistics.crc_errors, 100)
        self.assertGreater(self.bus.statistics.bytes_discarded, 10_000)

    def test_ten_minutes_on_a_line_that_echoes(self) -> None:
        """The echo is as noisy; where it is damaged, a write remains unknown."""
        self.noisy(seed=11, echoes=True)
        self.assert_it_went_on(reads=180, writes=20)
        self.assertGreater(self.bus.statistics.echoes, 350)

    def test_ten_minutes_fast(self) -> None:
        """At 115200 bit/s there are a hundred bytes of noise a second, and hardly ever a silence of 20 ms."""
        self.noisy(seed=13, baud_rate=115_200)
        self.assert_it_went_on(reads=150, writes=15, share=0.6)

    def assert_it_went_on(self, *, reads: int, writes: int, share: float = 0.7) -> None:
        self.assertGreater(self.outcomes["read"], reads)
        self.assertGreater(self.outcomes["read"] / self.outcomes.total(), share)
        self.assertGreater(self.outcomes["write"], writes)
        self.assertGreater(self.bus.statistics.late_answers, 0)
        self.assertEqual(self.bus.statistics.reopenings, 0)


class UploadTests(NoisyLineTestCase):
    """Polled as a server orders, and compared with what a server makes of the uploads."""

    def test_ten_minutes_of_uploads(self) -> None:
        for data_mode in (0, 1):
            for seed in (17, 19):
                self.prepare_noise(seed)
                uploaded = Uploaded(self.bus, PLAN, lambda: self.version, data_mode)
                self.run_noisily(lambda uploaded=uploaded: self.upload(uploaded))  # type: ignore[misc]
                self.assertEqual(uploaded.wrong, [])
                self.assertGreater(uploaded.blocks, 100)
                self.stop()

    async def upload(self, uploaded: Uploaded) -> None:
        while self.clock.seconds() < self.end:
            self.version += 1
            await uploaded.upload()


@st.composite
def shreds(draw: st.DrawFn) -> tuple[str, bytes, int]:
    """What is left of an answer: which one, how it is cut and what stands in its middle."""
    return draw(st.sampled_from(["own", "other", "echo"])), draw(st.binary(max_size=4)), draw(st.integers(1, 40))


# What comes after a request, and when: noise, shreds, and at most one time the answer.
HAPPENINGS = st.lists(st.tuples(st.floats(0, 6.0), st.binary(max_size=30) | shreds() | st.just("answer")), max_size=5)


class AnythingTests(BusTestCase):
    """Whatever comes after each request, whenever it comes."""

    @given(st.lists(HAPPENINGS, max_size=8), st.sampled_from([9600, 115_200]))
    def test_truth_or_an_error(
        self, script: list[list[tuple[float, bytes | tuple[str, bytes, int] | str]]], baud_rate: int
    ) -> None:
        self.prepare(baud_rate=baud_rate, retries=1)
        remaining = list(script)

        def happens(port: MemoryPort, frame: bytes) -> None:
            answered = False
            answer = self.controller.answer(frame) or b""
            for delay, what in remaining.pop(0) if remaining else [(0.02, "answer")]:
                if isinstance(what, bytes):
                    port.bring(what, delay)
                elif isinstance(what, tuple):
                    port.bring(self.shred(what, frame, answer), delay)
                elif not answered:
                    answered = True
                    port.bring(answer, delay)

        self.on_frame = happens
        self.start(0.0)
        for request in (READ, SAME_SHAPE, COILS, READ, SAME_SHAPE):
            result = self.begin(self.bus.read(request)).addErrback(lambda failure: failure.trap(BusError))
            self.run_for(30.0)
            response = self.successResultOf(result)
            if isinstance(response, str):
                self.assertEqual(bytes.fromhex(response), self.controller.answer(bytes.fromhex(request.to_hex())))
        remaining.clear()
        self.run_for(10.0)
        self.assertEqual(self.values(self.read()), self.truth(), "it does not go on")
        self.stop()

    def shred(self, what: tuple[str, bytes, int], frame: bytes, answer: bytes) -> bytes:
        """A frame that is damaged, whichever one it was."""
        which, noise, place = what
        whole = {"own": answer, "other": self.controller.answer(bytes.fromhex(COILS.to_hex())) or b"", "echo": frame}
        intact = whole[which]
        place %= len(intact)
        damaged = intact[:place] + noise + intact[place + 1 :]
        return damaged if intact not in damaged else b""

    @given(st.lists(st.binary(max_size=30) | shreds(), max_size=4), st.booleans())
    def test_done_is_said_only_by_the_controller(
        self, after: list[bytes | tuple[str, bytes, int]], echoes: bool
    ) -> None:
        """What comes after a write may be the echo and anything, but not the controller's answer."""
        self.prepare()
        self.on_frame = self.echoed_and_answered if echoes else self.answered
        self.start()
        self.read()
        write = WriteCoilRequest(1, 0, True)
        whole = bytes.fromhex(write.to_hex())
        pieces = [what if isinstance(what, bytes) else self.shred(what, whole, whole) for what in after]
        assume(whole not in b"".join(pieces))  # two pieces can be the answer together

        def happens(port: MemoryPort, frame: bytes) -> None:
            if echoes:
                port.bring(frame, 0.005)
            for place, piece in enumerate(pieces):
                port.bring(piece, 0.01 + place * 0.01)

        self.on_frame = happens
        result = self.begin(self.bus.write(write))
        self.run_for(5.0)
        self.failureResultOf(result, NoAnswer)
        self.stop()
