"""The reserve of a state directory: made while there is room, used by a start on a full disk."""

import errno
import os
from collections import namedtuple
from pathlib import Path

from twisted.internet.defer import Deferred, fail, succeed
from twisted.trial.unittest import TestCase

from cmmd.store import reserve
from cmmd.store.interface import Snapshot, StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.reserve import BYTES, LEAST_FREE, Reserve
from cmmd.store.served import ServedStore

Space = namedtuple("Space", "f_bavail f_frsize")


class ShortStore(MemoryStore):
    """Opens once there is room for it."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._folder = folder

    def open(self) -> Deferred[Snapshot]:
        if reserve._free(self._folder) < BYTES:
            return fail(StoreUnavailable("database or disk is full"))
        return succeed(Snapshot(devices=[], profiles=[], uploads=[], alarms=[]))


class ReserveTests(TestCase):
    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.file = self.folder / "reserve"
        self.room = 2 * LEAST_FREE
        self.patch(os, "statvfs", lambda _: Space(self.room - self._used(), 1))

    def _used(self) -> int:
        return self.file.stat().st_size if self.file.exists() else 0

    def test_made_where_there_is_room(self) -> None:
        Reserve(self.folder).fill()
        Reserve(self.folder).fill()
        self.assertEqual(self.file.stat().st_size, BYTES)
        self.assertGreaterEqual(self.file.stat().st_blocks * 512, BYTES)

    def test_not_made_where_there_is_little(self) -> None:
        self.room = LEAST_FREE - 1
        Reserve(self.folder).fill()
        self.assertFalse(self.file.exists())

    def test_nothing_to_spend(self) -> None:
        self.assertFalse(Reserve(self.folder).spend())
        self.room = 0
        self.assertFalse(Reserve(self.folder).spend())
        self.assertFalse(Reserve(self.folder / "missing").spend())

    def test_it_cannot_be_made(self) -> None:
        def refuse(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        self.patch(os, "posix_fallocate", refuse)
        Reserve(self.folder).fill()

    async def test_a_start_on_a_full_disk(self) -> None:
        await ServedStore(self.folder).open(ShortStore(self.folder), accept_new=False)
        self.assertTrue(self.file.exists())
        self.room = BYTES + 1
        await ServedStore(self.folder).open(ShortStore(self.folder), accept_new=False)
        self.assertFalse(self.file.exists())
        self.room = 1
        with self.assertRaises(StoreUnavailable):
            await ServedStore(self.folder).open(ShortStore(self.folder), accept_new=False)
