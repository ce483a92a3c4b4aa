"""Finding the answer to one request in what a line brings: noise, an echo, the answer, in that order at worst.

Modbus RTU ends a frame with a silence of 1.5 characters, which a program behind a driver's buffers cannot see. But what
the answer to a request looks like is known from the request: unit, function, and byte count or what was written; or, as
an exception, unit, function and five bytes. So the bytes are searched for a frame that looks like that and has the
right CRC. Garbage before it costs nothing, garbage within it makes it no answer.
"""

from typing import NamedTuple

from cmmd.modbus.envelope import crc16
from cmmd.modbus.frames import ReadRequest, Request, write_response

__all__ = ["Seeker", "answer_shape", "is_its_own_answer"]

_EXCEPTION = 0x80
_EXCEPTION_LENGTH = 5  # bytes: unit, function, code, CRC
_ROUND_A_PAYLOAD = 5  # bytes: unit, function, byte count, CRC
_WRITTEN_HEAD = 6  # bytes: unit, function, and two words of the request
_WRITTEN_LENGTH = 8

_MOST_KEPT = 1024
_LEAST_KEPT = 512
"""Bytes of what may still become an echo or an answer; each has at most 256."""


class Shape(NamedTuple):
    """What a frame looks like: how it begins, and how many bytes it has with its CRC."""

    head: bytes
    length: int


def answer_shape(request: Request) -> Shape:
    """What the answer to a request looks like that is no exception."""
    if isinstance(request, ReadRequest):
        head = bytes((request.unit, request.function, request.payload_length))
        return Shape(head, request.payload_length + _ROUND_A_PAYLOAD)
    return Shape(bytes.fromhex(write_response(request).to_hex())[:_WRITTEN_HEAD], _WRITTEN_LENGTH)


def is_its_own_answer(request: Request) -> bool:
    """Whether the request, sent back by the line, would pass for the answer to it.

    Functions 05 and 06 are answered with the request itself; of reads, a few that ask for 17 to 24 bits.
    """
    head, length = answer_shape(request)
    frame = bytes.fromhex(request.to_hex())
    return len(frame) == length and frame.startswith(head)


class Seeker:
    """Takes what comes after one request was sent.

    A request that is its own answer counts as answered by what looks like it only where the line surely does not echo,
    or after its echo has come.

    :param request: the request.
    :param echo: whether the line sends back what is sent; None: not known.
    :ivar answer: the answer as it came, with its CRC; None: it has not come.
    :ivar echoed: the request came back.
    :ivar clean: the answer came, and nothing before it.
    :ivar received: bytes that came.
    :ivar crc_errors: what began like the answer, was long enough, and had a wrong CRC.
    """

    def __init__(self, request: Request, *, echo: bool | None) -> None:
        self.answer: bytes | None = None
        self.echoed = False
        self.clean = False
        self.received = 0
        self.crc_errors = 0
        self._echo = echo
        self._request = bytes.fromhex(request.to_hex())
        self._ambiguous = is_its_own_answer(request)
        self._normal = answer_shape(request)
        self._exception = Shape(bytes((request.unit, request.function | _EXCEPTION)), _EXCEPTION_LENGTH)
        self._kept = bytearray()
        self._passed_over = False  # bytes came before those kept

    @property
    def discarded(self) -> int:
        """Bytes that came and were part neither of the answer nor of the echo."""
        return self.received - len(self.answer or b"") - (len(self._request) if self.echoed else 0)

    def feed(self, chunk: bytes) -> bytes | None:
        """Take bytes as they come; after the answer they only count.

        :return: the answer, once it has come.
        """
        self.received += len(chunk)
        if self.answer is None:
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
            elif crc16(frame) == 0:  # the CRC of anything with its own CRC, low byte first, is 0
                self.answer = frame
                self.clean = place == 0 and not self._passed_over
                return
            else:
                self.crc_errors += 1
                self._pass_over(place + 1)
                start = 0

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
        """Where the next bytes are that begin like an answer, and how many they have to be."""
        shapes = [self._exception]
        if not self._ambiguous or self._echo is False or self.echoed:
            shapes.append(self._normal)
        places = [(place, length) for head, length in shapes if (place := self._kept.find(head, start)) >= 0]
        return min(places, default=None)

    def _pass_over(self, count: int) -> None:
        del self._kept[:count]
        self._passed_over = True
