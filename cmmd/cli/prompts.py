"""Questions to whoever sits at the terminal. While somebody thinks, the reactor turns: the connection stays alive."""

import os
import termios
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, TextIO

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReadDescriptor
from twisted.python.failure import Failure
from zope.interface import implementer

from cmmd.cli.exit_status import Ends, ExitStatus
from cmmd.cli.output import Output

__all__ = ["ask", "can_ask"]

LONGEST_LINE = 4096


def can_ask(output: Output, inp: TextIO) -> bool:
    """Whether somebody is there who sees questions and can answer them."""
    return output.can_show_questions and inp.isatty()


async def ask(
    lines: Sequence[str],
    output: Output,
    inp: TextIO,
    reactor: Any,
    *,
    question: str = "Send it?",
    refused: str = "nothing was sent",
) -> None:
    """Have something allowed by the person at the terminal. What was typed before the question does not count.

    :param lines: what exactly will happen.
    :param refused: what is said where the answer is anything but yes.
    :raises Ends: the answer is anything but yes.
    """
    with suppress(termios.error):
        termios.tcflush(inp.fileno(), termios.TCIFLUSH)
    output.question([*lines, f"{question} [y/N]"])
    answer = await _line(inp.fileno(), reactor)
    if answer.strip().lower() not in (b"y", b"yes"):
        raise Ends(ExitStatus.FAILED, "not_confirmed", refused)


def _line(descriptor: int, reactor: Any) -> Deferred[bytes]:
    """The next line of a terminal, which hands out whole lines; empty at its end."""
    reader = _Line(descriptor, reactor)
    reactor.addReader(reader)
    return reader.line


@implementer(IReadDescriptor)
class _Line:
    def __init__(self, descriptor: int, reactor: Any) -> None:
        self._descriptor = descriptor
        self._reactor = reactor
        self.line: Deferred[bytes] = Deferred(self._stop)

    def _stop(self, _: object = None) -> None:
        self._reactor.removeReader(self)

    def fileno(self) -> int:
        return self._descriptor

    def doRead(self) -> None:
        self._stop()
        try:
            line = os.read(self._descriptor, LONGEST_LINE)
        except OSError:  # the terminal has gone
            line = b""
        self.line.callback(line)

    def connectionLost(self, _: Failure) -> None:
        self._stop()
        if not self.line.called:
            self.line.callback(b"")

    def logPrefix(self) -> str:
        return "terminal"
