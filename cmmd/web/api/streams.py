"""Events as they happen (server-sent events): none is missed or sent twice; a slow reader is notified and cut off.

Messages have a name and JSON: ``ready`` first, ``event``, and where they are requested ``live`` (rows of devices that
have changed) and ``command``; then there are ``missed`` and ``slow``. What has a place in the order of events has it as
its id.
"""

from typing import Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall

from cmmd.fleet.errors import BadArgument
from cmmd.fleet.service.device_rows import COLUMNS
from cmmd.fleet.service.records import cursor_from, cursor_text
from cmmd.fleet.service.security import is_private
from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import Command, Cursor, Event
from cmmd.store.records import Query as Wanted
from cmmd.web.api.context import ApiContext
from cmmd.web.api.operation import Call, Streamed
from cmmd.web.http.access import Caller
from cmmd.web.http.problems import Refused, WrongField
from cmmd.web.http.streaming_body import StreamingBody

__all__ = ["EVENT_STREAM", "HEARTBEAT_S", "MOST_STREAMS", "MOST_STREAMS_EACH", "stream_events"]

EVENT_STREAM = "text/event-stream"

HEARTBEAT_S = 15.0
"""Seconds without anything after which a comment is sent."""

GATHER_S = 0.1
"""Seconds that something may wait for more to come along."""

RETRY_MS = 2000
"""After which a browser connects again."""

MOST_STREAMS, MOST_STREAMS_EACH = 200, 50
"""At once, of all, and of one token, from wherever its callers come."""

RESERVED = 20
"""Of all streams, those that only administrators get."""

A_PAGE = 200
"""Events that are sent at once."""

MOST_REPLAYED = 20_000
"""Events from the store that are sent to a returning reader. Further ones are counted as missed."""

MOST_COMMANDS = 1000

_GREATEST = 2**63 - 1
"""Number of an event."""


class Ready(Struct, frozen=True):
    """The first message: our clock, and the names of the values of a row."""

    now: int
    columns: tuple[str, ...]


class Missed(Struct, frozen=True):
    """So many events, at least, are not sent: ``/events`` has them, if they are kept. Or 0: where the reader was is no
    event's place any more.
    """

    count: int


class Slow(Struct, frozen=True):
    """The reader is too slow; this is the last message."""

    detail: str


def stream_events(
    around: ApiContext, call: Call[Any, None], hostid: str | None, after: str | None, *, live: bool, commands: bool
) -> Streamed:
    """Stream events, commands and rows.

    :param hostid: only what is about this device; None: about all.
    :param after: the place to go on behind; a Last-Event-ID in the request counts more.
    :raises Refused: there are too many streams, or there is no such place.
    """
    last = call.request.getHeader("last-event-id")
    try:
        place = cursor_from(last or after)
    except BadArgument as error:
        if not last:
            raise
        raise WrongField("header.Last-Event-ID", str(error).partition(": ")[2]) from None
    if hostid is not None:
        around.desk.device(hostid)
    who = call.caller.name
    streams = [one for one in around.feed.watchers if isinstance(one, Stream)]
    if len(streams) >= MOST_STREAMS - (0 if call.caller.role == "admin" else RESERVED):
        raise Refused("too_many_connections", f"{len(streams)} streams are open", Retry_After="10")
    if sum(one.who == who for one in streams) >= MOST_STREAMS_EACH:
        raise Refused("too_many_requests", f"{MOST_STREAMS_EACH} streams of {who} are open", Retry_After="10")
    stream = Stream(around, call.caller, who, hostid, live=live, commands=commands)
    headers = {"X-Accel-Buffering": "no"}  # nginx would gather
    return Streamed(pour=lambda outlet: stream.pour(outlet, place), media_type=EVENT_STREAM, headers=headers)


class Stream:
    """One reader of the stream. Its queue is bounded: events are held for all, of rows and commands the newest waits.

    :param caller: the reader; the stream ends with the permission. :param who: the name of its token.
    :param hostid: see stream_events.
    :ivar wants_rows: see Watching.
    """

    def __init__(
        self, around: ApiContext, caller: Caller, who: str, hostid: str | None, *, live: bool, commands: bool
    ) -> None:
        self._context = around
        self._clock = around.clock
        self._caller = caller
        self._checked = around.clock.seconds()
        self.who = who
        self._hostid = hostid
        self.wants_rows = live
        self._wants_commands = commands
        self._rows: dict[str, bytes] = {}
        self._commands: dict[int, Command] = {}
        self._number = 0
        self._timer: IDelayedCall | None = None
        self._news: Deferred[None] | None = None
        self._gathering = False
        self._closed = False

    # --- what is sent to it ------------------------------------------------------------------------------------------

    def event(self, _: Event) -> None:
        self._soon()

    def command(self, command: Command) -> None:
        if self._wants_commands and self._hostid in (None, command.hostid):
            self._commands.pop(command.number, None)
            self._commands[command.number] = command
            if len(self._commands) > MOST_COMMANDS:
                del self._commands[next(iter(self._commands))]
            self._soon()

    def row(self, hostid: str, text: bytes, changed: bool) -> None:
        """Note an upload; a watcher of one device is notified of every upload."""
        if hostid == self._hostid or (self._hostid is None and changed):
            self._rows[hostid] = text
            self._soon()

    def close(self) -> None:
        self._closed = True
        self._wake()

    # --- what is written ---------------------------------------------------------------------------------------------

    async def pour(self, outlet: StreamingBody, place: Cursor | None) -> None:
        """Write until the reader disconnects, is too slow, or the daemon stops."""
        feed = self._context.feed
        unwatch = feed.watch(self)
        outlet.when_gone(self._wake)
        try:
            ready = Ready(int(self._context.now() * 1000), COLUMNS)
            head = f"retry: {RETRY_MS}\n".encode() + _message("ready", ready, place or feed.place)
            self._number = (place or feed.place).number
            await outlet.write(head)
            if place is not None:
                await self._replay(outlet, place)
            while not self._closed and self._may():
                text = self._text()
                if text is None:
                    outlet.put(_message("slow", Slow("too slow: connect again with the last id")))
                    return
                if text:
                    await outlet.write(text)
                else:
                    await self._wait(outlet)
        finally:
            unwatch()
            self._stop_timer()

    def _may(self) -> bool:
        """Tell whether the reader still counts; looked at again with each heartbeat, at least."""
        now = self._clock.seconds()
        if now - self._checked >= HEARTBEAT_S:
            self._checked = now
            self._closed = self._closed or not self._context.access.counts(self._caller)
        return not self._closed

    def _shows(self, event: Event) -> bool:
        """Tell whether the reader is shown an event."""
        return self._hostid in (None, event.hostid) and not is_private(event)

    async def _replay(self, outlet: StreamingBody, place: Cursor) -> None:
        """Send the events since a place: from the store where memory does not have them any more."""
        feed = self._context.feed
        if not await self._stands(place):
            place = await self._last_until(place.at)
            self._number = place.number
            await outlet.write(_message("missed", Missed(0), place))
        replayed = 0
        query = Wanted(hostid=self._hostid, after=place, limit=A_PAGE)
        while self._number + 1 < feed.first and replayed < MOST_REPLAYED and self._may():
            found = list((await self._context.desk.events(query)).records)
            fresh = [one for one in found if self._number < one.number]
            if fresh:
                self._number = max(one.number for one in fresh)
                await outlet.write(b"".join(_message("event", one, _place(one)) for one in fresh if self._shows(one)))
            replayed += len(found)
            if len(found) < A_PAGE:
                break
            query = replace(query, after=_place(found[-1]))
        missed = feed.first - 1 - self._number
        if missed > 0:
            self._number = feed.first - 1
            if self._hostid is None or replayed >= MOST_REPLAYED:
                await outlet.write(_message("missed", Missed(missed)))

    async def _stands(self, place: Cursor) -> bool:
        """Tell whether the event at a place still has its number.

        An event that was told as not recorded may be lost, and another one gets its number. So does one of a store that
        was put back, or is another daemon's.
        """
        feed = self._context.feed
        if place.number > feed.place.number:
            return False
        if place.number >= feed.first:
            (held,) = feed.events_after(place.number - 1, 1)
            return held.at == place.at
        found = await self._stored(Wanted(after=replace(place, number=place.number - 1), limit=1))
        return found is None or found == place or found.number > place.number  # it may be too old to be kept

    async def _last_until(self, at: int) -> Cursor:
        """The place of the last event that there is up to a time; before all events, where there is none."""
        held = self._context.feed.last_until(at)
        if held is not None:
            return _place(held)
        found = await self._stored(Wanted(after=Cursor(at, _GREATEST), limit=1, newest_first=True))
        return found or Cursor(at, 0)

    async def _stored(self, query: Wanted) -> Cursor | None:
        """The place of the first event that the store finds; None: there is none, or the store is unavailable."""
        try:
            found = list((await self._context.desk.events(query)).records)
        except StoreUnavailable:
            return None
        return _place(found[0]) if found else None

    def _text(self) -> bytes | None:
        """Build the text to send now; None: more has happened than is held."""
        feed = self._context.feed
        if self._number + 1 < feed.first:
            return None
        parts: list[bytes] = []
        events = feed.events_after(self._number, A_PAGE)
        if events:
            self._number = events[-1].number
            parts += [_message("event", one, _place(one)) for one in events if self._shows(one)]
            if self._hostid is not None and not parts:
                return self._text()
        commands, self._commands = self._commands, {}
        parts += [_message("command", one) for one in commands.values()]
        if self._rows:
            rows = [self._rows.pop(hostid) for hostid in list(self._rows)[:A_PAGE]]
            parts.append(b'event: live\ndata: {"rows":[' + b",".join(rows) + b"]}\n\n")
        return b"".join(parts)

    # --- waiting -----------------------------------------------------------------------------------------------------

    async def _wait(self, outlet: StreamingBody) -> None:
        """Until there is news; a comment, where there is none for long."""
        self._stop_timer()
        self._timer = self._clock.callLater(HEARTBEAT_S, self._wake)
        news: Deferred[None] = Deferred()
        self._news = news
        began = self._clock.seconds()
        await news
        if self._clock.seconds() - began >= HEARTBEAT_S:
            await outlet.write(b": still here\n\n")
        await outlet.ready()

    def _soon(self) -> None:
        """Wake up a little later, with what has come along."""
        if self._news is not None and not self._gathering:
            self._stop_timer()
            self._timer = self._clock.callLater(GATHER_S, self._wake)
            self._gathering = True

    def _wake(self) -> None:
        self._stop_timer()
        news, self._news = self._news, None
        if news is not None:
            news.callback(None)

    def _stop_timer(self) -> None:
        self._gathering = False
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None


def _place(event: Event) -> Cursor:
    return Cursor(event.at, event.number)


def _message(name: str, record: Struct, place: Cursor | None = None) -> bytes:
    head = f"event: {name}\n" if place is None else f"id: {cursor_text(place)}\nevent: {name}\n"
    return head.encode() + b"data: " + msgspec.json.encode(record) + b"\n\n"
