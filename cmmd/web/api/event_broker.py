"""News for every watcher: the last events, commands that change, and rows of devices, once a second."""

from collections import OrderedDict, deque
from collections.abc import Callable
from itertools import islice
from typing import Protocol

import msgspec
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from cmmd.fleet.commands.dispatcher import Dispatcher
from cmmd.fleet.fleet import Fleet
from cmmd.fleet.service.device_rows import FleetRow, row_of_fleet
from cmmd.fleet.telemetry.live import LiveRecord
from cmmd.store.records import Command, Cursor, Event
from cmmd.web.http.streaming_body import CooperativeScheduler

__all__ = ["MOST_EVENTS", "TICK_S", "EventBroker", "Watching"]

log = Logger()

MOST_EVENTS = 5000
"""Events that are held: a watcher that is further behind reads on from the store."""

MOST_COMMANDS = 1000
"""That are held as they are now; the audit in the store may be a moment behind."""

TICK_S = 1.0
"""Seconds between two rows of one device."""

FRESH_MS = 15_000
"""When nothing but the time of the last upload has changed, a row is sent after so long."""

A_PIECE = 20
"""Rows that are made at once."""

_NOT_COMPARED = tuple(FleetRow.__struct_fields__.index(name) for name in ("at", "upload"))


class Watching(Protocol):
    """A watcher of events, commands and rows."""

    @property
    def wants_rows(self) -> bool:
        """Tell whether the watcher wants rows of devices."""

    def event(self, event: Event) -> None:
        """Note an event; :meth:`EventBroker.events_after` returns it."""

    def command(self, command: Command) -> None:
        """A command has changed."""

    def row(self, hostid: str, text: bytes, changed: bool) -> None:
        """A device has a new row; ``changed``: in more than the time of its last upload."""

    def close(self) -> None:
        """End all streams: the daemon stops."""


class EventBroker:
    """Follows the fleet, and tells everybody who watches.

    :param pieces: for making rows. :param clock: for the pace.
    """

    def __init__(
        self, fleet: Fleet, dispatch: Dispatcher, pieces: CooperativeScheduler, clock: IReactorTime, now_ms: int
    ) -> None:
        self._fleet = fleet
        self._pieces = pieces
        self._clock = clock
        self._events: deque[Event] = deque(maxlen=MOST_EVENTS)
        self._commands: OrderedDict[int, Command] = OrderedDict()
        self._watching: dict[Watching, None] = {}
        self._changed: dict[str, None] = {}
        self._told: dict[str, FleetRow] = {}
        self._timer: IDelayedCall | None = None
        self._making = False
        self._end_uploads: Callable[[], None] | None = None
        self._ends = [
            fleet.told.subscribe(self._event),
            fleet.presence.subscribe(self.touch),
            dispatch.audit.subscribe(self._command),
        ]
        self._begun = Cursor(now_ms, fleet.told.last_number)

    @property
    def watchers(self) -> tuple[Watching, ...]:
        """List the watchers, the first to come first."""
        return tuple(self._watching)

    # --- what there is -----------------------------------------------------------------------------------------------

    @property
    def place(self) -> Cursor:
        """The place of the last event."""
        return Cursor(self._events[-1].at, self._events[-1].number) if self._events else self._begun

    @property
    def first(self) -> int:
        """The number of the oldest event that is held; where there is none, of the next one."""
        return self._events[0].number if self._events else self._begun.number + 1

    def events_after(self, number: int, limit: int) -> list[Event]:
        """The events behind a number; the first one is the next, if ``number + 1 >= first``."""
        start = max(number + 1 - self.first, 0)
        return list(islice(self._events, start, start + limit))

    def last_until(self, at: int) -> Event | None:
        """The last event up to a time, in milliseconds; None: none that is held is so old."""
        return next((one for one in reversed(self._events) if one.at <= at), None)

    def latest(self, number: int) -> Command | None:
        """A command as it is now; None: it has not changed lately."""
        return self._commands.get(number)

    # --- who watches -------------------------------------------------------------------------------------------------

    def watch(self, watching: Watching) -> Callable[[], None]:
        """Notify a watcher from now on.

        :return: call it to end the notifications.
        """
        self._watching[watching] = None
        if watching.wants_rows and self._end_uploads is None:
            self._end_uploads = self._fleet.uploads.subscribe(self._upload)

        def unwatch() -> None:
            self._watching.pop(watching, None)
            if self._end_uploads is not None and not any(one.wants_rows for one in self._watching):
                self._end_uploads()
                self._end_uploads = None
                self._changed.clear()
                self._told.clear()

        return unwatch

    def stop(self) -> None:
        """The daemon stops: tell everybody."""
        for end in self._ends:
            end()
        self._ends.clear()
        for one in tuple(self._watching):
            one.close()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    # --- what happens ------------------------------------------------------------------------------------------------

    def _event(self, event: Event) -> None:
        self._events.append(event)
        self.touch(event.hostid)
        for one in tuple(self._watching):
            one.event(event)

    def _command(self, command: Command) -> None:
        self._commands[command.number] = command
        self._commands.move_to_end(command.number)
        if len(self._commands) > MOST_COMMANDS:
            self._commands.popitem(last=False)
        for one in tuple(self._watching):
            one.command(command)

    def _upload(self, record: LiveRecord) -> None:
        self._changed[record.hostid] = None
        if self._timer is None:
            self._timer = self._clock.callLater(TICK_S, self._tick)

    def touch(self, hostid: str) -> None:
        """Note that a device's row may have changed."""
        if self._end_uploads is not None and hostid:
            self._changed[hostid] = None
            if self._timer is None:
                self._timer = self._clock.callLater(TICK_S, self._tick)

    # --- rows --------------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._timer = None
        if self._making:  # it takes longer than a second
            self._timer = self._clock.callLater(TICK_S, self._tick)
            return
        changed, self._changed = self._changed, {}
        self._making = True
        Deferred.fromCoroutine(self._tell_rows(list(changed))).addErrback(
            lambda failure: log.failure("web: rows of devices", failure=failure)
        ).addBoth(self._made)

    def _made(self, _: object) -> None:
        self._making = False

    async def _tell_rows(self, hostids: list[str]) -> None:
        for start in range(0, len(hostids), A_PIECE):
            await self._pieces.turn()
            wanting = [one for one in self._watching if one.wants_rows]
            for hostid in hostids[start : start + A_PIECE] if wanting else ():
                device = self._fleet.registry.device(hostid)
                if device is not None:
                    row = row_of_fleet(self._fleet, device)
                    text, changed = msgspec.json.encode(row), self._is_new(row)
                    for one in wanting:
                        one.row(hostid, text, changed)

    def _is_new(self, row: FleetRow) -> bool:
        told = self._told.get(row.hostid)
        if told is not None and (row.at or 0) - (told.at or 0) < FRESH_MS and _compared(told) == _compared(row):
            return False
        self._told[row.hostid] = row
        return True


def _compared(row: FleetRow) -> tuple[object, ...]:
    values = msgspec.structs.astuple(row)
    at, upload = _NOT_COMPARED
    return (*values[:at], *values[upload + 1 :])
