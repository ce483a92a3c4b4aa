"""The controller emulator, read by Debian's mbpoll and byte by byte: both see what the genset shows."""

import shutil
import termios
from pathlib import Path
from tempfile import mkdtemp

from twisted.trial.unittest import SynchronousTestCase

from tests.emulator_process import EmulatorProcess, RawPort, polled_coils, polled_registers
from tests_system.programs import run

SPEEDS = {9600: termios.B9600, 19200: termios.B19200, 115200: termios.B115200}
COILS, REGISTERS, COUNTERS = "01010000005ABC31", "01030000002D85D7", "0103002E000AA5C4"
"""What the vendor's cloud polls (docs/protocol.md, section 4.1), and the answers' lengths: 17, 95 and 25 bytes."""


def values(answer: str, octets: int) -> bytes:
    """What a read answer holds, between its head and its CRC."""
    assert len(answer) == 2 * octets, answer
    return bytes.fromhex(answer)[3:-2]


def registers(answer: str, octets: int) -> list[int]:
    held = values(answer, octets)
    return [held[place] << 8 | held[place + 1] for place in range(0, len(held), 2)]


class MbpollTests(SynchronousTestCase):
    def emulator(self, *options: str) -> EmulatorProcess:
        folder = Path(mkdtemp(prefix="cmmd-mbpoll-"))
        self.addCleanup(shutil.rmtree, folder)
        process = EmulatorProcess(folder, *options)
        self.addCleanup(process.terminate)
        return process.wait_until_plugged()

    def test_it_reads_what_bare_bytes_read(self) -> None:
        for baud, speed in SPEEDS.items():
            emulator = self.emulator("--baud", str(baud), "--seed", str(baud))
            emulator.ask("mains", "blackout")
            emulator.ask("fault", "low_fuel")
            emulator.ask("freeze")
            emulator.ask("advance", 90)  # on load: few registers are 0
            with RawPort(emulator.link, speed) as port:
                port.send(COILS)
                held = values(port.receive(17), 17)
                coils = [held[coil // 8] >> coil % 8 & 1 for coil in range(90)]
                port.send(REGISTERS)
                low = registers(port.receive(95), 95)
                port.send(COUNTERS)
                high = registers(port.receive(25), 25)
            self.assertEqual(polled_coils(emulator.link, 0, 90, baud=baud), coils)
            self.assertEqual(polled_registers(emulator.link, 0, 45, baud=baud), low)
            self.assertEqual(polled_registers(emulator.link, 46, 10, baud=baud), high)
            self.assertEqual(
                (coils, low, high), (emulator.coils[:90], emulator.registers[:45], emulator.registers[46:])
            )
            self.assertEqual(low[34], 9, "it runs")
            self.assertGreater(sum(value > 0 for value in low), 25)

    def test_it_commands(self) -> None:
        emulator = self.emulator()
        run("mbpoll", "-m", "rtu", "-b", "9600", "-P", "none", "-t", "0", "-0", "-r", "4", "-q", emulator.link, "1")
        self.assertEqual(emulator.writes, [(4, True)])
        self.assertEqual(polled_coils(emulator.link, 40, 4), [0, 0, 1, 0])

    def test_what_is_not_there(self) -> None:
        emulator = self.emulator()
        with self.assertRaisesRegex(AssertionError, "Illegal data address"):
            polled_registers(emulator.link, 50, 10)
        with self.assertRaisesRegex(AssertionError, "timed out"):
            polled_registers(emulator.link, 0, 1, baud=19200)
        with self.assertRaisesRegex(AssertionError, "timed out"):
            polled_registers(emulator.link, 0, 1, unit=2)
        self.assertEqual(len(polled_registers(emulator.link, 0, 45)), 45)
