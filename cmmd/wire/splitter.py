"""Bytes in, one JSON document at a time out (protocol section 2).

The stream has no delimiter: documents are separated by their brackets, outside of strings. The work is linear in the
bytes, whatever the segmentation, and done by compiled patterns; only outer brackets and cut strings cost a step of
Python.
"""

import re

from cmmd.wire.errors import FrameError, Reason

__all__ = ["MAX_DEPTH", "MAX_FRAME", "Splitter"]

MAX_FRAME = 64 * 1024
"""Default bound of one document, in bytes."""

MAX_DEPTH = 16
"""Default bound of nested objects and arrays."""

# Whatever was matched is not tried in another way: no text makes a pattern slow. Of groups that is said with (?>...),
# not with *+, which fails where an alternative gives up halfway in Python 3.11 before 3.11.5 (Debian 12: 3.11.2).
_BLANK = re.compile(rb"(?>(?:[ \t\r\n\v\f\0]|\xef\xbb\xbf)*)")
_BOM_PREFIXES = (b"\xef", b"\xef\xbb")

# A string's body. Device names come in UTF-8 and, in the field, in GB18030, whose second byte may be a backslash: taken
# for an escape, it would swallow the closing quote and with it the stream. So a UTF-8 sequence is one step, else a
# GB18030 pair, else the byte alone; a sequence that the buffer cuts ends the match before it, for another look. Where
# bytes can be read both ways they are UTF-8: a GB18030 name that looks like it up to a last backslash is lost.
_BODY = rb"""
    (?> (?: [^"\\\x80-\xff]++
      | \\.
      | (?! (?: [\xe0-\xef][\x80-\xbf]? | [\xf0-\xf4][\x80-\xbf]{0,2} | [\x81-\xfe] ) \Z )
        (?: [\xc2-\xdf][\x80-\xbf] | [\xe0-\xef][\x80-\xbf]{2} | [\xf0-\xf4][\x80-\xbf]{3}
          | [\x81-\xfe][\x40-\x7e\x80-\xfe]
          | [\x80-\xff]
        )
    )* )
"""
_PLAIN = rb'[^{}\[\]"]++ | "' + _BODY + rb'"'
_LEAF = rb"[{\[] (?> (?:" + _PLAIN + rb")* ) [}\]]"  # an object or array that holds none

_STRING_BODY = re.compile(_BODY, re.DOTALL | re.VERBOSE)
_UP_TO_BRACKET = re.compile(rb"(?> (?:" + _PLAIN + rb")* )", re.DOTALL | re.VERBOSE)
_UP_TO_INNER_BRACKET = re.compile(rb"(?> (?:" + _PLAIN + rb"|" + _LEAF + rb")* )", re.DOTALL | re.VERBOSE)

_RUN = re.compile(rb"[{\[]++|[}\]]++")

_QUOTE = ord('"')
_OPENERS = b"{["
_NOT_BRACKETS = bytes(set(range(256)) - set(b"{}[]"))
_SAME_KIND = bytes.maketrans(b"[]", b"{}")


class Splitter:
    """Splits one peer's byte stream. Feed it segments; take documents until it has none.

    It never holds more than one document of ``max_frame`` bytes and what was fed since documents were last taken.

    :param max_frame: longest document, in bytes.
    :param max_depth: deepest nesting of objects and arrays.
    :param take_strings: whether a JSON string between documents is a document, too: servers may encode an object twice.
    """

    __slots__ = (
        "_allowance",
        "_buffer",
        "_depth",
        "_discarding",
        "_in_garbage",
        "_in_string",
        "_max_depth",
        "_max_frame",
        "_position",
        "_take_strings",
        "_whole",
    )

    def __init__(self, max_frame: int = MAX_FRAME, max_depth: int = MAX_DEPTH, *, take_strings: bool = False) -> None:
        self._take_strings = take_strings
        self._max_frame = max_frame
        self._max_depth = max_depth
        self._buffer = bytearray()
        self._whole: bytes | None = None  # a segment that is one document, never copied into the buffer
        self._depth = 0  # of the document being read; 0 between documents
        self._in_string = False
        self._in_garbage = False
        self._discarding = False  # the document was refused; its rest is read to find its end
        self._position = 0  # up to where the buffer is scanned; the document starts at 0
        self._allowance = max_frame  # buffer bytes that may be read before the next frame error

    def feed(self, segment: bytes) -> None:
        """Take the bytes of one receive.

        :param segment: any bytes, cut anywhere.
        """
        if (
            not self._buffer
            and not self._depth
            and not self._in_garbage
            and self._whole is None
            and len(segment) <= self._max_frame
            and _is_one_document(segment, self._max_depth)
        ):
            self._whole = segment
            return
        if self._whole is not None:
            self._buffer += self._whole
            self._whole = None
        self._buffer += segment

    @property
    def between(self) -> bool:
        """Tell whether the next bytes begin a document: no part of the stream before them is held or remembered."""
        return not (self._buffer or self._depth or self._in_garbage or self._whole is not None)

    @property
    def pending(self) -> int:
        """The number of bytes held."""
        return len(self._buffer) if self._whole is None else len(self._whole)

    def next_document(self) -> bytes | None:
        """The next document, or None when more bytes are needed.

        :raises FrameError: garbage before a document, a document too long or too deep. The stream continues after it:
            call again. Garbage and refused documents are read to their end, one error each, and one more for each
            further ``max_frame`` bytes.
        """
        if self._whole is not None:
            document, self._whole = self._whole, None
            return document
        if self._in_garbage:
            self._skip_garbage()
        while not self._in_garbage and (self._depth or self._begin()):
            is_string = not self._depth and self._buffer.startswith(b'"')  # only begun where strings are taken
            end = self._scan_string() if is_string else self._scan()
            if end is None:
                return None
            document = bytes(memoryview(self._buffer)[:end])
            refused = self._discarding
            self._restart(end)
            if not refused:
                return document
        return None

    def _restart(self, consumed: int) -> None:
        del self._buffer[:consumed]
        self._position = 0
        self._depth = 0
        self._discarding = False
        self._allowance = self._max_frame

    def _begin(self) -> bool:
        """Go to the start of the next document; False when there is none yet."""
        buffer = self._buffer
        blank = _BLANK.match(buffer)
        assert blank is not None
        del buffer[: blank.end()]
        if not buffer or bytes(buffer[:3]) in _BOM_PREFIXES:
            return False
        if buffer.startswith(b"{") or (self._take_strings and buffer.startswith(b'"')):
            return True
        self._in_garbage = True
        raise self._garbage()

    def _skip_garbage(self) -> None:
        """Drop bytes up to the next opening brace."""
        start = self._buffer.find(b"{", 0, self._allowance + 1)
        if start >= 0:
            self._in_garbage = False
            self._restart(start)
            return
        dropped = min(len(self._buffer), self._allowance)
        self._allowance -= dropped
        del self._buffer[:dropped]
        if self._buffer:  # more than may go by without another error
            self._allowance = self._max_frame
            raise self._garbage()

    def _garbage(self) -> FrameError:
        return FrameError(Reason.GARBAGE, "not a JSON object", self._buffer)

    def _scan_string(self) -> int | None:
        """Read on in a string between documents; its end in the buffer, or None when the buffer ends first."""
        buffer = self._buffer
        limit = min(len(buffer), self._allowance)
        position = _end(_STRING_BODY.match(buffer, max(self._position, 1), limit))
        if position < limit and buffer[position] == _QUOTE:
            return position + 1
        if len(buffer) >= self._allowance:
            error = FrameError(Reason.OVERSIZE, f"longer than {self._max_frame} bytes", buffer)
            self._restart(position)
            self._in_garbage = True
            raise error
        self._position = position  # where the next look begins: the work stays linear
        return None

    def _scan(self) -> int | None:
        """Read on in the current document; its end in the buffer, or None when the buffer ends first."""
        buffer = self._buffer
        position = self._position
        limit = min(len(buffer), self._allowance)
        while True:
            if self._in_string:
                position = _end(_STRING_BODY.match(buffer, position, limit))
                if position == limit or buffer[position] != _QUOTE:
                    break
                position += 1
                self._in_string = False
            over_leaves = 0 < self._depth < self._max_depth or self._discarding
            pattern = _UP_TO_INNER_BRACKET if over_leaves else _UP_TO_BRACKET
            position = _end(pattern.match(buffer, position, limit))
            if position == limit:
                break
            run = _RUN.match(buffer, position, limit)
            if run is None:
                self._in_string = True
                position += 1
            elif buffer[position] in _OPENERS:
                too_deep = self._depth + len(run[0]) - self._max_depth
                if too_deep > 0 and not self._discarding:
                    self._depth = self._max_depth + 1
                    raise self._refuse(run.end() - too_deep + 1, Reason.DEPTH, f"nested deeper than {self._max_depth}")
                self._depth += len(run[0])
                position = run.end()
            else:
                closed = min(len(run[0]), self._depth)
                self._depth -= closed
                position += closed
                if not self._depth:
                    return position
        if len(buffer) >= self._allowance:
            raise self._refuse(position, Reason.OVERSIZE, f"longer than {self._max_frame} bytes")
        self._position = position
        if self._discarding:
            del buffer[:position]
            self._allowance -= position
            self._position = 0
        return None

    def _refuse(self, position: int, reason: Reason, message: str) -> FrameError:
        """Give the current document up: from here on only its end is looked for."""
        error = FrameError(reason, message, self._buffer)
        del self._buffer[:position]
        self._position = 0
        self._discarding = True
        self._allowance = self._max_frame
        return error


def _end(match: "re.Match[bytes] | None") -> int:
    assert match is not None  # both patterns match the empty string
    return match.end()


def _is_one_document(segment: bytes, max_depth: int) -> bool:
    """Tell whether a segment surely is one whole document: the usual case, seen without a scan. False when in doubt."""
    if not (segment.startswith(b"{") and segment.endswith(b"}")) or b"\\" in segment or not segment.isascii():
        return False
    pieces = segment.split(b'"')
    if not len(pieces) & 1:
        return False
    inner = b"".join(pieces[::2]).translate(_SAME_KIND, _NOT_BRACKETS)[1:-1]
    for _ in range(max_depth):
        if not inner:
            return True
        inner = inner.replace(b"{}", b"")  # one level less
    return False
