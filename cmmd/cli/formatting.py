"""Values as people read them, and as they write them."""

import re
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from math import isfinite

import msgspec

from cmmd.fleet.service.records import Changes

__all__ = [
    "BAUDS",
    "KEYS",
    "PORTS",
    "changes",
    "code_of",
    "duration",
    "moment",
    "moment_text",
    "plain",
    "size_text",
    "utc_text",
]

PORTS = ("off", "LINK", "RS485", "RS232", "USB")
BAUDS = ("9600", "19200", "115200")
"""What the codes of protocol section 4.1 are called."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400, "w": 604_800}
_AGO = re.compile(r"([0-9]{1,9})([smhdw])", re.ASCII)
_MILLISECONDS = re.compile(r"[0-9]{12,15}", re.ASCII)

_WIRING = {"set_port": PORTS, "set_baud": BAUDS}
_DEFAULTS = {"enabled": True}
"""Of settings that have one of their own; of the others null asks for it."""
_TRUTH = {"yes": "true", "on": "true", "no": "false", "off": "false"}

KEYS = tuple(name.replace("_", "-") for name in Changes.__struct_fields__)
"""Of ``cmmctl device HOSTID set``."""


def plain(text: object) -> str:
    """A text on one line, without anything that a terminal would obey."""
    return "".join(character if character.isprintable() else "\N{REPLACEMENT CHARACTER}" for character in str(text))


def moment_text(at: int | None) -> str:
    """Milliseconds UTC as local time; None: a dash."""
    return "-" if at is None else f"{datetime.fromtimestamp(at / 1000):%Y-%m-%d %H:%M:%S}"


def utc_text(at: int) -> str:
    """Milliseconds UTC as ISO 8601, which spreadsheets and programs read."""
    return (_EPOCH + timedelta(milliseconds=at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def duration(seconds: float) -> str:
    """A span in its two largest units."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {rest} s" if minutes else f"{rest} s"


def size_text(size: float) -> str:
    """Bytes in the largest unit, of 1000, that there is at least one of."""
    for unit in ("bytes", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.0f} {unit}" if unit == "bytes" else f"{size:.1f} {unit}"
        size /= 1000
    return f"{size:.1f} TB"


def moment(text: str, now: float) -> int:
    """A moment: ISO 8601 (local time where it does not say), ``2h`` ago, or milliseconds UTC.

    :param now: Unix time in seconds.
    :return: milliseconds UTC.
    :raises ValueError: it is none of these.
    """
    if _MILLISECONDS.fullmatch(text):
        return int(text)
    ago = _AGO.fullmatch(text)
    if ago:
        return int((now - int(ago[1]) * _SECONDS[ago[2]]) * 1000)
    try:
        return (datetime.fromisoformat(text).astimezone(UTC) - _EPOCH) // timedelta(milliseconds=1)
    except (ValueError, OverflowError, OSError):
        raise ValueError(f"{text!r} is no moment such as 2026-11-22, 2026-11-22T18:00 or 2h (ago)") from None


def code_of(text: str, names: tuple[str, ...]) -> int:
    """The code of a port or of a baud rate, from its name or as it is.

    :raises ValueError: there is none of this name.
    """
    for code, name in enumerate(names):
        if text.lower() in (name.lower(), str(code)):
            return code
    listed = ", ".join(f"{code} ({name})" for code, name in enumerate(names))
    raise ValueError(f"{text!r} is none of {listed}")


def changes(pairs: Iterable[str]) -> Changes:
    """The settings that are to change, from ``key=value``; ``key=``: back to the default.

    :raises ValueError: one of them cannot be.
    """
    named: dict[str, object] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        name = key.replace("-", "_")
        if not equals or name not in Changes.__struct_fields__:
            raise ValueError(f"{pair!r}: KEY=VALUE expected, with a key of {', '.join(KEYS)}")
        if name in named:
            raise ValueError(f"{key}: given twice")
        named[name] = _setting(key, name, value)
    return msgspec.convert(named, Changes)


def _setting(key: str, name: str, text: str) -> object:
    if not text:
        return _DEFAULTS.get(name)
    if name in _WIRING:
        try:
            return code_of(text, _WIRING[name])
        except ValueError as error:
            raise ValueError(f"{key}: {error}") from None
    if name == "enabled":
        text = _TRUTH.get(text.lower(), text)
    try:
        value = getattr(msgspec.convert({name: text}, Changes, strict=False), name)
    except msgspec.ValidationError as error:
        raise ValueError(f"{key}: {str(error).partition(' - at ')[0]}") from None
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{key}: {text} is no number of seconds")  # in JSON it would be null, the default
    return value
