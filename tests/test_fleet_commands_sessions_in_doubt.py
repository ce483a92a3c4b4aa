"""Sessions from several addresses: which one commands go to, and when it is doubtful who the device is."""

import json

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet import errors
from cmmd.fleet.alarms.alarms import SESSION_TAKEN_OVER
from cmmd.fleet.commands.queue import Requester, Submitted
from cmmd.fleet.commands.requests import Named
from cmmd.fleet.commands.stop import STOP_WAITS_S
from cmmd.fleet.devices.presence import REATTACH_S
from cmmd.server.receiver import Limits
from cmmd.store.records import Query
from cmmd.wire.messages import Login, encode
from tests.test_fleet_commands_dispatcher import Held
from tests.test_server_session import message
from tests.transports import SegmentTransport
from tests.uploads import AT_REST, STANDBY, full_upload
from tests.world import HOSTID, World, login_params

HOME, ELSEWHERE, THIRD = "192.0.2.7", "198.51.100.9", "203.0.113.5"
ALICE = Requester("alice", "amp")
UPLOAD = message("reqdata", params=full_upload(STANDBY, set()).params)
INHIBITED = message("reqdatachange", params={}, InhbitRemote=1)
ALLOWED = message("reqdatachange", params={}, InhbitRemote=0)


class DoubtTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World(limits=Limits(gap=0.0))

    def login(self, peer: str) -> None:
        connection = self.world.connect(peer=peer)
        connection.deliver(encode(Login(params=login_params())))
        connection.turns()
        self.world.write_batch()
        connection.turns()
        self.assertIn(b'"register":1', connection.segments[0])

    def attach(self, peer: str) -> SegmentTransport:
        connection = self.world.connect(peer=peer)
        connection.deliver(message("LongCon"))
        return connection

    def came(self, peer: str) -> SegmentTransport:
        """Have a device log in and attach from an address."""
        self.login(peer)
        return self.attach(peer)

    def say(self, connection: SegmentTransport, text: bytes) -> None:
        connection.deliver(text)
        self.world.write_batch()
        connection.turns()

    def send(self, name: str) -> str:
        """Have a command sent; the code of its refusal, or empty."""
        self.world.clock.advance(1)
        asked = Deferred.fromCoroutine(self.world.fleet.dispatch.submit(HOSTID, Named(name=name), ALICE))
        codes: list[str] = []

        def refused(failure: Failure) -> None:
            failure.trap(errors.NotAllowed)
            codes.append(failure.value.code)  # type: ignore[union-attr]

        asked.addErrback(refused)
        self.world.clock.advance(1)
        return "".join(codes)

    def got(self, connection: SegmentTransport) -> int:
        """How many commands a connection has been sent."""
        connection.turns()
        self.world.clock.advance(1)
        connection.turns()
        return sum(b"writeConfig" in segment and b"uid" in segment for segment in connection.segments)

    @property
    def alarming(self) -> bool:
        return any(one.signal == SESSION_TAKEN_OVER.name for one in self.world.fleet.alarms.open_alarms(HOSTID))

    def taken_over(self) -> list[object]:
        return [one.details["address"] for one in self.world.events if one.kind == "session_taken_over"]


class TwoAddressesTests(DoubtTestCase):
    def test_a_module_that_comes_back_by_another_address(self) -> None:
        old = self.came(HOME)
        new = self.came(ELSEWHERE)
        self.assertEqual((self.send("auto"), self.taken_over(), self.alarming), ("", [], False))
        self.assertEqual((self.got(old), self.got(new)), (0, 1))

    def test_a_stranger_who_knows_the_hostid(self) -> None:
        device = self.came(HOME)
        stranger = self.attach(ELSEWHERE)
        self.assertEqual((self.taken_over(), self.alarming), ([ELSEWHERE], True))
        for name in ("auto", "start", "manual", "generator_breaker_toggle"):
            self.assertEqual(self.send(name), "ambiguous_session")
        self.assertEqual(self.send("stop"), "")
        self.assertEqual((self.got(device), self.got(stranger)), (1, 0))
        stranger.hang_up()
        self.assertEqual((self.send("auto"), self.alarming), ("", False))

    def test_the_text_names_both_addresses(self) -> None:
        self.came(HOME)
        self.attach(ELSEWHERE)
        blocked = self.world.fleet.dispatch.blocked(HOSTID)
        assert isinstance(blocked, errors.AmbiguousSession)
        self.assertIn(HOME, str(blocked))
        self.assertIn(ELSEWHERE, str(blocked))

    def test_a_new_login_settles_it(self) -> None:
        self.came(HOME)
        stranger = self.attach(ELSEWHERE)
        device = self.came(HOME)
        self.assertEqual((self.send("auto"), self.alarming), ("", False))
        self.assertEqual((self.got(device), self.got(stranger)), (1, 0))

    def test_an_old_session_that_uploads_from_elsewhere(self) -> None:
        """Two modules with one identity: the older one does not know that it should be gone."""
        first = self.came(HOME)
        self.say(first, UPLOAD)
        self.assertFalse(self.alarming)
        self.login(ELSEWHERE)
        self.say(first, UPLOAD)
        self.assertFalse(self.alarming, "no session from the address of the latest login stands yet")
        second = self.attach(ELSEWHERE)
        self.say(first, UPLOAD)
        self.assertEqual((self.taken_over(), self.alarming), ([HOME], True))
        self.assertEqual(self.send("start"), "ambiguous_session")
        first.hang_up()
        self.assertEqual(
            (self.send("start"), self.alarming), ("ambiguous_session", False), "its values are still there"
        )
        self.say(second, UPLOAD)
        self.assertEqual(self.send("start"), "")

    def test_nothing_but_a_stranger_is_there(self) -> None:
        """Stop goes to whoever is there: better one who cannot than none at all."""
        self.came(HOME).hang_up()
        stranger = self.attach(ELSEWHERE)
        self.assertEqual(self.send("auto"), "ambiguous_session")
        self.assertEqual((self.send("stop"), self.got(stranger)), ("", 1))

    def test_between_login_and_attaching(self) -> None:
        device = self.came(HOME)
        self.login(HOME)
        self.assertEqual((self.send("auto"), self.world.presence.online(HOSTID)), ("device_offline", True))
        self.assertEqual((self.send("stop"), self.got(device)), ("", 1))

    def test_firmware_that_logs_in_again_and_keeps_its_connection(self) -> None:
        device = self.came(HOME)
        self.login(HOME)
        self.world.clock.advance(REATTACH_S)
        self.assertEqual((self.send("auto"), self.got(device)), ("", 1))

    def test_a_login_on_the_long_connection_itself(self) -> None:
        device = self.came(HOME)
        self.say(device, encode(Login(params=login_params())))
        self.assertEqual((self.send("auto"), self.got(device)), ("", 1))
        stranger = self.attach(ELSEWHERE)
        self.say(stranger, encode(Login(params=login_params(password="654321"))))
        self.assertEqual(self.send("auto"), "ambiguous_session")
        self.world.clock.advance(60)
        self.say(stranger, encode(Login(params=login_params())))
        self.assertEqual((self.send("auto"), self.got(stranger), self.alarming), ("", 1, False))

    def test_after_a_restart(self) -> None:
        self.came(HOME)
        self.world.write_batch()
        self.world = World(store=self.world.store, limits=Limits(gap=0.0))
        self.attach(ELSEWHERE)
        self.assertEqual((self.send("auto"), self.alarming), ("ambiguous_session", True))

    def test_a_flood_of_strangers_fills_no_store(self) -> None:
        self.came(HOME)
        for _ in range(300):
            self.attach(ELSEWHERE).hang_up()
        self.assertLess(len(self.taken_over()), 30)
        self.world.write_batch()
        alarms = self.successResultOf(self.world.store.alarms(Query(limit=1000)))
        self.assertLess(len(alarms), 60)
        self.assertEqual(self.send("auto"), "", "an alarm that waits for its end is no doubt")

    def test_strangers_do_not_push_the_device_out(self) -> None:
        for logs_in_again in (False, True):
            device = self.came(HOME)
            if logs_in_again:
                self.login(HOME)
            strangers = [self.attach(ELSEWHERE) for _ in range(6)]
            self.assertEqual((self.send("stop"), self.got(device)), ("", 1))
            self.assertEqual([self.got(one) for one in strangers], [0] * 6)
            for one in (device, *strangers):
                one.hang_up()

    def test_what_a_stranger_uploads_moves_nothing(self) -> None:
        """Not the panel's lock, nor the state that a toggle turns round, until the device has said everything anew."""
        device = self.came(HOME)
        locked = message("reqdata", params=full_upload(STANDBY, {*AT_REST, 4}).params)
        self.say(device, locked)
        self.assertEqual(self.send("start"), "remote_locked")
        stranger = self.attach(ELSEWHERE)
        self.say(stranger, message("reqdata", params=full_upload(STANDBY, set(AT_REST)).params))
        stranger.hang_up()
        for name in ("start", "generator_breaker_toggle"):
            self.assertEqual(self.send(name), "ambiguous_session")
        self.assertEqual((self.send("stop"), self.got(device)), ("", 1))
        self.say(device, locked)
        self.assertEqual(self.send("start"), "remote_locked")
        self.say(device, message("reqdata", params=full_upload(STANDBY, set(AT_REST)).params))
        self.assertEqual(self.send("start"), "")

    def test_what_a_stranger_uploaded_goes_with_the_next_login(self) -> None:
        device = self.came(HOME)
        self.say(device, message("reqdata", params=full_upload(STANDBY, {*AT_REST, 4}).params))
        stranger = self.attach(ELSEWHERE)
        self.say(stranger, message("reqdatachange", params={"01": [{"0000": "00"}]}))
        self.came(HOME)
        self.assertEqual(self.send("start"), "remote_locked", "as the device said it itself")
        self.assertEqual(self.send("generator_breaker_toggle"), "remote_locked")

    def test_a_stop_that_only_a_stranger_answers(self) -> None:
        self.came(HOME).hang_up()
        stranger = self.attach(ELSEWHERE)
        stopping = Deferred.fromCoroutine(self.world.fleet.dispatch.submit(HOSTID, Named(name="stop"), ALICE))
        self.world.clock.advance(1)
        self.got(stranger)
        uid = json.loads(stranger.segments[-1])["uid"]
        self.say(stranger, message("writeConfig", params="00050001FF00DC2B,1", uid=uid))
        command = self.successResultOf(self.successResultOf(stopping).ended)
        self.assertIn(f"says {ELSEWHERE}, which is not where the device logged in from", command.reply or "")


class LeavingTests(DoubtTestCase):
    """What comes while a command waits for its pause on the connection counts as well."""

    def begun(self) -> tuple[SegmentTransport, Deferred[Submitted]]:
        self.world = World()  # with its pause
        device = self.came(HOME)
        self.say(device, UPLOAD)
        starting = Deferred.fromCoroutine(self.world.fleet.dispatch.submit(HOSTID, Named(name="start"), ALICE))
        self.world.clock.advance(0.05)
        device.turns()
        self.assertEqual(sum(b"uid" in one for one in device.segments), 0, "it waits")
        return device, starting

    def assert_not_sent(self, device: SegmentTransport, starting: Deferred[Submitted], why: str) -> None:
        for _ in range(20):
            self.world.clock.advance(0.1)
            device.turns()
        command = self.successResultOf(self.successResultOf(starting).ended)
        self.assertEqual(command.outcome, "not sent")
        self.assertIn(why, command.reply or "")
        self.assertEqual(sum(b"uid" in one for one in device.segments), 0)

    def test_a_lock(self) -> None:
        device, starting = self.begun()
        Deferred.fromCoroutine(self.world.registry.lock(HOSTID, "bob", "belt"))
        self.assert_not_sent(device, starting, "locked by bob")

    def test_an_inhibit(self) -> None:
        device, starting = self.begun()
        self.say(device, INHIBITED)
        self.assert_not_sent(device, starting, "inhibited")

    def test_a_stranger(self) -> None:
        device, starting = self.begun()
        self.attach(ELSEWHERE)
        self.assert_not_sent(device, starting, ELSEWHERE)

    def test_a_login_from_elsewhere(self) -> None:
        device, starting = self.begun()
        self.came(ELSEWHERE)
        self.assert_not_sent(device, starting, "another session")


class HangingTests(DoubtTestCase):
    def test_a_stop_does_not_wait_for_a_store_that_hangs(self) -> None:
        """An upload waits for its answer until it is kept; a stop does not wait with it."""
        store = Held()
        self.world = World(store=store, limits=Limits(gap=0.2))

        def confirm() -> None:
            while store.held:
                store.held.pop(0).callback(None)

        logging_in = self.world.connect(peer=HOME)
        logging_in.deliver(encode(Login(params=login_params())))
        for _ in range(5):
            confirm()
            self.world.write_batch()
            logging_in.turns()
        device = self.attach(HOME)
        device.deliver(UPLOAD)
        Deferred.fromCoroutine(self.world.fleet.dispatch.submit(HOSTID, Named(name="stop"), ALICE))
        for _ in range(40):
            self.world.clock.advance(0.1)
            device.turns()
        self.assertEqual(sum(b"uid" in one for one in device.segments), 1)
        self.assertEqual(sum(b"reqdata" in one for one in device.segments), 0, "the upload is not kept yet")


class AnyOrderTests(DoubtTestCase):
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(["login", "attach", "upload", "hang up"]), st.sampled_from([HOME, ELSEWHERE, THIRD])
            )
        )
    )
    def test_any_coming_and_going(self, steps: list[tuple[str, str]]) -> None:
        """Commands go to a session from the latest login's address that came after it, and only without doubt. Stop
        goes there first, then to an older one from that address, then to any that came after the login."""
        self.setUp()
        standing: dict[str, SegmentTransport] = {}
        home, current, came, doubted = "", set[str](), set[str](), False
        for step, peer in steps:
            if step == "login":
                self.login(peer)
                home, current, came, doubted = peer, set(), set(), False
            elif step == "attach" and home:
                if peer in standing:
                    standing.pop(peer).hang_up()
                standing[peer] = self.attach(peer)
                current.add(peer)
                came.add(peer)
            elif step == "upload" and peer in standing:
                self.say(standing[peer], UPLOAD)
                doubted = peer != home
                if peer not in current and peer != home and home in standing:
                    current.add(peer)
            elif step == "hang up" and peer in standing:
                standing.pop(peer).hang_up()
                current.discard(peer)
        if not home:
            return
        foreign = bool(current & set(standing) - {home})
        self.assertEqual(self.alarming, foreign)
        before = {peer: self.got(connection) for peer, connection in standing.items()}
        code = self.send("auto")
        after = {peer: self.got(connection) for peer, connection in standing.items()}
        if foreign:
            reason = "ambiguous_session" if came & set(standing) else "device_offline"  # none came after the login
            self.assertEqual((code, after), (reason, before))
        elif home in current & set(standing):
            sent = {} if doubted else {home: before[home] + 1}
            self.assertEqual((code, after), ("ambiguous_session" if doubted else "", {**before, **sent}))
        elif code:
            self.assertEqual((code, after), ("device_offline", before))
        code = self.send("stop")
        self.world.clock.advance(STOP_WAITS_S)  # the command before is not answered
        stopped = {peer for peer, connection in standing.items() if self.got(connection) > after[peer]}
        if home in standing:
            self.assertEqual((code, stopped), ("", {home}))
        elif foreign and came & set(standing):
            self.assertEqual((code, len(stopped)), ("", 1))
        else:
            self.assertEqual((code, stopped), ("device_offline", set()))


class InhibitTests(DoubtTestCase):
    def test_once_said_it_counts_until_the_device_says_otherwise(self) -> None:
        device = self.came(HOME)
        self.say(device, INHIBITED)
        self.say(device, UPLOAD)
        self.assertEqual(self.send("start"), "remote_inhibited")
        self.came(HOME)
        self.world.clock.advance(86_400)
        self.assertEqual(self.send("start"), "device_offline")
        again = self.came(HOME)
        self.assertEqual(self.send("start"), "remote_inhibited")
        blocked = self.world.fleet.dispatch.blocked(HOSTID)
        self.assertIn("last said 2023-11-25", str(blocked))
        self.assertIn(f"by {HOME}", str(blocked))
        self.assertEqual((self.send("stop"), self.got(again)), ("", 1))
        self.say(again, ALLOWED)
        self.assertEqual(self.send("start"), "")

    def test_through_a_kill(self) -> None:
        """It is durable before the upload that says it is answered."""
        self.say(self.came(HOME), INHIBITED)
        self.world = World(store=self.world.store, limits=Limits(gap=0.0), start_s=self.world.clock.seconds())
        self.attach(HOME)
        self.assertEqual(self.send("start"), "remote_inhibited")

    def test_a_stranger_can_keep_a_start_away_and_nothing_else(self) -> None:
        device = self.came(HOME)
        stranger = self.attach(ELSEWHERE)
        self.say(stranger, INHIBITED)
        stranger.hang_up()
        self.assertEqual(self.send("start"), "remote_inhibited")
        self.assertIn(ELSEWHERE, str(self.world.fleet.dispatch.blocked(HOSTID)))
        self.assertEqual((self.send("stop"), self.got(device)), ("", 1))

    def test_a_stranger_cannot_lift_it(self) -> None:
        device = self.came(HOME)
        self.say(device, INHIBITED)
        stranger = self.attach(ELSEWHERE)
        self.say(stranger, ALLOWED)
        stranger.hang_up()
        self.assertEqual(self.send("start"), "remote_inhibited")
        self.say(device, ALLOWED)
        self.assertEqual(self.send("start"), "")

    def test_an_old_session_from_elsewhere_cannot_lift_it_either(self) -> None:
        old = self.came(HOME)
        self.say(old, INHIBITED)
        self.came(ELSEWHERE)
        self.say(old, ALLOWED)
        old.hang_up()
        self.assertEqual(self.send("start"), "remote_inhibited")

    def test_alarms_of_inputs_stay_and_are_stale(self) -> None:
        device = self.came(HOME)
        self.say(device, message("reqdatachange", params={}, FireAlarm=1, AccessAlarm=1))
        self.came(HOME)
        self.world.clock.advance(600)
        open_now = {one.signal for one in self.world.fleet.alarms.open_alarms(HOSTID)}
        self.assertEqual(open_now, {"fire_alarm", "access_alarm"})
        view = self.world.fleet.live[HOSTID]
        assert view.reports is not None
        now_ms = int(self.world.clock.seconds() * 1000)
        self.assertTrue(all(report.stale(now_ms) for report in view.reports.by_name.values()))
        self.assertEqual(json.loads(view.reports.to_text())["fire_alarm"]["address"], HOME)
