"""Values that a database has no column for, as bytes and text."""

import sys
from array import array
from collections.abc import Sequence
from math import inf, nan

from msgspec import json

from cmmd.store.records import Detail

__all__ = ["pack_details", "pack_points", "unpack_details", "unpack_points"]


def pack_points(points: Sequence[float | None]) -> bytes:
    """The points of a reading: little-endian in single precision, NaN for None."""
    values = array("f", [nan if value is None else value for value in points])
    if sys.byteorder == "big":
        values.byteswap()
    return values.tobytes()


def unpack_points(packed: bytes) -> tuple[float | None, ...]:
    """Unpack the result of :func:`pack_points`. A value outside single precision is None.

    :raises ValueError: its length is wrong.
    """
    values = array("f")
    values.frombytes(packed)
    if sys.byteorder == "big":
        values.byteswap()
    return tuple([value if -inf < value < inf else None for value in values])


def pack_details(details: dict[str, Detail]) -> str:
    """The details of an event as JSON; a number that JSON cannot hold becomes null.

    :raises TypeError: one of them is none of the types of Detail.
    """
    return json.encode(details).decode()


def unpack_details(packed: str) -> dict[str, Detail]:
    """Unpack the result of :func:`pack_details`.

    :raises msgspec.DecodeError: this is something else.
    """
    return json.decode(packed, type=dict[str, Detail])
