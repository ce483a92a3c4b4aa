"""Operations on commands: ask for one, at most once for each key; wait for it; take it back; the audit."""

from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct
from twisted.internet.defer import Deferred

from cmmd.fleet.commands import requests
from cmmd.fleet.commands.queue import Submitted
from cmmd.fleet.errors import NoSuchCommand, TooLate
from cmmd.fleet.history.journal import RECORD_S
from cmmd.fleet.service.records import cursor_text
from cmmd.store.records import Command
from cmmd.web.api.context import ApiContext, Unkeyed
from cmmd.web.api.operation import Answer, Call, NoQuery, Query
from cmmd.web.api.records import RecordList, wanted_of
from cmmd.web.http.problems import Refused, WrongField

__all__ = ["KEY", "REPLAYED", "CommandBody", "CommandList", "CommandPage", "Wait"]
__all__ += ["cancel_command", "get_command", "list_commands", "post_command"]

KEY, REPLAYED = "Idempotency-Key", "Idempotent-Replayed"
LONGEST_KEY = 200

NotAfter = Annotated[
    int,
    Meta(
        ge=0,
        le=2**53,
        description="Milliseconds UTC by cmmd's clock; a command that comes later is not sent. Null: it always is."
        " It does not count for `stop`, which a browser's wrong clock must not refuse.",
    ),
]


class Named(requests.Named, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="named"):
    """A command of the device's profile, such as ``auto``."""

    not_after: NotAfter | None = None


class Modbus(requests.Modbus, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="modbus"):
    """Modbus writes in hex, separated by ``;``, each with its CRC or without."""

    not_after: NotAfter | None = None


class Port(requests.Port, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="port"):
    """The module's wiring: port 0 off, 1 LINK, 2 RS485, 3 RS232, 4 USB; baud rate 0 9600, 1 19200, 2 115200 bit/s."""

    not_after: NotAfter | None = None


class Reset(requests.Reset, frozen=True, kw_only=True, forbid_unknown_fields=True, tag="reset"):
    """Restart the module of a device."""

    not_after: NotAfter | None = None


CommandBody = Named | Modbus | Port | Reset


class Wait(Query, frozen=True, kw_only=True):
    """``wait``: seconds to wait for the outcome; the answer comes then, or before."""

    wait: Annotated[float, Meta(ge=0, le=60)] = 0.0


class CommandList(RecordList, frozen=True, kw_only=True):
    """A selection of commands; times are those of being accepted.

    ``key``: the one that the same token has requested under this Idempotency-Key, if it is one of these.
    """

    key: Annotated[str, Meta(min_length=1, max_length=LONGEST_KEY)] | None = None


class CommandPage(Struct, frozen=True):
    """Commands; ``next``: hand it back as ``after`` for the next ones; null: there are no more now."""

    commands: list[Command]
    next: str | None


async def post_command(around: ApiContext, call: Call[Wait, CommandBody]) -> Answer:
    """Send a command to a device."""
    key = call.request.getHeader(KEY.lower())
    if key is None:
        number, again = (await _submit(around, call)).command.number, False
    else:
        if not (1 <= len(key) <= LONGEST_KEY and key.isascii() and key.isprintable()):
            raise WrongField(f"header.{KEY}", f"1 to {LONGEST_KEY} printable ASCII characters")

        async def submit() -> int:
            return (await _submit(around, call)).command.number

        what = msgspec.json.encode((call.hostid, call.body))
        try:
            number, again = await around.keys.once(call.caller.name, key, what, submit)
        except Unkeyed:
            if not _is_stop(around, call):
                raise
            number, again = await submit(), False  # a stop too many harms no one, one too few can
    command = await _settled(around, number, call.query.wait, call.request)
    headers = {"Location": f"/api/v1/commands/{number}"}
    if again:
        headers[REPLAYED] = "true"
    return Answer(body=command, status=202 if command.outcome is None else 200, headers=headers)


def _is_stop(around: ApiContext, call: Call[Wait, CommandBody]) -> bool:
    return around.desk.is_stop(call.hostid, call.body)


async def _submit(around: ApiContext, call: Call[Wait, CommandBody]) -> Submitted:
    body = call.body
    if body.not_after is not None and around.now() * 1000 > body.not_after and not _is_stop(around, call):
        raise Refused("expired", "this came too late: nothing was sent", field="body.not_after")
    return await around.desk.submit(call.hostid, body, call.caller.by)


async def get_command(around: ApiContext, call: Call[Wait, None]) -> Answer:
    """One, now or when it has ended."""
    return Answer(body=await _settled(around, call.number, call.query.wait, call.request))


async def list_commands(around: ApiContext, call: Call[CommandList, None]) -> Answer:
    """List commands from the audit."""
    if call.query.key is not None:
        return Answer(body=CommandPage(await _under(around, call, call.query.key), None))
    page = await around.desk.commands(wanted_of(call.query))
    commands = list(page.records)
    following = cursor_text(page.place(commands[-1])) if len(commands) == page.limit else None
    newest = [around.feed.latest(one.number) or one for one in commands]
    return Answer(body=CommandPage(newest, following))


async def _under(around: ApiContext, call: Call[CommandList, None], key: str) -> list[Command]:
    """Return the caller's command under a key, where it fits the other filters; at most one."""
    wanted = call.query
    if wanted.after is not None:
        raise WrongField("query.after", "there is one command of a key: no page behind it")
    if wanted.hostid is not None:
        around.desk.device(wanted.hostid)
    number = around.keys.number(call.caller.name, key)
    if number is None:
        return []
    command = await _now(around, number)
    fits = (
        wanted.hostid in (None, command.hostid)
        and (wanted.since is None or command.accepted_at >= wanted.since)
        and (wanted.until is None or command.accepted_at < wanted.until)
    )
    return [command] if fits else []


async def cancel_command(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Cancel a command that was not sent."""
    try:
        return Answer(body=await around.desk.cancel(call.number, call.caller.by))
    except NoSuchCommand:
        command = await _settled(around, call.number, RECORD_S, call.request)  # is there one? Its end may be untold
        if command.outcome != "not sent":
            raise TooLate(f"command {call.number} has been sent") from None
        return Answer(body=command)  # perhaps because the answer to a first DELETE was lost


# --- waiting ---------------------------------------------------------------------------------------------------------


async def _settled(around: ApiContext, number: int, wait_s: float, request: Any) -> Command:
    """A command when its outcome is known, or the time is over."""
    changed: Deferred[None] = Deferred()

    def tell(_: object = None) -> None:
        if not changed.called:
            changed.callback(None)

    def look(command: Command) -> None:
        if command.number == number and command.outcome is not None:
            tell()

    unsubscribe = around.desk.dispatch.audit.subscribe(look)
    timer = around.clock.callLater(wait_s, tell)
    request.notifyFinish().addBoth(tell)
    try:
        command = await _now(around, number)
        if command.outcome is None and wait_s > 0:
            await changed
            command = await _now(around, number)
    finally:
        unsubscribe()
        if timer.active():
            timer.cancel()
    return command


async def _now(around: ApiContext, number: int) -> Command:
    """A command as it is now.

    :raises NoSuchCommand: no command has this number.
    """
    found = around.desk.dispatch.under_way(number) or around.feed.latest(number)
    return found or await around.desk.command(number)
