"""The store that forgets: for tests and for trying things out."""

from collections.abc import Callable, Sequence
from heapq import nlargest, nsmallest
from typing import Generic, TypeVar
from uuid import uuid4

from msgspec.structs import replace
from twisted.internet.defer import Deferred, execute, fail, succeed
from zope.interface import implementer

from cmmd.store.interface import DuplicateDevice, IStore, Snapshot, StoreError
from cmmd.store.packing import pack_details, pack_points, unpack_details, unpack_points
from cmmd.store.paging import page_length, span
from cmmd.store.records import (
    Alarm,
    Command,
    Cursor,
    Device,
    Event,
    LastUpload,
    Numbers,
    ProfileVersion,
    Query,
    Reading,
    Redecoded,
    Row,
)

__all__ = ["MemoryStore"]

R = TypeVar("R", bound=Reading | Alarm | Event | Command)


@implementer(IStore)
class MemoryStore:
    """Keeps records as long as the object lives, with what a database would do to their values."""

    def __init__(self) -> None:
        self._identity = uuid4().hex
        self._writer = ""
        self._devices: dict[int, Device] = {}
        self._numbers: dict[str, int] = {}
        self._last_device = 0
        self._profiles: dict[int, ProfileVersion] = {}
        self._uploads: dict[str, LastUpload] = {}
        self._readings = _Shelf[Reading](at=lambda reading: reading.at, old=lambda reading: reading.at)
        self._alarms = _Shelf[Alarm](at=lambda alarm: alarm.raised_at, old=lambda alarm: alarm.cleared_at)
        self._events = _Shelf[Event](at=lambda event: event.at, old=lambda event: event.at)
        self._commands = _Shelf[Command](
            at=lambda command: command.accepted_at,
            old=lambda command: None if command.outcome is None else command.ended_at,
        )

    def open(self) -> Deferred[Snapshot]:
        return succeed(
            Snapshot(
                devices=[device for _, device in sorted(self._devices.items())],
                profiles=[profile for _, profile in sorted(self._profiles.items())],
                uploads=list(self._uploads.values()),
                alarms=[alarm for _, alarm in sorted(self._alarms.rows.items()) if alarm.cleared_at is None],
                unfinished=[command for _, command in sorted(self._commands.rows.items()) if command.outcome is None],
                numbers=Numbers(
                    reading=self._readings.last,
                    alarm=self._alarms.last,
                    event=self._events.last,
                    command=self._commands.last,
                ),
                identity=self._identity,
                writer=self._writer,
            )
        )

    def add_device(self, device: Device) -> Deferred[Device]:
        if device.hostid in self._numbers:
            return fail(DuplicateDevice(device.hostid))
        added = replace(device, number=self._last_device + 1)
        self._put_device(added)
        return succeed(added)

    def remove_device(self, device: Device) -> Deferred[None]:
        """Delete a device and its last upload."""
        if self._devices.pop(device.number, None) is not None:
            del self._numbers[device.hostid]
        self._uploads.pop(device.hostid, None)
        return succeed(None)

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        return execute(self._write, rows)

    def redecode(self, readings: Sequence[Redecoded]) -> Deferred[None]:
        for one in readings:
            kept = self._readings.rows.get(one.number)
            if kept is not None and kept.at == one.at:
                points = unpack_points(pack_points(one.points))
                self._readings.rows[one.number] = replace(kept, profile=one.profile, points=points)
        return succeed(None)

    def readings(self, query: Query) -> Deferred[list[Reading]]:
        return succeed(self._readings.page(query))

    def alarms(self, query: Query) -> Deferred[list[Alarm]]:
        return succeed(self._alarms.page(query))

    def events(self, query: Query) -> Deferred[list[Event]]:
        return succeed(self._events.page(query))

    def commands(self, query: Query) -> Deferred[list[Command]]:
        return succeed(self._commands.page(query))

    def forget(self, before: int, limit: int) -> Deferred[int]:
        return succeed(
            self._readings.forget(before, limit)
            + self._alarms.forget(before, limit)
            + self._events.forget(before, limit)
            + self._commands.forget(before, limit)
        )

    def claim(self, writer: str) -> Deferred[None]:
        self._writer = writer
        return succeed(None)

    def close(self) -> Deferred[None]:
        return succeed(None)

    def _write(self, rows: Sequence[Row]) -> None:
        for row in [self._as_kept(row) for row in rows]:  # what cannot be kept shows before anything is
            match row:
                case Device():
                    self._put_device(row)
                case Reading():
                    self._readings.add(row)
                case Event():
                    self._events.add(row)
                case Alarm():
                    self._alarms.put(row)
                case Command():
                    self._commands.put(row)
                case LastUpload():
                    self._uploads[row.hostid] = row
                case ProfileVersion():
                    self._profiles.setdefault(row.number, row)
                case Numbers():
                    self._readings.raise_to(row.reading)
                    self._alarms.raise_to(row.alarm)
                    self._events.raise_to(row.event)
                    self._commands.raise_to(row.command)

    def _put_device(self, device: Device) -> None:
        before = self._devices.get(device.number)
        if before is not None:
            del self._numbers[before.hostid]
        self._numbers[device.hostid] = device.number
        self._last_device = max(self._last_device, device.number)
        self._devices[device.number] = device

    def _as_kept(self, row: Row) -> Row:
        match row:
            case Reading():
                return replace(row, points=unpack_points(pack_points(row.points)))
            case Event():
                return replace(row, details=unpack_details(pack_details(row.details)))
            case Device() if self._numbers.get(row.hostid, row.number) != row.number:
                raise StoreError(f"{row.hostid} has another number")
        return row


class _Shelf(Generic[R]):
    """Numbered records of one kind.

    :param at: the time by which they are in order.
    :param old: the time from which they grow old; None: they do not.
    :ivar last: the highest number there ever was.
    """

    def __init__(self, at: Callable[[R], int], old: Callable[[R], int | None]) -> None:
        self._at = at
        self._old = old
        self.rows: dict[int, R] = {}
        self.last = 0

    def add(self, row: R) -> None:
        if row.number in self.rows:
            return
        if isinstance(row, Reading) and row.source and any(_same_moment(one, row) for one in self.rows.values()):
            self.raise_to(row.number)
            return
        self.put(row)

    def put(self, row: R) -> None:
        self.rows[row.number] = row
        self.raise_to(row.number)

    def raise_to(self, number: int) -> None:
        self.last = max(self.last, number)

    def page(self, query: Query) -> list[R]:
        start, end = span(query)
        asked_for = [
            row
            for row in self.rows.values()
            if query.hostid in (None, row.hostid) and start < Cursor(self._at(row), row.number) < end
        ]
        first = nlargest if query.newest_first else nsmallest
        return first(page_length(query), asked_for, key=lambda row: (self._at(row), row.number))

    def forget(self, before: int, limit: int) -> int:
        ages = [(old, row.number) for row in self.rows.values() if (old := self._old(row)) is not None and old < before]
        oldest = nsmallest(limit, ages)
        for _, number in oldest:
            del self.rows[number]
        return len(oldest)


def _same_moment(one: object, other: Reading) -> bool:
    """Tell whether two readings are of one moment that the device said itself."""
    return (
        isinstance(one, Reading)
        and bool(one.source)
        and (one.hostid, one.at, len(one.image) > 1) == (other.hostid, other.at, len(other.image) > 1)
    )
