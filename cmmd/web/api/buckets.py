"""Many readings as few numbers: lowest, mean and highest value of each stretch of time. No store, no clock."""

from collections.abc import Sequence

from msgspec import Struct

from cmmd.store.records import PointColumn

__all__ = ["Buckets", "Series", "Stretches"]


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

    :param since: milliseconds UTC; likewise ``until``, which is later. :param wanted: how many stretches, at most.
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
        """What has become of them.

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
