"""Commands to devices: send, write, port, reset, cancel. Each is sent once, or not at all."""

from collections.abc import Callable

import click
from msgspec.structs import replace
from rich.text import Text

from cmmd.cli import formatting
from cmmd.cli.exit_status import Ends, ExitStatus, once
from cmmd.cli.formatting import BAUDS, PORTS, code_of, plain
from cmmd.cli.options import Order, carry_out, carry_out_at_once, command, hostid_argument, name_argument
from cmmd.cli.output import ask, can_ask
from cmmd.cli.read import said_text
from cmmd.cli.session import CliSession
from cmmd.control.client import ControlClient
from cmmd.control.errors import RemoteInhibited, Stale, UnknownCommand
from cmmd.fleet.commands.queue import STOP
from cmmd.fleet.service.records import CommandInfo, DeviceDetails

__all__ = ["OVERRIDES", "add_to"]

OVERRIDES = (RemoteInhibited.code, Stale.code)
"""Refusals that can be overridden."""

CONFIRM_S = 10.0
"""Seconds that a command of the profile has to show itself, by default: some uploads."""

MOVES = "This moves an engine or a breaker. Make sure that no one is near it."

MEANS = {
    "auto": "From then on it starts by itself when the mains fail. Make sure that no one is near it.",
    "manual": "From then on it does not start by itself when the mains fail.",
}
"""What is to be said of these commands; of all others :data:`MOVES`. A stop asks no question."""

REWIRES = "With another wiring than the controller's the module hears nothing of it any more."
RESTARTS = "The module restarts and logs in again; until then the genset is not watched."


def add_to(group: click.Group) -> None:
    """Give them to the command line."""
    timeout = click.option("--timeout", type=float, metavar="S", help="Seconds to wait for the device's answer.")
    yes = click.option("--yes", is_flag=True, help="Ask nothing.")
    override = click.option(
        "--override", type=click.Choice(OVERRIDES), help="A refusal that does not count for this one command."
    )

    def confirm(default: float) -> Callable[[Callable[..., int]], Callable[..., int]]:
        return click.option(
            "--confirm",
            type=click.FloatRange(min=0, max=3600),
            default=default,
            show_default=True,
            metavar="S",
            help="Seconds that it has to show itself after it was done.",
        )

    @command("send", group=group)
    @hostid_argument
    @name_argument
    @timeout
    @override
    @confirm(CONFIRM_S)
    @yes
    def send(
        session: CliSession,
        hostid: str,
        name: str,
        timeout: float | None,
        override: str | None,
        confirm: float,
        yes: bool,
    ) -> int:
        """Send a command of the device's profile, such as auto.

        stop is sent at once: nothing is asked or looked up before.
        """

        async def work(client: ControlClient) -> int:
            order = Order(
                hostid=hostid,
                kind="modbus",
                name=name,
                title=name,
                send=lambda: client.send_command(hostid, name, timeout=timeout, override=override),
                confirm_s=confirm,
            )
            if name == STOP:
                return await carry_out_at_once(session, client, order)
            device = await client.device(hostid)
            wanted = next((one for one in device.commands if one.name == name), None)
            if wanted is None:
                raise UnknownCommand(_why_not(device, name))
            if not yes and (not wanted.idempotent or can_ask(session.output, session.inp)):
                more = [*_mode(device, wanted), *await _overridden(client, hostid, override)]
                means = MEANS.get(wanted.name, MOVES)
                await _ask(session, device, [f"  {wanted.name}: {wanted.title}", *more, means])
            return await carry_out(session, client, order if wanted.confirmable else replace(order, confirm_s=0.0))

        return session.carry_out(work)

    @command("write", group=group)
    @hostid_argument
    @click.argument("frames", nargs=-1, required=True, metavar="FRAME...")
    @timeout
    @override
    @yes
    def write(
        session: CliSession,
        hostid: str,
        frames: tuple[str, ...],
        timeout: float | None,
        override: str | None,
        yes: bool,
    ) -> int:
        """Send Modbus writes, in hex.

        With CRC or without. At a terminal you are asked first.
        """

        async def work(client: ControlClient) -> int:
            if not yes and can_ask(session.output, session.inp):
                device = await client.device(hostid)
                more = await _overridden(client, hostid, override)
                lines = [*(f"  {frame}" for frame in frames), *more, f"If it writes a coil: {MOVES}"]
                await _ask(session, device, lines)
            order = Order(
                hostid=hostid,
                kind="modbus",
                title="write",
                send=lambda: client.write_config(hostid, ";".join(frames), timeout=timeout, override=override),
                confirm_s=0.0,
            )
            return await carry_out(session, client, order)

        return session.carry_out(work)

    @command("port", group=group)
    @hostid_argument
    @click.option("--port", required=True, metavar="P", help="off, LINK, RS485, RS232 or USB; or its code, 0 to 4.")
    @click.option("--baud", required=True, metavar="B", help="9600, 19200 or 115200; or its code, 0 to 2.")
    @timeout
    @override
    @yes
    def port(
        session: CliSession,
        hostid: str,
        port: str,
        baud: str,
        timeout: float | None,
        override: str | None,
        yes: bool,
    ) -> int:
        """Change the module's wiring to the controller. At a terminal you are asked first."""
        try:
            port_code, baud_code = code_of(port, PORTS), code_of(baud, BAUDS)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

        title = f"port {PORTS[port_code]}, {BAUDS[baud_code]} bit/s"

        async def work(client: ControlClient) -> int:
            if not yes and can_ask(session.output, session.inp):
                await _ask(
                    session,
                    await client.device(hostid),
                    [f"  {title}", *await _overridden(client, hostid, override), REWIRES],
                )
            order = Order(
                hostid=hostid,
                kind="port",
                title=title,
                send=lambda: client.write_port(hostid, port_code, baud_code, timeout=timeout, override=override),
                confirm_s=0.0,
            )
            return await carry_out(session, client, order)

        return session.carry_out(work)

    @command("reset", group=group)
    @hostid_argument
    @timeout
    @override
    @confirm(0.0)
    @yes
    def reset(
        session: CliSession, hostid: str, timeout: float | None, override: str | None, confirm: float, yes: bool
    ) -> int:
        """Restart the module; it logs in again. At a terminal you are asked first."""

        async def work(client: ControlClient) -> int:
            if not yes and can_ask(session.output, session.inp):
                more = await _overridden(client, hostid, override)
                await _ask(session, await client.device(hostid), ["  reset", *more, RESTARTS])
            order = Order(
                hostid=hostid,
                kind="reset",
                title="reset",
                send=lambda: client.reset(hostid, timeout=timeout, override=override),
                confirm_s=confirm,
            )
            return await carry_out(session, client, order)

        return session.carry_out(work)

    @command("cancel", group=group)
    @click.argument("number", type=click.IntRange(min=1))
    def cancel(session: CliSession, number: int) -> int:
        """Cancel a command that waits.

        NUMBER: as in commands. One that has been sent cannot be cancelled.
        """

        async def work(client: ControlClient) -> int:
            unknown = f"outcome unknown, command {number} may have been cancelled: look at `cmmctl commands`"
            cancelled = await once(client.cancel(number), unknown)
            what = f"{formatting.command_text(cancelled)} to {cancelled.hostid}: cancelled, nothing was sent"
            session.output.show(cancelled, lambda: Text(plain(what)))
            return ExitStatus.DONE

        return session.carry_out(work)


async def _ask(session: CliSession, device: DeviceDetails, lines: list[str]) -> None:
    """Ask the operator for permission.

    :raises Ends: it is not, or there is no operator to allow it.
    """
    if not can_ask(session.output, session.inp):
        raise Ends(
            ExitStatus.USAGE,
            "not_confirmed",
            f"nothing was sent: without a terminal {lines[0].strip()} needs --yes",
        )
    row = device.row
    about = f"To {row.hostid}, {row.hostname or 'without a name'} ({row.moduletype or 'controller unknown'}):"
    await ask([about, *lines], session.output, session.inp, session.reactor)


def _why_not(device: DeviceDetails, name: str) -> str:
    """Say why a command is not among those of a device."""
    if name in device.withheld:
        return f"{device.row.profile}: {name} is not offered: {device.withheld[name]}"
    names = ", ".join(one.name for one in device.commands) or "no commands"
    return f"{device.row.profile} has no command {name!r}, but {names}"


async def _overridden(client: ControlClient, hostid: str, override: str | None) -> list[str]:
    """Warn that a refusal is overridden."""
    if override is None:
        return []
    report = (await client.live(hostid)).view.input_reports.get(override)
    return [f"Overridden: {override}" if report is None else f"Overridden: {said_text(override, report)}."]


def _mode(device: DeviceDetails, wanted: CommandInfo) -> list[str]:
    """Warn that the controller will not obey in its mode."""
    if wanted.only_in_mode is None or device.row.mode == wanted.only_in_mode:
        return []
    return [f"The controller obeys in {wanted.only_in_mode} mode only; its mode is {device.row.mode or 'unknown'}."]
