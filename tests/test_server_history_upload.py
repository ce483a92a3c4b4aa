"""Uploads that say when they were: only a device that its owner allows that writes history, and one time is one row."""

import json
from typing import Any

from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from cmmd.fleet.devices.history_rights import QUIET_S
from cmmd.fleet.late_uploads import HISTORIC_GAP_S
from cmmd.store.records import Query, Reading
from cmmd.wire.errors import Reason
from cmmd.wire.messages import Login, LongCon, encode
from tests.transports import SegmentTransport
from tests.uploads import STANDBY, full_upload
from tests.world import HOSTID, World, login_params

HOME, STRANGER = "192.0.2.7", "198.51.100.66"
REFUSED, NEVER = "000006", "000001"


class HistoryUploadTestCase(SynchronousTestCase):
    def setUp(self) -> None:
        self.world = World()
        self.world.register()
        self.world.write_batch()

    def allow(self, *, history: bool = True) -> None:
        self.successResultOf(Deferred.fromCoroutine(self.world.registry.set(HOSTID, "owner", history=history)))

    def attached(self, peer: str = HOME, *, carries_commands: bool = True) -> SegmentTransport:
        transport = self.world.connect(peer=peer, carries_commands=carries_commands)
        transport.deliver(encode(LongCon(hostid=HOSTID)))
        return transport

    def ago(self, seconds: float) -> int:
        return int((self.world.clock.seconds() - seconds) * 1000)

    def upload(self, transport: SegmentTransport, **said: Any) -> dict[str, Any]:
        """Send an upload; its answer."""
        params = full_upload(STANDBY).params
        said = {"method": "reqdata", "params": params, "hostid": HOSTID, **said}
        before = len(transport.segments)
        transport.deliver(json.dumps(said).encode())
        self.world.write_batch()
        self.world.clock.advance(HISTORIC_GAP_S)
        transport.turns()
        (answer,) = transport.segments[before:]
        return dict(json.loads(answer))

    def retcode(self, transport: SegmentTransport, **said: Any) -> str:
        return str(self.upload(transport, **said)["retcode"])

    def readings(self) -> list[Reading]:
        return self.successResultOf(self.world.store.readings(Query(hostid=HOSTID)))

    def open_alarms(self) -> list[str]:
        return [alarm.signal for alarm in self.world.fleet.alarms.open_alarms(HOSTID)]


class RightsTests(HistoryUploadTestCase):
    def test_a_device_that_is_not_allowed(self) -> None:
        """It is told to try again, for a gateway would drop at 000001 what its owner may still want."""
        for carries_commands in (True, False):
            transport = self.attached(carries_commands=carries_commands)
            for itime in (self.ago(60), self.ago(399 * 86_400), self.ago(500 * 86_400), self.ago(-3600)):
                for said in ({}, {"method": "reqdatachange", "params": {"03": [{"0000": "00EF"}]}}):
                    answer = self.upload(transport, itime=itime, **said)
                    self.assertEqual((answer["method"], answer["retcode"]), ("reqdata", REFUSED))
                    self.assertIn("history=true", answer["message"])
        self.assertEqual(self.readings(), [])
        self.assertEqual(self.open_alarms(), ["history_refused"])
        self.assertEqual(self.world.counters.peer_errors, {Reason.HISTORY_REFUSED: 16})
        refused = [event for event in self.world.events if event.kind == "history_refused"]
        self.assertEqual(refused[0].details, {"address": HOME, "why": "not allowed", "suppressed": 0})

    def test_inputs_of_the_past_are_history_too(self) -> None:
        said = {"method": "reqdatachange", "params": {}, "InhbitRemote": 1, "itime": self.ago(60)}
        self.assertEqual(self.retcode(self.attached(), **said), REFUSED)
        self.assertEqual((self.readings(), self.world.fleet.live[HOSTID].inputs), ([], 0))

    def test_what_says_no_time_needs_no_right(self) -> None:
        self.assertEqual(self.retcode(self.attached()), "000000")
        self.assertEqual(self.retcode(self.attached(carries_commands=False)), "000000")
        self.assertEqual([(one.reason, one.source) for one in self.readings()], [("first", ""), ("historic", "")])
        self.assertEqual(self.open_alarms(), [])

    def test_a_device_that_is_allowed(self) -> None:
        transport = self.attached()
        self.assertEqual(self.retcode(transport, itime=self.ago(60)), REFUSED)
        self.allow()
        self.assertEqual(self.open_alarms(), [])
        at = self.ago(60)
        self.assertEqual(self.retcode(transport, itime=at), "000000")
        (reading,) = self.readings()
        self.assertEqual((reading.at, reading.reason, reading.source), (at, "historic", f"setting {HOME}"))
        self.assertEqual(self.retcode(transport, itime=self.ago(-3600)), NEVER)
        self.allow(history=False)
        self.assertEqual(self.retcode(transport, itime=self.ago(120)), REFUSED)

    def test_an_allowed_hostid_alone_gives_a_stranger_nothing(self) -> None:
        self.allow()
        self.assertEqual(self.retcode(self.attached(STRANGER), itime=self.ago(60)), REFUSED)
        self.assertEqual(self.readings(), [])
        self.assertIn("history_refused", self.open_alarms())
        home = self.attached()
        self.assertEqual(self.retcode(home, itime=self.ago(60)), "000000", "beside the stranger, from home")

    def test_a_gateway_that_has_moved_logs_in_first(self) -> None:
        self.allow()
        login = self.world.connect(peer=STRANGER)
        login.deliver(encode(Login(params=login_params())))
        self.assertEqual(self.retcode(self.attached(STRANGER), itime=self.ago(60)), "000000")


class AlarmTests(HistoryUploadTestCase):
    def test_the_alarm_ends_when_it_is_quiet(self) -> None:
        self.retcode(self.attached(), itime=self.ago(60))
        self.world.clock.advance(QUIET_S - 300)
        self.retcode(self.attached(), itime=self.ago(60))
        self.world.clock.advance(300)
        self.assertEqual(self.open_alarms(), ["history_refused"])
        self.world.clock.advance(2 * QUIET_S)
        self.assertEqual(self.open_alarms(), [])

    def restart(self) -> None:
        """The same store in another process."""
        self.world.fleet.history_rights.stop()
        self.world = World(store=self.world.store, start_s=self.world.clock.seconds())
        self.assertEqual(self.open_alarms(), ["history_refused"])

    def test_an_alarm_from_before_a_restart_ends_when_it_is_quiet(self) -> None:
        self.retcode(self.attached(), itime=self.ago(60))
        self.restart()
        login = self.world.connect()
        login.deliver(encode(Login(params=login_params())))
        self.world.clock.advance(QUIET_S - 1)
        self.assertEqual(self.open_alarms(), ["history_refused"], "a login allows nothing")
        self.world.clock.advance(QUIET_S)
        self.assertEqual(self.open_alarms(), [])

    def test_an_alarm_from_before_a_restart_ends_with_the_permission(self) -> None:
        self.retcode(self.attached(), itime=self.ago(60))
        self.restart()
        self.allow()
        self.assertEqual(self.open_alarms(), [])
        self.world.clock.advance(2 * QUIET_S)
        self.assertEqual(self.world.fleet.history_rights.refusing(HOSTID), False)

    def test_what_comes_after_a_restart_keeps_the_alarm(self) -> None:
        self.retcode(self.attached(), itime=self.ago(60))
        self.restart()
        self.world.clock.advance(QUIET_S - 300)
        self.retcode(self.attached(), itime=self.ago(60))
        self.world.clock.advance(300)
        self.assertEqual(self.open_alarms(), ["history_refused"])
        self.world.clock.advance(2 * QUIET_S)
        self.assertEqual(self.open_alarms(), [])

    def test_a_device_that_is_forgotten(self) -> None:
        self.retcode(self.attached(), itime=self.ago(60))
        forgotten = Deferred.fromCoroutine(self.world.fleet.forget(HOSTID))
        self.world.write_batch()
        self.successResultOf(forgotten)
        self.world.clock.advance(2 * QUIET_S)
        self.assertEqual((self.open_alarms(), self.world.clock.getDelayedCalls()), ([], []))

    def test_a_flood_leaves_few_events(self) -> None:
        transport = self.attached()
        for number in range(300):
            self.retcode(transport, itime=self.ago(60 + number))
        self.assertLess(sum(event.kind == "history_refused" for event in self.world.events), 40)
        self.assertEqual(self.open_alarms(), ["history_refused"])


class OnceTests(HistoryUploadTestCase):
    def test_one_device_and_time_is_one_reading(self) -> None:
        """A gateway sends an upload once more when the answer was lost."""
        self.allow()
        at = self.ago(60)
        for transport in (self.attached(), self.attached(), self.attached(carries_commands=False)):
            self.assertEqual(self.retcode(transport, itime=at), "000000")
            self.assertEqual(self.retcode(transport, itime=at), "000000")
        self.assertEqual([one.at for one in self.readings()], [at])
        self.assertEqual(self.retcode(self.attached(), itime=at + 1), "000000")
        self.assertEqual([one.at for one in self.readings()], [at, at + 1])

    def test_inputs_beside_values_of_the_same_moment(self) -> None:
        self.allow()
        at = self.ago(60)
        transport = self.attached()
        for _ in range(2):
            self.assertEqual(self.retcode(transport, itime=at), "000000")
            inputs = {"method": "reqdatachange", "params": {}, "FireAlarm": 1, "itime": at}
            self.assertEqual(self.retcode(transport, **inputs), "000000")
        self.assertEqual([len(one.image) > 1 for one in self.readings()], [True, False])
