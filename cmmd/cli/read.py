"""Read: cmmctl status, devices, show, monitor, history, commands, events, alarms, security."""

from collections.abc import Sequence

import click
from msgspec import Struct
from rich.columns import Columns as SideBySide
from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from cmmd.cli import enrolment, formatting
from cmmd.cli.exit_status import ExitStatus
from cmmd.cli.formatting import (
    BAUDS,
    PORTS,
    Columns,
    duration,
    facts,
    moment_text,
    online_text,
    plain,
    read_as,
    style_of,
    table,
)
from cmmd.cli.options import Span, command, hostid_argument, maybe_hostid, span_options
from cmmd.cli.output import write_readings_csv
from cmmd.cli.session import CliSession
from cmmd.control.client import ControlClient
from cmmd.controllers.entries import Severity
from cmmd.fleet.service.records import Blocked, DeviceDetails, DeviceRow, LiveNow, Lock, StatusNow
from cmmd.fleet.telemetry.view import InputReportNow, PointNow

__all__ = [
    "Shown",
    "add_to",
    "device_facts",
    "doubt_text",
    "live_parts",
    "live_tables",
    "lock_text",
    "said_text",
    "show_device",
    "show_status",
]


def show_status(status: StatusNow) -> RenderableType:
    """Format the state of the daemon."""
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
            ("enrolment", enrolment.enrolment_text(status)),
            ("active alarms", alarms or "none"),
            ("store", "up" if status.store_up else "DOWN"),
            ("rows waiting", status.backlog),
            ("bugs met", status.bugs),
            *((name, ", ".join(f"{count} {key}" for key, count in counts.items()) or None) for name, counts in counted),
        ]
    )


def device_facts(device: DeviceDetails) -> Table:
    """List the registration of a device, and its owner's settings."""
    row, settings = device.row, device.settings
    place = None
    if device.wgs84_latitude is not None and device.wgs84_longitude is not None:
        place = f"{device.wgs84_latitude:.6f}, {device.wgs84_longitude:.6f}"
    owners = {
        name: getattr(settings, name) for name in settings.__struct_fields__ if name not in ("enabled", "history")
    }
    given = ", ".join(
        ["history=true"] * settings.history
        + [f"{name.replace('_', '-')}={value}" for name, value in owners.items() if value is not None]
    )
    return facts(
        [
            ("hostid", row.hostid),
            ("name", row.hostname or None),
            ("controller", f"{row.moduletype or '-'} (profile {row.profile})"),
            ("is", f"{online_text(row.online)}{f' from {row.address}' if row.address else ''}"),
            ("enabled", row.enabled),
            ("locked", lock_text(row.lock)),
            ("registered", f"{moment_text(device.registered_at)} (number {row.number})"),
            ("last login", _with("from", moment_text(row.last_login_at), device.last_login_address)),
            ("sessions", ", ".join(device.sessions) or None),
            ("in doubt", doubt_text(row, device.last_login_address)),
            ("password", "known" if device.has_password else "taken from the next login"),
            ("wrong passwords", f"{device.wrong_passwords} since the daemon's start"),
            ("wiring", f"{_called(device.module_port, PORTS)}, {_called(device.module_baud, BAUDS)} bit/s"),
            ("place", place),
            ("settings", given or "all by default"),
            ("commands", ", ".join(one.name for one in device.commands) or None),
            *(("not offered", f"{', '.join(names)}: {reason}") for reason, names in _withheld(device).items()),
        ]
    )


def _withheld(device: DeviceDetails) -> dict[str, list[str]]:
    """The commands of a device's profile that are not offered, by the reason."""
    names: dict[str, list[str]] = {}
    for name, reason in device.withheld.items():
        names.setdefault(reason, []).append(name)
    return names


def lock_text(lock: Lock | None) -> str | None:
    """Say who has locked a device, when and why; None: it is not locked."""
    return None if lock is None else f"by {lock.by} since {moment_text(lock.at)}: {lock.reason}"


def doubt_text(row: DeviceRow, last_login_address: str | None = None) -> str | None:
    """Say whose sessions make it doubtful which device is there; None: it is certain."""
    if not row.in_doubt:
        return None
    login = "" if last_login_address is None else f", its latest login came from {last_login_address}"
    return f"sessions from {', '.join(row.in_doubt)} claim to be this device{login}"


def said_text(name: str, report: InputReportNow) -> str:
    """Say what was last said of an input, when and by which address."""
    stale = ", not repeated since" if report.stale else ""
    said = f"{name} {'on' if report.active else 'off'}"
    return f"{said}, last said {_with('by', moment_text(report.said_at), report.address)}{stale}"


def _with(word: str, what: str, address: str | None) -> str:
    return f"{what} {word} {address}" if address else what


def _active(live: LiveNow) -> list[str]:
    """The active inputs, with when and by whom that was last said where it is known."""
    reports = live.view.input_reports
    names = [name for name, is_set in live.view.inputs.items() if is_set]
    return [said_text(name, reports[name]) if name in reports else name for name in names]


def _blocked_text(blocked: Blocked | None) -> str | None:
    return None if blocked is None else f"{blocked.detail} [{blocked.code}]"


def _called(code: int | None, names: Sequence[str]) -> str:
    return names[code] if code is not None and code in range(len(names)) else "?"


def _value(point: PointNow) -> str | None:
    shown = point.readings or ((point,) if point.value is not None else ())
    return " or ".join(one.word or f"{one.value} {point.unit}".rstrip() for one in shown) or None


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
    """Format the live record of a device: its state, known points, active signals."""
    view = live.view
    age = None if view.freshness_s is None else f"{moment_text(view.at)} ({duration(view.freshness_s)} ago)"
    return [
        facts(
            [
                ("last upload", age),
                ("mode", view.mode),
                ("engine", view.engine_state),
                ("inputs set", "; ".join(_active(live)) or None),
                ("refused now", _blocked_text(live.blocked)),
                ("stop refused", _blocked_text(live.stop_blocked)),
                *(("read as" if not place else "", text) for place, text in enumerate(read_as(view.hypotheses))),
                ("known", None if view.completeness is None else f"{view.completeness:.0%}"),
            ]
        ),
        table(_POINTS, [one for one in view.points if one.value is not None or one.readings]),
        table(_SIGNALS, [one for one in view.signals if one.active]),
    ]


def live_parts(live: LiveNow) -> list[RenderableType]:
    """The same in little room: a line each for state and active signals, and known points side by side."""
    view = live.view
    age = "nothing yet" if view.freshness_s is None else f"{duration(view.freshness_s)} ago"
    state = f"mode {view.mode or '-'} · engine {view.engine_state or '-'} · last upload {age}"
    active: list[tuple[str, Severity | None]] = [(one.title, one.severity) for one in view.signals if one.active]
    signals = Text("  ").join(Text(plain(title), style=style_of(severity or "")) for title, severity in active)
    points = [
        Text.assemble(plain(one.title), "  ", (plain(_value(one)), style_of(one.quality)))
        for one in view.points
        if one.value is not None or one.readings
    ]
    beware = [Text(plain(text), style="bold red") for text in _beware(live)]
    return [Text(plain(state)), *beware, signals, Text(), SideBySide(points, column_first=True, padding=(0, 3))]


def _beware(live: LiveNow) -> list[str]:
    """List the facts to know before a command: the lock, active inputs, reasons for a refusal."""
    texts = [] if live.lock is None else [f"locked {lock_text(live.lock)}"]
    texts += _active(live)
    if live.blocked is not None and live.blocked.code not in _SHOWN:
        texts.append(f"commands are refused: {_blocked_text(live.blocked)}")
    if live.stop_blocked is not None:
        texts.append(f"stop is refused: {_blocked_text(live.stop_blocked)}")
    return texts


_SHOWN = ("locked", "remote_inhibited")
"""Refusals whose cause has a line of its own."""


def show_device(device: DeviceDetails, live: LiveNow) -> RenderableType:
    """All that is known of a device."""
    shown: list[RenderableType] = [device_facts(device)]
    for part in live_tables(live):
        shown += [Text(), part]
    for run in live.raw or ():
        words = " ".join("-" if value is None else str(value) for value in run.values)
        shown += [Text(), Text(f"function {run.function}, from {run.address}: {words}")]
    return Group(*shown)


class Shown(Struct, frozen=True):
    """The answer of ``cmmctl --json show``."""

    device: DeviceDetails
    live: LiveNow


def add_to(group: click.Group) -> None:
    """Give them to the command line."""

    @command("status", group=group)
    def status(session: CliSession) -> int:
        """Show the state of the daemon."""

        async def work(client: ControlClient) -> int:
            now = await client.status()
            session.output.show(now, lambda: show_status(now))
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("devices", group=group)
    @click.option("--online/--offline", default=None, help="Only those that are, or are not.")
    def devices(session: CliSession, online: bool | None) -> int:
        """List the devices, a line each."""

        async def work(client: ControlClient) -> int:
            await session.output.records(client.devices(online=online), formatting.DEVICES)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("show", group=group)
    @hostid_argument
    @click.option("--raw", is_flag=True, help="With all coils and registers that are known.")
    def show(session: CliSession, hostid: str, raw: bool) -> int:
        """One device: registration, settings, what it reports now."""

        async def work(client: ControlClient) -> int:
            shown = Shown(await client.device(hostid), await client.live(hostid, raw=raw))
            session.output.show(shown, lambda: show_device(shown.device, shown.live))
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("monitor", group=group)
    @hostid_argument
    def monitor(session: CliSession, hostid: str) -> int:
        """The live record of a device as the protocol's paper has it: raw."""

        async def work(client: ControlClient) -> int:
            found = await client.monitor(hostid)
            shown = [(name, getattr(found, name)) for name in found.__struct_fields__]
            hexed = [(name, one.hex() if isinstance(one, bytes) else str(one)) for name, one in shown]
            session.output.show(found, lambda: facts(hexed))
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("history", group=group)
    @hostid_argument
    @span_options
    @click.option("--points", metavar="NAME,...", help="Only these points.")
    @click.option("--csv", "as_csv", is_flag=True, help="CSV: times in UTC, a column for each point.")
    def history(session: CliSession, hostid: str, span: Span, points: str | None, as_csv: bool) -> int:
        """Show what a device has uploaded, as far as it was kept."""
        names = None if points is None else [name.strip() for name in points.split(",") if name.strip()]

        async def work(client: ControlClient) -> int:
            found = client.history(
                hostid, points=names, since=span.since, until=span.until, newest_first=span.newest_first
            )
            if as_csv:
                await write_readings_csv(session.output, found, names, span.limit)
                return ExitStatus.DONE
            columns = formatting.READINGS if names is None else formatting.reading_columns(names)
            await session.output.records(found, columns, limit=span.limit, lines=True)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("events", group=group)
    @maybe_hostid
    @span_options
    def events(session: CliSession, hostid: str | None, span: Span) -> int:
        """Show what has happened."""

        async def work(client: ControlClient) -> int:
            found = client.events(hostid, since=span.since, until=span.until, newest_first=span.newest_first)
            await session.output.records(found, formatting.EVENTS, limit=span.limit, lines=True)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("commands", group=group)
    @maybe_hostid
    @span_options
    def commands(session: CliSession, hostid: str | None, span: Span) -> int:
        """The audit: who requested what, and what became of it."""

        async def work(client: ControlClient) -> int:
            found = client.commands(hostid, since=span.since, until=span.until, newest_first=span.newest_first)
            await session.output.records(found, formatting.COMMANDS, limit=span.limit)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("security", group=group)
    @span_options
    def security(session: CliSession, span: Span) -> int:
        """List security events: who came in, who did not, who changed what, and from where."""

        async def work(client: ControlClient) -> int:
            found = client.security_events(since=span.since, until=span.until, newest_first=span.newest_first)
            await session.output.records(found, formatting.SECURITY_EVENTS, limit=span.limit)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("alarms", group=group)
    @maybe_hostid
    @click.option("--ended", is_flag=True, help="All there ever were; the other options are for these.")
    @span_options
    def alarms(session: CliSession, hostid: str | None, ended: bool, span: Span) -> int:
        """List the active alarms, a line each."""

        async def work(client: ControlClient) -> int:
            if ended:
                found = client.alarms(
                    hostid, ended=True, since=span.since, until=span.until, newest_first=span.newest_first
                )
                await session.output.records(found, formatting.ALARMS, limit=span.limit)
            else:
                await session.output.records(client.alarms(hostid), formatting.ALARMS)
            return ExitStatus.DONE

        return session.carry_out(work)
