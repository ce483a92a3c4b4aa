"""Near-JSON to objects: what the vendor's own examples contain beyond strict JSON (protocol section 2).

Accepted on top of JSON: trailing commas; a missing comma between the members of an object; a closer of the wrong kind;
raw control characters in strings; GB18030 text; white space beyond JSON's. Numbers, literals and escapes stay strict.
"""

import re
from json import JSONDecodeError, JSONDecoder
from math import isfinite

from cmmd.wire.errors import FrameError, Reason
from cmmd.wire.splitter import MAX_DEPTH

__all__ = ["MAX_VALUES", "decode", "decode_object"]

MAX_VALUES = 2100
"""Bound of the values in a near-JSON object, about: a full set of changes has some hundred; each takes 1 to 3 µs."""

_BLANKS = " \t\r\n\v\f\0"  # and the empty text, at the end
_BLANK = re.compile(r"[ \t\r\n\v\f\0]*+")
_NUMBER = re.compile(r"(-?(?:0|[1-9]\d{0,31}))(\.\d{1,32})?([eE][+-]?\d{1,3})?(?![\w.+-])", re.ASCII)
_LITERAL = re.compile(r"(?:true|false|null)\b")
_LITERALS = {"true": True, "false": False, "null": None}
_STRINGS = JSONDecoder(strict=False)  # takes raw control characters
_LONE_SURROGATE = re.compile("[\ud800-\udfff]")
_PLAIN_STRING = re.compile('"([^"\\\\\ud800-\udfff]*+)"')  # nearly every one: it means what it says


def decode(document: bytes, max_depth: int = MAX_DEPTH) -> dict[str, object]:
    """Decode one near-JSON object.

    :param document: UTF-8, or GB18030 where it is not UTF-8.
    :param max_depth: deepest nesting of objects and arrays.
    :return: the object; of keys that stand twice, the last one counts.
    :raises FrameError: what is not even near JSON.
    """
    try:
        text = document.decode("utf-8")
    except UnicodeDecodeError:
        text = document.decode("gb18030", "replace")
    return decode_object(text, max_depth)


def decode_object(text: str, max_depth: int = MAX_DEPTH) -> dict[str, object]:
    """The same for text, as it is in a ``params`` that holds an object in a string.

    :raises FrameError: as above.
    """
    if text.count(",") + text.count(":") > MAX_VALUES:
        raise FrameError(Reason.SYNTAX, f"not JSON, and more than {MAX_VALUES} values", text)
    start = _blank(text, 0)
    if not text.startswith("{", start):
        raise _syntax("an object", text, start)
    value, end = _object(text, start + 1, max_depth - 1)
    end = _blank(text, end)
    if end != len(text):
        raise _syntax("the end", text, end)
    return value


def _blank(text: str, position: int) -> int:
    if text[position : position + 1] not in _BLANKS:
        return position
    match = _BLANK.match(text, position)
    assert match is not None  # it matches the empty string
    return match.end()


def _syntax(expected: str, text: str, position: int) -> FrameError:
    return FrameError(Reason.SYNTAX, f"not JSON: {expected} expected at character {position}", text)


def _value(text: str, position: int, depth: int) -> tuple[object, int]:
    match text[position : position + 1]:
        case '"':
            return _string(text, position)
        case "{" | "[" if depth <= 0:
            raise FrameError(Reason.DEPTH, "nested too deep")
        case "{":
            return _object(text, position + 1, depth - 1)
        case "[":
            return _array(text, position + 1, depth - 1)
    if literal := _LITERAL.match(text, position):
        return _LITERALS[literal[0]], literal.end()
    if number := _NUMBER.match(text, position):
        if number[2] or number[3]:
            real = float(number[0])
            if isfinite(real):
                return real, number.end()
        else:
            return int(number[0]), number.end()
    raise _syntax("a value", text, position)


def _string(text: str, position: int) -> tuple[str, int]:
    if plain := _PLAIN_STRING.match(text, position):
        return plain[1], plain.end()
    try:
        value, end = _STRINGS.raw_decode(text, position)
    except JSONDecodeError as error:
        raise _syntax("the rest of a string", text, error.pos) from None
    return _LONE_SURROGATE.sub("\ufffd", value), end


def _object(text: str, position: int, depth: int) -> tuple[dict[str, object], int]:
    members: dict[str, object] = {}
    position = _blank(text, position)
    while text[position : position + 1] not in ("}", "]"):
        if not text.startswith('"', position):
            raise _syntax("a key", text, position)
        key, position = _string(text, position)
        position = _blank(text, position)
        if not text.startswith(":", position):
            raise _syntax("a colon", text, position)
        members[key], position = _value(text, _blank(text, position + 1), depth)
        position = _blank(text, position)
        if text.startswith(",", position):
            position = _blank(text, position + 1)
    return members, position + 1


def _array(text: str, position: int, depth: int) -> tuple[list[object], int]:
    items: list[object] = []
    position = _blank(text, position)
    while text[position : position + 1] not in ("}", "]"):
        item, position = _value(text, position, depth)
        items.append(item)
        position = _blank(text, position)
        if text.startswith(",", position):
            position = _blank(text, position + 1)
        elif text[position : position + 1] not in ("}", "]"):
            raise _syntax("a comma", text, position)
    return items, position + 1
