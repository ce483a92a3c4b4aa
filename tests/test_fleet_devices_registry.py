"""The registry: registration, enrolment, passwords, what is kept of a device."""

from collections.abc import Sequence

from msgspec.structs import replace
from twisted.internet.defer import Deferred, fail
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.alarms.alarms import PASSWORD_GUESSED
from cmmd.fleet.devices import passwords
from cmmd.fleet.devices.device_records import MOST_WAITING_A_DEVICE
from cmmd.fleet.devices.networks import Networks
from cmmd.fleet.devices.password_check import ELSEWHERE_BURST, PAIR_BURST, QUIET_S
from cmmd.fleet.devices.registry import LoginImpossible, LoginRefused
from cmmd.fleet.devices.strangers import ANSWER_AFTER_S
from cmmd.fleet.errors import BadArgument
from cmmd.store.interface import StoreUnavailable
from cmmd.store.memory import MemoryStore
from cmmd.store.records import Device, Row
from cmmd.wire.errors import Reason
from cmmd.wire.retcodes import Retcode
from tests.world import HOSTID, START_S, World, login_params


class HeldStore(MemoryStore):
    """Confirms when the test says so."""

    def __init__(self) -> None:
        super().__init__()
        self.held: list[Deferred[None]] = []

    def _held(self) -> Deferred[None]:
        self.held.append(Deferred())
        return self.held[-1]

    def add_device(self, device: Device) -> Deferred[Device]:
        return self._held().addCallback(lambda _: super(HeldStore, self).add_device(device))

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        if not any(isinstance(row, Device) for row in rows):
            return super().write(rows)
        return self._held().addCallback(lambda _: super(HeldStore, self).write(rows))


class BrokenStore(MemoryStore):
    """A disk that is full."""

    broken = True

    def add_device(self, device: Device) -> Deferred[Device]:
        return fail(StoreUnavailable("disk full")) if self.broken else super().add_device(device)

    def write(self, rows: Sequence[Row]) -> Deferred[None]:
        return fail(StoreUnavailable("disk full")) if self.broken else super().write(rows)


class RegistryTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()

    def login(self, address: str = "192.0.2.7", **changed: object) -> Deferred[Device]:
        return Deferred.fromCoroutine(
            self.world.registry.login(login_params(**changed), address)  # type: ignore[arg-type]
        )

    def logged_in(self, **changed: object) -> Device:
        return self.successResultOf(self.login(**changed))  # type: ignore[arg-type]

    def refused(self, **changed: object) -> LoginRefused:
        error = self.failureResultOf(self.login(**changed), LoginRefused).value  # type: ignore[arg-type]
        assert isinstance(error, LoginRefused)
        return error

    def kept(self) -> list[Device]:
        return self.successResultOf(self.world.store.open()).devices

    def test_first_login_registers(self) -> None:
        device = self.logged_in(longitude="116.4", gpsen=1)
        assert device.password_hash is not None
        self.assertTrue(device.password_hash.startswith("scrypt$"))
        expected = Device(
            number=1,
            hostid=HOSTID,
            hostname="Genset 1",
            password_hash=device.password_hash,
            moduletype="HGM6120N",
            module_port=2,
            module_baud=0,
            longitude="116.4",
            gpsen=1,
            para_command="01010000005ABC31;01030000002D85D7;0103002E000AA5C4",
            registered_at=int(START_S * 1000),
            last_login_at=int(START_S * 1000),
            last_login_address="192.0.2.7",
        )
        self.assertEqual(device, expected)
        self.assertEqual(self.kept(), [expected])
        self.assertEqual(self.world.registry.device(HOSTID), expected)
        self.assertEqual(len(self.world.registry), 1)

    def test_later_login_updates_what_is_said(self) -> None:
        first = self.logged_in(longitude="116.4")
        self.world.clock.advance(60)
        second = self.logged_in(hostname="New name", moduletype="HGM4020N", modulePort=None, moduleBaud=1)
        expected = replace(
            first,
            hostname="New name",
            moduletype="HGM4020N",
            para_command="010100000055FC35;010300000052C437",
            module_baud=1,
            last_login_at=int((START_S + 60) * 1000),
        )
        self.assertEqual(second, expected)
        self.assertEqual(self.kept(), [expected])

    def test_login_without_news_does_not_wait_for_the_store(self) -> None:
        store = HeldStore()
        self.world = World(store=store)
        registering = self.login()
        store.held.pop().callback(None)
        self.successResultOf(registering)
        self.world.clock.advance(5)
        device = self.logged_in()
        store.held.pop().callback(None)
        self.assertEqual(device.last_login_at, int((START_S + 5) * 1000))
        self.assertEqual(self.kept(), [device])

    def test_news_are_kept_before_they_are_confirmed(self) -> None:
        store = HeldStore()
        self.world = World(store=store)
        registering = self.login()
        self.assertNoResult(registering)
        store.held.pop().callback(None)
        self.successResultOf(registering)
        renaming = self.login(hostname="New name")
        self.assertNoResult(renaming)
        again = self.login()  # waits for its turn: the record is being written
        self.assertNoResult(again)
        store.held.pop().callback(None)
        self.assertEqual(self.successResultOf(renaming).hostname, "New name")
        store.held.pop().callback(None)
        self.assertEqual(self.successResultOf(again).hostname, "Genset 1")
        self.assertEqual([device.hostname for device in self.kept()], ["Genset 1"])

    def test_two_first_logins_at_once_register_once(self) -> None:
        store = HeldStore()
        self.world = World(store=store)
        first, second = self.login(), self.login()
        wrong = self.login(password="654321")
        self.assertEqual(len(store.held), 1)
        store.held.pop().callback(None)
        self.assertEqual(self.successResultOf(first).number, 1)
        self.failureResultOf(wrong, LoginRefused)
        store.held.pop().callback(None)
        self.assertEqual(self.successResultOf(second).number, 1)
        self.assertEqual(len(self.kept()), 1)

    def test_wrong_password_touches_nothing(self) -> None:
        before = self.logged_in()
        error = self.refused(password="654321", hostname="Mine")
        self.assertEqual((error.reason, error.retcode), (Reason.WRONG_PASSWORD, Retcode.WRONG_PASSWORD))
        self.assertEqual(self.kept(), [before])
        self.assertEqual(self.world.registry.wrong_passwords, {HOSTID: 1})

    def test_wrong_passwords_are_held_back(self) -> None:
        self.logged_in()
        self.refused(password="1")
        second = self.login(password="2")
        self.assertNoResult(second)
        third = self.refused(password="3")
        self.assertEqual((third.reason, third.retcode), (Reason.THROTTLED, Retcode.TRY_AGAIN))
        self.assertEqual(self.logged_in(address="192.0.2.8").hostid, HOSTID)
        self.world.clock.advance(1)
        self.failureResultOf(second, LoginRefused)
        right = self.login()
        self.world.clock.advance(2)
        self.successResultOf(right)
        self.logged_in()

    def test_right_password_waits_for_no_wrong_one(self) -> None:
        """Of the same address, as behind a carrier's NAT: 70 of 70 tries are taken while somebody guesses."""
        self.logged_in()
        for turn in range(70):
            guesses = [self.login(password=f"{turn} {number}") for number in range(3)]
            self.assertEqual(self.logged_in().hostid, HOSTID)
            self.world.clock.advance(30)
            for guess in guesses:
                self.failureResultOf(guess, LoginRefused)
        self.assertEqual(self.world.scrypts, 1)

    def test_right_password_after_a_restart_waits_for_no_guess_from_elsewhere(self) -> None:
        """No password is remembered then, and each has to be computed."""
        self.logged_in()
        self.world.passwords.forget(HOSTID)
        self.world.hold_passwords()
        guesses = [self.login(address=f"198.51.100.{number}", password="guess") for number in range(50)]
        right = self.login()
        self.assertEqual(len(self.world.held or []), 2)
        self.assertEqual(sum(not guess.called for guess in guesses), 1 + MOST_WAITING_A_DEVICE)
        self.world.release_passwords()
        self.assertEqual(self.successResultOf(right).hostid, HOSTID)
        self.assertEqual(self.world.registry.wrong_passwords, {HOSTID: 1 + MOST_WAITING_A_DEVICE})
        for guess in guesses:
            self.failureResultOf(guess, LoginRefused)

    def test_guesses_from_many_addresses_are_few_and_alarm(self) -> None:
        """200 addresses, each as fast as it can: what is compared is bounded, and the device notices nothing."""
        self.logged_in()
        for second in range(6):
            for number in range(200):
                guess = self.login(address=f"198.51.{number // 250}.{number % 250}", password=f"{second}")
                guess.addErrback(lambda _: None)
            self.assertEqual(self.logged_in().hostid, HOSTID)
            self.world.clock.advance(1)
        # The first one of each address, and then one a second.
        self.assertLess(self.world.registry.wrong_passwords[HOSTID], 200 + ELSEWHERE_BURST + 7)
        self.assertEqual(self.logged_in(address="203.0.113.9").hostid, HOSTID)  # it has moved meanwhile
        self.assertEqual([alarm.signal for alarm in self.world.fleet.alarms.open_alarms(HOSTID)], ["password_guessed"])
        self.world.clock.advance(QUIET_S)
        self.world.clock.advance(QUIET_S)
        self.assertEqual(self.world.fleet.alarms.open_alarms(HOSTID), [])

    def test_one_address_at_full_speed(self) -> None:
        """10 passwords a second are compared where an address, even the device's own, guesses without a pause."""
        self.logged_in()
        for _ in range(100):
            for number in range(10):
                self.login(password=f"{number}").addErrback(lambda _: None)
            self.world.clock.advance(0.1)
        self.assertLess(self.world.registry.wrong_passwords[HOSTID], PAIR_BURST + 100 + 2)

    def test_alarm_of_before_a_restart_ends_with_a_login(self) -> None:
        device = self.logged_in()
        self.world.fleet.alarms.raise_own(HOSTID, PASSWORD_GUESSED)
        self.world.fleet.logged_in(device)
        self.assertEqual(self.world.fleet.alarms.open_alarms(HOSTID), [])

    def test_fresh_registrations_of_an_address_are_few(self) -> None:
        """20 at once, and 20 a minute; known devices behind the same NAT are not counted."""
        taken = [self.login(hostid=f"NEW{number}", address="198.51.100.7") for number in range(30)]
        self.assertEqual(len(self.world.registry), 20)
        self.world.clock.advance(ANSWER_AFTER_S)
        for one in taken[20:]:
            error = self.failureResultOf(one, LoginRefused).value
            assert isinstance(error, LoginRefused)
            self.assertEqual((error.reason, error.retcode), (Reason.THROTTLED, Retcode.TRY_AGAIN))
        for _ in range(5):
            for number in range(20):
                self.logged_in(hostid=f"NEW{number}", address="198.51.100.7")
        self.logged_in(hostid="OTHER", address="198.51.100.8")
        self.world.clock.advance(60)
        for number in range(20, 30):
            self.logged_in(hostid=f"NEW{number}", address="198.51.100.7")

    def test_registrations_of_an_ipv6_subscriber_count_together(self) -> None:
        for number in range(40):
            self.login(hostid=f"NEW{number}", address=f"[2001:db8:1:1::{number:x}]").addErrback(lambda _: None)
        self.assertEqual(len(self.world.registry), 20)

    def test_a_fleet_of_this_machine_registers_at_once(self) -> None:
        for number in range(50):
            self.logged_in(hostid=f"SIM{number}", address="127.0.0.1")

    def test_exempt_network(self) -> None:
        self.world = World(exempt=Networks(["10.8.0.0/16"]))
        for number in range(50):
            self.logged_in(hostid=f"VPN{number}", address="10.8.3.4")

    def test_a_used_up_budget_answers_known_and_unknown_hostids_alike(self) -> None:
        """The same code, after the same time."""
        self.world = World(policy="known")
        self.successResultOf(Deferred.fromCoroutine(self.world.registry.enrol(HOSTID, password="123456")))
        self.logged_in()
        for number in range(20):
            refusal = self.refused(hostid=f"GUESS{number}", address="198.51.100.7")
            self.assertEqual(refusal.retcode, Retcode.NOT_ENROLLED)
        unknown = self.login(hostid="GUESS", address="198.51.100.7")
        known = self.login(password="guess", address="198.51.100.7")
        self.assertEqual((unknown.called, known.called), (False, False))
        self.world.clock.advance(ANSWER_AFTER_S)
        texts = [str(self.failureResultOf(one, LoginRefused).value) for one in (unknown, known)]
        self.assertEqual(texts, ["too many attempts"] * 2)
        self.assertEqual(self.logged_in(address="198.51.100.7").hostid, HOSTID)

    def test_hostids_that_are_no_names(self) -> None:
        for hostid in ("..", ".", "a/b", "a b", "<script>", "a%2e", "", "x" * 25):
            self.failureResultOf(Deferred.fromCoroutine(self.world.registry.enrol(hostid)), BadArgument)

    def test_reconnecting_fleet_costs_no_scrypt(self) -> None:
        for number in range(20):
            self.logged_in(hostid=f"device-{number}")
        self.assertEqual(self.world.scrypts, 20)
        for _ in range(5):
            for number in range(20):
                self.logged_in(hostid=f"device-{number}")
        self.assertEqual(self.world.scrypts, 20)

    def test_enrolment_closed(self) -> None:
        self.world = World(policy="known")
        self.assertEqual(self.refused().retcode, Retcode.NOT_ENROLLED)
        self.assertEqual(self.world.scrypts, 0)
        self.assertEqual(self.kept(), [])

    def test_enrolled_device_sets_its_password_at_the_first_login(self) -> None:
        self.world = World(policy="known")
        enrolled = Device(hostid=HOSTID, hostname="", password_hash=None, moduletype="", registered_at=5)
        enrolled = self.successResultOf(self.world.store.add_device(enrolled))
        self.world.registry._devices[HOSTID] = enrolled
        device = self.logged_in()
        self.assertEqual((device.number, device.registered_at, device.hostname), (1, 5, "Genset 1"))
        self.assertIsNotNone(device.password_hash)
        self.assertEqual(self.kept(), [device])
        self.assertEqual(self.refused(password="1").retcode, Retcode.WRONG_PASSWORD)

    def test_disabled_device(self) -> None:
        self.logged_in()
        devices = self.world.registry._devices
        devices[HOSTID] = replace(devices[HOSTID], enabled=False)
        self.assertEqual(self.refused().retcode, Retcode.NOT_ENROLLED)
        devices[HOSTID] = replace(devices[HOSTID], password_hash=None)
        self.assertEqual(self.refused().retcode, Retcode.NOT_ENROLLED)

    def test_no_more_devices_than_configured(self) -> None:
        self.world = World(max_devices=2)
        self.logged_in(hostid="A")
        self.logged_in(hostid="B")
        self.assertEqual(self.refused(hostid="C").retcode, Retcode.NOT_ENROLLED)
        self.logged_in(hostid="A")

    def test_no_more_devices_at_once_either(self) -> None:
        self.world = World(max_devices=2)
        self.world.hold_passwords()
        logins = [self.login(hostid=hostid) for hostid in "ABC"]
        self.failureResultOf(logins.pop(), LoginRefused)
        self.world.release_passwords()
        for login in logins:
            self.successResultOf(login)
        self.assertEqual(len(self.world.registry), 2)

    def test_device_that_the_store_has_and_we_do_not_know(self) -> None:
        self.successResultOf(
            self.world.store.add_device(
                Device(hostid=HOSTID, hostname="", password_hash=None, moduletype="", registered_at=0)
            )
        )
        self.failureResultOf(self.login(), LoginImpossible)

    def test_store_that_is_down(self) -> None:
        store = BrokenStore()
        self.world = World(store=store)
        self.failureResultOf(self.login(), LoginImpossible)
        self.assertIsNone(self.world.registry.device(HOSTID))
        store.broken = False
        device = self.logged_in()
        store.broken = True
        self.failureResultOf(self.login(hostname="New name"), LoginImpossible)
        self.assertEqual(self.world.registry.device(HOSTID), device)
        self.assertEqual(self.logged_in().hostid, HOSTID)  # nothing new to keep
        store.broken = False
        self.assertEqual(self.logged_in(hostname="New name").hostname, "New name")

    def test_overloaded(self) -> None:
        self.patch(passwords, "_MOST_WAITING", 1)
        self.world = World()
        self.world.hold_passwords()
        logins = [self.login(hostid=hostid) for hostid in "ABC"]  # two are computed, one waits
        self.failureResultOf(self.login(hostid="D"), LoginImpossible)
        self.world.release_passwords()
        for login in logins:
            self.successResultOf(login)
        self.logged_in(hostid="D")

    def test_overloaded_by_one_address(self) -> None:
        self.patch(passwords, "_MOST_WAITING", 3)
        self.world = World()
        self.world.hold_passwords()
        flood = [self.login(hostid=f"F{number}", address="192.0.2.66") for number in range(5)]
        device = self.login(hostid="A", address="192.0.2.7")
        self.failureResultOf(flood.pop(), LoginImpossible)
        self.world.release_passwords()
        for login in (device, *flood):
            self.successResultOf(login)

    def test_nobody_waits(self) -> None:
        login = self.world.registry.login(login_params(), "192.0.2.7", lambda: False)
        self.failureResultOf(Deferred.fromCoroutine(login), LoginImpossible)
        self.assertEqual(self.world.scrypts, 0)

    def test_names_are_made_printable(self) -> None:
        self.assertEqual(self.logged_in(hostname="a\0b\x1b[31m\n柴 ").hostname, "a b [31m 柴")
