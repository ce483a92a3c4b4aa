"""Records as tables for people. What a device says is text here and never markup."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmmd.control.cmmctl.texts import BAUDS, PORTS, duration, moment_text, plain
from cmmd.control.records import DeviceDetails, LiveNow, StatusNow
from cmmd.fleet.view import PointNow
from cmmd.store.records import Command, Detail, Event

__all__ = [
    "ALARMS",
    "COMMANDS",
    "DEVICES",
    "EVENTS",
    "READINGS",
    "Columns",
    "command_line",
    "command_text",
    "details_text",
    "device_facts",
    "event_line",
    "facts",
    "live_tables",
    "reading_columns",
    "show_device",
    "show_status",
    "table",
]

Columns = Sequence[tuple[str, Callable[[Any], object]]]
"""Headings, and what stands below them. None is shown as a dash, True and False as yes and no."""

_STYLES = {
    **dict.fromkeys(("done", "online", "good"), "green"),
    **dict.fromkeys(("refused", "shutdown", "not sent", "DOWN"), "red"),
    **dict.fromkeys(("timeout", "lost", "warning", "alarm", "uncertain", "stale"), "yellow"),
    **dict.fromkeys(("offline", "unknown", "-"), "dim"),
}
"""Of words that are a whole cell."""


def _cell(value: object) -> Text:
    if value is None:
        text = "-"
    elif isinstance(value, bool):
        text = "yes" if value else "no"
    else:
        text = plain(value)
    return Text(text, style=_STYLES.get(text, ""))


def table(columns: Columns, records: Iterable[object], *, title: str | None = None) -> Table:
    """A table with a row for each record."""
    made = Table(box=None, pad_edge=False, header_style="bold", title=title, title_justify="left", title_style="bold")
    for heading, _ in columns:
        made.add_column(heading, overflow="fold", no_wrap=heading == "hostid")
    for record in records:
        made.add_row(*(_cell(value(record)) for _, value in columns))
    return made


def facts(pairs: Iterable[tuple[str, object]]) -> Table:
    """Names and values below each other."""
    made = Table(box=None, pad_edge=False, show_header=False)
    made.add_column(style="bold", no_wrap=True)
    made.add_column(overflow="fold")
    for name, value in pairs:
        made.add_row(Text(name), _cell(value))
    return made


# --- lists -----------------------------------------------------------------------------------------------------------


def _online(online: bool) -> str:
    return "online" if online else "offline"


DEVICES: Columns = (
    ("number", lambda one: one.number),
    ("hostid", lambda one: one.hostid),
    ("name", lambda one: one.hostname or None),
    ("controller", lambda one: one.moduletype or None),
    ("is", lambda one: _online(one.online) if one.enabled else f"disabled, {_online(one.online)}"),
    ("mode", lambda one: one.mode),
    ("engine", lambda one: one.engine_state),
    ("alarms", lambda one: one.alarms or None),
    ("last upload", lambda one: moment_text(one.at)),
)


def command_text(command: Command) -> str:
    """What somebody asked for."""
    return command.name or (f"{command.kind} {command.request}" if command.request else command.kind)


def _seconds(command: Command) -> str | None:
    return None if command.ended_at is None else f"{max(command.ended_at - command.accepted_at, 0) / 1000:.1f}"


COMMANDS: Columns = (
    ("number", lambda one: one.number),
    ("accepted", lambda one: moment_text(one.accepted_at)),
    ("hostid", lambda one: one.hostid),
    ("command", command_text),
    ("by", lambda one: one.requester),
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
    return f"{moment_text(at)}  {command.hostid}  {what}: {outcome}{confirmed}, by {command.requester}"


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


# --- single records --------------------------------------------------------------------------------------------------


def show_status(status: StatusNow) -> RenderableType:
    """How the daemon does."""
    alarms = ", ".join(f"{count} {severity}" for severity, count in status.alarms.items() if count)
    counted = (
        ("messages", status.messages),
        ("uploads", status.uploads),
        ("readings kept", status.readings),
        ("logins", status.logins),
        ("not taken", status.peer_errors),
    )
    return facts(
        [
            ("version", status.version),
            ("up since", f"{moment_text(status.started_at)} ({duration((status.now - status.started_at) / 1000)})"),
            ("devices", f"{status.online} online of {status.devices}"),
            ("open alarms", alarms or "none"),
            ("store", "up" if status.store_up else "DOWN"),
            ("rows waiting", status.backlog),
            ("bugs met", status.bugs),
            *((name, ", ".join(f"{count} {key}" for key, count in counts.items()) or None) for name, counts in counted),
        ]
    )


def device_facts(device: DeviceDetails) -> Table:
    """What is registered of a device, and what its owner has set."""
    row, settings = device.row, device.settings
    place = None
    if device.wgs84_latitude is not None and device.wgs84_longitude is not None:
        place = f"{device.wgs84_latitude:.6f}, {device.wgs84_longitude:.6f}"
    owners = {name: getattr(settings, name) for name in settings.__struct_fields__ if name != "enabled"}
    given = ", ".join(f"{name.replace('_', '-')}={value}" for name, value in owners.items() if value is not None)
    return facts(
        [
            ("hostid", row.hostid),
            ("name", row.hostname or None),
            ("controller", f"{row.moduletype or '-'} (profile {row.profile})"),
            ("is", f"{_online(row.online)}{f' from {row.address}' if row.address else ''}"),
            ("enabled", row.enabled),
            ("registered", f"{moment_text(device.registered_at)} (number {row.number})"),
            ("last login", moment_text(row.last_login_at)),
            ("password", "known" if device.has_password else "taken from the next login"),
            ("wiring", f"{_called(device.module_port, PORTS)}, {_called(device.module_baud, BAUDS)} bit/s"),
            ("place", place),
            ("settings", given or "all by default"),
            ("commands", ", ".join(one.name for one in device.commands) or None),
        ]
    )


def _called(code: int | None, names: Sequence[str]) -> str:
    return names[code] if code is not None and code in range(len(names)) else "?"


def _value(point: PointNow) -> str | None:
    if point.word is not None:
        return point.word
    return None if point.value is None else f"{point.value} {point.unit}".rstrip()


_POINTS: Columns = (
    ("point", lambda one: one.name),
    ("", lambda one: one.title),
    ("value", _value),
    ("is", lambda one: one.quality),
)

_SIGNALS: Columns = (
    ("signal", lambda one: one.name),
    ("", lambda one: one.title),
    ("severity", lambda one: one.severity),
)


def live_tables(live: LiveNow) -> list[RenderableType]:
    """What a device reports now: how it is, known points, active signals."""
    view = live.view
    age = None if view.freshness_s is None else f"{moment_text(view.at)} ({duration(view.freshness_s)} ago)"
    inputs = ", ".join(name for name, active in view.inputs.items() if active)
    return [
        facts(
            [
                ("last upload", age),
                ("mode", view.mode),
                ("engine", view.engine_state),
                ("inputs set", inputs or None),
                ("known", None if view.completeness is None else f"{view.completeness:.0%}"),
            ]
        ),
        table(_POINTS, [one for one in view.points if one.value is not None]),
        table(_SIGNALS, [one for one in view.signals if one.active]),
    ]


def show_device(device: DeviceDetails, live: LiveNow) -> RenderableType:
    """All that is known of a device."""
    shown: list[RenderableType] = [device_facts(device)]
    for part in live_tables(live):
        shown += [Text(), part]
    for run in live.raw or ():
        words = " ".join("-" if value is None else str(value) for value in run.values)
        shown += [Text(), Text(f"function {run.function}, from {run.address}: {words}")]
    return Group(*shown)
