"""Operations on what has happened, and how the daemon does: alarms, events, status."""

from msgspec import Struct

from cmmd.fleet.desk.cursors import cursor_from, cursor_text
from cmmd.fleet.desk.operations import Found
from cmmd.store.records import Alarm, Cursor, Event
from cmmd.store.records import Query as Wanted
from cmmd.web.api.around import Around
from cmmd.web.api.operation import Answer, Call, NoQuery, Query, Streamed
from cmmd.web.api.parameters import After, Limit, Moment, Order
from cmmd.web.api.reading import HostId
from cmmd.web.api.streams import EVENT_STREAM, stream_events
from cmmd.web.problems import WrongField

__all__ = ["AlarmList", "AlarmPage", "EventList", "EventPage", "RecordList", "wanted_of"]
__all__ += ["acknowledge_alarm", "get_openapi", "get_status", "list_alarms", "list_events"]

ALL = 1_000_000_000


class RecordList(Query, frozen=True, kw_only=True):
    """Which records: ``since <= at < until``; by default the newest come first."""

    hostid: HostId | None = None
    since: Moment | None = None
    until: Moment | None = None
    order: Order = "desc"
    after: After | None = None
    limit: Limit = 100


class AlarmList(RecordList, frozen=True, kw_only=True):
    """``open``: only those that are; false: all there ever were. Times are those of raising."""

    open: bool = True


class EventList(RecordList, frozen=True, kw_only=True):
    """As a list: all but the last two. As a stream (``Accept: text/event-stream``): ``hostid``, ``after``, and those.

    ``live``: with rows of devices that have changed; ``commands``: with commands that have changed.
    """

    live: bool = False
    commands: bool = False


class AlarmPage(Struct, frozen=True):
    """Alarms; ``next``: hand it back as ``after`` for the next ones; null: there are no more now."""

    alarms: list[Alarm]
    next: str | None


class EventPage(Struct, frozen=True):
    """Events; ``next``: hand it back as ``after`` for the next ones; null: there are no more now."""

    events: list[Event]
    next: str | None


def wanted_of(asked: RecordList) -> Wanted:
    """What the store is asked."""
    return Wanted(
        hostid=asked.hostid,
        since=asked.since,
        until=asked.until,
        after=cursor_from(asked.after),
        limit=asked.limit,
        newest_first=asked.order == "desc",
    )


# --- alarms and events -----------------------------------------------------------------------------------------------


async def list_alarms(around: Around, call: Call[AlarmList, None]) -> Answer:
    """A page of alarms."""
    asked = call.query
    wanted = wanted_of(asked)
    if asked.open:
        found = _open(await around.desk.alarms(Wanted(hostid=asked.hostid, limit=ALL), ended=False), wanted)
        following = cursor_text(_place(found[wanted.limit - 1])) if len(found) > wanted.limit else None
        return Answer(body=AlarmPage(found[: wanted.limit], following))
    page = await around.desk.alarms(wanted, ended=True)
    alarms = list(page.records)
    return Answer(body=AlarmPage(alarms, cursor_text(_place(alarms[-1])) if len(alarms) == page.limit else None))


def _place(alarm: Alarm) -> Cursor:
    return Cursor(alarm.raised_at, alarm.number)


def _open(found: Found[Alarm], wanted: Wanted) -> list[Alarm]:
    """The open ones in the order, and from the place, that is asked for."""
    since, until, after, back = wanted.since, wanted.until, wanted.after, wanted.newest_first
    fitting = [
        one
        for one in found.records
        if (since is None or one.raised_at >= since)
        and (until is None or one.raised_at < until)
        and (after is None or (_place(one) < after if back else _place(one) > after))
    ]
    return sorted(fitting, key=_place, reverse=back)


def acknowledge_alarm(around: Around, call: Call[NoQuery, None]) -> Answer:
    """Somebody has seen one."""
    return Answer(body=around.desk.acknowledge(call.number, call.caller.by))


async def list_events(around: Around, call: Call[EventList, None]) -> Answer | Streamed:
    """A page of events, or all that happens from now on."""
    asked = call.query
    if call.accept == EVENT_STREAM:
        if asked.since is not None or asked.until is not None:
            raise WrongField("query.since" if asked.since is not None else "query.until", "not of a stream: see after")
        return stream_events(around, call, asked.hostid, asked.after, live=asked.live, commands=asked.commands)
    page = await around.desk.events(wanted_of(asked))
    events = list(page.records)
    following = cursor_text(page.place(events[-1])) if len(events) == page.limit else None
    return Answer(body=EventPage(events, following))


# --- the daemon ------------------------------------------------------------------------------------------------------


def get_status(around: Around, call: Call[NoQuery, None]) -> Answer:
    """How the daemon does."""
    del call
    return Answer(body=around.desk.status())


def get_openapi(around: Around, call: Call[NoQuery, None]) -> Answer:
    """What the API is, in OpenAPI 3.1."""
    del call
    return Answer(body=around.document)
