"""One contract for every store."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, cast

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IReactorFromThreads
from twisted.trial.unittest import TestCase
from zope.interface.verify import verifyObject

from cmmd.store.interface import DuplicateDevice, IStore
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Device
from cmmd.store.sqlite import SQLiteStore

if TYPE_CHECKING:
    _Base = TestCase
else:
    _Base = object  # trial would run the contract itself

PLAIN = Device(hostid="A", hostname="", password_hash=None, moduletype="", registered_at=0)
FULL = Device(
    hostid="3439333633355115004B003D",
    hostname="柴油机 № 1 'quoted' \"twice\"; --",
    password_hash="scrypt$11$8$1$c2FsdA==$aGFzaA==",
    moduletype="HGM6120N-4G",
    module_port=2,
    module_baud=9_999_999,
    longitude="116.404",
    latitude="-39.915",
    altitude="8848.86",
    gpsen=0,
    enabled=False,
    registered_at=2**53,
    last_login_at=1_700_872_746_500,
)


class Contract(_Base):
    """What every store must do; mixed into a TestCase for each."""

    make: Callable[[], IStore]

    async def test_interface(self) -> None:
        store = self.make()
        self.assertTrue(verifyObject(IStore, store))
        await store.open()
        await store.close()

    async def test_empty(self) -> None:
        store = self.make()
        self.assertEqual(await store.open(), [])
        await store.close()

    async def test_what_was_added_comes_back_with_its_number(self) -> None:
        store = self.make()
        await store.open()
        self.assertEqual(await store.add_device(PLAIN), replace(PLAIN, number=1))
        self.assertEqual(await store.add_device(FULL), replace(FULL, number=2))
        await store.close()
        self.assertEqual(await store.open(), [replace(PLAIN, number=1), replace(FULL, number=2)])
        await store.close()

    async def test_update(self) -> None:
        store = self.make()
        await store.open()
        await store.add_device(FULL)
        device = await store.add_device(PLAIN)
        changed = replace(FULL, number=device.number, hostid="A")
        await store.update_device(changed)
        await store.close()
        self.assertEqual(await store.open(), [replace(FULL, number=1), changed])
        await store.close()

    async def test_update_of_what_is_not_there(self) -> None:
        store = self.make()
        await store.open()
        await store.update_device(replace(FULL, number=7))
        await store.close()
        self.assertEqual(await store.open(), [])
        await store.close()

    async def test_duplicate_spoils_nothing_else(self) -> None:
        store = self.make()
        await store.open()
        outcomes = [store.add_device(PLAIN), store.add_device(PLAIN), store.add_device(FULL)]
        self.assertEqual((await outcomes[0]).number, 1)
        await self.assertFailure(outcomes[1], DuplicateDevice)
        self.assertEqual((await outcomes[2]).hostid, FULL.hostid)
        await store.close()
        self.assertEqual([device.hostid for device in await store.open()], ["A", FULL.hostid])
        await store.close()

    async def test_order(self) -> None:
        store = self.make()
        await store.open()
        device = await store.add_device(PLAIN)
        names = [f"name {number}" for number in range(100)]
        await gatherResults([store.update_device(replace(device, hostname=name)) for name in names])
        await store.close()
        self.assertEqual([one.hostname for one in await store.open()], names[-1:])
        await store.close()

    async def test_many_at_once(self) -> None:
        store = self.make()
        await store.open()
        added = await gatherResults([store.add_device(replace(PLAIN, hostid=f"{n}")) for n in range(500)])
        self.assertEqual([device.number for device in added], list(range(1, 501)))
        await store.close()
        self.assertEqual([device.hostid for device in await store.open()], [f"{n}" for n in range(500)])
        await store.close()

    async def test_close_carries_out_what_was_asked_before(self) -> None:
        store = self.make()
        await store.open()
        waiting = [store.add_device(replace(PLAIN, hostid=f"{n}")) for n in range(10)]
        closing = store.close()
        self.assertEqual(len(await gatherResults(waiting)), 10)
        await closing
        self.assertEqual(len(await store.open()), 10)
        await store.close()

    async def test_a_cancelled_wait_changes_nothing(self) -> None:
        store = self.make()
        await store.open()
        waiting: Deferred[Device] = store.add_device(PLAIN)
        waiting.cancel()
        waiting.addErrback(lambda _: None)
        await store.add_device(FULL)
        await store.close()
        self.assertEqual([device.hostid for device in await store.open()], ["A", FULL.hostid])
        await store.close()


class MemoryContract(Contract, TestCase):
    def setUp(self) -> None:
        self.make = MemoryStore


class SQLiteContract(Contract, TestCase):
    def setUp(self) -> None:
        path = Path(self.mktemp())
        self.make = lambda: SQLiteStore(path, cast("IReactorFromThreads", reactor))
