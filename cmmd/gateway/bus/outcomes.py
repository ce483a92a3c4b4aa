"""Outcomes of exchanges with a controller: errors whose kinds are those of a command's outcome, and counters."""

from dataclasses import dataclass

from cmmd.modbus.frames import ExceptionResponse

__all__ = ["BusError", "ExceptionAnswer", "NoAnswer", "NotSent", "PortError", "Statistics"]


class BusError(Exception):
    """An exchange did not end with the answer that was hoped for. The text is fit for a log."""


class NotSent(BusError):
    """Nothing left for the controller: what was asked is surely not done."""


class NoAnswer(BusError):
    """The request left, or may have, and no valid answer says what became of it: the outcome is unknown."""


class ExceptionAnswer(BusError):
    """The controller said no.

    :ivar code: the exception's code, 0..255.
    """

    def __init__(self, response: ExceptionResponse) -> None:
        super().__init__(f"exception {response.code}: {response.name}")
        self.code = response.code


class PortError(Exception):
    """A port cannot be opened, or was lost. The text is fit for a log."""


@dataclass(slots=True)
class Statistics:
    """Plain integers since the start; reopening and rewiring do not set them back.

    :ivar requests: requests sent, repeated ones and those that look for an echo included.
    :ivar answers: valid answers in time, exceptions not among them.
    :ivar exceptions: exceptions in time.
    :ivar timeouts: requests without a valid answer in time.
    :ivar crc_errors: what began like the answer, was long enough, and had a wrong CRC or garbage behind it.
    :ivar bytes_discarded: bytes that were part neither of an answer nor of an echo.
    :ivar late_answers: valid answers after their time: dropped; or taken for that of a repeated read, whose own is then
        counted when it comes.
    :ivar retries: reads sent again.
    :ivar reopenings: openings of the port after the first.
    :ivar echoes: requests that the line sent back.
    """

    requests: int = 0
    answers: int = 0
    exceptions: int = 0
    timeouts: int = 0
    crc_errors: int = 0
    bytes_discarded: int = 0
    late_answers: int = 0
    retries: int = 0
    reopenings: int = 0
    echoes: int = 0
