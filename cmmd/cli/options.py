"""Options and arguments that several commands of cmmctl share, and those of the commands that go to a device."""

import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from functools import wraps
from typing import Any, TypeVar

import click
from msgspec import Struct
from msgspec.structs import replace
from rich.text import Text
from twisted.internet import defer
from twisted.internet.defer import CancelledError, Deferred

from cmmd.cli.exit_status import ADVICE, BY_OUTCOME, ExitStatus, once
from cmmd.cli.formatting import moment, plain
from cmmd.cli.session import CliSession, Where, run_reactor
from cmmd.control.client import ControlClient
from cmmd.control.errors import ControlError
from cmmd.control.link import Notification
from cmmd.fleet.service.records import Ended

__all__ = [
    "Order",
    "Result",
    "Span",
    "carry_out",
    "carry_out_at_once",
    "command",
    "hostid_argument",
    "maybe_hostid",
    "name_argument",
    "span_options",
    "where_of",
]


_Function = TypeVar("_Function", bound=Callable[..., Any])

NEWEST = 100
"""Records that are shown by default."""

COMPLETION_S = 2.0
"""Seconds that a completion may take."""

MOST_COMPLETIONS = 200


def where_of(parameters: dict[str, Any]) -> Where:
    """Find the daemon that the options before the command name."""
    files = {name: parameters[name] for name in ("ca", "certificate", "key") if parameters.get(name) is not None}
    return Where(parameters.get("connect") or parameters["state"], files)


def _speak_json(context: click.Context, _: click.Parameter, value: bool) -> None:
    if value and isinstance(context.obj, CliSession):
        context.obj.output.speak_json()


def command(name: str, *, group: click.Group) -> Callable[[Callable[..., int]], click.Command]:
    """A command that gets the Session first, and takes ``--json`` behind its name, too. It returns the exit status."""

    def made(function: Callable[..., int]) -> click.Command:
        with_json = click.option(
            "--json", is_flag=True, expose_value=False, callback=_speak_json, help="JSON for programs."
        )(click.pass_obj(function))
        return group.command(name)(with_json)

    return made


# --- completion ------------------------------------------------------------------------------------------------------


def _hostids(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    async def found(client: ControlClient) -> list[str]:
        fitting: list[str] = []
        async for device in client.devices():
            if device.hostid.startswith(incomplete):
                fitting.append(device.hostid)
            if len(fitting) == MOST_COMPLETIONS:
                break
        return fitting

    return _asked(context, found)


def _names(context: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    async def found(client: ControlClient) -> list[str]:
        device = await client.device(context.params.get("hostid", ""))
        return [one.name for one in device.commands if one.name.startswith(incomplete)]

    return _asked(context, found)


def _asked(context: click.Context, find: Callable[[ControlClient], Any]) -> list[str]:
    """Ask the daemon during completion, with a short limit: no answer is better than a late one."""
    found: list[str] = []

    async def work(reactor: Any) -> int:
        async def asked() -> None:
            async with where_of(context.find_root().params).client(reactor) as client:
                found.extend(await find(client))

        from twisted.internet.defer import Deferred

        await Deferred.fromCoroutine(asked()).addTimeout(COMPLETION_S, reactor)
        return 0

    try:
        run_reactor(work)
    except Exception:
        return []
    return found


hostid_argument = click.argument("hostid", shell_complete=_hostids)
maybe_hostid = click.argument("hostid", required=False, shell_complete=_hostids)
name_argument = click.argument("name", shell_complete=_names)


# --- lists -----------------------------------------------------------------------------------------------------------


class Span(Struct, frozen=True):
    """A range of a list's records: ``since <= at < until``, milliseconds UTC; ``limit`` None: all of them."""

    since: int | None
    until: int | None
    newest_first: bool
    limit: int | None


def _moment(_: click.Context, __: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return moment(text, time.time())
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def span_options(function: Callable[..., int]) -> Callable[..., int]:
    """``--since``, ``--until``, ``--limit``, ``--newest`` and ``--oldest``; the function gets a ``span``."""

    @wraps(function)
    def spanned(
        *given: Any, since: int | None, until: int | None, limit: int | None, newest: bool | None, **more: Any
    ) -> int:
        if limit is None and since is None and until is None:
            limit = NEWEST
        span = Span(since, until, since is None if newest is None else newest, limit or None)
        return function(*given, span=span, **more)

    options = (
        click.option("--since", callback=_moment, metavar="WHEN", help="From then on: 2026-11-22T18:00, or 2h (ago)."),
        click.option("--until", callback=_moment, metavar="WHEN", help="Up to then."),
        click.option("--limit", type=click.IntRange(min=0), metavar="N", help=f"At most N ({NEWEST}); 0: all."),
        click.option("--newest/--oldest", default=None, help="Which come first (newest; with --since, oldest)."),
    )
    for option in reversed(options):
        spanned = option(spanned)
    return spanned


class Result(Struct, frozen=True, kw_only=True):
    """``cmmctl --json send``, ``write``, ``port`` and ``reset``; docs/control.md says what the outcomes mean.

    :ivar commandId: its number in the audit.
    :ivar name: of a command of the profile; None: it is another kind.
    :ivar confirmed: whether later uploads, or a login, have shown it; None: not yet, or that cannot be seen.
    :ivar recorded: whether the outcome is durable; False: the store did not answer in time.
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
    recorded: bool


class Order(Struct, frozen=True, kw_only=True):
    """One command for a device, as the operator gave it.

    :ivar kind: as in the audit; :ivar name: the same.
    :ivar title: what people call it.
    :ivar send: sends it, once.
    :ivar confirm_s: seconds to wait for it to show itself after it was done; 0: no wait.
    """

    hostid: str
    kind: str
    name: str | None = None
    title: str
    send: Callable[[], Coroutine[Deferred[Any], Any, Ended]]
    confirm_s: float


class _Confirmations:
    """Hears which commands have shown themselves."""

    def __init__(self) -> None:
        self._settled: dict[int, bool] = {}
        self._waiting: dict[int, Deferred[bool]] = {}

    def hear(self, news: Notification) -> None:
        for one in news.commands:
            if one.confirmed is not None:
                self._settled[one.number] = one.confirmed
                waiting = self._waiting.pop(one.number, None)
                if waiting is not None:
                    waiting.callback(one.confirmed)

    async def of(self, number: int, within_s: float, reactor: Any) -> bool | None:
        """Wait until a command shows itself; None: it has not in time, or the wait was ended."""
        if number in self._settled:
            return self._settled[number]
        waiting = self._waiting[number] = Deferred()
        try:
            return await waiting.addTimeout(within_s, reactor)
        except (defer.TimeoutError, CancelledError):
            return None


async def carry_out(session: CliSession, client: ControlClient, order: Order) -> int:
    """Send it, wait for its outcome, and for it to show itself, and say all that.

    :return: the exit status.
    :raises Ends: the outcome is unknown. :raises ControlError: it was not sent.
    """
    confirmations = _Confirmations()
    if order.confirm_s:
        await client.watch(confirmations.hear, hostid=order.hostid, commands=True)
    with session.output.waiting(f"{order.title}: waiting for {order.hostid}"):
        ended = await once(order.send(), ADVICE.format(hostid=order.hostid))
        confirmed = await _confirmed(session, order, ended, confirmations)
    return _tell(session, order, ended, confirmed)


async def carry_out_at_once(session: CliSession, client: ControlClient, order: Order) -> int:
    """Do the same with a stop: it is the first thing that the daemon is asked, and waits for nothing else."""
    confirmations = _Confirmations()
    with session.output.waiting(f"{order.title}: waiting for {order.hostid}"):
        sending = Deferred.fromCoroutine(order.send())
        if order.confirm_s:  # what this call cannot learn later costs it the confirmation, never the stop
            watching = client.watch(confirmations.hear, hostid=order.hostid, commands=True)
            Deferred.fromCoroutine(watching).addErrback(lambda _: None)
        ended = await once(sending, ADVICE.format(hostid=order.hostid))
        if not await _shows_itself(client, order):
            order = replace(order, confirm_s=0.0)
        confirmed = await _confirmed(session, order, ended, confirmations)
    return _tell(session, order, ended, confirmed)


async def _shows_itself(client: ControlClient, order: Order) -> bool:
    """Tell whether later uploads can show a command of the profile."""
    try:
        commands = (await client.device(order.hostid)).commands
    except (ControlError, CancelledError):
        return False
    return any(one.name == order.name and one.confirmable for one in commands)


async def _confirmed(session: CliSession, order: Order, ended: Ended, confirmations: _Confirmations) -> bool | None:
    if ended.outcome != "done" or not order.confirm_s:
        return None
    return await confirmations.of(ended.number, order.confirm_s, session.reactor)


def _tell(session: CliSession, order: Order, ended: Ended, confirmed: bool | None) -> int:
    """Say how it has ended; the exit status."""
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
        recorded=ended.recorded,
    )
    status = BY_OUTCOME.get(ended.outcome, ExitStatus.UNKNOWN)
    with suppress(OSError):  # a caller that does not read the outcome still gets it by the status
        session.output.show(result, lambda: Text(plain(_sentence(order, result))))
    if status is ExitStatus.UNKNOWN:
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
        f" (command {result.commandId}, {result.seconds:.1f} s{'' if result.recorded else ', not recorded yet'})"
    )
