"""The device's own four inputs, from files or GPIO lines, read on every request (protocol section 4.5)."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from twisted.logger import Logger

from cmmd.gateway.link.source import InputStates
from cmmd.gateway.settings import Input

__all__ = ["Contact", "FileContact", "GpioContact", "InputError", "Inputs", "contact_at"]

NAMES = ("door", "fire", "alarm", "inhibit")
"""The inputs, in the order of :class:`InputStates`."""

LONGEST_VALUE = 16


class InputError(ValueError):
    """The configuration names no input that can be read."""


class Contact(Protocol):
    """A contact that is on or off."""

    def read(self) -> bool:
        """Read the states of all inputs.

        :raises OSError: the state is unknown.
        :raises ValueError: the same: what is there says neither.
        """

    def close(self) -> None:
        """Release the contact; it can be read again."""


class FileContact:
    """A file that holds 0 or 1: a GPIO line in sysfs, or whatever a program writes.

    :param active_low: 0 is on.
    """

    def __init__(self, path: Path, *, active_low: bool) -> None:
        self._path = path
        self._active_low = active_low

    def read(self) -> bool:
        """Read the states of all inputs."""
        file = os.open(self._path, os.O_RDONLY | os.O_NONBLOCK)  # a pipe without a writer must not stop everything
        try:
            text = os.read(file, LONGEST_VALUE).strip()
        finally:
            os.close(file)
        if text not in (b"0", b"1"):
            raise ValueError(f"{self._path}: neither 0 nor 1")
        return (text == b"1") is not self._active_low

    def close(self) -> None:
        """Release nothing, since nothing is held."""


class GpioContact:
    """A line of a GPIO character device, held from the first reading on.

    :param chip: its path, such as /dev/gpiochip0.
    :param line: its offset, or its name.
    :param bias: one of the words of the configuration.
    :param gpiod: the library.
    """

    def __init__(self, chip: str, line: int | str, *, active_low: bool, bias: str, gpiod: Any) -> None:
        self._chip = chip
        self._line = line
        self._active = gpiod.line.Value.ACTIVE
        self._settings = gpiod.LineSettings(
            direction=gpiod.line.Direction.INPUT,
            bias=getattr(gpiod.line.Bias, bias.upper().replace(" ", "_")),
            active_low=active_low,
        )
        self._request_lines = gpiod.request_lines
        self._request: Any = None

    def read(self) -> bool:
        """Read the states of all inputs."""
        try:
            if self._request is None:
                self._request = self._request_lines(self._chip, {self._line: self._settings}, "cmm-gateway")
            return bool(self._request.get_value(self._line) is self._active)
        except Exception:
            self.close()  # a chip that was unplugged may come back
            raise

    def close(self) -> None:
        request, self._request = self._request, None
        if request is not None:
            request.release()


def contact_at(settings: Input) -> Contact | None:
    """The contact that one table of the configuration names; nothing is opened.

    :return: None: none.
    :raises InputError: something else; the text begins with the key.
    """
    scheme, _, place = settings.source.partition(":")
    if not settings.source:
        return None
    if scheme == "file" and place:
        if settings.bias != "as is":
            raise InputError("bias: a file has none, only a line of gpio:")
        return FileContact(Path(place), active_low=settings.active_low)
    chip, _, line = place.rpartition(":")
    if scheme != "gpio" or not chip or not line:
        raise InputError("source: file:PATH or gpio:CHIP:LINE expected")
    try:
        import gpiod
        import gpiod.line
    except ImportError:
        raise InputError("source: gpio: needs the package gpiod (pip install 'cmmd[gpio]')") from None
    name = int(line) if line.isascii() and line.isdigit() else line
    return GpioContact(chip, name, active_low=settings.active_low, bias=settings.bias, gpiod=gpiod)


class Inputs:
    """All four. What cannot be read is unknown, which is said once; the same for each change.

    :param contacts: by name; those that there are.
    :ivar states: what was read last, by name; None: unknown.
    """

    def __init__(self, contacts: Mapping[str, Contact], log: Logger) -> None:
        self._contacts = contacts
        self._log = log
        self._said: dict[str, str] = {}
        self.states: dict[str, int | None] = dict.fromkeys(contacts)

    def read(self) -> InputStates:
        """Read the states of all inputs.

        :return: 0 or 1; None where there is no such input, or its state is unknown. Where that of remote control
            is inhibited, it is.
        """
        self.states = {name: self._state(name, contact) for name, contact in self._contacts.items()}
        shown = dict(self.states)
        if "inhibit" in shown and shown["inhibit"] is None:
            shown["inhibit"] = 1
        return InputStates(*(shown.get(name) for name in NAMES))

    def close(self) -> None:
        """Release the contacts of all inputs."""
        for contact in self._contacts.values():
            contact.close()

    def _state(self, name: str, contact: Contact) -> int | None:
        try:
            state = int(contact.read())
        except (OSError, ValueError) as error:
            reason = error.strerror or str(error) if isinstance(error, OSError) else str(error)
            cautious = "; remote control counts as inhibited, and commands are refused" if name == "inhibit" else ""
            self._say(name, f"cannot be read: {reason}{cautious}", self._log.warn)
            return None
        self._say(name, "is on" if state else "is off", self._log.info)
        return state

    def _say(self, name: str, what: str, level: Callable[..., None]) -> None:
        if self._said.get(name) != what:
            self._said[name] = what
            level("input {name} {what}", name=name, what=what)
