"""Records of devices, one change at a time; maintenance locks beside settings, logins, and a store that refuses."""

import json
from collections.abc import Callable

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices.device_records import MOST_WAITING_A_DEVICE, WRITE_AGAIN_S, KeyedLock
from cmmd.fleet.errors import Locked, TooManyWaiting
from cmmd.store.interface import StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Device
from tests.plain_device import login, message
from tests.test_fleet_devices_registry import BrokenStore, HeldStore
from tests.uploads import AT_REST, STANDBY, full_upload
from tests.world import HOSTID, World


class TurnsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.turns = KeyedLock(2)
        self.running: list[str] = []

    def begin(self, hostid: str, name: str) -> tuple[Deferred[None], Deferred[None]]:
        """Work that ends when the second Deferred is fired."""
        finish: Deferred[None] = Deferred()

        async def work() -> None:
            async with self.turns.take(hostid):
                self.running.append(name)
                await finish
                self.running.remove(name)

        return Deferred.fromCoroutine(work()), finish

    def test_one_at_a_time_in_order_and_nothing_left(self) -> None:
        works = [self.begin("A", name) for name in ("first", "second", "third")]
        self.begin("B", "other")[1].callback(None)
        self.assertNotIn("B", self.turns)
        for name, (done, finish) in zip(("first", "second", "third"), works, strict=True):
            self.assertEqual(self.running, [name])
            self.assertIn("A", self.turns)
            finish.callback(None)
            self.successResultOf(done)
        self.assertNotIn("A", self.turns)

    def test_those_that_end_at_once(self) -> None:
        works = [self.begin("A", f"{number}") for number in range(3)]
        for _, finish in reversed(works):
            finish.callback(None)
        for done, _ in works:
            self.successResultOf(done)
        self.assertNotIn("A", self.turns)

    def test_too_many_waiting(self) -> None:
        works = [self.begin("A", f"{number}") for number in range(3)]
        self.failureResultOf(self.begin("A", "one more")[0], TooManyWaiting)
        for done, finish in works:
            finish.callback(None)
            self.successResultOf(done)


ELSEWHERE = "198.51.100.9"


class LockTestCase(SynchronousTestCase):
    """Has a device that is registered."""

    def begin(self, store: MemoryStore | None = None) -> None:
        self.world = World(store=store)
        self.world.register()
        self.world.write_batch()
        self.registry = self.world.registry

    def setting(self, **changes: object) -> Deferred[Device]:
        return Deferred.fromCoroutine(self.registry.set(HOSTID, "admin", **changes))

    def locking(self, reason: str = "belt off") -> Deferred[Device]:
        return Deferred.fromCoroutine(self.registry.lock(HOSTID, "bob", reason))

    def unlocking(self) -> Deferred[Device]:
        return Deferred.fromCoroutine(self.registry.unlock(HOSTID))

    def locked_after_a_kill(self) -> str | None:
        """What a new process on the same store says of the lock."""
        assert isinstance(self.world.store, MemoryStore)
        device = World(store=self.world.store).registry.device(HOSTID)
        assert device is not None
        return device.lock_reason


class SettingsTests(LockTestCase):
    def setUp(self) -> None:
        self.begin()

    def test_what_would_act_at_the_next_login(self) -> None:
        self.successResultOf(self.setting(set_baud=0))
        self.successResultOf(self.locking())
        blocked = self.world.fleet.dispatch.blocked(HOSTID, "command")
        for changes in ({"set_port": 0}, {"set_baud": 2}, {"set_baud": None}, {"profile": "hgm4000n", "data_mode": 0}):
            refused = self.failureResultOf(self.setting(**changes), Locked)
            self.assertEqual(str(refused.value), str(blocked))
        device = self.registry.device(HOSTID)
        assert device is not None
        said = (device.set_port, device.set_baud, device.profile, device.data_mode)
        self.assertEqual(said, (None, 0, None, None))
        self.assertEqual([one for one in self.world.events if one.details.get("setting") not in (None, "set_baud")], [])

    def test_all_else(self) -> None:
        self.successResultOf(self.setting(set_port=1))
        self.successResultOf(self.locking())
        self.successResultOf(self.setting(data_mode=0, online_rate=1000, history_interval=30, set_port=1, profile=None))
        self.successResultOf(self.setting(enabled=False))
        self.successResultOf(self.unlocking())
        self.assertEqual(self.successResultOf(self.setting(set_port=0)).set_port, 0)

    def test_a_lock_that_comes_while_the_change_waits(self) -> None:
        store = HeldStore()
        self.world.store = store
        self.registry._store = store
        first, second = self.setting(data_mode=0), self.setting(set_port=0)
        locking = self.locking()
        store.held[0].callback(None)
        self.successResultOf(first)
        self.failureResultOf(second, Locked)
        store.held[1].callback(None)
        self.assertIsNone(self.successResultOf(locking).set_port)


class LoginTests(LockTestCase):
    """The port that a login's answer gives a module whose owner has set another one."""

    def setUp(self) -> None:
        self.begin()
        self.successResultOf(self.setting(set_port=0, set_baud=2))

    def told(self) -> tuple[int, int]:
        transport = self.world.connect()
        transport.deliver(login(HOSTID, modulePort=2, moduleBaud=0))
        transport.turns()
        result = json.loads(transport.segments[-1])["result"]
        return result["modulePort"], result["moduleBaud"]

    def attach(self, peer: str = "192.0.2.7") -> Callable[[], None]:
        transport = self.world.connect(peer=peer)
        transport.deliver(message("LongCon", HOSTID))
        transport.turns()
        return transport.hang_up

    def say(self, **upload: object) -> None:
        transport = self.world.connect()
        for document in (message("LongCon", HOSTID), message(hostid=HOSTID, **upload)):  # type: ignore[arg-type]
            transport.deliver(document)
            transport.turns()
            self.world.write_batch()
            transport.turns()
        self.assertEqual(json.loads(transport.segments[-1])["retcode"], "000000")

    def test_nothing_speaks_against_it(self) -> None:
        self.attach()
        self.assertEqual(self.told(), (0, 2))

    def test_locked(self) -> None:
        self.successResultOf(self.locking())
        self.assertEqual([self.told(), self.told()], [(2, 0)] * 2)
        self.successResultOf(self.unlocking())
        self.assertEqual(self.told(), (0, 2))

    def test_inhibited(self) -> None:
        self.say(method="reqdatachange", params={}, InhbitRemote=1)
        self.assertEqual(self.told(), (2, 0))
        self.say(method="reqdatachange", params={}, InhbitRemote=0)
        self.assertEqual(self.told(), (0, 2))

    def test_locked_at_the_panel(self) -> None:
        self.say(method="reqdata", params=full_upload(STANDBY, {*AT_REST, 4}).params)
        self.assertEqual(self.told(), (2, 0))
        self.say(method="reqdata", params=full_upload().params)
        self.assertEqual(self.told(), (0, 2))

    def test_in_doubt(self) -> None:
        self.attach()
        self.attach(ELSEWHERE)
        self.assertEqual(self.world.presence.in_doubt(HOSTID), (ELSEWHERE,))
        self.assertEqual(self.told(), (2, 0))
        self.assertEqual(self.told(), (0, 2), "that login has ended the doubt")


class RefusedByTheStoreTests(LockTestCase):
    def setUp(self) -> None:
        self.store = BrokenStore()
        self.store.broken = False
        self.begin(self.store)
        self.store.broken = True
        self.failureResultOf(self.locking(), StoreUnavailable)

    def pass_time(self, attempts: int = 1) -> None:
        self.world.clock.pump([WRITE_AGAIN_S] * attempts)

    def test_written_as_soon_as_the_store_takes_it(self) -> None:
        self.pass_time(60)
        self.assertIsNone(self.locked_after_a_kill())
        self.store.broken = False
        self.pass_time()
        self.assertEqual(self.locked_after_a_kill(), "belt off")
        self.assertEqual(list(self.registry.unsaved_locks), [])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_the_newest_reason(self) -> None:
        self.failureResultOf(self.locking("belt and oil"), StoreUnavailable)
        self.store.broken = False
        self.pass_time()
        self.assertEqual(self.locked_after_a_kill(), "belt and oil")

    def test_unlocked_meanwhile(self) -> None:
        self.store.broken = False
        self.successResultOf(self.unlocking())
        self.pass_time(3)
        self.assertIsNone(self.locked_after_a_kill())
        self.assertEqual(self.world.clock.getDelayedCalls(), [])

    def test_an_unlock_that_is_refused_too(self) -> None:
        self.failureResultOf(self.unlocking(), StoreUnavailable)
        self.store.broken = False
        self.pass_time()
        self.assertEqual(self.locked_after_a_kill(), "belt off", "the operator was told that it stays locked")

    def test_at_an_orderly_end(self) -> None:
        self.store.broken = False
        self.successResultOf(self.world.fleet.save())
        self.assertEqual(self.locked_after_a_kill(), "belt off")
        self.assertEqual(self.world.clock.getDelayedCalls(), [])


class QueueTests(LockTestCase):
    def test_too_many_changes_wait(self) -> None:
        """Neither the lock nor the changes before it are lost, and the lock is written once for each attempt."""
        store = HeldStore()
        self.begin()
        self.registry._store = store
        changes = [self.setting(data_mode=number % 2) for number in range(MOST_WAITING_A_DEVICE + 1)]
        self.failureResultOf(self.locking(), TooManyWaiting)
        for change in changes:
            store.held[-1].callback(None)
            self.successResultOf(change)
        self.world.clock.advance(WRITE_AGAIN_S)
        self.world.clock.pump([WRITE_AGAIN_S] * 10)
        self.assertEqual(len(store.held), len(changes) + 1, "the store hangs: the write that waits is not repeated")
        store.held[-1].callback(None)
        self.assertEqual(list(self.registry.unsaved_locks), [])
        self.assertEqual(self.world.clock.getDelayedCalls(), [])
