"""Operations on history: pages, streams that never hold a whole result, and many readings as few numbers."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from cmmd.fleet.service.operations import Found
from cmmd.fleet.service.records import ReadingRow, cursor_from, cursor_text
from cmmd.store.interface import MOST_A_PAGE
from cmmd.store.records import Cursor, PointColumn
from cmmd.store.records import Query as Wanted
from cmmd.web.api.context import After, ApiContext, Moment, Order
from cmmd.web.api.operation import JSON_TYPE, Answer, Call, Query, Streamed
from cmmd.web.http.problems import WrongField
from cmmd.web.http.streaming_body import StreamingBody

__all__ = [
    "CSV_TYPE",
    "LINES_TYPE",
    "MOST_SCANNED",
    "BucketQuery",
    "Buckets",
    "ReadingList",
    "ReadingPage",
    "Series",
    "Stretches",
]


__all__ += ["get_buckets", "list_readings"]

CSV_TYPE, LINES_TYPE = "text/csv", "application/x-ndjson"

A_PAGE = 200
MOST_SCANNED = 200_000
"""Readings that one request for buckets looks at: four months at one a minute."""

A_PIECE = 500
DAY_MS = 86_400_000

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)

PointName = Annotated[str, Meta(min_length=1, max_length=64)]
Points = Annotated[list[PointName], Meta(min_length=1, max_length=50, description="Only these points; else all.")]


class ReadingList(Query, frozen=True, kw_only=True):
    """A selection of readings: ``since <= at < until``. ``limit``: of a JSON page at most 200; else of all."""

    points: Points | None = None
    since: Moment | None = None
    until: Moment | None = None
    order: Order = "asc"
    after: After | None = None
    limit: Annotated[int, Meta(ge=1, le=100_000_000)] | None = None
    format: Literal["json", "csv", "jsonl"] | None = None


class ReadingPage(Struct, frozen=True):
    """Readings; ``next``: hand it back as ``after`` for the next ones; null: there are no more now."""

    readings: list[ReadingRow]
    next: str | None


class BucketQuery(Query, frozen=True, kw_only=True):
    """A selection of readings, by default those of the last day. ``buckets``: the highest number of them."""

    points: Annotated[list[PointName], Meta(min_length=1, max_length=20)]
    since: Moment | None = None
    until: Moment | None = None
    buckets: Annotated[int, Meta(ge=1, le=2000)] = 300


_FORMATS = {"json": JSON_TYPE, "csv": CSV_TYPE, "jsonl": LINES_TYPE}

_Turn = Callable[[Wanted], Awaitable[Found[ReadingRow]]]


async def list_readings(around: ApiContext, call: Call[ReadingList, None]) -> Answer | Streamed:
    """A page of readings, or all of them as a stream."""
    asked = call.query
    media_type = call.accept if asked.format is None else _FORMATS[asked.format]
    limit = A_PAGE if asked.limit is None else min(asked.limit, A_PAGE)
    wanted = Wanted(
        hostid=call.hostid,
        since=asked.since,
        until=asked.until,
        after=cursor_from(asked.after),
        limit=limit,
        newest_first=asked.order == "desc",
    )
    found = await around.desk.history(wanted, asked.points)
    rows = list(found.records)
    if media_type == JSON_TYPE:
        following = cursor_text(found.place(rows[-1])) if len(rows) == limit else None
        return Answer(body=ReadingPage(rows, following))
    names = asked.points or [one.name for one in around.desk.fleet.live[call.hostid].profile.definition.points]

    async def pour(outlet: StreamingBody) -> None:
        page, left, query = rows, asked.limit, wanted
        head = _csv_head(names) if media_type == CSV_TYPE else b""
        while True:
            page = page if left is None else page[:left]
            text = _csv(page, names) if media_type == CSV_TYPE else _lines(page)
            await outlet.write(head + text)
            head = b""
            left = None if left is None else left - len(page)
            if len(page) < query.limit or left == 0:
                return
            query = replace(query, after=found.place(page[-1]))
            page = list((await around.desk.history(query, asked.points)).records)
            await around.pieces.turn()

    headers = {"Content-Disposition": f'attachment; filename="{_file_name(call.hostid)}.{_ENDINGS[media_type]}"'}
    return Streamed(pour=pour, media_type=f"{media_type}; charset=utf-8", headers=headers)


_ENDINGS = {CSV_TYPE: "csv", LINES_TYPE: "jsonl"}


def _file_name(hostid: str) -> str:
    return "".join(one if one.isalnum() else "-" for one in hostid)


def _csv_head(names: Sequence[str]) -> bytes:
    return ",".join(["time", "number", "reason", *names]).encode() + b"\r\n"


def _csv(rows: Sequence[ReadingRow], names: Sequence[str]) -> bytes:
    lines = []
    for row in rows:
        time = (_EPOCH + timedelta(milliseconds=row.at)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        values = [row.points.get(name) for name in names]
        texts = ["" if value is None else repr(value) for value in values]
        lines.append(",".join([time, str(row.number), row.reason, *texts]) + "\r\n")
    return "".join(lines).encode()


def _lines(rows: Sequence[ReadingRow]) -> bytes:
    return b"".join(msgspec.json.encode(row) + b"\n" for row in rows)


async def get_buckets(around: ApiContext, call: Call[BucketQuery, None]) -> Answer:
    """Lowest, mean and highest values of stretches of time."""
    asked = call.query
    until = int(around.now() * 1000) if asked.until is None else asked.until
    since = max(until - DAY_MS, 0) if asked.since is None else asked.since
    if since >= until:
        raise WrongField("query.until", "later than since")
    around.desk.device(call.hostid)
    history = around.desk.fleet.history
    stretches = Stretches(since, until, asked.buckets, [history.column(name) for name in asked.points])
    gone: list[object] = []
    call.request.notifyFinish().addBoth(gone.append)
    scanned, covered, after = 0, None, None
    await around.scans.acquire()
    try:
        while not gone:
            query = Wanted(hostid=call.hostid, since=since, until=until, after=after, limit=MOST_A_PAGE)
            found: list[tuple[Cursor, list[float | None]]] = await history.values(query, asked.points)
            for start in range(0, len(found), A_PIECE):
                await around.pieces.turn()
                for place, values in found[start : start + A_PIECE]:
                    stretches.add(place.at, values)
            scanned += len(found)
            if len(found) < MOST_A_PAGE:
                break
            after = found[-1][0]
            if scanned >= MOST_SCANNED:
                covered = after.at
                break
    finally:
        around.scans.release()
    return Answer(body=stretches.done(scanned=scanned, covered_until=covered))


class Series(Struct, frozen=True, kw_only=True):
    """A point, stretch by stretch; null: there is no value in that one."""

    name: str
    unit: str
    min: list[float | None]
    mean: list[float | None]
    max: list[float | None]


class Buckets(Struct, frozen=True, kw_only=True):
    """Readings, bucket by bucket: the first begins at ``since``, each is ``width`` milliseconds long.

    :ivar counts: readings in each.
    :ivar scanned: readings that were looked at.
    :ivar complete: whether those are all there are; else the buckets after ``covered_until`` are empty for that reason.
    """

    since: int
    until: int
    width: int
    counts: list[int]
    series: list[Series]
    scanned: int
    complete: bool
    covered_until: int


class Stretches:
    """Takes readings, and keeps as much of them as fits into the stretches.

    :param since: milliseconds UTC; ``until``: the same, and later. :param wanted: how many stretches, at most.
    :param columns: the points.
    """

    def __init__(self, since: int, until: int, wanted: int, columns: Sequence[PointColumn]) -> None:
        self._since, self._until = since, until
        self._width = -(-(until - since) // wanted)
        count = -(-(until - since) // self._width)
        self._columns = columns
        self._counts = [0] * count
        self._lowest: list[list[float | None]] = [[None] * count for _ in columns]
        self._highest: list[list[float | None]] = [[None] * count for _ in columns]
        self._sums = [[0.0] * count for _ in columns]
        self._numbers = [[0] * count for _ in columns]

    def add(self, at: int, values: Sequence[float | None]) -> None:
        """A reading of some time in between."""
        place = (at - self._since) // self._width
        self._counts[place] += 1
        for point, value in enumerate(values):
            if value is None:
                continue
            lowest, highest = self._lowest[point], self._highest[point]
            low, high = lowest[place], highest[place]
            if low is None or value < low:
                lowest[place] = value
            if high is None or value > high:
                highest[place] = value
            self._sums[point][place] += value
            self._numbers[point][place] += 1

    def done(self, *, scanned: int, covered_until: int | None) -> Buckets:
        """Answer the finished buckets.

        :param covered_until: the time behind which nothing was looked at; None: everything was.
        """
        return Buckets(
            since=self._since,
            until=self._until,
            width=self._width,
            counts=self._counts,
            series=[self._series(place, column) for place, column in enumerate(self._columns)],
            scanned=scanned,
            complete=covered_until is None,
            covered_until=self._until if covered_until is None else covered_until,
        )

    def _series(self, place: int, column: PointColumn) -> Series:
        means = [
            round(total / number, column.decimals + 2) if number else None
            for total, number in zip(self._sums[place], self._numbers[place], strict=True)
        ]
        return Series(
            name=column.name,
            unit=column.unit,
            min=[_rounded(value, column) for value in self._lowest[place]],
            mean=means,
            max=[_rounded(value, column) for value in self._highest[place]],
        )


def _rounded(value: float | None, column: PointColumn) -> float | None:
    return None if value is None else round(value, column.decimals or None)
