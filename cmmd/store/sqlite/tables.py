"""The tables of the embedded store: records to rows and back, and the statements for both."""

import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar, cast

from msgspec import MsgspecError, Struct, convert
from msgspec.structs import astuple, fields

from cmmd.store.corruption import CorruptRow, all_or_corruption
from cmmd.store.packing import pack_details, pack_points, unpack_details, unpack_points
from cmmd.store.paging import page_length, span
from cmmd.store.records import Alarm, Command, Device, Event, LastUpload, Query, Reading

__all__ = [
    "ALARMS",
    "COMMANDS",
    "DEVICES",
    "EVENTS",
    "LAST_UPLOADS",
    "READINGS",
    "Form",
    "Table",
    "TimedTable",
]

R = TypeVar("R", bound=Struct)

_FAILS, _LEFT, _REPLACED = "", "ON CONFLICT DO NOTHING", "ON CONFLICT ({key}) DO UPDATE SET {updates}"

VALUES_A_STATEMENT = 900
"""Values that one INSERT takes, in so many rows; any SQLite allows that. ``executemany`` makes a step of each row, and
after each step the thread needs the interpreter back, for which it may wait 5 ms beside a busy reactor."""


class Form(NamedTuple):
    """The conversion of a column's values both ways."""

    kept: Callable[[Any], Any]
    read: Callable[[Any], Any]


class Table(Generic[R]):
    """A table with one column a field of its record; the first is the key.

    :param when_there: what is done with a record whose key is there already.
    :param forms: of the columns that keep something else than the value itself.
    """

    def __init__(
        self, name: str, record: type[R], when_there: str = _FAILS, forms: Mapping[str, Form] = MappingProxyType({})
    ) -> None:
        self.name = name
        self._record = record
        self._columns = [field.name for field in fields(record)]
        self._forms = [(place, forms[column]) for place, column in enumerate(self._columns) if column in forms]
        key, *others = self._columns
        self._key = self._order = key
        updates = ", ".join(f"{column} = excluded.{column}" for column in others)
        self._when_there = when_there.format(key=key, updates=updates)
        self._place = f"({', '.join('?' * len(self._columns))})"
        self._rows_a_statement = VALUES_A_STATEMENT // len(self._columns)
        self.select = f"SELECT {', '.join(self._columns)} FROM {name}"  # noqa: S608 - our own names, here and below

    def insert(self, connection: sqlite3.Connection, records: Sequence[R]) -> None:
        """Keep records, in this order."""
        into = f"INSERT INTO {self.name} ({', '.join(self._columns)}) VALUES "  # noqa: S608
        for first in range(0, len(records), self._rows_a_statement):
            some = records[first : first + self._rows_a_statement]
            places = ", ".join([self._place] * len(some))
            values = list(chain.from_iterable(map(self._row, some)))
            connection.execute(f"{into}{places} {self._when_there}", values)

    def read(
        self, connection: sqlite3.Connection, rest: str = "", values: Sequence[Any] = ()
    ) -> Iterator[R | CorruptRow]:
        """Read the records of the rows that ``rest`` selects, and the faults of the damaged ones."""
        return map(self._read, connection.execute(f"{self.select} {rest}", values).fetchall())

    def first(self, connection: sqlite3.Connection, limit: int) -> Iterator[R | CorruptRow]:
        """Select the first records, in order."""
        return self.read(connection, f"ORDER BY {self._order} LIMIT ?", (limit,))

    def delete(self, connection: sqlite3.Connection, keys: Sequence[str | int]) -> int:
        """Delete the records with these keys; how many there were."""
        gone = 0
        for first in range(0, len(keys), VALUES_A_STATEMENT):
            some = keys[first : first + VALUES_A_STATEMENT]
            places = ", ".join("?" * len(some))
            gone += connection.execute(f"DELETE FROM {self.name} WHERE {self._key} IN ({places})", some).rowcount  # noqa: S608
        return gone

    def _read(self, row: Sequence[Any]) -> R | CorruptRow:
        values = list(row)
        try:
            for place, form in self._forms:
                values[place] = form.read(values[place])
            return convert(dict(zip(self._columns, values, strict=True)), self._record)
        except (MsgspecError, TypeError, ValueError) as error:
            return CorruptRow(f"{self.name} {row[0]!r} is damaged: {error}")

    def _row(self, record: R) -> Sequence[Any]:
        values = astuple(record)
        if not self._forms:
            return values
        changed = list(values)
        for place, form in self._forms:
            changed[place] = form.kept(changed[place])
        return changed


class TimedTable(Table[R]):
    """A table that is read by time, and whose old rows are deleted.

    :param at: the column by which its records are in order.
    :param old: the column from which they grow old; where it is NULL they do not.
    :param may_go: without which a row is never deleted, however old, in SQL.
    """

    def __init__(
        self,
        name: str,
        record: type[R],
        when_there: str,
        forms: Mapping[str, Form] = MappingProxyType({}),
        *,
        at: str = "at",
        old: str = "at",
        may_go: str = "TRUE",
    ) -> None:
        super().__init__(name, record, when_there, forms)
        self._at = at
        self._order = f"{at}, number"
        self._oldest = f"SELECT number FROM {name} WHERE {old} < ? AND {may_go} ORDER BY {old}, number LIMIT ?"  # noqa: S608

    def page(self, connection: sqlite3.Connection, query: Query) -> list[R]:
        """The records that a query asks for.

        :raises DamagedRow: one of them is damaged.
        """
        return all_or_corruption(self.read(connection, *self.page_statement(query)))

    def page_statement(self, query: Query) -> tuple[str, list[Any]]:
        """Build the part behind the SELECT of such a page, and its values."""
        start, end = span(query)
        of_one = "" if query.hostid is None else "hostid = ? AND "
        between = f"({self._at}, number) > (?, ?) AND ({self._at}, number) < (?, ?)"
        direction = "DESC" if query.newest_first else "ASC"
        whose = [] if query.hostid is None else [query.hostid]
        return (
            f"WHERE {of_one}{between} ORDER BY {self._at} {direction}, number {direction} LIMIT ?",
            [*whose, start.at, start.number, end.at, end.number, page_length(query)],
        )

    def forget(self, connection: sqlite3.Connection, before: int, limit: int) -> int:
        """Delete the oldest rows, see IStore; how many there were."""
        return connection.execute(self.forget_statement, (before, max(limit, 0))).rowcount

    @property
    def forget_statement(self) -> str:
        """Build the deletion of rows older than the first value, at most as many as the second."""
        return f"DELETE FROM {self.name} WHERE number IN ({self._oldest})"  # noqa: S608

    def raise_number(self, connection: sqlite3.Connection, number: int) -> None:
        """Have :meth:`last_number` be at least this."""
        if self.last_number(connection) < number:
            connection.execute("DELETE FROM sqlite_sequence WHERE name = ?", (self.name,))
            connection.execute("INSERT INTO sqlite_sequence (name, seq) VALUES (?, ?)", (self.name, number))

    def last_number(self, connection: sqlite3.Connection) -> int:
        """The highest number that a row has ever had; 0: there was none."""
        found = connection.execute("SELECT seq FROM sqlite_sequence WHERE name = ?", (self.name,)).fetchone()
        return cast("int", found[0]) if found else 0


_TRUTH = Form(lambda value: value, lambda kept: {0: False, 1: True}.get(kept, kept))
"""Of a column with 1, 0 and, where its record says so, NULL; anything else there is damage."""

DEVICES = Table("device", Device, _REPLACED, {"enabled": _TRUTH, "history": _TRUTH})
READINGS = TimedTable("reading", Reading, _LEFT, {"points": Form(pack_points, unpack_points)})
LAST_UPLOADS = Table("last_upload", LastUpload, _REPLACED)
ALARMS = TimedTable("alarm", Alarm, _REPLACED, at="raised_at", old="cleared_at")
EVENTS = TimedTable("event", Event, _LEFT, {"details": Form(pack_details, unpack_details)})
COMMANDS = TimedTable(
    *("command", Command, _REPLACED, {"confirmed": _TRUTH}),
    at="accepted_at",
    old="ended_at",
    may_go="outcome IS NOT NULL",
)
