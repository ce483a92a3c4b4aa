"""The view of ``cmmctl watch`` at a terminal: drawn anew when something happens, and from time to time."""

import time
from collections import deque
from collections.abc import Sequence
from typing import Any, Protocol

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.text import Text
from twisted.internet.defer import Deferred

from cmmd.cli.details import doubt_text, live_parts
from cmmd.cli.formatting import duration, moment_text, plain
from cmmd.cli.session import CliSession
from cmmd.cli.tables import DEVICES, command_line, event_line, table
from cmmd.control.client import ControlClient
from cmmd.control.errors import ControlError
from cmmd.control.notifications import Notification
from cmmd.fleet.service.records import DeviceRow

__all__ = ["DeviceView", "FleetView", "View", "show_view"]

LEAST_S = 0.1
"""Seconds between two drawings, at least."""

MOST_LINES = 200
"""Of what has happened, that are remembered."""

FEWEST_LINES = 5
"""Of what has happened, that are shown whatever else there is."""


class View(Protocol):
    """What is looked at."""

    live: bool
    """Whether new uploads are of interest, too."""

    every_s: float
    """Seconds between two questions to the daemon, at least."""

    async def fetch(self, height: int) -> Sequence[RenderableType]:
        """Ask the daemon how it looks now.

        :param height: lines that there is room for.
        :raises ControlError: see there.
        """


class FleetView:
    """All devices, as many as there is room for."""

    live = False
    every_s = 2.0

    def __init__(self, client: ControlClient) -> None:
        self._client = client

    async def fetch(self, height: int) -> Sequence[RenderableType]:
        """See View."""
        status = await self._client.status()
        rows: list[DeviceRow] = []
        async for row in self._client.devices():
            if len(rows) == max(height - 3, 1):
                break
            rows.append(row)
        alarms = ", ".join(f"{count} {severity}" for severity, count in status.alarms.items() if count) or "none"
        store = "" if status.store_up else " · the store is DOWN"
        head = f"{status.online} of {status.devices} devices online · open alarms: {alarms}{store}"
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
        """See View."""
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
