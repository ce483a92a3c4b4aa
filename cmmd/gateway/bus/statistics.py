"""What a bus counts."""

from dataclasses import dataclass

__all__ = ["Statistics"]


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
