"""Commands to devices: send, write, port, reset, cancel. Each is sent once, or not at all."""

from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import click
from msgspec import Struct
from rich.text import Text
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred

from cmmd.control.client import ControlClient
from cmmd.control.cmmctl import tables
from cmmd.control.cmmctl.asking import ask, can_ask
from cmmd.control.cmmctl.ends import ADVICE, BY_OUTCOME, Ends, Status, once
from cmmd.control.cmmctl.session import Session
from cmmd.control.cmmctl.shape import command, hostid_argument, name_argument
from cmmd.control.cmmctl.texts import BAUDS, PORTS, code_of, plain
from cmmd.control.errors import UnknownCommand
from cmmd.control.records import CommandInfo, DeviceDetails, Ended, News

__all__ = ["Result", "add_to"]

CONFIRM_S = 10.0
"""Seconds that a command of the profile has to show itself, where nobody says otherwise: some uploads."""

MOVES = "This moves an engine or a breaker. Make sure that nobody is near it."


class Result(Struct, frozen=True, kw_only=True):
    """``cmmctl --json send``, ``write``, ``port`` and ``reset``; docs/control.md says what the outcomes mean.

    :ivar commandId: its number in the audit.
    :ivar name: of a command of the profile; None: it is another kind.
    :ivar confirmed: whether later uploads, or a login, have shown it; None: not yet, or nobody can tell.
    """

    commandId: int
    hostid: str
    kind: str
    name: str | None
    uid: str
    outcome: str
    reply: str
    seconds: float
    confirmed: bool | None


class Order(Struct, frozen=True, kw_only=True):
    """What is to be sent.

    :ivar kind: as in the audit; :ivar name: likewise.
    :ivar title: what people call it.
    :ivar send: sends it, once.
    :ivar confirm_s: seconds to wait for it to show itself after it was done; 0: nobody waits.
    """

    hostid: str
    kind: str
    name: str | None = None
    title: str
    send: Callable[[], Awaitable[Ended]]
    confirm_s: float


class _Confirmations:
    """Hears which commands have shown themselves."""

    def __init__(self) -> None:
        self._settled: dict[int, bool] = {}
        self._waiting: dict[int, Deferred[bool]] = {}

    def hear(self, news: News) -> None:
        for one in news.commands:
            if one.confirmed is not None:
                self._settled[one.number] = one.confirmed
                waiting = self._waiting.pop(one.number, None)
                if waiting is not None:
                    waiting.callback(one.confirmed)

    async def of(self, number: int, within_s: float, reactor: Any) -> bool | None:
        """Whether a command has shown itself; None: that has not come out in time, or nobody waits any more."""
        if number in self._settled:
            return self._settled[number]
        waiting = self._waiting[number] = Deferred()
        try:
            return await waiting.addTimeout(within_s, reactor)
        except (defer.TimeoutError, CancelledError):
            return None


def add_to(group: click.Group) -> None:
    """Give them to the command line."""
    timeout = click.option("--timeout", type=float, metavar="S", help="Seconds to wait for the device's answer.")
    yes = click.option("--yes", is_flag=True, help="Ask nothing.")

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
    @confirm(CONFIRM_S)
    @yes
    def send(session: Session, hostid: str, name: str, timeout: float | None, confirm: float, yes: bool) -> int:
        """Send a command of the device's profile, such as auto."""

        async def work(client: ControlClient) -> int:
            device = await client.device(hostid)
            wanted = next((one for one in device.commands if one.name == name), None)
            if wanted is None:
                names = ", ".join(one.name for one in device.commands) or "no commands"
                raise UnknownCommand(f"{device.row.profile} has no command {name!r}, but {names}")
            if not wanted.idempotent and not yes:
                await _ask(session, device, [f"  {wanted.name}: {wanted.title}", *_mode(device, wanted), MOVES])
            order = Order(
                hostid=hostid,
                kind="modbus",
                name=name,
                title=name,
                send=lambda: client.send_command(hostid, name, timeout=timeout),
                confirm_s=confirm if wanted.confirmable else 0.0,
            )
            return await _carry_out(session, client, order)

        return session.carry_out(work)

    @command("write", group=group)
    @hostid_argument
    @click.argument("frames", nargs=-1, required=True, metavar="FRAME...")
    @timeout
    @yes
    def write(session: Session, hostid: str, frames: tuple[str, ...], timeout: float | None, yes: bool) -> int:
        """Send Modbus writes, in hex.

        With CRC or without. At a terminal you are asked first.
        """

        async def work(client: ControlClient) -> int:
            if not yes and can_ask(session.output, session.inp):
                device = await client.device(hostid)
                await _ask(session, device, [*(f"  {frame}" for frame in frames), f"If it writes a coil: {MOVES}"])
            order = Order(
                hostid=hostid,
                kind="modbus",
                title="write",
                send=lambda: client.write_config(hostid, ";".join(frames), timeout=timeout),
                confirm_s=0.0,
            )
            return await _carry_out(session, client, order)

        return session.carry_out(work)

    @command("port", group=group)
    @hostid_argument
    @click.option("--port", required=True, metavar="P", help="off, LINK, RS485, RS232 or USB; or its code, 0 to 4.")
    @click.option("--baud", required=True, metavar="B", help="9600, 19200 or 115200; or its code, 0 to 2.")
    @timeout
    def port(session: Session, hostid: str, port: str, baud: str, timeout: float | None) -> int:
        """Change the module's wiring to the controller."""
        try:
            port_code, baud_code = code_of(port, PORTS), code_of(baud, BAUDS)
        except ValueError as error:
            raise click.UsageError(str(error)) from None

        async def work(client: ControlClient) -> int:
            order = Order(
                hostid=hostid,
                kind="port",
                title=f"port {PORTS[port_code]}, {BAUDS[baud_code]} bit/s",
                send=lambda: client.write_port(hostid, port_code, baud_code, timeout=timeout),
                confirm_s=0.0,
            )
            return await _carry_out(session, client, order)

        return session.carry_out(work)

    @command("reset", group=group)
    @hostid_argument
    @timeout
    @confirm(0.0)
    def reset(session: Session, hostid: str, timeout: float | None, confirm: float) -> int:
        """Restart the module; it logs in again."""

        async def work(client: ControlClient) -> int:
            order = Order(
                hostid=hostid,
                kind="reset",
                title="reset",
                send=lambda: client.reset(hostid, timeout=timeout),
                confirm_s=confirm,
            )
            return await _carry_out(session, client, order)

        return session.carry_out(work)

    @command("cancel", group=group)
    @click.argument("number", type=click.IntRange(min=1))
    def cancel(session: Session, number: int) -> int:
        """Take back a command that waits.

        NUMBER: as in commands. One that has been sent cannot be taken back.
        """

        async def work(client: ControlClient) -> int:
            unknown = f"outcome unknown, command {number} may have been cancelled: look at `cmmctl commands`"
            cancelled = await once(client.cancel(number), unknown)
            what = f"{tables.command_text(cancelled)} to {cancelled.hostid}: cancelled, nothing was sent"
            session.output.show(cancelled, lambda: Text(plain(what)))
            return Status.DONE

        return session.carry_out(work)


async def _ask(session: Session, device: DeviceDetails, lines: list[str]) -> None:
    """Have it allowed.

    :raises Ends: it is not, or nobody is there to allow it.
    """
    if not can_ask(session.output, session.inp):
        raise Ends(
            Status.USAGE,
            "not_confirmed",
            f"nothing was sent: {lines[0].strip()} needs --yes where nobody can be asked at a terminal",
        )
    row = device.row
    about = f"To {row.hostid}, {row.hostname or 'without a name'} ({row.moduletype or 'controller unknown'}):"
    await ask([about, *lines], session.output, session.inp, session.reactor)


def _mode(device: DeviceDetails, wanted: CommandInfo) -> list[str]:
    """What is to be said where the controller will not obey."""
    if wanted.only_in_mode is None or device.row.mode == wanted.only_in_mode:
        return []
    return [f"The controller obeys in {wanted.only_in_mode} mode only; its mode is {device.row.mode or 'unknown'}."]


async def _carry_out(session: Session, client: ControlClient, order: Order) -> int:
    confirmations = _Confirmations()
    if order.confirm_s:
        await client.watch(confirmations.hear, hostid=order.hostid, commands=True)
    confirmed: bool | None = None
    with session.output.waiting(f"{order.title}: waiting for {order.hostid}"):
        ended = await once(order.send(), ADVICE.format(hostid=order.hostid))
        if ended.outcome == "done" and order.confirm_s:
            confirmed = await confirmations.of(ended.number, order.confirm_s, session.reactor)
    result = Result(
        commandId=ended.number,
        hostid=order.hostid,
        kind=order.kind,
        name=order.name,
        uid=ended.uid,
        outcome=ended.outcome,
        reply=ended.reply,
        seconds=ended.seconds,
        confirmed=confirmed,
    )
    status = BY_OUTCOME.get(ended.outcome, Status.UNKNOWN)
    with suppress(OSError):  # whoever does not read the outcome is still told it by the status
        session.output.show(result, lambda: Text(plain(_sentence(order, result))))
    if status is Status.UNKNOWN:
        session.output.note(ADVICE.format(hostid=order.hostid))
    return status


def _sentence(order: Order, result: Result) -> str:
    shown = {
        True: ", confirmed",
        False: ", but later uploads do not show it",
        None: f", not confirmed within {order.confirm_s:g} s" if order.confirm_s and result.outcome == "done" else "",
    }[result.confirmed]
    reply = f": {result.reply}" if result.reply and result.outcome != "done" else ""
    return (
        f"{order.title} to {order.hostid}: {result.outcome}{shown}{reply}"
        f" (command {result.commandId}, {result.seconds:.1f} s)"
    )
