"""The tables in PostgreSQL: records to rows and back, and the statements for both.

Records go there as one JSON array a table and batch, which msgspec makes in C and the server makes rows of, and come
back as one JSON object each. (Arrays, unnested, cost the server a third less in batches of 500, nothing less in
batches of 100, and us more. To make records of psycopg2's values takes four times as long.)
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date
from types import MappingProxyType
from typing import Any, Generic, NamedTuple, TypeVar

from msgspec import MsgspecError, Struct, json
from msgspec.structs import fields

from cmmd.store.corruption import CorruptRow
from cmmd.store.paging import page_length, span
from cmmd.store.postgres.errors import Rejected
from cmmd.store.records import Alarm, Command, Device, Event, LastUpload, Query, Reading

__all__ = [
    "ALARMS",
    "COMMANDS",
    "DEVICES",
    "EVENTS",
    "LAST_UPLOADS",
    "READINGS",
    "TIME",
    "Table",
    "TimedTable",
    "as_json",
    "moment",
    "text",
]

R = TypeVar("R", bound=Struct)


class Form(NamedTuple):
    """The conversion of a column's values both ways; in the SQL, ``{}`` is the column.

    :ivar type: as what JSON is read.
    :ivar kept: SQL that makes of it what the column has.
    :ivar found: SQL that makes of the column what its JSON is made of.
    """

    type: str
    kept: str = "{}"
    found: str = "{}"


_PLAIN: Mapping[Any, Form] = {
    str: Form("text"),
    int: Form("bigint"),
    float: Form("double precision"),
    bool: Form("boolean"),
    bytes: Form("text", kept="decode({}, 'base64')", found="translate(encode({}, 'base64'), E'\\n', '')"),
}
"""By the first type that a field may have; a Literal is text."""

TIME = Form(
    "bigint",
    # Exact for any time there is; milliseconds alone would be multiplied in double precision.
    kept="timestamptz '1970-01-01 00:00:00+00' + ({0} / 3600000) * interval '1 hour'"
    " + ({0} % 3600000) * interval '1 millisecond'",
    found="CASE WHEN isfinite({0}) THEN extract(epoch FROM date_trunc('minute', {0}))::bigint * 1000"
    " + extract(milliseconds FROM {0})::bigint END",
)
"""Of columns called ``at`` and ``*_at``."""

_POINTS = Form("real[]", found="{}::double precision[]")
_DETAILS = Form("json")

_FAILS, _LEFT, _REPLACED = "", "ON CONFLICT DO NOTHING", "ON CONFLICT ({key}) DO UPDATE SET {updates}"


class Table(Generic[R]):
    """A table with one column a field of its record; the first is the key, unless ``key`` says otherwise.

    :param when_there: what is done with a record whose key is there already.
    :param forms: of the columns that need one of their own.
    """

    def __init__(
        self,
        name: str,
        record: type[R],
        when_there: str,
        forms: Mapping[str, Form] = MappingProxyType({}),
        key: str = "",
    ) -> None:
        self.name = name
        self.replaces = when_there == _REPLACED
        self._forms = {field.name: forms.get(field.name) or _form(field.name, field.type) for field in fields(record)}
        self._key, *others = self._forms
        updates = ", ".join(f"{column} = excluded.{column}" for column in others)
        self._when_there = when_there.format(key=key or self._key, updates=updates)
        self._decoder = json.Decoder(record)
        self._found = ", ".join(f"{form.found.format(column)} AS {column}" for column, form in self._forms.items())

    @property
    def columns(self) -> str:
        """The names of the columns."""
        return ", ".join(self._forms)

    @property
    def given(self) -> str:
        """The rows that a JSON array stands for, before they have the form of the columns."""
        types = ", ".join(f"{column} {form.type}" for column, form in self._forms.items())
        return f"json_to_recordset($1) AS given({types})"

    @property
    def kept(self) -> list[str]:
        """Convert records into the columns of the table, in order."""
        return [form.kept.format(f"given.{column}") for column, form in self._forms.items()]

    @property
    def prepare(self) -> str:
        """Prepares, for a session, what :meth:`insert` carries out."""
        return (
            f"PREPARE put_{self.name} (json) AS INSERT INTO {self.name} ({self.columns})"  # noqa: S608
            f" SELECT {', '.join(self.kept)} FROM {self.given} {self._when_there}"
        )

    def insert(self, records: Sequence[R]) -> bytes:
        """The statement that keeps records, in this order.

        :raises TypeError: a value is none that can be kept.
        """
        if self.replaces and len(records) > 1:  # one statement cannot replace the same row twice: the last one counts
            records = list({getattr(record, self._key): record for record in records}.values())
        return b"EXECUTE put_%s (%s)" % (self.name.encode(), as_json(records))

    def select(self, rest: str = "") -> str:
        """The statement that finds rows, for :meth:`records`.

        :param rest: which ones, in which order; there a mere name is that of what is made of the column.
        """
        return f"SELECT row_to_json(found)::text FROM (SELECT {self._found} FROM {self.name} {rest}) AS found"  # noqa: S608

    def records(self, rows: Iterable[Sequence[Any]]) -> Iterator[R | CorruptRow]:
        """Convert rows into records, and report the rows that are none."""
        return (self._record_of(row) for (row,) in rows)

    def _record_of(self, row: str) -> R | CorruptRow:
        try:
            return self._decoder.decode(row)
        except MsgspecError as error:
            return CorruptRow(f"{self.name} {json.decode(row)[self._key]!r} is damaged: {error}")


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
        key: str = "",
        *,
        at: str = "at",
        old: str = "at",
        may_go: str = "TRUE",
    ) -> None:
        super().__init__(name, record, when_there, forms, key)
        self._at = at
        self._old = old
        self._may_go = may_go

    def page(self, query: Query) -> str:
        """The statement for the records that a query asks for.

        :raises Rejected: it asks for a device that none can be.
        """
        start, end = span(query)
        of_one = "" if query.hostid is None else f"hostid = {text(query.hostid)} AND "
        at, after, before = self._at, moment(start.at), moment(end.at)
        direction = "DESC" if query.newest_first else "ASC"
        return self.select(
            f"WHERE {of_one}{at} >= {after} AND {at} <= {before}"  # by these, partitions are left out
            f" AND ({at}, number) > ({after}, bigint '{start.number}')"
            f" AND ({at}, number) < ({before}, bigint '{end.number}')"
            f" ORDER BY {self.name}.{at} {direction}, {self.name}.number {direction} LIMIT {page_length(query)}"
        )

    def oldest(self, before: str, limit: int) -> str:
        """The statement that deletes the oldest rows, see IStore, and returns a row for each.

        :param before: a moment, as SQL.
        """
        return (
            f"DELETE FROM {self.name} WHERE number IN (SELECT number FROM {self.name}"  # noqa: S608
            f" WHERE {self._old} < {before} AND {self._may_go} ORDER BY {self._old}, number LIMIT {limit}) RETURNING 1"
        )


def _form(name: str, annotation: Any) -> Form:
    if name == "at" or name.endswith("_at"):
        return TIME
    alternatives = getattr(annotation, "__args__", ())
    return _PLAIN.get(annotation) or next((_PLAIN[one] for one in alternatives if one in _PLAIN), _PLAIN[str])


def as_json(value: object) -> bytes:
    """A value as JSON, and that as a literal of SQL; what no number is becomes null.

    :raises TypeError: JSON cannot hold it.
    """
    return b"'" + json.encode(value).replace(b"'", b"''") + b"'"


def text(value: str) -> str:
    """A text as a literal of SQL, whatever ``standard_conforming_strings`` is: readers set nothing in a session.

    :raises Rejected: PostgreSQL cannot hold it.
    """
    if "\0" in value:
        raise Rejected("a text has the character NUL", "22021")
    quoted = "'" + value.replace("'", "''") + "'"
    return " E" + quoted.replace("\\", "\\\\") if "\\" in value else quoted


_DAY_MS = 86_400_000
_DAYS_TO_1970 = date(1970, 1, 1).toordinal() - 1
_DAYS_OF_400_YEARS = 146_097
_LAST_YEAR = 294_275


def moment(at: int) -> str:
    """A time as a literal of SQL; beyond PostgreSQL's own last years: without end.

    :param at: Unix time in milliseconds.
    """
    days, milliseconds = divmod(at, _DAY_MS)
    eras, day = divmod(days + _DAYS_TO_1970, _DAYS_OF_400_YEARS)
    on = date.fromordinal(day + 1)
    year = on.year + 400 * eras
    if not 1 <= year <= _LAST_YEAR:
        return f"timestamptz '{'-' if year < 1 else ''}infinity'"
    seconds, milliseconds = divmod(milliseconds, 1000)
    clock = f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}.{milliseconds:03}"
    return f"timestamptz '{year:04}-{on.month:02}-{on.day:02} {clock}+00'"


DEVICES = Table("device", Device, _REPLACED)
READINGS = TimedTable("reading", Reading, _LEFT, {"points": _POINTS}, key="at, number")
LAST_UPLOADS = Table("last_upload", LastUpload, _REPLACED)
ALARMS = TimedTable("alarm", Alarm, _REPLACED, at="raised_at", old="cleared_at")
EVENTS = TimedTable("event", Event, _LEFT, {"details": _DETAILS})
COMMANDS = TimedTable("command", Command, _REPLACED, at="accepted_at", old="ended_at", may_go="outcome IS NOT NULL")
