"""Commands that change nothing: status, devices, show, history, events, commands, alarms."""

import csv
import io
from collections.abc import AsyncIterator
from tempfile import TemporaryFile
from typing import Any

import click
import msgspec
from msgspec import Struct

from cmmd.cli import details, tables
from cmmd.cli.exit_status import ExitStatus
from cmmd.cli.formatting import utc_text
from cmmd.cli.options import Span, command, hostid_argument, maybe_hostid, span_options
from cmmd.cli.output import Output
from cmmd.cli.session import CliSession
from cmmd.control.client import ControlClient
from cmmd.fleet.service.records import DeviceDetails, LiveNow, ReadingRow

__all__ = ["Shown", "add_to", "write_csv"]

CSV_HEADINGS = ("at", "reason", "suppressed")


class Shown(Struct, frozen=True):
    """``cmmctl --json show``."""

    device: DeviceDetails
    live: LiveNow


def add_to(group: click.Group) -> None:
    """Give them to the command line."""

    @command("status", group=group)
    def status(session: CliSession) -> int:
        """How the daemon does."""

        async def work(client: ControlClient) -> int:
            now = await client.status()
            session.output.show(now, lambda: details.show_status(now))
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("devices", group=group)
    @click.option("--online/--offline", default=None, help="Only those that are, or are not.")
    def devices(session: CliSession, online: bool | None) -> int:
        """All devices."""

        async def work(client: ControlClient) -> int:
            await session.output.records(client.devices(online=online), tables.DEVICES)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("show", group=group)
    @hostid_argument
    @click.option("--raw", is_flag=True, help="With all coils and registers that are known.")
    def show(session: CliSession, hostid: str, raw: bool) -> int:
        """One device: registration, settings, what it reports now."""

        async def work(client: ControlClient) -> int:
            shown = Shown(await client.device(hostid), await client.live(hostid, raw=raw))
            session.output.show(shown, lambda: details.show_device(shown.device, shown.live))
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("history", group=group)
    @hostid_argument
    @span_options
    @click.option("--points", metavar="NAME,...", help="Only these points.")
    @click.option("--csv", "as_csv", is_flag=True, help="CSV: times in UTC, a column for each point.")
    def history(session: CliSession, hostid: str, span: Span, points: str | None, as_csv: bool) -> int:
        """What a device has uploaded, as far as it was kept."""
        names = None if points is None else [name.strip() for name in points.split(",") if name.strip()]

        async def work(client: ControlClient) -> int:
            found = client.history(
                hostid, points=names, since=span.since, until=span.until, newest_first=span.newest_first
            )
            if as_csv:
                await write_csv(session.output, found, names, span.limit)
                return ExitStatus.DONE
            columns = tables.READINGS if names is None else tables.reading_columns(names)
            await session.output.records(found, columns, limit=span.limit, lines=True)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("events", group=group)
    @maybe_hostid
    @span_options
    def events(session: CliSession, hostid: str | None, span: Span) -> int:
        """What has happened."""

        async def work(client: ControlClient) -> int:
            found = client.events(hostid, since=span.since, until=span.until, newest_first=span.newest_first)
            await session.output.records(found, tables.EVENTS, limit=span.limit, lines=True)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("commands", group=group)
    @maybe_hostid
    @span_options
    def commands(session: CliSession, hostid: str | None, span: Span) -> int:
        """The audit: who asked for what, and what became of it."""

        async def work(client: ControlClient) -> int:
            found = client.commands(hostid, since=span.since, until=span.until, newest_first=span.newest_first)
            await session.output.records(found, tables.COMMANDS, limit=span.limit)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("alarms", group=group)
    @maybe_hostid
    @click.option("--ended", is_flag=True, help="All there ever were; the other options are for these.")
    @span_options
    def alarms(session: CliSession, hostid: str | None, ended: bool, span: Span) -> int:
        """Open alarms."""

        async def work(client: ControlClient) -> int:
            if ended:
                found = client.alarms(
                    hostid, ended=True, since=span.since, until=span.until, newest_first=span.newest_first
                )
                await session.output.records(found, tables.ALARMS, limit=span.limit)
            else:
                await session.output.records(client.alarms(hostid), tables.ALARMS)
            return ExitStatus.DONE

        return session.carry_out(work)


async def write_csv(
    output: Output, found: AsyncIterator[ReadingRow], names: list[str] | None, limit: int | None
) -> None:
    """Readings as CSV. Without names the columns are known at the end only: until then they wait in a file."""
    columns = dict.fromkeys(names or ())
    with TemporaryFile() as waiting:
        left = limit
        async for reading in found:
            if names is None:
                columns.update(dict.fromkeys(reading.points))
            waiting.write(msgspec.json.encode(reading) + b"\n")
            left = None if left is None else left - 1
            if left == 0:
                break
        output.raw(_csv_line([*CSV_HEADINGS, *columns]))
        waiting.seek(0)
        decoder = msgspec.json.Decoder(ReadingRow)
        for line in waiting:
            reading = decoder.decode(line)
            values = (reading.points.get(name) for name in columns)
            output.raw(_csv_line([utc_text(reading.at), reading.reason, reading.suppressed, *values]))


def _csv_line(cells: list[Any]) -> str:
    made = io.StringIO()
    csv.writer(made, lineterminator="\n").writerow(cells)
    return made.getvalue()
