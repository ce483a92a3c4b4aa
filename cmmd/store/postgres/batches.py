"""Batches for PostgreSQL: each is one message to the server and one transaction."""

from collections.abc import Iterable, Sequence
from typing import Any, TypeVar

from msgspec.structs import asdict, replace

from cmmd.store.packing import pack_points, unpack_points
from cmmd.store.postgres.tables import (
    ALARMS,
    COMMANDS,
    DEVICES,
    EVENTS,
    LAST_UPLOADS,
    READINGS,
    TIME,
    Table,
    as_json,
)
from cmmd.store.records import (
    Alarm,
    Command,
    Device,
    Event,
    LastUpload,
    Numbers,
    ProfileVersion,
    Reading,
    Redecoded,
    Row,
)

__all__ = ["NUMBERED", "PREPARE", "adding", "as_kept", "highest_numbers", "redecoding", "writing"]

R = TypeVar("R")

_TABLES: dict[type[Row], Table[Any]] = {
    Device: DEVICES,
    Reading: READINGS,
    LastUpload: LAST_UPLOADS,
    Alarm: ALARMS,
    Event: EVENTS,
    Command: COMMANDS,
}
NUMBERED: dict[type[Row], str] = {
    Device: "device",
    Reading: "reading",
    Alarm: "alarm",
    Event: "event",
    Command: "command",
}
"""By what ``counter`` calls them."""

_PUT_PROFILE = """
PREPARE put_profile (json) AS
WITH given AS (
    SELECT * FROM json_to_recordset($1) AS given(number bigint, name text, fingerprint text, points json)
), added AS (
    INSERT INTO profile (number, name, fingerprint) SELECT number, name, fingerprint FROM given
    ON CONFLICT (number) DO NOTHING RETURNING number
)
INSERT INTO point (profile, place, name, title, unit, decimals)
SELECT number, place - 1, point ->> 'name', point ->> 'title', point ->> 'unit', (point ->> 'decimals')::bigint
FROM added JOIN given USING (number), json_array_elements(points) WITH ORDINALITY AS one(point, place)
"""
_RAISE_NUMBERS = """
PREPARE raise_numbers (json) AS
UPDATE counter SET highest = given.highest
FROM (SELECT key, value::bigint AS highest FROM json_each_text($1)) AS given
WHERE kind = key AND counter.highest < given.highest
"""
_GIVEN = ", ".join(DEVICES.kept[1:])
_ADD_DEVICE = f"""
PREPARE add_device (json) AS
WITH given AS (
    SELECT * FROM {DEVICES.given}
), numbers AS (
    UPDATE counter SET highest = greatest(highest, (SELECT max(number) FROM device)) + (SELECT count(*) FROM given)
    WHERE kind = 'device' RETURNING highest
)
INSERT INTO device ({DEVICES.columns})
SELECT highest - (SELECT count(*) FROM given) + number, {_GIVEN} FROM given, numbers
ON CONFLICT (hostid) DO NOTHING RETURNING number, hostid
"""  # noqa: S608 - our own names
"""Devices come numbered from 1; each gets this number above the highest one so far."""

PREPARE = ";".join([_PUT_PROFILE, _RAISE_NUMBERS, _ADD_DEVICE, *(table.prepare for table in _TABLES.values())])
"""What a session has to be told before it is told what these functions make."""


def writing(rows: Sequence[Row]) -> bytes:
    """The statements that keep records of any kinds. Only within one kind does their order matter.

    :raises TypeError: a value is none that can be kept; the same for OverflowError and UnicodeEncodeError.
    """
    by_kind: dict[type[Row], list[Any]] = {}
    for row in rows:
        by_kind.setdefault(type(row), []).append(row)
    statements = []
    highest: dict[str, int] = {}
    for kind, some in by_kind.items():
        if kind is Numbers:
            for numbers in some:
                highest = {name: max(number, highest.get(name, 0)) for name, number in asdict(numbers).items()}
        elif kind is ProfileVersion:
            first = {profile.number: profile for profile in reversed(some)}
            statements.append(b"EXECUTE put_profile (%s)" % as_json(list(first.values())))
        else:
            statements.append(_TABLES[kind].insert(some))
    for name, number in highest_numbers(rows).items():
        highest[name] = max(highest.get(name, 0), number)
    if any(highest.values()):
        raised = {name: number for name, number in highest.items() if number}
        statements.append(b"EXECUTE raise_numbers (%s)" % as_json(raised))
    return b";".join(statements) or b"SELECT 1"  # nothing at all still tells whether the database is there


def highest_numbers(rows: Iterable[Row]) -> dict[str, int]:
    """The highest numbers among rows, by what ``counter`` calls their kind."""
    highest: dict[str, int] = {}
    for row in rows:
        name = NUMBERED.get(type(row))
        if name is not None and row.number > highest.get(name, 0):  # type: ignore[union-attr]
            highest[name] = row.number  # type: ignore[union-attr]
    return highest


def as_kept(rows: Iterable[Row]) -> list[Row]:
    """The same rows with points as single precision has them; PostgreSQL refuses what is too large or too small."""
    return [
        replace(row, points=unpack_points(pack_points(row.points))) if isinstance(row, Reading) else row for row in rows
    ]


def redecoding(readings: Sequence[Redecoded]) -> bytes:
    """The statement that gives readings other points; it returns nothing."""
    kept = [replace(one, points=unpack_points(pack_points(one.points))) for one in readings]
    return (
        b"UPDATE reading SET profile = given.profile, points = given.points FROM (SELECT number, profile, points, "
        b"%s AS at FROM json_to_recordset(%s) AS given(number bigint, at bigint, profile integer, points real[]))"
        b" AS given WHERE reading.at = given.at AND reading.number = given.number"
    ) % (TIME.kept.format("given.at").encode(), as_json(kept))


def adding(devices: Sequence[Device]) -> bytes:
    """The statement that adds devices; it returns number and hostid of those that were not there yet.

    :raises TypeError: see :func:`writing`.
    """
    numbered = [replace(device, number=place) for place, device in enumerate(devices, start=1)]
    return b"EXECUTE add_device (%s)" % as_json(numbered)
