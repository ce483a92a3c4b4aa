"""Format answers of the daemon for people: words, times, numbers, and the tables made of them."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

import msgspec
from rich.cells import cell_len
from rich.table import Table
from rich.text import Text

from cmmd.fleet.service.records import Changes, DeviceRow
from cmmd.fleet.telemetry.view import HypothesisNow
from cmmd.store.records import Command, Detail, Event

__all__ = [
    "ALARMS",
    "BAUDS",
    "COMMANDS",
    "DEVICES",
    "EVENTS",
    "KEYS",
    "PORTS",
    "READINGS",
    "Columns",
    "changes",
    "code_of",
    "command_line",
    "command_text",
    "details_text",
    "duration",
    "event_line",
    "facts",
    "moment",
    "moment_text",
    "online_text",
    "plain",
    "read_as",
    "reading_columns",
    "size_text",
    "state_text",
    "style_of",
    "table",
    "text_lines",
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
_DEFAULTS = {"enabled": True, "history": False}
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
    if name in _DEFAULTS:
        text = _TRUTH.get(text.lower(), text)
    try:
        value = getattr(msgspec.convert({name: text}, Changes, strict=False), name)
    except msgspec.ValidationError as error:
        raise ValueError(f"{key}: {str(error).partition(' - at ')[0]}") from None
    if isinstance(value, float) and not isfinite(value):
        raise ValueError(f"{key}: {text} is no number of seconds")  # in JSON it would be null, the default
    return value


Columns = Sequence[tuple[str, Callable[[Any], object]]]
"""Headings, and the cells below them. None is shown as a dash, True and False as yes and no."""

_STYLES = {
    **dict.fromkeys(("done", "online", "good"), "green"),
    **dict.fromkeys(("refused", "shutdown", "not sent", "DOWN"), "red"),
    **dict.fromkeys(("timeout", "lost", "warning", "alarm", "undecided", "stale"), "yellow"),
    **dict.fromkeys(("offline", "unknown", "-"), "dim"),
}
"""Of words that are a whole cell."""


def style_of(word: str) -> str:
    """The style of a single word."""
    return _STYLES.get(word, "")


def _word(value: object) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return plain(value)


def _cell(value: object) -> Text:
    text = _word(value)
    return Text(text, style=style_of(text))


def table(columns: Columns, records: Iterable[object], *, title: str | None = None) -> Table:
    """A table with a row for each record."""
    made = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left", title_style="bold")
    for heading, _ in columns:
        made.add_column(heading, overflow="fold", no_wrap=heading == "hostid")
    for record in records:
        made.add_row(*(_cell(value(record)) for _, value in columns))
    return made


def text_lines(columns: Columns, records: Iterable[object]) -> Iterator[str]:
    """The same as lines of text, quickly, for what is no terminal: nothing is folded or cut."""
    rows = [[heading for heading, _ in columns], *([_word(value(one)) for _, value in columns] for one in records)]
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        cells = (text + " " * (width - cell_len(text)) for text, width in zip(row, widths, strict=True))
        yield "  ".join(cells).rstrip()


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Names and values below each other."""
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(Text(name), _cell(value))
    return made


# --- lists -----------------------------------------------------------------------------------------------------------


def online_text(online: bool) -> str:
    """Format whether a device is online."""
    return "online" if online else "offline"


def state_text(row: DeviceRow) -> str:
    """Say whether a device is online, and what counts before anything is sent: lock, inputs, doubt about sessions."""
    marks = (
        "" if row.enabled else "disabled",
        online_text(row.online),
        "" if row.lock is None else "locked",
        *(_INPUTS.get(name, name) for name in row.active_inputs),
        "two addresses" if row.in_doubt else "",
    )
    return ", ".join(filter(None, marks))


_INPUTS = {"remote_inhibited": "inhibited", "fire_alarm": "fire", "access_alarm": "door", "alarm_input": "alarm input"}
"""What inputs are called where there is little room."""

DEVICES: Columns = (
    ("number", lambda one: one.number),
    ("hostid", lambda one: one.hostid),
    ("name", lambda one: one.hostname or None),
    ("controller", lambda one: one.moduletype or None),
    ("is", state_text),
    ("mode", lambda one: one.mode),
    ("engine", lambda one: one.engine_state),
    ("alarms", lambda one: one.alarms or None),
    ("last upload", lambda one: moment_text(one.at)),
)


def command_text(command: Command) -> str:
    """Format the request of a command."""
    return command.name or (f"{command.kind} {command.request}" if command.request else command.kind)


def _seconds(command: Command) -> str | None:
    return None if command.ended_at is None else f"{max(command.ended_at - command.accepted_at, 0) / 1000:.1f}"


COMMANDS: Columns = (
    ("number", lambda one: one.number),
    ("accepted", lambda one: moment_text(one.accepted_at)),
    ("hostid", lambda one: one.hostid),
    ("command", command_text),
    ("by", lambda one: one.requester),
    ("overridden", lambda one: one.overridden),
    ("sent to", lambda one: one.address),
    ("outcome", lambda one: one.outcome or ("waiting" if one.sent_at is None else "sent")),
    ("confirmed", lambda one: one.confirmed),
    ("s", _seconds),
    ("reply", lambda one: one.reply or None),
)


def command_line(command: Command) -> str:
    """A command as it is now, on one line."""
    confirmed = {None: "", True: ", confirmed", False: ", not confirmed"}[command.confirmed]
    outcome = command.outcome or ("waits" if command.sent_at is None else "sent")
    at = command.confirmed_at or command.ended_at or command.sent_at or command.accepted_at
    what = f"{command_text(command)} (command {command.number})"
    overridden = "" if command.overridden is None else f", {command.overridden} overridden"
    address = "" if command.address is None else f", sent to {command.address}"
    who = f"by {command.requester}{overridden}{address}"
    return f"{moment_text(at)}  {command.hostid}  {what}: {outcome}{confirmed}, {who}"


ALARMS: Columns = (
    ("number", lambda one: one.number),
    ("raised", lambda one: moment_text(one.raised_at)),
    ("hostid", lambda one: one.hostid),
    ("severity", lambda one: one.severity),
    ("alarm", lambda one: one.title),
    ("acknowledged by", lambda one: one.acknowledged_by),
    ("cleared", lambda one: moment_text(one.cleared_at)),
)


def details_text(details: dict[str, Detail]) -> str:
    """The details of an event that say something."""
    return ", ".join(f"{key} {value}" for key, value in details.items() if value not in (None, "", 0) or value is False)


EVENTS: Columns = (
    ("at", lambda one: moment_text(one.at)),
    ("hostid", lambda one: one.hostid),
    ("event", lambda one: one.kind),
    ("details", lambda one: details_text(one.details) or None),
)


SECURITY_EVENTS: Columns = (
    ("at", lambda one: moment_text(one.at)),
    ("event", lambda one: one.details["what"]),
    ("by", lambda one: one.details["who"]),
    ("from", lambda one: one.details["address"]),
    ("device", lambda one: one.details["device"]),
    ("details", lambda one: one.details["detail"]),
)


def event_line(event: Event) -> str:
    """An event on one line."""
    return f"{moment_text(event.at)}  {event.hostid}  {event.kind}  {details_text(event.details)}".rstrip()


READINGS: Columns = (
    ("at", lambda one: moment_text(one.at)),
    ("reason", lambda one: one.reason),
    ("points", lambda one: sum(value is not None for value in one.points.values())),
)


def reading_columns(points: Sequence[str]) -> Columns:
    """Columns of readings, with the values of these points."""
    return (*READINGS[:2], *((name, lambda one, name=name: one.points.get(name)) for name in points))


def read_as(hypotheses: Sequence[HypothesisNow]) -> list[str]:
    """Say how a device is read, a line for each hypothesis."""
    lines = []
    for one in hypotheses:
        if one.choice is None:
            lines.append(f"{one.name}: open ({' or '.join(one.choices)})")
            continue
        since = "" if one.uploads is None else f", since {one.uploads} uploads"
        why = f" ({one.because})" if one.because else ""
        by = "" if one.by == "uploads" else f", set by the {one.by}"
        doubt = ", CONTRADICTED just now" if one.contradicted else ""
        lines.append(f"{one.name}: {one.choice}{since}{why}{by}{doubt}")
    return lines
