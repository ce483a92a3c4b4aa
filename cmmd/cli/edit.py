"""Change what the daemon holds: cmmctl enrol, device, lock, unlock, clear-input, ack."""

import csv
from collections.abc import AsyncIterator, Awaitable, Iterable, Iterator
from typing import BinaryIO, TextIO

import click
from msgspec import Struct
from rich.text import Text

from cmmd.cli.enrolment import add_to_device
from cmmd.cli.exit_status import Ends, ExitStatus, ending, once
from cmmd.cli.formatting import KEYS, Columns, changes, plain
from cmmd.cli.options import command, hostid_argument
from cmmd.cli.output import ask, can_ask
from cmmd.cli.read import device_facts, lock_text, said_text
from cmmd.cli.session import CliSession
from cmmd.control.client import ControlClient
from cmmd.control.errors import AdminOnly, ControlError, NotAllowed, RemoteInhibited
from cmmd.fleet.devices.inputs import INPUTS
from cmmd.fleet.service.records import DeviceDetails

__all__ = ["Enrolled", "add_to"]


UNLOCKS = "The lock may protect a person at the genset. Make sure that there is none."
CLEARS = "Then commands are sent again, until the device reports the input again. Make sure that no person is near it."


def _add_maintenance_to(group: click.Group) -> None:
    """Give them to the command line."""

    @command("lock", group=group)
    @hostid_argument
    @click.option("--reason", required=True, help="Why, for everybody who looks at the device.")
    def lock(session: CliSession, hostid: str, reason: str) -> int:
        """Lock a device for maintenance.

        Until it is unlocked nothing but stop and reset is sent to it, through any door.
        """

        async def work(client: ControlClient) -> int:
            locked = await _changed(client.lock(hostid, reason), hostid, "locked")
            return _show(session, client, locked, f"{hostid}: locked {lock_text(locked.row.lock)}")

        return session.carry_out(work)

    @command("unlock", group=group)
    @hostid_argument
    @click.option("--force", "--yes", "force", is_flag=True, help="Also where another person locked it; ask nothing.")
    def unlock(session: CliSession, hostid: str, force: bool) -> int:
        """Unlock a device after maintenance.

        Where another person has locked it you are asked first, at a terminal; elsewhere it needs --force.
        """

        async def work(client: ControlClient) -> int:
            try:
                unlocked = await _changed(client.unlock(hostid, force=force), hostid, "unlocked")
            except AdminOnly:
                await _allow_unlocking(session, client, hostid)
                unlocked = await _changed(client.unlock(hostid, force=True), hostid, "unlocked")
            return _show(session, client, unlocked, f"{hostid}: not locked")

        return session.carry_out(work)

    @command("clear-input", group=group)
    @hostid_argument
    @click.argument(
        "name",
        type=click.Choice([one.name for one in INPUTS]),
        default=RemoteInhibited.code,
        metavar="[INPUT]",
    )
    @click.option("--yes", is_flag=True, help="Ask nothing.")
    def clear_input(session: CliSession, hostid: str, name: str, yes: bool) -> int:
        """Forget what a device last said of one of its own inputs, until it says it again.

        INPUT: remote_inhibited, where none is named.
        """

        async def work(client: ControlClient) -> int:
            if not yes:
                await _allow_clearing(session, client, hostid, name)
            cleared = await _changed(client.clear_input(hostid, name), hostid, "cleared")
            return _show(session, client, cleared, f"{hostid}: {name} cleared")

        return session.carry_out(work)


async def _changed(asking: Awaitable[DeviceDetails], hostid: str, what: str) -> DeviceDetails:
    """Wait for a change of a device.

    :raises Ends: the outcome is unknown, or the change is not allowed.
    :raises AdminOnly: the change needs an administrator.
    """
    try:
        return await once(asking, f"outcome unknown, it may have been {what}: look at `cmmctl show {hostid}`")
    except AdminOnly:
        raise
    except NotAllowed as error:
        raise Ends(ExitStatus.FAILED, error.code, f"not allowed: {error}") from None


def _show(session: CliSession, client: ControlClient, device: DeviceDetails, text: str) -> int:
    session.output.show(device, lambda: Text(plain(text)), unrecorded=client.unrecorded)
    return ExitStatus.DONE


async def _allow_unlocking(session: CliSession, client: ControlClient, hostid: str) -> None:
    """Have the lock of another person removed by the person at the terminal, who is shown it.

    :raises Ends: it is not allowed, or it is another lock by then.
    """
    device = await client.device(hostid)
    await _allow(session, device, [f"  unlock: locked {lock_text(device.row.lock)}", UNLOCKS], "Unlock it?", "--force")
    if (await client.device(hostid)).row.lock != device.row.lock:
        raise Ends(ExitStatus.FAILED, "not_confirmed", "nothing was changed: it is another lock by now")


async def _allow_clearing(session: CliSession, client: ControlClient, hostid: str, name: str) -> None:
    """Have a report cleared by the person at the terminal, who is shown it.

    :raises Ends: it is not allowed.
    """
    device = await client.device(hostid)
    report = (await client.live(hostid)).view.input_reports.get(name)
    if report is not None:
        lines = [f"  clear: {said_text(name, report)}", CLEARS]
        await _allow(session, device, lines, "Clear it?", "--yes")


async def _allow(session: CliSession, device: DeviceDetails, lines: list[str], question: str, option: str) -> None:
    if not can_ask(session.output, session.inp):
        raise Ends(
            ExitStatus.USAGE,
            "not_confirmed",
            f"nothing was changed: {lines[0].strip()}; without a terminal it needs {option}",
        )
    row = device.row
    about = f"Of {row.hostid}, {row.hostname or 'without a name'} ({row.moduletype or 'controller unknown'}):"
    await ask(
        [about, *lines],
        session.output,
        session.inp,
        session.reactor,
        question=question,
        refused="nothing was changed",
    )


FIELDS = ("hostid", "hostname", "moduletype", "password")
"""Of a line of CSV, in this order where there is no line with their names."""


class Enrolled(Struct, frozen=True, kw_only=True):
    """The result of one line of ``cmmctl enrol --csv``; ``error`` None: the device is enrolled."""

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
    """Add these commands to the command line."""
    _add_maintenance_to(group)

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
            raise click.UsageError("--csv replaces HOSTID and all other options")
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
            session.output.show(device, lambda: Text(plain(f"enrolled {hostid}")), unrecorded=client.unrecorded)
            return ExitStatus.DONE

        return session.carry_out(work)

    @group.group("device", no_args_is_help=False, subcommand_metavar="set KEY=VALUE... | forget | reset-password")
    @hostid_argument
    def device(hostid: str) -> None:
        """The owner's settings of a device; forget it, or reset its password."""

    add_to_device(device)

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
            session.output.show(changed, lambda: device_facts(changed), unrecorded=client.unrecorded)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("acknowledge", group=group)
    @click.argument("alarm", type=click.IntRange(min=1))
    def acknowledge(session: CliSession, alarm: int) -> int:
        """Acknowledge an alarm.

        ALARM: the number of an open one, as in alarms.
        """

        async def work(client: ControlClient) -> int:
            unknown = f"outcome unknown, alarm {alarm} may have been acknowledged: look at `cmmctl alarms`"
            seen = await once(client.acknowledge(alarm), unknown)
            what = f"{seen.title} of {seen.hostid}: acknowledged by {seen.acknowledged_by}"
            session.output.show(seen, lambda: Text(plain(what)), unrecorded=client.unrecorded)
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
    """A line of the file: its number, its text, and what is wrong with it."""

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
                    ended = end  # the operator has gone
                    break
        await session.output.records(_each(done), _ENROLLED)
        failed = sum(one.error is not None for one in done)
        session.output.note(f"{len(done) - failed} of {len(lines)} enrolled")
        if ended is not None:
            raise ended
        return ExitStatus.FAILED if failed else ExitStatus.DONE

    return session.carry_out(work)


async def _enrol_line(client: ControlClient, line: _Line) -> Ends | None:
    """Enrol the device of a line; None: it is done."""
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
