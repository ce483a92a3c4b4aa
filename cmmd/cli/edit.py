"""Commands that change what the daemon knows: enrol, device set, acknowledge."""

import csv
from collections.abc import AsyncIterator, Iterable, Iterator
from typing import BinaryIO, TextIO

import click
from msgspec import Struct
from rich.text import Text

from cmmd.cli.details import device_facts
from cmmd.cli.exit_status import Ends, ExitStatus, ending, once
from cmmd.cli.formatting import KEYS, changes, plain
from cmmd.cli.options import command, hostid_argument
from cmmd.cli.session import CliSession
from cmmd.cli.tables import Columns
from cmmd.control.client import ControlClient
from cmmd.control.errors import ControlError
from cmmd.fleet.service.records import DeviceDetails

__all__ = ["Enrolled", "add_to"]

FIELDS = ("hostid", "hostname", "moduletype", "password")
"""Of a line of CSV, in this order where there is no line with their names."""


class Enrolled(Struct, frozen=True, kw_only=True):
    """What became of a line of ``cmmctl enrol --csv``; ``error`` None: it is enrolled."""

    line: int
    hostid: str
    error: str | None
    message: str | None


_ENROLLED: Columns = (
    ("line", lambda one: one.line),
    ("hostid", lambda one: one.hostid),
    ("is", lambda one: "enrolled" if one.error is None else f"{one.message} [{one.error}]"),
)


def add_to(group: click.Group) -> None:
    """Give them to the command line."""

    @command("enrol", group=group)
    @click.argument("hostid", required=False)
    @click.option("--hostname", help="Its name, until it says one itself.")
    @click.option("--moduletype", help="The model of its controller, until it says it itself.")
    @click.option("--password", help="Its password. Others on this machine can see it while this runs.")
    @click.option(
        "--password-file", type=click.File(encoding="utf-8"), help="A file with its password; -: standard input."
    )
    @click.option(
        "--csv",
        "file",
        type=click.File("rb"),
        metavar="FILE",
        help=f"Many devices: {','.join(FIELDS)}; -: standard input.",
    )
    def enrol(
        session: CliSession,
        hostid: str | None,
        hostname: str | None,
        moduletype: str | None,
        password: str | None,
        password_file: TextIO | None,
        file: BinaryIO | None,
    ) -> int:
        """Make devices known ahead of their first login.

        Without a password the first one that a device comes with is taken.
        """
        single = (hostid, hostname, moduletype, password, password_file)
        if file is not None and any(one is not None for one in single):
            raise click.UsageError("--csv stands for HOSTID and all other options")
        if file is not None:
            return _enrol_many(session, file)
        if hostid is None:
            raise click.UsageError("HOSTID or --csv FILE expected")
        if password_file is not None:
            if password is not None:
                raise click.UsageError("--password or --password-file, not both")
            password = password_file.readline().rstrip("\r\n")

        async def work(client: ControlClient) -> int:
            device = await _enrol(client, hostid, hostname, moduletype, password)
            session.output.show(device, lambda: Text(plain(f"enrolled {hostid}")))
            return ExitStatus.DONE

        return session.carry_out(work)

    @group.group("device", no_args_is_help=False, subcommand_metavar="set KEY=VALUE...")
    @hostid_argument
    def device(hostid: str) -> None:
        """The owner's settings of a device."""

    @command("set", group=device)
    @click.argument("settings", nargs=-1, required=True, metavar="KEY=VALUE...", shell_complete=_settings)
    @click.pass_context
    def set_(context: click.Context, session: CliSession, settings: tuple[str, ...]) -> int:
        """Change settings; KEY= puts one back to the default."""
        assert context.parent is not None, "it is in a group"
        hostid = context.parent.params["hostid"]
        try:
            wanted = changes(settings)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

        async def work(client: ControlClient) -> int:
            unknown = f"outcome unknown, it may have been set: look at `cmmctl show {hostid}`"
            changed: DeviceDetails = await once(client.set_device(hostid, wanted), unknown)
            session.output.show(changed, lambda: device_facts(changed))
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("acknowledge", group=group)
    @click.argument("alarm", type=click.IntRange(min=1))
    def acknowledge(session: CliSession, alarm: int) -> int:
        """Say that somebody has seen an alarm.

        ALARM: the number of an open one, as in alarms.
        """

        async def work(client: ControlClient) -> int:
            unknown = f"outcome unknown, alarm {alarm} may have been acknowledged: look at `cmmctl alarms`"
            seen = await once(client.acknowledge(alarm), unknown)
            what = f"{seen.title} of {seen.hostid}: acknowledged by {seen.acknowledged_by}"
            session.output.show(seen, lambda: Text(plain(what)))
            return ExitStatus.DONE

        return session.carry_out(work)


def _settings(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    return [f"{key}=" for key in KEYS if key.startswith(incomplete)]


async def _enrol(
    client: ControlClient, hostid: str, hostname: str | None, moduletype: str | None, password: str | None
) -> DeviceDetails:
    unknown = f"outcome unknown, {hostid} may have been enrolled: look at `cmmctl show {hostid}`"
    return await once(
        client.enrol(hostid, hostname=hostname or None, moduletype=moduletype or None, password=password or None),
        unknown,
    )


# --- many ------------------------------------------------------------------------------------------------------------


class _Line(Struct, frozen=True):
    """A line of the file: its number, what stands in it, and what is wrong with it."""

    number: int
    fields: dict[str, str]
    wrong: str | None = None


def _lines(file: BinaryIO) -> Iterator[_Line]:
    """The lines that stand for a device. Each is read by itself: a stray quote spoils its own line only."""
    names: list[str] = list(FIELDS)
    for number, raw in enumerate(file, 1):
        try:
            cells = next(csv.reader([raw.decode("utf-8-sig")], strict=True), [])
        except (UnicodeDecodeError, csv.Error) as error:
            yield _Line(number, {}, f"no CSV in UTF-8: {error}")
            continue
        if not any(cells):
            continue
        if number == 1 and "hostid" in cells:
            names = [cell.strip() for cell in cells]
            if unknown := set(names) - set(FIELDS):
                raise click.UsageError(f"--csv: no such column: {', '.join(sorted(unknown))}")
            continue
        fields = {name: cell if name == "password" else cell.strip() for name, cell in zip(names, cells, strict=False)}
        wrong = f"more than {len(names)} cells" if len(cells) > len(names) else None
        yield _Line(number, fields, wrong or (None if fields.get("hostid") else "no hostid"))


def _enrol_many(session: CliSession, file: BinaryIO) -> int:
    lines = list(_lines(file))

    async def work(client: ControlClient) -> int:
        done: list[Enrolled] = []
        ended: Ends | None = None
        with session.output.waiting(f"enrolling {len(lines)} devices"):
            for line in lines:
                hostid = line.fields.get("hostid", "")
                end = await _enrol_line(client, line)
                done.append(
                    Enrolled(
                        line=line.number,
                        hostid=hostid,
                        error=None if end is None else end.code,
                        message=None if end is None else str(end),
                    )
                )
                if end is not None and end.status not in (ExitStatus.DONE, ExitStatus.FAILED):
                    ended = end  # nobody is there any more
                    break
        await session.output.records(_each(done), _ENROLLED)
        failed = sum(one.error is not None for one in done)
        session.output.note(f"{len(done) - failed} of {len(lines)} enrolled")
        if ended is not None:
            raise ended
        return ExitStatus.FAILED if failed else ExitStatus.DONE

    return session.carry_out(work)


async def _enrol_line(client: ControlClient, line: _Line) -> Ends | None:
    """Enrol what stands in a line; None: it is done."""
    if line.wrong is not None:
        return Ends(ExitStatus.FAILED, "bad_line", line.wrong)
    try:
        await _enrol(client, **{name: line.fields.get(name, "") for name in FIELDS})
    except (Ends, ControlError) as error:
        return ending(error)
    return None


async def _each(records: Iterable[Enrolled]) -> AsyncIterator[Enrolled]:
    for record in records:
        yield record
