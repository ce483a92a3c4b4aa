"""Recognise the store that a state directory has served devices from.

An emptied or missing store looks like a new one: every device would register anew, without its settings, and no alarm
would be open. So a store that is not the known one is refused until the operator says that it is meant.
"""

import os
from collections.abc import Callable, Sized
from contextlib import suppress
from pathlib import Path

from msgspec import DecodeError, Struct, json
from msgspec.structs import asdict, replace
from twisted.logger import Logger

from cmmd.atomic_file import write_kept
from cmmd.store.interface import IStore, Snapshot, StoreError, StoreUnavailable
from cmmd.store.outbox.overlay import highest
from cmmd.store.outbox.spooled import SpooledStore
from cmmd.store.records import Numbers
from cmmd.store.reserve import Reserve
from cmmd.store.sqlite.store import SQLiteStore

__all__ = ["ServedStore", "StoreExchanged"]

log = Logger()

FILE = "served-store.json"
"""In the state directory."""

_WAY_OUT = (
    "set [store] url to the right one, or bring a backup back with `cmmctl store restore FILE`;"
    " to go on with this one, start once with --accept-new-store"
)


class StoreExchanged(StoreError):
    """The store is not the one that this state directory has served devices from."""


class _Served(Struct):
    """The content of the file.

    :ivar has_devices: whether one has registered.
    :ivar numbers: the highest ones that are known to be given.
    :ivar copies: identities of stores that this one was copied to since.
    """

    identity: str
    has_devices: bool = False
    numbers: Numbers = Numbers()
    copies: list[str] = []


class ServedStore:
    """The store that a state directory belongs to.

    :param state: the state directory.
    """

    def __init__(self, state: Path) -> None:
        self._state = state
        self._file = state / FILE
        self._reserve = Reserve(state)
        self._served: _Served | None = None

    async def open(self, store: IStore, *, accept_new: bool) -> Snapshot:
        """Open a store, if it is the one that was served before.

        :param store: the store itself, or the one in front of it.
        :param accept_new: whether it may be another one.
        :return: what it has, with no number below one that is known to be given: numbers never come again.
        :raises StoreExchanged: it is another one, or has lost its devices.
        :raises StoreError: as IStore says.
        """
        behind = store.store if isinstance(store, SpooledStore) else store
        if isinstance(behind, SQLiteStore) and not accept_new:
            self.check_file(behind.path)
        kept = await self._open_on_a_full_disk(store)
        if isinstance(store, SpooledStore) and not store.health().up:
            self._goes_on_with(kept.identity)
            return kept  # from a copy, whose store is compared when it comes
        if not accept_new:
            kept = self.check(kept)
        self.accept(kept)
        return kept

    async def _open_on_a_full_disk(self, store: IStore) -> Snapshot:
        try:
            kept = await store.open()
        except StoreUnavailable:
            if not self._reserve.spend():
                raise
            return await store.open()
        self._reserve.fill()
        return kept

    def follow(self, subscribe: Callable[[Callable[[object], None]], Callable[[], None]], devices: Sized) -> None:
        """Note when the store gets its first device, and when its last one is forgotten.

        :param subscribe: to events: each first login is one, and each device that is forgotten.
        :param devices: all that are registered.
        """
        if self._served is None:
            return
        noted = self._served.has_devices

        def look(_: object) -> None:
            nonlocal noted
            if bool(devices) != noted:
                noted = not noted
                self._note_devices(noted)

        subscribe(look)

    def check_file(self, store: Path) -> None:
        """Look at an embedded store before it is opened, which would make a new one.

        :raises StoreExchanged: it is missing or empty, and was not.
        """
        served = self._read()
        if served is None or not served.has_devices:
            return
        if not store.exists() or not store.stat().st_size:
            is_there = "empty" if store.exists() else "missing"
            raise StoreExchanged(f"the store {store} is {is_there}, but {self._state} has served devices: {_WAY_OUT}")

    def check(self, kept: Snapshot) -> Snapshot:
        """Look at what a store has.

        :return: the same, with no number below one that is known to be given: numbers never come again.
        :raises StoreExchanged: it is another one, or has lost its devices.
        """
        served = self._read()
        if served is None or not kept.identity:
            return kept
        if served.has_devices and kept.identity not in (served.identity, *served.copies):
            raise StoreExchanged(f"the store is not the one from which {self._state} has served devices: {_WAY_OUT}")
        if served.has_devices and not kept.devices:
            raise StoreExchanged(f"the store has no devices, but {self._state} has served some from it: {_WAY_OUT}")
        if kept.identity != served.identity:
            return kept
        numbers = highest(kept.numbers, served.numbers)
        if numbers != kept.numbers:
            lacking = [name for name, number in asdict(numbers).items() if number != getattr(kept.numbers, name)]
            log.warn(
                "the store is older than {state}: a backup was brought back? Not in it are, at least, each {kinds}"
                " after number {numbers}",
                state=self._state,
                kinds=" and ".join(lacking),
                numbers=" and ".join(str(getattr(kept.numbers, name)) for name in lacking),
            )
        return replace(kept, numbers=numbers)

    def accept(self, kept: Snapshot) -> None:
        """Note a store as the one of this state directory; its numbers, and whether it has devices, too."""
        if kept.identity:
            self._write(_Served(kept.identity, bool(kept.devices), kept.numbers))

    def accept_restored(self, identity: str, numbers: Numbers, *, has_devices: bool) -> None:
        """Note a store that was brought back from a backup, whichever was served before.

        :raises OSError: it cannot be written, and the next start would refuse the store.
        """
        with suppress(StoreError):  # a damaged one is replaced
            served = self._read()
            if served is not None and served.identity == identity:
                numbers = highest(numbers, served.numbers)
        write_kept(self._file, json.encode(_Served(identity, has_devices, numbers)).decode(), mode=0o640)
        if os.geteuid() == 0:  # the daemon's user reads it
            owner = self._state.stat()
            os.chown(self._file, owner.st_uid, owner.st_gid)

    def accept_copy(self, former: str, identity: str) -> None:
        """Note that a store was copied to another one, which is now as good as it.

        :param former: identity of the copied store. :param identity: of the copy.
        """
        served = self._read()
        if served is not None and served.identity == former:
            self._write(replace(served, copies=[*served.copies, identity]))

    def _note_devices(self, has_devices: bool) -> None:
        if self._served is not None:
            self._write(replace(self._served, has_devices=has_devices))

    def _goes_on_with(self, identity: str) -> None:
        """Note that devices are served from a store that is unavailable: its copies lack what comes now."""
        served = self._read()
        if served is not None and served.identity == identity and served.copies:
            self._write(replace(served, copies=[]))

    def _read(self) -> _Served | None:
        try:
            self._served = json.decode(self._file.read_bytes(), type=_Served)
        except FileNotFoundError:
            self._served = None
        except DecodeError as error:
            raise StoreError(f"{self._file}: {error}; put it away if the store is the right one") from None
        return self._served

    def _write(self, served: _Served) -> None:
        try:
            write_kept(self._file, json.encode(served).decode(), mode=0o640)
        except OSError as error:  # without it a start is not refused, which is no reason not to serve
            log.error("{file}: {error}", file=self._file, error=error.strerror)
            return
        self._served = served
