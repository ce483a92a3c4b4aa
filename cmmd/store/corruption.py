"""Rows that no cmmd has written: what is found of them costs no more than themselves."""

from collections.abc import Iterable
from typing import TypeVar

from twisted.logger import Logger

from cmmd.store.interface import StoreError

__all__ = ["DamagedRow", "all_or_damage", "undamaged"]

T = TypeVar("T")


class DamagedRow(StoreError):
    """A row that no cmmd has written; the message names table and key."""


def undamaged(found: Iterable[T | DamagedRow], store: str, log: Logger) -> list[T]:
    """The records among what was found; the others are left out, with a line in the log.

    :param store: its name.
    """
    records = []
    for one in found:
        if isinstance(one, DamagedRow):
            log.warn("{store}: {damage}; it is left out", store=store, damage=one)
        else:
            records.append(one)
    return records


def all_or_damage(found: Iterable[T | DamagedRow]) -> list[T]:
    """What was found, all of it.

    :raises DamagedRow: one of them is damaged.
    """
    records = []
    for one in found:
        if isinstance(one, DamagedRow):
            raise one
        records.append(one)
    return records
