"""Which devices there are: the policy, those that wait, and squatted hostids that are repaired while cmmd runs."""

from pathlib import Path

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.commands.queue import Requester
from cmmd.fleet.commands.requests import Reset
from cmmd.fleet.devices import enrolment as candidates
from cmmd.fleet.devices.enrolment import AcceptRules, KeptPolicy
from cmmd.fleet.devices.networks import BadNetwork
from cmmd.fleet.devices.registry import LoginRefused
from cmmd.fleet.errors import AdminOnly, BadArgument, Locked, NoSuchDevice, UnderWay, UnknownDevice
from cmmd.fleet.service import administration
from cmmd.fleet.service.administration import lock
from cmmd.store.records import Device
from cmmd.wire.messages import LongCon, encode
from cmmd.wire.retcodes import Retcode
from tests.uploads import full_upload
from tests.world import HOSTID, World, login_params

ADMIN = Requester("root", "amp", "admin")
OPERATOR = Requester("bob", "http")
SQUATTER = "198.51.100.66"


class EnrolmentTestCase(SynchronousTestCase):
    policy = "approve"
    accept: tuple[str, ...] = ()

    def setUp(self) -> None:
        self.world = World(policy=self.policy, accept=AcceptRules(self.accept))  # type: ignore[arg-type]
        self.fleet = self.world.fleet
        self.queue = self.fleet.registry.enrolment.candidates

    def login(self, hostid: str = HOSTID, address: str = "192.0.2.7", **changed: object) -> Deferred[Device]:
        return Deferred.fromCoroutine(self.world.registry.login(login_params(hostid, **changed), address))

    def refused(self, hostid: str = HOSTID, address: str = "192.0.2.7", **changed: object) -> str:
        error = self.failureResultOf(self.login(hostid, address, **changed), LoginRefused).value
        assert isinstance(error, LoginRefused)
        self.assertIn(error.retcode, (Retcode.NOT_ENROLLED, Retcode.TRY_AGAIN, Retcode.WRONG_PASSWORD))
        return str(error)

    def kinds(self) -> list[str]:
        return [event.kind for event in self.world.events]


class QueueTests(EnrolmentTestCase):
    def test_an_unknown_device_waits_until_it_is_let_in(self) -> None:
        self.assertEqual(self.refused(), "waits for approval")
        now = administration.enrolment_of(self.fleet)
        waiting = [(one.hostid, one.hostname, one.address) for one in now.waiting]
        self.assertEqual(waiting, [(HOSTID, "Genset 1", "192.0.2.7")])
        self.assertEqual(self.kinds(), ["enrolment_waiting"])
        self.successResultOf(Deferred.fromCoroutine(administration.approve(self.fleet, HOSTID, ADMIN)))
        self.assertEqual(len(self.queue), 0)
        self.assertEqual(self.successResultOf(self.login()).hostname, "Genset 1")

    def test_what_its_model_suggests(self) -> None:
        for model, profile, by in (
            ("HGM6120N", "hgm6120n", "model"),
            ("HGM6120XYZ", "hgm6120n", "family"),
            ("", "", ""),
        ):
            self.refused(f"D{model}", moduletype=model)
            row = administration.enrolment_of(self.fleet).waiting[-1]
            self.assertEqual((row.profile, row.profile_by), (profile or "generic", by or "default"), model)

    def test_it_has_to_show_the_password_that_it_waited_with(self) -> None:
        self.refused()
        self.successResultOf(Deferred.fromCoroutine(administration.approve(self.fleet, HOSTID, ADMIN)))
        self.assertEqual(self.refused(password="squatter", address=SQUATTER), "wrong password")
        self.successResultOf(self.login())

    def test_two_that_claim_to_be_the_same(self) -> None:
        self.refused()
        self.refused()
        self.assertFalse(self.queue.all()[0].contested)
        self.refused(password="other", address=SQUATTER)
        self.assertEqual([(one.contested, one.attempts) for one in self.queue.all()], [(True, 3)])

    def test_rejected(self) -> None:
        self.refused()
        administration.reject(self.fleet, HOSTID, ADMIN)
        self.assertEqual(len(self.queue), 0)
        self.assertRaises(UnknownDevice, administration.reject, self.fleet, HOSTID, ADMIN)
        approving = Deferred.fromCoroutine(administration.approve(self.fleet, HOSTID, ADMIN))
        self.failureResultOf(approving, UnknownDevice)

    def test_it_is_bounded_and_the_loudest_address_loses(self) -> None:
        self.patch(candidates, "MOST_WAITING", 15)
        for number in range(15):
            self.refused(f"FLOOD{number}", SQUATTER)
        self.assertEqual(self.refused("REAL", "192.0.2.9"), "waits for approval")
        self.refused("FLOOD99", SQUATTER)
        self.assertEqual(len(self.queue), 15)
        self.assertIsNotNone(self.queue.get("REAL"))
        self.assertIsNone(self.queue.get("FLOOD99"))
        self.assertEqual(self.successResultOf(self.world.store.open()).devices, [])

    def test_an_address_fills_it_slowly(self) -> None:
        for number in range(25):
            self.login(f"FLOOD{number}", SQUATTER).addErrback(lambda _: None)
        self.assertEqual(len(self.queue), 20)
        self.world.clock.advance(1)


class RuleTests(EnrolmentTestCase):
    accept = ("34393336*", "10.8.0.0/16")

    def test_by_pattern_or_network(self) -> None:
        self.successResultOf(self.login("3439333633"))
        self.successResultOf(self.login("OTHER", "10.8.3.3"))
        self.assertEqual(self.refused("OTHER2"), "waits for approval")

    def test_a_pattern_has_the_budget_of_an_address(self) -> None:
        """Hostids that fit are easily made up; those of a network and of this machine are not counted."""
        logins = [self.login(f"34393336{number}", SQUATTER) for number in range(30)]
        self.assertEqual(len(self.world.registry), 20)
        self.world.clock.advance(1)
        for login in logins[20:]:
            self.failureResultOf(login, LoginRefused)
        for address in ("10.8.3.3", "127.0.0.1"):
            for number in range(30):
                self.successResultOf(self.login(f"34393336-{address[:2]}-{number}", address))

    def test_wrong_rules(self) -> None:
        for wrong in ("", "10.8.0.1/16", "x/y"):
            with self.assertRaises(BadNetwork):
                AcceptRules([wrong])


class PolicyTests(EnrolmentTestCase):
    policy = "open"

    def test_one_call_closes_it(self) -> None:
        self.successResultOf(self.login("FIRST"))
        administration.set_policy(self.fleet, "approve", ADMIN)
        self.assertEqual(self.refused(), "waits for approval")
        self.successResultOf(self.login("FIRST"))
        administration.set_policy(self.fleet, "known", ADMIN)
        self.assertEqual(self.refused(), "enrolment is closed")
        self.assertEqual(self.kinds().count("enrolment_changed"), 2)

    def test_by_an_administrator_only(self) -> None:
        self.assertRaises(AdminOnly, administration.set_policy, self.fleet, "known", OPERATOR)
        self.assertRaises(BadArgument, administration.set_policy, self.fleet, "closed", ADMIN)

    def test_kept_until_the_configuration_says_another_one(self) -> None:
        path = Path(self.mktemp())
        self.assertEqual(KeptPolicy(path, "open").read(), "open")
        KeptPolicy(path, "open").write("approve")
        self.assertEqual(KeptPolicy(path, "open").read(), "approve")
        self.assertEqual(KeptPolicy(path, "known").read(), "known")
        path.write_text("{")
        self.assertEqual(
            [KeptPolicy(path, one).read() for one in ("open", "approve", "known")], ["approve", "approve", "known"]
        )


class RepairTests(EnrolmentTestCase):
    """A stranger has registered the hostid of a module before it came."""

    policy = "open"

    def setUp(self) -> None:
        super().setUp()
        self.successResultOf(self.login(address=SQUATTER, password="squatter"))

    def device(self) -> Device:
        device = self.world.registry.device(HOSTID)
        assert device is not None
        return device

    def forget(self) -> Deferred[None]:
        forgotten = Deferred.fromCoroutine(administration.forget(self.fleet, self.device(), ADMIN))
        self.world.write_batch()
        return forgotten

    def test_the_module_is_kept_out_and_let_in_by_a_reset(self) -> None:
        session = self.world.connect(peer=SQUATTER)
        session.deliver(encode(LongCon(hostid=HOSTID)))
        self.assertEqual(self.refused(), "wrong password")
        resetting = Deferred.fromCoroutine(administration.reset_password(self.fleet, self.device(), None, ADMIN))
        self.successResultOf(resetting)
        self.assertEqual(self.world.presence.sessions(HOSTID), ())
        again = self.world.connect(peer=SQUATTER)
        again.deliver(encode(LongCon(hostid=HOSTID)))
        self.assertIn(b"000003", again.segments[-1])  # no session before a login
        self.successResultOf(self.login())
        self.assertEqual(self.refused(address=SQUATTER, password="squatter"), "wrong password")
        self.assertIn("password_reset", self.kinds())

    def test_a_reset_with_the_new_password(self) -> None:
        resetting = administration.reset_password(self.fleet, self.device(), "654321", ADMIN)
        self.successResultOf(Deferred.fromCoroutine(resetting))
        self.refused(address=SQUATTER, password="squatter")
        self.successResultOf(self.login(password="654321"))

    def test_forgotten(self) -> None:
        session = self.world.connect(peer=SQUATTER)
        session.deliver(encode(LongCon(hostid=HOSTID)))
        session.deliver(encode(full_upload()))
        self.world.write_batch()
        before = self.device()
        self.successResultOf(self.forget())
        kept = self.successResultOf(self.world.store.open())
        self.assertEqual((kept.devices, kept.uploads), ([], []))
        self.assertIsNone(self.world.registry.device(HOSTID))
        self.assertEqual(self.world.presence.sessions(HOSTID), ())
        self.assertEqual(self.fleet.alarms.open_alarms(), [])
        self.assertEqual(self.kinds()[-1], "device_forgotten")
        device = self.successResultOf(self.login())
        self.assertGreater(device.number, before.number)
        self.assertIsNone(self.fleet.live[HOSTID].at)

    def test_what_the_squatter_sends_afterwards_is_not_taken(self) -> None:
        session = self.world.connect(peer=SQUATTER)
        session.deliver(encode(LongCon(hostid=HOSTID)))
        self.successResultOf(self.forget())
        session.deliver(encode(full_upload()))
        self.world.write_batch()
        self.assertEqual(self.successResultOf(self.world.store.open()).uploads, [])

    def test_not_while_commands_are_under_way(self) -> None:
        session = self.world.connect(peer=SQUATTER)
        session.deliver(encode(LongCon(hostid=HOSTID)))
        asking = Deferred.fromCoroutine(self.fleet.dispatch.submit(HOSTID, Reset(), ADMIN))
        self.world.write_batch()
        self.successResultOf(asking)
        self.failureResultOf(self.forget(), UnderWay)
        resetting = Deferred.fromCoroutine(administration.reset_password(self.fleet, self.device(), None, ADMIN))
        self.failureResultOf(resetting, UnderWay)
        self.assertIsNotNone(self.world.registry.device(HOSTID))

    def test_not_while_it_is_locked(self) -> None:
        self.successResultOf(Deferred.fromCoroutine(lock(self.fleet, self.device(), "belt", ADMIN)))
        self.failureResultOf(self.forget(), Locked)

    def test_by_an_administrator_only(self) -> None:
        for change in (
            administration.forget(self.fleet, self.device(), OPERATOR),
            administration.reset_password(self.fleet, self.device(), None, OPERATOR),
            administration.approve(self.fleet, HOSTID, OPERATOR),
        ):
            self.failureResultOf(Deferred.fromCoroutine(change), AdminOnly)

    def test_twice(self) -> None:
        device = self.device()
        self.successResultOf(self.forget())
        self.failureResultOf(Deferred.fromCoroutine(administration.forget(self.fleet, device, ADMIN)), NoSuchDevice)
