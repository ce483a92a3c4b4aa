"""Commands that decide which devices there are: enrolment, approve, reject, device forget and reset-password."""

from typing import TextIO

import click
from msgspec import Struct
from rich.console import Group
from rich.text import Text

from cmmd.cli.exit_status import Ends, ExitStatus, once
from cmmd.cli.formatting import moment_text, plain
from cmmd.cli.options import command, hostid_argument
from cmmd.cli.session import CliSession
from cmmd.control.client import ControlClient
from cmmd.fleet.devices.enrolment import POLICIES
from cmmd.fleet.service.records import CandidateRow, EnrolmentNow, StatusNow

__all__ = ["add_to", "add_to_device", "enrolment_text"]

_MEANS = {
    "open": "open: any device that reaches the port is registered. Close it with `cmmctl enrolment approve`",
    "approve": "approve: unknown devices wait here until `cmmctl approve HOSTID`",
    "known": "known: unknown devices are refused; `cmmctl enrol HOSTID` makes one known",
}


class Gone(Struct, frozen=True):
    """``cmmctl --json reject`` and ``forget``: the device that is not there any more."""

    hostid: str


def enrolment_text(status: StatusNow) -> str:
    """Say who can register, for ``cmmctl status``; an open door is urged to be closed."""
    if status.enrolment == "open" and status.devices:
        return "OPEN: any device that reaches the port is registered; close it: cmmctl enrolment approve"
    return f"{status.enrolment}, {status.waiting} wait for approval" if status.waiting else status.enrolment


def add_to(group: click.Group) -> None:
    """Add the commands on the whole fleet to the command line."""

    @command("enrolment", group=group)
    @click.argument("policy", type=click.Choice(POLICIES), required=False, metavar="[open|approve|known]")
    def enrolment(session: CliSession, policy: str | None) -> int:
        """Show who can register and which devices wait, or set the policy.

        open: unknown devices are registered; approve: they wait; known: they are refused.
        """

        async def work(client: ControlClient) -> int:
            if policy is None:
                now = await client.enrolment()
            else:
                unknown = "outcome unknown, the policy may have been set: look at `cmmctl enrolment`"
                now = await once(client.set_enrolment(policy), unknown)
            session.output.show(now, lambda: _shown(now), unrecorded=client.unrecorded)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("approve", group=group)
    @hostid_argument
    def approve(session: CliSession, hostid: str) -> int:
        """Let a device in that waits. It has to show the password of its first login."""

        async def work(client: ControlClient) -> int:
            unknown = f"outcome unknown, {hostid} may have been let in: look at `cmmctl show {hostid}`"
            device = await once(client.approve(hostid), unknown)
            session.output.show(device, lambda: Text(plain(f"{hostid}: let in")), unrecorded=client.unrecorded)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("reject", group=group)
    @hostid_argument
    def reject(session: CliSession, hostid: str) -> int:
        """Let a device wait no more. It waits again when it comes again."""

        async def work(client: ControlClient) -> int:
            await once(client.reject(hostid), "outcome unknown: look at `cmmctl enrolment`")
            session.output.show(
                Gone(hostid), lambda: Text(plain(f"{hostid}: waits no more")), unrecorded=client.unrecorded
            )
            return ExitStatus.DONE

        return session.carry_out(work)


def add_to_device(group: click.Group) -> None:
    """Add the commands on one device to its group."""

    @command("forget", group=group)
    @click.option("--yes", is_flag=True, help="Ask nothing.")
    @click.pass_context
    def forget(context: click.Context, session: CliSession, yes: bool) -> int:
        """Let the device be unknown, so that its hostid is free.

        Its readings, events, alarms and commands stay as long as all others. It needs --yes.
        """
        hostid = _hostid(context)

        async def work(client: ControlClient) -> int:
            if not yes:
                raise Ends(ExitStatus.USAGE, "not_confirmed", f"nothing was changed: to forget {hostid} say --yes")
            unknown = f"outcome unknown, it may have been forgotten: look at `cmmctl show {hostid}`"
            await once(client.forget(hostid), unknown)
            session.output.show(Gone(hostid), lambda: Text(plain(f"{hostid}: forgotten")), unrecorded=client.unrecorded)
            return ExitStatus.DONE

        return session.carry_out(work)

    @command("reset-password", group=group)
    @click.option(
        "--password-file", type=click.File(encoding="utf-8"), help="A file with its new password; -: standard input."
    )
    @click.pass_context
    def reset_password(context: click.Context, session: CliSession, password_file: TextIO | None) -> int:
        """Forget the password of the device and end its sessions: it has to log in anew.

        Without a new password the one of the next login is taken.
        """
        hostid = _hostid(context)
        password = None if password_file is None else password_file.readline().rstrip("\r\n")

        async def work(client: ControlClient) -> int:
            unknown = f"outcome unknown, it may have been reset: look at `cmmctl show {hostid}`"
            device = await once(client.reset_password(hostid, password or None), unknown)
            session.output.show(
                device,
                lambda: Text(plain(f"{hostid}: its password was reset; it has to log in anew")),
                unrecorded=client.unrecorded,
            )
            return ExitStatus.DONE

        return session.carry_out(work)


def _hostid(context: click.Context) -> str:
    assert context.parent is not None, "it is in a group"
    hostid: str = context.parent.params["hostid"]
    return hostid


def _shown(now: EnrolmentNow) -> Group:
    lines = [_MEANS[now.policy], *(_waiting(one) for one in now.waiting)]
    return Group(*(Text(plain(line)) for line in lines))


def _waiting(one: CandidateRow) -> str:
    name = one.hostname or "without a name"
    contested = "; CONTESTED: two claim to be it" if one.contested else ""
    since = moment_text(one.first_at)
    model = (
        f"{one.moduletype}, no profile" if one.profile_by == "default" else f"{one.moduletype}, profile {one.profile}"
    )
    return f"{one.hostid}  {name} ({model}) from {one.address} since {since}, {one.attempts} logins{contested}"
