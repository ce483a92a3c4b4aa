"""Translate a query into the form that every store works with."""

from cmmd.store.interface import MOST_A_PAGE
from cmmd.store.records import Cursor, Query

__all__ = ["page_length", "span"]

_LEAST, _MOST = -(2**63), 2**63 - 1  # what a column can hold


def span(query: Query) -> tuple[Cursor, Cursor]:
    """Compute the places that enclose a query's records: behind the first, before the second.

    Numbers start at 1, so number 0 is the place before all records of its time.
    """
    start = Cursor(_LEAST if query.since is None else query.since, 0)
    end = Cursor(_MOST if query.until is None else query.until, 0)
    if query.after is not None:
        if query.newest_first:
            end = min(end, query.after)
        else:
            start = max(start, query.after)
    return _within_range(start), _within_range(end)


def page_length(query: Query) -> int:
    """Compute the length of a page; at least 1, so that turning pages ends."""
    return min(max(query.limit, 1), MOST_A_PAGE)


def _within_range(place: Cursor) -> Cursor:
    return Cursor(min(max(place.at, _LEAST), _MOST), min(max(place.number, _LEAST), _MOST))
