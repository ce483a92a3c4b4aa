"""Open the store that a URL names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from cmmd.store.interface import IStore
from cmmd.store.memory import MemoryStore
from cmmd.store.postgres.store import PostgresStore
from cmmd.store.sqlite.store import SQLiteStore

__all__ = ["store_at"]


def store_at(url: str, folder: Path, reactor: Any, password_file: Path | None = None) -> IStore:
    """The store that a URL names, not open yet.

    :param url: ``memory:``, ``sqlite:FILE`` or ``postgresql://...``.
    :param folder: where relative paths begin.
    :param password_file: has the password of a database; None: it comes another way.
    :raises ValueError: there is no such store; one line that says why, without a password.
    """
    scheme, _, rest = url.partition(":")
    make = _STORES.get(scheme)
    if make is None:
        raise ValueError(f"{scheme!r} is none of {', '.join(sorted(_STORES))}")
    if password_file is not None:
        password_file = folder / password_file
    return make(_Place(url, rest, folder, reactor, password_file))


class _Place(NamedTuple):
    """The place that a URL names; ``rest`` is the part behind the scheme."""

    url: str
    rest: str
    folder: Path
    reactor: Any
    password_file: Path | None


def _memory(place: _Place) -> IStore:
    if place.rest:
        raise ValueError("nothing may follow memory:")
    return MemoryStore()


def _sqlite(place: _Place) -> IStore:
    if not place.rest:
        raise ValueError("sqlite:FILE needs the file")
    return SQLiteStore(place.folder / place.rest, place.reactor)


def _postgres(place: _Place) -> IStore:
    return PostgresStore(place.url, place.reactor, place.password_file)


_STORES: dict[str, Callable[[_Place], IStore]] = {
    "memory": _memory,
    "postgres": _postgres,
    "postgresql": _postgres,
    "sqlite": _sqlite,
}
