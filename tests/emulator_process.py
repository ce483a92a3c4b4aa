"""A real ``cmm-emulator`` in a process of its own, and two ways to its registers that are not ours: mbpoll, bare bytes.

Knows nothing of trial.
"""

import json
import os
import re
import select
import subprocess
import sys
import termios
import time
from pathlib import Path
from types import TracebackType
from typing import Any

from tests.child import DEADLINE_S, Child
from tests.daemon import environment, until

__all__ = ["EmulatorProcess", "RawPort", "polled_coils", "polled_registers"]


class EmulatorProcess(Child):
    """An emulated controller that stands by behind a serial port. Its standard output and error go to files.

    :param folder: where everything of it goes.
    :param options: more of the command line.
    :ivar link: the path that a gateway opens.
    """

    def __init__(self, folder: Path, *options: str) -> None:
        super().__init__(folder / "emulator")
        self.link = folder / "ttyEmulator"
        words: list[str | Path] = [sys.executable, "-m", "cmmd.simulator.emulator.main", "--link", self.link, *options]
        self._launch(words, cwd=folder, env=environment(), merged=False, piped=True)

    def wait_until_plugged(self) -> "EmulatorProcess":
        """Wait until there is something to open.

        :raises AssertionError: it ends instead.
        """
        until(self._plugged_or_ended, "the emulator's link")
        return self

    def _plugged_or_ended(self) -> bool:
        self.assert_alive()
        return self.link.exists()

    def ask(self, *said: object) -> Any:
        """Say a word (docs/gateway-emulator.md).

        :return: what it answers; ``"ok"`` where nothing was asked for.
        :raises AssertionError: it does not understand or cannot, or there is no answer.
        """
        stdin, stdout = self._running.stdin, self._running.stdout
        assert stdin is not None and stdout is not None
        stdin.write(" ".join(map(str, said)).encode() + b"\n")
        stdin.flush()
        ready, _, _ = select.select([stdout], [], [], DEADLINE_S)
        line = stdout.readline() if ready else b""
        assert line, f"no answer to {said}:\n{self.log}"
        answer = json.loads(line)
        assert not (isinstance(answer, dict) and "error" in answer), answer["error"]
        return answer

    @property
    def registers(self) -> list[int]:
        """The truth now: holding registers from address 0 on. While it is not frozen, it is another one soon."""
        registers: list[int] = self.ask("registers")
        return registers

    @property
    def coils(self) -> list[int]:
        """The truth now: coils from address 0 on, 0 or 1."""
        coils: list[int] = self.ask("coils")
        return coils

    @property
    def writes(self) -> list[tuple[int, bool]]:
        """Every command that it was given, obeyed or not: coil, whether obeyed."""
        return [(coil, obeyed) for coil, obeyed in self.ask("writes")]


# --- mbpoll ----------------------------------------------------------------------------------------------------------


def polled_registers(link: Path, address: int, count: int, *, baud: int = 9600, unit: int = 1) -> list[int]:
    """What Debian's mbpoll reads: holding registers, 0..65535.

    :raises AssertionError: it cannot.
    """
    return _polled("4:hex", 16, link, address, count, baud, unit)


def polled_coils(link: Path, address: int, count: int, *, baud: int = 9600, unit: int = 1) -> list[int]:
    """What Debian's mbpoll reads: coils, 0 or 1.

    :raises AssertionError: it cannot.
    """
    return _polled("0", 10, link, address, count, baud, unit)


def _polled(table: str, base: int, link: Path, address: int, count: int, baud: int, unit: int) -> list[int]:
    where = ["-a", str(unit), "-t", table, "-0", "-r", str(address), "-c", str(count)]
    done = subprocess.run(
        ["mbpoll", "-m", "rtu", "-b", str(baud), "-P", "none", *where, "-o", "5", "-1", "-q", link],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=DEADLINE_S,
        check=False,
        text=True,
    )
    assert done.returncode == 0, done.stdout
    values = {int(place): int(value, base) for place, value in re.findall(r"(?m)^\[(\d+)\]:\s+(\S+)", done.stdout)}
    return [values[place] for place in range(address, address + count)]


# --- bare bytes ------------------------------------------------------------------------------------------------------


class RawPort:
    """A serial port without anything: bytes out, bytes in.

    :param speed: as termios calls it, such as ``termios.B9600``.
    """

    def __init__(self, path: Path, speed: int = termios.B9600) -> None:
        self.descriptor = os.open(path, os.O_RDWR | os.O_NOCTTY)
        self.set_speed(speed)

    def __enter__(self) -> "RawPort":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        os.close(self.descriptor)

    def set_speed(self, speed: int) -> None:
        """Both ways."""
        settings = termios.tcgetattr(self.descriptor)
        settings[4] = settings[5] = speed
        termios.tcsetattr(self.descriptor, termios.TCSANOW, settings)

    def send(self, frame: str) -> None:
        """Send a frame in hex, as it is."""
        os.write(self.descriptor, bytes.fromhex(frame))

    def receive(self, octets: int, within_s: float = DEADLINE_S) -> str:
        """So many bytes in hex; or fewer, where no more come in time; or none, where the port is gone."""
        received = b""
        give_up = time.monotonic() + within_s
        while len(received) < octets:
            ready, _, _ = select.select([self.descriptor], [], [], max(give_up - time.monotonic(), 0))
            piece = os.read(self.descriptor, octets - len(received)) if ready else b""
            if not piece:
                break
            received += piece
        return received.hex().upper()
