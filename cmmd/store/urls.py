"""Which store a URL names."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from cmmd.store.interface import IStore
from cmmd.store.memory import MemoryStore
from cmmd.store.sqlite import SQLiteStore

__all__ = ["store_at"]


def store_at(url: str, folder: Path, reactor: Any) -> IStore:
    """The store that a URL names, not open yet.

    :param url: ``memory:`` or ``sqlite:FILE``.
    :param folder: where relative paths begin.
    :raises ValueError: there is no such store; one line that says why, without a password.
    """
    scheme, _, rest = url.partition(":")
    make = _STORES.get(scheme)
    if make is None:
        raise ValueError(f"{scheme!r} is none of {', '.join(sorted(_STORES))}")
    return make(rest, folder, reactor)


def _memory(rest: str, _folder: Path, _reactor: Any) -> IStore:
    if rest:
        raise ValueError("nothing may follow memory:")
    return MemoryStore()


def _sqlite(path: str, folder: Path, reactor: Any) -> IStore:
    if not path:
        raise ValueError("sqlite:FILE needs the file")
    return SQLiteStore(folder / path, reactor)


_STORES: dict[str, Callable[[str, Path, Any], IStore]] = {
    "memory": _memory,
    "sqlite": _sqlite,
}
