"""First logins, while the owner decides something about the same device: what the owner has decided counts."""

from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices.registry import LoginImpossible, LoginRefused, Policy
from cmmd.store.interface import StoreUnavailable
from cmmd.store.records import Device
from tests.test_fleet_devices_registry import HeldStore
from tests.world import HOSTID, World, login_params

SQUATTER = "198.51.100.66"


async def nothing() -> None:
    """Have nothing to do before a device is forgotten."""


class FirstLoginTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.begin("open")

    def begin(self, policy: Policy) -> None:
        self.world = World(policy=policy)
        self.registry = self.world.registry

    def login(self, password: str, address: str = SQUATTER) -> Deferred[Device]:
        return Deferred.fromCoroutine(self.registry.login(login_params(password=password), address))

    def held_login(self) -> Deferred[Device]:
        """Begin a stranger's login; its password is being hashed."""
        self.world.hold_passwords()
        login = self.login("stranger")
        self.held, self.world.held = self.world.held or [], None  # the owner's are computed at once
        return login

    def release(self) -> None:
        """Have the stranger's password hashed."""
        for computed, work in self.held:
            computed.callback(work())

    def enrol(self, password: str | None = None) -> Device:
        return self.successResultOf(Deferred.fromCoroutine(self.registry.enrol(HOSTID, password=password)))

    def forget(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.registry.forget(HOSTID, nothing)))

    def reset(self, password: str | None) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.registry.reset_password(HOSTID, password)))

    def assert_owners(self) -> None:
        """The owner's password counts, and a stranger's does not."""
        self.failureResultOf(self.login("stranger"), LoginRefused)
        self.assertEqual(self.successResultOf(self.login("owner", "192.0.2.7")).hostid, HOSTID)

    def test_enrolled_meanwhile(self) -> None:
        login = self.held_login()
        self.enrol("owner")
        self.release()
        self.failureResultOf(login, LoginImpossible)
        self.assert_owners()

    def test_enrolled_meanwhile_without_a_password(self) -> None:
        login = self.held_login()
        enrolled = self.enrol()
        self.release()
        self.failureResultOf(login, LoginImpossible)
        self.assertEqual(self.registry.device(HOSTID), enrolled)

    def test_password_set_meanwhile(self) -> None:
        self.enrol()
        login = self.held_login()
        self.reset("owner")
        self.release()
        self.failureResultOf(login, LoginImpossible)
        self.assert_owners()

    def test_password_being_kept(self) -> None:
        """The owner's change is before the stranger's, and not in memory yet."""
        store = HeldStore()
        self.world = World(store=store)
        self.registry = self.world.registry
        enrolling = Deferred.fromCoroutine(self.registry.enrol(HOSTID))
        store.held.pop().callback(None)
        self.successResultOf(enrolling)
        reset = Deferred.fromCoroutine(self.registry.reset_password(HOSTID, "owner"))
        login = self.login("stranger")
        store.held.pop().callback(None)
        self.successResultOf(reset)
        self.failureResultOf(login, LoginImpossible)
        self.assertEqual(store.held, [])

    def test_changed_right_after(self) -> None:
        """What waits for the stranger's password to be kept has ended before the stranger's login does."""
        for change in (lambda one: one.reset_password(HOSTID, "owner"), lambda one: one.forget(HOSTID, nothing)):
            store = HeldStore()
            self.world = World(store=store)
            registry = self.registry = self.world.registry
            enrolling = Deferred.fromCoroutine(registry.enrol(HOSTID))
            store.held.pop().callback(None)
            self.successResultOf(enrolling)
            login = self.login("stranger")
            changing = Deferred.fromCoroutine(change(registry))
            kept = store.held.pop()
            self.patch(store, "_held", lambda: succeed(None))
            kept.callback(None)
            self.successResultOf(changing)
            self.failureResultOf(login, LoginImpossible)
            device = registry.device(HOSTID)
            self.assertTrue(device is None or device.last_login_at is None)

    def test_forgotten_meanwhile(self) -> None:
        for policy in ("open", "known"):
            self.begin(policy)
            self.enrol()
            login = self.held_login()
            self.forget()
            self.release()
            self.failureResultOf(login, LoginImpossible)
            self.assertIsNone(self.registry.device(HOSTID))

    def test_a_failed_forget_leaves_the_order(self) -> None:
        for hostid in "ABC":
            self.successResultOf(Deferred.fromCoroutine(self.registry.enrol(hostid)))

        async def fails() -> None:
            raise StoreUnavailable("disk full")

        self.failureResultOf(Deferred.fromCoroutine(self.registry.forget("A", fails)), StoreUnavailable)
        self.assertEqual([one.hostid for one in self.registry.devices()], ["A", "B", "C"])

    def test_forgotten_and_enrolled_anew_meanwhile(self) -> None:
        self.enrol()
        login = self.held_login()
        self.forget()
        enrolled = self.enrol()
        self.release()
        self.failureResultOf(login, LoginImpossible)
        self.assertEqual(self.registry.device(HOSTID), enrolled)

    def test_disabled_meanwhile(self) -> None:
        self.enrol()
        login = self.held_login()
        self.successResultOf(Deferred.fromCoroutine(self.registry.set(HOSTID, "owner", enabled=False)))
        self.release()
        self.failureResultOf(login, LoginRefused)
        device = self.registry.device(HOSTID)
        assert device is not None
        self.assertIsNone(device.password_hash)

    def test_policy_changed_meanwhile(self) -> None:
        for policy in ("known", "approve"):
            self.begin("open")
            login = self.held_login()
            self.registry.enrolment.set_policy(policy)
            self.release()
            self.failureResultOf(login, LoginImpossible)
            self.assertIsNone(self.registry.device(HOSTID))

    def test_a_setting_changed_meanwhile(self) -> None:
        """That is no reason to send a device away, and is not lost."""
        self.enrol()
        login = self.held_login()
        self.successResultOf(Deferred.fromCoroutine(self.registry.set(HOSTID, "owner", history_interval=60)))
        self.release()
        self.assertEqual(self.successResultOf(login).history_interval, 60)
