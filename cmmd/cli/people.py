"""Commands for people beside the machine: lock, unlock, clear-input."""

from collections.abc import Awaitable

import click
from rich.text import Text

from cmmd.cli.details import lock_text, said_text
from cmmd.cli.exit_status import Ends, ExitStatus, once
from cmmd.cli.formatting import plain
from cmmd.cli.options import command, hostid_argument
from cmmd.cli.prompts import ask, can_ask
from cmmd.cli.session import CliSession
from cmmd.control.client import ControlClient
from cmmd.control.errors import AdminOnly, NotAllowed, RemoteInhibited
from cmmd.fleet.devices.inputs import INPUTS
from cmmd.fleet.service.records import DeviceDetails

__all__ = ["add_to"]

UNLOCKS = "The lock may protect a person at the genset. Make sure that there is none."
CLEARS = "Then commands are sent again, until the device reports the input again. Make sure that no person is near it."


def add_to(group: click.Group) -> None:
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
            return _show(session, locked, f"{hostid}: locked {lock_text(locked.row.lock)}")

        return session.carry_out(work)

    @command("unlock", group=group)
    @hostid_argument
    @click.option("--force", "--yes", "force", is_flag=True, help="Also where another person locked it; ask nothing.")
    def unlock(session: CliSession, hostid: str, force: bool) -> int:
        """Unlock a device.

        Where another person has locked it you are asked first, at a terminal; elsewhere it needs --force.
        """

        async def work(client: ControlClient) -> int:
            try:
                unlocked = await _changed(client.unlock(hostid, force=force), hostid, "unlocked")
            except AdminOnly:
                await _allow_unlocking(session, client, hostid)
                unlocked = await _changed(client.unlock(hostid, force=True), hostid, "unlocked")
            return _show(session, unlocked, f"{hostid}: not locked")

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
            return _show(session, cleared, f"{hostid}: {name} cleared")

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


def _show(session: CliSession, device: DeviceDetails, text: str) -> int:
    session.output.show(device, lambda: Text(plain(text)))
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
            f"nothing was changed: {lines[0].strip()}; it needs {option} where nobody can be asked at a terminal",
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
