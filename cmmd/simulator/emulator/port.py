"""A serial port that does not exist: a pseudo-terminal, and a symlink that a gateway opens as if it were an adapter."""

import os
import stat
import termios
import tty
from asyncio import AbstractEventLoop
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

__all__ = ["SPEEDS", "Port", "PortError"]

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
