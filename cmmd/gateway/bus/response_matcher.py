"""Finding the answer to one request in what a line brings: noise, an echo, the answer, in that order at worst.

Modbus RTU ends a frame with a silence of 1.5 characters, which a program behind a driver's buffers cannot see. But what
the answer to a request looks like is known from the request: unit, function, and byte count or what was written; or, as
an exception, unit, function and five bytes. So the bytes are searched for a frame that looks like that and has the
right CRC. Garbage before it costs nothing, garbage within it makes it no answer.

Garbage behind it makes what a read brought no answer either: a byte that was injected into an answer leaves its last
byte over, and one of 65,536 such answers has the right CRC without that. What a line brings when a sender lets go of it
is not garbage: see :data:`GLITCHES`.
"""

from typing import NamedTuple

from cmmd.modbus.envelope import crc16
from cmmd.modbus.frames import ReadRequest, Request, write_response

__all__ = ["GLITCHES", "ResponseMatcher", "answer_shape", "is_its_own_answer"]

_EXCEPTION = 0x80
_EXCEPTION_LENGTH = 5  # bytes: unit, function, code, CRC
_ROUND_A_PAYLOAD = 5  # bytes: unit, function, byte count, CRC
_WRITTEN_HEAD = 6  # bytes: unit, function, and two words of the request
_WRITTEN_LENGTH = 8

GLITCHES = bytes(0xFF << zeros & 0xFF for zeros in range(9))
"""What a line makes of a short pulse, as when a sender lets go of it: a start bit, a few zeros, then ones."""

_MOST_KEPT = 1024
_LEAST_KEPT = 512
"""Bytes of what may still become an echo or an answer; each has at most 256."""


class Shape(NamedTuple):
    """The shape of a frame: its first bytes, and its length with the CRC."""

    head: bytes
    length: int


def answer_shape(request: Request) -> Shape:
    """Compute the shape of a request's normal answer."""
    if isinstance(request, ReadRequest):
        head = bytes((request.unit, request.function, request.payload_length))
        return Shape(head, request.payload_length + _ROUND_A_PAYLOAD)
    return Shape(bytes.fromhex(write_response(request).to_hex())[:_WRITTEN_HEAD], _WRITTEN_LENGTH)


def is_its_own_answer(request: Request) -> bool:
    """Tell whether the request, sent back by the line, would pass for the answer to it.

    Functions 05 and 06 are answered with the request itself; of reads, a few that ask for 17 to 24 bits.
    """
    head, length = answer_shape(request)
    frame = bytes.fromhex(request.to_hex())
    return len(frame) == length and frame.startswith(head)


class ResponseMatcher:
    """Takes what comes after one request was sent.

    What is equal to the request is its echo, and only after that the answer; it is the answer at once only where the
    line surely does not echo.

    :param request: the request.
    :param echo: whether the line sends back what is sent; None: not known.
    :param exceptions: whether an exception is an answer; it is none where it may be the late one to another request.
    :ivar answer: the answer as it came, with its CRC; None: it has not come.
    :ivar echoed: the request came back.
    :ivar clean: the answer came, and nothing before it.
    :ivar received: bytes that came.
    :ivar crc_errors: what began like the answer, was long enough, and had a wrong CRC or garbage behind it.
    """

    def __init__(self, request: Request, *, echo: bool | None, exceptions: bool = True) -> None:
        self.answer: bytes | None = None
        self.echoed = False
        self.clean = False
        self.received = 0
        self.crc_errors = 0
        self._echo = echo
        self._writes = not isinstance(request, ReadRequest)
        self._request = bytes.fromhex(request.to_hex())
        self._ambiguous = is_its_own_answer(request)
        self._shapes = [answer_shape(request)]
        if exceptions:
            self._shapes.append(Shape(bytes((request.unit, request.function | _EXCEPTION)), _EXCEPTION_LENGTH))
        self._kept = bytearray()
        self._passed_over = False  # bytes came before those kept

    @property
    def discarded(self) -> int:
        """Bytes that came and were part neither of the answer nor of the echo."""
        return self.received - len(self.answer or b"") - (len(self._request) if self.echoed else 0)

    def feed(self, chunk: bytes) -> bytes | None:
        """Take bytes as they come.

        :return: the answer, as far as can be said: what comes directly behind it may undo it.
        """
        self.received += len(chunk)
        self._kept += chunk
        self._search(no_more=False)
        if len(self._kept) > _MOST_KEPT:
            self._pass_over(len(self._kept) - _LEAST_KEPT)
        return self.answer

    def finish(self) -> bytes | None:
        """The time is over: what looked like the beginning of an answer was not, so what comes after it may be.

        :return: the answer, if that has come. Feeding may go on, to see what is late.
        """
        if self.answer is None:
            self._search(no_more=True)
        return self.answer

    def _search(self, *, no_more: bool) -> None:
        self.answer, self.clean = None, False
        if self._echo_under_way():
            return
        start = 0
        while (candidate := self._candidate(start)) is not None:
            place, length = candidate
            frame = bytes(self._kept[place : place + length])
            if len(frame) < length:
                if not no_more:
                    return
                start = place + 1
            elif crc16(frame) == 0 and self._may_end_with(self._kept[place + length :]):
                self.answer = frame  # the CRC of anything with its own CRC, low byte first, is 0
                self.clean = place == 0 and not self._passed_over
                return
            else:
                self.crc_errors += 1
                self._pass_over(place + 1)
                start = 0

    def _may_end_with(self, tail: bytearray) -> bool:
        """Tell whether this may follow an answer. That to a write is known to the last byte, so nothing undoes it."""
        return self._writes or not tail.strip(GLITCHES)

    def _echo_under_way(self) -> bool:
        """Take the echo out, where there is one; whether only the beginning of it has come."""
        if self.echoed or (self._ambiguous and self._echo is False):
            return False
        place = self._kept.find(self._request)
        if place >= 0:
            self._pass_over(place + len(self._request))
            self.echoed = True
            return False
        return self._echo is not False and not self._passed_over and self._request.startswith(self._kept)

    def _candidate(self, start: int) -> tuple[int, int] | None:
        """Find the next bytes that begin like the answer, and the length they have to reach."""
        places = [(place, length) for head, length in self._shapes if (place := self._kept.find(head, start)) >= 0]
        return min(places, default=None)

    def _pass_over(self, count: int) -> None:
        del self._kept[:count]
        self._passed_over = True
