"""Follow what happens: cmmctl watch, as lines or as a live view."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

import click
from msgspec import Struct
from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from twisted.internet.defer import CancelledError, Deferred

from cmmd.cli.exit_status import ExitStatus
from cmmd.cli.formatting import DEVICES, command_line, duration, event_line, moment_text, plain, table
from cmmd.cli.options import command, maybe_hostid
from cmmd.cli.output import Output
from cmmd.cli.read import doubt_text, live_parts
from cmmd.cli.session import CliSession
from cmmd.control.client import ControlClient
from cmmd.control.errors import ControlError
from cmmd.control.link import Notification
from cmmd.fleet.service.records import DeviceRow

__all__ = ["DeviceView", "FleetView", "Upload", "View", "add_to", "show_view", "tell_json", "tell_lines"]


LEAST_S = 0.1
"""Seconds between two drawings, at least."""

MOST_LINES = 200
"""Of what has happened, that are remembered."""

FEWEST_LINES = 5
"""Of what has happened, that are shown whatever else there is."""


class View(Protocol):
    """A live view at the terminal."""

    live: bool
    """Whether new uploads are of interest, too."""

    every_s: float
    """Seconds between two questions to the daemon, at least."""

    async def fetch(self, height: int) -> Sequence[RenderableType]:
        """Ask the daemon how it looks now.

        :param height: lines that there is room for.
        :raises ControlError: the daemon refused the request, or could not be reached.
        """


class FleetView:
    """All devices, as many as there is room for."""

    live = False
    every_s = 2.0

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    async def fetch(self, height: int) -> Sequence[RenderableType]:
        status = await self._client.status()
        rows: list[DeviceRow] = []
        async for row in self._client.devices():
            if len(rows) == max(height - 3, 1):
                break
            rows.append(row)
        alarms = ", ".join(f"{count} {severity}" for severity, count in status.alarms.items() if count) or "none"
        store = "" if status.store_up else " · the store is DOWN"
        head = f"{status.online} of {status.devices} devices online · active alarms: {alarms}{store}"
        more = status.devices - len(rows)
        return [
            Text(head, style="bold"),
            table(DEVICES, rows),
            *([Text(f"and {more} more", style="dim")] if more > 0 else []),
        ]


class DeviceView:
    """One device: state, points, active signals."""

    live = True
    every_s = 0.5

    def __init__(self, client: ControlClient, hostid: str) -> None:
        self._client = client
        self._hostid = hostid

    async def fetch(self, height: int) -> Sequence[RenderableType]:  # noqa: ARG002 - what does not fit is cut
        row = (await self._client.device(self._hostid)).row
        now = await self._client.live(self._hostid)
        is_ = "online" if row.online else "offline"
        head = Text(plain(f"{row.hostid}  {row.hostname}  {row.moduletype}  "), style="bold")
        head.append(is_, style="green" if row.online else "red")
        doubt = doubt_text(row)
        beware = [] if doubt is None else [Text(plain(doubt), style="bold red")]
        return [head, *beware, *live_parts(now)]


async def show_view(view: View, client: ControlClient, session: CliSession, hostid: str | None) -> None:
    """Show it until this is cancelled."""
    console, reactor = session.output.console, session.reactor
    happened: deque[str] = deque(maxlen=MOST_LINES)
    changed = _Changed(reactor)

    def hear(news: Notification) -> None:
        if news.interrupted:
            happened.append("-- the connection was lost for a while")
        if news.missed:
            happened.append(f"-- {news.missed} left out")
        happened.extend(event_line(one) for one in news.events)
        happened.extend(command_line(one) for one in news.commands)
        changed.now()

    await client.watch(hear, hostid=hostid, live=view.live, commands=True)
    parts: Sequence[RenderableType] = []
    asked_at, next_at, wrong = time.time(), 0.0, ""
    with Live(console=console, screen=True, auto_refresh=False, redirect_stdout=False, redirect_stderr=False) as live:
        while True:
            if reactor.seconds() >= next_at:
                try:
                    parts = await view.fetch(console.size.height - FEWEST_LINES - 2)
                    asked_at, wrong = time.time(), ""
                except ControlError as error:
                    age = duration(time.time() - asked_at)
                    wrong = f"as of {moment_text(int(asked_at * 1000))}, {age} ago: {error}"
                next_at = reactor.seconds() + view.every_s
            live.update(_drawn(console, parts, happened, wrong), refresh=True)
            await changed.within(max(next_at - reactor.seconds(), LEAST_S))


class _Changed:
    """Waits for news, but not for ever."""

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._waiting: Deferred[None] | None = None
        self._already = False

    def now(self) -> None:
        self._already = True
        waiting, self._waiting = self._waiting, None
        if waiting is not None:
            waiting.callback(None)

    async def within(self, seconds: float) -> None:
        """Wait for something to change, so many seconds at most."""
        if not self._already:
            self._waiting = Deferred()
            timer = self._reactor.callLater(seconds, self.now)
            try:
                await self._waiting
            finally:
                if timer.active():
                    timer.cancel()
        self._already = False


def _drawn(console: Console, parts: Sequence[RenderableType], happened: Sequence[str], wrong: str) -> RenderableType:
    """A screenful: how things stand above, what has happened below."""
    width, height = console.size
    above: list[Text] = []
    for part in parts:
        lines = console.render_lines(part, console.options.update(width=width, height=None), pad=False)
        above += [Text.assemble(*((segment.text, segment.style or "") for segment in line)) for line in lines]
    below = [Text(plain(line)[:width]) for line in happened]
    foot = Text(plain(wrong)[:width], style="red") if wrong else Text("Ctrl-C ends this", style="dim")
    room = max(height - FEWEST_LINES - 2, 1)
    above = above[:room]
    newest = below[-(height - len(above) - 2) :] if height - len(above) > 2 else []
    return Group(
        *above, Text("─" * width, style="dim"), *newest, *[Text()] * (height - len(above) - len(newest) - 2), foot
    )


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
    """Write what happens until the reader has gone."""
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
