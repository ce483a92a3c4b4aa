"""Rows of any kind, into the tables of the embedded store and out of them."""

import sqlite3
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any, cast

from msgspec import MsgspecError, convert
from msgspec.structs import asdict, astuple, fields, replace

from cmmd.store.corruption import CorruptRow
from cmmd.store.interface import DuplicateDevice
from cmmd.store.packing import pack_points
from cmmd.store.records import (
    Alarm,
    Command,
    Device,
    Event,
    LastUpload,
    Numbers,
    PointColumn,
    ProfileVersion,
    Reading,
    Redecoded,
    Row,
)
from cmmd.store.sqlite.tables import (
    ALARMS,
    COMMANDS,
    DEVICES,
    EVENTS,
    LAST_UPLOADS,
    READINGS,
    Table,
    TimedTable,
)

__all__ = [
    "KINDS",
    "NUMBERED",
    "Key",
    "add_device",
    "delete",
    "first",
    "highest_numbers",
    "insert",
    "key",
    "read_profiles",
    "redecode",
]

_GIVEN = [field.name for field in fields(Device) if field.name != "number"]
_ADD_DEVICE = f"INSERT INTO device ({', '.join(_GIVEN)}) VALUES ({', '.join(':' + name for name in _GIVEN)})"  # noqa: S608


def add_device(connection: sqlite3.Connection, device: Device) -> Device:
    """Keep a new device, see IStore.

    :raises DuplicateDevice: a device with this hostid is there already.
    """
    try:
        added = connection.execute(_ADD_DEVICE, asdict(device))
    except sqlite3.IntegrityError:
        raise DuplicateDevice(device.hostid) from None
    return replace(device, number=cast("int", added.lastrowid))


_POINT_COLUMNS = [field.name for field in fields(PointColumn)]


def add_profile(connection: sqlite3.Connection, profile: ProfileVersion) -> None:
    """Keep a profile version with its points; where its number is there already, nothing changes."""
    added = connection.execute(
        "INSERT INTO profile (number, name, fingerprint) VALUES (?, ?, ?) ON CONFLICT (number) DO NOTHING",
        (profile.number, profile.name, profile.fingerprint),
    )
    if added.rowcount:
        connection.executemany(
            f"INSERT INTO point (profile, place, {', '.join(_POINT_COLUMNS)}) VALUES (?, ?, ?, ?, ?, ?)",  # noqa: S608
            [(profile.number, place, *astuple(point)) for place, point in enumerate(profile.points)],
        )


def read_profiles(connection: sqlite3.Connection) -> Iterator[ProfileVersion | CorruptRow]:
    """Read every profile version, by number, and the faults of the damaged ones.

    Such a one comes nevertheless, without fingerprint and points: no other may get its number, which readings have.
    """
    select = f"SELECT profile, {', '.join(_POINT_COLUMNS)} FROM point ORDER BY profile, place"  # noqa: S608
    points = {
        number: [dict(zip(_POINT_COLUMNS, values, strict=True)) for _, *values in rows]
        for number, rows in groupby(connection.execute(select).fetchall(), key=lambda row: row[0])
    }
    for number, name, fingerprint in connection.execute("SELECT number, name, fingerprint FROM profile").fetchall():
        values = {"number": number, "name": name, "fingerprint": fingerprint, "points": points.get(number, [])}
        try:
            yield convert(values, ProfileVersion)
        except MsgspecError as error:
            yield ProfileVersion(number=number, name=str(name), fingerprint="", points=())
            yield CorruptRow(f"profile {number} is damaged: {error}")


KINDS: dict[type[Row], Table[Any]] = {
    Device: DEVICES,
    Reading: READINGS,
    LastUpload: LAST_UPLOADS,
    Alarm: ALARMS,
    Event: EVENTS,
    Command: COMMANDS,
}
"""Those of records that have one table; profile versions have two."""

NUMBERED: dict[str, TimedTable[Any]] = {"reading": READINGS, "alarm": ALARMS, "event": EVENTS, "command": COMMANDS}
"""Those whose numbers the daemon gives, and whose old rows are deleted; by the field of Numbers."""


def highest_numbers(connection: sqlite3.Connection) -> Numbers:
    """The highest numbers there ever were, or that are reserved."""
    return Numbers(**{name: table.last_number(connection) for name, table in NUMBERED.items()})


def insert(rows: Iterable[Row], connection: sqlite3.Connection) -> None:
    """Keep records of any kinds. Only within one kind does their order matter."""
    by_kind: dict[type[Row], list[Row]] = {}
    for row in rows:
        by_kind.setdefault(type(row), []).append(row)
    for profile in cast("list[ProfileVersion]", by_kind.pop(ProfileVersion, [])):
        add_profile(connection, profile)
    for numbers in cast("list[Numbers]", by_kind.pop(Numbers, [])):
        for name, number in asdict(numbers).items():
            NUMBERED[name].raise_number(connection, number)
    for kind, some in by_kind.items():
        KINDS[kind].insert(connection, some)


def redecode(readings: Iterable[Redecoded], connection: sqlite3.Connection) -> None:
    """Give readings other points, see IStore."""
    connection.executemany(
        "UPDATE reading SET profile = ?, points = ? WHERE number = ? AND at = ?",
        [(one.profile, pack_points(one.points), one.number, one.at) for one in readings],
    )


Key = tuple[type[Row], str | int]
"""What a row replaces, or where it is left out because it is there already; and its kind."""


def key(row: Row) -> Key:
    """The key of a row; all Numbers have the same one."""
    match row:
        case LastUpload():
            return LastUpload, row.hostid
        case Numbers():
            return Numbers, 0
    return type(row), row.number


def delete(keys: Iterable[Key], connection: sqlite3.Connection) -> int:
    """Delete the rows with these keys; how many there were. Numbers stay as they are."""
    by_kind: dict[type[Row], list[str | int]] = {}
    for kind, of_one in keys:
        by_kind.setdefault(kind, []).append(of_one)
    gone = 0
    for number in by_kind.pop(ProfileVersion, []):
        connection.execute("DELETE FROM point WHERE profile = ?", (number,))
        gone += connection.execute("DELETE FROM profile WHERE number = ?", (number,)).rowcount
    return gone + sum(KINDS[kind].delete(connection, some) for kind, some in by_kind.items() if kind in KINDS)


def first(kind: type[Row], limit: int, connection: sqlite3.Connection) -> Iterator[Row | CorruptRow]:
    """Read the first records of a kind, in order, and the faults of the damaged ones."""
    if kind is not ProfileVersion:
        return KINDS[kind].first(connection, limit)
    return (one for one in read_profiles(connection) if isinstance(one, CorruptRow) or one.fingerprint)
