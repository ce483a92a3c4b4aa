"""The emulated line over a real pseudo-terminal: what is opened, how long it takes, who understands whom, noise.

Real time passes, and nothing here waits for it to pass: only for what is to come.
"""

import asyncio
import os
import select
import shutil
import termios
from collections.abc import Callable, Coroutine
from pathlib import Path
from random import Random
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from cmmd.simulator.emulator.line import SILENT_CHARACTERS, Line, PortError
from tests.daemon import DEADLINE_S
from tests.emulator_process import RawPort

BAUD = 9600
CHARACTER_S = 10 / BAUD
ANSWER = bytes(range(95))


class Bench:
    """A line, and what the controller hears on it."""

    def __init__(self, link: Path) -> None:
        self.link = link
        self.loop = asyncio.get_running_loop()
        self.line = Line(link, self.loop, baud=BAUD, random=Random(1))
        self._heard: asyncio.Queue[bytes] = asyncio.Queue()
        self.line.heard = self._heard.put_nowait
        self.line.plug()

    def open(self, speed: int = termios.B9600) -> RawPort:
        return RawPort(self.link, speed)

    async def heard(self) -> bytes:
        """The next frame."""
        return await asyncio.wait_for(self._heard.get(), DEADLINE_S)

    def take_in(self) -> None:
        """What was sent comes to the line now, and not when the loop turns."""
        select.select([self.line._port._ours], [], [], DEADLINE_S)
        self.line._port._readable()

    async def received(self, port: RawPort, octets: int) -> bytes:
        return bytes.fromhex(await asyncio.to_thread(port.receive, octets))


class LineTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(mkdtemp(prefix="cmmd-line-"))
        self.addCleanup(shutil.rmtree, self.folder)
        self.link = self.folder / "tty"

    def with_bench(self, test: Callable[[Bench], Coroutine[None, None, None]]) -> None:
        async def run() -> None:
            bench = Bench(self.link)
            try:
                await test(bench)
            finally:
                bench.line.close()

        asyncio.run(run())


class PortTests(LineTestCase):
    def test_unplugged_it_is_gone_and_plugged_it_is_back(self) -> None:
        async def test(bench: Bench) -> None:
            with bench.open() as port:
                bench.line.unplug()
                self.assertFalse(bench.line.plugged)
                self.assertFalse(os.path.lexists(self.link))
                self.assertEqual(await bench.received(port, 1), b"")
                self.assertRaises(OSError, port.send, "01")
                bench.line.unplug()  # again: nothing
                bench.line.plug()
                bench.line.plug()
                with bench.open() as another:
                    another.send("01")
                    self.assertEqual(await bench.heard(), b"\x01")

        self.with_bench(test)
        self.assertEqual(list(self.folder.iterdir()), [], "nothing is left behind")

    def test_it_outlives_whoever_opens_it(self) -> None:
        async def test(bench: Bench) -> None:
            for frame in (b"\x01", b"\x02"):
                with bench.open() as port:
                    port.send(frame.hex())
                    self.assertEqual(await bench.heard(), frame)

        self.with_bench(test)

    def test_all_bytes_pass(self) -> None:
        """None is taken for a control character, none is echoed."""

        async def test(bench: Bench) -> None:
            bench.line.baud = 115200
            everything = bytes(range(256))
            with bench.open(termios.B115200) as port:
                port.send(everything.hex())
                self.assertEqual(await bench.heard(), everything)
                bench.line.answer(everything)
                self.assertEqual(await bench.received(port, 256), everything)

        self.with_bench(test)

    def test_speeds(self) -> None:
        async def test(bench: Bench) -> None:
            with bench.open() as port:
                for name, speed in ((termios.B9600, 9600), (termios.B115200, 115200), (termios.B50, None)):
                    port.set_speed(name)
                    self.assertEqual(bench.line.gateway_baud, speed)
                bench.line.unplug()
                self.assertIsNone(bench.line.gateway_baud)

        self.with_bench(test)

    def test_what_a_killed_emulator_has_left_is_replaced(self) -> None:
        self.link.symlink_to("/dev/pts/99999")

        async def test(bench: Bench) -> None:
            with bench.open() as port:
                port.send("01")
                self.assertEqual(await bench.heard(), b"\x01")

        self.with_bench(test)

    def test_nothing_else_is_replaced(self) -> None:
        async def test(_: Bench) -> None:
            raise AssertionError("it is plugged")

        self.link.write_text("mine")
        with self.assertRaisesRegex(PortError, "is there already"):
            self.with_bench(test)
        self.assertEqual(self.link.read_text(), "mine")
        self.link.unlink()
        self.link.symlink_to("/dev/null")
        with self.assertRaisesRegex(PortError, "is there already"):
            self.with_bench(test)
        self.link = self.folder / "nowhere" / "tty"
        with self.assertRaisesRegex(PortError, "No such file"):
            self.with_bench(test)

    def test_a_link_that_is_anothers_stays(self) -> None:
        async def test(bench: Bench) -> None:
            self.link.unlink()
            self.link.symlink_to("/dev/pts/99999")
            bench.line.unplug()
            self.assertEqual(str(self.link.readlink()), "/dev/pts/99999")

        self.with_bench(test)

    def test_what_nobody_reads_is_lost(self) -> None:
        async def test(bench: Bench) -> None:
            bench.line.baud = 115200
            with bench.open(termios.B115200) as port:
                for _ in range(100):
                    bench.line._put(bytes(4096))  # more than any buffer takes; it must not stand still
                self.assertEqual(await bench.received(port, 1), b"\0")

        self.with_bench(test)


class FrameTests(LineTestCase):
    def test_a_frame_ends_with_silence(self) -> None:
        async def test(bench: Bench) -> None:
            with bench.open() as port:
                port.send("0103")
                port.send("0000")
                began = bench.loop.time()
                self.assertEqual(await bench.heard(), b"\x01\x03\0\0")
                passed = bench.loop.time() - began
                self.assertGreater(passed, SILENT_CHARACTERS * CHARACTER_S, "and took its time on the line")
                port.send("05")
                self.assertEqual(await bench.heard(), b"\x05")
                self.assertEqual(bench.line.frames, 2)

        self.with_bench(test)

    def test_a_flood_is_cut(self) -> None:
        async def test(bench: Bench) -> None:
            bench.line.baud = 115200
            with bench.open(termios.B115200) as port:
                port.send("AA" * 1000)
                self.assertEqual(await bench.heard(), b"\xaa" * 512)

        self.with_bench(test)

    def test_at_another_speed_nothing_is_heard(self) -> None:
        async def test(bench: Bench) -> None:
            with bench.open(termios.B19200) as port:
                port.send("01")
                bench.take_in()
                port.set_speed(termios.B9600)
                port.send("02")
                self.assertEqual(await bench.heard(), b"\x02")
                bench.line.baud = 19200
                port.send("03")
                bench.take_in()
                port.set_speed(termios.B19200)
                port.send("04")
                self.assertEqual(await bench.heard(), b"\x04")
                self.assertEqual(bench.line.frames, 2)

        self.with_bench(test)

    def test_nobody_hears(self) -> None:
        async def test(bench: Bench) -> None:
            bench.line.heard = None
            bench.line._hear(b"\x01")
            bench.line._frame_over()
            self.assertEqual(bench.line.frames, 1)

        self.with_bench(test)


class AnswerTests(LineTestCase):
    def test_it_takes_its_time(self) -> None:
        async def test(bench: Bench) -> None:
            with bench.open() as port:
                began = bench.loop.time()
                bench.line.answer(ANSWER)
                self.assertEqual(await bench.received(port, 1), ANSWER[:1])
                first = bench.loop.time() - began
                self.assertEqual(await bench.received(port, 94), ANSWER[1:])
                self.assertGreater(bench.loop.time() - began, 95 * CHARACTER_S)
                self.assertGreater(first, CHARACTER_S)
                self.assertEqual(bench.line.answers, 1)

        self.with_bench(test)

    def test_one_after_the_other(self) -> None:
        async def test(bench: Bench) -> None:
            with bench.open() as port:
                bench.line.answer(b"\x01" * 40)
                bench.line.answer(b"\x02" * 40)
                self.assertEqual(await bench.received(port, 80), b"\x01" * 40 + b"\x02" * 40)

        self.with_bench(test)

    def test_late(self) -> None:
        async def test(bench: Bench) -> None:
            bench.line.delay_s = 0.3
            with bench.open() as port:
                began = bench.loop.time()
                bench.line.answer(b"\x01")
                self.assertEqual(await bench.received(port, 1), b"\x01")
                self.assertGreater(bench.loop.time() - began, 0.3)

        self.with_bench(test)

    def test_mute(self) -> None:
        async def test(bench: Bench) -> None:
            with bench.open() as port:
                bench.line.mute = True
                bench.line.answer(b"\x01")
                bench.line.mute = False
                bench.line.answer(b"\x02")
                self.assertEqual(await bench.received(port, 1), b"\x02")
                self.assertEqual(bench.line.answers, 1)

        self.with_bench(test)

    def test_at_another_speed_it_is_not_understood(self) -> None:
        async def test(bench: Bench) -> None:
            with bench.open(termios.B19200) as port:
                bench.line.answer(ANSWER)
                received = await bench.received(port, 95)
                self.assertEqual(len(received), 95)
                alike = sum(one == another for one, another in zip(received, ANSWER, strict=True))
                self.assertLess(alike, 10)

        self.with_bench(test)

    def test_unplugged_it_is_lost(self) -> None:
        async def test(bench: Bench) -> None:
            bench.line.answer(ANSWER)
            bench.line.delay_s = 3600
            bench.line.answer(ANSWER)
            bench.line.unplug()
            bench.line.delay_s = 0
            bench.line.plug()
            with bench.open() as port:
                bench.line.answer(b"\xff")
                self.assertEqual(await bench.received(port, 1), b"\xff")
            self.assertEqual(bench.line.answers, 1)

        self.with_bench(test)


class NoiseTests(LineTestCase):
    def test_bytes_come_between_and_in_place_of_others(self) -> None:
        async def test(bench: Bench) -> None:
            quiet = bytes(10_000)
            self.assertEqual(bench.line._with_noise(quiet), quiet)
            bench.line.noise = 0.01
            noisy = bench.line._with_noise(quiet)
            strays = len(noisy) - noisy.count(0)
            self.assertTrue(70 < strays < 130, strays)
            inserted = len(noisy) - len(quiet)
            self.assertTrue(30 < inserted < 70, inserted)
            bench.line.noise = 0
            self.assertEqual(bench.line._with_noise(quiet), quiet)

        self.with_bench(test)

    def test_both_sides_get_it_where_nobody_speaks(self) -> None:
        async def test(bench: Bench) -> None:
            with bench.open() as port:
                bench.line.noise = 0.1
                self.assertEqual(len(await bench.received(port, 5)), 5)
                self.assertGreater(len(await bench.heard()), 0)
                bench.line.noise = 0.2  # in place of the other
                self.assertEqual(bench.line.noise, 0.2)
                self.assertEqual(len(await bench.received(port, 5)), 5)

        self.with_bench(test)

    def test_frames_have_it_in_them_both_ways(self) -> None:
        async def test(bench: Bench) -> None:
            with bench.open() as port:
                bench.line.noise = 0.3
                port.send(ANSWER.hex())
                frame = await bench.heard()
                while len(frame) < 50:  # strays that came before
                    frame = await bench.heard()
                self.assertNotEqual(frame, ANSWER)
                bench.line.answer(ANSWER)
                self.assertNotIn(ANSWER, await bench.received(port, 95))

        self.with_bench(test)
