"""Operations on what has happened, and how the daemon does: alarms, events, status."""

import re
import sys
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice
from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from cmmd.fleet.alarms.alarms import AlarmSeverity
from cmmd.fleet.fleet import Fleet
from cmmd.fleet.service.records import cursor_from, cursor_text
from cmmd.fleet.service.security import is_private
from cmmd.store.records import Alarm, Cursor, Event
from cmmd.store.records import Query as Wanted
from cmmd.web.api.context import After, ApiContext, Limit, Moment, Order
from cmmd.web.api.operation import Answer, Call, NoQuery, Query, Streamed
from cmmd.web.api.reading import HostId
from cmmd.web.api.streams import EVENT_STREAM, stream_events
from cmmd.web.http.problems import WrongField

__all__ = ["AlarmList", "AlarmPage", "EventList", "EventPage", "RecordList", "wanted_of"]
__all__ += ["acknowledge_alarm", "get_openapi", "get_status", "list_alarms", "list_events"]

A_PIECE = 500
"""Alarms that are looked at at once: a millisecond or two."""

URGENCY: dict[AlarmSeverity, int] = {"warning": 0, "alarm": 1, "shutdown": 2}

AlarmSearch = Annotated[
    str,
    Meta(max_length=100, description="Words; each a part of the hostid, the device's name, the title or the signal."),
]

OF_A_LIST, OF_A_STREAM = ("since", "until", "order", "limit"), ("live", "commands")
"""Parameters of events that stand for nothing in the other form."""

_URGENT = re.compile(r"([01])-([0-2])-([0-9]{1,19}\.[0-9]{1,19})", re.ASCII)

_Place = tuple[bool, int, Cursor]
"""Greater: earlier in the list, where the first ones come first."""


class RecordList(Query, frozen=True, kw_only=True):
    """A selection of records: ``since <= at < until``; by default the newest come first."""

    hostid: HostId | None = None
    since: Moment | None = None
    until: Moment | None = None
    order: Order = "desc"
    after: After | None = None
    limit: Limit = 100


class AlarmList(RecordList, frozen=True, kw_only=True):
    """``open``: only those that are; false: all there ever were. Times are those of raising.

    ``sort``: by that time; or, of open ones, by urgency: first what is not acknowledged, then what is worse, then
    what is newer.
    """

    open: bool = True
    severity: AlarmSeverity | None = None
    acknowledged: bool | None = None
    q: AlarmSearch | None = None
    sort: Literal["at", "urgency"] = "at"


class EventList(RecordList, frozen=True, kw_only=True):
    """As a list: all but the last two. As a stream (``Accept: text/event-stream``): ``hostid``, ``after``, and those.

    ``live``: with rows of devices that have changed; ``commands``: with commands that have changed.
    """

    live: bool = False
    commands: bool = False


class SecurityList(RecordList, frozen=True, kw_only=True):
    """Security events in the order of time; ``hostid`` is no filter of these."""


class AlarmPage(Struct, frozen=True):
    """Alarms; ``next``: hand it back as ``after`` for the next ones; null: there are no more now.

    There may be a ``next`` though there are fewer than ``limit``, or none. ``total``: how many there are on all pages
    together; null: not counted, as among those that have ended.
    """

    alarms: list[Alarm]
    next: str | None
    total: int | None


class EventPage(Struct, frozen=True):
    """Events; ``next``: hand it back as ``after`` for the next ones; null: there are no more now."""

    events: list[Event]
    next: str | None


def wanted_of(asked: RecordList) -> Wanted:
    """Build the query for the store."""
    return Wanted(
        hostid=asked.hostid,
        since=asked.since,
        until=asked.until,
        after=cursor_from(asked.after),
        limit=asked.limit,
        newest_first=asked.order == "desc",
    )


# --- alarms and events -----------------------------------------------------------------------------------------------


async def list_alarms(around: ApiContext, call: Call[AlarmList, None]) -> Answer:
    """A page of alarms."""
    asked = call.query
    if asked.open:
        return Answer(body=await _open_ones(around, asked))
    if asked.sort == "urgency":
        raise WrongField("query.sort", "only open ones are sorted by urgency")
    fits = _Fits(around.desk.fleet, asked)
    if fits.all:
        page = await around.desk.alarms(wanted_of(asked), ended=True)
        alarms = list(page.records)
        following = page.place(alarms[-1]) if len(alarms) == page.limit else None
    else:
        sought = await around.desk.seek_alarms(wanted_of(asked), fits)
        alarms, following = sought.records, sought.following
    return Answer(body=AlarmPage(alarms, None if following is None else cursor_text(following), None))


class _Fits:
    """The conditions on alarms, except their time.

    :ivar all: every one.
    """

    def __init__(self, fleet: Fleet, asked: AlarmList) -> None:
        self._registry = fleet.registry
        self._severity, self._acknowledged = asked.severity, asked.acknowledged
        self._words = (asked.q or "").casefold().split()
        self.all = asked.severity is None and asked.acknowledged is None and not self._words

    def __call__(self, alarm: Alarm) -> bool:
        if self._severity not in (None, alarm.severity):
            return False
        if self._acknowledged not in (None, alarm.acknowledged_at is not None):
            return False
        if not self._words:
            return True
        device = self._registry.device(alarm.hostid)
        name = "" if device is None else device.hostname
        text = f"{name}\n{alarm.hostid}\n{alarm.title}\n{alarm.signal}".casefold()
        return all(word in text for word in self._words)


async def _open_ones(around: ApiContext, asked: AlarmList) -> AlarmPage:
    """A page of open alarms. There may be thousands: others get their turn in between."""
    everything = await around.desk.alarms(Wanted(hostid=asked.hostid, limit=sys.maxsize), ended=False)
    urgent, back = asked.sort == "urgency", asked.order == "desc"
    after = _place_from(asked.after, urgent)
    fits = _Fits(around.desk.fleet, asked)
    total, kept = 0, list[tuple[_Place, Alarm]]()
    for alarms in _pieces(everything.records):
        await around.pieces.turn()
        for alarm in alarms:
            if not _within(alarm, asked) or not fits(alarm):
                continue
            total += 1
            place = _place(alarm, urgent)
            if after is None or (place < after if back else place > after):
                kept.append((place, alarm))
        if len(kept) > 4 * asked.limit + A_PIECE:
            kept = _first(kept, asked)
    kept = _first(kept, asked)
    page = kept[: asked.limit]
    following = _place_text(page[-1][0], urgent) if len(kept) > asked.limit else None
    return AlarmPage([alarm for _, alarm in page], following, total)


def _pieces(alarms: Iterable[Alarm]) -> Iterator[list[Alarm]]:
    them = iter(alarms)
    while piece := list(islice(them, A_PIECE)):
        yield piece


def _within(alarm: Alarm, asked: AlarmList) -> bool:
    return (asked.since is None or alarm.raised_at >= asked.since) and (
        asked.until is None or alarm.raised_at < asked.until
    )


def _first(kept: list[tuple[_Place, Alarm]], asked: AlarmList) -> list[tuple[_Place, Alarm]]:
    """The first ones of the page, and one more."""
    return sorted(kept, key=lambda one: one[0], reverse=asked.order == "desc")[: asked.limit + 1]


def _place(alarm: Alarm, urgent: bool) -> _Place:
    at = Cursor(alarm.raised_at, alarm.number)
    return (alarm.acknowledged_at is None, URGENCY[alarm.severity], at) if urgent else (False, 0, at)


def _place_text(place: _Place, urgent: bool) -> str:
    unseen, severity, at = place
    return f"{unseen:d}-{severity}-{cursor_text(at)}" if urgent else cursor_text(at)


def _place_from(text: str | None, urgent: bool) -> _Place | None:
    """Find the beginning of a page.

    :raises BadArgument: the daemon has issued no such cursor, or it is of another order.
    """
    if text is None:
        return None
    found = _URGENT.fullmatch(text) if urgent else None
    at = cursor_from(found[3] if found else "" if urgent else text)
    assert at is not None, "there is a text"
    return (found[1] == "1", int(found[2]), at) if found else (False, 0, at)


def acknowledge_alarm(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Acknowledge an alarm of a device."""
    return Answer(body=around.desk.acknowledge(call.number, call.caller.by))


async def list_events(around: ApiContext, call: Call[EventList, None]) -> Answer | Streamed:
    """A page of events, or all that happens from now on."""
    asked = call.query
    if call.accept == EVENT_STREAM:
        _check_given(call, OF_A_LIST, "not of a stream: see after")
        return stream_events(around, call, asked.hostid, asked.after, live=asked.live, commands=asked.commands)
    _check_given(call, OF_A_STREAM, f"of a stream only: Accept: {EVENT_STREAM}")
    page = await around.desk.events(wanted_of(asked))
    events = list(page.records)
    following = cursor_text(page.place(events[-1])) if len(events) == page.limit else None
    return Answer(body=EventPage([one for one in events if not is_private(one)], following))


async def list_security_events(around: ApiContext, call: Call[SecurityList, None]) -> Answer:
    """Get a page of security events."""
    _check_given(call, ("hostid",), "not of security events: their device is in details.device")
    page = await around.desk.security_events(wanted_of(call.query))
    events = list(page.records)
    following = cursor_text(page.place(events[-1])) if len(events) == page.limit else None
    return Answer(body=EventPage(events, following))


def _check_given(call: Call[Any, None], without: Sequence[str], why: str) -> None:
    """Refuse parameters that would be ignored, also where they say what would be so anyway."""
    for name in without:
        if name.encode() in call.request.args:
            raise WrongField(f"query.{name}", why)


# --- the daemon ------------------------------------------------------------------------------------------------------


def get_status(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Get the state of the daemon."""
    del call
    return Answer(body=around.desk.status())


def get_openapi(around: ApiContext, call: Call[NoQuery, None]) -> Answer:
    """Get the description of the API, in OpenAPI 3.1."""
    del call
    return Answer(body=around.document)
