"""``cmmctl watch``: what happens, as it happens: lines, JSON lines, or a view that is drawn anew."""

import click
from msgspec import Struct
from twisted.internet.defer import CancelledError, Deferred

from cmmd.cli.exit_status import ExitStatus
from cmmd.cli.options import command, maybe_hostid
from cmmd.cli.output import Output
from cmmd.cli.session import CliSession
from cmmd.cli.tables import command_line, event_line
from cmmd.cli.view import DeviceView, FleetView, show_view
from cmmd.control.client import ControlClient
from cmmd.control.notifications import Notification

__all__ = ["Upload", "add_to", "tell_json", "tell_lines"]


def add_to(group: click.Group) -> None:
    """Give it to the command line."""

    @command("watch", group=group)
    @maybe_hostid
    @click.option("--lines", is_flag=True, help="A line for each thing that happens, also at a terminal.")
    def watch(session: CliSession, hostid: str | None, lines: bool) -> int:
        """Show what happens, until Ctrl-C.

        At a terminal a view of the device, or of all; elsewhere a line for each thing.
        """

        async def work(client: ControlClient) -> int:
            if hostid is not None:
                await client.device(hostid)  # is there one?
            try:
                if session.output.is_screen and not session.output.json and not lines:
                    view = FleetView(client) if hostid is None else DeviceView(client, hostid)
                    await show_view(view, client, session, hostid)
                else:
                    await _tell(session.output, client, hostid)
            except CancelledError:
                pass  # this is how one ends it
            return ExitStatus.DONE

        return session.carry_out(work)


async def _tell(output: Output, client: ControlClient, hostid: str | None) -> None:
    """Tell what happens until nobody reads it any more."""
    ended: Deferred[None] = Deferred()
    tell = tell_json if output.json else tell_lines

    def hear(news: Notification) -> None:
        try:
            tell(output, news)
        except OSError as error:
            if not ended.called:
                ended.errback(error)

    await client.watch(hear, hostid=hostid, live=output.json, commands=True)
    await ended


class Upload(Struct, frozen=True):
    """A device has a new upload, and this is its running number."""

    hostid: str
    upload: int


def tell_json(output: Output, news: Notification) -> None:
    """Each thing on a line, under the name of what it is, in the order of docs/cmmctl.md."""
    if news.interrupted:
        output.line({"interrupted": True})
    if news.missed:
        output.line({"missed": news.missed})
    for event in news.events:
        output.line({"event": event})
    for one in news.commands:
        output.line({"command": one})
    for hostid, upload in news.live.items():
        output.line({"upload": Upload(hostid, upload)})


def tell_lines(output: Output, news: Notification) -> None:
    """Each thing on a line, for people."""
    if news.interrupted:
        output.text("-- the connection was lost for a while: what happened meanwhile is in `cmmctl events`")
    if news.missed:
        output.text(f"-- {news.missed} left out: see `cmmctl events`")
    for event in news.events:
        output.text(event_line(event))
    for one in news.commands:
        output.text(command_line(one))
