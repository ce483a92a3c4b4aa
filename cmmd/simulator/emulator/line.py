"""The emulated serial line: a pseudo-terminal that takes time and has a speed and noise, and the clock of its world."""

import asyncio
import os
import stat
import termios
import tty
from asyncio import AbstractEventLoop, Task, TimerHandle
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from random import Random

__all__ = ["SPEEDS", "Line", "Port", "PortError", "WorldClock"]

# --- the pseudo-terminal ---------------------------------------------------------------------------------------------


SPEEDS = {
    1200: termios.B1200,
    2400: termios.B2400,
    4800: termios.B4800,
    9600: termios.B9600,
    19200: termios.B19200,
    38400: termios.B38400,
    57600: termios.B57600,
    115200: termios.B115200,
}
"""Bit/s, and what termios calls it."""

_BIT_PER_S = {name: speed for speed, name in SPEEDS.items()}
_OUTPUT_SPEED = 5  # where tcgetattr has it
_PSEUDO_TERMINALS = Path("/dev/pts")


class PortError(Exception):
    """There can be no such port. The text is fit for a user."""


class Port:
    """The far side of the adapter. Unplugged, its device is gone, and the gateway's descriptor of it is dead.

    :param link: the path that the gateway opens. What is there must be a link to a pseudo-terminal, or nothing.
    :param loop: reads it.
    :param received: takes what the gateway writes, as it comes.
    """

    def __init__(self, link: Path, loop: AbstractEventLoop, received: Callable[[bytes], None]) -> None:
        self._link = link
        self._loop = loop
        self._received = received
        self._ours = -1
        self._theirs = -1  # held open as well: otherwise each close by a gateway would end the pair
        self._device = ""

    @property
    def plugged(self) -> bool:
        """Tell whether it is there."""
        return self._ours >= 0

    @property
    def speed(self) -> int | None:
        """Bit/s that the gateway has set; None: none of :data:`SPEEDS`, or unplugged.

        Nothing else can be seen: the kernel lets a pseudo-terminal have no parity, and 8 data bits only.
        """
        if not self.plugged:
            return None
        return _BIT_PER_S.get(termios.tcgetattr(self._ours)[_OUTPUT_SPEED])

    def plug(self) -> None:
        """Be there; nothing happens where it already is.

        :raises PortError: the link cannot be made.
        """
        if self.plugged:
            return
        ours, theirs = os.openpty()
        try:
            tty.setraw(theirs)
            os.set_blocking(ours, False)
            self._device = os.ttyname(theirs)
            self._make_link()
        except BaseException:
            os.close(ours)
            os.close(theirs)
            raise
        self._ours, self._theirs = ours, theirs
        self._loop.add_reader(ours, self._readable)

    def unplug(self) -> None:
        """Be gone; nothing happens where it already is."""
        if not self.plugged:
            return
        with suppress(OSError):
            if str(self._link.readlink()) == self._device:  # and not another emulator's
                self._link.unlink()
        self._loop.remove_reader(self._ours)
        os.close(self._theirs)
        os.close(self._ours)
        self._ours = self._theirs = -1

    def write(self, octets: bytes) -> None:
        """Have the gateway receive something. Bytes that are not read in time are lost, as it is on a line."""
        if self.plugged:
            with suppress(BlockingIOError):
                os.write(self._ours, octets)

    def _readable(self) -> None:
        with suppress(BlockingIOError):
            self._received(os.read(self._ours, 4096))

    def _make_link(self) -> None:
        """Put the link there in one step, in place of one that a killed emulator has left."""
        new = self._link.with_name(f".{self._link.name}.{os.getpid()}")
        try:
            if os.path.lexists(self._link) and not self._replaceable():
                raise PortError(f"{self._link} is there already, and is no link to a pseudo-terminal")
            new.symlink_to(self._device)
            new.replace(self._link)
        except OSError as error:
            raise PortError(f"{self._link}: {error.strerror}") from None

    def _replaceable(self) -> bool:
        return stat.S_ISLNK(self._link.lstat().st_mode) and self._link.readlink().parent == _PSEUDO_TERMINALS


# --- the line --------------------------------------------------------------------------------------------------------


class WorldClock:
    """A clock that can be stopped, so that readings stay as they are, and put forward, so that tests do not wait.

    :param seconds: the wall clock.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._wall = seconds
        self._ahead = 0.0  # of the wall clock
        self._stopped_at: float | None = None

    def seconds(self) -> float:
        """The time of the emulated world."""
        return self._wall() + self._ahead if self._stopped_at is None else self._stopped_at

    @property
    def stopped(self) -> bool:
        """Tell whether it is stopped."""
        return self._stopped_at is not None

    def stop(self) -> None:
        """Stand still from now on."""
        self._stopped_at = self.seconds()

    def go(self) -> None:
        """Go on from where it is."""
        self._ahead = self.seconds() - self._wall()
        self._stopped_at = None

    def advance(self, seconds: float) -> None:
        """Put it forward; a stopped clock stays stopped there."""
        if self._stopped_at is None:
            self._ahead += seconds
        else:
            self._stopped_at += seconds


BITS_PER_CHARACTER = 10
"""8N1: start bit, eight data bits, stop bit."""

SILENT_CHARACTERS = 3.5
"""The silence that ends a frame."""

SLICE_S = 0.01
"""An answer comes in slices as long as this, as an adapter hands them over."""

LONGEST_FRAME = 512  # bytes; Modbus has 256


class Line:
    """Carries requests to a controller and its answers back.

    What is sent over it takes the time that it takes on a line. At another speed than the controller's neither side
    understands the other: the controller hears no frame, and where an answer would be, the gateway gets random bytes.

    :param link: the path that a gateway opens.
    :param loop: all time.
    :param baud: bit/s that the controller is set to.
    :param random: all chance: noise.
    :ivar heard: takes each frame, all that came between two silences, whatever it is; None: it is lost.
    :ivar delay_s: how late answers are.
    :ivar mute: answers do not get through; requests do.
    :ivar frames: how many came, foreign and broken ones included; :ivar answers: how many went out.
    :ivar misheard: bytes that came at another speed.
    """

    def __init__(self, link: Path, loop: AbstractEventLoop, *, baud: int, random: Random) -> None:
        self.baud = baud
        self.heard: Callable[[bytes], None] | None = None
        self.delay_s = 0.0
        self.mute = False
        self.frames = 0
        self.answers = 0
        self.misheard = 0
        self._loop = loop
        self._random = random
        self._port = Port(link, loop, self._received)
        self._frame = bytearray()
        self._here_at = 0.0  # when the last character of it is here
        self._silence: TimerHandle | None = None
        self._speaking = asyncio.Lock()
        self._answers: set[Task[None]] = set()
        self._noise = 0.0
        self._hum: Task[None] | None = None

    # --- what one can do to it ---------------------------------------------------------------------------------------

    @property
    def plugged(self) -> bool:
        """Tell whether the adapter is there."""
        return self._port.plugged

    @property
    def gateway_baud(self) -> int | None:
        """Bit/s that the gateway has set; None: no usual speed, or unplugged."""
        return self._port.speed

    def plug(self) -> None:
        """Have the adapter there.

        :raises cmmd.simulator.emulator.line.PortError: that cannot be.
        """
        self._port.plug()

    def unplug(self) -> None:
        """Unplug the adapter; what is under way is lost."""
        self._port.unplug()
        self._forget_frame()
        for answer in self._answers:
            answer.cancel()

    def close(self) -> None:
        """Unplug, and be silent for ever."""
        self.unplug()
        self.noise = 0.0

    @property
    def noise(self) -> float:
        """The share, 0..1, of the time of all characters in which a random byte comes.

        In a frame it comes between two bytes or in place of one; where neither side sends, both get it.
        """
        return self._noise

    @noise.setter
    def noise(self, share: float) -> None:
        self._noise = share
        if self._hum is not None:
            self._hum.cancel()
        self._hum = self._loop.create_task(self._make_noise()) if share else None

    # --- towards the controller --------------------------------------------------------------------------------------

    def _received(self, octets: bytes) -> None:
        if self._port.speed != self.baud:
            self._forget_frame()  # whatever the controller hears is no frame
            self.misheard += len(octets)
            return
        self._hear(self._with_noise(octets))

    def _hear(self, octets: bytes) -> None:
        self._frame += octets[: LONGEST_FRAME - len(self._frame)]
        self._here_at = max(self._here_at, self._loop.time()) + len(octets) * self._character_s
        if self._silence is not None:
            self._silence.cancel()
        silent_at = self._here_at + SILENT_CHARACTERS * self._character_s
        self._silence = self._loop.call_at(silent_at, self._frame_over)

    def _frame_over(self) -> None:
        frame = bytes(self._frame)
        self._forget_frame()
        self.frames += 1
        if self.heard is not None:
            self.heard(frame)

    def _forget_frame(self) -> None:
        self._frame.clear()
        self._here_at = 0.0
        if self._silence is not None:
            self._silence.cancel()
            self._silence = None

    # --- towards the gateway -----------------------------------------------------------------------------------------

    def answer(self, frame: bytes) -> None:
        """Have the controller answer, after those answers that are under way."""
        if self.mute:
            return
        task = self._loop.create_task(self._speak(frame))
        self._answers.add(task)
        task.add_done_callback(self._answers.discard)

    async def _speak(self, frame: bytes) -> None:
        await asyncio.sleep(self.delay_s)
        async with self._speaking:
            size = max(int(SLICE_S / self._character_s), 1)
            for start in range(0, len(frame), size):
                part = frame[start : start + size]
                await asyncio.sleep(len(part) * self._character_s)
                self._put(self._with_noise(part))
            self.answers += 1

    def _put(self, octets: bytes) -> None:
        understood = self._port.speed == self.baud
        self._port.write(octets if understood else self._random.randbytes(len(octets)))

    # --- noise -------------------------------------------------------------------------------------------------------

    def _with_noise(self, octets: bytes) -> bytes:
        if not self._noise:
            return octets
        noisy = bytearray()
        for octet in octets:
            hit = self._random.random() < self._noise
            if hit:
                noisy.append(self._random.randrange(256))
            if not hit or self._random.random() < 0.5:
                noisy.append(octet)
        return bytes(noisy)

    async def _make_noise(self) -> None:
        while True:
            await asyncio.sleep(self._random.expovariate(self._noise / self._character_s))
            if self.plugged and not self._speaking.locked():
                stray = self._random.randbytes(1)
                self._put(stray)
                self._hear(stray)

    @property
    def _character_s(self) -> float:
        return BITS_PER_CHARACTER / self.baud
