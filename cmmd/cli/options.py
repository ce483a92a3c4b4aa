"""What the commands of cmmctl share: the options that several have, and completion that asks the daemon."""

import time
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click
from msgspec import Struct

from cmmd.cli.formatting import moment
from cmmd.cli.session import CliSession, Where, run_reactor
from cmmd.control.client import ControlClient

__all__ = ["Span", "command", "hostid_argument", "maybe_hostid", "name_argument", "span_options", "where_of"]

_Function = TypeVar("_Function", bound=Callable[..., Any])

NEWEST = 100
"""Records that are shown where nobody says which, or how many."""

COMPLETION_S = 2.0
"""Seconds that a completion may take."""

MOST_COMPLETIONS = 200


def where_of(parameters: dict[str, Any]) -> Where:
    """Which daemon the options before the command name."""
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
    """What the daemon says while somebody presses a key: nothing is better than anything late."""
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
    """Which records of a list: ``since <= at < until``, in milliseconds UTC; ``limit`` None: all of them."""

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
