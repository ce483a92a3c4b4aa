"""Rows that no cmmd has written: what is found of them costs no more than themselves."""

from collections.abc import Iterable
from typing import TypeVar

from twisted.logger import Logger

from cmmd.store.interface import StoreError

__all__ = ["CorruptRow", "all_or_corruption", "undamaged"]

T = TypeVar("T")


class CorruptRow(StoreError):
    """A row that no cmmd has written; the message names table and key."""


def undamaged(found: Iterable[T | CorruptRow], store: str, log: Logger) -> list[T]:
    """The records among what was found; the others are left out, with a line in the log.

    :param store: its name.
    """
    records = []
    for one in found:
        if isinstance(one, CorruptRow):
            log.warn("{store}: {damage}; it is left out", store=store, damage=one)
        else:
            records.append(one)
    return records


def all_or_corruption(found: Iterable[T | CorruptRow]) -> list[T]:
    """Return all records, or raise for damaged rows.

    :raises DamagedRow: one of them is damaged.
    """
    records = []
    for one in found:
        if isinstance(one, CorruptRow):
            raise one
        records.append(one)
    return records
