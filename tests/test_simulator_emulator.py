"""The emulator as a program: pymodbus' own client, bare bytes, and words on its standard input."""

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import termios
from functools import partial
from pathlib import Path
from tempfile import mkdtemp

from fastcrc.crc16 import modbus as crc16
from pymodbus.client import ModbusSerialClient
from twisted.trial.unittest import SynchronousTestCase

from cmmd.simulator.emulator.line import PortError
from cmmd.simulator.emulator.service import make_world, serve
from tests.daemon import DEADLINE_S, environment, until
from tests.emulator_process import EmulatorProcess, RawPort


class EmulatorTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.folder = Path(mkdtemp(prefix="cmmd-emulator-"))
        self.addCleanup(shutil.rmtree, self.folder)

    def emulator(self, *options: str) -> EmulatorProcess:
        process = EmulatorProcess(self.folder, *options)
        self.addCleanup(process.terminate)
        return process.wait_until_plugged()

    def client(self, emulator: EmulatorProcess, baud: int = 9600) -> ModbusSerialClient:
        client = ModbusSerialClient(str(emulator.link), baudrate=baud, timeout=5, retries=0)
        self.addCleanup(client.close)
        self.assertTrue(client.connect())
        return client


class ProcessTests(EmulatorTestCase):
    def test_a_client_reads_what_the_controller_shows(self) -> None:
        emulator = self.emulator()
        emulator.ask("freeze")
        client = self.client(emulator)
        self.assertEqual(client.read_holding_registers(0, count=45).registers, emulator.registers[:45])
        self.assertEqual(client.read_holding_registers(46, count=10).registers, emulator.registers[46:])
        self.assertEqual(list(client.read_coils(0, count=90).bits)[:90], [bool(on) for on in emulator.coils[:90]])
        self.assertEqual(client.read_holding_registers(50, count=10).exception_code, 2)
        self.assertEqual(client.read_input_registers(0, count=1).exception_code, 1)

    def test_a_client_commands(self) -> None:
        emulator = self.emulator("--unit", "9")
        client = self.client(emulator)
        self.assertEqual(client.write_coil(0, True, device_id=9).exception_code, 4)
        self.assertFalse(client.write_coil(4, True, device_id=9).isError())
        self.assertFalse(client.write_coil(0, True, device_id=9).isError())
        emulator.ask("advance", 60)
        self.assertEqual(client.read_holding_registers(34, count=1, device_id=9).registers, [9])
        self.assertEqual(emulator.writes, [(0, False), (4, True), (0, True)])

    def test_bare_bytes(self) -> None:
        emulator = self.emulator()
        emulator.ask("freeze")
        with RawPort(emulator.link) as port:
            port.send("01030000002D85D7")
            answer = bytes.fromhex(port.receive(95))
        self.assertEqual(answer[:3].hex(), "01035a")
        registers = [int.from_bytes(answer[place : place + 2], "big") for place in range(3, 93, 2)]
        self.assertEqual(registers, emulator.registers[:45])
        self.assertEqual(crc16(answer[:-2]).to_bytes(2, "little"), answer[-2:])

    def test_at_another_speed_there_is_no_answer(self) -> None:
        emulator = self.emulator("--baud", "19200")
        with RawPort(emulator.link, termios.B9600) as port:
            port.send("010300000001840A")
            until(lambda: emulator.ask("status")["misheard"] == 8, "it has come")
            port.set_speed(termios.B19200)
            port.send("010300000001840A")
            self.assertEqual(port.receive(7)[:6], "010302")
        status = emulator.ask("status")
        self.assertEqual((status["frames"], status["answers"]), (1, 1))

    def test_unplugged_and_plugged(self) -> None:
        emulator = self.emulator()
        with RawPort(emulator.link) as port:
            emulator.ask("unplug")
            self.assertEqual(port.receive(1), "")
        self.assertFalse(emulator.link.is_symlink())
        emulator.ask("plug")
        self.assertEqual(len(self.client(emulator).read_holding_registers(0, count=45).registers), 45)

    def test_a_mute_controller_obeys(self) -> None:
        emulator = self.emulator()
        emulator.ask("mute")
        with RawPort(emulator.link) as port:
            port.send("01050004FF00CDFB")
            until(lambda: emulator.writes == [(4, True)], "it has obeyed")
            self.assertEqual(port.receive(1, within_s=0), "")

    def test_it_ends_with_a_signal(self) -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            emulator = EmulatorProcess(self.folder).wait_until_plugged()
            self.assertEqual(emulator.terminate(number), 0, emulator.log)
            self.assertFalse(emulator.link.is_symlink())
            self.assertNotIn("Traceback", emulator.log)
            self.assertIn(f"HGM6120N at {emulator.link}, 9600 8N1", emulator.log)

    def test_what_it_cannot_do_is_said(self) -> None:
        emulator = self.emulator()
        with self.assertRaisesRegex(AssertionError, "no such word"):
            emulator.ask("jump")


class CommandLineTests(EmulatorTestCase):
    def run_emulator(self, *arguments: str | Path, code: str = "") -> "subprocess.CompletedProcess[str]":
        """Run it with nothing on its standard input."""
        how = ["-c", code] if code else ["-m", "cmmd.simulator.emulator.main"]
        return subprocess.run(
            [sys.executable, *how, *arguments],
            cwd=self.folder,
            env=environment(),
            input="",
            capture_output=True,
            timeout=DEADLINE_S,
            check=False,
            text=True,
        )

    def test_wrong_options(self) -> None:
        link = ("--link", "tty")
        wrong = {
            (): "'--link'",
            (*link, "--baud", "9601"): "9601",
            (*link, "--unit", "248"): "248",
            (*link, "--seed", "x"): "'x'",
        }
        for options, named in wrong.items():
            done = self.run_emulator(*options)
            self.assertEqual(done.returncode, 2, options)
            self.assertIn(named, done.stderr)
            self.assertNotIn("Traceback", done.stderr)

    def test_a_link_that_cannot_be(self) -> None:
        file = self.folder / "tty"
        file.write_text("mine")
        done = self.run_emulator("--link", file)
        self.assertEqual(done.returncode, 1)
        self.assertRegex(done.stderr, r"Error: .*tty is there already, and is no link to a pseudo-terminal\n$")
        self.assertEqual(file.read_text(), "mine")

    def test_it_ends_with_its_input(self) -> None:
        done = self.run_emulator("--link", "tty")
        self.assertEqual((done.returncode, done.stdout), (0, ""), done.stderr)
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_without_pymodbus(self) -> None:
        hidden = "import sys; sys.modules['pymodbus'] = None; from cmmd.simulator.emulator.main import main; main()"
        done = self.run_emulator("--link", "tty", code=hidden)
        self.assertEqual(done.returncode, 1)
        self.assertEqual(done.stderr, "Error: cmm-emulator needs pymodbus: pip install 'cmmd[emulator]'\n")


class ServeTests(EmulatorTestCase):
    """In this process."""

    def serve(self, words: int, said: bytes = b"", *, end: bool = False) -> bytes:
        """Say something, and wait for the end.

        :return: what is answered.
        """
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)

        async def run() -> None:
            world = make_world(self.folder / "tty", baud=9600, seed=1, unit=1, model="HGM6120N", lively=False)
            ended = asyncio.Event()
            if end:
                asyncio.get_running_loop().call_soon(ended.set)
            serving = serve(world, words=words, answers=writing, ended=ended)
            await asyncio.wait_for(serving, DEADLINE_S)
            self.assertFalse(world.line.plugged)

        try:
            asyncio.run(run())
        finally:
            os.close(writing)
        return b"".join(iter(partial(os.read, reading, 4096), b""))

    def test_line_by_line(self) -> None:
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        os.write(writing, b"mute\r\n\n  \ndelay 5\nj\xff\nunfinished")
        os.close(writing)
        answers = self.serve(reading).splitlines()
        self.assertEqual(answers[:2], [b'"ok"', b'"ok"'])
        self.assertEqual(len(answers), 3)
        self.assertIn(b"no such word", answers[2])

    def test_nothing_is_read_of_what_nobody_can_wait_for(self) -> None:
        nothing = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, nothing)
        self.assertEqual(self.serve(nothing, end=True), b"")

    def test_a_link_that_cannot_be(self) -> None:
        (self.folder / "tty").mkdir()
        nothing = os.open(os.devnull, os.O_RDONLY)
        self.addCleanup(os.close, nothing)
        with self.assertRaises(PortError):
            self.serve(nothing)
