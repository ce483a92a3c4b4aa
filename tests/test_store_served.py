"""The store that a state directory belongs to, on a whole daemon; another one is refused until that is meant."""

from pathlib import Path
from typing import Any, cast

from msgspec.structs import replace
from twisted.internet import reactor
from twisted.trial.unittest import TestCase

from cmmd import tap
from cmmd.config import Config, Server, Web
from cmmd.fleet.events import Kind
from cmmd.store.interface import StoreError
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Numbers
from cmmd.store.served import FILE, ServedStore, StoreExchanged
from cmmd.store.sqlite.store import SQLiteStore
from tests.control_world import folder
from tests.test_store_contract import EVENT, PLAIN

HERE = ["tcp:0:interface=127.0.0.1"]
LOCAL = Server(login=HERE, live=HERE, historic=HERE)
SETTINGS = Config(server=LOCAL, web=Web(listen=[]))


class DaemonTests(TestCase):
    timeout = 60.0

    def setUp(self) -> None:
        self.state = folder(self)  # with a short name: its socket has to fit
        self.file = self.state / "cmmd.sqlite"

    async def served(self, settings: Config = SETTINGS, *, devices: int = 0, accept: bool = False) -> int:
        """Start, let devices register, stop; how many there are."""
        server = tap.Server(settings, self.state, cast("Any", reactor), accept_new_store=accept)
        server.startService()
        assert server.fleet is not None
        for number in range(devices):
            await server._store.add_device(replace(PLAIN, hostid=f"D{number}"))
        count = len(server.fleet.registry) + devices
        await server.stopService()
        return count

    def refused(self, settings: Config = SETTINGS) -> str:
        server = tap.Server(settings, self.state, cast("Any", reactor))
        return str(self.assertRaises(SystemExit, server.startService))

    async def test_missing_emptied_and_exchanged(self) -> None:
        await self.served(devices=1)
        await self.served()
        whole = self.file.read_bytes()
        self.file.unlink()
        for _ in range(2):
            self.assertIn(f"the store {self.file} is missing, but {self.state} has served devices", self.refused())
        self.assertFalse(self.file.exists())
        self.file.touch()
        self.assertIn("is empty, but", self.refused())
        other = SQLiteStore(self.state / "other.sqlite", cast("Any", reactor))
        await other.open()
        await other.add_device(PLAIN)
        await other.close()
        (self.state / "other.sqlite").rename(self.file)
        self.assertIn("not the one from which", self.refused())
        self.assertIn("--accept-new-store", self.refused())
        self.file.write_bytes(whole)
        self.assertEqual(await self.served(), 1)

    async def test_accepted(self) -> None:
        await self.served(devices=1)
        await self.served()
        self.file.unlink()
        self.assertEqual(await self.served(accept=True), 0)
        self.assertEqual(await self.served(), 0)

    async def test_without_devices_another_one_may_come(self) -> None:
        await self.served()
        self.file.unlink()
        await self.served()

    async def test_the_first_device_counts_at_once(self) -> None:
        server = tap.Server(SETTINGS, self.state, cast("Any", reactor))
        server.startService()
        assert server.fleet is not None
        await server.fleet.registry.enrol("D1")
        server.fleet.events.emit(Kind.SERVER_STARTED, "", version="")
        self.assertIn('"has_devices":true', (self.state / FILE).read_text())
        await server.stopService()

    async def test_the_last_device_is_forgotten(self) -> None:
        """A store without devices is no emptied one then."""
        server = tap.Server(SETTINGS, self.state, cast("Any", reactor))
        server.startService()
        assert server.fleet is not None
        await server.fleet.registry.enrol("D1")
        server.fleet.events.emit(Kind.SERVER_STARTED, "", version="")
        await server.fleet.forget("D1")
        server.fleet.events.emit(Kind.DEVICE_FORGOTTEN, "D1", number=1, by="x", door="amp")
        self.assertIn('"has_devices":false', (self.state / FILE).read_text())
        await server.stopService()
        self.assertEqual(await self.served(), 0)


class RecordTests(TestCase):
    def setUp(self) -> None:
        self.state = Path(self.mktemp())
        self.state.mkdir()

    async def kept(self, **changes: Any) -> Any:
        store = MemoryStore()
        await store.open()
        await store.add_device(PLAIN)
        await store.write([replace(EVENT, number=7)])
        return replace(await store.open(), **{"identity": "a", **changes})

    async def test_copies(self) -> None:
        served = ServedStore(self.state)
        served.accept(await self.kept())
        served.accept_copy("b", "no copy of it")
        served.accept_copy("a", "c")
        for identity in ("a", "c"):
            served.check(await self.kept(identity=identity))
        self.assertRaises(StoreExchanged, served.check, await self.kept(identity="no copy of it"))

    async def test_a_copy_is_outdated_once_its_source_is_served_on(self) -> None:
        for goes_on in (
            lambda served, kept: served.accept(kept),
            lambda served, kept: served._goes_on_with(kept.identity),  # the database is unavailable at the start
        ):
            ServedStore(self.state).accept(await self.kept())
            ServedStore(self.state).accept_copy("a", "c")
            ServedStore(self.state).check(await self.kept(identity="c"))
            goes_on(ServedStore(self.state), await self.kept())
            self.assertRaises(StoreExchanged, ServedStore(self.state).check, await self.kept(identity="c"))

    async def test_numbers_of_a_former_file_that_cannot_be_read(self) -> None:
        ServedStore(self.state).accept(await self.kept(numbers=Numbers(event=9)))
        ServedStore(self.state).accept_restored("a", Numbers(event=3, alarm=2), has_devices=True)
        checked = ServedStore(self.state).check(await self.kept(numbers=Numbers(event=3, alarm=2)))
        self.assertEqual(checked.numbers, Numbers(event=9, alarm=2))
        ServedStore(self.state).accept_restored("another", Numbers(event=3), has_devices=True)
        checked = ServedStore(self.state).check(await self.kept(identity="another", numbers=Numbers(event=3)))
        self.assertEqual(checked.numbers, Numbers(event=3))

    async def test_devices_were_deleted(self) -> None:
        ServedStore(self.state).accept(await self.kept())
        self.assertRaises(StoreExchanged, ServedStore(self.state).check, await self.kept(devices=[]))

    async def test_numbers_never_come_again(self) -> None:
        ServedStore(self.state).accept(await self.kept(numbers=Numbers(event=9, reading=3)))
        checked = ServedStore(self.state).check(await self.kept(numbers=Numbers(event=2, reading=5)))
        self.assertEqual(checked.numbers, Numbers(event=9, reading=5))

    async def test_damaged_record(self) -> None:
        (self.state / FILE).write_text("{")
        kept = await self.kept()
        self.assertIn(FILE, str(self.assertRaises(StoreError, ServedStore(self.state).check, kept)))
